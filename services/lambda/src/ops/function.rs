//! Creating, showing, listing and deleting functions.

use crate::api::*;
use crate::error::Error;
use crate::model::{Phase, Record, Version};
use crate::names::{LATEST, version_number};
use crate::package::{self, ZIPPED_BYTES_MAX};
use crate::room::Lambda;
use crate::{rules, snap_start, view, wasm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use squall_service::{Ctx, RoleCheck};
use std::collections::BTreeMap;

/// Most functions in one answer of `ListFunctions`.
const PAGE_MAX: usize = 50;

/// Creates a function; its state is `Pending` until its package is unpacked and its runtime's SDK is there.
///
/// # Errors
/// `InvalidParameterValueException`, `ResourceConflictException`, `RequestEntityTooLargeException`.
///
/// Source: Lambda API 2015-03-31, `CreateFunction`. Differs: code comes as `ZipFile` only; images, VPCs, file systems,
/// dead-letter queues and encryption keys are refused.
pub async fn create_function(
    room: &Lambda,
    ctx: &Ctx,
    input: CreateFunctionInput,
) -> Result<CreateFunctionOutput, Error> {
    refuse_unserved(&input)?;
    let name = room.name(ctx, &input.function_name, None)?;
    if name.qualifier.is_some() {
        return Err(Error::invalid("The function name must not have a qualifier"));
    }
    let runtime = input.runtime.clone().ok_or_else(|| {
        Error::invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
    })?;
    let handler = input.handler.clone().ok_or_else(|| {
        Error::invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
    })?;
    rules::runtime(&runtime)?;
    rules::sizes(input.timeout, input.memory_size)?;
    host_has(room, &runtime).await?;
    let env = input.environment.map(|e| e.variables.unwrap_or_default());
    env.as_ref().map_or(Ok(()), rules::env)?;
    let architecture = architecture(input.architectures)?;
    let (log_group, json_log) = super::logging::read(input.logging_config, None)?;
    let tags = input.tags.unwrap_or_default();
    rules::tags(&tags)?;
    let layers = super::layers::of_function(room, ctx, input.layers.as_deref().unwrap_or_default())?;
    let tmp_mb = unsigned(input.ephemeral_storage.map(|e| e.size)).unwrap_or(rules::TMP_DEFAULT_MB);
    let snap_start = snap_start::asked(input.snap_start.as_ref()).unwrap_or(false);
    snap_start::check(snap_start, &runtime, tmp_mb)?;
    let zip = input.code.zip_file.ok_or_else(no_code)?;
    if room.registry.find(ctx.region.as_str(), &name.name).is_some() {
        return Err(Error::Conflict(format!("Function already exist: {}", name.name)));
    }
    check_role(room, &input.role).await?;
    let memory_mb = unsigned(input.memory_size).unwrap_or(rules::MEMORY_DEFAULT_MB);
    wasm::settings(&runtime, &layers, memory_mb, tmp_mb)?;
    wasm::code(room, &runtime, &zip).await?;
    let package = store_package(room, ctx, zip).await?;
    let object = package.object.clone();
    let latest = Version {
        version: LATEST.to_owned(),
        runtime,
        role: input.role,
        handler,
        description: input.description.unwrap_or_default(),
        timeout_s: unsigned(input.timeout).unwrap_or(rules::TIMEOUT_DEFAULT_S),
        memory_mb,
        tmp_mb,
        env,
        code_object: package.object,
        code_sha256: package.sha256,
        code_bytes: package.bytes,
        architecture,
        tracing: input.tracing_config.and_then(|t| t.mode).unwrap_or_else(|| "PassThrough".into()),
        log_group,
        json_log,
        layers,
        snap_start,
        is_optimized: false,
        revision_id: room.new_id(),
        modified_ms: ctx.time.0,
        state: Phase::Pending,
        update: Phase::Pending,
    };
    let record = Record {
        region: ctx.region.to_string(),
        name: name.name.clone(),
        latest,
        last_version: 0,
        published_as: None,
        aliases: BTreeMap::new(),
        urls: BTreeMap::new(),
        policies: BTreeMap::new(),
        event_configs: BTreeMap::new(),
        tags,
        reserved: None,
        provisioned: BTreeMap::new(),
        revision: first_revision(room, ctx),
    };
    let entry = match room.registry.create(record).await {
        Ok(entry) => entry,
        Err(e) => {
            // Another request made it meanwhile: this package is nobody's.
            discard_unused(room, &object).await;
            return Err(e);
        }
    };
    crate::worker::finish(room, &entry.record.region, &entry.record.name);
    if input.publish == Some(true) {
        return super::version::publish(room, ctx, &name, None).await;
    }
    Ok(view::configuration(ctx.account.as_str(), &entry.record, &entry.record.latest, None))
}

/// Begins with the time, so that a function made again under the same name never meets instances of the old one; the random
/// part is for those made within the same millisecond.
fn first_revision(room: &Lambda, ctx: &Ctx) -> u64 {
    let mut random = [0; 4];
    room.deps.random.fill(&mut random);
    (u64::try_from(ctx.time.0).unwrap_or(1) << 20) | u64::from(u32::from_le_bytes(random) >> 12)
}

fn refuse_unserved(input: &CreateFunctionInput) -> Result<(), Error> {
    let image = input.package_type.as_deref().is_some_and(|t| t != "Zip") || input.image_config.is_some();
    let vpc = input.vpc_config.as_ref().is_some_and(|v| {
        v.subnet_ids.as_ref().is_some_and(|s| !s.is_empty())
            || v.security_group_ids.as_ref().is_some_and(|s| !s.is_empty())
    });
    let dead_letter =
        input.dead_letter_config.as_ref().is_some_and(|d| d.target_arn.as_ref().is_some_and(|a| !a.is_empty()));
    let file_systems = input.file_system_configs.as_ref().is_some_and(|f| !f.is_empty());
    let checks = [
        (image, "PackageType Image"),
        (vpc, "VpcConfig"),
        (dead_letter, "DeadLetterConfig"),
        (file_systems, "FileSystemConfigs"),
        (input.kms_key_arn.as_ref().is_some_and(|k| !k.is_empty()), "KMSKeyArn"),
        (input.code_signing_config_arn.is_some(), "CodeSigningConfigArn"),
        (input.code.source_kms_key_arn.is_some(), "SourceKMSKeyArn"),
        (input.capacity_provider_config.is_some(), "CapacityProviderConfig"),
        (input.publish_to.is_some(), "PublishTo"),
        (input.durable_config.is_some(), "DurableConfig"),
        (input.tenancy_config.is_some(), "TenancyConfig"),
    ];
    refuse(&checks)?;
    refuse_code(&input.code.s3_bucket, &input.code.image_uri)
}

/// Refuses the first setting that is there.
pub fn refuse(checks: &[(bool, &str)]) -> Result<(), Error> {
    match checks.iter().find(|(there, _)| *there) {
        Some((_, name)) => Err(Error::unserved(name)),
        None => Ok(()),
    }
}

/// Code comes as a zip in the request.
pub fn refuse_code(s3_bucket: &Option<String>, image_uri: &Option<String>) -> Result<(), Error> {
    refuse(&[(s3_bucket.is_some(), "code from S3 (send it as ZipFile)"), (image_uri.is_some(), "ImageUri")])
}

/// The text for a request without code.
pub fn no_code() -> Error {
    Error::invalid("Please provide a source for function code.")
}

/// A number that the constraints have shown not to be negative.
pub fn unsigned(n: Option<i32>) -> Option<u32> {
    n.and_then(|n| u32::try_from(n).ok())
}

/// The architecture, which must be this host's: code of another one cannot run here.
pub fn architecture(given: Option<Vec<String>>) -> Result<String, Error> {
    let host = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    const KNOWN: [&str; 2] = ["x86_64", "arm64"];
    if let Some(given) = given.as_ref().filter(|g| g.iter().any(|a| !KNOWN.contains(&a.as_str()))) {
        return Err(Error::Validation(format!(
            "1 validation error detected: Value '[{}]' at 'architectures' failed to satisfy constraint: Member must satisfy \
             constraint: [Member must satisfy enum value set: [{}], Member must not be null]",
            given.join(", "),
            KNOWN.join(", ")
        )));
    }
    match given.as_deref() {
        None | Some([]) => Ok(host.to_owned()),
        Some([one]) if one == host => Ok(one.clone()),
        Some(_) => Err(Error::invalid(format!("Architectures: this host runs {host} only"))),
    }
}

/// The role exists and trusts Lambda.
pub async fn check_role(room: &Lambda, arn: &str) -> Result<(), Error> {
    match room.identity.role_check(arn, "lambda.amazonaws.com").await {
        RoleCheck::Trusted => Ok(()),
        RoleCheck::Missing | RoleCheck::NotTrusted => {
            Err(Error::invalid("The role defined for the function cannot be assumed by Lambda."))
        }
    }
}

/// The host has the runtime's interpreter.
pub async fn host_has(room: &Lambda, runtime: &str) -> Result<(), Error> {
    room.runtime.find(runtime).await.map(|_| ()).map_err(Error::invalid)
}

/// A package among the objects.
pub struct Package {
    /// Name of the object.
    pub object: String,
    /// Base64 of its SHA-256.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
}

/// Checks and keeps a package; durable when it returns. The name has a random part, so that deleting one function's code
/// never takes another's.
pub async fn store_package(room: &Lambda, ctx: &Ctx, zip: Bytes) -> Result<Package, Error> {
    let package = inspect(zip.clone()).await?;
    rules::storage(stored_bytes(room, ctx.region.as_str()), package.bytes)?;
    let object = format!("lambda/{}.zip", room.new_id());
    room.deps.objects.put(&object, zip).await.map_err(|e| Error::internal("keep a package", e))?;
    Ok(Package { object, ..package })
}

/// Bytes of all packages in a region, those of versions included.
pub fn stored_bytes(room: &Lambda, region: &str) -> u64 {
    let all = room.registry.everything();
    let own = all.iter().filter(|e| e.record.region == region);
    let functions: u64 =
        own.map(|e| e.record.latest.code_bytes + e.versions.values().map(|v| v.code_bytes).sum::<u64>()).sum();
    functions + room.layers.stored_bytes(region)
}

/// Checks a package and computes what the API shows of it.
pub async fn inspect(zip: Bytes) -> Result<Package, Error> {
    if zip.len() > ZIPPED_BYTES_MAX {
        return Err(Error::TooLarge(format!("Zipped size must be smaller than {ZIPPED_BYTES_MAX} bytes")));
    }
    let work = tokio::task::spawn_blocking(move || {
        package::check(&zip)?;
        let sha256 = STANDARD.encode(Sha256::digest(&zip));
        Ok(Package { object: String::new(), sha256, bytes: zip.len() as u64 })
    });
    work.await.map_err(|e| Error::internal("check a package", e))?
}

/// Shows a function with its code's place and tags.
///
/// Differs: `Code.Location` leads to this server, good for ten minutes and as long as the process lives.
pub async fn get_function(room: &Lambda, ctx: &Ctx, input: GetFunctionInput) -> Result<GetFunctionOutput, Error> {
    let name = room.name(ctx, &input.function_name, input.qualifier.as_deref())?;
    let entry = room.find(ctx, &name)?;
    let target = room.resolve(&entry, &name, 1.0).ok_or_else(|| room.missing(ctx, &name))?;
    let tags = &entry.record.tags;
    Ok(GetFunctionOutput {
        configuration: Some(view::configuration(
            ctx.account.as_str(),
            &entry.record,
            &target.version,
            name.qualifier.as_deref(),
        )),
        code: Some(FunctionCodeLocation {
            repository_type: Some("S3".into()),
            location: Some(room.downloads.location(&ctx.host, &target.version.code_object, ctx.time)),
            ..Default::default()
        }),
        tags: (!tags.is_empty()).then(|| tags.clone()),
        tags_error: None,
        concurrency: entry
            .record
            .reserved
            .and_then(|r| i32::try_from(r).ok())
            .map(|r| Concurrency { reserved_concurrent_executions: Some(r) }),
    })
}

/// Shows a function's configuration.
pub async fn get_function_configuration(
    room: &Lambda,
    ctx: &Ctx,
    input: GetFunctionConfigurationInput,
) -> Result<GetFunctionConfigurationOutput, Error> {
    let name = room.name(ctx, &input.function_name, input.qualifier.as_deref())?;
    let entry = room.find(ctx, &name)?;
    let target = room.resolve(&entry, &name, 1.0).ok_or_else(|| room.missing(ctx, &name))?;
    Ok(view::configuration(ctx.account.as_str(), &entry.record, &target.version, name.qualifier.as_deref()))
}

/// Lists functions by name; the marker is the last name of the page before.
pub async fn list_functions(room: &Lambda, ctx: &Ctx, input: ListFunctionsInput) -> Result<ListFunctionsOutput, Error> {
    if input.master_region.is_some() {
        return Err(Error::unserved("MasterRegion"));
    }
    let limit = unsigned(input.max_items).map_or(PAGE_MAX, |n| (n as usize).clamp(1, PAGE_MAX));
    let after = input.marker.unwrap_or_default();
    let (page, more) = room.registry.page(ctx.region.as_str(), &after, limit);
    let account = ctx.account.as_str();
    let next_marker = page.last().filter(|_| more).map(|e| e.record.name.clone());
    let mut functions = Vec::new();
    for entry in &page {
        let all = input.function_version.as_deref() == Some("ALL");
        let latest_as = all.then_some(LATEST);
        functions.push(listed(view::configuration(account, &entry.record, &entry.record.latest, latest_as)));
        if all {
            let versions = entry.versions.values();
            functions.extend(versions.map(|v| listed(view::configuration(account, &entry.record, v, None))));
        }
    }
    Ok(ListFunctionsOutput { next_marker, functions: Some(functions) })
}

/// Lists leave out the states.
pub fn listed(mut c: FunctionConfiguration) -> FunctionConfiguration {
    c.state = None;
    c.state_reason = None;
    c.state_reason_code = None;
    c.last_update_status = None;
    c.last_update_status_reason = None;
    c.last_update_status_reason_code = None;
    c.runtime_version_config = None;
    c
}

/// Deletes a function, or one of its versions.
pub async fn delete_function(
    room: &Lambda,
    ctx: &Ctx,
    input: DeleteFunctionInput,
) -> Result<DeleteFunctionOutput, Error> {
    let name = room.name(ctx, &input.function_name, input.qualifier.as_deref())?;
    let region = ctx.region.as_str();
    let done = || DeleteFunctionOutput { status_code: Some(204) };
    match name.qualifier.as_deref() {
        None => {
            let gone = room.registry.remove(region, &name.name).await?.ok_or_else(|| room.missing(ctx, &name))?;
            room.ready.forget(region, &name.name);
            let arn = view::arn(ctx.account.as_str(), &gone.record, None);
            room.runtime.retire(&arn, None);
            room.runtime.forget_snapshots(&arn, None);
            for version in gone.versions.values().map(|v| &**v).chain([&gone.record.latest]) {
                discard_packages(room, version).await;
            }
            Ok(done())
        }
        Some(LATEST) => Err(Error::invalid("$LATEST version cannot be deleted without deleting the function.")),
        Some(qualifier) => {
            let entry = room.find(ctx, &name)?;
            let Some(number) = version_number(qualifier) else {
                return Err(Error::invalid("Deletion of aliases is not currently supported."));
            };
            let users: Vec<&str> =
                entry.record.aliases.iter().filter(|(_, a)| uses(a, qualifier)).map(|(n, _)| n.as_str()).collect();
            if !users.is_empty() {
                let text = format!("Version {qualifier} is in use by alias {}", users.join(", "));
                return Err(Error::Conflict(text));
            }
            if entry.record.provisioned.contains_key(qualifier) {
                let missing = || room.missing(ctx, &name);
                room.registry
                    .change(region, &name.name, missing, |record, _, _| {
                        record.provisioned.remove(qualifier);
                        Ok(())
                    })
                    .await?;
            }
            if let Some(gone) = room.registry.remove_version(region, &name.name, number).await? {
                room.ready.forget(region, &name.name);
                let arn = view::arn(ctx.account.as_str(), &entry.record, None);
                room.runtime.forget_snapshots(&arn, Some(&gone.version));
                discard_packages(room, &gone).await;
            }
            Ok(done())
        }
    }
}

fn uses(alias: &crate::model::Alias, version: &str) -> bool {
    alias.version == version || alias.weights.contains_key(version)
}

/// Discards what a version that is gone used, its code and layers, where nothing else does.
pub async fn discard_packages(room: &Lambda, version: &Version) {
    discard_unused(room, &version.code_object).await;
    for layer in &version.layers {
        discard_unused(room, &layer.object).await;
    }
}

/// Discards a package that no version of a function or layer names any more.
pub async fn discard_unused(room: &Lambda, object: &str) {
    if !room.registry.uses_code(object) && !room.layers.uses(object) {
        room.code.discard(object).await;
    }
}

/// Code signing does not exist here: no function has a configuration, which is what the answer says.
pub async fn get_function_code_signing_config(
    room: &Lambda,
    ctx: &Ctx,
    input: GetFunctionCodeSigningConfigInput,
) -> Result<GetFunctionCodeSigningConfigOutput, Error> {
    let name = room.name(ctx, &input.function_name, None)?;
    room.find(ctx, &name)?;
    Ok(GetFunctionCodeSigningConfigOutput { code_signing_config_arn: String::new(), function_name: name.name })
}

/// Runtimes are the host's and change when the operator changes them, which AWS calls `Auto`.
pub async fn get_runtime_management_config(
    room: &Lambda,
    ctx: &Ctx,
    input: GetRuntimeManagementConfigInput,
) -> Result<GetRuntimeManagementConfigOutput, Error> {
    let name = room.name(ctx, &input.function_name, input.qualifier.as_deref())?;
    let entry = room.find(ctx, &name)?;
    let target = room.resolve(&entry, &name, 1.0).ok_or_else(|| room.missing(ctx, &name))?;
    Ok(GetRuntimeManagementConfigOutput {
        update_runtime_on: Some("Auto".into()),
        function_arn: Some(view::arn(ctx.account.as_str(), &entry.record, Some(&target.version.version))),
        runtime_version_arn: None,
    })
}
