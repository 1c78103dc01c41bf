//! The decision on a request from all policies that bear on it, in AWS's order.
//!
//! 1. An explicit deny in any policy refuses.
//! 2. A resource policy of the same account that names the caller itself allows.
//! 3. Otherwise an identity policy must allow (or, for a role named by its ARN, the resource policy), and a permissions
//!    boundary and a session policy that are there must allow as well.
//! 4. Across accounts both the resource policy and an identity policy must allow.
//! 5. What nothing allows is refused.
//!
//! The root user needs no identity policy; only a resource policy's explicit deny stops it. Services and anonymous callers
//! have no identity policies: the resource policy alone decides.

use std::sync::Arc;

use crate::context::{PrincipalKind, Request, account_of};
use crate::document::{Policy, Verdict};
use crate::principal::Named;

/// The kind of policy behind a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// A policy of the user, its groups or the role.
    IdentityBased,
    /// A policy of the resource.
    ResourceBased,
    /// A role's trust policy.
    RoleTrust,
    /// The permissions boundary.
    PermissionsBoundary,
    /// A policy given with the session.
    Session,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The request may go on.
    Allow,
    /// The request is refused.
    Deny {
        /// A statement refuses it, rather than none allowing it.
        explicit: bool,
        /// The policies that decided.
        kind: PolicyKind,
    },
}

impl Decision {
    /// Whether the request may go on.
    #[must_use]
    pub fn is_allowed(self) -> bool {
        self == Self::Allow
    }
}

/// A resource's own policy and what it means.
#[derive(Clone, Copy, Debug)]
pub enum ResourcePolicy<'a> {
    /// The resource has none.
    None,
    /// It may allow by itself, beside identity policies: buckets, queues, topics, functions.
    Additive(&'a Policy),
    /// Nothing is allowed without it: keys. An account that it names has its own identity policies decide.
    Required(&'a Policy),
    /// As `Required`, for `sts:AssumeRole*` on a role.
    Trust(&'a Policy),
}

/// The policies that bear on a request.
#[derive(Clone, Copy, Debug)]
pub struct PolicySets<'a> {
    /// Inline and managed policies of the user and its groups, or of the role.
    pub identity: &'a [Arc<Policy>],
    /// The permissions boundary.
    pub boundary: Option<&'a Policy>,
    /// Policies given with the session: each list element may allow. None given: no limit.
    pub session: Option<&'a [Arc<Policy>]>,
    /// The resource's policy.
    pub resource: ResourcePolicy<'a>,
    /// The account that owns the resource, where the ARN does not say (buckets). None: the ARN's, else the caller's.
    pub resource_account: Option<&'a str>,
}

impl Default for PolicySets<'_> {
    fn default() -> Self {
        Self { identity: &[], boundary: None, session: None, resource: ResourcePolicy::None, resource_account: None }
    }
}

/// Decides on a request.
#[must_use]
pub fn evaluate(request: &Request<'_>, sets: &PolicySets<'_>) -> Decision {
    // Actions compare without case; the buffer spares the heap for every action that AWS has.
    let mut buffer = [0_u8; 128];
    match buffer.get_mut(..request.action.len()) {
        Some(space) => {
            space.copy_from_slice(request.action.as_bytes());
            space.make_ascii_lowercase();
            match std::str::from_utf8(space) {
                Ok(action) => decide(request, action, sets),
                Err(_) => Decision::Deny { explicit: false, kind: PolicyKind::IdentityBased },
            }
        }
        None => decide(request, &request.action.to_ascii_lowercase(), sets),
    }
}

fn decide(request: &Request<'_>, action: &str, sets: &PolicySets<'_>) -> Decision {
    let explicit = |kind| Decision::Deny { explicit: true, kind };
    let implicit = |kind| Decision::Deny { explicit: false, kind };
    let (resource_policy, resource_kind, required) = match sets.resource {
        ResourcePolicy::None => (None, PolicyKind::ResourceBased, false),
        ResourcePolicy::Additive(policy) => (Some(policy), PolicyKind::ResourceBased, false),
        ResourcePolicy::Required(policy) => (Some(policy), PolicyKind::ResourceBased, true),
        ResourcePolicy::Trust(policy) => (Some(policy), PolicyKind::RoleTrust, true),
    };
    let nothing = Verdict { denied: false, allowed: Named::No };
    let resource = resource_policy.map_or(nothing, |policy| policy.verdict(request, action));
    let kind = request.principal.kind;
    if matches!(kind, PrincipalKind::Service | PrincipalKind::Anonymous) {
        return match resource {
            Verdict { denied: true, .. } => explicit(resource_kind),
            Verdict { allowed: Named::No, .. } => implicit(resource_kind),
            _ => Decision::Allow,
        };
    }
    let is_root = kind == PrincipalKind::Root;
    let mut identity_allows = is_root;
    if !is_root {
        for policy in sets.identity {
            let verdict = policy.verdict(request, action);
            if verdict.denied {
                return explicit(PolicyKind::IdentityBased);
            }
            identity_allows |= verdict.allowed > Named::No;
        }
    }
    if resource.denied {
        return explicit(resource_kind);
    }
    let boundary = sets.boundary.filter(|_| !is_root).map(|policy| policy.verdict(request, action));
    if boundary.is_some_and(|verdict| verdict.denied) {
        return explicit(PolicyKind::PermissionsBoundary);
    }
    let session = match sets.session.filter(|_| !is_root).map(|policies| any(policies, request, action)) {
        Some(Verdict { denied: true, .. }) => return explicit(PolicyKind::Session),
        Some(verdict) => Some(verdict.allowed > Named::No),
        None => None,
    };

    let owner = sets.resource_account.unwrap_or_else(|| account_of(request.resource));
    if owner.is_empty() || owner == request.principal.account {
        if resource.allowed == Named::Directly {
            return Decision::Allow;
        }
        if required && resource.allowed == Named::No && resource_policy.is_some() {
            return implicit(resource_kind);
        }
        identity_allows |= resource.allowed == Named::ByRole;
    } else if resource.allowed == Named::No {
        let kind = if identity_allows { resource_kind } else { PolicyKind::IdentityBased };
        return implicit(kind);
    }
    if !identity_allows {
        return implicit(PolicyKind::IdentityBased);
    }
    if boundary.is_some_and(|verdict| verdict.allowed == Named::No) {
        return implicit(PolicyKind::PermissionsBoundary);
    }
    if session == Some(false) {
        return implicit(PolicyKind::Session);
    }
    Decision::Allow
}

fn any(policies: &[Arc<Policy>], request: &Request<'_>, action: &str) -> Verdict {
    let mut sum = Verdict { denied: false, allowed: Named::No };
    for policy in policies {
        let verdict = policy.verdict(request, action);
        sum.denied |= verdict.denied;
        sum.allowed = sum.allowed.max(verdict.allowed);
    }
    sum
}
