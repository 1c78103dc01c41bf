//! Changing code and configuration. Requests under way end on the old revision; new ones start on the new one.

use super::function::{
    architecture, check_role, discard_unused, host_has, inspect, no_code, refuse, refuse_code, store_package, unsigned,
};
use crate::api::*;
use crate::error::Error;
use crate::model::{Phase, Record, Version};
use crate::names::{LATEST, Name};
use crate::room::Lambda;
use crate::{rules, snap_start, view, wasm};
use squall_service::Ctx;

/// Replaces the code of `$LATEST`.
///
/// # Errors
/// `ResourceConflictException` while the function is being created or changed, `PreconditionFailedException` when the
/// revision id does not match, those of the package.
pub async fn update_function_code(
    room: &Lambda,
    ctx: &Ctx,
    input: UpdateFunctionCodeInput,
) -> Result<UpdateFunctionCodeOutput, Error> {
    let name = latest_only(room, ctx, &input.function_name)?;
    if input.image_uri.is_some() {
        return Err(Error::invalid("Please don't provide ImageUri when updating a function with packageType Zip."));
    }
    refuse_code(&input.s3_bucket, &None)?;
    refuse(&[(input.source_kms_key_arn.is_some(), "SourceKMSKeyArn"), (input.publish_to.is_some(), "PublishTo")])?;
    let zip = input.zip_file.ok_or_else(no_code)?;
    let architecture = architecture(input.architectures)?;
    let entry = room.find(ctx, &name)?;
    check_free(room, ctx, &entry.record, input.revision_id.as_deref())?;
    wasm::code(room, &entry.record.latest.runtime, &zip).await?;
    if input.dry_run == Some(true) {
        let package = inspect(zip).await?;
        let mut v = Version::clone(&entry.record.latest);
        (v.code_sha256, v.code_bytes, v.architecture) = (package.sha256, package.bytes, architecture);
        return Ok(view::configuration(ctx.account.as_str(), &entry.record, &v, None));
    }
    let package = store_package(room, ctx, zip).await?;
    let old = entry.record.latest.code_object.clone();
    let changed = change(room, ctx, &name, input.revision_id.as_deref(), |v| {
        v.code_object = package.object.clone();
        v.code_sha256 = package.sha256;
        v.code_bytes = package.bytes;
        v.architecture = architecture;
    })
    .await;
    match &changed {
        Ok(_) => discard_unused(room, &old).await,
        // The new package is nobody's.
        Err(_) => discard_unused(room, &package.object).await,
    }
    if input.publish == Some(true) {
        changed?;
        return super::version::publish(room, ctx, &name, None).await;
    }
    changed
}

/// Changes the configuration of `$LATEST`.
///
/// # Errors
/// As [`update_function_code`].
pub async fn update_function_configuration(
    room: &Lambda,
    ctx: &Ctx,
    input: UpdateFunctionConfigurationInput,
) -> Result<UpdateFunctionConfigurationOutput, Error> {
    refuse_unserved(&input)?;
    let name = latest_only(room, ctx, &input.function_name)?;
    let entry = room.find(ctx, &name)?;
    check_free(room, ctx, &entry.record, input.revision_id.as_deref())?;
    if let Some(runtime) = &input.runtime {
        rules::runtime(runtime)?;
        host_has(room, runtime).await?;
    }
    rules::sizes(input.timeout, input.memory_size)?;
    let env = input.environment.map(|e| e.variables.unwrap_or_default());
    env.as_ref().map_or(Ok(()), rules::env)?;
    if let Some(role) = &input.role {
        check_role(room, role).await?;
    }
    let held = &entry.record.latest;
    let snap_start = snap_start::asked(input.snap_start.as_ref());
    let tmp_mb = unsigned(input.ephemeral_storage.map(|e| e.size));
    let runtime = input.runtime.as_ref().unwrap_or(&held.runtime);
    snap_start::check(snap_start.unwrap_or(held.snap_start), runtime, tmp_mb.unwrap_or(held.tmp_mb))?;
    let logging = match input.logging_config {
        Some(config) => Some(super::logging::read(Some(config), Some((&held.log_group, &held.json_log)))?),
        None => None,
    };
    let layers = input.layers.map(|arns| super::layers::of_function(room, ctx, &arns)).transpose()?;
    wasm::settings(
        runtime,
        layers.as_ref().unwrap_or(&held.layers),
        unsigned(input.memory_size).unwrap_or(held.memory_mb),
        tmp_mb.unwrap_or(held.tmp_mb),
    )?;
    if let Some(runtime) = input.runtime.as_deref().filter(|r| *r != held.runtime) {
        wasm::kept_code(room, runtime, &held.code_object).await?;
    }
    let changed = change(room, ctx, &name, input.revision_id.as_deref(), |v| {
        set(&mut v.layers, layers);
        set(&mut v.role, input.role);
        set(&mut v.handler, input.handler);
        set(&mut v.description, input.description);
        set(&mut v.timeout_s, unsigned(input.timeout));
        set(&mut v.memory_mb, unsigned(input.memory_size));
        set(&mut v.tmp_mb, tmp_mb);
        set(&mut v.snap_start, snap_start);
        v.env = env.or_else(|| v.env.take());
        set(&mut v.runtime, input.runtime);
        set(&mut v.tracing, input.tracing_config.and_then(|t| t.mode));
        if let Some((group, json)) = logging {
            (v.log_group, v.json_log) = (group, json);
        }
    })
    .await?;
    for layer in &held.layers {
        discard_unused(room, &layer.object).await;
    }
    Ok(changed)
}

