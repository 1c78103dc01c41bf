//! Where a call's stdout and stderr go.

use bytes::Bytes;
use parking_lot::Mutex;
use squall_wasm_wire::{ANSWER_BYTES_MAX, Outbox, Tell};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, sleep_until};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// Bytes that a stream takes at once.
const CHUNK_BYTES: usize = 64 << 10;
/// What a call may print in a window: 16 MiB a second, as of every runtime.
const LOG_BYTES_PER_WINDOW: usize = 1_677_721;
const WINDOW: Duration = Duration::from_millis(100);

/// The answer, kept until the call is over.
#[derive(Clone, Default)]
pub struct Answer(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    is_too_large: bool,
}

impl Answer {
    /// What was written.
    pub fn take(&self) -> Bytes {
        std::mem::take(&mut self.0.lock().bytes).into()
    }

    /// More was written than AWS takes.
    pub fn is_too_large(&self) -> bool {
        self.0.lock().is_too_large
    }

    fn add(&self, bytes: &[u8]) -> bool {
        let mut written = self.0.lock();
        if written.bytes.len() + bytes.len() > ANSWER_BYTES_MAX {
            written.is_too_large = true;
            return false;
        }
        written.bytes.extend_from_slice(bytes);
        true
    }
}

/// The log: goes out as it comes, at a bounded rate.
#[derive(Clone)]
pub struct Log {
    call: u64,
    outbox: Arc<Outbox>,
    window: Arc<Mutex<(Instant, usize)>>,
}

impl Log {
    /// The log of a call.
    pub fn new(call: u64, outbox: Arc<Outbox>) -> Self {
        Self { call, outbox, window: Arc::new(Mutex::new((Instant::now(), 0))) }
    }

    fn add(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let mut window = self.window.lock();
        let now = Instant::now();
        if now - window.0 >= WINDOW {
            *window = (now, 0);
        }
        window.1 += bytes.len();
        drop(window);
        let tell = Tell::Log { call: self.call, bytes };
        self.outbox.push(|out| tell.write(out));
    }
}

impl OutputStream for Answer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.add(&bytes) { Ok(()) } else { Err(StreamError::trap("the answer is too large")) }
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK_BYTES)
    }
}

#[async_trait::async_trait]
impl Pollable for Answer {
    async fn ready(&mut self) {}
}

impl OutputStream for Log {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.add(bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK_BYTES)
    }
}

#[async_trait::async_trait]
impl Pollable for Log {
    async fn ready(&mut self) {
        let (began, bytes) = *self.window.lock();
        if bytes >= LOG_BYTES_PER_WINDOW {
            sleep_until(began + WINDOW).await;
        }
        self.outbox.room().await;
    }
}

impl IsTerminal for Answer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl IsTerminal for Log {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Answer {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl StdoutStream for Log {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Answer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let is_kept = self.add(bytes);
        Poll::Ready(if is_kept { Ok(bytes.len()) } else { Err(io::ErrorKind::FileTooLarge.into()) })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Log {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.add(Bytes::copy_from_slice(bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
