//! The life of one instance: start, init, deadlines, end.

use crate::InvokeError;
use crate::api;
use crate::egress::Serving;
use crate::engine::Engine;
use crate::environment;
use crate::instance::{Ending, Instance, Phase};
use crate::launch::{Exit, LaunchError, Source, Spec, Started, Worker};
use crate::logline::{self, Status};
use crate::platform;
use crate::snapshots::Made;
use crate::wasm;
use crate::zygotes;
use bytes::Bytes;
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// How long the last words of an ended process may take to be read.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// How a process ends whose snapshot turned out not to fit.
const RESTORE_LOST: i32 = 70;

/// Runs the instance to its end and reports it gone.
pub async fn run(engine: Arc<Engine>, instance: Arc<Instance>) {
    let lived = if instance.function.runtime == wasm::RUNTIME {
        wasm::run(&engine, &instance).await
    } else {
        live(&engine, &instance).await
    };
    match lived {
        Ok(()) => engine.gone(instance.id),
        Err(StartError::Function { kind, payload }) => {
            init_over(&instance, InitEnd::Error { kind, payload });
            instance.close();
            engine.gone(instance.id);
        }
        Err(StartError::Exit(exit)) => {
            init_over(&instance, InitEnd::Exit(exit));
            instance.close();
            engine.gone(instance.id);
        }
        Err(StartError::Platform(error)) => {
            tracing::error!(function = %instance.function.function_arn, "{error}");
            instance.close();
            if let Some(take) = instance.snapshot.making() {
                take.end(Made::Refused(error.to_string()));
            }
            engine.start_failed(&instance, error);
        }
    }
}

async fn live(engine: &Arc<Engine>, instance: &Arc<Instance>) -> Result<(), StartError> {
    let running = start(engine, instance).await?;
    running.watch(instance).await;
    running.clean(instance).await;
    Ok(())
}

/// Why an instance does not come to life.
pub enum StartError {
    /// The function's own fault, as AWS reports it.
    Function { kind: String, payload: Bytes },
    /// As if the process had ended at once.
    Exit(Exit),
    /// Ours or the host's.
    Platform(InvokeError),
}

impl From<LaunchError> for StartError {
    fn from(e: LaunchError) -> Self {
        StartError::Platform(InvokeError::Start(e.to_string()))
    }
}

/// A program of the function that cannot be executed is its own fault, in AWS's words; anything else is ours.
fn not_started(error: LaunchError) -> StartError {
    let said = error.0.split_once("execute ").and_then(|(_, rest)| rest.split_once(": "));
    let Some((program, why)) = said.filter(|(program, _)| program.ends_with("/bootstrap")) else { return error.into() };
    let why = why.split(" (os error").next().unwrap_or_default().to_lowercase();
    let failure = logline::Failure {
        kind: "Runtime.InvalidEntrypoint".into(),
        message: format!("Error: fork/exec {program}: {why}"),
    };
    StartError::Function { kind: failure.kind.clone(), payload: failure.payload().into() }
}

struct Running {
    worker: Arc<dyn Worker>,
    /// It is a fork of a zygote.
    is_fork: bool,
    api: JoinHandle<()>,
    output: JoinHandle<()>,
    _endpoint: Box<dyn Any + Send + Sync>,
    _egress: Option<Serving>,
}

