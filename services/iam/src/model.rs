//! The records: what is stored of a role, a user, a managed policy and the root.

use serde::{Deserialize, Serialize};
use squall_types::Millis;
use std::collections::BTreeMap;

/// A tag's key and value, in the order in which they were set.
pub type Tags = Vec<(String, String)>;

/// What roles and users have in common: an identity that holds policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Name as it was written; unique without regard to case.
    pub name: String,
    /// Path, `/` or `/…/`.
    pub path: String,
    /// Unique id, `AROA…` or `AIDA…`, never used again.
    pub id: String,
    /// When it was made.
    pub created: Millis,
    /// ARN of the permissions boundary.
    pub boundary: Option<String>,
    /// Tags.
    pub tags: Tags,
    /// Inline policies by name.
    pub inline: BTreeMap<String, String>,
    /// ARNs of attached managed policies, in the order in which they were attached.
    pub attached: Vec<String>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// What it shares with users.
    pub holder: Holder,
    /// The trust policy's document.
    pub trust: String,
    /// Description.
    pub description: Option<String>,
    /// Longest session in seconds.
    pub session_secs_max: i32,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// What it shares with roles.
    pub holder: Holder,
    /// Access keys, oldest first.
    pub keys: Vec<AccessKey>,
}

/// A user's access key. The secret is readable: signatures cannot be verified without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// `AKIA…`.
    pub id: String,
    /// Secret access key.
    pub secret: String,
    /// Whether it may be used.
    pub active: bool,
    /// When it was made.
    pub created: Millis,
}

/// A customer managed policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedPolicy {
    /// Name; unique without regard to case and path.
    pub name: String,
    /// Path.
    pub path: String,
    /// Unique id, `ANPA…`.
    pub id: String,
    /// When it was made.
    pub created: Millis,
    /// When its versions last changed.
    pub updated: Millis,
    /// Description.
    pub description: Option<String>,
    /// Tags.
    pub tags: Tags,
    /// Versions by number; at most five.
    pub versions: BTreeMap<u32, Version>,
    /// Number of the version in force.
    pub default: u32,
    /// Highest number ever given: a number is never used again.
    pub last: u32,
}

/// One version of a managed policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Document.
    pub document: String,
    /// When it was made.
    pub created: Millis,
}

/// The root's credentials and the key that seals sessions; one row per cloud.
#[derive(Clone, Serialize, Deserialize)]
pub struct Root {
    /// `AKIA…`.
    pub access_key_id: String,
    /// Secret access key.
    pub secret: String,
    /// 32 bytes in base64.
    pub sealing_key: String,
    /// When the cloud began.
    pub created: Millis,
}
