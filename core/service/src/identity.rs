//! Credentials, roles and decisions; the iam room implements them.

use crate::{Ctx, Principal};
use async_trait::async_trait;
use squall_types::Millis;
use std::time::Duration;

/// One thing that a request does to one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// IAM action, such as `dynamodb:PutItem`.
    pub action: String,
    /// Resource ARN, or `*`.
    pub resource: String,
    /// Condition keys of the service (`dynamodb:LeadingKeys`), each with its values. Global keys are added by the gateway.
    pub context: Vec<(String, Vec<String>)>,
}

impl Access {
    /// An access without service-specific condition keys.
    #[must_use]
    pub fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resource: resource.into(), context: Vec::new() }
    }
}

/// What an access key stands for.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Secret access key.
    pub secret: String,
    /// Whose key it is.
    pub principal: Principal,
}

/// Why an access key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialError {
    /// No such key, an inactive one, or a session token that does not belong to it.
    Unknown,
    /// The session is over.
    Expired,
}

/// Temporary credentials of a role.
#[derive(Clone, Debug)]
pub struct SessionCredentials {
    /// `ASIA…`.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: String,
    /// Session token, to be sent with every request.
    pub session_token: String,
    /// End of validity.
    pub expires: Millis,
}

/// Whether a service may take on a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleCheck {
    /// It may.
    Trusted,
    /// There is no such role.
    Missing,
    /// The role's trust policy does not allow it.
    NotTrusted,
}

/// The text of AWS's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessDenied {
    /// `User: … is not authorized to perform: … on resource: … because …`.
    pub message: String,
}

/// Knows keys, roles and policies.
#[async_trait]
pub trait Identity: Send + Sync {
    /// The secret and principal of an access key. Answered from memory on the hot path.
    async fn credential(&self, access_key: &str, session_token: Option<&str>) -> Result<Credential, CredentialError>;

    /// Decides on every access of a request; the first refusal wins. `resource_policies` runs parallel to `accesses`.
    async fn authorise(
        &self,
        ctx: &Ctx,
        accesses: &[Access],
        resource_policies: &[Option<String>],
    ) -> Result<(), AccessDenied>;

    /// Whether `service` (such as `lambda.amazonaws.com`) may assume the role.
    async fn role_check(&self, role_arn: &str, service: &str) -> RoleCheck;

    /// Temporary credentials of a role for a service of this cloud; the trust policy was checked when the resource was made.
    ///
    /// Costs no disk write: the token carries what it stands for, sealed with the cloud's key.
    async fn session(&self, role_arn: &str, session_name: &str, valid: Duration) -> Option<SessionCredentials>;
}
