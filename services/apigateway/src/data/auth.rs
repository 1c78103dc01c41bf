//! Whether a caller may call, for methods and routes that ask for signatures.

use super::call::Call;
use crate::model::Auth;
use crate::room::ApiGateway;
use squall_service::{Access, Caller, CredentialError, Ctx, Principal};
use squall_types::Region;

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
    let request = call.request;
    let ctx = Ctx {
        account: room.deps.account.clone(),
        region: Region::parse(call.region).unwrap_or_else(|| room.deps.region.clone()),
        principal: principal.clone(),
        request_id: request.request_id.clone(),
        time: request.time,
        source_ip: request.source_ip,
        user_agent: call.header("user-agent").unwrap_or_default().to_owned(),
        host: request.host.clone(),
    };
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

/// The unique id of a principal.
pub fn user_id(principal: &Principal, account: &str) -> String {
    match principal {
        Principal::User { id, .. } => id.clone(),
        Principal::Session { user_id, .. } => user_id.clone(),
        Principal::Root { account } => account.clone(),
        Principal::Service { .. } | Principal::Anonymous => account.to_owned(),
    }
}
