//! What the gateway and the other rooms ask: whose key is this, may they, and credentials for a role.

use crate::decide::{self, Subject};
use crate::error::Error;
use crate::model::{Role, User};
use crate::names;
use crate::room::Iam;
use crate::session::{self, Claims};
use async_trait::async_trait;
use squall_policy::{Context, Decision, ResourcePolicy, access_denied};
use squall_service::{
    Access, AccessDenied, Credential, CredentialError, Ctx, Identity, Principal, RoleCheck, SessionCredentials,
};
use squall_types::Millis;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Opened sessions that are kept; beyond it the collection begins anew.
const SESSIONS_MAX: usize = 1_024;

/// A session whose token was opened before.
pub struct Opened {
    token: String,
    credential: Credential,
    expires: Millis,
    role: String,
    role_id: String,
    /// Registry's epoch when its managed session policies were read; none when it has no such policies.
    policy_epoch: Option<u64>,
}

#[async_trait]
impl Identity for Iam {
    async fn credential(&self, access_key: &str, session_token: Option<&str>) -> Result<Credential, CredentialError> {
        match session_token.filter(|token| !token.is_empty()) {
            Some(token) => self.session_credential(access_key, token),
            None if access_key == self.root.access_key_id => {
                let principal = Principal::Root { account: self.deps.account.to_string() };
                Ok(Credential { secret: self.root.secret.clone(), principal })
            }
            None => self.user_credential(access_key).ok_or(CredentialError::Unknown),
        }
    }

    async fn authorise(
        &self,
        ctx: &Ctx,
        accesses: &[Access],
        resource_policies: &[Option<String>],
    ) -> Result<(), AccessDenied> {
        self.note_use(ctx, accesses);
        if accesses.is_empty() || matches!(ctx.principal, Principal::Root { .. }) {
            return Ok(());
        }
        let subject = Subject::find(&self.registry, &self.compiler, &ctx.principal).map_err(|e| broken(ctx, e))?;
        let globals = decide::globals(ctx);
        for (i, access) in accesses.iter().enumerate() {
            let context = decide::context(&globals, access);
            let policy = resource_policies.get(i).and_then(Option::as_deref);
            let policy = policy.map(|text| self.compiler.resource(text)).transpose().map_err(|e| broken(ctx, e))?;
            let policy = policy.as_deref().map_or(ResourcePolicy::None, ResourcePolicy::Additive);
            let decision = subject.decide(access, &context, policy);
            if let Some(message) = access_denied(&subject.request(access, &context), decision) {
                return Err(AccessDenied { message });
            }
        }
        Ok(())
    }

    async fn role_check(&self, role_arn: &str, service: &str) -> RoleCheck {
        let Some(role) = self.role(role_arn) else { return RoleCheck::Missing };
        let subject = Subject::find(&self.registry, &self.compiler, &Principal::Service { name: service.to_owned() });
        let Ok(subject) = subject else { return RoleCheck::NotTrusted };
        let access = Access::new("sts:AssumeRole", role_arn);
        let mut context = Context::new().with("aws:SourceAccount", self.deps.account.as_str());
        context.set_now_ms(self.deps.clock.now().0);
        match subject.decide(&access, &context, ResourcePolicy::Trust(&role.compiled.trust)) {
            Decision::Allow => RoleCheck::Trusted,
            Decision::Deny { .. } => RoleCheck::NotTrusted,
        }
    }

    async fn session(&self, role_arn: &str, session_name: &str, valid: Duration) -> Option<SessionCredentials> {
        let role = self.role(role_arn)?;
        match self.issue(&role.record, session_name, valid, None, Vec::new()) {
            Ok(credentials) => Some(credentials),
            Err(error) => {
                tracing::error!(%error, role_arn, "no credentials for a role");
                None
            }
        }
    }
}

/// A stored policy that cannot be read refuses everything: the operator's text goes to the log.
fn broken(ctx: &Ctx, error: Error) -> AccessDenied {
    tracing::error!(%error, request_id = ctx.request_id, "a policy cannot be read");
    AccessDenied { message: format!("User: {} is not authorized: a policy cannot be read", ctx.principal.arn()) }
}

impl Iam {
    /// The role behind an ARN of this account.
    pub(crate) fn role(&self, arn: &str) -> Option<Arc<crate::world::Entry<Role>>> {
        let account = self.deps.account.as_str();
        let entry = self.registry.find::<Role>(names::name_in(arn, account, "role")?)?;
        (self.role_arn(&entry.record) == arn).then_some(entry)
    }

    pub(crate) fn role_arn(&self, role: &Role) -> String {
        names::arn(self.deps.account.as_str(), "role", &role.holder.path, &role.holder.name)
    }

    pub(crate) fn user_arn(&self, user: &User) -> String {
        names::arn(self.deps.account.as_str(), "user", &user.holder.path, &user.holder.name)
    }

