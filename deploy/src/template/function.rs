//! `AWS::Serverless::Function`.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::policy::{self, Policies};
use crate::config::{
    Cors, Event, Function, Package, Payload, Url, UrlAuth, read_event, read_invoke, read_layers, read_sam_stream,
};
use crate::error::{Error, at};
use crate::model::{Known, Role, invoked, lambda_trust};
use crate::table::Table;
use crate::yaml::{Entry, Node, Value};

const BASIC: &str = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
/// What SAM adds for functions that read DynamoDB streams.
const STREAM_READER: &str = "arn:aws:iam::aws:policy/service-role/AWSLambdaDynamoDBExecutionRole";

const REFUSED: &[(&str, &str)] = &[
    ("InlineCode", "put the code into a file"),
    ("ImageUri", "container images are not served"),
    ("ImageConfig", "container images are not served"),
    ("VpcConfig", "VPCs are not served"),
    ("Tracing", "tracing is not served yet"),
    ("AutoPublishAlias", "aliases of a deploy are not served yet"),
    ("DeploymentPreference", "gradual deployments are not served"),
    ("ProvisionedConcurrencyConfig", "provisioned concurrency is not served yet"),
    ("SnapStart", "a deploy publishes no versions, which SnapStart is for"),
    ("DeadLetterQueue", "dead-letter queues are not served yet"),
    ("KmsKeyArn", "encryption keys are not served yet"),
    ("FileSystemConfigs", "shared file systems are not served"),
    ("LoggingConfig", "log formats are not served yet"),
    ("PermissionsBoundary", "permissions boundaries are not served yet"),
    ("AssumeRolePolicyDocument", "give a role of your own with `Role`"),
    ("RuntimeManagementConfig", "runtimes are those of the host"),
];

/// `Globals.Function`, the only section that is served.
pub(super) fn globals(node: &Node) -> Result<Option<Node>, Error> {
    let mut table = Table::new(node, "Globals")?;
    let function = table.get("Function").cloned();
    table.finish(&[
        ("Api", "settings of the implicit APIs are not served yet"),
        ("HttpApi", "settings of the implicit APIs are not served yet"),
        ("SimpleTable", "settings of tables stand at the tables"),
    ])?;
    Ok(function)
}

/// SAM's way with globals: mappings are merged, lists are joined, the rest is replaced.
fn merged(general: &Node, own: &Node) -> Node {
    let value = match (&general.value, &own.value) {
        (Value::Map(general), Value::Map(own)) => {
            let mut entries = general.clone();
            for entry in own {
                match entries.iter_mut().find(|e| e.key == entry.key) {
                    Some(there) => there.node = merged(&there.node.clone(), &entry.node),
                    None => entries.push(entry.clone()),
                }
            }
            Value::Map(entries)
        }
        (Value::Seq(general), Value::Seq(own)) => Value::Seq(general.iter().chain(own).cloned().collect()),
        (_, own) => own.clone(),
    };
    Node { at: own.at.clone(), value }
}

/// `<stack>-<function>Role`, shortened by a hash where it would be longer than IAM allows.
pub(super) fn role_name(stack: &str, logical: &str) -> String {
    let name = format!("{stack}-{logical}Role");
    if name.len() <= 64 {
        return name;
    }
    let digest = Sha256::digest(&name);
    let hash: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
    let kept: String = name.chars().take(51).collect();
    format!("{kept}-{hash}")
}

