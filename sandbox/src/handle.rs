//! The server's handle on one spawner process: from its start to its end. [`crate::Sandbox`] starts the next.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};

use crate::Error;
use crate::cgroup::{self, Hierarchy};
use crate::spec::{Exit, Level, Options, PoolStats, Spec};
use crate::sys::{process, socket};
use crate::wire::{News, Order, PACKET_BYTES_MAX};
use crate::worker::{Control, EgressSockets, Life, Worker};
use crate::zygote::ZygoteState;

/// How long a spawn may take before it counts as failed; a cold one takes milliseconds.
const SPAWN_TIMEOUT: Duration = Duration::from_secs(60);

type Answer = oneshot::Sender<Result<Worker, String>>;

pub(crate) struct Inner {
    pub(crate) socket: Arc<AsyncFd<OwnedFd>>,
    level: Level,
    /// What is weaker than the level promises.
    pub(crate) note: String,
    hierarchy: Option<Arc<dyn Hierarchy>>,
    pending: Mutex<HashMap<u64, Answer>>,
    zygotes: Mutex<HashMap<u64, watch::Sender<ZygoteState>>>,
    /// Goes on over spawners.
    pub(crate) seq: Arc<AtomicU64>,
    stats: Mutex<PoolStats>,
    /// True once the spawner has ended.
    pub(crate) gone: watch::Receiver<bool>,
}

/// Why there is no worker.
pub(crate) enum SpawnError {
    /// The spawner has ended: another can have the order.
    Gone(Box<Spec>),
    Failed(Error),
}

impl Inner {
    /// Starts a spawner and puts the level in force.
    pub(crate) async fn start(o: &Options, seq: Arc<AtomicU64>) -> Result<Arc<Inner>, Error> {
        // Each worker holds four descriptors of this process.
        process::raise_open_files();
        let start = |reason: String| Error::Start { reason };
        let (ours, theirs) = socket::pair().map_err(|e| start(e.to_string()))?;
        socket::set_nonblocking(ours.as_fd()).map_err(|e| start(e.to_string()))?;
        let mut child = launch(o, theirs).map_err(|e| start(format!("{}: {e}", o.spawner_exe.display())))?;
        // SAFETY: an OwnedFd is open and keeps its number until it is dropped, and nothing else closes it.
        let socket = unsafe { AsyncFd::register(ours) };
        let socket = Arc::new(socket.map_err(|e| start(e.to_string()))?);
        let configure =
            Order::Configure { level: o.level, run_dir: o.run_dir.clone(), pool: o.pool, egress: o.egress.clone() };
        let (hierarchy, note) = match configure_spawner(&socket, &configure).await {
            Ok(ready) => ready,
            Err(e) => {
                // It ends with its socket; reaped off this thread.
                drop(socket);
                let _ = tokio::task::spawn_blocking(move || child.wait()).await;
                return Err(match e {
                    Refusal::Level(missing) => Error::Unavailable { level: o.level, missing },
                    Refusal::Spawner(reason) => start(reason),
                });
            }
        };
        if !note.is_empty() {
            tracing::warn!(level = %o.level, "{note}");
        }
        let (gone_tx, gone) = watch::channel(false);
        let inner = Arc::new(Inner {
            socket: socket.clone(),
            level: o.level,
            note,
            hierarchy,
            pending: Mutex::default(),
            zygotes: Mutex::default(),
            seq,
            stats: Mutex::default(),
            gone,
        });
        tokio::spawn(listen(socket, Arc::downgrade(&inner), child, gone_tx));
        Ok(inner)
    }

