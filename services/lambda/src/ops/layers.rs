//! Layers: publishing, showing, listing, deleting, sharing, and which of them a function uses.

use super::function::{discard_unused, no_code, refuse, store_package, unsigned};
use crate::api::*;
use crate::error::Error;
use crate::layers::LayerVersion;
use crate::model::{LayerRef, Policy};
use crate::room::Lambda;
use crate::{rules, view};
use serde_json::json;
use squall_protocol::{Operation, Value};
use squall_service::{Access, Ctx};
use squall_types::{Arn, Millis};
use std::sync::Arc;

/// Most layers of a function.
const LAYERS_MAX: usize = 5;
/// Most entries of an answer.
const PAGE_MAX: usize = 50;

/// Name of a layer in a name or ARN; of an ARN of a version too.
fn name_of(text: &str) -> &str {
    let name = text.split(":layer:").nth(1).unwrap_or(text);
    name.split(':').next().unwrap_or(name)
}

fn layer_arn(ctx: &Ctx, name: &str) -> String {
    ctx.arn("lambda", &format!("layer:{name}"))
}

/// The number in a request, and the ARN of that version.
fn numbered(ctx: &Ctx, layer: &str, number: i64) -> Result<(u32, String), Error> {
    let number = u32::try_from(number).ok().filter(|n| *n >= 1);
    let number = number.ok_or_else(|| Error::invalid("Layer Version Cannot be less than 1"))?;
    Ok((number, format!("{}:{number}", layer_arn(ctx, name_of(layer)))))
}

fn missing() -> Error {
    Error::NotFound("The resource you requested does not exist.".into())
}

fn missing_version(arn: &str) -> Error {
    Error::NotFound(format!("Layer version {arn} does not exist."))
}

fn content(room: &Lambda, ctx: &Ctx, v: &LayerVersion) -> LayerVersionContentOutput {
    LayerVersionContentOutput {
        location: Some(room.downloads.location(&ctx.host, &v.object, ctx.time)),
        code_sha256: Some(v.sha256.clone()),
        code_size: i64::try_from(v.bytes).ok(),
        ..Default::default()
    }
}

fn shown(room: &Lambda, ctx: &Ctx, v: &LayerVersion) -> GetLayerVersionResponse {
    let arn = layer_arn(ctx, &v.name);
    GetLayerVersionResponse {
        content: Some(content(room, ctx, v)),
        layer_version_arn: Some(format!("{arn}:{}", v.number)),
        layer_arn: Some(arn),
        description: Some(v.description.clone()),
        created_date: Some(view::time_text(Millis(v.created_ms))),
        version: Some(v.number.into()),
        compatible_runtimes: v.runtimes.clone(),
        license_info: v.license.clone(),
        compatible_architectures: v.architectures.clone(),
    }
}

fn listed(ctx: &Ctx, v: &LayerVersion) -> LayerVersionsListItem {
    LayerVersionsListItem {
        layer_version_arn: Some(format!("{}:{}", layer_arn(ctx, &v.name), v.number)),
        version: Some(v.number.into()),
        description: Some(v.description.clone()),
        created_date: Some(view::time_text(Millis(v.created_ms))),
        compatible_runtimes: v.runtimes.clone(),
        license_info: v.license.clone(),
        compatible_architectures: v.architectures.clone(),
    }
}

