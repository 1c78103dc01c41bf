//! The sandbox as its owner holds it: a spawner that is started again whenever it ends without being asked to.
//!
//! A spawner that is killed takes its workers and zygotes with it (their owners are told), and nothing else: what is asked for
//! meanwhile waits for the next spawner. Numbers of workers' orders and zygotes go on, so that a zygote of an earlier spawner
//! is never mistaken for another.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::handle::{Inner, SpawnError};
use crate::spec::{Level, Options, PoolStats, Spec};
use crate::worker::Worker;
use crate::{Error, Zygote, ZygoteSpec};

/// How long a request waits for a spawner that is being started again. Its predecessor's janitors may need some of it.
const RESTART_PATIENCE: Duration = Duration::from_secs(30);
/// Pause before a failed start of a spawner is tried again, doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often a request is tried that a spawner took with it to its end.
const TRIES_MAX: usize = 3;

/// Makes workers. Clones are the same sandbox; when the last one and the last worker are dropped, the spawner ends.
#[derive(Clone)]
pub struct Sandbox {
    keeper: Arc<Keeper>,
}

struct Keeper {
    options: Options,
    note: String,
    service: watch::Sender<Service>,
    is_stopped: AtomicBool,
}

/// Who serves.
#[derive(Clone)]
enum Service {
    Up(Arc<Inner>),
    Restarting,
    Ended,
}

impl Sandbox {
    /// Starts the spawner and puts the level in force. Leftovers of a crash in the same run directory are removed.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the host cannot give the level, [`Error::Start`] if the program cannot be executed.
    pub async fn start(o: Options) -> Result<Sandbox, Error> {
        let inner = Inner::start(&o, Arc::new(AtomicU64::new(1))).await?;
        let keeper = Arc::new(Keeper {
            options: o,
            note: inner.note.clone(),
            service: watch::Sender::new(Service::Up(inner.clone())),
            is_stopped: AtomicBool::new(false),
        });
        tokio::spawn(keep(Arc::downgrade(&keeper), inner.gone.clone(), inner.seq.clone()));
        Ok(Sandbox { keeper })
    }

    /// Starts a worker; returns once its program is being executed.
    ///
    /// # Errors
    /// [`Error::Invalid`] before anything is done; [`Error::Spawn`] with the step that failed; [`Error::Gone`].
    pub async fn spawn(&self, s: Spec) -> Result<Worker, Error> {
        s.check()?;
        let mut spec = Box::new(s);
        for _ in 0..TRIES_MAX {
            match self.serving().await?.spawn(spec).await {
                Ok(worker) => return Ok(worker),
                Err(SpawnError::Gone(returned)) => spec = returned,
                Err(SpawnError::Failed(e)) => return Err(e),
            }
        }
        Err(Error::Gone)
    }

    /// Starts a zygote and waits until workers can be forked from it ([`crate::Start::Fork`]).
    ///
    /// # Errors
    /// [`Error::Invalid`] before anything is done; [`Error::Spawn`] with what the zygote or the spawner said;
    /// [`Error::Gone`].
    pub async fn start_zygote(&self, spec: ZygoteSpec) -> Result<Zygote, Error> {
        spec.check()?;
        for _ in 0..TRIES_MAX {
            match self.serving().await?.start_zygote(spec.clone()).await {
                Err(Error::Gone) => {}
                settled => return settled,
            }
        }
        Err(Error::Gone)
    }

    /// The spawner that serves, as soon as there is one.
    async fn serving(&self) -> Result<Arc<Inner>, Error> {
        let mut service = self.keeper.service.subscribe();
        // One that has just ended counts as up until its end is noticed.
        let up = service.wait_for(|s| match s {
            Service::Up(inner) => !*inner.gone.borrow(),
            Service::Restarting => false,
            Service::Ended => true,
        });
        match timeout(RESTART_PATIENCE, up).await {
            Ok(Ok(found)) => match &*found {
                Service::Up(inner) => Ok(inner.clone()),
                Service::Restarting | Service::Ended => Err(Error::Gone),
            },
            Ok(Err(_)) | Err(_) => Err(Error::Gone),
        }
    }

    /// Changes how many sandboxes are kept ready for programs that are executed ([`Options::pool`]); a spawner that had to be started
    /// again begins with the option's number.
    pub fn aim(&self, count: usize) {
        if let Service::Up(inner) = &*self.keeper.service.borrow() {
            inner.order(&crate::wire::Order::Target { count });
        }
    }

    /// Counts as of the spawner's last message.
    pub fn stats(&self) -> PoolStats {
        match &*self.keeper.service.borrow() {
            Service::Up(inner) => inner.stats(),
            Service::Restarting | Service::Ended => {
                PoolStats { target: self.keeper.options.pool, ..PoolStats::default() }
            }
        }
    }

    /// The level in force.
    pub fn level(&self) -> Level {
        self.keeper.options.level
    }

    /// What is weaker than the level promises on this host; empty if nothing is.
    pub fn note(&self) -> &str {
        &self.keeper.note
    }

    /// Ends every worker and the spawner, and waits until all is cleaned up.
    pub async fn shutdown(&self) {
        self.keeper.is_stopped.store(true, Ordering::SeqCst);
        let up = match &*self.keeper.service.borrow() {
            Service::Up(inner) => Some(inner.clone()),
            Service::Restarting | Service::Ended => None,
        };
        if let Some(inner) = up {
            inner.stop().await;
        }
        // The sender lives in the keeper that this handle holds.
        let _ = self.keeper.service.subscribe().wait_for(|s| matches!(s, Service::Ended)).await;
    }
}

/// Starts the spawner again whenever it has ended, until that was wanted or nobody holds the sandbox any more.
async fn keep(keeper: Weak<Keeper>, mut gone: watch::Receiver<bool>, seq: Arc<AtomicU64>) {
    loop {
        // An error says that it is gone and forgotten.
        let _ = gone.wait_for(|g| *g).await;
        let mut pause = PAUSE_MIN;
        gone = loop {
            let Some(keeper) = keeper.upgrade() else { return };
            if keeper.is_stopped.load(Ordering::SeqCst) {
                keeper.service.send_replace(Service::Ended);
                return;
            }
            keeper.service.send_replace(Service::Restarting);
            tracing::warn!("the spawner has ended, and every function that ran with it; it is started again");
            match Inner::start(&keeper.options, seq.clone()).await {
                Ok(inner) => {
                    let gone = inner.gone.clone();
                    keeper.service.send_replace(Service::Up(inner.clone()));
                    if keeper.is_stopped.load(Ordering::SeqCst) {
                        inner.stop().await;
                    }
                    break gone;
                }
                Err(e) => tracing::error!("start the spawner again: {e}"),
            }
            drop(keeper);
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        };
    }
}
