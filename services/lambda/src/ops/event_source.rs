//! Event source mappings.

use super::function::{refuse, unsigned};
use crate::api::*;
use crate::error::Error;
use crate::mapping::rules::{self, Settings};
use crate::mapping::{Standing, Stored, view};
use crate::names::{LATEST, Name};
use crate::room::Lambda;
use squall_service::{Access, Ctx, EventSources, Mapping, SourceKind, StartingPosition};
use squall_types::Arn;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most mappings in one answer of `ListEventSourceMappings`.
const PAGE_MAX: usize = 100;

fn no_mapping() -> Error {
    Error::NotFound("The resource you requested does not exist.".into())
}

fn shown(room: &Lambda, ctx: &Ctx, stored: &Stored) -> EventSourceMappingConfiguration {
    let result = room.sources.get().and_then(|s| s.last_result(&stored.mapping.uuid));
    view::configuration(ctx.account.as_str(), stored, result)
}

fn sources(room: &Lambda) -> Result<Arc<dyn EventSources>, Error> {
    room.sources.get().cloned().ok_or_else(|| Error::unserved("An event source mapping"))
}

/// Makes a mapping; it is `Enabled` (or `Disabled`) a moment later.
///
/// Shape: source, function and settings → the mapping in state `Creating`. With `LATEST`, records written after the answer are
/// handed over.
///
/// # Errors
/// `InvalidParameterValueException` for sources and settings, `ResourceConflictException` for a second mapping of the pair.
///
/// Source: Lambda API 2015-03-31, `CreateEventSourceMapping`. Differs: DynamoDB streams only.
pub async fn create_event_source_mapping(
    room: &Lambda,
    ctx: &Ctx,
    input: CreateEventSourceMappingInput,
) -> Result<CreateEventSourceMappingOutput, Error> {
    let arn = rules::source_service(input.event_source_arn.as_deref())?;
    if arn.service == "sqs" && input.destination_config.is_some() {
        return Err(rules::unsupported("DestinationConfig"));
    }
    let (function_arn, role) = function(room, ctx, &input.function_name)?;
    let kind = kind(room, &arn)?;
    refuse_unserved(&input)?;
    let sources = sources(room)?;
    let mut mapping = Mapping {
        uuid: room.new_id(),
        region: ctx.region.to_string(),
        source_arn: arn.to_string(),
        function_arn,
        start: StartingPosition::TrimHorizon,
        batch_size: kind.batch_size.0,
        window_s: 0,
        parallel: 1,
        retries: None,
        record_age_s: None,
        bisect: false,
        reports_failures: false,
        tumbling_s: 0,
        filters: Vec::new(),
        on_failure: None,
    };
    mapping.start = rules::start(&kind, input.starting_position.as_deref(), input.starting_position_timestamp)?;
    let settings = Settings {
        batch_size: input.batch_size,
        window_s: input.maximum_batching_window_in_seconds,
        parallel: input.parallelization_factor,
        retries: input.maximum_retry_attempts,
        record_age_s: input.maximum_record_age_in_seconds,
        bisect: input.bisect_batch_on_function_error,
        response_types: input.function_response_types,
        tumbling_s: input.tumbling_window_in_seconds,
        filters: input.filter_criteria,
        destinations: input.destination_config,
    };
    rules::apply(&mut mapping, settings, &kind, |to| sources.delivers_to(to))?;
    let tags = input.tags.unwrap_or_default();
    crate::rules::tags(&tags)?;
    check_source(ctx, room, &*sources, &kind, &mapping.source_arn, &role).await?;
    sources.prepare(&mapping).await.map_err(|e| Error::internal("find the place to begin", e))?;
    let enabled = input.enabled.unwrap_or(true);
    let stored = Stored { mapping, standing: Standing::Creating, enabled, modified_ms: ctx.time.0, tags };
    let stored = match room.mappings.create(stored.clone()).await {
        Ok(stored) => stored,
        Err(e) => {
            // The places that were fixed above are nobody's.
            if let Err(why) = sources.forget(&stored.mapping.uuid).await {
                tracing::warn!(error = %why, "forget a mapping that was not made");
            }
            return Err(e);
        }
    };
    room.settle_mapping(&stored.mapping.uuid);
    Ok(shown(room, ctx, &stored))
}

/// The function's ARN as mappings name it, and its role.
fn function(room: &Lambda, ctx: &Ctx, text: &str) -> Result<(String, String), Error> {
    let missing = || Error::invalid("Function does not exist");
    let name = room.name(ctx, text, None).map_err(|e| if matches!(e, Error::NotFound(_)) { missing() } else { e })?;
    let entry = room.registry.find(ctx.region.as_str(), &name.name).ok_or_else(missing)?;
    let target = room.resolve(&entry, &name, 1.0).ok_or_else(missing)?;
    let arn = crate::view::arn(ctx.account.as_str(), &entry.record, name.qualifier.as_deref());
    Ok((arn, target.version.role.clone()))
}

