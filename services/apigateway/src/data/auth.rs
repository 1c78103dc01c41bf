//! Whether a caller may call, for methods and routes that ask for signatures.

use super::call::Call;
use crate::model::Auth;
use crate::room::ApiGateway;
use squall_service::{Access, Caller, CredentialError, Ctx, Principal, RoleCheck};
use squall_types::Region;
use std::time::Duration;

/// Name of the sessions of integrations' roles, as on AWS.
const SESSION: &str = "BackplaneAssumeRoleSession";
/// The shortest session that there is.
const SESSION_VALID: Duration = Duration::from_secs(900);

/// Why a caller may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No signature.
    Unsigned,
    /// A wrong one: error code and text.
    Invalid(&'static str, String),
    /// No policy allows it: text.
    Denied(String),
}

/// Decides; gives back who signed where the method asks for it. `tail` is `METHOD/path`.
///
/// # Errors
/// Why not.
pub async fn authorise<'a>(
    room: &ApiGateway,
    call: &Call<'a>,
    auth: Auth,
    tail: &str,
) -> Result<Option<&'a Principal>, Refusal> {
    if auth == Auth::None {
        return Ok(None);
    }
    let principal = match &call.request.caller {
        Caller::Anonymous => return Err(Refusal::Unsigned),
        Caller::Refused(cause, text) => {
            let code = match cause {
                Some(CredentialError::Unknown) => "UnrecognizedClientException",
                Some(CredentialError::Expired) => "ExpiredTokenException",
                None => "InvalidSignatureException",
            };
            return Err(Refusal::Invalid(code, text.clone()));
        }
        Caller::Signed(principal) => principal,
    };
    if matches!(principal, Principal::Root { .. }) {
        return Ok(Some(principal));
    }
    let account = room.deps.account.as_str();
    let resource = call.source_arn(account, tail);
    let ctx = context(room, call, principal.clone());
    let access = Access::new("execute-api:Invoke", resource.clone());
    match room.identity.authorise(&ctx, &[access], &[None]).await {
        Ok(()) => Ok(Some(principal)),
        Err(denied) => {
            // AWS shows only the last digits of the API owner's account.
            let shown = account.get(account.len().saturating_sub(4)..).unwrap_or_default();
            let masked = resource.replacen(account, &format!("********{shown}"), 1);
            Err(Refusal::Denied(denied.message.replace(&resource, &masked)))
        }
    }
}

/// The context of what is done for a request.
fn context(room: &ApiGateway, call: &Call<'_>, principal: Principal) -> Ctx {
    let request = call.request;
    Ctx {
        account: room.deps.account.clone(),
        region: Region::parse(call.region).unwrap_or_else(|| room.deps.region.clone()),
        principal,
        request_id: request.request_id.clone(),
        time: request.time,
        source_ip: request.source_ip,
        user_agent: call.header("user-agent").unwrap_or_default().to_owned(),
        host: request.host.clone(),
        trace_header: call.header("x-amzn-trace-id").map(str::to_owned),
    }
}

/// Whether an integration's role may call the function; its trust in API Gateway is looked at anew for each request.
///
/// # Errors
/// Why not, for the operator.
pub async fn role_may_call(room: &ApiGateway, call: &Call<'_>, role: &str, function: &str) -> Result<(), String> {
    if room.identity.role_check(role, crate::PRINCIPAL).await != RoleCheck::Trusted {
        return Err(format!("{role} cannot be assumed by {}", crate::PRINCIPAL));
    }
    let session = room.identity.session(role, SESSION, SESSION_VALID).await;
    let session = session.ok_or_else(|| format!("there is no session of {role}"))?;
    let known = room.identity.credential(&session.access_key_id, Some(&session.session_token)).await;
    let principal = known.map_err(|e| format!("the session of {role} is not accepted: {e:?}"))?.principal;
    let access = Access::new("lambda:InvokeFunction", function);
    let ctx = context(room, call, principal);
    room.identity.authorise(&ctx, &[access], &[None]).await.map_err(|denied| denied.message)
}

/// The unique id of a principal.
pub fn user_id(principal: &Principal, account: &str) -> String {
    match principal {
        Principal::User { id, .. } => id.clone(),
        Principal::Session { user_id, .. } => user_id.clone(),
        Principal::Root { account } => account.clone(),
        Principal::Service { .. } | Principal::Anonymous => account.to_owned(),
    }
}
