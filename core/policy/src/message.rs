//! AWS's text of a refusal.

use crate::context::{PrincipalKind, Request};
use crate::evaluate::{Decision, PolicyKind};

/// The text of `AccessDenied` for a decision that refuses; none for one that allows.
///
/// Shape: `User: ARN is not authorized to perform: ACTION on resource: ARN because no identity-based policy allows the
/// ACTION action`, or `… with an explicit deny in an identity-based policy`. Anonymous callers are named `anonymous`.
#[must_use]
pub fn access_denied(request: &Request<'_>, decision: Decision) -> Option<String> {
    let Decision::Deny { explicit, kind } = decision else {
        return None;
    };
    let Request { action, resource, .. } = request;
    let name = policy_name(kind);
    let reason = match (explicit, kind) {
        (true, PolicyKind::IdentityBased) => format!("with an explicit deny in an {name}"),
        (true, PolicyKind::RoleTrust) => format!("with an explicit deny in the {name}"),
        (true, _) => format!("with an explicit deny in a {name}"),
        (false, _) => format!("because no {name} allows the {action} action"),
    };
    Some(format!("{} on resource: {resource} {reason}", subject(request)))
}

/// The same without resource and reason, as services with an older text (`sts:AssumeRole` among them) give it:
/// `User: ARN is not authorized to perform: ACTION on resource: ARN`.
#[must_use]
pub fn access_denied_short(request: &Request<'_>) -> String {
    format!("{} on resource: {}", subject(request), request.resource)
}

fn subject(request: &Request<'_>) -> String {
    let principal = request.principal;
    let who = if principal.kind == PrincipalKind::Anonymous { "anonymous" } else { &principal.arn };
    format!("User: {who} is not authorized to perform: {}", request.action)
}

fn policy_name(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::IdentityBased => "identity-based policy",
        PolicyKind::ResourceBased => "resource-based policy",
        PolicyKind::RoleTrust => "role trust policy",
        PolicyKind::PermissionsBoundary => "permissions boundary",
        PolicyKind::Session => "session policy",
    }
}
