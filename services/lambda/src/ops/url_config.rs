//! Function URL configurations.

use super::function::unsigned;
use crate::api::*;
use crate::error::Error;
use crate::model::{Record, Url};
use crate::names::{LATEST, Name};
use crate::room::Lambda;
use crate::view;
use squall_service::Ctx;

/// Letters of URL ids, as AWS has them.
const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const ID_LENGTH: usize = 32;

fn no_url() -> Error {
    Error::NotFound("The resource you requested does not exist.".into())
}

fn no_function() -> Error {
    Error::NotFound("Function does not exist".into())
}

fn key(name: &Name) -> String {
    name.version().to_owned()
}

fn name_of(room: &Lambda, ctx: &Ctx, function: &str, qualifier: Option<&str>) -> Result<Name, Error> {
    let name = room.name(ctx, function, qualifier)?;
    if name.qualifier.as_deref() == Some(LATEST) {
        return Ok(Name { qualifier: None, ..name });
    }
    Ok(name)
}

fn check_target(record: &Record, name: &Name) -> Result<(), Error> {
    match name.qualifier.as_deref() {
        None => Ok(()),
        Some(q) if record.aliases.contains_key(q) => Ok(()),
        Some(_) => Err(no_function()),
    }
}

fn check_mode(mode: Option<&str>) -> Result<(), Error> {
    match mode {
        None | Some("BUFFERED") => Ok(()),
        Some(_) => Err(Error::unserved("InvokeMode RESPONSE_STREAM")),
    }
}

fn shown(room: &Lambda, ctx: &Ctx, record: &Record, name: &Name) -> Result<FunctionUrlConfig, Error> {
    let url = record.urls.get(&key(name)).ok_or_else(no_url)?;
    Ok(view::url(ctx.account.as_str(), record, name.version(), url, &room.url_address(&record.region, &url.id)))
}

/// Gives a function or an alias a URL.
///
/// # Errors
/// `ResourceConflictException` when it has one, `ResourceNotFoundException`.
///
/// Differs: URLs are `http` on this cloud's own host unless a domain is configured.
pub async fn create_function_url_config(
    room: &Lambda,
    ctx: &Ctx,
    input: CreateFunctionUrlConfigInput,
) -> Result<CreateFunctionUrlConfigOutput, Error> {
    check_mode(input.invoke_mode.as_deref())?;
    let name = name_of(room, ctx, &input.function_name, input.qualifier.as_deref())?;
    let now = view::time_text(ctx.time);
    let url = Url {
        id: room.deps.random.text(ALPHABET, ID_LENGTH),
        auth_type: input.auth_type,
        cors: input.cors.map(view::stored_cors),
        invoke_mode: input.invoke_mode,
        created: now.clone(),
        modified: now,
    };
    let (entry, ()) = room
        .registry
        .change(ctx.region.as_str(), &name.name, no_function, |record, _, _| {
            check_target(record, &name)?;
            if record.urls.contains_key(&key(&name)) {
                let arn = view::url_function_arn(ctx.account.as_str(), record, name.version());
                return Err(Error::Conflict(format!("Failed to create function url config for [functionArn = {arn}]. Error message:  FunctionUrlConfig exists for this Lambda function")));
            }
            record.urls.insert(key(&name), url);
            Ok(())
        })
        .await?;
    let c = shown(room, ctx, &entry.record, &name)?;
    Ok(CreateFunctionUrlConfigOutput {
        function_url: c.function_url,
        function_arn: c.function_arn,
        auth_type: c.auth_type,
        cors: c.cors,
        creation_time: c.creation_time,
        invoke_mode: c.invoke_mode,
    })
}

/// Shows a URL.
pub async fn get_function_url_config(
    room: &Lambda,
    ctx: &Ctx,
    input: GetFunctionUrlConfigInput,
) -> Result<GetFunctionUrlConfigOutput, Error> {
    let name = name_of(room, ctx, &input.function_name, input.qualifier.as_deref())?;
    let entry = room.registry.find(ctx.region.as_str(), &name.name).ok_or_else(no_url)?;
    let c = shown(room, ctx, &entry.record, &name)?;
    Ok(GetFunctionUrlConfigOutput {
        function_url: c.function_url,
        function_arn: c.function_arn,
        auth_type: c.auth_type,
        cors: c.cors,
        creation_time: c.creation_time,
        last_modified_time: c.last_modified_time,
        invoke_mode: c.invoke_mode,
    })
}

/// Changes a URL's auth type or CORS.
pub async fn update_function_url_config(
    room: &Lambda,
    ctx: &Ctx,
    input: UpdateFunctionUrlConfigInput,
) -> Result<UpdateFunctionUrlConfigOutput, Error> {
    check_mode(input.invoke_mode.as_deref())?;
    let name = name_of(room, ctx, &input.function_name, input.qualifier.as_deref())?;
    let now = view::time_text(ctx.time);
    let (entry, ()) = room
        .registry
        .change(ctx.region.as_str(), &name.name, no_function, |record, _, _| {
            check_target(record, &name)?;
            let url = record.urls.get_mut(&key(&name)).ok_or_else(no_url)?;
            if let Some(auth) = input.auth_type {
                url.auth_type = auth;
            }
            if let Some(cors) = input.cors {
                let cors = view::stored_cors(cors);
                // An empty object takes CORS away.
                url.cors = (cors != crate::model::Cors::default()).then_some(cors);
            }
            url.invoke_mode = input.invoke_mode.or_else(|| url.invoke_mode.take());
            url.modified = now;
            Ok(())
        })
        .await?;
    let c = shown(room, ctx, &entry.record, &name)?;
    Ok(UpdateFunctionUrlConfigOutput {
        function_url: c.function_url,
        function_arn: c.function_arn,
        auth_type: c.auth_type,
        cors: c.cors,
        creation_time: c.creation_time,
        last_modified_time: c.last_modified_time,
        invoke_mode: c.invoke_mode,
    })
}

/// Takes a URL away.
pub async fn delete_function_url_config(
    room: &Lambda,
    ctx: &Ctx,
    input: DeleteFunctionUrlConfigInput,
) -> Result<DeleteFunctionUrlConfigOutput, Error> {
    let name = name_of(room, ctx, &input.function_name, input.qualifier.as_deref())?;
    room.registry
        .change(ctx.region.as_str(), &name.name, no_url, |record, _, _| {
            record.urls.remove(&key(&name)).map(|_| ()).ok_or_else(no_url)
        })
        .await?;
    Ok(DeleteFunctionUrlConfigOutput::default())
}

/// Lists the URLs of a function and its aliases.
pub async fn list_function_url_configs(
    room: &Lambda,
    ctx: &Ctx,
    input: ListFunctionUrlConfigsInput,
) -> Result<ListFunctionUrlConfigsOutput, Error> {
    let name = name_of(room, ctx, &input.function_name, None)?;
    let entry = room.registry.find(ctx.region.as_str(), &name.name).ok_or_else(no_function)?;
    let record = &entry.record;
    let limit = unsigned(input.max_items).map_or(50, |n| (n as usize).clamp(1, 50));
    let after = input.marker.unwrap_or_default();
    let mut page: Vec<(&String, &Url)> = record.urls.iter().filter(|(q, _)| q.as_str() > after.as_str()).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next_marker = page.last().map(|(q, _)| (*q).clone()).filter(|_| more);
    let configs = page
        .iter()
        .map(|(q, u)| view::url(ctx.account.as_str(), record, q, u, &room.url_address(&record.region, &u.id)))
        .collect();
    Ok(ListFunctionUrlConfigsOutput { function_url_configs: configs, next_marker })
}
