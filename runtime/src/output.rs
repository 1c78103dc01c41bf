//! What an instance prints: read from its pipe, cut into lines, handed to the log, its end kept for `LogType: Tail`.
//!
//! Bounds: a line is cut at 256 KiB (CloudWatch's event size), a batch for the log at 1 MiB, and an instance is read at no
//! more than [`READ_BYTES_PER_WINDOW`] per window: one that prints without end waits on its own pipe.

use parking_lot::Mutex;
use squall_service::{LogEvent, LogSink};
use squall_types::Clock;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::unix::pipe;

const LINE_BYTES_MAX: usize = 256 * 1024;
const BATCH_BYTES_MAX: usize = 1024 * 1024;
const TAIL_BYTES: usize = 4096;
/// A window's share of 16 MiB a second.
const READ_BYTES_PER_WINDOW: usize = 1_677_721;
const WINDOW: Duration = Duration::from_millis(100);

/// Where an instance's output goes.
pub struct Target {
    pub sink: Arc<dyn LogSink>,
    pub clock: Arc<dyn Clock>,
    pub region: String,
    pub group: String,
    pub stream: String,
}

/// The output of one instance.
pub struct Output {
    target: Target,
    pipe: OnceLock<Pipe>,
    inner: Mutex<Inner>,
}

/// The reading end, twice: tokio's waits, but reads only what it was told of before; the file reads what is there.
struct Pipe {
    waits: pipe::Receiver,
    reads: File,
}

#[derive(Default)]
struct Inner {
    /// A line that has no end yet.
    partial: Vec<u8>,
    batch: Vec<LogEvent>,
    batch_bytes: usize,
    /// The running request's START line, until something follows it.
    start: Option<String>,
    /// The last bytes of the running request's log; `None` between requests or where nobody asked.
    tail: Option<Vec<u8>>,
}

impl Output {
    pub fn new(target: Target) -> Self {
        Self { target, pipe: OnceLock::new(), inner: Mutex::new(Inner::default()) }
    }

    /// The stream's name.
    pub fn stream(&self) -> &str {
        &self.target.stream
    }

    /// Takes the reading end of the instance's pipe. Needs a runtime.
    pub fn attach(&self, fd: OwnedFd) -> io::Result<()> {
        let reads = File::from(fd.try_clone()?);
        // This also makes the pipe non-blocking, for both.
        let waits = pipe::Receiver::from_owned_fd(fd)?;
        let _ = self.pipe.set(Pipe { waits, reads });
        Ok(())
    }

    /// Reads as long as the instance lives.
    pub async fn run(&self) {
        let Some(pipe) = self.pipe.get() else { return };
        let mut window = tokio::time::Instant::now();
        let mut read = 0;
        while pipe.waits.readable().await.is_ok() {
            let Some(count) = self.read_some(1 << 18, |buffer| pipe.waits.try_read(buffer)) else { return };
            read += count;
            let now = tokio::time::Instant::now();
            if now - window >= WINDOW {
                (window, read) = (now, count);
            } else if read >= READ_BYTES_PER_WINDOW {
                tokio::time::sleep_until(window + WINDOW).await;
            }
        }
    }

    /// Reads what lies in the pipe now, so that a request's lines come before its END.
    pub fn drain(&self) {
        // A pipe holds 64 KiB; the bound is for one that is filled while we read.
        if let Some(pipe) = self.pipe.get() {
            let _ = self.read_some(BATCH_BYTES_MAX, |buffer| (&pipe.reads).read(buffer));
        }
    }

    /// Reads up to `limit` bytes without waiting; `None` at the end of the pipe.
    fn read_some(&self, limit: usize, mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> Option<usize> {
        let mut inner = self.inner.lock();
        let mut buffer = [0u8; 16 * 1024];
        let mut total = 0;
        while total < limit {
            match read(&mut buffer) {
                Ok(0) => {
                    self.flush_partial(&mut inner);
                    self.flush(&mut inner);
                    return None;
                }
                Ok(count) => {
                    total += count;
                    self.feed(&mut inner, &buffer[..count]);
                }
                Err(_) => break,
            }
        }
        self.flush(&mut inner);
        Some(total)
    }

    fn feed(&self, inner: &mut Inner, mut bytes: &[u8]) {
        while let Some(at) = bytes.iter().position(|b| *b == b'\n') {
            let (line, rest) = bytes.split_at(at);
            bytes = &rest[1..];
            if inner.partial.is_empty() {
                self.line(inner, line);
            } else {
                let room = LINE_BYTES_MAX.saturating_sub(inner.partial.len());
                inner.partial.extend_from_slice(&line[..line.len().min(room)]);
                self.flush_partial(inner);
            }
        }
        let room = LINE_BYTES_MAX.saturating_sub(inner.partial.len());
        inner.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if inner.partial.len() >= LINE_BYTES_MAX {
            self.flush_partial(inner);
        }
    }

    fn flush_partial(&self, inner: &mut Inner) {
        if !inner.partial.is_empty() {
            let line = std::mem::take(&mut inner.partial);
            self.line(inner, &line);
        }
    }

    fn line(&self, inner: &mut Inner, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES_MAX)]);
        // Our runtime clients send an event of several lines as one, with a NUL before each of them.
        let text = text.strip_prefix('\0').unwrap_or(&text).replace('\0', "\n");
        if !text.is_empty() {
            self.event(inner, text);
        }
    }

    fn event(&self, inner: &mut Inner, message: String) {
        if let Some(start) = inner.start.take() {
            self.event(inner, start);
        }
        // As in AWS's log, where the end of the line is part of the event.
        let message = message + "\n";
        if let Some(tail) = &mut inner.tail {
            tail.extend_from_slice(message.as_bytes());
            if tail.len() > 16 * TAIL_BYTES {
                tail.drain(..tail.len() - TAIL_BYTES);
            }
        }
        inner.batch_bytes += message.len();
        inner.batch.push(LogEvent { time: self.target.clock.now(), message });
        if inner.batch_bytes >= BATCH_BYTES_MAX {
            self.flush(inner);
        }
    }

    fn flush(&self, inner: &mut Inner) {
        if inner.batch.is_empty() {
            return;
        }
        inner.batch_bytes = 0;
        let events = std::mem::take(&mut inner.batch);
        let target = &self.target;
        target.sink.append(&target.region, &target.group, &target.stream, events);
    }

    /// Takes what an instance without a pipe printed.
    pub fn print(&self, bytes: &[u8]) {
        let mut inner = self.inner.lock();
        self.feed(&mut inner, bytes);
        self.flush(&mut inner);
    }

    /// A request begins.
    pub fn begin(&self, start: Option<String>, wants_tail: bool) {
        let mut inner = self.inner.lock();
        inner.start = start;
        inner.tail = wants_tail.then(Vec::new);
    }

    /// Adds lines of the platform.
    pub fn platform(&self, lines: impl IntoIterator<Item = String>) {
        let mut inner = self.inner.lock();
        self.flush_partial(&mut inner);
        for line in lines {
            self.event(&mut inner, line);
        }
        self.flush(&mut inner);
    }

    /// A request ends: the last 4 KB of its log, if they were wanted.
    pub fn finish(&self, lines: impl IntoIterator<Item = String>) -> Option<Vec<u8>> {
        self.drain();
        self.platform(lines);
        let mut tail = self.inner.lock().tail.take()?;
        if tail.len() > TAIL_BYTES {
            tail.drain(..tail.len() - TAIL_BYTES);
        }
        Some(tail)
    }
}
