//! The two spellings of time in signatures: `20260101T000000Z`, and HTTP's `Date`.

use time::format_description::well_known::Rfc2822;
use time::{Date, Month, OffsetDateTime, Time};

/// Seconds since 1970 of a basic ISO 8601 time, `YYYYMMDDTHHMMSSZ`.
pub(super) fn parse_basic(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes.get(8) != Some(&b'T') || bytes.get(15) != Some(&b'Z') {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to).filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse::<u16>().ok()
    };
    let small = |from, to| number(from, to).and_then(|n| u8::try_from(n).ok());
    let month = Month::try_from(small(4, 6)?).ok()?;
    let date = Date::from_calendar_date(i32::from(number(0, 4)?), month, small(6, 8)?).ok()?;
    let time = Time::from_hms(small(9, 11)?, small(11, 13)?, small(13, 15)?).ok()?;
    Some(OffsetDateTime::new_utc(date, time).unix_timestamp())
}

/// Seconds since 1970 of HTTP's `Date` header.
pub(super) fn parse_http(text: &str) -> Option<i64> {
    OffsetDateTime::parse(text, &Rfc2822).ok().map(OffsetDateTime::unix_timestamp)
}

/// `YYYYMMDDTHHMMSSZ`; times out of a four-digit year are clamped.
pub(super) fn basic(seconds: i64) -> String {
    let t = at(seconds);
    let month = u8::from(t.month());
    format!("{:04}{month:02}{:02}T{:02}{:02}{:02}Z", t.year(), t.day(), t.hour(), t.minute(), t.second())
}

/// `YYYY-MM-DDTHH:MM:SSZ`, as S3 prints times in errors.
pub(super) fn extended(seconds: i64) -> String {
    let t = at(seconds);
    let month = u8::from(t.month());
    format!("{:04}-{month:02}-{:02}T{:02}:{:02}:{:02}Z", t.year(), t.day(), t.hour(), t.minute(), t.second())
}

fn at(seconds: i64) -> OffsetDateTime {
    let seconds = seconds.clamp(0, 253_402_300_799);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_and_print() {
        for (text, want) in [
            ("20150830T123600Z", Some(1_440_938_160)),
            ("19700101T000000Z", Some(0)),
            ("20150230T123600Z", None),
            ("20151330T123600Z", None),
            ("20150830T246000Z", None),
            ("20150830 123600Z", None),
            ("+0150830T123600Z", None),
            ("2015-08-30T12:36:00Z", None),
            ("", None),
            ("20150830T12360éZ", None),
        ] {
            assert_eq!(parse_basic(text), want, "{text}");
            if let Some(seconds) = want {
                assert_eq!(basic(seconds), text);
            }
        }
        assert_eq!(parse_http("Sun, 30 Aug 2015 12:36:00 GMT"), Some(1_440_938_160));
        assert_eq!(parse_http("soon"), None);
        assert_eq!(extended(1_440_938_160), "2015-08-30T12:36:00Z");
        assert_eq!(basic(i64::MAX), "99991231T235959Z");
    }
}
