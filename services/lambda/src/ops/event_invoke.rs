//! How asynchronous calls of a function are retried, and where their results go.

use super::function::unsigned;
use crate::api::*;
use crate::error::Error;
use crate::model::{EventConfig, Record};
use crate::names::Name;
use crate::registry::Entry;
use crate::room::Lambda;
use crate::view;
use squall_service::{Access, Ctx};
use squall_types::{Arn, Millis};
use std::time::Duration;

/// How long the session is good as which a role is judged.
const SESSION: Duration = Duration::from_secs(900);

fn no_function() -> Error {
    Error::NotFound("The function doesn't exist.".into())
}

fn no_config(ctx: &Ctx, record: &Record, name: &Name) -> Error {
    let arn = view::arn(ctx.account.as_str(), record, Some(name.version()));
    Error::NotFound(format!("The function {arn} doesn't have an EventInvokeConfig"))
}

fn find(room: &Lambda, ctx: &Ctx, function: &str, qualifier: Option<&str>) -> Result<(Entry, Name), Error> {
    let name = room.name(ctx, function, qualifier)?;
    let entry = room.registry.find(ctx.region.as_str(), &name.name).ok_or_else(no_function)?;
    room.resolve(&entry, &name, 1.0).ok_or_else(no_function)?;
    Ok((entry, name))
}

fn shown(ctx: &Ctx, record: &Record, qualifier: &str, c: &EventConfig) -> FunctionEventInvokeConfig {
    FunctionEventInvokeConfig {
        last_modified: Some(Millis(c.modified_ms)),
        function_arn: Some(view::arn(ctx.account.as_str(), record, Some(qualifier))),
        maximum_retry_attempts: c.retries.and_then(|n| i32::try_from(n).ok()),
        maximum_event_age_in_seconds: c.age_s.and_then(|n| i32::try_from(n).ok()),
        destination_config: Some(DestinationConfig {
            on_success: Some(OnSuccess { destination: c.on_success.clone() }),
            on_failure: Some(OnFailure { destination: c.on_failure.clone() }),
        }),
    }
}

/// `Some(None)`: given without a destination, which takes it away.
type Given = Option<Option<String>>;

fn given(config: Option<DestinationConfig>) -> (Given, Given) {
    let Some(config) = config else { return (None, None) };
    let arn = |a: Option<String>| a.filter(|a| !a.is_empty());
    (config.on_success.map(|d| arn(d.destination)), config.on_failure.map(|d| arn(d.destination)))
}

/// Sets the whole configuration.
///
/// # Errors
/// `InvalidParameterValueException` for destinations that are not there or that the function's role may not reach.
///
/// Differs: destinations are functions; queues, topics, buses and buckets are refused until this server has them.
pub async fn put_function_event_invoke_config(
    room: &Lambda,
    ctx: &Ctx,
    input: PutFunctionEventInvokeConfigInput,
) -> Result<PutFunctionEventInvokeConfigOutput, Error> {
    let (on_success, on_failure) = given(input.destination_config);
    let config = EventConfig {
        retries: unsigned(input.maximum_retry_attempts),
        age_s: unsigned(input.maximum_event_age_in_seconds),
        on_success: on_success.clone().flatten(),
        on_failure: on_failure.clone().flatten(),
        modified_ms: ctx.time.0,
    };
    if config.retries.is_none() && config.age_s.is_none() && on_success.is_none() && on_failure.is_none() {
        return Err(Error::invalid("You must specify at least one of error handling or destination setting."));
    }
    write(room, ctx, &input.function_name, input.qualifier.as_deref(), |_| Ok(config)).await
}

/// Changes what is given.
///
/// # Errors
/// As [`put_function_event_invoke_config`]; `ResourceNotFoundException` when there is none.
pub async fn update_function_event_invoke_config(
    room: &Lambda,
    ctx: &Ctx,
    input: UpdateFunctionEventInvokeConfigInput,
) -> Result<UpdateFunctionEventInvokeConfigOutput, Error> {
    let (on_success, on_failure) = given(input.destination_config);
    let (retries, age_s) = (unsigned(input.maximum_retry_attempts), unsigned(input.maximum_event_age_in_seconds));
    if retries.is_none() && age_s.is_none() && on_success.is_none() && on_failure.is_none() {
        return Err(Error::invalid("You must specify at least one of error handling or destination setting."));
    }
    let change = |before: Option<&EventConfig>| {
        let before = before?.clone();
        Some(EventConfig {
            retries: retries.or(before.retries),
            age_s: age_s.or(before.age_s),
            on_success: on_success.unwrap_or(before.on_success),
            on_failure: on_failure.unwrap_or(before.on_failure),
            modified_ms: ctx.time.0,
        })
    };
    let (entry, name) = find(room, ctx, &input.function_name, input.qualifier.as_deref())?;
    let missing = || no_config(ctx, &entry.record, &name);
    write(room, ctx, &input.function_name, input.qualifier.as_deref(), |before| change(before).ok_or_else(missing))
        .await
}

