//! Reserved concurrency and the account's numbers.

use super::function::{stored_bytes, unsigned};
use crate::api::*;
use crate::error::Error;
use crate::provisioned::own_concurrency;
use crate::room::Lambda;
use squall_service::Ctx;

/// What AWS keeps for functions without a reservation.
const UNRESERVED_MIN: u32 = 100;

/// What other functions have for themselves alone: reservations, and provisioned concurrency where there is none.
pub fn taken_by_others(room: &Lambda, region: &str, name: &str) -> u32 {
    let all = room.registry.everything();
    let others = all.iter().filter(|e| e.record.region == region && e.record.name != name);
    others.map(|e| own_concurrency(&e.record)).sum()
}

/// Reserves a part of the account's concurrency.
pub async fn put_function_concurrency(
    room: &Lambda,
    ctx: &Ctx,
    input: PutFunctionConcurrencyInput,
) -> Result<PutFunctionConcurrencyOutput, Error> {
    let name = room.name(ctx, &input.function_name, None)?;
    if name.qualifier.is_some() {
        return Err(Error::invalid(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.",
        ));
    }
    let wanted = unsigned(Some(input.reserved_concurrent_executions)).unwrap_or_default();
    let provisioned: u32 = room.find(ctx, &name)?.record.provisioned.values().map(|p| p.count).sum();
    if wanted < provisioned {
        return Err(Error::Reservation(format!(
            " ReservedConcurrentExecutions  {wanted} should not be lower than function's total provisioned concurrency \
             [{provisioned}]."
        )));
    }
    let taken = taken_by_others(room, ctx.region.as_str(), &name.name).saturating_add(wanted);
    let minimum = UNRESERVED_MIN.min(room.options.concurrency);
    if room.options.concurrency.saturating_sub(taken) < minimum || taken > room.options.concurrency {
        return Err(Error::Reservation(format!(
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its \
             minimum value of [{minimum}]."
        )));
    }
    room.registry
        .change(
            ctx.region.as_str(),
            &name.name,
            || room.missing(ctx, &name),
            |record, _, _| {
                record.reserved = Some(wanted);
                Ok(())
            },
        )
        .await?;
    room.runtime.reserve(&ctx.arn("lambda", &format!("function:{}", name.name)), Some(wanted));
    Ok(Concurrency { reserved_concurrent_executions: Some(input.reserved_concurrent_executions) })
}

/// Shows the reservation.
pub async fn get_function_concurrency(
    room: &Lambda,
    ctx: &Ctx,
    input: GetFunctionConcurrencyInput,
) -> Result<GetFunctionConcurrencyOutput, Error> {
    let name = room.name(ctx, &input.function_name, None)?;
    let entry = room.find(ctx, &name)?;
    Ok(GetFunctionConcurrencyOutput {
        reserved_concurrent_executions: entry.record.reserved.and_then(|r| i32::try_from(r).ok()),
    })
}

/// Gives the reservation back.
pub async fn delete_function_concurrency(
    room: &Lambda,
    ctx: &Ctx,
    input: DeleteFunctionConcurrencyInput,
) -> Result<DeleteFunctionConcurrencyOutput, Error> {
    let name = room.name(ctx, &input.function_name, None)?;
    room.registry
        .change(
            ctx.region.as_str(),
            &name.name,
            || room.missing(ctx, &name),
            |record, _, _| {
                record.reserved = None;
                Ok(())
            },
        )
        .await?;
    room.runtime.reserve(&ctx.arn("lambda", &format!("function:{}", name.name)), None);
    Ok(DeleteFunctionConcurrencyOutput::default())
}

/// Limits and use of the account in this region.
pub async fn get_account_settings(
    room: &Lambda,
    ctx: &Ctx,
    _input: GetAccountSettingsInput,
) -> Result<GetAccountSettingsOutput, Error> {
    let all = room.registry.everything();
    let own: Vec<_> = all.iter().filter(|e| e.record.region == ctx.region.as_str()).collect();
    let bytes = stored_bytes(room, ctx.region.as_str());
    let reserved: u32 = own.iter().map(|e| own_concurrency(&e.record)).sum();
    let total = room.options.concurrency;
    Ok(GetAccountSettingsOutput {
        account_limit: Some(AccountLimit {
            total_code_size: Some(i64::try_from(crate::rules::CODE_STORAGE_BYTES_MAX).unwrap_or(i64::MAX)),
            code_size_unzipped: Some(262_144_000),
            code_size_zipped: Some(52_428_800),
            concurrent_executions: i32::try_from(total).ok(),
            unreserved_concurrent_executions: i32::try_from(total.saturating_sub(reserved)).ok(),
        }),
        account_usage: Some(AccountUsage {
            total_code_size: i64::try_from(bytes).ok(),
            function_count: i64::try_from(own.len()).ok(),
        }),
    })
}
