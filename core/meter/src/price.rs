//! From usage to a bill: pure.

use crate::{Hourly, Usage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// MB·ms of a GB·s.
const MB_MS_PER_GB_S: f64 = 1024.0 * 1000.0;

/// The price table, section `[prices]`. Since 0.2. The defaults are AWS's public list prices of us-east-1 in US dollars, first
/// tier, without the free tier; all zero makes the cloud free of charge.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prices {
    /// Shown with amounts. Default `USD`.
    pub currency: String,
    /// Price of a million requests. Default 0.20.
    pub million_requests: f64,
    /// Prices of functions for x86_64.
    pub x86_64: Rates,
    /// Prices of functions for arm64.
    pub arm64: Rates,
    /// Price of a GB·s of `/tmp` beyond 512 MB. Default 0.0000000309.
    pub tmp_gb_s: f64,
}

/// Prices of GB·s, memory × time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Duration of on-demand invocations.
    pub gb_s: f64,
    /// Duration of invocations on provisioned concurrency.
    pub provisioned_run_gb_s: f64,
    /// Provisioned concurrency that is kept ready.
    pub provisioned_gb_s: f64,
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            currency: "USD".into(),
            million_requests: 0.20,
            x86_64: Rates {
                gb_s: 0.000_016_666_7,
                provisioned_run_gb_s: 0.000_009_722_2,
                provisioned_gb_s: 0.000_004_166_7,
            },
            arm64: Rates {
                gb_s: 0.000_013_333_4,
                provisioned_run_gb_s: 0.000_007_777_8,
                provisioned_gb_s: 0.000_003_333_4,
            },
            tmp_gb_s: 0.000_000_030_9,
        }
    }
}

/// How the lines of a bill are made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// A line per function and region, all its versions together.
    Function,
    /// A line per day (UTC).
    Day,
}

impl By {
    /// `function` or `day`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "function" => Some(Self::Function),
            "day" => Some(Self::Day),
            _ => None,
        }
    }
}

/// A line of a bill.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Line {
    /// Region, empty in lines by day.
    pub region: String,
    /// The function's name, or the day as `2026-01-31`.
    pub name: String,
    /// Invocations.
    pub requests: u64,
    /// Of these, the ones that ended in an error.
    pub errors: u64,
    /// GB·s of on-demand duration.
    pub gb_s: f64,
    /// GB·s of duration on provisioned concurrency.
    pub provisioned_run_gb_s: f64,
    /// GB·s of provisioned concurrency kept ready.
    pub provisioned_gb_s: f64,
    /// GB·s of `/tmp` beyond 512 MB.
    pub tmp_gb_s: f64,
    /// In the table's currency.
    pub amount: f64,
}

/// A bill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bill {
    /// Currency of every amount.
    pub currency: String,
    /// Lines ordered by name.
    pub lines: Vec<Line>,
    /// All together; its name is `total`.
    pub total: Line,
}

/// Makes the bill of some hours.
#[must_use]
pub fn bill(usage: &[Hourly], prices: &Prices, by: By) -> Bill {
    let mut lines: BTreeMap<(String, String), Line> = BTreeMap::new();
    let mut total = Line { name: "total".into(), ..Line::default() };
    for hourly in usage {
        let (name, region) = match by {
            By::Function => (hourly.subject.function.clone(), hourly.subject.region.clone()),
            By::Day => (day(hourly.hour), String::new()),
        };
        let rates = if hourly.subject.architecture == "arm64" { &prices.arm64 } else { &prices.x86_64 };
        let line =
            lines.entry((name.clone(), region.clone())).or_insert_with(|| Line { name, region, ..Line::default() });
        add(line, &hourly.usage, prices, rates);
        add(&mut total, &hourly.usage, prices, rates);
    }
    Bill { currency: prices.currency.clone(), lines: lines.into_values().collect(), total }
}

#[allow(clippy::cast_precision_loss, reason = "sums of a bill stay far below 2^53 milliseconds × MB per line")]
fn add(line: &mut Line, usage: &Usage, prices: &Prices, rates: &Rates) {
    let gb_s = |mb_ms: u64| mb_ms as f64 / MB_MS_PER_GB_S;
    let (run, provisioned_run) = (gb_s(usage.mb_ms), gb_s(usage.provisioned_run_mb_ms));
    let (provisioned, tmp) = (gb_s(usage.provisioned_mb_ms), gb_s(usage.tmp_mb_ms));
    line.requests += usage.requests;
    line.errors += usage.errors;
    line.gb_s += run;
    line.provisioned_run_gb_s += provisioned_run;
    line.provisioned_gb_s += provisioned;
    line.tmp_gb_s += tmp;
    line.amount += usage.requests as f64 * prices.million_requests / 1e6
        + run * rates.gb_s
        + provisioned_run * rates.provisioned_run_gb_s
        + provisioned * rates.provisioned_gb_s
        + tmp * prices.tmp_gb_s;
}

/// The days `from..=to` as a span of hours, both as `2026-01-31`: by default this month up to and with today.
///
/// # Errors
/// The text that is no day, or a span that ends before it begins.
pub fn span(from: Option<&str>, to: Option<&str>, now: u32) -> Result<(u32, u32), String> {
    let read = |text: &str| first_hour(text).ok_or_else(|| format!("{text} is no day: expected YYYY-MM-DD"));
    let (year, month, _) = civil(i64::from(now / 24));
    let first_of_month = u32::try_from(days_from_civil(year, month, 1) * 24).unwrap_or(0);
    let from = from.map_or(Ok(first_of_month), read)?;
    let to = to.map_or(Ok(now / 24 * 24), read)? + 24;
    if from >= to { Err("the span ends before it begins".into()) } else { Ok((from, to)) }
}

/// The day of an hour since the epoch, as `2026-01-31`.
fn day(hour: u32) -> String {
    let (year, month, day) = civil(i64::from(hour / 24));
    format!("{year:04}-{month:02}-{day:02}")
}

/// First hour of a day written as `2026-01-31`. `None` for anything else.
#[must_use]
pub fn first_hour(text: &str) -> Option<u32> {
    let mut parts = text.split('-');
    let mut number = |length: usize| parts.next().filter(|p| p.len() == length)?.parse::<i64>().ok();
    let (year, month, day) = (number(4)?, number(2)?, number(2)?);
    if parts.next().is_some() || !(1970..=9999).contains(&year) {
        return None;
    }
    let days = days_from_civil(year, month, day);
    // What the calendar does not have comes back as another day.
    (civil(days) == (year, month, day)).then(|| u32::try_from(days * 24).ok())?
}

/// The date of a day since 1970-01-01, in the proleptic Gregorian calendar: eras of 400 years that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}
