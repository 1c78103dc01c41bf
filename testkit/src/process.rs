//! Processes of tests: run to the end with a deadline, signal, look.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A client that hangs is a failure, not a wait for ever.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A process that ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// What ran.
    pub command: String,
    /// Exit code; -1 where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// The output of a success.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.code == 0, "{self}");
        self.stdout
    }

    /// The output of a success as JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let shown = self.to_string();
        serde_json::from_str(&self.ok()).unwrap_or_else(|e| panic!("not JSON ({e}): {shown}"))
    }

    /// The error text of a failure that says all of that.
    #[track_caller]
    pub fn fails(self, parts: &[&str]) -> String {
        assert!(self.code > 0, "expected a failure: {self}");
        for part in parts {
            assert!(self.stderr.contains(part), "expected {part:?} on stderr: {self}");
        }
        self.stderr
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} → {}\n--- stdout\n{}\n--- stderr\n{}", self.command, self.code, self.stdout, self.stderr)
    }
}

/// Runs to the end.
///
/// # Panics
/// The program cannot be started or takes longer than five minutes.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    let shown = format!("{command:?}");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("start {shown}: {e}"));
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let deadline = Instant::now() + TIMEOUT;
    let status = loop {
        match child.try_wait().expect("wait for a child") {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => break None,
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    if status.is_none() {
        child.kill().expect("kill a child that hangs");
        child.wait().expect("wait for a child");
    }
    let finished = Finished {
        command: shown,
        code: status.and_then(|s| s.code()).unwrap_or(-1),
        stdout: out.join().expect("read stdout"),
        stderr: err.join().expect("read stderr"),
    };
    assert!(status.is_some(), "still running after {} s: {finished}", TIMEOUT.as_secs());
    finished
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Sends a signal by name (`TERM`, `KILL`, `STOP`) to one process.
pub fn signal(pid: u32, name: &str) {
    // The shell's builtin: there is no safe call for this in std, and `unsafe` stays in the sandbox.
    let kill = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).stderr(Stdio::null()).status();
    kill.expect("run sh");
}

/// Whether a process exists and is no zombie.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// Polls until the probe finds something; for what happens after an answer.
///
/// # Panics
/// Nothing is found within 60 s.
#[track_caller]
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within 60 s: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