    /// Starts a worker; returns once its program is being executed.
    pub(crate) async fn spawn(&self, s: Box<Spec>) -> Result<Worker, SpawnError> {
        let failed = |e: Error| SpawnError::Failed(e);
        let id = s.id.clone();
        let seq = self.seq.fetch_add(1, Ordering::Relaxed);
        let order = Order::Spawn { seq, spec: s };
        let packet = order.encode();
        let Order::Spawn { spec, .. } = order else { return Err(failed(Error::Gone)) };
        if packet.len() > PACKET_BYTES_MAX {
            let text = format!("arguments and environment exceed {PACKET_BYTES_MAX} bytes");
            return Err(failed(Error::Invalid(text)));
        }
        let (answer, answered) = oneshot::channel();
        self.pending().insert(seq, answer);
        // After the insertion, so that the end of the spawner is seen here or drops the answer.
        if *self.gone.borrow() || send(&self.socket, &packet).await.is_err() {
            self.pending().remove(&seq);
            return Err(SpawnError::Gone(spec));
        }
        match tokio::time::timeout(SPAWN_TIMEOUT, answered).await {
            Ok(Ok(Ok(worker))) => Ok(worker),
            Ok(Ok(Err(reason))) => Err(failed(Error::Spawn { id, reason })),
            Ok(Err(_)) => Err(SpawnError::Gone(spec)),
            Err(_) => Err(failed(Error::Spawn { id, reason: format!("no answer within {SPAWN_TIMEOUT:?}") })),
        }
    }

