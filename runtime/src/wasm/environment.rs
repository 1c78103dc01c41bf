//! The life of one environment of a WebAssembly function: loaded, called, ended.

use super::program::{Done, Link};
use crate::driver::StartError;
use crate::engine::Engine;
use crate::instance::{Ending, Facts, Instance, Phase};
use crate::launch::{Exit, Worker};
use crate::logline::Failure;
use crate::{InvokeError, platform};
use async_trait::async_trait;
use squall_wasm_wire::{Ask, Outcome};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How long the program may be late with the end of a call: then it is ended itself.
const LATE: Duration = Duration::from_secs(5);

/// What the instance holds in place of a process.
struct Held {
    end: watch::Sender<bool>,
}

#[async_trait]
impl Worker for Held {
    async fn wait(&self) -> Exit {
        let _ = self.end.subscribe().wait_for(|ended| *ended).await;
        Exit::default()
    }

    fn kill(&self) {
        self.end.send_replace(true);
    }

    fn freeze(&self) -> io::Result<()> {
        // Between calls there is nothing that could run.
        Ok(())
    }

    fn thaw(&self) -> io::Result<()> {
        Ok(())
    }

    fn memory_peak_bytes(&self) -> u64 {
        0
    }

    fn oom_killed(&self) -> bool {
        false
    }
}

/// Tells the program that nobody will call any more.
struct Opened {
    link: Arc<Link>,
    id: u64,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.link.ask(&Ask::Close { environment: self.id });
    }
}

/// Runs the environment to its end.
pub async fn run(engine: &Arc<Engine>, instance: &Arc<Instance>) -> Result<(), StartError> {
    let opened = open(engine, instance).await?;
    let worker = Arc::new(Held { end: watch::Sender::new(false) });
    let is_killed = {
        let mut state = instance.state.lock();
        state.worker = Some(worker.clone());
        state.is_killed
    };
    // In its init it has no request, so this is never refused.
    if !is_killed && instance.asks_for_next().is_ok() {
        serve(instance, &opened.link, &worker).await;
    }
    instance.close();
    if let Some(call) = instance.take_undelivered() {
        engine.requeue(call);
    }
    instance.state.lock().worker = None;
    Ok(())
}

async fn serve(instance: &Arc<Instance>, link: &Arc<Link>, worker: &Held) {
    let mut end = worker.end.subscribe();
    loop {
        let is_over = *end.borrow() || link.is_gone() || instance.state.lock().phase == Phase::Ended;
        if is_over {
            return;
        }
        let Some((job, facts)) = instance.take_job().zip(instance.facts()) else {
            tokio::select! {
                () = instance.job_there.notified() => {}
                _ = end.changed() => {}
                () = link.gone() => {}
            }
            continue;
        };
        let deadline = facts.deadline;
        let left = deadline.saturating_duration_since(Instant::now());
        let mut calling = link.call(instance, left, variables(facts), job.payload);
        let done = tokio::select! {
            done = calling.wait() => done,
            () = sleep_until(deadline + LATE) => {
                tracing::error!("the program that runs WebAssembly is late, and is started anew");
                link.kill();
                Some((Outcome::TimedOut, 0))
            }
            _ = end.changed() => return,
        };
        finish(instance, done);
        if instance.asks_for_next().is_err() {
            return;
        }
    }
}

/// Variables of one call: what the Runtime API tells other runtimes in headers.
fn variables(facts: Facts) -> Vec<(String, String)> {
    let mut env = vec![
        ("_X_AMZN_TRACE_ID".to_owned(), facts.trace),
        ("LAMBDA_RUNTIME_AWS_REQUEST_ID".to_owned(), facts.request_id),
        ("LAMBDA_RUNTIME_DEADLINE_MS".to_owned(), facts.deadline_ms.to_string()),
        ("LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN".to_owned(), facts.arn),
    ];
    env.extend(facts.client_context.map(|context| ("LAMBDA_RUNTIME_CLIENT_CONTEXT".to_owned(), context)));
    env
}