fn kind(room: &Lambda, arn: &Arn) -> Result<SourceKind, Error> {
    const KNOWN: [&str; 5] = ["sqs", "kinesis", "dynamodb", "kafka", "rds"];
    match sources(room)?.kind(&arn.to_string()) {
        Some(kind) => Ok(kind),
        None if arn.service == "dynamodb" && !arn.resource.contains("/stream/") => {
            Err(Error::invalid("Unrecognized event source, must be kinesis, dynamodb stream or sqs."))
        }
        None if KNOWN.contains(&arn.service.as_str()) => {
            Err(Error::unserved(&format!("An event source of {}", arn.service)))
        }
        None => Err(Error::invalid("Unrecognized event source, must be kinesis, dynamodb stream or sqs.")),
    }
}

fn refuse_unserved(input: &CreateEventSourceMappingInput) -> Result<(), Error> {
    let of_other_sources = [
        (input.topics.is_some(), "Topics"),
        (input.queues.is_some(), "Queues"),
        (input.source_access_configurations.is_some(), "SourceAccessConfigurations"),
        (input.self_managed_event_source.is_some(), "SelfManagedEventSource"),
        (input.amazon_managed_kafka_event_source_config.is_some(), "AmazonManagedKafkaEventSourceConfig"),
        (input.self_managed_kafka_event_source_config.is_some(), "SelfManagedKafkaEventSourceConfig"),
        (input.scaling_config.is_some(), "ScalingConfig"),
        (input.document_db_event_source_config.is_some(), "DocumentDBEventSourceConfig"),
        (input.provisioned_poller_config.is_some(), "ProvisionedPollerConfig"),
    ];
    if let Some((_, name)) = of_other_sources.iter().find(|(there, _)| *there) {
        return Err(rules::unsupported(name));
    }
    let metrics = input.metrics_config.as_ref().and_then(|m| m.metrics.as_ref()).is_some_and(|m| !m.is_empty());
    refuse(&[
        (input.kms_key_arn.as_ref().is_some_and(|k| !k.is_empty()), "KMSKeyArn"),
        (metrics, "MetricsConfig"),
        (input.logging_config.is_some(), "LoggingConfig"),
    ])
}

/// The source exists, and the function's role may read it.
async fn check_source(
    ctx: &Ctx,
    room: &Lambda,
    sources: &dyn EventSources,
    kind: &SourceKind,
    arn: &str,
    role: &str,
) -> Result<(), Error> {
    let accesses: Vec<Access> = kind.actions.iter().map(|a| Access::new(*a, arn)).collect();
    if !super::event_invoke::role_may(room, ctx, role, &accesses).await {
        return Err(Error::Invalid((kind.denied)(arn)));
    }
    match sources.exists(arn).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Invalid((kind.missing)(arn))),
        Err(e) => Err(Error::internal("look for the event source", e)),
    }
}

/// Shows a mapping.
pub async fn get_event_source_mapping(
    room: &Lambda,
    ctx: &Ctx,
    input: GetEventSourceMappingInput,
) -> Result<GetEventSourceMappingOutput, Error> {
    let stored = room.mappings.find(ctx.region.as_str(), &input.uuid).ok_or_else(no_mapping)?;
    Ok(shown(room, ctx, &stored))
}

/// Lists mappings by id, of one source or function where asked; the marker is the last id of the page before.
pub async fn list_event_source_mappings(
    room: &Lambda,
    ctx: &Ctx,
    input: ListEventSourceMappingsInput,
) -> Result<ListEventSourceMappingsOutput, Error> {
    let function = match input.function_name.as_deref() {
        None => None,
        Some(text) => {
            let name = room.name(ctx, text, None)?;
            let Name { name, qualifier } = name;
            let tail = qualifier.filter(|q| q != LATEST).map(|q| format!(":{q}")).unwrap_or_default();
            Some(ctx.arn("lambda", &format!("function:{name}{tail}")))
        }
    };
    let limit = unsigned(input.max_items).map_or(PAGE_MAX, |n| (n as usize).clamp(1, PAGE_MAX));
    let after = input.marker.unwrap_or_default();
    let all = room.mappings.everything();
    let mut page: Vec<_> = all
        .into_iter()
        .filter(|s| s.mapping.region == ctx.region.as_str() && s.mapping.uuid > after)
        .filter(|s| function.as_ref().is_none_or(|f| s.mapping.function_arn == *f))
        .filter(|s| input.event_source_arn.as_ref().is_none_or(|a| s.mapping.source_arn == *a))
        .take(limit + 1)
        .collect();
    let more = page.len() > limit;
    page.truncate(limit);
    Ok(ListEventSourceMappingsOutput {
        next_marker: page.last().filter(|_| more).map(|s| s.mapping.uuid.clone()),
        event_source_mappings: Some(page.iter().map(|s| shown(room, ctx, s)).collect()),
    })
}