/// Reads one function and the role that SAM would make for it.
pub(super) fn read(entry: &Entry, general: Option<&Node>, known: &Known) -> Result<(Function, Option<Role>), Error> {
    let name = format!("Resources.{}", entry.key);
    let mut outer = Table::new(&entry.node, &name)?;
    outer.get("Type");
    outer.texts_or_text("DependsOn")?;
    let own = outer.need("Properties")?;
    outer.finish(&[
        ("Metadata", "build the code before the deploy, with `sam build` or by hand"),
        ("Condition", "conditions are not served yet"),
        ("DeletionPolicy", "functions are always deleted with their stack"),
    ])?;
    let whole = general.map_or_else(|| own.clone(), |g| merged(g, own));
    let name = format!("{name}.Properties");
    let mut table = Table::new(&whole, &name)?;
    table.text("FunctionName")?;
    table.choice("PackageType", &["Zip"])?;
    let handler = table.need("Handler")?;
    table.need("Runtime")?;
    let policies = table.get("Policies").map(|n| policy::read(n, &format!("{name}.Policies"), known)).transpose()?;
    let role_arn = table.text("Role")?;
    if let (Some(_), Some(_)) = (&role_arn, &policies) {
        return Err(at(&entry.at, format!("`{name}`: `Policies` have no effect beside `Role`; remove one of them")));
    }
    let tags = table.scalars("Tags")?;
    let has_role = role_arn.is_some();
    let default_arn = format!("arn:aws:iam::{}:role/{}", known.account, role_name(&known.stack, &entry.key));
    let mut function = Function {
        key: entry.key.clone(),
        at: entry.at.clone(),
        handler: crate::table::text(handler, &format!("{name}.Handler"))?,
        handler_at: handler.at.clone(),
        runtime: table.text("Runtime")?,
        memory_mb: table.int("MemorySize", 128, 10240)?,
        timeout_s: table.int("Timeout", 1, 900)?,
        environment: environment(&mut table)?,
        description: table.text("Description")?,
        name: known.functions.get(&entry.key).cloned(),
        role: Some(role_arn.unwrap_or(default_arn)),
        reserved_concurrency: table.int("ReservedConcurrentExecutions", 0, 100_000)?,
        ephemeral_mb: ephemeral(&mut table)?,
        architecture: architecture(&mut table)?,
        tags: tags.clone(),
        log_retention_days: None,
        // SAM leaves the log group to the first invocation.
        is_unlogged: true,
        payload: None,
        url: table.get("FunctionUrlConfig").map(|n| url(n, &format!("{name}.FunctionUrlConfig"))).transpose()?,
        events: Vec::new(),
        package: Some(code(&mut table)?),
        layers: read_layers(&mut table, "Layers")?,
        invoke: match table.get("EventInvokeConfig") {
            Some(node) => Some(read_invoke(node, &format!("{name}.EventInvokeConfig"), false)?),
            None => None,
        },
    };
    events(&mut table, &mut function)?;
    table.finish(REFUSED)?;
    let mut policies = policies.unwrap_or_default();
    let reads = function.events.iter().any(|e| matches!(e, Event::Stream(_)));
    if reads && !policies.managed.iter().any(|a| a == STREAM_READER) {
        policies.managed.push(STREAM_READER.to_owned());
    }
    let targets: Vec<String> = function.invoke.iter().flat_map(|c| invoked(&c.input, known)).collect();
    if !targets.is_empty() {
        policies.statements.push(json!({ "Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": targets }));
    }
    let role = (!has_role).then(|| role(known, &entry.key, policies, &tags));
    Ok((function, role))
}

fn role(known: &Known, logical: &str, policies: Policies, tags: &[(String, String)]) -> Role {
    let mut managed = vec![BASIC.to_owned()];
    managed.extend(policies.managed.into_iter().filter(|a| a != BASIC));
    let name = role_name(&known.stack, logical);
    let statements = policies.statements;
    let document = json!({ "Version": "2012-10-17", "Statement": statements });
    Role {
        policy_name: format!("{logical}RolePolicy"),
        policy: (!statements.is_empty()).then_some(document),
        trust: lambda_trust(),
        managed_policies: managed,
        path: "/".into(),
        tags: tags.iter().cloned().chain([(crate::model::STACK_TAG.to_owned(), known.stack.clone())]).collect(),
        name,
    }
}

fn environment(table: &mut Table<'_>) -> Result<Vec<(String, String)>, Error> {
    let name = table.name("Environment");
    let Some(node) = table.get("Environment") else { return Ok(Vec::new()) };
    let mut inner = Table::new(node, name)?;
    let found = inner.scalars("Variables")?;
    inner.finish(&[])?;
    Ok(found)
}

fn ephemeral(table: &mut Table<'_>) -> Result<Option<i64>, Error> {
    let name = table.name("EphemeralStorage");
    let Some(node) = table.get("EphemeralStorage") else { return Ok(None) };
    let mut inner = Table::new(node, name)?;
    let size = inner.int("Size", 512, 10240)?;
    inner.finish(&[])?;
    Ok(size)
}

fn architecture(table: &mut Table<'_>) -> Result<Option<String>, Error> {
    let all = table.texts("Architectures")?;
    match all.as_slice() {
        [] => Ok(None),
        [one] if matches!(one.as_str(), "x86_64" | "arm64") => Ok(Some(one.clone())),
        _ => Err(at(table.pos(), format!("`{}` must be [x86_64] or [arm64]", table.name("Architectures")))),
    }
}

/// A folder, or a zip that is ready.
fn code(table: &mut Table<'_>) -> Result<Package, Error> {
    let name = table.name("CodeUri");
    let uri = table.text("CodeUri")?.unwrap_or_else(|| ".".into());
    if uri.starts_with("s3://") {
        return Err(at(
            table.pos(),
            format!("`{name}: {uri}`: buckets are not served yet; give a folder or a zip file"),
        ));
    }
    let is_zip = uri.ends_with(".zip");
    let (artifact, root) = if is_zip { (Some(uri), None) } else { (None, Some(uri)) };
    Ok(Package { is_individual: true, artifact, root, ..Package::default() })
}

