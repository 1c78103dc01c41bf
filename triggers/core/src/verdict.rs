//! What the answer of a function means for its batch. Pure.

use serde_json::Value;
use squall_protocol::ServiceError;
use squall_service::Outcome;

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is done.
    Done,
    /// The records before this index are done, those from it on are not.
    From(usize),
    /// Nothing is done; `Some` holds the kind of function error.
    Failed(Option<String>),
    /// The function did not run: throttled, missing, or the server is in trouble. No attempt is counted.
    NotRun(String),
}

/// Judges an answer. `sequences` are the batch's records in order.
pub fn judge(outcome: &Result<Outcome, ServiceError>, reports_failures: bool, sequences: &[&str]) -> Verdict {
    match outcome {
        Err(e) => Verdict::NotRun(e.code.to_string()),
        Ok(Outcome { function_error: Some(kind), .. }) => Verdict::Failed(Some((*kind).to_owned())),
        Ok(outcome) if reports_failures => reported(&outcome.payload, sequences),
        Ok(_) => Verdict::Done,
    }
}

/// Reads `{"batchItemFailures": [{"itemIdentifier": "…"}]}`: nothing there is success, anything wrong there is a failure of the
/// whole batch, and of several items the first in order counts.
fn reported(payload: &[u8], sequences: &[&str]) -> Verdict {
    let answer: Value = match serde_json::from_slice(payload) {
        Ok(answer) => answer,
        Err(_) if payload.is_empty() => Value::Null,
        Err(_) => return Verdict::Failed(None),
    };
    let failures = match &answer {
        Value::Null => return Verdict::Done,
        Value::Array(items) if items.is_empty() => return Verdict::Done,
        Value::Object(object) => match object.get("batchItemFailures") {
            None | Some(Value::Null) => return Verdict::Done,
            Some(Value::Array(failures)) => failures,
            Some(_) => return Verdict::Failed(None),
        },
        _ => return Verdict::Failed(None),
    };
    let mut first = None;
    for failure in failures {
        let identifier = failure.get("itemIdentifier").and_then(Value::as_str).filter(|id| !id.is_empty());
        let Some(at) = identifier.and_then(|id| sequences.iter().position(|s| *s == id)) else {
            return Verdict::Failed(None);
        };
        first = Some(first.map_or(at, |f: usize| f.min(at)));
    }
    match first {
        None => Verdict::Done,
        Some(0) => Verdict::Failed(None),
        Some(at) => Verdict::From(at),
    }
}
