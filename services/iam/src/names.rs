//! ARNs and unique ids of this account's identities.

use squall_types::{Arn, Random};

/// The ARN of a role (`kind` = `role`), user or policy.
#[must_use]
pub fn arn(account: &str, kind: &str, path: &str, name: &str) -> String {
    format!("arn:aws:iam::{account}:{kind}{path}{name}")
}

/// The ARN of a role's session.
#[must_use]
pub fn session_arn(account: &str, role: &str, session: &str) -> String {
    format!("arn:aws:sts::{account}:assumed-role/{role}/{session}")
}

/// The name at the end of an ARN of that kind in this account; none if it is anything else.
#[must_use]
pub fn name_in<'a>(arn: &'a str, account: &str, kind: &str) -> Option<&'a str> {
    let rest = arn.strip_prefix("arn:aws:iam::")?.strip_prefix(account)?.strip_prefix(':')?;
    let rest = rest.strip_prefix(kind)?.strip_prefix('/')?;
    Some(rest.rsplit('/').next().unwrap_or(rest))
}

/// Whether a text has the parts that IAM asks of an ARN: partition, service, five colons and a resource.
#[must_use]
pub fn is_arn(text: &str) -> bool {
    text.parse::<Arn>().is_ok_and(|a| !a.partition.is_empty() && !a.service.is_empty() && !a.resource.is_empty())
}

/// `prefix` and 17 characters as AWS's unique ids have them.
#[must_use]
pub fn unique_id(random: &dyn Random, prefix: &str) -> String {
    format!("{prefix}{}", random.text(BASE32, 17))
}

/// An access key id: `AKIA` or `ASIA` and 16 characters.
#[must_use]
pub fn key_id(random: &dyn Random, prefix: &str) -> String {
    format!("{prefix}{}", random.text(BASE32, 16))
}

/// A secret access key of 40 characters: 240 random bits.
#[must_use]
pub fn secret(random: &dyn Random) -> String {
    random.text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 40)
}

const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
