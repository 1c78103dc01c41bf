//! What a mapping may be set to, in AWS's texts. Pure.

use crate::api;
use crate::error::Error;
use squall_pattern::Pattern;
use squall_service::{Mapping, SourceKind, StartingPosition};
use squall_types::Arn;

/// Most filters of a mapping.
const FILTERS_MAX: usize = 5;
/// Bounds of `MaximumRecordAgeInSeconds` besides -1.
const RECORD_AGE_S: std::ops::RangeInclusive<i32> = 60..=604_800;

/// The settings that creating and updating share, as given.
#[derive(Default)]
pub struct Settings {
    pub batch_size: Option<i32>,
    pub window_s: Option<i32>,
    pub parallel: Option<i32>,
    pub retries: Option<i32>,
    pub record_age_s: Option<i32>,
    pub bisect: Option<bool>,
    pub response_types: Option<Vec<String>>,
    pub tumbling_s: Option<i32>,
    pub filters: Option<api::FilterCriteria>,
    pub destinations: Option<api::DestinationConfig>,
}

/// The service in the source's ARN.
///
/// # Errors
/// There is none: `Unrecognized event source.`
pub fn source_service(arn: Option<&str>) -> Result<Arn, Error> {
    let parsed = arn.and_then(|a| a.parse::<Arn>().ok());
    parsed.ok_or_else(|| Error::invalid("Unrecognized event source."))
}

/// A parameter that the kind of source does not have.
#[must_use]
pub fn unsupported(parameter: &str) -> Error {
    Error::invalid(format!("Unsupported {parameter} parameter for given event source mapping type."))
}

/// Where a stream is read from.
///
/// # Errors
/// AWS's texts.
pub fn start(
    kind: &SourceKind,
    position: Option<&str>,
    timestamp: Option<squall_types::Millis>,
) -> Result<StartingPosition, Error> {
    if position != Some("AT_TIMESTAMP") && timestamp.is_some() {
        return Err(Error::invalid("StartingPositionTimestamp is only allowed for AT_TIMESTAMP starting position."));
    }
    match (position, timestamp) {
        (Some("TRIM_HORIZON"), _) => Ok(StartingPosition::TrimHorizon),
        (Some("LATEST"), _) => Ok(StartingPosition::Latest),
        (Some(_), _) if !kind.at_timestamp => {
            Err(Error::invalid("Unsupported starting position for given event source type."))
        }
        (Some(_), Some(at)) => Ok(StartingPosition::AtTimestamp(at)),
        (Some(_), None) => {
            Err(Error::invalid("StartingPositionTimestamp is required for AT_TIMESTAMP starting position."))
        }
        (None, _) => Err(Error::invalid(
            "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null.",
        )),
    }
}

/// Applies settings to a mapping. The API's constraints have been checked.
///
/// # Errors
/// AWS's texts.
pub fn apply(m: &mut Mapping, s: Settings, kind: &SourceKind, delivers_to: impl Fn(&str) -> bool) -> Result<(), Error> {
    if let Some(size) = s.batch_size {
        m.batch_size = batch_size(size, kind.batch_size.1)?;
    }
    let plain = |n: Option<i32>, to: &mut u32| {
        if let Some(n) = n.and_then(|n| u32::try_from(n).ok()) {
            *to = n;
        }
    };
    plain(s.window_s, &mut m.window_s);
    plain(s.parallel, &mut m.parallel);
    plain(s.tumbling_s, &mut m.tumbling_s);
    if let Some(retries) = s.retries {
        m.retries = u32::try_from(retries).ok();
    }
    if let Some(age) = s.record_age_s {
        if age != -1 && !RECORD_AGE_S.contains(&age) {
            return Err(Error::invalid(format!(
                "Invalid MaximumRecordAgeInSeconds: {age}. It must be -1 or between 60 and 604800."
            )));
        }
        m.record_age_s = u32::try_from(age).ok();
    }
    if let Some(bisect) = s.bisect {
        m.bisect = bisect;
    }
    if let Some(types) = s.response_types {
        m.reports_failures = types.iter().any(|t| t == "ReportBatchItemFailures");
    }
    if let Some(criteria) = s.filters {
        m.filters = filters(criteria)?;
    }
    if let Some(destinations) = s.destinations {
        m.on_failure = on_failure(destinations, delivers_to)?;
    }
    Ok(())
}

fn batch_size(size: i32, most: u32) -> Result<u32, Error> {
    u32::try_from(size).ok().filter(|s| *s <= most).ok_or_else(|| {
        Error::invalid(format!("Batch size {size} is greater than the maximum of {most} for this event source."))
    })
}

fn filters(criteria: api::FilterCriteria) -> Result<Vec<String>, Error> {
    let patterns: Vec<String> = criteria.filters.unwrap_or_default().into_iter().filter_map(|f| f.pattern).collect();
    if patterns.len() > FILTERS_MAX {
        return Err(Error::invalid(format!("The maximum number of filters is {FILTERS_MAX}.")));
    }
    for pattern in &patterns {
        Pattern::parse(pattern).map_err(|e| {
            tracing::debug!(error = %e, "a filter is refused");
            Error::invalid("Invalid filter pattern definition.")
        })?;
    }
    Ok(patterns)
}

/// Records that are given up go to a queue, a topic or a bucket, where this server has such.
fn on_failure(
    destinations: api::DestinationConfig,
    delivers_to: impl Fn(&str) -> bool,
) -> Result<Option<String>, Error> {
    if destinations.on_success.is_some_and(|d| d.destination.is_some()) {
        return Err(unsupported("OnSuccess"));
    }
    let Some(arn) = destinations.on_failure.and_then(|d| d.destination).filter(|a| !a.is_empty()) else {
        return Ok(None);
    };
    let service = arn.parse::<Arn>().map(|a| a.service).unwrap_or_default();
    match service.as_str() {
        "sqs" | "sns" | "s3" if delivers_to(&arn) => Ok(Some(arn)),
        "sqs" | "sns" | "s3" | "kafka" => Err(Error::unserved(&format!("An on-failure destination of {service}"))),
        _ => Err(Error::invalid(format!("The destination ARN {arn} is not valid for an event source mapping."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind() -> SourceKind {
        SourceKind {
            actions: &[],
            batch_size: (100, 10_000),
            at_timestamp: false,
            denied: str::to_owned,
            missing: str::to_owned,
        }
    }

    #[test]
    fn positions_get_awss_texts() {
        let text = |p| start(&kind(), p, None).map_err(|e| e.to_string());
        assert_eq!(text(Some("LATEST")), Ok(StartingPosition::Latest));
        assert_eq!(
            text(Some("AT_TIMESTAMP")),
            Err("Unsupported starting position for given event source type.".to_owned())
        );
        assert!(text(None).is_err_and(|t| t.contains("Value null at 'startingPosition'")));
    }

    #[test]
    fn destinations_must_be_there() {
        let to = |arn: &str| api::DestinationConfig {
            on_success: None,
            on_failure: Some(api::OnFailure { destination: Some(arn.to_owned()) }),
        };
        assert!(on_failure(to("arn:aws:sqs:r:1:q"), |_| true).is_ok_and(|d| d.is_some()));
        let text = on_failure(to("arn:aws:sqs:r:1:q"), |_| false).expect_err("no queues").to_string();
        assert!(text.contains("not supported"), "{text}");
        assert!(on_failure(to("arn:aws:lambda:r:1:function:f"), |_| true).is_err());
        assert!(on_failure(to(""), |_| false).is_ok_and(|d| d.is_none()));
    }
}
