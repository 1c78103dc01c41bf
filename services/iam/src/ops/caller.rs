//! Who is calling, and whose a key is.

use crate::api::sts::*;
use crate::error::Error;
use crate::room::Iam;
use squall_service::{Ctx, Principal};

/// Shows the caller. Needs no grant.
pub async fn get_caller_identity(
    _iam: &Iam,
    ctx: &Ctx,
    _input: GetCallerIdentityInput,
) -> Result<GetCallerIdentityOutput, Error> {
    let account = ctx.account.as_str();
    let user_id = match &ctx.principal {
        Principal::Root { account } => account.clone(),
        Principal::User { id, .. } => id.clone(),
        Principal::Session { user_id, .. } => user_id.clone(),
        Principal::Service { .. } | Principal::Anonymous => {
            return Err(Error::Denied("Only users, roles and the root have an identity".to_owned()));
        }
    };
    Ok(GetCallerIdentityOutput {
        user_id: Some(user_id),
        account: Some(account.to_owned()),
        arn: Some(ctx.principal.arn()),
    })
}

/// The account of a key. Sessions leave no record, so a well-formed key of a session is taken for one of this account.
///
/// # Errors
/// `ValidationError` for anything that is no access key id.
pub async fn get_access_key_info(
    iam: &Iam,
    ctx: &Ctx,
    input: GetAccessKeyInfoInput,
) -> Result<GetAccessKeyInfoOutput, Error> {
    let id = input.access_key_id;
    let own = id == iam.root.access_key_id || iam.registry.look(|world| world.keys.contains_key(&id));
    let of_session = id.strip_prefix("ASIA").is_some_and(|rest| {
        rest.len() == 16 && rest.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b))
    });
    match own || of_session {
        true => Ok(GetAccessKeyInfoOutput { account: Some(ctx.account.to_string()) }),
        false => Err(Error::Validation(format!("{id} is not a valid access key id of this cloud"))),
    }
}