/// Publishes a version.
///
/// # Errors
/// `InvalidParameterValueException` for packages that are none, `CodeStorageExceededException`.
///
/// Source: Lambda API 2015-03-31, `PublishLayerVersion`. Differs: code comes as `ZipFile` only.
pub async fn publish_layer_version(
    room: &Lambda,
    ctx: &Ctx,
    input: PublishLayerVersionInput,
) -> Result<PublishLayerVersionOutput, Error> {
    rules::compatible(input.compatible_runtimes.as_deref(), input.compatible_architectures.as_deref())?;
    refuse(&[(input.content.s3_bucket.is_some(), "code from S3 (send it as ZipFile)")])?;
    let package = store_package(room, ctx, input.content.zip_file.ok_or_else(no_code)?).await?;
    let version = LayerVersion {
        region: ctx.region.to_string(),
        name: name_of(&input.layer_name).to_owned(),
        number: 0,
        description: input.description.unwrap_or_default(),
        license: input.license_info,
        runtimes: input.compatible_runtimes,
        architectures: input.compatible_architectures,
        object: package.object,
        sha256: package.sha256,
        bytes: package.bytes,
        created_ms: ctx.time.0,
        policy: None,
    };
    let GetLayerVersionResponse {
        content,
        layer_arn,
        layer_version_arn,
        description,
        created_date,
        version,
        compatible_runtimes,
        license_info,
        compatible_architectures,
    } = shown(room, ctx, &*room.layers.publish(version).await?);
    Ok(PublishLayerVersionOutput {
        content,
        layer_arn,
        layer_version_arn,
        description,
        created_date,
        version,
        compatible_runtimes,
        license_info,
        compatible_architectures,
    })
}

fn find(room: &Lambda, ctx: &Ctx, layer: &str, number: u32) -> Option<Arc<LayerVersion>> {
    room.layers.find(ctx.region.as_str(), name_of(layer), number)
}

/// Shows a version with the place of its package.
pub async fn get_layer_version(
    room: &Lambda,
    ctx: &Ctx,
    input: GetLayerVersionInput,
) -> Result<GetLayerVersionOutput, Error> {
    let (number, _) = numbered(ctx, &input.layer_name, input.version_number)?;
    let version = find(room, ctx, &input.layer_name, number).ok_or_else(missing)?;
    Ok(shown(room, ctx, &version))
}

/// As [`get_layer_version`], by the version's ARN.
pub async fn get_layer_version_by_arn(
    room: &Lambda,
    ctx: &Ctx,
    input: GetLayerVersionByArnInput,
) -> Result<GetLayerVersionByArnOutput, Error> {
    let version = by_arn(room, ctx, &input.arn).ok_or_else(missing)?;
    Ok(shown(room, ctx, &version))
}

/// The version of an ARN of this account and region.
fn by_arn(room: &Lambda, ctx: &Ctx, arn: &str) -> Option<Arc<LayerVersion>> {
    let (layer, number) = arn.rsplit_once(':')?;
    let number = number.parse().ok()?;
    (layer == layer_arn(ctx, name_of(layer))).then(|| find(room, ctx, layer, number)).flatten()
}

fn fits(v: &LayerVersion, runtime: Option<&str>, architecture: Option<&str>) -> bool {
    let has = |of: &Option<Vec<String>>, wanted: Option<&str>| {
        wanted.is_none_or(|w| of.as_ref().is_some_and(|all| all.iter().any(|a| a == w)))
    };
    has(&v.runtimes, runtime) && has(&v.architectures, architecture)
}

/// Versions of a layer, newest first; the marker is the last number of the page before.
pub async fn list_layer_versions(
    room: &Lambda,
    ctx: &Ctx,
    input: ListLayerVersionsInput,
) -> Result<ListLayerVersionsOutput, Error> {
    let limit = unsigned(input.max_items).map_or(PAGE_MAX, |n| (n as usize).clamp(1, PAGE_MAX));
    let before: u32 = input.marker.and_then(|m| m.parse().ok()).unwrap_or(u32::MAX);
    let (runtime, architecture) = (input.compatible_runtime.as_deref(), input.compatible_architecture.as_deref());
    let all = room.layers.versions(ctx.region.as_str(), name_of(&input.layer_name));
    let mut page: Vec<_> = all.iter().rev().filter(|v| v.number < before && fits(v, runtime, architecture)).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    Ok(ListLayerVersionsOutput {
        next_marker: page.last().filter(|_| more).map(|v| v.number.to_string()),
        layer_versions: Some(page.into_iter().map(|v| listed(ctx, v)).collect()),
    })
}

