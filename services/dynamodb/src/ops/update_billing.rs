//! What UpdateTable changes about billing mode and throughput.

use super::definition::{self, invalid};
use crate::api;
use crate::error::Error;
use crate::table::{Billing, Capacity, Table};
use squall_types::Millis;

/// Decreases of a UTC day after which each further one has to wait.
const DECREASES_FREE: u32 = 4;
/// How long it then waits.
const DECREASE_PAUSE_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;

impl Billing {
    /// How often the provisioned numbers fell in the UTC day of `now`.
    pub(crate) fn decreases_today(&self, now: Millis) -> u32 {
        let day = |t: Millis| t.0.div_euclid(DAY_MS);
        if self.decreased.is_some_and(|t| day(t) == day(now)) { self.decreases.max(1) } else { 0 }
    }
}

/// Checks what needs no table.
///
/// # Errors
/// `ValidationException`.
pub(super) fn check_asked(input: &api::UpdateTableInput) -> Result<(), Error> {
    let Some(asked) = &input.provisioned_throughput else { return Ok(()) };
    if input.billing_mode.as_deref() == Some("PAY_PER_REQUEST") {
        return Err(both());
    }
    definition::capacity(asked, None).map(drop)
}

fn both() -> Error {
    invalid("Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST")
}

/// Applies billing mode, provisioned throughput and bounds.
///
/// # Errors
/// `ValidationException`; `LimitExceededException` for too many decreases.
pub(super) fn change(table: &mut Table, input: &api::UpdateTableInput, now: Millis) -> Result<(), Error> {
    let on_demand = match input.billing_mode.as_deref() {
        Some(mode) => mode == "PAY_PER_REQUEST",
        None => table.billing.on_demand,
    };
    let changes = on_demand != table.billing.on_demand;
    match (&input.provisioned_throughput, on_demand) {
        (Some(_), true) => return Err(both()),
        (None, false) if changes => {
            return Err(invalid(
                "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
            ));
        }
        (Some(asked), false) => {
            let asked = definition::capacity(asked, None)?;
            if asked == table.billing.capacity && !changes && input.global_secondary_index_updates.is_none() {
                return Err(unchanged(asked, None));
            }
            note_change(&mut table.billing, asked, now)?;
            table.billing.capacity = asked;
        }
        (None, _) => {}
    }
    if changes && on_demand {
        table.billing.capacity = Capacity::default();
        table.indexes.iter_mut().for_each(|i| i.capacity = Capacity::default());
        table.billing.on_demand_since = Some(now);
        table.billing.has_summary = true;
    }
    if changes && !on_demand {
        table.billing.most = Capacity::default();
        table.indexes.iter_mut().for_each(|i| i.most = Capacity::default());
        check_index_capacities(table, input)?;
    }
    table.billing.on_demand = on_demand;
    if input.on_demand_throughput.is_some() {
        table.billing.most = definition::most(input.on_demand_throughput.as_ref(), on_demand)?;
    }
    Ok(())
}

/// A table that becomes provisioned says so for each global index.
fn check_index_capacities(table: &Table, input: &api::UpdateTableInput) -> Result<(), Error> {
    let updates = input.global_secondary_index_updates.as_deref().unwrap_or_default();
    let given = |name: &str| updates.iter().filter_map(|u| u.update.as_ref()).any(|u| u.index_name == name);
    match table.indexes.iter().find(|i| !i.local && !given(&i.name)) {
        Some(index) => Err(invalid(format!("ProvisionedThroughput must be specified for index: {}", index.name))),
        None => Ok(()),
    }
}

fn note_change(billing: &mut Billing, to: Capacity, now: Millis) -> Result<(), Error> {
    let from = billing.capacity;
    if to.read > from.read || to.write > from.write {
        billing.increased = Some(now);
    }
    if to.read < from.read || to.write < from.write {
        let today = billing.decreases_today(now);
        if let Some(last) = billing.decreased.filter(|t| today >= DECREASES_FREE && now.0 - t.0 < DECREASE_PAUSE_MS) {
            return Err(Error::LimitExceeded(format!(
                "Subscriber limit exceeded: Provisioned throughput decreases are limited within a given UTC day. After the \
                 first {DECREASES_FREE} decreases, each subsequent decrease in the same UTC day can be performed at most once \
                 every {} seconds. Number of decreases today: {today}. Last decrease at {}. Next decrease can be made at {}",
                DECREASE_PAUSE_MS / 1000,
                in_words(last),
                in_words(Millis(last.0 + DECREASE_PAUSE_MS))
            )));
        }
        billing.decreases = today + 1;
        billing.decreased = Some(now);
    }
    Ok(())
}

/// A time as this one message of the service has it: `Wednesday, July 25, 2018 8:48:14 PM UTC`.
fn in_words(at: Millis) -> String {
    const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let day = DAYS.get(at.0.div_euclid(DAY_MS).rem_euclid(7) as usize).unwrap_or(&"");
    let seconds = at.0.rem_euclid(DAY_MS) / 1000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let date = squall_protocol::timestamp::iso8601(at);
    let mut parts = date.get(..10).unwrap_or_default().splitn(3, '-').map(|p| p.parse::<usize>().unwrap_or(1));
    let (year, month, of_month) = (parts.next().unwrap_or(0), parts.next().unwrap_or(1), parts.next().unwrap_or(1));
    let month = MONTHS.get(month.wrapping_sub(1)).unwrap_or(&"");
    let (twelfth, half) = (if hour % 12 == 0 { 12 } else { hour % 12 }, if hour < 12 { "AM" } else { "PM" });
    format!("{day}, {month} {of_month}, {year} {twelfth}:{minute:02}:{second:02} {half} UTC")
}

/// The refusal of an update that asks for what is.
pub(super) fn unchanged(at: Capacity, index: Option<&str>) -> Error {
    let Capacity { read, write } = at;
    let (whole, of) = match index {
        Some(name) => (format!("the index {name}"), "the index"),
        None => ("the table".to_owned(), "the table"),
    };
    Error::validation(format!(
        "The provisioned throughput for {whole} will not change. The requested value equals the current value. Current \
         ReadCapacityUnits provisioned for {of}: {read}. Requested ReadCapacityUnits: {read}. Current WriteCapacityUnits \
         provisioned for {of}: {write}. Requested WriteCapacityUnits: {write}. Refer to the Amazon DynamoDB Developer Guide \
         for current limits and how to request higher limits."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_in_the_service_s_message() {
        assert_eq!(in_words(Millis(1_532_551_694_000)), "Wednesday, July 25, 2018 8:48:14 PM UTC");
        assert_eq!(in_words(Millis(0)), "Thursday, January 1, 1970 12:00:00 AM UTC");
    }

    #[test]
    fn the_fifth_decrease_of_a_day_waits_an_hour() {
        let at = |minute: i64| Millis(1_532_551_694_000 + minute * 60_000);
        let mut billing = Billing { capacity: Capacity { read: 10, write: 10 }, ..Billing::default() };
        for (read, minute) in [(9, 0), (8, 1), (7, 2), (6, 3)] {
            let to = Capacity { read, write: 10 };
            note_change(&mut billing, to, at(minute)).expect("free");
            billing.capacity = to;
        }
        let to = Capacity { read: 5, write: 10 };
        let refused = note_change(&mut billing, to, at(10)).expect_err("too soon").to_string();
        assert!(refused.contains("Number of decreases today: 4. Last decrease at"), "{refused}");
        note_change(&mut billing, to, at(64)).expect("an hour later");
        assert_eq!((billing.decreases_today(at(65)), billing.decreases_today(at(65 + 24 * 60))), (5, 0));
    }
}