    /// Makes a session's credentials. No disk is touched.
    pub(crate) fn issue(
        &self,
        role: &Role,
        session: &str,
        valid: Duration,
        policy: Option<String>,
        policy_arns: Vec<String>,
    ) -> Result<SessionCredentials, Error> {
        let key = names::key_id(self.deps.random.as_ref(), "ASIA");
        // Whole seconds: the expiry that callers are told has no fraction.
        let expires = Millis(self.deps.clock.now().plus(valid).secs() * 1000);
        let claims = Claims {
            key: key.clone(),
            role: role.holder.name.clone(),
            role_id: role.holder.id.clone(),
            session: session.to_owned(),
            expires,
            policy,
            policy_arns,
        };
        let session_token = self.sealer.seal(&claims)?;
        Ok(SessionCredentials {
            secret_access_key: self.sealer.secret(&key),
            access_key_id: key,
            session_token,
            expires,
        })
    }

    fn user_credential(&self, access_key: &str) -> Option<Credential> {
        let now = self.deps.clock.now();
        let entry = self.registry.look(|world| {
            let held = world.keys.get(access_key)?;
            held.seen.store(now.0, Ordering::Relaxed);
            world.users.get(&held.user).cloned()
        })?;
        let user = &entry.record;
        let key = user.keys.iter().find(|key| key.id == access_key && key.active)?;
        let (name, id) = (user.holder.name.clone(), user.holder.id.clone());
        Some(Credential {
            secret: key.secret.clone(),
            principal: Principal::User { arn: self.user_arn(user), name, id },
        })
    }

    fn session_credential(&self, access_key: &str, token: &str) -> Result<Credential, CredentialError> {
        let held = self.sessions.read().get(access_key).cloned();
        let held = held.filter(|o| o.policy_epoch.is_none_or(|epoch| epoch == self.registry.policy_epoch()));
        let opened = match held {
            Some(opened) if session::is_same(&opened.token, token) => opened,
            _ => self.open_session(access_key, token).ok_or(CredentialError::Unknown)?,
        };
        let role = self.registry.find::<Role>(&opened.role);
        if role.is_none_or(|role| role.record.holder.id != opened.role_id) {
            return Err(CredentialError::Unknown);
        }
        if self.deps.clock.now() >= opened.expires {
            self.sessions.write().remove(access_key);
            return Err(CredentialError::Expired);
        }
        Ok(opened.credential.clone())
    }

    fn open_session(&self, access_key: &str, token: &str) -> Option<Arc<Opened>> {
        let claims = self.sealer.open(token, access_key)?;
        let role = self.registry.find::<Role>(&claims.role)?;
        let policy_epoch = (!claims.policy_arns.is_empty()).then(|| self.registry.policy_epoch());
        let principal = Principal::Session {
            arn: names::session_arn(self.deps.account.as_str(), &role.record.holder.name, &claims.session),
            role_arn: self.role_arn(&role.record),
            user_id: format!("{}:{}", claims.role_id, claims.session),
            policy: self.session_policies(&claims),
        };
        let credential = Credential { secret: self.sealer.secret(access_key), principal };
        let (token, expires) = (token.to_owned(), claims.expires);
        let (role, role_id) = (claims.role, claims.role_id);
        let opened = Arc::new(Opened { token, credential, expires, role, role_id, policy_epoch });
        let mut sessions = self.sessions.write();
        if sessions.len() >= SESSIONS_MAX {
            sessions.clear();
        }
        sessions.insert(access_key.to_owned(), opened.clone());
        Some(opened)
    }

    /// The session's policies as the text that travels with the principal: see `Compiler::session`.
    fn session_policies(&self, claims: &Claims) -> Option<String> {
        if claims.policy_arns.is_empty() {
            return claims.policy.clone();
        }
        // A managed policy that is gone grants nothing.
        let managed =
            claims.policy_arns.iter().filter_map(|arn| self.registry.look(|world| world.document_in_force(arn)));
        let documents: Vec<String> = claims.policy.iter().cloned().chain(managed).collect();
        // A list of texts always has a JSON form; should it fail, an empty list grants nothing.
        Some(serde_json::to_string(&documents).unwrap_or_else(|_| "[]".to_owned()))
    }

    fn note_use(&self, ctx: &Ctx, accesses: &[Access]) {
        let service = accesses.first().and_then(|access| access.action.split(':').next()).unwrap_or("sts");
        let region = ctx.region.as_str();
        match &ctx.principal {
            Principal::User { name, .. } => self.registry.look(|world| {
                let Some(entry) = world.get::<User>(name) else { return };
                // The principal does not say which key signed: of a user's two it is the one that was presented last.
                let keys = entry.record.keys.iter().filter_map(|key| world.keys.get(&key.id));
                if let Some(key) = keys.max_by_key(|key| key.seen.load(Ordering::Relaxed)) {
                    key.used.touch(ctx.time, region, service);
                }
            }),
            Principal::Session { role_arn, .. } => {
                if let Some(role) = self.role(role_arn) {
                    role.used.touch(ctx.time, region, service);
                }
            }
            Principal::Root { .. } | Principal::Service { .. } | Principal::Anonymous => {}
        }
    }
}
