//! Timestamps as AWS's protocols write them: epoch seconds, ISO 8601 and RFC 7231 (which models call `rfc822`).
//!
//! Writing is strict; reading takes any of the three forms wherever a timestamp may stand, because SDKs differ.

use crate::schema::TimestampFormat;
use squall_types::Millis;
use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// `9999-12-31T23:59:59.999Z`: the last moment that four digits of a year can name.
const MILLIS_MAX: i64 = 253_402_300_799_999;
/// `0000-01-01T00:00:00Z`.
const MILLIS_MIN: i64 = -62_167_219_200_000;

/// The moment as text; [`TimestampFormat::Default`] is written as ISO 8601.
///
/// Moments outside the years 0 to 9999 are moved to the nearest one inside.
#[must_use]
pub fn format(t: Millis, format: TimestampFormat) -> String {
    match format {
        TimestampFormat::Unix => epoch_seconds(t),
        TimestampFormat::Iso8601 | TimestampFormat::Default => iso8601(t),
        TimestampFormat::Rfc822 => rfc822(t),
    }
}

/// Seconds since the epoch with at most three digits of fraction: `1700000000.123`, `1700000000`.
#[must_use]
pub fn epoch_seconds(t: Millis) -> String {
    let sign = if t.0 < 0 { "-" } else { "" };
    let (secs, ms) = (t.0.unsigned_abs() / 1000, t.0.unsigned_abs() % 1000);
    if ms == 0 {
        return format!("{sign}{secs}");
    }
    let fraction = format!("{ms:03}");
    format!("{sign}{secs}.{}", fraction.trim_end_matches('0'))
}