    /// Counts as of the spawner's last message.
    pub(crate) fn stats(&self) -> PoolStats {
        *self.stats.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Asks it to end every worker and itself. An error means that it is gone already.
    pub(crate) async fn stop(&self) {
        let _ = send(&self.socket, &Order::Stop.encode()).await;
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<u64, Answer>> {
        self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn zygotes(&self) -> MutexGuard<'_, HashMap<u64, watch::Sender<ZygoteState>>> {
        self.zygotes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Sends what has no answer. The socket does not wait; if it is full, or the spawner is gone, the order is lost.
    pub(crate) fn order(&self, order: &Order) {
        let _ = socket::send(self.socket.get_ref().as_fd(), &order.encode(), &[]);
    }

    fn zygote_is(&self, zygote: u64, state: ZygoteState) {
        if let Some(tell) = self.zygotes().get(&zygote) {
            tell.send_replace(state);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The listener holds the socket too; this ends both it and the spawner.
        // SAFETY: integers only.
        unsafe { libc::shutdown(self.socket.get_ref().as_raw_fd(), libc::SHUT_RDWR) };
    }
}

fn launch(o: &Options, socket: OwnedFd) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;
    Command::new(&o.spawner_exe)
        .args(&o.spawner_args)
        .env_clear()
        // Its children live for milliseconds and allocate little: were memory given back and taken anew, each would pay for it
        // with page faults. Programs get an environment of their own.
        .env("MIMALLOC_PURGE_DELAY", "-1")
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
}

/// Why a spawner is of no use.
enum Refusal {
    /// It cannot give the level; what is missing.
    Level(String),
    /// It does not work at all.
    Spawner(String),
}

async fn configure_spawner(
    socket: &AsyncFd<OwnedFd>,
    configure: &Order,
) -> Result<(Option<Arc<dyn Hierarchy>>, String), Refusal> {
    let broken = |e: io::Error| Refusal::Spawner(e.to_string());
    let stranger = || Refusal::Spawner("it is another program".to_owned());
    send(socket, &configure.encode()).await.map_err(broken)?;
    let mut packet = Vec::new();
    if receive(socket, &mut packet).await.map_err(broken)?.is_none() {
        return Err(Refusal::Spawner("it ended at once".to_owned()));
    }
    match News::decode(&packet) {
        Ok(News::Ready { cgroups, note }) => Ok((cgroup::decode(&cgroups).map_err(|_| stranger())?, note)),
        Ok(News::Refused { missing }) => Err(Refusal::Level(missing)),
        _ => Err(stranger()),
    }
}

pub(crate) async fn send(socket: &AsyncFd<OwnedFd>, packet: &[u8]) -> io::Result<()> {
    socket.async_io(Interest::WRITABLE, |fd| socket::send(fd.as_fd(), packet, &[])).await
}

async fn receive(socket: &AsyncFd<OwnedFd>, packet: &mut Vec<u8>) -> io::Result<Option<Vec<OwnedFd>>> {
    socket.async_io(Interest::READABLE, |fd| socket::receive(fd.as_fd(), packet)).await
}

/// Hands the spawner's messages to whom they concern, until it ends.
async fn listen(socket: Arc<AsyncFd<OwnedFd>>, inner: Weak<Inner>, mut child: Child, gone: watch::Sender<bool>) {
    let mut packet = Vec::new();
    let mut lives: HashMap<u64, Arc<Life>> = HashMap::new();
    while let Ok(Some(fds)) = receive(&socket, &mut packet).await {
        match News::decode(&packet) {
            Ok(News::Spawned { seq, worker, pid }) => {
                let Some(inner) = inner.upgrade() else { break };
                let life = Arc::new(Life { exit: watch::Sender::new(None), memory_peak_bytes: AtomicU64::new(0) });
                lives.insert(worker, life.clone());
                let answer = inner.pending().remove(&seq);
                let made = assemble(&inner, worker, pid, fds, life).ok_or_else(|| {
                    // The kernel dropped them: this process has too many files open. Nobody could hold the worker.
                    let _ = process::kill(pid, libc::SIGKILL);
                    "too many open files in the server".to_owned()
                });
                if let Some(answer) = answer {
                    // If nobody waits any more, the worker is dropped and so killed.
                    let _ = answer.send(made);
                }
            }
            Ok(News::Failed { seq, reason }) => {
                let answer = inner.upgrade().and_then(|i| i.pending().remove(&seq));
                if let Some(answer) = answer {
                    let _ = answer.send(Err(reason));
                }
            }
            Ok(News::Exited { worker, exit, memory_peak_bytes }) => {
                if let Some(life) = lives.remove(&worker) {
                    life.memory_peak_bytes.store(memory_peak_bytes, Ordering::Relaxed);
                    life.exit.send_replace(Some(exit));
                }
            }
            Ok(News::Stats(stats)) => {
                if let Some(inner) = inner.upgrade() {
                    *inner.stats.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = stats;
                }
            }
            Ok(News::ZygoteReady { zygote, text }) => {
                if let Some(inner) = inner.upgrade() {
                    inner.zygote_is(zygote, ZygoteState::Ready(text));
                }
            }
            Ok(News::ZygoteGone { zygote, reason }) => {
                if let Some(inner) = inner.upgrade() {
                    inner.zygote_is(zygote, ZygoteState::Gone(reason));
                }
            }
            _ => break,
        }
    }
    // Its own children died with it.
    for life in lives.into_values() {
        life.exit.send_replace(Some(Exit { code: None, signal: Some(libc::SIGKILL), oom: false }));
    }
    drop(socket);
    let reaped = tokio::task::spawn_blocking(move || child.wait()).await;
    tracing::debug!(?reaped, "the spawner has ended");
    gone.send_replace(true);
    if let Some(inner) = inner.upgrade() {
        inner.pending().clear();
        inner.zygotes().clear();
    }
}

fn assemble(inner: &Arc<Inner>, number: u64, pid: i32, fds: Vec<OwnedFd>, life: Arc<Life>) -> Option<Worker> {
    let mut fds = fds.into_iter();
    let (pidfd, runtime_api, endpoint, output) = (fds.next()?, fds.next()?, fds.next()?, fds.next()?);
    let egress = match (fds.next(), fds.next(), fds.next()) {
        (None, ..) => None,
        (Some(tcp), Some(udp), Some(raw)) => Some(EgressSockets { tcp: tcp.into(), udp: udp.into(), raw }),
        _ => return None,
    };
    let (runtime_api, endpoint) = (TcpListener::from(runtime_api), TcpListener::from(endpoint));
    let addresses: (SocketAddr, SocketAddr) = (runtime_api.local_addr().ok()?, endpoint.local_addr().ok()?);
    socket::set_nonblocking(output.as_fd()).ok()?;
    let group = inner.hierarchy.as_ref().map(|h| h.group(&crate::spawner::group_name(number)));
    let control = Control::new(pid, pidfd, group, inner.level == Level::None, life, inner.clone());
    Some(Worker {
        pid,
        runtime_api,
        endpoint,
        runtime_api_addr: addresses.0,
        endpoint_addr: addresses.1,
        output,
        egress,
        control,
    })
}
