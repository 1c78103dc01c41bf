//! The Invoke operation.

use crate::api::*;
use crate::error::Error;
use crate::room::Lambda;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use squall_protocol::ServiceError;
use squall_service::{Ctx, Invocation, InvocationKind, Invoke, Invoker};

/// Runs a function and answers what it said.
///
/// Shape: payload of at most 6 MB in both directions; `LogType: Tail` adds the last 4 KB of the log.
///
/// # Errors
/// `ResourceNotFoundException`, `InvalidRequestContentException`, `TooManyRequestsException`, `ResourceConflictException`.
/// What the function itself does wrong is no error: `FunctionError` says so.
pub async fn invoke(room: &Lambda, ctx: &Ctx, input: InvokeInput) -> Result<InvokeOutput, ServiceError> {
    if input.tenant_id.is_some() || input.durable_execution_name.is_some() {
        return Err(Error::unserved("TenantId and DurableExecutionName").into());
    }
    let kind = match input.invocation_type.as_deref() {
        None | Some("RequestResponse") => InvocationKind::RequestResponse,
        Some("Event") => InvocationKind::Event,
        Some(_) => InvocationKind::DryRun,
    };
    let invocation = Invocation {
        function: input.function_name,
        qualifier: input.qualifier,
        region: ctx.region.to_string(),
        payload: input.payload.unwrap_or_default(),
        kind,
        log_tail: input.log_type.as_deref() == Some("Tail"),
        client_context: input.client_context,
        trace_header: ctx.trace_header.clone(),
        invoker: Invoker::Authorised,
        request_id: ctx.request_id.clone(),
    };
    let outcome = Invoke::invoke(room, invocation).await?;
    Ok(InvokeOutput {
        status_code: Some(i32::from(outcome.status)),
        function_error: outcome.function_error.map(str::to_owned),
        log_result: outcome.log_tail.map(|t| STANDARD.encode(t)),
        payload: Some(outcome.payload),
        executed_version: Some(outcome.executed_version).filter(|v| !v.is_empty()),
        durable_execution_arn: None,
    })
}
