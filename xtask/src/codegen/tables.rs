//! Writes the static tables: the service, its operations, shapes and errors.

use super::model::{Operation, Shape, ShapeRef};
use super::plan::Plan;
use anyhow::{Context, Result, bail};
use std::fmt::Write as _;

/// Constructors that keep a member on one line; a fifth of the lines of struct literals.
const SHORTHANDS: &str = "
const fn shape(name: &'static str, kind: Kind) -> Shape { Shape { name, kind } }

const fn text(min: Option<u64>, max: Option<u64>, pattern: Option<&'static str>, options: &'static [&'static str]) -> Kind {
    Kind::String { min, max, pattern, options }
}

const fn member(name: &'static str, wire: &'static str, location: Location, required: bool, xml_attribute: bool, shape: &'static Shape) -> Member {
    Member { name, wire, location, required, xml_attribute, shape }
}

";

/// The tables of one service.
pub fn write(plan: &Plan, out: &mut String) -> Result<()> {
    service(plan, out)?;
    out.push_str("/// Shapes that the served operations reach.\npub mod shapes {\n");
    out.push_str("use squall_protocol::schema::{Kind, Location, Member, Shape, TimestampFormat};\n\n");
    out.push_str(SHORTHANDS);
    for (name, ident) in &plan.statics {
        writeln!(out, "pub static {ident}: Shape = shape({name:?}, {});", kind(plan, name)?)?;
    }
    out.push_str("}\n\n/// Errors that the model names for the served operations.\npub mod errors {\n");
    if !plan.errors.is_empty() {
        out.push_str("use squall_protocol::schema::ErrorShape;\n\n");
    }
    for name in &plan.errors {
        let shape = plan.model.shape(name)?;
        let error = shape.error.clone().unwrap_or_default();
        let status = error.http_status_code.unwrap_or(if shape.fault { 500 } else { 400 });
        let code = error.code.unwrap_or_else(|| (*name).to_owned());
        let ident = plan.static_name(name)?;
        writeln!(
            out,
            "pub const {ident}: ErrorShape = ErrorShape {{ name: {name:?}, code: {code:?}, status: {status}, shape: &super::shapes::{ident} }};"
        )?;
    }
    out.push_str("}\n\n");
    Ok(())
}

fn service(plan: &Plan, out: &mut String) -> Result<()> {
    let m = &plan.model.metadata;
    let protocol = match m.protocol.as_str() {
        "json" => "Json",
        "query" => "Query",
        "rest-json" => "RestJson",
        "rest-xml" => "RestXml",
        other => bail!("protocol {other} is not supported"),
    };
    // `rest-json` models may carry a JSON version that means nothing on the wire.
    let json_version = if m.protocol == "json" { m.json_version.as_str() } else { "" };
    let signing = m.signing_name.as_deref().unwrap_or(&m.endpoint_prefix);
    writeln!(out, "/// The service's tables.\npub static SERVICE: Service = Service {{")?;
    writeln!(out, "name: {:?}, signing_name: {signing:?}, protocol: Protocol::{protocol},", plan.service)?;
    writeln!(out, "target_prefix: {:?}, json_version: {json_version:?},", m.target_prefix)?;
    writeln!(out, "api_version: {:?}, xml_namespace: {:?},", m.api_version, m.xml_namespace)?;
    out.push_str("operations: &[\n");
    for op in &plan.operations {
        operation(plan, op, out)?;
    }
    out.push_str("],\nunserved: &[\n");
    for (name, op) in &plan.model.operations {
        if !plan.operations.iter().any(|o| o.name == *name) {
            writeln!(out, "({name:?}, {:?}, {:?}),", op.http.method, op.http.request_uri)?;
        }
    }
    out.push_str("],\n};\n\n");
    Ok(())
}

fn operation(plan: &Plan, op: &Operation, out: &mut String) -> Result<()> {
    let shape = |r: &Option<ShapeRef>| -> Result<String> {
        Ok(match r {
            Some(r) => format!("Some(&shapes::{})", plan.static_name(&r.shape)?),
            None => "None".into(),
        })
    };
    let wrapper = op.output.as_ref().and_then(|o| o.result_wrapper.as_deref()).unwrap_or_default();
    let mut errors = String::new();
    for e in &op.errors {
        write!(errors, "errors::{}, ", plan.static_name(&e.shape)?)?;
    }
    let unauthenticated = op.authtype.as_deref() == Some("none") || op.auth.iter().any(|a| a == "smithy.api#noAuth");
    writeln!(
        out,
        "Operation {{ name: {:?}, method: {:?}, uri: {:?}, status: {}, input: {}, output: {}, result_wrapper: {wrapper:?}, errors: &[{errors}], unauthenticated: {unauthenticated} }},",
        op.name,
        op.http.method,
        op.http.request_uri,
        op.http.response_code.unwrap_or(200),
        shape(&op.input)?,
        shape(&op.output)?,
    )?;
    Ok(())
}

fn kind(plan: &Plan, name: &str) -> Result<String> {
    let s = plan.model.shape(name)?;
    let target = |r: &Option<ShapeRef>| -> Result<String> {
        Ok(format!("&{}", plan.static_name(&r.as_ref().context("an element shape")?.shape)?))
    };
    let wire = |r: &Option<ShapeRef>, default: &str| {
        r.as_ref().and_then(|r| r.location_name.clone()).unwrap_or_else(|| default.to_owned())
    };
    let sized = matches!(s.kind.as_str(), "string" | "character" | "blob" | "list" | "map");
    let bounds = if sized { (s.min, s.max) } else { (None, None) };
    let size = format!("min: {}, max: {}", unsigned(name, bounds.0)?, unsigned(name, bounds.1)?);
    let range = format!("min: {}, max: {}", signed(s.min), signed(s.max));
    Ok(match s.kind.as_str() {
        _ if s.document => "Kind::Document".into(),
        "string" | "character" => {
            let (min, max) = (unsigned(name, s.min)?, unsigned(name, s.max)?);
            format!("text({min}, {max}, {:?}, &{:?})", s.pattern, s.options)
        }
        "integer" => format!("Kind::Integer {{ {range} }}"),
        "long" => format!("Kind::Long {{ {range} }}"),
        "float" | "double" => format!("Kind::Double {{ min: {:?}, max: {:?} }}", s.min, s.max),
        "boolean" => "Kind::Boolean".into(),
        "timestamp" => format!("Kind::Timestamp(TimestampFormat::{})", timestamp(name, s)?),
        "blob" => format!("Kind::Blob {{ {size}, streaming: {} }}", s.streaming),
        "list" => format!(
            "Kind::List {{ member: {}, member_name: {:?}, flattened: {}, {size} }}",
            target(&s.member)?,
            wire(&s.member, "member"),
            s.flattened
        ),
        "map" => format!(
            "Kind::Map {{ key: {}, value: {}, key_name: {:?}, value_name: {:?}, flattened: {}, {size} }}",
            target(&s.key)?,
            target(&s.value)?,
            wire(&s.key, "key"),
            wire(&s.value, "value"),
            s.flattened
        ),
        "structure" => structure(plan, name, s)?,
        other => bail!("{name}: shapes of type {other} are not generated"),
    })
}

fn structure(plan: &Plan, name: &str, s: &Shape) -> Result<String> {
    let rest = plan.model.metadata.protocol.starts_with("rest-");
    let mut out = String::from("Kind::Structure { members: &[\n");
    for (member, r) in &s.members {
        let location = match r.location.as_deref().filter(|_| rest) {
            None => "Body",
            Some("uri") => "Uri",
            Some("querystring") => "Query",
            Some("header") => "Header",
            Some("headers") => "Headers",
            Some("statusCode") => "Status",
            Some(other) => bail!("{name}.{member}: location {other} is unknown"),
        };
        writeln!(
            out,
            "member({member:?}, {:?}, Location::{location}, {}, {}, &{}),",
            r.location_name.as_ref().unwrap_or(member),
            s.required.contains(member),
            r.xml_attribute,
            plan.static_name(&r.shape)?
        )?;
    }
    let payload = match &s.payload {
        None => "None".into(),
        Some(p) => {
            let at = s.members.iter().position(|(m, _)| m == p);
            format!("Some({})", at.with_context(|| format!("{name}: payload {p} is no member"))?)
        }
    };
    write!(out, "], payload: {payload} }}")?;
    Ok(out)
}

fn timestamp(name: &str, s: &Shape) -> Result<&'static str> {
    Ok(match s.timestamp_format.as_deref() {
        None => "Default",
        Some("iso8601") => "Iso8601",
        Some("rfc822") => "Rfc822",
        Some("unixTimestamp") => "Unix",
        Some(other) => bail!("{name}: timestamp format {other} is unknown"),
    })
}

fn unsigned(name: &str, bound: Option<f64>) -> Result<String> {
    Ok(match bound {
        None => "None".into(),
        Some(b) if b >= 0.0 => format!("Some({})", b as u64),
        Some(b) => bail!("{name}: a size bound of {b}"),
    })
}

fn signed(bound: Option<f64>) -> String {
    bound.map_or_else(|| "None".into(), |b| format!("Some({})", b as i64))
}
