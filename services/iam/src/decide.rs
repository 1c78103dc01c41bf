//! From an authenticated caller to a decision: finds the policies that bear on a request and asks the evaluation.

use crate::error::Error;
use crate::model::{Holder, Role, Tags, User};
use crate::registry::Registry;
use crate::world::Grants;
use parking_lot::RwLock;
use squall_policy::{
    Context, Decision, DocumentKind, Policy, PolicySets, Request, ResourcePolicy, account_of, evaluate,
};
use squall_service::{Access, Ctx, Principal};
use std::collections::HashMap;
use std::sync::Arc;

/// Compiled session and resource policies that are kept; beyond it the collection begins anew.
const COMPILED_MAX: usize = 256;

/// The caller as the evaluation sees it, with the policies that it holds.
pub struct Subject {
    /// Who.
    pub principal: squall_policy::Principal,
    grants: Option<Grants>,
    session: Option<Arc<[Arc<Policy>]>>,
}

/// Compiles policies that come as text with each request, once.
#[derive(Default)]
pub struct Compiler {
    sessions: RwLock<HashMap<String, Arc<[Arc<Policy>]>>>,
    resources: RwLock<HashMap<String, Arc<Policy>>>,
}

impl Compiler {
    /// Session policies: one document, or a JSON list of documents as texts.
    ///
    /// # Errors
    /// They were checked when the session was made: that they fail now is no fault of the caller.
    pub fn session(&self, text: &str) -> Result<Arc<[Arc<Policy>]>, Error> {
        keep(&self.sessions, text, || {
            let documents = match text.starts_with('[') {
                true => serde_json::from_str(text).map_err(|e| Error::internal("read session policies", e))?,
                false => vec![text.to_owned()],
            };
            let compile = |document: &String| Ok(Arc::new(Policy::parse(document, DocumentKind::Inline)?));
            documents.iter().map(compile).collect()
        })
    }

    /// A resource's policy.
    ///
    /// # Errors
    /// As above.
    pub fn resource(&self, text: &str) -> Result<Arc<Policy>, Error> {
        keep(&self.resources, text, || Ok(Arc::new(Policy::parse(text, DocumentKind::Resource)?)))
    }
}

fn keep<T: Clone>(
    held: &RwLock<HashMap<String, T>>,
    text: &str,
    compile: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    if let Some(found) = held.read().get(text) {
        return Ok(found.clone());
    }
    let made = compile()?;
    let mut held = held.write();
    if held.len() >= COMPILED_MAX {
        held.clear();
    }
    held.insert(text.to_owned(), made.clone());
    Ok(made)
}

impl Subject {
    /// Finds what a caller holds. An identity that is gone holds nothing.
    ///
    /// # Errors
    /// A session's policies cannot be read.
    pub fn find(registry: &Registry, compiler: &Compiler, caller: &Principal) -> Result<Self, Error> {
        use squall_policy::Principal as P;
        let (mut principal, held, session) = match caller {
            Principal::Root { account } => (P::root(account), None, None),
            Principal::Service { name } => (P::service(name), None, None),
            Principal::Anonymous => (P::anonymous(), None, None),
            Principal::User { arn, name, id } => {
                let entry = registry.find::<User>(name).filter(|entry| entry.record.holder.id == *id);
                let held = entry.map(|e| (e.compiled.clone(), tags(&e.record.holder)));
                (P::user(arn, id), held, None)
            }
            Principal::Session { arn, role_arn, user_id, policy } => {
                let role_id = user_id.split(':').next().unwrap_or_default();
                let name = role_arn.rsplit('/').next().unwrap_or_default();
                let entry = registry.find::<Role>(name).filter(|entry| entry.record.holder.id == role_id);
                let held = entry.map(|e| (e.compiled.grants.clone(), tags(&e.record.holder)));
                let session = policy.as_deref().map(|text| compiler.session(text)).transpose()?;
                (P::assumed_role(arn, role_arn, user_id), held, session)
            }
        };
        let (grants, tags) = held.map_or((None, Tags::new()), |(grants, tags)| (Some(grants), tags));
        principal.tags = tags;
        Ok(Self { principal, grants, session })
    }

    /// Decides on one access.
    #[must_use]
    pub fn decide(&self, access: &Access, context: &Context, resource: ResourcePolicy<'_>) -> Decision {
        let sets = PolicySets {
            identity: self.grants.as_ref().map_or(&[], |grants| &grants.identity),
            boundary: self.grants.as_ref().and_then(|grants| grants.boundary.as_deref()),
            session: self.session.as_deref(),
            resource,
            resource_account: None,
        };
        evaluate(&self.request(access, context), &sets)
    }

    /// The request that a decision is about.
    #[must_use]
    pub fn request<'a>(&'a self, access: &'a Access, context: &'a Context) -> Request<'a> {
        Request { principal: &self.principal, action: &access.action, resource: &access.resource, context }
    }
}

fn tags(holder: &Holder) -> Tags {
    holder.tags.clone()
}

/// The condition keys that every request has.
#[must_use]
pub fn globals(ctx: &Ctx) -> Context {
    let mut context = Context::new()
        .with("aws:SourceIp", ctx.source_ip.to_canonical().to_string())
        .with("aws:SecureTransport", "false")
        .with("aws:ViaAWSService", "false")
        .with("aws:RequestedRegion", ctx.region.as_str());
    if !ctx.user_agent.is_empty() {
        context.set("aws:UserAgent", [ctx.user_agent.clone()]);
    }
    context.set_now_ms(ctx.time.0);
    context
}

/// The global keys with those of one access.
#[must_use]
pub fn context(globals: &Context, access: &Access) -> Context {
    let mut context = globals.clone();
    let owner = account_of(&access.resource);
    if !owner.is_empty() {
        context.set("aws:ResourceAccount", [owner.to_owned()]);
    }
    for (key, values) in &access.context {
        context.set(key.clone(), values.iter().cloned());
    }
    context
}