async fn start(engine: &Arc<Engine>, instance: &Arc<Instance>) -> Result<Running, StartError> {
    let mut spec: Spec = environment::spec(engine, instance).await?;
    let mut is_fork = spec.zygote.is_some();
    let started = match engine.launcher.spawn(spec.clone()).await {
        Err(e) if spec.zygote.is_some() && instance.snapshot.making().is_none() => {
            instance.snapshot.failed();
            // Nothing of the function has run: it is executed instead.
            tracing::warn!(function = %instance.function.function_arn, "fork an instance: {e}");
            spec.zygote = None;
            is_fork = false;
            engine.launcher.spawn(spec).await?
        }
        started => started.map_err(not_started)?,
    };
    let Started { worker, runtime_api, endpoint, output, egress } = started;
    let worker: Arc<dyn Worker> = Arc::from(worker);
    let io = |e: std::io::Error| StartError::Platform(InvokeError::Start(format!("set up an instance's sockets: {e}")));
    runtime_api.set_nonblocking(true).map_err(io)?;
    endpoint.set_nonblocking(true).map_err(io)?;
    instance.output.attach(output).map_err(io)?;
    let listener = tokio::net::TcpListener::from_std(runtime_api).map_err(io)?;
    let api = tokio::spawn(api::accept(listener, instance.clone()));
    let reader = instance.clone();
    let output = tokio::spawn(async move { reader.output.run().await });
    let source = Source { function_arn: instance.function.function_arn.clone() };
    let guard = engine.endpoint.serve(endpoint, source);
    let egress = egress.zip(engine.relay.as_ref()).map(|(sockets, relay)| relay.serve(sockets));
    let is_killed = {
        let mut state = instance.state.lock();
        state.worker = Some(worker.clone());
        state.is_killed
    };
    if is_killed {
        worker.kill();
    }
    Ok(Running { worker, is_fork, api, output, _endpoint: guard, _egress: egress })
}

impl Running {
    /// Waits for the end of the process, and brings it about where a deadline passes or the init fails.
    async fn watch(&self, instance: &Arc<Instance>) {
        let wait = self.worker.wait();
        tokio::pin!(wait);
        loop {
            let wake = arm(instance);
            let sleep = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                exit = &mut wait => return self.exited(instance, exit).await,
                () = sleep => {}
                () = instance.changed.notified() => {}
            }
            self.act(instance);
        }
    }

    /// Looks at what has changed, and ends the process where that must be.
    fn act(&self, instance: &Arc<Instance>) {
        let now = Instant::now();
        let mut state = instance.state.lock();
        if let Some((kind, payload)) = state.init_error.take() {
            drop(state);
            return self.end(instance, |i| init_over(i, InitEnd::Error { kind, payload }));
        }
        let is_init = state.phase == Phase::Init;
        if let Some(current) = &state.current {
            if current.deadline <= now {
                drop(state);
                self.end(instance, |i| {
                    if is_init {
                        init_over(i, InitEnd::Timeout);
                    } else {
                        i.end_request(None, Ending::TimedOut);
                    }
                });
            }
        } else if is_init && instance.init_by() <= now {
            drop(state);
            self.end(instance, |i| init_over(i, InitEnd::Timeout));
        } else if state.next_by.is_some_and(|by| by <= now) {
            // It has answered, and then neither asked for more nor ended.
            state.next_by = None;
            drop(state);
            self.end(instance, |_| ());
        }
    }

    fn end(&self, instance: &Arc<Instance>, say: impl FnOnce(&Arc<Instance>)) {
        // Stopped first: what it prints later belongs to no request.
        self.worker.kill();
        say(instance);
        instance.close();
    }

    async fn exited(&self, instance: &Arc<Instance>, mut exit: Exit) {
        exit.oom |= self.worker.oom_killed();
        if instance.snapshot.is_restored() && self.is_snapshots_fault(instance, exit) {
            let reason = "an environment that was made of its snapshot has ended at once";
            instance.output.platform([instance.engine.snapshots.give_up(&instance.function, reason)]);
        } else if self.is_fork && zygotes::is_crash(exit) {
            let line = instance.engine.zygotes.avoid(&instance.function, exit);
            instance.output.platform(line);
        }
        // An answer may have been sent just before the end: its connection is read to the end first.
        let last = Instant::now() + LAST_WORDS;
        while instance.state.lock().connections > 0 {
            if timeout(last - Instant::now(), instance.changed.notified()).await.is_err() {
                break;
            }
        }
        let (phase, posted) = {
            let mut state = instance.state.lock();
            (std::mem::replace(&mut state.phase, Phase::Ended), state.init_error.take())
        };
        match (phase, posted) {
            (Phase::Ended, _) => {}
            (Phase::Init, Some((kind, payload))) => init_over(instance, InitEnd::Error { kind, payload }),
            (Phase::Init, None) => init_over(instance, InitEnd::Exit(exit)),
            _ => match instance.take_undelivered() {
                Some(call) => instance.engine.requeue(call),
                None => {
                    instance.end_request(None, Ending::Exited(exit));
                }
            },
        }
    }

    /// Whether it ended so that the snapshot may be to blame.
    fn is_snapshots_fault(&self, instance: &Instance, exit: Exit) -> bool {
        let is_init = instance.state.lock().phase == Phase::Init;
        zygotes::is_crash(exit) || is_init && exit.code == Some(RESTORE_LOST)
    }

    async fn clean(self, instance: &Arc<Instance>) {
        self.worker.kill();
        let mut output = self.output;
        if timeout(LAST_WORDS, &mut output).await.is_err() {
            output.abort();
        }
        instance.output.drain();
        self.api.abort();
        instance.state.lock().worker = None;
    }
}

