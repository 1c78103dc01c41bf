//! The `Principal` element of resource and trust policies.

use crate::context::{Principal, PrincipalKind};
use crate::error::ParseError;
use crate::json::Json;

/// Whom a statement names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Principals {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Anybody,
    /// An account, by its number or by its root ARN.
    Account(String),
    /// A user, role, session or federated user, by ARN.
    Arn(String),
    /// A user or role by unique id, as AWS stores the principal of a deleted identity.
    UniqueId(String),
    Service(String),
    Federated(String),
    CanonicalUser(String),
}

/// How closely a statement names a principal. The order is from the loosest to the closest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    /// Not at all.
    No,
    /// By its account: the account's own identity policies have the say.
    ByAccount,
    /// By its role: the session stays within boundary and session policies.
    ByRole,
    /// By everybody, by itself or by its session: an allow is enough.
    Directly,
}

impl Principals {
    /// Reads the element's value.
    pub(crate) fn parse(value: &Json) -> Result<Self, ParseError> {
        let mut entries = Vec::new();
        match value {
            Json::Text(text) if text == "*" => entries.push(Entry::Anybody),
            Json::Object(members) if !members.is_empty() => {
                for (class, value) in members {
                    for name in names(value)? {
                        entries.push(entry(class, name)?);
                    }
                }
            }
            _ => return Err(ParseError::invalid_principal()),
        }
        if entries.is_empty() {
            return Err(ParseError::invalid_principal());
        }
        Ok(Self { entries })
    }

    /// How the statement names `principal`.
    pub(crate) fn names(&self, principal: &Principal) -> Named {
        self.entries.iter().map(|entry| entry.names(principal)).max().unwrap_or(Named::No)
    }

    /// The named ARNs and accounts, for rooms that check that they exist.
    pub(crate) fn aws(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Arn(text) | Entry::Account(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The named services.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Service(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether anybody at all is named: a public policy.
    pub(crate) fn has_anybody(&self) -> bool {
        self.entries.contains(&Entry::Anybody)
    }
}

impl Entry {
    fn names(&self, principal: &Principal) -> Named {
        let direct = |same: bool| if same { Named::Directly } else { Named::No };
        match self {
            // A wildcard does not lift a session out of its boundary: only the session's own ARN does.
            Entry::Anybody if principal.kind == PrincipalKind::AssumedRole => Named::ByRole,
            Entry::Anybody => Named::Directly,
            Entry::Account(account) if *account != principal.account => Named::No,
            Entry::Account(_) if principal.kind == PrincipalKind::Root => Named::Directly,
            Entry::Account(_) => Named::ByAccount,
            Entry::Arn(arn) if *arn == principal.arn => Named::Directly,
            Entry::Arn(arn) if principal.role_arn.as_ref() == Some(arn) => Named::ByRole,
            Entry::Arn(_) => Named::No,
            Entry::UniqueId(id) if *id == principal.user_id => Named::Directly,
            Entry::UniqueId(id) => {
                let role = principal.user_id.split_once(':').map(|(role, _)| role);
                if role == Some(id.as_str()) { Named::ByRole } else { Named::No }
            }
            Entry::Service(name) => direct(principal.kind == PrincipalKind::Service && *name == principal.arn),
            Entry::Federated(name) => direct(principal.kind == PrincipalKind::FederatedUser && *name == principal.arn),
            Entry::CanonicalUser(id) => direct(!principal.user_id.is_empty() && *id == principal.user_id),
        }
    }
}

fn names(value: &Json) -> Result<Vec<&str>, ParseError> {
    fn text(item: &Json) -> Result<&str, ParseError> {
        match item {
            Json::Text(text) => Ok(text.as_str()),
            _ => Err(ParseError::invalid_principal()),
        }
    }
    match value {
        Json::List(items) => items.iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

fn entry(class: &str, name: &str) -> Result<Entry, ParseError> {
    let refuse = || ParseError::principal(class, name);
    match class {
        "AWS" => aws_entry(name).ok_or_else(refuse),
        "Service" => {
            let known = name.ends_with(".amazonaws.com") || name.ends_with(".amazonaws.com.cn");
            if known && name.is_ascii() { Ok(Entry::Service(name.to_owned())) } else { Err(refuse()) }
        }
        "Federated" if !name.is_empty() => Ok(Entry::Federated(name.to_owned())),
        "CanonicalUser" if !name.is_empty() => Ok(Entry::CanonicalUser(name.to_owned())),
        _ => Err(refuse()),
    }
}

fn aws_entry(name: &str) -> Option<Entry> {
    if name == "*" {
        return Some(Entry::Anybody);
    }
    if is_account(name) {
        return Some(Entry::Account(name.to_owned()));
    }
    if name.len() >= 16 && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
        return Some(Entry::UniqueId(name.to_owned()));
    }
    let parts: Vec<&str> = name.splitn(6, ':').collect();
    let &["arn", partition, service, region, account, resource] = parts.as_slice() else {
        return None;
    };
    // Wildcards inside an ARN are not part of the language: a principal is named whole or not at all.
    let whole = region.is_empty() && is_account(account) && !resource.contains(['*', '?']);
    if !partition.starts_with("aws") || !whole {
        return None;
    }
    match (service, resource.split_once('/')) {
        ("iam", None) if resource == "root" => Some(Entry::Account(account.to_owned())),
        ("iam", Some(("user" | "role", rest))) | ("sts", Some(("assumed-role" | "federated-user", rest)))
            if !rest.is_empty() =>
        {
            Some(Entry::Arn(name.to_owned()))
        }
        _ => None,
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}
