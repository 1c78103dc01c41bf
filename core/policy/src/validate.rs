//! The shape of a document and IAM's checks on it, in the order in which AWS finds faults.
//!
//! Identity documents pass IAM's first parser: any wrong shape is `Syntax errors in policy.`, then version, resources,
//! repeated ids, missing actions and resources, and last the actions' names. Trust and resource documents pass a second
//! parser with words of its own.

use std::collections::HashSet;

use crate::document::{DocumentKind, Effect};
use crate::error::ParseError;
use crate::json::Json;

/// A document taken apart.
pub(crate) struct Shape<'a> {
    pub(crate) version_2012: bool,
    pub(crate) id: Option<&'a str>,
    pub(crate) statements: Vec<RawStatement<'a>>,
}

/// A statement taken apart.
pub(crate) struct RawStatement<'a> {
    pub(crate) sid: Option<&'a str>,
    pub(crate) effect: Effect,
    pub(crate) principal: Option<&'a Json>,
    pub(crate) not_principal: Option<&'a Json>,
    pub(crate) actions: RawList<'a>,
    pub(crate) resources: Option<RawList<'a>>,
    pub(crate) condition: Option<&'a Json>,
}

/// `X` or `NotX`, one string or many.
pub(crate) struct RawList<'a> {
    pub(crate) negated: bool,
    pub(crate) items: Vec<&'a str>,
}

type Members = [(String, Json)];

/// Checks a document's members and gives its parts.
pub(crate) fn shape(members: &Members, kind: DocumentKind) -> Result<Shape<'_>, ParseError> {
    let words = Words { kind };
    let (mut version, mut id, mut statement) = (None, None, None);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("Version", Json::Text(text)) => version = Some(text.as_str()),
            ("Version", _) => return Err(words.version()),
            ("Id", Json::Text(text)) => id = Some(text.as_str()),
            ("Statement", value) => statement = Some(value),
            _ => return Err(words.unknown_field(name)),
        }
    }
    if version.is_some_and(|v| v != "2012-10-17" && v != "2008-10-17") {
        return Err(words.version());
    }
    let raw: Vec<&Json> = match statement {
        Some(Json::List(items)) => items.iter().collect(),
        Some(one @ Json::Object(_)) => vec![one],
        Some(_) => return Err(words.other()),
        None => return Err(words.missing("Statement")),
    };
    if raw.is_empty() {
        return Err(words.other());
    }
    let mut statements = Vec::with_capacity(raw.len());
    for value in raw {
        let Json::Object(members) = value else {
            return Err(words.other());
        };
        statements.push(words.statement(members)?);
    }
    let version_2012 = version == Some("2012-10-17");
    if kind == DocumentKind::Managed && !version_2012 {
        return Err(ParseError::new("Policy document must be version 2012-10-17 or greater."));
    }
    check_statements(&statements, kind)?;
    Ok(Shape { version_2012, id, statements })
}

/// The parser of a kind of document: which members it knows and what it says.
#[derive(Clone, Copy)]
struct Words {
    kind: DocumentKind,
}

impl Words {
    fn has_principal(self) -> bool {
        matches!(self.kind, DocumentKind::Trust | DocumentKind::Resource)
    }

    fn pick(self, second_parser: impl FnOnce() -> String) -> ParseError {
        if self.has_principal() { ParseError::new(second_parser()) } else { ParseError::syntax() }
    }

    fn version(self) -> ParseError {
        self.pick(|| "The policy must contain a valid version string".into())
    }

    fn unknown_field(self, name: &str) -> ParseError {
        self.pick(|| format!("Unknown field {name}"))
    }

    fn missing(self, name: &str) -> ParseError {
        self.pick(|| format!("Missing required field {name}"))
    }

    fn other(self) -> ParseError {
        self.pick(|| "Invalid policy syntax.".into())
    }