fn url(node: &Node, name: &str) -> Result<Url, Error> {
    let mut table = Table::new(node, name)?;
    table.need("AuthType")?;
    let auth = match table.choice("AuthType", &["NONE", "AWS_IAM"])?.as_deref() {
        Some("NONE") => UrlAuth::None,
        _ => UrlAuth::AwsIam,
    };
    table.choice("InvokeMode", &["BUFFERED"])?;
    let cors = match table.get("Cors") {
        Some(node) => {
            let mut inner = Table::new(node, format!("{name}.Cors"))?;
            let cors = Cors {
                origins: inner.texts("AllowOrigins")?,
                headers: inner.texts("AllowHeaders")?,
                methods: inner.texts("AllowMethods")?,
                exposed_headers: inner.texts("ExposeHeaders")?,
                credentials: inner.flag("AllowCredentials")?.unwrap_or(false),
                max_age_s: inner.int("MaxAge", 0, 86400)?,
            };
            inner.finish(&[])?;
            Some(cors)
        }
        None => None,
    };
    table.finish(&[])?;
    Ok(Url { auth, cors })
}

/// Events become those of serverless.yml, so that both are checked by the same rules.
fn events(table: &mut Table<'_>, function: &mut Function) -> Result<(), Error> {
    let name = table.name("Events");
    let Some(node) = table.get("Events") else { return Ok(()) };
    let Value::Map(entries) = &node.value else {
        return Err(at(&node.at, format!("`{name}` must be a mapping, not {}", node.kind())));
    };
    for entry in entries {
        let name = format!("{name}.{}", entry.key);
        let mut outer = Table::new(&entry.node, &name)?;
        let kind = outer.need("Type")?;
        let empty = Node::new(&entry.at, Value::Null);
        let properties = outer.get("Properties").unwrap_or(&empty);
        outer.finish(&[])?;
        let mut inner = Table::new(properties, format!("{name}.Properties"))?;
        let event = match kind.as_str() {
            Some("Api") => {
                implicit(&mut inner, "RestApiId", "ApiGatewayRestApi")?;
                let written = format!("{} {}", need(&mut inner, "Method")?, need(&mut inner, "Path")?);
                event("http", &written, entry, &name)?
            }
            Some("HttpApi") => {
                implicit(&mut inner, "ApiId", "HttpApi")?;
                payload(&mut inner, function)?;
                let path = inner.text("Path")?.unwrap_or_else(|| "*".into());
                let method = inner.text("Method")?.unwrap_or_else(|| "*".into());
                event("httpApi", &format!("{method} {path}"), entry, &name)?
            }
            Some("DynamoDB") => {
                let mapping = read_sam_stream(properties, &format!("{name}.Properties"))?;
                function.events.push(Event::Stream(mapping));
                continue;
            }
            other => {
                let other = other.unwrap_or_default();
                let supported = "supported: Api, HttpApi, DynamoDB";
                let text = format!("the event type `{other}` of `{name}` is not supported yet; {supported}");
                return Err(at(&kind.at, text));
            }
        };
        inner.finish(&[
            ("Auth", "authorizers are not served yet"),
            ("RequestModel", "request validation is not served yet"),
            ("RequestParameters", "request validation is not served yet"),
            ("TimeoutInMillis", "set the function's own timeout"),
            ("RouteSettings", "settings of routes are not served yet"),
        ])?;
        function.events.push(event);
    }
    Ok(())
}

fn event(kind: &str, written: &str, entry: &Entry, name: &str) -> Result<Event, Error> {
    let node = Node::new(&entry.at, Value::Str(written.to_owned()));
    let one = Entry { key: kind.into(), at: entry.at.clone(), node };
    read_event(&Node::new(&entry.at, Value::Map(vec![one])), name)
}

fn need(table: &mut Table<'_>, key: &'static str) -> Result<String, Error> {
    table.need(key)?;
    Ok(table.text(key)?.unwrap_or_default())
}

fn implicit(table: &mut Table<'_>, key: &'static str, api: &str) -> Result<(), Error> {
    match table.text(key)? {
        Some(id) if id != crate::intrinsics::late(api) => {
            Err(at(table.pos(), format!("`{}`: only the implicit API is supported", table.name(key))))
        }
        _ => Ok(()),
    }
}

fn payload(table: &mut Table<'_>, function: &mut Function) -> Result<(), Error> {
    let Some(node) = table.get("PayloadFormatVersion") else { return Ok(()) };
    let version = match node.scalar().as_deref() {
        Some("1" | "1.0") => Payload::V1,
        Some("2" | "2.0") => Payload::V2,
        _ => return Err(at(&node.at, format!("`{}` must be '1.0' or '2.0'", table.name("PayloadFormatVersion")))),
    };
    if function.payload.is_some_and(|p| p != version) {
        return Err(at(&node.at, "the HTTP events of one function must have the same payload version"));
    }
    function.payload = Some(version);
    Ok(())
}