/// Layers by name, each with its newest version that fits; the marker is the last name of the page before.
pub async fn list_layers(room: &Lambda, ctx: &Ctx, input: ListLayersInput) -> Result<ListLayersOutput, Error> {
    let limit = unsigned(input.max_items).map_or(PAGE_MAX, |n| (n as usize).clamp(1, PAGE_MAX));
    let after = input.marker.unwrap_or_default();
    let (runtime, architecture) = (input.compatible_runtime.as_deref(), input.compatible_architecture.as_deref());
    let region = ctx.region.as_str();
    let newest = |name: String| {
        let versions = room.layers.versions(region, &name);
        let newest = versions.into_iter().rev().find(|v| fits(v, runtime, architecture))?;
        Some((name, newest))
    };
    let names = room.layers.names(region).into_iter().filter(|name| *name > after);
    let mut page: Vec<_> = names.filter_map(newest).take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    Ok(ListLayersOutput {
        next_marker: page.last().filter(|_| more).map(|(name, _)| name.clone()),
        layers: Some(
            page.into_iter()
                .map(|(name, v)| LayersListItem {
                    layer_arn: Some(layer_arn(ctx, &name)),
                    layer_name: Some(name),
                    latest_matching_version: Some(listed(ctx, &v)),
                })
                .collect(),
        ),
    })
}

/// Deletes a version, if it is there. Functions that use it keep it.
pub async fn delete_layer_version(
    room: &Lambda,
    ctx: &Ctx,
    input: DeleteLayerVersionInput,
) -> Result<DeleteLayerVersionOutput, Error> {
    let (number, _) = numbered(ctx, &input.layer_name, input.version_number)?;
    let gone = room.layers.remove(ctx.region.as_str(), name_of(&input.layer_name), number).await?;
    if let Some(gone) = gone {
        discard_unused(room, &gone.object).await;
    }
    Ok(DeleteLayerVersionOutput {})
}

fn check_revision(given: Option<&str>, held: Option<&Policy>) -> Result<(), Error> {
    match (given, held) {
        (Some(given), Some(held)) if given != held.revision_id => Err(Error::Precondition(
            "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest \
             Revision Id"
                .into(),
        )),
        _ => Ok(()),
    }
}

/// Adds a statement to a version's policy.
///
/// # Errors
/// `ResourceNotFoundException`, `ResourceConflictException` for a statement id that is taken, `PreconditionFailedException`.
pub async fn add_layer_version_permission(
    room: &Lambda,
    ctx: &Ctx,
    input: AddLayerVersionPermissionInput,
) -> Result<AddLayerVersionPermissionOutput, Error> {
    let (number, arn) = numbered(ctx, &input.layer_name, input.version_number)?;
    let principal = match input.principal.as_str() {
        "*" => json!("*"),
        id if id.bytes().all(|b| b.is_ascii_digit()) => json!({ "AWS": format!("arn:aws:iam::{id}:root") }),
        arn => json!({ "AWS": arn }),
    };
    let mut statement = json!({
        "Sid": input.statement_id, "Effect": "Allow", "Principal": principal, "Action": input.action, "Resource": arn,
    });
    if let Some(organisation) = &input.organization_id {
        statement["Condition"] = json!({ "StringEquals": { "aws:PrincipalOrgID": organisation } });
    }
    let (id, added) = (room.new_id(), statement.clone());
    let changed = room.layers.change_policy(ctx.region.as_str(), name_of(&input.layer_name), number, |policy| {
        if policy.iter().flat_map(|p| &p.statements).any(|s| s["Sid"] == input.statement_id.as_str()) {
            return Err(Error::Conflict(format!(
                "The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing \
                 statement.",
                input.statement_id
            )));
        }
        check_revision(input.revision_id.as_deref(), policy.as_ref())?;
        let mut statements = policy.take().map(|p| p.statements).unwrap_or_default();
        statements.push(added);
        *policy = Some(Policy { revision_id: id, statements });
        Ok(())
    });
    let version = changed.await?.ok_or_else(|| missing_version(&arn))?;
    Ok(AddLayerVersionPermissionOutput {
        statement: Some(statement.to_string()),
        revision_id: version.policy.as_ref().map(|p| p.revision_id.clone()),
    })
}