async fn write(
    room: &Lambda,
    ctx: &Ctx,
    function: &str,
    qualifier: Option<&str>,
    make: impl FnOnce(Option<&EventConfig>) -> Result<EventConfig, Error>,
) -> Result<FunctionEventInvokeConfig, Error> {
    let (entry, name) = find(room, ctx, function, qualifier)?;
    let config = make(entry.record.event_configs.get(name.version()))?;
    for arn in config.on_success.iter().chain(&config.on_failure) {
        check_destination(room, ctx, &entry, &name, arn).await?;
    }
    let kept = config.clone();
    let (entry, ()) = room
        .registry
        .change(ctx.region.as_str(), &name.name, no_function, |record, _, _| {
            record.event_configs.insert(name.version().to_owned(), kept);
            Ok(())
        })
        .await?;
    Ok(shown(ctx, &entry.record, name.version(), &config))
}

/// The destination exists, is not the function itself, and the function's role may call it.
async fn check_destination(room: &Lambda, ctx: &Ctx, entry: &Entry, name: &Name, arn: &str) -> Result<(), Error> {
    let invalid = || Error::invalid(format!("The destination ARN {arn} is invalid."));
    let parsed: Arn = arn.parse().map_err(|_| invalid())?;
    match parsed.service.as_str() {
        "lambda" => {}
        "sqs" | "sns" | "events" | "s3" => {
            return Err(Error::unserved(&format!("A destination of {}", parsed.service)));
        }
        _ => return Err(invalid()),
    }
    let target = Name::parse(arn, None, ctx.region.as_str(), ctx.account.as_str()).map_err(|_| invalid())?;
    if target.name == name.name {
        return Err(Error::invalid("You can't specify the function as a destination for itself."));
    }
    let callee = room.registry.find(ctx.region.as_str(), &target.name).ok_or_else(invalid)?;
    room.resolve(&callee, &target, 1.0).ok_or_else(invalid)?;
    let version = room.resolve(entry, name, 1.0).ok_or_else(no_function)?.version;
    if !may_invoke(room, ctx, &version.role, arn).await {
        return Err(Error::invalid(format!(
            "The function's execution role does not have permissions to call InvokeFunction on {arn}"
        )));
    }
    Ok(())
}

/// Whether a function's role may call the function with that ARN.
pub async fn may_invoke(room: &Lambda, ctx: &Ctx, role: &str, arn: &str) -> bool {
    role_may(room, ctx, role, &[Access::new("lambda:InvokeFunction", arn)]).await
}

/// Whether a function's role may do all of that, as a session of it would be judged.
pub async fn role_may(room: &Lambda, ctx: &Ctx, role: &str, accesses: &[Access]) -> bool {
    let Some(session) = room.identity.session(role, "lambda", SESSION).await else { return false };
    let found = room.identity.credential(&session.access_key_id, Some(&session.session_token)).await;
    let Ok(credential) = found else { return false };
    let as_role = Ctx { principal: credential.principal, ..ctx.clone() };
    room.identity.authorise(&as_role, accesses, &vec![None; accesses.len()]).await.is_ok()
}

/// Shows the configuration.
pub async fn get_function_event_invoke_config(
    room: &Lambda,
    ctx: &Ctx,
    input: GetFunctionEventInvokeConfigInput,
) -> Result<GetFunctionEventInvokeConfigOutput, Error> {
    let name = room.name(ctx, &input.function_name, input.qualifier.as_deref())?;
    let entry = room.registry.find(ctx.region.as_str(), &name.name).ok_or_else(no_function)?;
    let missing = || no_config(ctx, &entry.record, &name);
    let config = entry.record.event_configs.get(name.version()).ok_or_else(missing)?;
    Ok(shown(ctx, &entry.record, name.version(), config))
}

/// Takes the configuration away.
pub async fn delete_function_event_invoke_config(
    room: &Lambda,
    ctx: &Ctx,
    input: DeleteFunctionEventInvokeConfigInput,
) -> Result<DeleteFunctionEventInvokeConfigOutput, Error> {
    let name = room.name(ctx, &input.function_name, input.qualifier.as_deref())?;
    room.registry
        .change(ctx.region.as_str(), &name.name, no_function, |record, _, _| {
            let gone = record.event_configs.remove(name.version());
            gone.map(|_| ()).ok_or_else(|| no_config(ctx, record, &name))
        })
        .await?;
    Ok(DeleteFunctionEventInvokeConfigOutput::default())
}

/// Lists the configurations of a function by qualifier; the marker is the last one of the page before.
pub async fn list_function_event_invoke_configs(
    room: &Lambda,
    ctx: &Ctx,
    input: ListFunctionEventInvokeConfigsInput,
) -> Result<ListFunctionEventInvokeConfigsOutput, Error> {
    let name = room.name(ctx, &input.function_name, None)?;
    let entry = room.registry.find(ctx.region.as_str(), &name.name).ok_or_else(no_function)?;
    let limit = unsigned(input.max_items).map_or(50, |n| (n as usize).clamp(1, 50));
    let after = input.marker.unwrap_or_default();
    let record = &entry.record;
    let mut page: Vec<_> = record.event_configs.iter().filter(|(q, _)| **q > after).take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    Ok(ListFunctionEventInvokeConfigsOutput {
        next_marker: page.last().filter(|_| more).map(|(q, _)| (*q).clone()),
        function_event_invoke_configs: Some(page.iter().map(|(q, c)| shown(ctx, record, q, c)).collect()),
    })
}