/// `2026-01-31T12:00:00Z`, with milliseconds where there are some.
#[must_use]
pub fn iso8601(t: Millis) -> String {
    let d = calendar(t);
    let (year, month, day) = (d.year(), u8::from(d.month()), d.day());
    let (hour, minute, second, ms) = (d.hour(), d.minute(), d.second(), d.millisecond());
    let fraction = if ms == 0 { String::new() } else { format!(".{ms:03}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// `Sat, 31 Jan 2026 12:00:00 GMT`; milliseconds are dropped.
#[must_use]
pub fn rfc822(t: Millis) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let d = calendar(t);
    let month = MONTHS[usize::from(u8::from(d.month()) - 1)];
    let weekday = DAYS[usize::from(d.weekday().number_days_from_monday())];
    let (day, year, hour, minute, second) = (d.day(), d.year(), d.hour(), d.minute(), d.second());
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

fn calendar(t: Millis) -> OffsetDateTime {
    let ms = t.0.clamp(MILLIS_MIN, MILLIS_MAX);
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).expect("clamped to four-digit years")
}

/// Reads any of the three forms; ISO 8601 may lack its offset (then UTC), its time of day or its seconds' fraction.
///
/// Finer parts than milliseconds are cut off.
#[must_use]
pub fn parse(text: &str) -> Option<Millis> {
    let text = text.trim();
    if text.len() > 64 {
        return None;
    }
    if let Ok(secs) = text.parse::<f64>() {
        return from_seconds(secs);
    }
    let parsed = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(text, &Rfc2822))
        .ok()
        .or_else(|| without_offset(text))?;
    let ms = parsed.unix_timestamp_nanos().div_euclid(1_000_000);
    i64::try_from(ms).ok().map(Millis)
}

/// A moment from seconds since the epoch; `None` when the number is not finite or its year has more than four digits.
#[must_use]
pub fn from_seconds(secs: f64) -> Option<Millis> {
    let ms = (secs * 1000.0).round();
    (ms >= MILLIS_MIN as f64 && ms <= MILLIS_MAX as f64).then_some(Millis(ms as i64))
}

/// `2026-01-31`, `2026-01-31T12:00:00` and offsets without a colon, as Java and shells write them.
fn without_offset(text: &str) -> Option<OffsetDateTime> {
    let (date, clock) = text.split_once(['T', 't', ' ']).unwrap_or((text, ""));
    if let Some((at, sign)) = clock.rfind(['+', '-']).map(|at| (at, &clock[at..])) {
        let (hours, minutes) = sign.split_at_checked(3)?;
        let zone = if minutes.is_empty() { "00" } else { minutes.trim_start_matches(':') };
        return OffsetDateTime::parse(&format!("{date}T{}{hours}:{zone}", &clock[..at]), &Rfc3339).ok();
    }
    let mut parts = date.splitn(3, '-');
    let year = parts.next()?.parse().ok().filter(|y| (0..=9999).contains(y))?;
    let month: u8 = parts.next()?.parse().ok()?;
    let date = Date::from_calendar_date(year, Month::try_from(month).ok()?, parts.next()?.parse().ok()?).ok()?;
    let time = if clock.is_empty() { Time::MIDNIGHT } else { time_of_day(clock.trim_end_matches(['Z', 'z']))? };
    Some(PrimitiveDateTime::new(date, time).assume_utc())
}

fn time_of_day(clock: &str) -> Option<Time> {
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let (second, fraction) = parts.next().map_or(("0", ""), |s| s.split_once('.').unwrap_or((s, "")));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    Time::from_hms_milli(hour, minute, second.parse().ok()?, digits.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_in_every_format() {
        let cases = [
            (0, "0", "1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_700_000_000_123, "1700000000.123", "2023-11-14T22:13:20.123Z", "Tue, 14 Nov 2023 22:13:20 GMT"),
            (1_700_000_000_100, "1700000000.1", "2023-11-14T22:13:20.100Z", "Tue, 14 Nov 2023 22:13:20 GMT"),
            (-1, "-0.001", "1969-12-31T23:59:59.999Z", "Wed, 31 Dec 1969 23:59:59 GMT"),
        ];
        for (ms, unix, iso, rfc) in cases {
            assert_eq!(format(Millis(ms), TimestampFormat::Unix), unix);
            assert_eq!(format(Millis(ms), TimestampFormat::Iso8601), iso);
            assert_eq!(format(Millis(ms), TimestampFormat::Rfc822), rfc);
            assert_eq!(parse(unix), Some(Millis(ms)), "{unix}");
            assert_eq!(parse(iso), Some(Millis(ms)), "{iso}");
            assert_eq!(parse(rfc), Some(Millis(ms.div_euclid(1000) * 1000)), "{rfc}");
        }
    }

    #[test]
    fn other_forms_are_read_too() {
        let cases = [
            ("1.7E9", Some(1_700_000_000_000)),
            ("1.700000000123E9", Some(1_700_000_000_123)),
            ("2026-01-31T12:00:00+01:00", Some(1_769_857_200_000)),
            ("2026-01-31T12:00:00+0100", Some(1_769_857_200_000)),
            ("2026-01-31T12:00:00-01", Some(1_769_864_400_000)),
            ("2026-01-31T12:00:00", Some(1_769_860_800_000)),
            ("2026-01-31T12:00", Some(1_769_860_800_000)),
            ("2026-01-31T12:00:00.5", Some(1_769_860_800_500)),
            ("2026-01-31 12:00:00Z", Some(1_769_860_800_000)),
            ("2026-01-31", Some(1_769_817_600_000)),
            ("Sat, 31 Jan 2026 12:00:00 GMT", Some(1_769_860_800_000)),
            ("", None),
            ("NaN", None),
            ("inf", None),
            ("1e300", None),
            ("2026-13-01", None),
            ("2026-01-31T25:00:00", None),
            ("tomorrow", None),
            ("2026-01-31T12:00:00+é1", None),
        ];
        for (text, ms) in cases {
            assert_eq!(parse(text), ms.map(Millis), "{text}");
        }
    }

    #[test]
    fn moments_out_of_range_are_moved_inside() {
        assert_eq!(iso8601(Millis(i64::MAX)), "9999-12-31T23:59:59.999Z");
        assert_eq!(iso8601(Millis(i64::MIN)), "0000-01-01T00:00:00Z");
    }
}
