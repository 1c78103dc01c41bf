//! The platform's own log lines and error payloads, in AWS's words.

use crate::Exit;
use serde_json::json;
use squall_types::Millis;
use std::fmt::Write;
use std::time::Duration;

/// Most bytes of a function's answer, as AWS counts: 6 MB and what its own envelope takes.
pub const RESPONSE_BYTES_MAX: usize = 6 * 1024 * 1024 + 100;

/// An error that ends an invocation: AWS's type and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: String,
    pub message: String,
}

impl Failure {
    /// `{"errorType": …, "errorMessage": …}`.
    pub fn payload(&self) -> Vec<u8> {
        json!({"errorType": self.kind, "errorMessage": self.message}).to_string().into_bytes()
    }
}

/// The process ended in the middle of an invocation or of its init.
pub fn exited(request_id: &str, exit: Exit) -> Failure {
    let how = match (exit.code, exit.signal) {
        _ if exit.oom => "exited with error: signal: killed".to_owned(),
        (Some(0), _) | (None, None) => "exited without providing a reason".into(),
        (Some(code), _) => format!("exited with error: exit status {code}"),
        (None, Some(signal)) => format!("exited with error: signal: {}", signal_name(signal)),
    };
    Failure { kind: "Runtime.ExitError".into(), message: format!("RequestId: {request_id} Error: Runtime {how}") }
}

/// What the REPORT line calls the end of a process.
pub fn exit_error_type(exit: Exit) -> &'static str {
    if exit.oom { "Runtime.OutOfMemory" } else { "Runtime.ExitError" }
}

/// The function's time was over.
pub fn timed_out(request_id: &str, timeout: Duration) -> Failure {
    let seconds = timeout.as_secs_f64();
    let message = format!("RequestId: {request_id} Error: Task timed out after {seconds:.2} seconds");
    Failure { kind: "Sandbox.Timedout".into(), message }
}

/// The answer was larger than AWS takes.
pub fn too_large() -> Failure {
    let message = format!("Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes).");
    Failure { kind: "Function.ResponseSizeTooLarge".into(), message }
}

/// A signal's name, as AWS prints it.
pub fn signal_name(signal: i32) -> String {
    match signal {
        1 => "hangup".into(),
        2 => "interrupt".into(),
        3 => "quit".into(),
        4 => "illegal instruction".into(),
        5 => "trace/breakpoint trap".into(),
        6 => "aborted".into(),
        7 => "bus error".into(),
        8 => "floating point exception".into(),
        9 => "killed".into(),
        11 => "segmentation fault".into(),
        13 => "broken pipe".into(),
        14 => "alarm clock".into(),
        15 => "terminated".into(),
        other => format!("signal {other}"),
    }
}

/// The first line of a stream.
pub fn init_start(runtime: &str, version: &str, version_arn: &str) -> String {
    format!("INIT_START Runtime Version: {runtime}.v{version}\tRuntime Version ARN: {version_arn}")
}

/// The first line of a stream whose environment is made of a snapshot.
pub fn restore_start(runtime: &str, version: &str, version_arn: &str) -> String {
    format!("RESTORE_START Runtime Version: {runtime}.v{version}\tRuntime Version ARN: {version_arn}")
}

/// The environment is made of it.
pub fn restore_report(restore: Duration) -> String {
    format!("RESTORE_REPORT Restore Duration: {:.2} ms", millis(restore))
}

/// `START RequestId: …`.
pub fn start(request_id: &str, version: &str) -> String {
    format!("START RequestId: {request_id} Version: {version}")
}

/// `END RequestId: …`.
pub fn end(request_id: &str) -> String {
    format!("END RequestId: {request_id}")
}

/// The line of a timeout, before END.
pub fn timeout_line(now: Millis, request_id: &str, timeout: Duration) -> String {
    format!("{} {request_id} Task timed out after {:.2} seconds\n", iso(now), timeout.as_secs_f64())
}

/// How an init or invocation ended, as the `Status` of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing is said.
    Fine,
    /// `Status: timeout`.
    Timeout,
    /// `Status: error`, a tab, `Error Type: …`.
    Error(String),
}

impl Status {
    fn write(&self, line: &mut String) {
        match self {
            Status::Fine => {}
            Status::Timeout => line.push_str("Status: timeout\t"),
            Status::Error(kind) => {
                let _ = write!(line, "Status: error\tError Type: {kind}\t");
            }
        }
    }
}

/// The line of a failed init; `phase` is `init` or `invoke`.
pub fn init_report(init: Duration, phase: &str, status: &Status) -> String {
    let mut line = format!("INIT_REPORT Init Duration: {:.2} ms\tPhase: {phase}\t", millis(init));
    status.write(&mut line);
    line
}

