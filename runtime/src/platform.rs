//! The platform's events in the log: AWS's text lines, or its `platform.*` records for functions that log JSON.
//!
//! Records below the function's `SystemLogLevel` are left out: most are `INFO`, what went wrong is `WARN`.

use crate::logline::{self, Report, Status, iso};
use crate::{Function, JsonLog};
use serde_json::{Value, json};
use squall_types::Millis;
use std::time::Duration;

/// Levels of platform records, in order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Level {
    Debug,
    Info,
    Warn,
}

fn least(levels: &JsonLog) -> Level {
    match levels.system.as_str() {
        "DEBUG" => Level::Debug,
        "WARN" => Level::Warn,
        _ => Level::Info,
    }
}

/// The record, if the function's level lets it through.
fn record(levels: &JsonLog, level: Level, now: Millis, kind: &str, record: &Value) -> Option<String> {
    let event = || json!({"time": iso(now), "type": format!("platform.{kind}"), "record": record}).to_string();
    (level >= least(levels)).then(event)
}

fn status_name(status: &Status) -> &'static str {
    match status {
        Status::Fine => "success",
        Status::Timeout => "timeout",
        Status::Error(_) => "error",
    }
}

fn with_status(mut record: Value, status: &Status) -> Value {
    if let Some(fields) = record.as_object_mut() {
        fields.insert("status".into(), json!(status_name(status)));
        if let Status::Error(kind) = status {
            fields.insert("errorType".into(), json!(kind));
        }
    }
    record
}

fn millis(d: Duration) -> f64 {
    (d.as_secs_f64() * 1e6).round() / 1000.0
}

fn level_of(status: &Status, fine: Level) -> Level {
    if *status == Status::Fine { fine } else { Level::Warn }
}

/// The runtime that an instance starts with.
pub struct Init<'a> {
    /// As in `python:3.12`.
    pub runtime: &'a str,
    /// Number of the runtime's version.
    pub version: &'a str,
    /// Its ARN.
    pub version_arn: &'a str,
    /// `on-demand`, `provisioned-concurrency` or `snap-start`.
    pub kind: &'a str,
}

/// The first event of a stream whose environment is made of a snapshot.
pub fn restore_start(f: &Function, now: Millis, init: &Init<'_>) -> Option<String> {
    let Some(levels) = &f.json_log else {
        return Some(logline::restore_start(init.runtime, init.version, init.version_arn));
    };
    let fields = json!({
        "runtimeVersion": format!("{}.v{}", init.runtime, init.version),
        "runtimeVersionArn": init.version_arn,
        "functionName": f.name,
        "functionVersion": f.version,
    });
    record(levels, Level::Info, now, "restoreStart", &fields)
}

/// It is made of it.
pub fn restore_report(f: &Function, now: Millis, restore: Duration) -> Option<String> {
    let Some(levels) = &f.json_log else { return Some(logline::restore_report(restore)) };
    let fields = json!({"status": "success", "metrics": {"durationMs": millis(restore)}});
    record(levels, Level::Info, now, "restoreReport", &fields)
}

/// The first event of a stream.
pub fn init_start(f: &Function, now: Millis, init: &Init<'_>) -> Option<String> {
    let Some(levels) = &f.json_log else {
        return Some(logline::init_start(init.runtime, init.version, init.version_arn));
    };
    let fields = json!({
        "initializationType": init.kind,
        "phase": "init",
        "runtimeVersion": format!("{}.v{}", init.runtime, init.version),
        "runtimeVersionArn": init.version_arn,
        "functionName": f.name,
        "functionVersion": f.version,
    });
    record(levels, Level::Info, now, "initStart", &fields)
}

/// An extension is ready.
pub fn extension(f: &Function, now: Millis, name: &str, events: &[&str]) -> Option<String> {
    let Some(levels) = &f.json_log else {
        return Some(format!("EXTENSION\tName: {name}\tState: Ready\tEvents: [{}]", events.join(", ")));
    };
    record(levels, Level::Info, now, "extension", &json!({"name": name, "state": "Ready", "events": events}))
}

/// A request begins.
pub fn start(f: &Function, now: Millis, request_id: &str) -> Option<String> {
    match &f.json_log {
        None => Some(logline::start(request_id, &f.version)),
        Some(levels) => {
            record(levels, Level::Info, now, "start", &json!({"requestId": request_id, "version": f.version}))
        }
    }
}

