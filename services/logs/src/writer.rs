//! The one thread that writes log files: it takes batches from a bounded queue, appends them, and syncs where somebody waits.
//!
//! What functions print is written without waiting and synced once a second; what `PutLogEvents` brings is synced before it
//! is acknowledged, together with everything else that came meanwhile.

use crate::catalog::Stream;
use crate::error::Error;
use crate::segment;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Batches that may wait; beyond it function output is dropped and counted.
const QUEUE_MAX: usize = 4096;
/// How long unsynced lines may stay so.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Files kept open.
const OPEN_MAX: usize = 256;

/// One line to write: time and text.
pub type NewLine = (i64, String);

enum Job {
    Append { stream: Arc<Stream>, lines: Vec<NewLine>, ingested: i64, done: Option<oneshot::Sender<io::Result<()>>> },
    Forget { paths: Vec<PathBuf>, done: oneshot::Sender<io::Result<()>> },
    Flush { done: oneshot::Sender<io::Result<()>> },
    Written { done: oneshot::Sender<io::Result<()>> },
}

/// Hands lines to the thread. Cheap to clone.
#[derive(Clone)]
pub struct Writer(SyncSender<Job>);

impl Writer {
    /// Starts the thread; it ends when the last handle is gone.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start() -> io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        std::thread::Builder::new().name("logs".into()).spawn(move || Thread::default().run(&queue))?;
        Ok(Self(jobs))
    }

    /// Appends without waiting; `false` when the queue is full and the lines are lost.
    #[must_use]
    pub fn append(&self, stream: Arc<Stream>, lines: Vec<NewLine>, ingested: i64) -> bool {
        match self.0.try_send(Job::Append { stream, lines, ingested, done: None }) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Appends; on the disk when it returns.
    ///
    /// # Errors
    /// The disk's.
    pub async fn append_durably(&self, stream: Arc<Stream>, lines: Vec<NewLine>, ingested: i64) -> Result<(), Error> {
        self.ask(|done| Job::Append { stream, lines, ingested, done: Some(done) }).await
    }

    /// Closes files that are about to be deleted, and deletes them.
    ///
    /// # Errors
    /// The disk's.
    pub async fn forget(&self, paths: Vec<PathBuf>) -> Result<(), Error> {
        self.ask(|done| Job::Forget { paths, done }).await
    }

    /// Waits until everything handed over so far is in the files, synced or not: readers see it.
    ///
    /// # Errors
    /// The thread is gone.
    pub async fn written(&self) -> Result<(), Error> {
        self.ask(|done| Job::Written { done }).await
    }

    /// Waits until everything handed over so far is written and synced.
    ///
    /// # Errors
    /// The disk's.
    pub async fn flush(&self) -> Result<(), Error> {
        self.ask(|done| Job::Flush { done }).await
    }

    async fn ask(&self, job: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Job) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        let mut job = job(done);
        loop {
            match self.0.try_send(job) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) => job = back,
                Err(TrySendError::Disconnected(_)) => return Err(Error::internal("write a log", "the writer is gone")),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let written = answer.await.map_err(|e| Error::internal("write a log", e))?;
        written.map_err(|e| Error::internal("write a log", e))
    }
}

struct Open {
    file: File,
    is_dirty: bool,
    used: u64,
}

#[derive(Default)]
struct Thread {
    open: HashMap<PathBuf, Open>,
    clock: u64,
    buffer: Vec<u8>,
}

impl Thread {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut synced = Instant::now();
        loop {
            let first = match queue.recv_timeout(SYNC_EVERY) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut waiting = Vec::new();
            for job in first.into_iter().chain(queue.try_iter().take(QUEUE_MAX)) {
                self.job(job, &mut waiting);
            }
            if !waiting.is_empty() || synced.elapsed() >= SYNC_EVERY {
                let result = self.sync();
                synced = Instant::now();
                for (done, written) in waiting {
                    let answer = match (&result, written) {
                        (Ok(()), written) => written,
                        (Err(e), _) => Err(io::Error::new(e.kind(), e.to_string())),
                    };
                    // Whoever asked may have gone.
                    let _ = done.send(answer);
                }
            }
        }
        if let Err(e) = self.sync() {
            tracing::error!(error = %e, "sync the logs");
        }
    }

    fn job(&mut self, job: Job, waiting: &mut Vec<(oneshot::Sender<io::Result<()>>, io::Result<()>)>) {
        match job {
            Job::Append { stream, lines, ingested, done } => {
                let written = self.append(&stream, &lines, ingested);
                match done {
                    Some(done) => waiting.push((done, written)),
                    None => {
                        if let Err(e) = written {
                            tracing::error!(error = %e, path = %stream.path.display(), "write a log");
                        }
                    }
                }
            }
            Job::Forget { paths, done } => {
                let mut gone = Ok(());
                for path in paths {
                    self.open.remove(&path);
                    match std::fs::remove_file(&path) {
                        Err(e) if e.kind() != io::ErrorKind::NotFound => gone = Err(e),
                        _ => {}
                    }
                }
                waiting.push((done, gone));
            }
            Job::Flush { done } => waiting.push((done, Ok(()))),
            Job::Written { done } => {
                // Jobs are done in order, so what came before is written. Whoever asked may have gone.
                let _ = done.send(Ok(()));
            }
        }
    }

    fn append(&mut self, stream: &Stream, lines: &[NewLine], ingested: i64) -> io::Result<()> {
        // Locked while the file grows, so that a summary is never read from a file that has more than it counts.
        let mut summary = stream.summary.lock();
        self.buffer.clear();
        for (time, text) in lines {
            segment::encode(*time, ingested, text, &mut self.buffer);
        }
        let buffer = std::mem::take(&mut self.buffer);
        let written = self.file(&stream.path).and_then(|f| {
            f.is_dirty = true;
            f.file.write_all(&buffer)
        });
        self.buffer = buffer;
        if written.is_err() {
            // Half a record may be there: reopening cuts it off.
            self.open.remove(&stream.path);
        } else if let Some(sum) = summary.as_mut() {
            for (time, text) in lines {
                sum.add(*time, ingested, text.len().min(segment::TEXT_BYTES_MAX));
            }
        }
        written
    }

    fn file(&mut self, path: &PathBuf) -> io::Result<&mut Open> {
        self.clock += 1;
        if !self.open.contains_key(path) {
            self.make_room()?;
            let file = segment::open_for_append(path)?;
            self.open.insert(path.clone(), Open { file, is_dirty: false, used: 0 });
        }
        let open = self.open.get_mut(path).ok_or_else(|| io::Error::other("the file was closed"))?;
        open.used = self.clock;
        Ok(open)
    }

    fn make_room(&mut self) -> io::Result<()> {
        if self.open.len() < OPEN_MAX {
            return Ok(());
        }
        let oldest = self.open.iter().min_by_key(|(_, o)| o.used).map(|(p, _)| p.clone());
        if let Some(open) = oldest.and_then(|p| self.open.remove(&p))
            && open.is_dirty
        {
            open.file.sync_data()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        for open in self.open.values_mut().filter(|o| o.is_dirty) {
            open.file.sync_data()?;
            open.is_dirty = false;
        }
        Ok(())
    }
}