fn finish(instance: &Instance, done: Done) {
    // Without an answer the program has ended, and the call with it: as a process of any runtime would have.
    let (outcome, peak) = done.unwrap_or((Outcome::Failed("the program has ended".into()), 0));
    instance.peak_is(peak);
    let ending = match outcome {
        Outcome::Answer(answer) => Ending::Response(answer),
        Outcome::Exit(_, answer) if is_error(&answer) => Ending::Error { payload: answer, is_handled: false },
        Outcome::Exit(status, _) => Ending::Exited(Exit { code: Some(status), ..Exit::default() }),
        Outcome::Trap(line, stack) => {
            instance.output.print(stack.as_bytes());
            let id = instance.facts().map(|f| f.request_id).unwrap_or_default();
            let message = format!("RequestId: {id} Error: {line}");
            Ending::Failed(Failure { kind: "Runtime.Trap".into(), message })
        }
        Outcome::OutOfMemory => Ending::Exited(Exit { signal: Some(9), oom: true, ..Exit::default() }),
        Outcome::TimedOut => Ending::TimedOut,
        Outcome::TooLarge => Ending::TooLarge,
        Outcome::Failed(text) => {
            tracing::error!(function = instance.function.function_arn, "a WebAssembly call: {text}");
            Ending::Exited(Exit::default())
        }
    };
    instance.end_request(None, ending);
}

/// Whether the answer is an error as runtimes report it.
fn is_error(answer: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Error {
        #[serde(rename = "errorMessage")]
        _message: String,
    }
    serde_json::from_slice::<Error>(answer).is_ok()
}

/// Loads the function's module, compiling it where that was not done or was done by another engine.
async fn open(engine: &Arc<Engine>, instance: &Arc<Instance>) -> Result<Opened, StartError> {
    let function = &instance.function;
    let found =
        engine.runtimes.find(&function.runtime).await.map_err(|e| StartError::Platform(InvokeError::Runtime(e)))?;
    let init = platform::Init {
        runtime: &found.log_name(),
        version: &found.log_version(),
        version_arn: &found.version_arn(&function.region),
        kind: instance.initialization(),
    };
    instance.output.platform(platform::init_start(function, engine.clock.now(), &init));
    let memory_bytes = u64::from(function.memory_mb) << 20;
    let mut is_second = false;
    loop {
        let link = engine.wasm.link(engine).await.map_err(StartError::Platform)?;
        let file = engine.wasm.module_of(engine, &function.code_dir).await?;
        match link.open(instance.id, file, memory_bytes, environment(instance)).await {
            Ok(()) => return Ok(Opened { link, id: instance.id }),
            Err(text) if is_second => return Err(StartError::Platform(InvokeError::Start(text))),
            Err(text) => {
                tracing::info!(function = function.function_arn, "a module is compiled anew: {text}");
                engine.wasm.forget(&function.code_dir);
                is_second = true;
            }
        }
    }
}

/// Variables of every call. No credentials: there is no way out by which they could be used.
fn environment(instance: &Instance) -> Vec<(String, String)> {
    let function = &instance.function;
    let mut env: Vec<(String, String)> = Vec::with_capacity(16 + function.env.len());
    let mut set = |name: &str, value: &str| env.push((name.to_owned(), value.to_owned()));
    set("AWS_LAMBDA_FUNCTION_NAME", &function.name);
    set("AWS_LAMBDA_FUNCTION_VERSION", &function.version);
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &function.memory_mb.to_string());
    set("AWS_LAMBDA_LOG_GROUP_NAME", &function.log_group);
    set("AWS_LAMBDA_LOG_STREAM_NAME", instance.output.stream());
    set("AWS_LAMBDA_INITIALIZATION_TYPE", instance.initialization());
    if let Some(levels) = &function.json_log {
        set("AWS_LAMBDA_LOG_FORMAT", "JSON");
        set("AWS_LAMBDA_LOG_LEVEL", &levels.application);
    }
    set("AWS_REGION", &function.region);
    set("AWS_DEFAULT_REGION", &function.region);
    set("AWS_EXECUTION_ENV", "AWS_Lambda_wasm");
    set("_HANDLER", &function.handler);
    set("LANG", "en_US.UTF-8");
    set("TZ", ":UTC");
    for (name, value) in &function.env {
        env.retain(|(n, _)| n != name);
        env.push((name.clone(), value.clone()));
    }
    env
}
