//! Log groups and their retention.

use crate::api::*;
use crate::catalog::{Group, GroupRecord};
use crate::error::Error;
use crate::room::{Logs, group_name};
use squall_service::Ctx;
use squall_store::Durability;

/// Days that AWS allows.
const RETENTIONS: [i32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];
const PAGE_MAX: usize = 50;

/// Makes a group.
///
/// # Errors
/// `ResourceAlreadyExistsException`, `InvalidParameterException`.
pub async fn create_log_group(
    room: &Logs,
    ctx: &Ctx,
    input: CreateLogGroupInput,
) -> Result<CreateLogGroupOutput, Error> {
    if input.kms_key_id.is_some() {
        return Err(Error::invalid("kmsKeyId is not supported by this version of Squall"));
    }
    if input.log_group_class.as_deref().is_some_and(|c| c != "STANDARD") {
        return Err(Error::invalid("logGroupClass: only STANDARD is supported by this version of Squall"));
    }
    let record = GroupRecord {
        region: ctx.region.to_string(),
        name: input.log_group_name,
        id: 0,
        created_ms: ctx.time.0,
        retention_days: None,
        tags: input.tags.unwrap_or_default(),
        protected: input.deletion_protection_enabled.unwrap_or(false),
    };
    room.catalog.create_group(record, Durability::Durable).await?;
    Ok(CreateLogGroupOutput::default())
}

/// Deletes a group with everything in it.
pub async fn delete_log_group(
    room: &Logs,
    ctx: &Ctx,
    input: DeleteLogGroupInput,
) -> Result<DeleteLogGroupOutput, Error> {
    let group = room.group(ctx, &input.log_group_name)?;
    if group.record.read().protected {
        return Err(Error::Validation(
            "The log group cannot be deleted because deletion protection is enabled.".into(),
        ));
    }
    room.catalog.delete_group(&group).await?;
    let paths = group.streams.read().values().map(|s| s.path.clone()).collect();
    room.writer.forget(paths).await?;
    // A line that is still on its way would make its file again; the folder goes at the next start then.
    let _ = std::fs::remove_dir(&group.folder);
    Ok(DeleteLogGroupOutput::default())
}

/// Lists groups by name.
pub async fn describe_log_groups(
    room: &Logs,
    ctx: &Ctx,
    input: DescribeLogGroupsInput,
) -> Result<DescribeLogGroupsOutput, Error> {
    if input.log_group_name_prefix.is_some() && input.log_group_name_pattern.is_some() {
        return Err(Error::invalid(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    if input.include_linked_accounts == Some(true) || input.account_identifiers.is_some() {
        return Err(Error::invalid("linked accounts are not supported by this version of Squall"));
    }
    room.settle().await?;
    let limit = limit(input.limit, PAGE_MAX, PAGE_MAX);
    let after = input.next_token.unwrap_or_default();
    let pattern = input.log_group_name_pattern.map(|p| p.to_lowercase());
    let ids: Option<Vec<String>> =
        input.log_group_identifiers.map(|l| l.iter().map(|i| group_name(i).to_owned()).collect());
    let matches = |r: &GroupRecord| {
        r.name > after
            && input.log_group_name_prefix.as_ref().is_none_or(|p| r.name.starts_with(p.as_str()))
            && pattern.as_ref().is_none_or(|p| r.name.to_lowercase().contains(p.as_str()))
            && ids.as_ref().is_none_or(|l| l.contains(&r.name))
            && input.log_group_class.as_ref().is_none_or(|c| c == "STANDARD")
    };
    let mut page = room.catalog.groups_of(ctx.region.as_str());
    page.retain(|g| matches(&g.record.read()));
    let more = page.len() > limit;
    page.truncate(limit);
    let next_token = page.last().filter(|_| more).map(|g| g.record.read().name.clone());
    let log_groups = page.iter().map(|g| shown(ctx, g)).collect::<Result<Vec<_>, _>>()?;
    Ok(DescribeLogGroupsOutput { log_groups: Some(log_groups), next_token })
}

/// A limit within its bounds.
pub fn limit(given: Option<i32>, default: usize, max: usize) -> usize {
    given.and_then(|n| usize::try_from(n).ok()).map_or(default, |n| n.clamp(1, max))
}

fn shown(ctx: &Ctx, group: &Group) -> Result<LogGroup, Error> {
    let mut bytes = 0;
    let streams: Vec<_> = group.streams.read().values().cloned().collect();
    for stream in streams {
        bytes += stream.summary()?.text_bytes;
    }
    let r = group.record.read();
    let arn = ctx.arn("logs", &format!("log-group:{}", r.name));
    Ok(LogGroup {
        log_group_name: Some(r.name.clone()),
        creation_time: Some(r.created_ms),
        retention_in_days: r.retention_days,
        metric_filter_count: Some(0),
        arn: Some(format!("{arn}:*")),
        stored_bytes: i64::try_from(bytes).ok(),
        log_group_class: Some("STANDARD".into()),
        log_group_arn: Some(arn),
        deletion_protection_enabled: Some(r.protected),
        ..Default::default()
    })
}

/// Sets how long lines are kept.
pub async fn put_retention_policy(
    room: &Logs,
    ctx: &Ctx,
    input: PutRetentionPolicyInput,
) -> Result<PutRetentionPolicyOutput, Error> {
    let days = input.retention_in_days;
    if !RETENTIONS.contains(&days) {
        return Err(Error::invalid(format!("Invalid retentionInDays: {days}. Valid values are: {RETENTIONS:?}")));
    }
    let group = room.group(ctx, &input.log_group_name)?;
    room.catalog
        .change(&group, |r| {
            r.retention_days = Some(days);
            Ok(())
        })
        .await?;
    Ok(PutRetentionPolicyOutput::default())
}

/// Keeps lines for ever again.
pub async fn delete_retention_policy(
    room: &Logs,
    ctx: &Ctx,
    input: DeleteRetentionPolicyInput,
) -> Result<DeleteRetentionPolicyOutput, Error> {
    let group = room.group(ctx, &input.log_group_name)?;
    room.catalog
        .change(&group, |r| {
            r.retention_days = None;
            Ok(())
        })
        .await?;
    Ok(DeleteRetentionPolicyOutput::default())
}
