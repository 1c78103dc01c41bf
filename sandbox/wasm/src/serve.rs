//! The connection to the server: environments, calls, answers.

use crate::artefact::{self, Loaded};
use crate::call::{Budget, Call};
use crate::engine::Machine;
use crate::pulse::Pulse;
use crate::streams::Log;
use bytes::Bytes;
use parking_lot::Mutex;
use squall_wasm_wire::{
    ADDRESS, ANSWER_BYTES_MAX, Ask, CALLS, Frames, MEMORY, MODULE_BYTES_MAX, MODULES, Outbox, Outcome, TOKEN, Tell,
};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

/// Events are smaller than answers may be; variables come on top.
const FRAME_BYTES_MAX: usize = ANSWER_BYTES_MAX + (1 << 20);
/// Calls of the form that compiles: it makes none.
const NO_CALLS: u32 = 1;

/// An environment: a loaded module and what its calls share.
struct Environment {
    loaded: Arc<Loaded>,
    memory_bytes: u64,
    env: Vec<(String, String)>,
}

struct Program {
    machine: Machine,
    pulse: Pulse,
    modules: PathBuf,
    outbox: Arc<Outbox>,
    budget: Arc<Budget>,
    /// As many calls as the engine has stacks for.
    slots: Semaphore,
    /// Modules that an environment uses, by file.
    loaded: Mutex<HashMap<String, Weak<Loaded>>>,
    environments: Mutex<HashMap<u64, Arc<Environment>>>,
    running: Mutex<HashMap<u64, AbortHandle>>,
}

/// Runs calls until the server goes.
pub fn run() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // On a worker: a call that it spawns then runs on the same thread next, and no other need be woken for it.
    let serving = runtime.spawn(async {
        let calls: u32 = setting(CALLS)?;
        let machine = Machine::new(calls).map_err(|e| io::Error::other(format!("{e:#}")))?;
        let (mut frames, outbox) = connect(FRAME_BYTES_MAX).await?;
        let program = Arc::new(Program {
            pulse: Pulse::start(&machine.engine)?,
            machine,
            modules: setting(MODULES)?,
            outbox,
            budget: Arc::new(Budget { used: AtomicU64::new(0), bytes_max: setting(MEMORY)? }),
            slots: Semaphore::new(calls as usize),
            loaded: Mutex::default(),
            environments: Mutex::default(),
            running: Mutex::default(),
        });
        while let Some(frame) = frames.next().await? {
            program.take(ask(frame)?);
        }
        Ok(())
    });
    runtime.block_on(serving).map_err(io::Error::other)?
}

/// Compiles what the server sends, and ends when it hangs up.
pub fn compile() -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (mut frames, outbox) = connect(MODULE_BYTES_MAX + 1024).await?;
        let Some(frame) = frames.next().await? else { return Ok(()) };
        let Ask::Compile { module } = ask(frame)? else { return Err(io::ErrorKind::InvalidData.into()) };
        let machine = Machine::new(NO_CALLS).map_err(|e| io::Error::other(format!("{e:#}")))?;
        let compiled = machine.compile(&module).map(Bytes::from);
        outbox.push(|out| Tell::Compiled(compiled).write(out));
        frames.next().await.map(|_| ())
    })
}

fn setting<T: FromStr>(name: &str) -> io::Result<T> {
    let value = std::env::var(name).ok().and_then(|v| v.parse().ok());
    value.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("the variable {name} is not set")))
}

fn ask(frame: Bytes) -> io::Result<Ask> {
    Ask::read(frame).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a malformed frame"))
}

async fn connect(frame_bytes_max: usize) -> io::Result<(Frames<OwnedReadHalf>, Arc<Outbox>)> {
    let stream = TcpStream::connect(setting::<String>(ADDRESS)?).await?;
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let outbox = Arc::new(Outbox::default());
    let token = setting(TOKEN)?;
    outbox.push(|out| Tell::Hello { token }.write(out));
    let sending = outbox.clone();
    tokio::spawn(async move {
        // The reading half sees the end of the connection too.
        let _ = sending.send_to(write).await;
    });
    Ok((Frames::new(read, frame_bytes_max), outbox))
}

impl Program {
    fn take(self: &Arc<Self>, ask: Ask) {
        match ask {
            Ask::Open { environment, file, memory_bytes, env } => {
                let program = self.clone();
                tokio::spawn(async move {
                    let error = program.open(environment, file, memory_bytes, env).err();
                    let error = error.map(|e| e.to_string());
                    program.tell(&Tell::Opened { environment, error });
                });
            }
            Ask::Close { environment } => {
                self.environments.lock().remove(&environment);
            }
            Ask::Call { call, environment, timeout_ms, env, event } => {
                let found = self.environments.lock().get(&environment).cloned();
                let guard = Guard { program: self.clone(), call, done: None };
                let Some(environment) = found else { return };
                // Held meanwhile: a call that ends at once must find itself there.
                let mut running = self.running.lock();
                let task = tokio::spawn(guard.run(environment, timeout_ms, env, event));
                running.insert(call, task.abort_handle());
            }
            Ask::Cancel { call } => {
                let task = self.running.lock().remove(&call);
                if let Some(task) = task {
                    task.abort();
                }
            }
            // The other form's.
            Ask::Compile { .. } => {}
        }
    }

    fn tell(&self, tell: &Tell) {
        self.outbox.push(|out| tell.write(out));
    }

    fn open(&self, id: u64, file: String, memory_bytes: u64, env: Vec<(String, String)>) -> io::Result<()> {
        let known = self.loaded.lock().get(&file).and_then(Weak::upgrade);
        let loaded = match known {
            Some(loaded) => loaded,
            None => {
                let loaded = Arc::new(artefact::load(&self.machine, &self.modules.join(&file))?);
                let mut all = self.loaded.lock();
                all.retain(|_, module| module.strong_count() > 0);
                all.insert(file, Arc::downgrade(&loaded));
                loaded
            }
        };
        self.environments.lock().insert(id, Arc::new(Environment { loaded, memory_bytes, env }));
        Ok(())
    }
}

/// Sees to it that a call is answered, also where the engine panics.
struct Guard {
    program: Arc<Program>,
    call: u64,
    done: Option<(Outcome, u64)>,
}

impl Guard {
    async fn run(mut self, of: Arc<Environment>, timeout_ms: u64, env: Vec<(String, String)>, event: Bytes) {
        let program = self.program.clone();
        let _beat = program.pulse.begin();
        let Ok(_slot) = program.slots.acquire().await else { return };
        let call = Call {
            machine: &program.machine,
            loaded: &of.loaded,
            budget: program.budget.clone(),
            memory_bytes: of.memory_bytes,
            timeout: Duration::from_millis(timeout_ms),
            env: [&of.env, &env],
            event,
            log: Log::new(self.call, program.outbox.clone()),
        };
        self.done = Some(call.run().await);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.program.running.lock().remove(&self.call);
        let failed = || (Outcome::Failed("the engine has given up".into()), 0);
        let (outcome, memory_peak_bytes) = self.done.take().unwrap_or_else(failed);
        self.program.tell(&Tell::Done { call: self.call, memory_peak_bytes, outcome });
    }
}
