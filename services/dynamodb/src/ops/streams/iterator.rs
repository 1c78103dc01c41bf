//! Shard iterators: `ARN|version|made,part,place` with the last part in base64.
//!
//! An iterator holds nothing secret: whoever makes one up may read what the policy check of its stream lets them read.

use crate::error::Error;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use squall_store::Part;
use squall_types::Millis;
use std::time::Duration;

/// How long an iterator is good.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// Where a reader is in a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Iterator {
    /// The stream.
    pub arn: String,
    /// The shard's part.
    pub part: Part,
    /// The number behind which reading goes on; `None` before the oldest record, whichever that is then.
    pub after: Option<u64>,
}

impl Iterator {
    /// The text of an iterator that is made now.
    pub fn text(&self, now: Millis) -> String {
        let after = self.after.map_or_else(|| "-".to_owned(), |n| n.to_string());
        let place = format!("{},{},{},{after}", now.0, self.part.stream, self.part.part);
        format!("{}|1|{}", self.arn, STANDARD.encode(place))
    }

    /// The iterator of a text.
    ///
    /// # Errors
    /// `ValidationException` for a text that is none, `ExpiredIteratorException` for one that is too old.
    pub fn parse(text: &str, now: Millis) -> Result<Iterator, Error> {
        let (made, iterator) = read(text).ok_or_else(|| Error::validation("Invalid ShardIterator"))?;
        if now.since(made) > LIFE {
            return Err(Error::ExpiredIterator("The shard iterator has expired: iterators last 15 minutes".into()));
        }
        Ok(iterator)
    }
}

fn read(text: &str) -> Option<(Millis, Iterator)> {
    let mut parts = text.split('|');
    let (arn, "1", place, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    let place = String::from_utf8(STANDARD.decode(place).ok()?).ok()?;
    let mut place = place.split(',');
    let made = Millis(place.next()?.parse().ok()?);
    let part = Part { stream: place.next()?.parse().ok()?, part: place.next()?.parse().ok()? };
    let after = match place.next()? {
        "-" => None,
        n => Some(n.parse().ok()?),
    };
    Some((made, Iterator { arn: arn.to_owned(), part, after }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iterators_read_back_until_they_expire() {
        let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-01-01T00:00:00.000".to_owned();
        for after in [None, Some(0), Some(u64::MAX)] {
            let iterator = Iterator { arn: arn.clone(), part: Part { stream: 7, part: 3 }, after };
            let text = iterator.text(Millis(1_000));
            assert_eq!(Iterator::parse(&text, Millis(1_000 + 900_000)).ok(), Some(iterator));
            let late = Iterator::parse(&text, Millis(1_001 + 900_000));
            assert!(matches!(late, Err(Error::ExpiredIterator(_))), "{late:?}");
        }
        for text in ["", "a", "a|1", "a|1|", "a|1|!!", "a|1|MTIz", "a|2|MSwxLDEsMQ==", "a|1|MSwxLDEsMQ==|"] {
            assert!(matches!(Iterator::parse(text, Millis(0)), Err(Error::Validation(_))), "{text}");
        }
    }
}
