//! Typed values of conditions: numbers, dates, addresses, binary.

use std::net::IpAddr;

use base64::Engine as _;

/// A number as `Numeric…` operators compare it.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|n| n.is_finite())
}

/// Bytes of a `BinaryEquals` value.
pub(crate) fn binary(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// A date of a `Date…` operator, in milliseconds since 1970: ISO 8601 (date, or date and time with a zone) or seconds.
pub(crate) fn date(text: &str) -> Option<i64> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.len() != 4 {
        return text.parse::<i64>().ok()?.checked_mul(1000);
    }
    let (day, time) = text.split_once(['T', 't']).map_or((text, None), |(day, time)| (day, Some(time)));
    let mut fields = day.split('-');
    let year = digits(fields.next()?, 4)?;
    let month = fields.next().map_or(Some(1), |m| digits(m, 2))?;
    let date = fields.next().map_or(Some(1), |d| digits(d, 2))?;
    if fields.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&date) {
        return None;
    }
    let midnight = days_from_civil(year, month, date).checked_mul(86_400_000)?;
    midnight.checked_add(time.map_or(Some(0), time_of_day)?)
}

/// `hh:mm[:ss[.fff]]` with `Z`, `±hh:mm` or nothing, in milliseconds from midnight UTC.
fn time_of_day(text: &str) -> Option<i64> {
    let (clock, offset_minutes) = match text.find(['Z', 'z', '+', '-']) {
        None => (text, 0),
        Some(at) => {
            let (clock, zone) = text.split_at(at);
            let offset = match zone.as_bytes() {
                [b'Z' | b'z'] => 0,
                [sign, ..] => {
                    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
                    let minutes = digits(hours, 2)? * 60 + digits(minutes, 2)?;
                    if *sign == b'-' { -minutes } else { minutes }
                }
                [] => return None,
            };
            (clock, offset)
        }
    };
    let mut fields = clock.split(':');
    let hour = digits(fields.next()?, 2)?;
    let minute = digits(fields.next()?, 2)?;
    let (second, fraction) = match fields.next() {
        None => ("00", ""),
        Some(seconds) => seconds.split_once('.').unwrap_or((seconds, "")),
    };
    let second = digits(second, 2)?;
    if fields.next().is_some() || hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let millis = match fraction.len() {
        0 => 0,
        len => {
            let head = fraction.get(..len.min(3))?;
            digits(head, head.len())? * [100, 10, 1].get(head.len() - 1)?
        }
    };
    Some(((hour * 60 + minute - offset_minutes) * 60 + second) * 1000 + millis)
}

fn digits(text: &str, len: usize) -> Option<i64> {
    (text.len() == len && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Seconds since 1970 as `YYYY-MM-DDThh:mm:ssZ`.
pub(crate) fn print_date(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let rest = seconds.rem_euclid(86_400);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// An address range `address[/prefix]`, IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads `10.0.0.0/8`, `10.1.2.3`, `2001:db8::/32`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.trim().split_once('/').map_or((text.trim(), None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().ok()?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u8 = prefix.map_or(Some(widest), |p| p.parse().ok())?;
        match (address, address.to_canonical()) {
            // An IPv4-mapped range is the IPv4 range that it names.
            (IpAddr::V6(_), canonical @ IpAddr::V4(_)) => {
                let prefix = prefix.checked_sub(96).filter(|p| *p <= 32)?;
                Some(Self { address: canonical, prefix })
            }
            _ => (prefix <= widest).then_some(Self { address, prefix }),
        }
    }

    /// Whether `address` lies in the range; an IPv4-mapped IPv6 address counts as IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(addr)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                net.to_bits() & mask == addr.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(addr)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                net.to_bits() & mask == addr.to_bits() & mask
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_every_form_and_print_back() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2013-06-30T00:00:00Z", Some(1_372_550_400_000)),
            ("2013-06-30", Some(1_372_550_400_000)),
            ("2013-06-30T02:00:00+02:00", Some(1_372_550_400_000)),
            ("2013-06-29T22:30:00.250-01:30", Some(1_372_550_400_250)),
            ("1372550400", Some(1_372_550_400_000)),
            ("2024-02-29T23:59:59Z", Some(1_709_251_199_000)),
            ("2013", Some(1_356_998_400_000)),
            ("2013-13-01", None),
            ("yesterday", None),
            ("", None),
            ("2013-06-30T", None),
            ("99999999999999999999", None),
        ];
        for (text, want) in cases {
            assert_eq!(date(text), want, "{text}");
        }
        for seconds in [-1, 0, 951_782_400, 1_709_251_199, 4_102_444_800] {
            assert_eq!(date(&print_date(seconds)), Some(seconds * 1000));
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        let cases = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "203.0.113.7", true),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
        ];
        for (net, address, want) in cases {
            let net = Network::parse(net).expect("valid");
            assert_eq!(net.contains(address.parse().expect("valid")), want, "{net:?} {address}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0", "10.0.0.0/x"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
