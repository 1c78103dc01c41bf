//! The account's limits: who is refused.
//!
//! A request runs on its version's provisioned concurrency as long as there is some, and spills over otherwise. What spills
//! counts against the function's reservation (less what its versions have provisioned) or, without one, against what
//! reservations and provisioned concurrency leave of the account.

use super::{GroupId, Pending, Pool, Usage};
use crate::ThrottleReason;
use std::time::Duration;

impl Usage {
    /// What this function takes from the account for itself alone.
    fn own(&self) -> u32 {
        self.reserved.unwrap_or(self.provisioned)
    }
}

impl Pool {
    /// Sets a function's reserved concurrency; the rest of the account shares what is left.
    pub fn reserve(&mut self, function_arn: &str, reserved: Option<u32>) {
        self.change_usage(function_arn, |usage| usage.reserved = reserved);
    }

    pub(super) fn reserve_if_changed(&mut self, function_arn: &str, reserved: Option<u32>) {
        if self.usage.get(function_arn).and_then(|u| u.reserved) != reserved {
            self.reserve(function_arn, reserved);
        }
    }

    /// Changes what a function has for itself, and the account's sums with it.
    pub(super) fn change_usage(&mut self, function_arn: &str, change: impl FnOnce(&mut Usage)) {
        let usage = self.usage.entry(function_arn.to_owned()).or_default();
        let (own, was_reserved) = (usage.own(), usage.reserved.is_some());
        change(usage);
        self.reserved_total = self.reserved_total - own + usage.own();
        match (was_reserved, usage.reserved.is_some()) {
            (false, true) => self.unreserved_in_flight -= usage.spilled,
            (true, false) => self.unreserved_in_flight += usage.spilled,
            _ => {}
        }
        self.forget_usage_if_empty(function_arn);
    }

    /// Counts a request in, unless a limit refuses it. Says whether it is beyond the provisioned concurrency.
    pub(super) fn admit(&mut self, group_id: GroupId, now: Duration) -> Result<bool, ThrottleReason> {
        let Some(group) = self.groups.get(&group_id) else { return Ok(true) };
        let Some(usage) = self.usage.get(&group.function.function_arn) else { return Ok(true) };
        let provisioned = self.provisions.get(&group.key).map_or(0, |p| p.wanted);
        let is_spilled = group.in_flight >= provisioned;
        if is_spilled {
            match usage.reserved {
                Some(reserved) if usage.spilled >= reserved.saturating_sub(usage.provisioned) => {
                    return Err(ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded);
                }
                Some(_) => {}
                None if self.unreserved_in_flight >= self.limits.concurrency.saturating_sub(self.reserved_total) => {
                    return Err(ThrottleReason::ConcurrentInvocationLimitExceeded);
                }
                None => {}
            }
            // Only where a start is what the request needs, and room for it is not what is missing.
            let needs_start = group.idle.is_empty() && group.queue.len() >= group.starting && !self.holds_starts(group);
            if needs_start
                && self.has_room(u64::from(group.function.memory_mb))
                && self.burst_left(&group.function.function_arn, now) < 1.0
            {
                return Err(ThrottleReason::ConcurrentInvocationLimitExceeded);
            }
        }
        self.count_in(group_id, is_spilled);
        Ok(is_spilled)
    }

    fn count_in(&mut self, group_id: GroupId, is_spilled: bool) {
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        group.in_flight += 1;
        let Some(usage) = self.usage.get_mut(&group.function.function_arn) else { return };
        usage.in_flight += 1;
        if is_spilled {
            usage.spilled += 1;
            self.unreserved_in_flight += u32::from(usage.reserved.is_none());
        }
    }

    /// Counts a request out.
    pub(super) fn release(&mut self, pending: &Pending, now: Duration) {
        let Some(group) = self.groups.get_mut(&pending.group) else { return };
        group.in_flight -= 1;
        let is_last = group.in_flight == 0;
        if let Some(usage) = self.usage.get_mut(&group.function.function_arn) {
            usage.in_flight -= 1;
            if pending.is_spilled {
                usage.spilled -= 1;
                self.unreserved_in_flight -= u32::from(usage.reserved.is_none());
            }
        }
        if is_last {
            self.falls_silent(pending.group, now);
        }
    }
}