    fn statement(self, members: &Members) -> Result<RawStatement<'_>, ParseError> {
        let (mut sid, mut effect, mut condition) = (None, None, None);
        let (mut principal, mut not_principal) = (None, None);
        let (mut actions, mut resources) = (None, None);
        for (name, value) in members {
            match name.as_str() {
                "Sid" => sid = Some(self.text(value)?),
                "Effect" => effect = Some(self.effect(value)?),
                "Principal" | "NotPrincipal" if !self.has_principal() => {
                    return Err(ParseError::new("Policy document should not specify a principal."));
                }
                "Resource" | "NotResource" if self.kind == DocumentKind::Trust => {
                    return Err(ParseError::new(format!("Has prohibited field {name}")));
                }
                "Principal" => principal = Some(value),
                "NotPrincipal" => not_principal = Some(value),
                "Action" | "NotAction" => self.once(&mut actions, name, value)?,
                "Resource" | "NotResource" => self.once(&mut resources, name, value)?,
                "Condition" => condition = Some(value),
                _ => return Err(self.unknown_field(name)),
            }
        }
        let effect = effect.ok_or_else(|| self.missing("Effect"))?;
        if self.has_principal() {
            match (principal, not_principal) {
                (None, None) => return Err(self.missing("Principal")),
                (Some(_), Some(_)) => return Err(ParseError::invalid_principal()),
                // NotPrincipal with Allow would grant to everybody else, anonymous callers included.
                (None, Some(_)) if effect == Effect::Allow => {
                    return Err(ParseError::new("Allow with NotPrincipal is not allowed."));
                }
                _ => {}
            }
        }
        let empty = RawList { negated: false, items: Vec::new() };
        let actions = actions.unwrap_or(empty);
        Ok(RawStatement { sid, effect, principal, not_principal, actions, resources, condition })
    }

    fn once<'a>(self, slot: &mut Option<RawList<'a>>, name: &str, value: &'a Json) -> Result<(), ParseError> {
        let items = match value {
            Json::Text(text) => vec![text.as_str()],
            Json::List(items) => items.iter().map(|item| self.text(item)).collect::<Result<_, _>>()?,
            _ => return Err(self.other()),
        };
        let list = RawList { negated: name.starts_with("Not"), items };
        if slot.replace(list).is_some() { Err(self.other()) } else { Ok(()) }
    }

    fn text(self, value: &Json) -> Result<&str, ParseError> {
        match value {
            Json::Text(text) => Ok(text),
            _ => Err(self.other()),
        }
    }

    fn effect(self, value: &Json) -> Result<Effect, ParseError> {
        match self.text(value)? {
            "Allow" => Ok(Effect::Allow),
            "Deny" => Ok(Effect::Deny),
            other if other.eq_ignore_ascii_case("allow") || other.eq_ignore_ascii_case("deny") => {
                Err(if self.has_principal() {
                    ParseError::new(format!("Invalid effect: {other}"))
                } else {
                    ParseError::legacy()
                })
            }
            other => Err(self.pick(|| format!("Invalid effect: {other}"))),
        }
    }
}

