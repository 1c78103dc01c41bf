//! The record of a batch that was given up.

use crate::batch::Item;
use bytes::Bytes;
use serde_json::{Value, json};
use squall_types::Millis;
use time::OffsetDateTime;
use time::macros::format_description;

/// Why a batch was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The function failed more often than it may be tried.
    RetryAttemptsExhausted,
    /// The records are too old.
    RecordAgeExceeded,
}

/// What the record tells of the calls.
pub struct Calls<'a> {
    /// The last call's id.
    pub request_id: &'a str,
    /// The function.
    pub function_arn: &'a str,
    /// Why.
    pub condition: Condition,
    /// How often the function was called.
    pub invoke_count: u32,
    /// Version that ran and its kind of error; `None` where the last call is not the reason.
    pub response: Option<(&'a str, Option<&'a str>)>,
}

/// `2022-07-13T13:48:01Z`, with milliseconds where wanted.
pub fn time_text(at: Millis, millis: bool) -> String {
    let at =
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let text = if millis {
        at.format(&format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"))
    } else {
        at.format(&format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
    };
    text.unwrap_or_default()
}

/// The record as destinations get it.
pub fn record(
    calls: &Calls<'_>,
    batch: &[Item],
    now: Millis,
    info_name: &str,
    shard: &str,
    source_arn: &str,
    millis: bool,
) -> Bytes {
    let condition = match calls.condition {
        Condition::RetryAttemptsExhausted => "RetryAttemptsExhausted",
        Condition::RecordAgeExceeded => "RecordAgeExceeded",
    };
    let mut record = json!({
        "requestContext": {
            "requestId": calls.request_id,
            "functionArn": calls.function_arn,
            "condition": condition,
            "approximateInvokeCount": calls.invoke_count,
        },
    });
    if let (Value::Object(members), Some((version, error))) = (&mut record, calls.response) {
        let response = json!({ "statusCode": 200, "executedVersion": version, "functionError": error });
        members.insert("responseContext".into(), response);
    }
    if let (Value::Object(members), Some(first), Some(last)) = (&mut record, batch.first(), batch.last()) {
        members.insert("version".into(), json!("1.0"));
        members.insert("timestamp".into(), json!(time_text(now, true)));
        let info = json!({
            "shardId": shard,
            "startSequenceNumber": first.sequence,
            "endSequenceNumber": last.sequence,
            "approximateArrivalOfFirstRecord": time_text(first.at, millis),
            "approximateArrivalOfLastRecord": time_text(last.at, millis),
            "batchSize": batch.len(),
            "streamArn": source_arn,
        });
        members.insert(info_name.into(), info);
    }
    record.to_string().into()
}