/// Shows a version's policy.
pub async fn get_layer_version_policy(
    room: &Lambda,
    ctx: &Ctx,
    input: GetLayerVersionPolicyInput,
) -> Result<GetLayerVersionPolicyOutput, Error> {
    let (number, arn) = numbered(ctx, &input.layer_name, input.version_number)?;
    let version = find(room, ctx, &input.layer_name, number).ok_or_else(|| missing_version(&arn))?;
    let policy = version.policy.as_ref().ok_or_else(no_policy)?;
    Ok(GetLayerVersionPolicyOutput {
        policy: Some(rules::policy_document(&policy.statements)),
        revision_id: Some(policy.revision_id.clone()),
    })
}

fn no_policy() -> Error {
    Error::NotFound("No policy is associated with the given resource.".into())
}

/// Removes a statement from a version's policy.
///
/// # Errors
/// `ResourceNotFoundException`, `PreconditionFailedException`.
pub async fn remove_layer_version_permission(
    room: &Lambda,
    ctx: &Ctx,
    input: RemoveLayerVersionPermissionInput,
) -> Result<RemoveLayerVersionPermissionOutput, Error> {
    let (number, arn) = numbered(ctx, &input.layer_name, input.version_number)?;
    let id = room.new_id();
    let changed = room.layers.change_policy(ctx.region.as_str(), name_of(&input.layer_name), number, |policy| {
        let held = policy.as_mut().ok_or_else(no_policy)?;
        check_revision(input.revision_id.as_deref(), Some(held))?;
        let before = held.statements.len();
        held.statements.retain(|s| s["Sid"] != input.statement_id.as_str());
        if held.statements.len() == before {
            return Err(Error::NotFound(format!("Statement {} is not found in resource policy.", input.statement_id)));
        }
        held.revision_id = id;
        if held.statements.is_empty() {
            *policy = None;
        }
        Ok(())
    });
    changed.await?.map(|_| RemoveLayerVersionPermissionOutput {}).ok_or_else(|| missing_version(&arn))
}

/// The layers that a function names, in its order.
///
/// # Errors
/// `InvalidParameterValueException` for too many, for two versions of one, and for those that are not there.
pub fn of_function(room: &Lambda, ctx: &Ctx, arns: &[String]) -> Result<Vec<LayerRef>, Error> {
    if arns.len() > LAYERS_MAX {
        return Err(Error::invalid(format!("Cannot reference more than {LAYERS_MAX} layers.")));
    }
    let mut out = Vec::new();
    for (at, arn) in arns.iter().enumerate() {
        if let Some(twin) = arns.iter().take(at).find(|other| name_of(other) == name_of(arn)) {
            return Err(Error::invalid(format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. {arn} and \
                 {twin} versions."
            )));
        }
        let region = arn.parse::<Arn>().map(|a| a.region).unwrap_or_default();
        if region != ctx.region.as_str() {
            return Err(Error::invalid(format!(
                "Layers are not in the same region as the function. Layers are expected to be in region {}.",
                ctx.region.as_str()
            )));
        }
        let version = by_arn(room, ctx, arn);
        let v = version.ok_or_else(|| Error::invalid(format!("Layer version {arn} does not exist.")))?;
        out.push(LayerRef { arn: arn.clone(), object: v.object.clone(), bytes: v.bytes });
    }
    Ok(out)
}

/// Which layer a request is about.
pub fn access(ctx: &Ctx, op: &'static Operation, input: &Value) -> Vec<Access> {
    let text = |member| op.input.and_then(|shape| input.text(shape, member));
    let number = op.input.and_then(|shape| input.named(shape, "VersionNumber"));
    let action = match op.name {
        "GetLayerVersionByArn" => "lambda:GetLayerVersion".to_owned(),
        "ListLayers" => return vec![Access::new("lambda:ListLayers", "*")],
        name => format!("lambda:{name}"),
    };
    let resource = match (text("Arn"), text("LayerName"), number) {
        (Some(arn), _, _) => arn.to_owned(),
        (_, Some(name), Some(Value::Int(number))) => format!("{}:{number}", layer_arn(ctx, name_of(name))),
        (_, Some(name), _) => layer_arn(ctx, name_of(name)),
        _ => "*".to_owned(),
    };
    vec![Access::new(action, resource)]
}