/// Sets when the driver wakes by itself.
fn arm(instance: &Arc<Instance>) -> Option<Instant> {
    let mut state = instance.state.lock();
    let at = match (&state.current, state.phase) {
        (_, Phase::Ended) => None,
        (Some(current), _) => Some(current.deadline),
        (None, Phase::Init) => Some(instance.init_by()),
        (None, _) => state.next_by,
    };
    state.armed = at;
    at
}

enum InitEnd {
    Error { kind: String, payload: Bytes },
    Exit(Exit),
    Timeout,
}

impl InitEnd {
    /// What it means for a version whose snapshot was to be made.
    fn failed_snapshot(&self) -> Made {
        let (code, reason) = match self {
            InitEnd::Error { kind, payload } => {
                let fields: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
                let message = fields.get("errorMessage").and_then(|m| m.as_str()).unwrap_or_default();
                ("FunctionError", format!("{kind}: {message}"))
            }
            InitEnd::Exit(exit) if exit.oom => {
                ("FunctionError.InitResourceExhausted", "The init code used more memory than the function has.".into())
            }
            InitEnd::Exit(_) => {
                ("FunctionError.RuntimeExitError", "The runtime exited before its init was done.".into())
            }
            InitEnd::Timeout => ("FunctionError.InitTimeout", "The init code ran out of time.".into()),
        };
        Made::Failed { code, reason }
    }
}

/// The init has failed: inside a request that is its answer, otherwise the next waiting request tries again.
fn init_over(instance: &Arc<Instance>, end: InitEnd) {
    let status = match &end {
        InitEnd::Error { kind, .. } => Status::Error(kind.clone()),
        InitEnd::Exit(exit) => Status::Error(logline::exit_error_type(*exit).into()),
        InitEnd::Timeout => Status::Timeout,
    };
    if let Some(take) = instance.snapshot.making() {
        take.end(end.failed_snapshot());
    }
    let is_bound = instance.state.lock().current.is_some();
    let phase = if is_bound { "invoke" } else { "init" };
    instance.output.drain();
    let (now, took) = (instance.engine.clock.now(), instance.born.elapsed());
    let line = platform::init_report(&instance.function, now, took, phase, instance.initialization(), &status);
    instance.output.platform(line);
    instance.engine.init_failed(instance.id);
    if is_bound {
        let ending = match end {
            InitEnd::Error { kind, payload } => Ending::InitFailed { kind, payload },
            InitEnd::Exit(exit) => Ending::Exited(exit),
            InitEnd::Timeout => Ending::TimedOut,
        };
        instance.end_request(None, ending);
    }
}
