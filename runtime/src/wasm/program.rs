//! The program that runs calls, as the server sees it.

use super::Wasm;
use crate::InvokeError;
use crate::engine::Engine;
use crate::instance::Instance;
use crate::launch::{Mount, RUNTIME_API, Spec, Started, Worker};
use bytes::Bytes;
use parking_lot::Mutex;
use squall_wasm_wire::{
    ADDRESS, ANSWER_BYTES_MAX, Ask, CALLS, Frames, MEMORY, MODULES, Outbox, Outcome, PROGRAM_ARG, RUN, TOKEN, Tell,
};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// Where the program's file is inside.
const EXE_INSIDE: &str = "/var/runtime/squall";
/// How long the program may take to connect.
const START: Duration = Duration::from_secs(30);
/// What the program needs beside linear memories: compiled code, events, answers, its own.
const OVERHEAD_BYTES: u64 = 1 << 30;
/// `/tmp` that is never written: the size that sandboxes are prepared with.
const TMP_BYTES: u64 = 512 << 20;
/// Threads: one per core, and those of the engine's compiler.
const PIDS_MAX: u32 = 512;
/// An answer and what stands around it.
const FRAME_BYTES_MAX: usize = ANSWER_BYTES_MAX + (64 << 10);

/// A started program and its connection.
pub struct Connection {
    pub worker: Arc<dyn Worker>,
    pub frames: Frames<OwnedReadHalf>,
    pub outbox: Arc<Outbox>,
}

/// How a call ended: `None` where the program ended meanwhile.
pub type Done = Option<(Outcome, u64)>;

struct Waiting {
    instance: Arc<Instance>,
    done: oneshot::Sender<(Outcome, u64)>,
}

#[derive(Default)]
struct Shared {
    calls: Mutex<HashMap<u64, Waiting>>,
    opens: Mutex<HashMap<u64, oneshot::Sender<Option<String>>>>,
    /// The server itself ends the program.
    is_ending: AtomicBool,
}

/// The program that runs calls. Dropping it ends the program.
pub struct Link {
    worker: Arc<dyn Worker>,
    outbox: Arc<Outbox>,
    shared: Arc<Shared>,
    gone: watch::Receiver<bool>,
    last_call: AtomicU64,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A call that runs; it is cancelled when this is dropped before its end.
pub struct Calling {
    link: Arc<Link>,
    call: u64,
    done: oneshot::Receiver<(Outcome, u64)>,
}

impl Calling {
    /// Waits for the end.
    pub async fn wait(&mut self) -> Done {
        (&mut self.done).await.ok()
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        if self.link.shared.calls.lock().remove(&self.call).is_some() {
            self.link.ask(&Ask::Cancel { call: self.call });
        }
    }
}

impl Link {
    pub fn ask(&self, ask: &Ask) {
        self.outbox.push(|out| ask.write(out));
    }

    /// Loads a module for an environment. The text says why not; then it may be of another engine.
    pub async fn open(
        &self,
        id: u64,
        file: String,
        memory_bytes: u64,
        env: Vec<(String, String)>,
    ) -> Result<(), String> {
        let (opened, wait) = oneshot::channel();
        self.shared.opens.lock().insert(id, opened);
        if self.is_gone() {
            // Its last listener may have cleared the list before this was in it.
            self.shared.opens.lock().remove(&id);
        }
        self.ask(&Ask::Open { environment: id, file, memory_bytes, env });
        match wait.await {
            Ok(None) => Ok(()),
            Ok(Some(text)) => Err(text),
            Err(_) => Err("the program that runs WebAssembly has ended".into()),
        }
    }

    /// Begins a call of an environment.
    pub fn call(
        self: &Arc<Self>,
        instance: &Arc<Instance>,
        left: Duration,
        env: Vec<(String, String)>,
        event: Bytes,
    ) -> Calling {
        let call = self.last_call.fetch_add(1, Ordering::Relaxed) + 1;
        let (done, wait) = oneshot::channel();
        self.shared.calls.lock().insert(call, Waiting { instance: instance.clone(), done });
        if self.is_gone() {
            // Cleared before this was in it: it is answered as a call that the end has met.
            self.shared.calls.lock().remove(&call);
        }
        let timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        self.ask(&Ask::Call { call, environment: instance.id, timeout_ms, env, event });
        Calling { link: self.clone(), call, done: wait }
    }

    pub fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }

    /// Waits until the program has ended.
    pub async fn gone(&self) {
        let _ = self.gone.clone().wait_for(|gone| *gone).await;
    }

    /// Ends the program: it does not do what it should, or nobody needs it any more.
    pub fn kill(&self) {
        self.shared.is_ending.store(true, Ordering::Relaxed);
        self.worker.kill();
    }
}

impl Shared {
    /// Takes what the program says until it ends.
    async fn listen(&self, frames: &mut Frames<OwnedReadHalf>) -> io::Result<()> {
        while let Some(frame) = frames.next().await? {
            let tell =
                Tell::read(frame).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a malformed frame"))?;
            match tell {
                Tell::Done { call, memory_peak_bytes, outcome } => {
                    let waiting = self.calls.lock().remove(&call);
                    if let Some(waiting) = waiting {
                        // Nobody waits where the call was cancelled just now.
                        let _ = waiting.done.send((outcome, memory_peak_bytes));
                    }
                }
                Tell::Log { call, bytes } => {
                    let instance = self.calls.lock().get(&call).map(|w| w.instance.clone());
                    if let Some(instance) = instance {
                        instance.output.print(&bytes);
                    }
                }
                Tell::Opened { environment, error } => {
                    let waiting = self.opens.lock().remove(&environment);
                    if let Some(waiting) = waiting {
                        let _ = waiting.send(error);
                    }
                }
                Tell::Hello { .. } | Tell::Compiled(_) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame that nobody asked for"));
                }
            }
        }
        Ok(())
    }
}