fn set<T>(to: &mut T, from: Option<T>) {
    if let Some(from) = from {
        *to = from;
    }
}

fn refuse_unserved(input: &UpdateFunctionConfigurationInput) -> Result<(), Error> {
    let vpc = input.vpc_config.as_ref().is_some_and(|v| {
        v.subnet_ids.as_ref().is_some_and(|s| !s.is_empty())
            || v.security_group_ids.as_ref().is_some_and(|s| !s.is_empty())
    });
    let dead_letter =
        input.dead_letter_config.as_ref().is_some_and(|d| d.target_arn.as_ref().is_some_and(|a| !a.is_empty()));
    refuse(&[
        (vpc, "VpcConfig"),
        (dead_letter, "DeadLetterConfig"),
        (input.file_system_configs.as_ref().is_some_and(|f| !f.is_empty()), "FileSystemConfigs"),
        (input.kms_key_arn.as_ref().is_some_and(|k| !k.is_empty()), "KMSKeyArn"),
        (input.image_config.is_some(), "ImageConfig"),
        (input.capacity_provider_config.is_some(), "CapacityProviderConfig"),
        (input.durable_config.is_some(), "DurableConfig"),
    ])
}

/// Changes go to `$LATEST`; a name that says another version is refused.
fn latest_only(room: &Lambda, ctx: &Ctx, text: &str) -> Result<Name, Error> {
    let name = room.name(ctx, text, None)?;
    match name.qualifier.as_deref() {
        None => Ok(name),
        Some(LATEST) => Ok(Name { qualifier: None, ..name }),
        Some(_) => Err(Error::invalid("This operation is permitted on Lambda functions' $LATEST version only")),
    }
}

/// No other change is under way, and the caller saw the latest one.
fn check_free(_room: &Lambda, ctx: &Ctx, record: &Record, revision: Option<&str>) -> Result<(), Error> {
    let arn = || view::arn(ctx.account.as_str(), record, None);
    if record.latest.state == Phase::Pending {
        return Err(Error::Conflict(
            "The operation cannot be performed at this time. The function is currently in the following state: Pending"
                .into(),
        ));
    }
    if record.latest.update == Phase::Pending {
        let text =
            format!("The operation cannot be performed at this time. An update is in progress for resource: {}", arn());
        return Err(Error::Conflict(text));
    }
    check_revision(revision, &record.latest.revision_id)
}

/// `RevisionId` is the latest.
pub fn check_revision(given: Option<&str>, latest: &str) -> Result<(), Error> {
    match given {
        Some(g) if g != latest => Err(Error::Precondition(
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the \
             latest Revision Id"
                .into(),
        )),
        _ => Ok(()),
    }
}

async fn change(
    room: &Lambda,
    ctx: &Ctx,
    name: &Name,
    revision: Option<&str>,
    f: impl FnOnce(&mut Version),
) -> Result<FunctionConfiguration, Error> {
    let id = room.new_id();
    let missing = || room.missing(ctx, name);
    let (entry, ()) = room
        .registry
        .change(ctx.region.as_str(), &name.name, missing, |record, _, _| {
            check_free(room, ctx, record, revision)?;
            f(&mut record.latest);
            record.latest.update = Phase::Pending;
            record.latest.modified_ms = ctx.time.0;
            record.latest.revision_id = id;
            record.revision += 1;
            Ok(())
        })
        .await?;
    crate::worker::finish(room, &entry.record.region, &entry.record.name);
    Ok(view::configuration(ctx.account.as_str(), &entry.record, &entry.record.latest, None))
}
