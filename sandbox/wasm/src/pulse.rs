//! The engine's clock: as long as something runs, whatever spins is made to give way every millisecond.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;
use wasmtime::Engine;

const TICK: Duration = Duration::from_millis(1);
/// Ticks without a call after which the clock sleeps.
const REST_TICKS: u32 = 500;

/// Tells of calls. Cheap to clone.
#[derive(Clone)]
pub struct Pulse {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    running: AtomicU64,
    begun: AtomicU64,
    rests: AtomicBool,
}

impl Pulse {
    /// Starts the clock's thread.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (own, engine) = (shared.clone(), engine.weak());
        let join = thread::Builder::new().name("pulse".into()).spawn(move || {
            let (mut seen, mut still) = (0, 0);
            loop {
                let begun = own.begun.load(Ordering::SeqCst);
                still = if begun == seen && own.running.load(Ordering::SeqCst) == 0 { still + 1 } else { 0 };
                seen = begun;
                if still < REST_TICKS {
                    thread::sleep(TICK);
                } else {
                    own.rests.store(true, Ordering::SeqCst);
                    // A call that began meanwhile has seen no rest: it must not wait for the next one.
                    if own.begun.load(Ordering::SeqCst) == seen {
                        thread::park();
                    }
                    own.rests.store(false, Ordering::SeqCst);
                    still = 0;
                }
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })?;
        Ok(Self { shared, thread: join.thread().clone() })
    }

    /// A call begins; it ends when what is returned is dropped.
    #[must_use]
    pub fn begin(&self) -> Beat {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        self.shared.begun.fetch_add(1, Ordering::SeqCst);
        if self.shared.rests.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Beat(self.shared.clone())
    }
}

/// A call that runs.
pub struct Beat(Arc<Shared>);

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}