impl Wasm {
    /// The program, started where it does not run.
    pub async fn link(&self, engine: &Engine) -> Result<Arc<Link>, InvokeError> {
        let mut held = self.link.lock().await;
        if let Some(link) = held.as_ref().filter(|link| !link.is_gone()) {
            return Ok(link.clone());
        }
        let more = vec![
            (CALLS.into(), self.calls_max.to_string().into()),
            (MEMORY.into(), self.memory_bytes.to_string().into()),
        ];
        let started = self.start(engine, RUN, self.memory_bytes + OVERHEAD_BYTES, more, FRAME_BYTES_MAX).await;
        let Connection { worker, mut frames, outbox } = started.map_err(InvokeError::Start)?;
        let shared = Arc::new(Shared::default());
        let (ended, gone) = watch::channel(false);
        let (hearing, own) = (shared.clone(), worker.clone());
        tokio::spawn(async move {
            let heard = hearing.listen(&mut frames).await;
            if !hearing.is_ending.load(Ordering::Relaxed) {
                let e = heard.err().map_or_else(|| "it has ended".to_owned(), |e| e.to_string());
                tracing::error!("the program that runs WebAssembly: {e}");
            }
            own.kill();
            let _ = ended.send(true);
            // Whoever waits is told by the end of its channel; its request is answered as that of a process that ended.
            hearing.calls.lock().clear();
            hearing.opens.lock().clear();
        });
        let link = Arc::new(Link { worker, outbox, shared, gone, last_call: AtomicU64::new(0) });
        *held = Some(link.clone());
        Ok(link)
    }

    /// Starts one form of the program and waits for its first word.
    pub async fn start(
        &self,
        engine: &Engine,
        form: &str,
        memory_bytes: u64,
        more: Vec<(OsString, OsString)>,
        frame_bytes_max: usize,
    ) -> Result<Connection, String> {
        let Some(program) = &self.program else { return Err("this build has no engine for WebAssembly".into()) };
        self.make_folder().map_err(|e| format!("the folder {}: {e}", self.folder.display()))?;
        let on_host = engine.launcher.is_on_host_paths();
        let exe = if on_host { program.exe.clone() } else { EXE_INSIDE.into() };
        let folder = if on_host { self.folder.clone() } else { "/var/task".into() };
        let token = engine.uuid();
        let mut env: Vec<(OsString, OsString)> = vec![
            (TOKEN.into(), token.clone().into()),
            (ADDRESS.into(), RUNTIME_API.into()),
            (MODULES.into(), folder.into()),
        ];
        env.extend(more);
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let spec = Spec {
            id: format!("wasm-{form}"),
            argv: vec![exe.into(), PROGRAM_ARG.into(), form.into()],
            env,
            code: self.folder.clone(),
            opt: None,
            mounts: if on_host { vec![] } else { vec![Mount { host: program.exe.clone(), inside: EXE_INSIDE.into() }] },
            memory_bytes,
            tmp_bytes: TMP_BYTES,
            pids_max: PIDS_MAX,
            cpu_shares: 1024 * cores,
            cpu_quota_percent: None,
            zygote: None,
        };
        let started = engine.launcher.spawn(spec).await.map_err(|e| e.to_string())?;
        let Started { worker, runtime_api, output, .. } = started;
        let worker: Arc<dyn Worker> = Arc::from(worker);
        let io = |e: io::Error| format!("the connection to the program that runs WebAssembly: {e}");
        tokio::spawn(hear(output));
        runtime_api.set_nonblocking(true).map_err(io)?;
        let listener = TcpListener::from_std(runtime_api).map_err(io)?;
        let connected = tokio::select! {
            connected = timeout(START, accept(&listener, &token, frame_bytes_max)) => connected,
            exit = worker.wait() => return Err(format!("the program that runs WebAssembly has ended: {exit:?}")),
        };
        let Ok(connected) = connected else {
            worker.kill();
            return Err("the program that runs WebAssembly does not answer".into());
        };
        let (frames, outbox) = connected.map_err(io)?;
        Ok(Connection { worker, frames, outbox })
    }
}

/// The first connection that says the token: without isolation others can reach the port too.
async fn accept(
    listener: &TcpListener,
    token: &str,
    frame_bytes_max: usize,
) -> io::Result<(Frames<OwnedReadHalf>, Arc<Outbox>)> {
    loop {
        let (stream, _) = listener.accept().await?;
        if let Ok(Some(connected)) = timeout(Duration::from_secs(5), greeted(stream, token, frame_bytes_max)).await {
            return Ok(connected);
        }
    }
}

async fn greeted(stream: TcpStream, token: &str, bytes_max: usize) -> Option<(Frames<OwnedReadHalf>, Arc<Outbox>)> {
    stream.set_nodelay(true).ok()?;
    let (read, write) = stream.into_split();
    let mut frames = Frames::new(read, bytes_max);
    let frame = frames.next().await.ok()??;
    if Tell::read(frame) != Ok(Tell::Hello { token: token.to_owned() }) {
        return None;
    }
    let outbox = Arc::new(Outbox::default());
    let sending = outbox.clone();
    tokio::spawn(async move {
        // The reading half sees the end as well, and deals with it.
        let _ = sending.send_to(write).await;
    });
    Some((frames, outbox))
}

/// What the program itself prints is for the operator.
async fn hear(output: OwnedFd) {
    let Ok(mut pipe) = pipe::Receiver::from_owned_fd(output) else { return };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let text = String::from_utf8_lossy(buffer.get(..count).unwrap_or_default());
        tracing::warn!("the program that runs WebAssembly: {}", text.trim_end());
    }
}