/// Changes a mapping; it goes on where it was, under the new settings.
///
/// # Errors
/// `ResourceInUseException` while another change is under way.
pub async fn update_event_source_mapping(
    room: &Lambda,
    ctx: &Ctx,
    input: UpdateEventSourceMappingInput,
) -> Result<UpdateEventSourceMappingOutput, Error> {
    let before = room.mappings.find(ctx.region.as_str(), &input.uuid).ok_or_else(no_mapping)?;
    refuse_unserved_update(&input)?;
    let function = input.function_name.as_deref().map(|f| function(room, ctx, f)).transpose()?;
    let arn: Arn = before.mapping.source_arn.parse().map_err(|e| Error::internal("read a source's ARN", e))?;
    let (kind, sources) = (kind(room, &arn)?, sources(room)?);
    if let Some((_, role)) = &function {
        check_source(ctx, room, &*sources, &kind, &before.mapping.source_arn, role).await?;
    }
    let settings = Settings {
        batch_size: input.batch_size,
        window_s: input.maximum_batching_window_in_seconds,
        parallel: input.parallelization_factor,
        retries: input.maximum_retry_attempts,
        record_age_s: input.maximum_record_age_in_seconds,
        bisect: input.bisect_batch_on_function_error,
        response_types: input.function_response_types,
        tumbling_s: input.tumbling_window_in_seconds,
        filters: input.filter_criteria,
        destinations: input.destination_config,
    };
    let changed = room.mappings.change(&input.uuid, |s| {
        if !s.standing.is_settled() {
            return Err(Error::InUse("Cannot update the event source mapping because it is in use.".into()));
        }
        rules::apply(&mut s.mapping, settings, &kind, |to| sources.delivers_to(to))?;
        if let Some((arn, _)) = function {
            s.mapping.function_arn = arn;
        }
        let enabled = input.enabled.unwrap_or(s.enabled);
        s.standing = match (s.enabled, enabled) {
            (true, false) => Standing::Disabling,
            (false, true) => Standing::Enabling,
            _ => Standing::Updating,
        };
        s.enabled = enabled;
        s.modified_ms = ctx.time.0;
        Ok(())
    });
    let stored = changed.await?.ok_or_else(no_mapping)?;
    room.settle_mapping(&stored.mapping.uuid);
    Ok(shown(room, ctx, &stored))
}

fn refuse_unserved_update(input: &UpdateEventSourceMappingInput) -> Result<(), Error> {
    let of_other_sources = [
        (input.source_access_configurations.is_some(), "SourceAccessConfigurations"),
        (input.amazon_managed_kafka_event_source_config.is_some(), "AmazonManagedKafkaEventSourceConfig"),
        (input.self_managed_kafka_event_source_config.is_some(), "SelfManagedKafkaEventSourceConfig"),
        (input.scaling_config.is_some(), "ScalingConfig"),
        (input.document_db_event_source_config.is_some(), "DocumentDBEventSourceConfig"),
        (input.provisioned_poller_config.is_some(), "ProvisionedPollerConfig"),
    ];
    if let Some((_, name)) = of_other_sources.iter().find(|(there, _)| *there) {
        return Err(rules::unsupported(name));
    }
    let metrics = input.metrics_config.as_ref().and_then(|m| m.metrics.as_ref()).is_some_and(|m| !m.is_empty());
    refuse(&[
        (input.kms_key_arn.as_ref().is_some_and(|k| !k.is_empty()), "KMSKeyArn"),
        (metrics, "MetricsConfig"),
        (input.logging_config.is_some(), "LoggingConfig"),
    ])
}

/// Deletes a mapping; it is gone when its batches in flight have ended.
///
/// # Errors
/// `ResourceInUseException` while another change is under way.
pub async fn delete_event_source_mapping(
    room: &Lambda,
    ctx: &Ctx,
    input: DeleteEventSourceMappingInput,
) -> Result<DeleteEventSourceMappingOutput, Error> {
    room.mappings.find(ctx.region.as_str(), &input.uuid).ok_or_else(no_mapping)?;
    let changed = room.mappings.change(&input.uuid, |s| {
        if !s.standing.is_settled() {
            return Err(Error::InUse("Cannot delete the event source mapping because it is in use.".into()));
        }
        s.standing = Standing::Deleting;
        s.modified_ms = ctx.time.0;
        Ok(())
    });
    let stored = changed.await?.ok_or_else(no_mapping)?;
    room.settle_mapping(&stored.mapping.uuid);
    Ok(shown(room, ctx, &stored))
}

/// The mapping that a tag operation's ARN names.
pub fn tagged(room: &Lambda, ctx: &Ctx, arn: &str) -> Result<Option<Arc<Stored>>, Error> {
    let Some((_, uuid)) = arn.split_once(":event-source-mapping:") else { return Ok(None) };
    room.mappings.find(ctx.region.as_str(), uuid).map(Some).ok_or_else(no_mapping)
}

/// Changes the tags of a mapping.
pub async fn change_tags(
    room: &Lambda,
    uuid: &str,
    f: impl FnOnce(&mut BTreeMap<String, String>),
) -> Result<(), Error> {
    let changed = room.mappings.change(uuid, |s| {
        f(&mut s.tags);
        crate::rules::tags(&s.tags)
    });
    changed.await?.map(|_| ()).ok_or_else(no_mapping)
}