/// A request has ended; `line` is what the text form says of a timeout or a process that ended.
pub fn end(f: &Function, now: Millis, line: Option<String>, report: &Report<'_>) -> Vec<String> {
    let Some(levels) = &f.json_log else {
        return line.into_iter().chain([logline::end(report.request_id), report.line()]).collect();
    };
    let metrics = json!({"durationMs": millis(report.duration)});
    let done = with_status(json!({"requestId": report.request_id, "metrics": metrics}), &report.status);
    let done = record(levels, level_of(&report.status, Level::Debug), now, "runtimeDone", &done);
    let mut metrics = json!({
        "durationMs": millis(report.duration),
        "billedDurationMs": report.billed_ms(),
        "memorySizeMB": report.memory_mb,
        "maxMemoryUsedMB": report.memory_used_mb(),
    });
    if let (Some(fields), Some(init)) = (metrics.as_object_mut(), report.init) {
        fields.insert("initDurationMs".into(), json!(millis(init)));
    }
    if let (Some(fields), Some(restore)) = (metrics.as_object_mut(), report.restore) {
        fields.insert("restoreDurationMs".into(), json!(millis(restore)));
        fields.insert("billedRestoreDurationMs".into(), json!(report.billed_restore_ms()));
    }
    let whole = with_status(json!({"requestId": report.request_id, "metrics": metrics}), &report.status);
    let whole = record(levels, level_of(&report.status, Level::Info), now, "report", &whole);
    done.into_iter().chain(whole).collect()
}

/// An init has failed; `phase` is `init` or `invoke`.
pub fn init_report(
    f: &Function,
    now: Millis,
    init: Duration,
    phase: &str,
    kind: &str,
    status: &Status,
) -> Option<String> {
    let Some(levels) = &f.json_log else { return Some(logline::init_report(init, phase, status)) };
    let fields = json!({"initializationType": kind, "phase": phase, "metrics": {"durationMs": millis(init)}});
    record(levels, level_of(status, Level::Debug), now, "initReport", &with_status(fields, status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(system: Option<&str>) -> Function {
        let levels = |system: &str| JsonLog { application: "INFO".into(), system: system.into() };
        Function { version: "$LATEST".into(), json_log: system.map(levels), ..Function::default() }
    }

    fn report(status: Status) -> Report<'static> {
        Report {
            request_id: "r",
            duration: Duration::from_micros(1230),
            init: Some(Duration::from_micros(20_110)),
            restore: None,
            memory_mb: 128,
            memory_peak_bytes: 39 << 20,
            status,
        }
    }

    #[test]
    fn text_stays_text() {
        let f = function(None);
        assert_eq!(start(&f, Millis(0), "r").as_deref(), Some("START RequestId: r Version: $LATEST"));
        let lines = end(&f, Millis(0), Some("before".into()), &report(Status::Fine));
        assert_eq!((lines.len(), lines[0].as_str(), lines[1].as_str()), (3, "before", "END RequestId: r"));
    }

    #[test]
    fn records_have_the_fields_of_aws() {
        let f = function(Some("DEBUG"));
        let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let begun = read(&start(&f, Millis(0), "r").expect("shown"));
        let fields = json!({"requestId": "r", "version": "$LATEST"});
        assert_eq!(begun, json!({"time": "1970-01-01T00:00:00.000Z", "type": "platform.start", "record": fields}));
        let ended = end(&f, Millis(0), None, &report(Status::Error("Runtime.OutOfMemory".into())));
        assert_eq!(read(&ended[0])["type"], "platform.runtimeDone");
        let report = read(&ended[1]);
        assert_eq!(report["record"]["status"], "error");
        assert_eq!(report["record"]["errorType"], "Runtime.OutOfMemory");
        let metrics = json!({
            "durationMs": 1.23, "billedDurationMs": 22, "memorySizeMB": 128, "maxMemoryUsedMB": 39, "initDurationMs": 20.11
        });
        assert_eq!(report["record"]["metrics"], metrics);
    }

    #[test]
    fn levels_leave_out_what_is_below_them() {
        let counts = |level: &str, status: Status| {
            let f = function(Some(level));
            let ends = end(&f, Millis(0), None, &report(status)).len();
            usize::from(start(&f, Millis(0), "r").is_some()) + ends
        };
        let seen = ["DEBUG", "INFO", "WARN"].map(|level| (counts(level, Status::Fine), counts(level, Status::Timeout)));
        assert_eq!(seen, [(3, 3), (2, 3), (0, 2)]);
    }
}
