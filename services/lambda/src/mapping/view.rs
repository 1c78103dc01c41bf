//! From rows to the API's shape.

use super::Stored;
use crate::api;
use squall_service::StartingPosition;
use squall_types::Millis;

/// Texts of `-1`: without a limit.
fn or_unlimited(n: Option<u32>) -> i32 {
    n.and_then(|n| i32::try_from(n).ok()).unwrap_or(-1)
}

fn number(n: u32) -> Option<i32> {
    i32::try_from(n).ok()
}

/// ARN of a mapping.
#[must_use]
pub fn arn(account: &str, region: &str, uuid: &str) -> String {
    format!("arn:aws:lambda:{region}:{account}:event-source-mapping:{uuid}")
}

/// `EventSourceMappingConfiguration`.
#[must_use]
pub fn configuration(account: &str, s: &Stored, last_result: Option<String>) -> api::EventSourceMappingConfiguration {
    let m = &s.mapping;
    let (start, at) = match m.start {
        StartingPosition::TrimHorizon => ("TRIM_HORIZON", None),
        StartingPosition::Latest => ("LATEST", None),
        StartingPosition::AtTimestamp(at) => ("AT_TIMESTAMP", Some(at)),
    };
    let filters = m.filters.iter().map(|f| api::Filter { pattern: Some(f.clone()) }).collect::<Vec<_>>();
    let reports = m.reports_failures.then(|| "ReportBatchItemFailures".to_owned());
    api::EventSourceMappingConfiguration {
        uuid: Some(m.uuid.clone()),
        starting_position: Some(start.to_owned()),
        starting_position_timestamp: at,
        batch_size: number(m.batch_size),
        maximum_batching_window_in_seconds: number(m.window_s),
        parallelization_factor: number(m.parallel),
        event_source_arn: Some(m.source_arn.clone()),
        filter_criteria: (!filters.is_empty()).then_some(api::FilterCriteria { filters: Some(filters) }),
        function_arn: Some(m.function_arn.clone()),
        last_modified: Some(Millis(s.modified_ms)),
        last_processing_result: Some(last_result.unwrap_or_else(|| "No records processed".to_owned())),
        state: Some(s.standing.as_str().to_owned()),
        state_transition_reason: Some("User action".to_owned()),
        destination_config: Some(api::DestinationConfig {
            on_success: None,
            on_failure: Some(api::OnFailure { destination: m.on_failure.clone() }),
        }),
        maximum_record_age_in_seconds: Some(or_unlimited(m.record_age_s)),
        bisect_batch_on_function_error: Some(m.bisect),
        maximum_retry_attempts: Some(or_unlimited(m.retries)),
        tumbling_window_in_seconds: number(m.tumbling_s),
        function_response_types: Some(reports.into_iter().collect()),
        event_source_mapping_arn: Some(arn(account, &m.region, &m.uuid)),
        ..Default::default()
    }
}