fn check_statements(statements: &[RawStatement<'_>], kind: DocumentKind) -> Result<(), ParseError> {
    match kind {
        DocumentKind::Managed | DocumentKind::Inline => check_identity(statements),
        DocumentKind::Trust => check_trust(statements),
        DocumentKind::Resource => check_resource(statements),
    }
}

fn check_identity(statements: &[RawStatement<'_>]) -> Result<(), ParseError> {
    let resources = || statements.iter().filter_map(|statement| statement.resources.as_ref());
    // The first bad resource is reported only after the checks below; one that breaks the old parser comes before them.
    let mut bad_resource = None;
    for list in resources() {
        for resource in &list.items {
            match check_resource_arn(resource) {
                Err(ResourceFault::Legacy) if bad_resource.is_none() => return Err(ParseError::legacy()),
                Err(ResourceFault::Text(text)) if bad_resource.is_none() => bad_resource = Some(text),
                _ => {}
            }
        }
    }
    let mut sids = HashSet::new();
    for sid in statements.iter().filter_map(|statement| statement.sid).filter(|sid| !sid.is_empty()) {
        if !sids.insert(sid) {
            return Err(ParseError::new("Statement IDs (SID) in a single policy must be unique."));
        }
    }
    if statements.iter().any(|statement| statement.actions.items.is_empty()) {
        return Err(ParseError::new("Policy statement must contain actions."));
    }
    for action in statements.iter().flat_map(|statement| &statement.actions.items) {
        check_action(action)?;
    }
    if statements.iter().any(|s| s.resources.as_ref().is_none_or(|list| list.items.is_empty())) {
        return Err(ParseError::new("Policy statement must contain resources."));
    }
    bad_resource.map_or(Ok(()), |text| Err(ParseError::new(text)))
}

fn check_action(action: &str) -> Result<(), ParseError> {
    if action == "*" {
        return Ok(());
    }
    let Some((vendor, name)) = action.split_once(':') else {
        return Err(ParseError::new("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."));
    };
    if name.contains(':') {
        return Err(ParseError::new("Actions/Condition can contain only one colon."));
    }
    if vendor != "*" && !vendor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') {
        return Err(ParseError::new(format!("Vendor {vendor} is not valid")));
    }
    Ok(())
}

enum ResourceFault {
    /// The old parser gives up.
    Legacy,
    Text(String),
}

fn check_resource_arn(resource: &str) -> Result<(), ResourceFault> {
    let fault = |text: String| Err(ResourceFault::Text(text));
    if resource == "*" {
        return Ok(());
    }
    let Some((scheme, rest)) = resource.split_once(':') else {
        return fault(format!("Resource {resource} must be in ARN format or \"*\"."));
    };
    let (partition, rest) = rest.split_once(':').map_or((rest, None), |(p, r)| (p, Some(r)));
    if !matches!(partition, "aws" | "aws-cn" | "aws-us-gov" | "*") {
        let mut fields: Vec<&str> = rest.map(|rest| rest.splitn(4, ':').collect()).unwrap_or_default();
        fields.resize(4, "*");
        let fields = fields.join(":");
        return fault(format!("Partition \"{partition}\" is not valid for resource \"arn:{partition}:{fields}\"."));
    }
    let Some(rest) = rest else {
        return fault("Resource vendor must be fully qualified and cannot contain regexes.".into());
    };
    let (service, rest) = rest.split_once(':').map_or((rest, ""), |(service, rest)| (service, rest));
    let region_fault = match service {
        "iam" => Some(format!("IAM resource {resource} cannot contain region information.")),
        "s3" => Some(format!("Resource {resource} can not contain region information.")),
        _ => None,
    };
    if let Some(text) = region_fault.filter(|_| !rest.starts_with(':') && !rest.starts_with("*:")) {
        return fault(text);
    }
    let path = rest.splitn(3, ':').nth(2);
    if service == "iam" && !path.is_some_and(is_iam_path) {
        return fault(format!("IAM resource path must either be \"*\" or start with {}.", IAM_PATHS.join(", ")));
    }
    if scheme != "arn" || path.is_none() { Err(ResourceFault::Legacy) } else { Ok(()) }
}

const IAM_PATHS: [&str; 13] = [
    "user/",
    "federated-user/",
    "role/",
    "group/",
    "instance-profile/",
    "mfa/",
    "server-certificate/",
    "policy/",
    "sms-mfa/",
    "saml-provider/",
    "oidc-provider/",
    "report/",
    "access-report/",
];

fn is_iam_path(path: &str) -> bool {
    // A path may break off at a wildcard, as `*` and `rol*` do.
    let fixed = path.find(['*', '?', '$']).map_or(path, |at| path.get(..at).unwrap_or(path));
    let wild = fixed.len() < path.len();
    path == "root" || IAM_PATHS.iter().any(|known| path.starts_with(known) || (wild && known.starts_with(fixed)))
}

fn check_trust(statements: &[RawStatement<'_>]) -> Result<(), ParseError> {
    const ALLOWED: [&str; 3] = ["sts:tagsession", "sts:setsourceidentity", "sts:setcontext"];
    for statement in statements {
        if statement.actions.items.is_empty() {
            return Err(ParseError::new("Missing required field Action"));
        }
        let known = |action: &&str| {
            let action = action.to_ascii_lowercase();
            action.starts_with("sts:assumerole") || ALLOWED.contains(&action.as_str())
        };
        if statement.actions.negated || !statement.actions.items.iter().all(known) {
            return Err(ParseError::new("AssumeRole policy may only specify STS AssumeRole actions."));
        }
    }
    Ok(())
}

fn check_resource(statements: &[RawStatement<'_>]) -> Result<(), ParseError> {
    for statement in statements {
        if statement.actions.items.is_empty() {
            return Err(ParseError::new("Missing required field Action"));
        }
        if statement.resources.as_ref().is_none_or(|list| list.items.is_empty()) {
            return Err(ParseError::new("Missing required field Resource"));
        }
        if !statement.actions.items.iter().all(|action| check_action(action).is_ok()) {
            return Err(ParseError::new("Policy has invalid action"));
        }
        let items = statement.resources.iter().flat_map(|list| &list.items);
        if items.into_iter().any(|resource| *resource != "*" && !resource.starts_with("arn:")) {
            return Err(ParseError::new("Policy has invalid resource"));
        }
    }
    Ok(())
}