/// What a REPORT line tells.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    pub request_id: &'a str,
    pub duration: Duration,
    /// Only where the instance was started for this request.
    pub init: Option<Duration>,
    /// The same where it was made of a snapshot.
    pub restore: Option<Duration>,
    pub memory_mb: u32,
    pub memory_peak_bytes: u64,
    pub status: Status,
}

impl Report<'_> {
    /// What is billed: the duration with the init (as AWS has it since August 2025) or the restore, rounded up to a millisecond.
    pub fn billed_ms(&self) -> u64 {
        rounded_ms(self.duration + self.init.or(self.restore).unwrap_or_default()).max(1)
    }

    /// What of it is for the restore.
    pub fn billed_restore_ms(&self) -> Option<u64> {
        self.restore.map(rounded_ms)
    }

    /// Whole MB, never more than the function may use.
    pub fn memory_used_mb(&self) -> u64 {
        self.memory_peak_bytes.div_ceil(1 << 20).clamp(1, u64::from(self.memory_mb.max(1)))
    }

    /// `REPORT RequestId: …`, fields ended by tabs.
    pub fn line(&self) -> String {
        let billed = self.billed_ms();
        let used = self.memory_used_mb();
        let mut line = format!(
            "REPORT RequestId: {}\tDuration: {:.2} ms\tBilled Duration: {billed} ms\tMemory Size: {} MB\tMax Memory Used: {used} MB\t",
            self.request_id,
            millis(self.duration),
            self.memory_mb,
        );
        if let Some(init) = self.init {
            let _ = write!(line, "Init Duration: {:.2} ms\t", millis(init));
        }
        if let (Some(restore), Some(billed)) = (self.restore, self.billed_restore_ms()) {
            let _ = write!(line, "Restore Duration: {:.2} ms\tBilled Restore Duration: {billed} ms\t", millis(restore));
        }
        self.status.write(&mut line);
        line
    }
}

fn rounded_ms(d: Duration) -> u64 {
    u64::try_from(d.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn millis(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}

/// `2026-01-01T00:00:00.000Z`.
pub fn iso(at: Millis) -> String {
    let t = date(at);
    let (date, time) = (t.date(), t.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}

/// `2026/01/01/[VERSION]HEX`: the name of an instance's log stream.
pub fn stream_name(at: Millis, version: &str, hex: &str) -> String {
    let date = date(at).date();
    format!("{:04}/{:02}/{:02}/[{version}]{hex}", date.year(), u8::from(date.month()), date.day())
}

fn date(at: Millis) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_lines_have_the_fields_and_tabs_of_aws() {
        let report = Report {
            request_id: "r",
            duration: Duration::from_micros(1230),
            init: Some(Duration::from_micros(20_110)),
            restore: None,
            memory_mb: 128,
            memory_peak_bytes: 39 << 20,
            status: Status::Fine,
        };
        assert_eq!(
            report.line(),
            "REPORT RequestId: r\tDuration: 1.23 ms\tBilled Duration: 22 ms\tMemory Size: 128 MB\tMax Memory Used: 39 MB\tInit Duration: 20.11 ms\t"
        );
        let restored = Report { init: None, restore: report.init, status: Status::Fine, ..report };
        let end = "Memory Used: 39 MB\tRestore Duration: 20.11 ms\tBilled Restore Duration: 21 ms\t";
        assert!(restored.line().ends_with(end) && restored.line().contains("Billed Duration: 22 ms"));
        let failed = Report { init: None, status: Status::Error("Runtime.OutOfMemory".into()), ..report };
        assert!(failed.line().ends_with("Max Memory Used: 39 MB\tStatus: error\tError Type: Runtime.OutOfMemory\t"));
    }

    #[test]
    fn exits_are_told_in_the_words_of_aws() {
        let exit = |code, signal, oom| exited("r", Exit { code, signal, oom }).message;
        assert_eq!(exit(Some(1), None, false), "RequestId: r Error: Runtime exited with error: exit status 1");
        assert_eq!(exit(Some(0), None, false), "RequestId: r Error: Runtime exited without providing a reason");
        assert_eq!(exit(None, Some(9), true), "RequestId: r Error: Runtime exited with error: signal: killed");
        assert_eq!(
            exit(None, Some(11), false),
            "RequestId: r Error: Runtime exited with error: signal: segmentation fault"
        );
    }

    #[test]
    fn timeouts_show_two_decimals() {
        assert_eq!(
            timed_out("r", Duration::from_secs(3)).message,
            "RequestId: r Error: Task timed out after 3.00 seconds"
        );
        assert_eq!(iso(Millis(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(stream_name(Millis(86_400_000), "$LATEST", "ab"), "1970/01/02/[$LATEST]ab");
    }
}
