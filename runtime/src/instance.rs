//! One instance as its tasks share it: what it runs, what waits for it, how a request ends.
//!
//! Connections of the Runtime API, the driver and the pool's actions all meet here, under one short lock that is never held
//! across a wait. Whoever takes `current` out answers the request: that is what makes the answer happen exactly once.

use crate::engine::Engine;
use crate::extensions::{Extensions, SHUTDOWN_GRACE, Shutdown};
use crate::launch::{Exit, Worker};
use crate::logline::{self, Failure, Report, Status};
use crate::output::Output;
use crate::platform;
use crate::pool::{InstanceId, RequestId};
use crate::snapshots::Role;
use crate::{Function, InvokeError, Request};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use squall_meter::{Tally, Usage};
use squall_service::Outcome;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// How long a peak-memory reading is good for: reading it costs three system calls.
const PEAK_FRESH: Duration = Duration::from_millis(250);
/// Least time that a runtime has to ask for the next event after its answer.
const NEXT_GRACE: Duration = Duration::from_secs(2);

/// `/tmp` that costs nothing, in MB.
const TMP_MB_FREE: u32 = 512;

/// The answer of an invocation.
pub type Reply = Result<Outcome, InvokeError>;

/// An admitted request on its way to an instance.
pub struct Call {
    pub request: RequestId,
    pub input: Request,
    pub reply: oneshot::Sender<Reply>,
}

/// What `invocation/next` answers.
pub struct Job {
    pub head: Vec<u8>,
    pub payload: Bytes,
}

/// How a request ends.
pub enum Ending {
    Response(Bytes),
    Error { payload: Bytes, is_handled: bool },
    TooLarge,
    Exited(Exit),
    TimedOut,
    InitFailed { kind: String, payload: Bytes },
    Failed(Failure),
}

/// What a request tells of itself.
pub struct Facts {
    pub request_id: String,
    pub arn: String,
    pub trace: String,
    pub client_context: Option<String>,
    pub deadline: Instant,
    pub deadline_ms: i64,
}

/// Why `invocation/next` is refused.
pub enum NextError {
    /// The current request has no answer yet.
    Running,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Init,
    Waiting,
    Running,
    /// The request is answered, the next not yet asked for.
    Answered,
    Ended,
}

pub struct Current {
    request: RequestId,
    input: Request,
    reply: oneshot::Sender<Reply>,
    started: Instant,
    pub deadline: Instant,
    is_bound: bool,
    has_start_line: bool,
}

impl Current {
    fn id(&self) -> &str {
        &self.input.request_id
    }
}

pub struct State {
    pub phase: Phase,
    pub worker: Option<Arc<dyn Worker>>,
    pub is_killed: bool,
    pub current: Option<Current>,
    /// What a failed init has posted.
    pub init_error: Option<(String, Bytes)>,
    /// The init has failed, whoever still asks for the next event.
    pub is_failed: bool,
    pub connections: usize,
    /// When the driver wakes by itself; it must be told of anything earlier.
    pub armed: Option<Instant>,
    /// In phase `Answered`: until when the next event has to be asked for.
    pub next_by: Option<Instant>,
    /// The runtime has asked for the next event, and extensions may not be done yet.
    has_asked: bool,
    job: Option<Job>,
    init: Option<Duration>,
    peak: Option<(Instant, u64)>,
}

pub struct Instance {
    pub id: InstanceId,
    pub function: Arc<Function>,
    pub engine: Arc<Engine>,
    pub output: Output,
    /// Started for provisioned concurrency.
    pub is_provisioned: bool,
    pub extensions: Extensions,
    /// What it has to do with a snapshot.
    pub snapshot: Role,
    /// Counts what it uses.
    tally: Option<Tally>,
    pub born: Instant,
    pub state: Mutex<State>,
    /// A job lies ready.
    pub job_there: Notify,
    /// Something that the driver waits for has changed.
    pub changed: Notify,
}

impl Instance {
    pub fn new(
        id: InstanceId,
        function: Arc<Function>,
        engine: Arc<Engine>,
        output: Output,
        is_provisioned: bool,
    ) -> Self {
        let state = State {
            phase: Phase::Init,
            worker: None,
            is_killed: false,
            current: None,
            init_error: None,
            is_failed: false,
            connections: 0,
            armed: None,
            next_by: None,
            has_asked: false,
            job: None,
            init: None,
            peak: None,
        };
        Self {
            id,
            tally: engine.tally(&function),
            extensions: Extensions::of(&function),
            function,
            engine,
            output,
            is_provisioned,
            snapshot: Role::default(),
            born: Instant::now(),
            state: Mutex::new(state),
            job_there: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// Hands a request over: to a waiting instance, or (`is_bound`) to one that is about to start for it. Gives it back when
    /// the instance has ended.
    pub fn begin(&self, call: Call, is_bound: bool) -> Option<Call> {
        let mut state = self.state.lock();
        if state.phase == Phase::Ended || state.current.is_some() {
            return Some(call);
        }
        let now = Instant::now();
        let deadline = now + self.function.timeout;
        let Call { request, input, reply } = call;
        let payload = input.payload.clone();
        state.job = Some(Job { head: self.head(&input), payload });
        if !is_bound {
            state.phase = Phase::Running;
            self.output.begin(self.start_line(&input.request_id), input.log_tail);
            self.tell_extensions(&input);
        }
        state.current =
            Some(Current { request, input, reply, started: now, deadline, is_bound, has_start_line: !is_bound });
        let must_arm = state.armed.is_none_or(|armed| armed > deadline);
        drop(state);
        self.job_there.notify_one();
        if must_arm {
            self.changed.notify_one();
        }
        None
    }

    /// Tells extensions of a request. Under the state's lock: they are busy before the runtime has the event.
    fn tell_extensions(&self, input: &Request) {
        if self.extensions.is_empty() {
            return;
        }
        let now = self.engine.clock.now();
        let trace = input.trace_header.clone().unwrap_or_else(|| trace_id(&input.request_id, now.secs()));
        self.extensions.invoke(&json!({
            "eventType": "INVOKE",
            "deadlineMs": now.plus(self.function.timeout).0,
            "requestId": input.request_id,
            "invokedFunctionArn": input.invoked_arn.clone().unwrap_or_else(|| self.function.arn()),
            "tracing": {"type": "X-Amzn-Trace-Id", "value": trace},
        }));
    }

    fn start_line(&self, request_id: &str) -> Option<String> {
        platform::start(&self.function, self.engine.clock.now(), request_id)
    }

    /// How it came to life, in AWS's words.
    pub fn initialization(&self) -> &'static str {
        match () {
            () if self.snapshot.is_in_use() => "snap-start",
            () if self.is_provisioned => "provisioned-concurrency",
            () => "on-demand",
        }
    }

    fn head(&self, input: &Request) -> Vec<u8> {
        let now = self.engine.clock.now();
        let arn = input.invoked_arn.clone().unwrap_or_else(|| self.function.arn());
        let trace = input.trace_header.clone().unwrap_or_else(|| trace_id(&input.request_id, now.secs()));
        let deadline = now.plus(self.function.timeout).0;
        let mut head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: {}\r\n\
             Lambda-Runtime-Deadline-Ms: {deadline}\r\nLambda-Runtime-Invoked-Function-Arn: {arn}\r\n\
             Lambda-Runtime-Trace-Id: {}\r\n",
            input.request_id,
            one_line(&trace)
        );
        if let Some(context) = &input.client_context {
            head.push_str("Lambda-Runtime-Client-Context: ");
            head.push_str(&one_line(context));
            head.push_str("\r\n");
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", input.payload.len()));
        head.into_bytes()
    }

    /// The runtime asks for an event: its init is done, or its last request.
    pub fn asks_for_next(&self) -> Result<(), NextError> {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Init | Phase::Answered => state.has_asked = true,
            Phase::Running if state.job.is_none() => return Err(NextError::Running),
            // A runtime that lost its connection asks again, or is about to be ended: it may wait.
            Phase::Running | Phase::Waiting | Phase::Ended => return Ok(()),
        }
        drop(state);
        self.settle();
        Ok(())
    }

    /// Goes on once the runtime has asked for the next event and every extension is done; true if its job lies ready now.
    pub fn settle(&self) -> bool {
        let mut state = self.state.lock();
        if !state.has_asked || state.is_failed || !self.extensions.are_idle() {
            return false;
        }
        state.has_asked = false;
        match state.phase {
            Phase::Init => self.init_done(&mut state),
            Phase::Answered => {
                state.phase = Phase::Waiting;
                state.next_by = None;
            }
            Phase::Running | Phase::Waiting | Phase::Ended => return false,
        }
        let is_running = state.phase == Phase::Running;
        drop(state);
        self.engine.ready(self.id);
        is_running
    }

    fn init_done(&self, state: &mut State) {
        for (name, events) in self.extensions.close() {
            let now = self.engine.clock.now();
            self.output.platform(platform::extension(&self.function, now, &name, &events));
        }
        state.phase = Phase::Waiting;
        if self.snapshot.is_restored() {
            let (now, took) = (self.engine.clock.now(), self.born.elapsed());
            self.output.platform(platform::restore_report(&self.function, now, took));
        }
        let wanted = state.current.as_mut().map(|current| {
            current.has_start_line = true;
            (self.start_line(current.id()), current.input.log_tail)
        });
        if let Some((start, wants_tail)) = wanted {
            state.phase = Phase::Running;
            self.output.begin(start, wants_tail);
            if let Some(current) = &state.current {
                self.tell_extensions(&current.input);
            }
        } else {
            state.init = Some(self.born.elapsed());
        }
    }

    /// An extension has given up or ended: the init fails, or the request, and the instance ends.
    pub fn extension_failed(&self, kind: &str, payload: Bytes) {
        if self.state.lock().is_killed || self.init_error(kind.to_owned(), payload.clone()) {
            return;
        }
        self.end_request(None, Ending::InitFailed { kind: kind.to_owned(), payload });
        self.kill();
    }

    /// When the init must be over.
    pub fn init_by(&self) -> Instant {
        self.born + self.snapshot.init_time(&self.function, self.engine.options.init_timeout_s)
    }

    /// The job that lies ready.
    pub fn take_job(&self) -> Option<Job> {
        let mut state = self.state.lock();
        if state.phase != Phase::Running {
            // Of an instance whose extensions still start.
            return None;
        }
        let job = state.job.take()?;
        if let Some(current) = &mut state.current {
            // Delivered: nobody else will need it, and it may be large.
            current.input.payload = Bytes::new();
        }
        Some(job)
    }

    /// What the running request tells of itself.
    pub fn facts(&self) -> Option<Facts> {
        let state = self.state.lock();
        let current = state.current.as_ref()?;
        let (input, now) = (&current.input, self.engine.clock.now());
        Some(Facts {
            request_id: input.request_id.clone(),
            arn: input.invoked_arn.clone().unwrap_or_else(|| self.function.arn()),
            trace: input.trace_header.clone().unwrap_or_else(|| trace_id(&input.request_id, now.secs())),
            client_context: input.client_context.clone(),
            deadline: current.deadline,
            deadline_ms: now.plus(current.deadline.saturating_duration_since(Instant::now())).0,
        })
    }

    /// The most memory of the running request, where its worker does not know.
    pub fn peak_is(&self, bytes: u64) {
        self.state.lock().peak = Some((Instant::now(), bytes));
    }

    /// Takes back a request that no runtime has seen: another instance can have it.
    pub fn take_undelivered(&self) -> Option<Call> {
        let mut state = self.state.lock();
        if state.job.is_none() || state.current.as_ref().is_none_or(|c| c.is_bound) {
            return None;
        }
        state.job = None;
        let Current { request, input, reply, .. } = state.current.take()?;
        Some(Call { request, input, reply })
    }

    /// The request for which this instance was to start: it could not.
    pub fn fail_bound(&self) -> Option<Call> {
        let mut state = self.state.lock();
        state.phase = Phase::Ended;
        state.job = None;
        let Current { request, input, reply, .. } = state.current.take()?;
        Some(Call { request, input, reply })
    }

    /// Posts of `init/error`. False when the init is over.
    pub fn init_error(&self, kind: String, payload: Bytes) -> bool {
        let mut state = self.state.lock();
        if state.phase != Phase::Init {
            return false;
        }
        state.init_error = Some((kind, payload));
        state.is_failed = true;
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Ends the running request; `id` must be its id where it is given. False when it is not, or nothing runs.
    pub fn end_request(&self, id: Option<&str>, ending: Ending) -> bool {
        let mut state = self.state.lock();
        if id.is_some_and(|id| state.current.as_ref().is_none_or(|c| c.id() != id)) {
            return false;
        }
        let Some(current) = state.current.take() else { return false };
        state.job = None;
        if state.phase == Phase::Running {
            state.phase = Phase::Answered;
            let by = current.deadline.max(Instant::now() + NEXT_GRACE);
            state.next_by = Some(by);
        }
        let init = state.init.take();
        let peak = self.memory_peak(&mut state);
        drop(state);
        self.answer(current, ending, init, peak);
        true
    }

    fn answer(&self, current: Current, ending: Ending, init: Option<Duration>, peak: u64) {
        let function = &self.function;
        let mut duration = current.started.elapsed();
        if matches!(ending, Ending::TimedOut) {
            duration = function.timeout;
        }
        let said = self.tell(&current, ending);
        if !current.has_start_line {
            self.output.begin(self.start_line(current.id()), current.input.log_tail);
        }
        let is_restored = self.snapshot.is_restored();
        // Provisioned concurrency is paid for by time, its init included.
        let init = init.filter(|_| !current.is_bound && !self.is_provisioned);
        let report = Report {
            request_id: current.id(),
            duration,
            init: init.filter(|_| !is_restored),
            restore: init.filter(|_| is_restored),
            memory_mb: function.memory_mb,
            memory_peak_bytes: peak,
            status: said.status,
        };
        let lines = platform::end(function, self.engine.clock.now(), said.line, &report);
        let log_tail = self.output.finish(lines);
        let outcome = Outcome {
            status: 200,
            payload: said.payload,
            function_error: said.function_error,
            executed_version: function.version.clone(),
            log_tail,
        };
        self.count(report.billed_ms(), outcome.function_error.is_some());
        // Counted out first: a caller with reserved concurrency 1 may send its next request at once.
        self.engine.answered(current.request);
        let _ = current.reply.send(Ok(outcome));
    }

    /// Adds an invocation to what the function has used.
    fn count(&self, billed_ms: u64, is_error: bool) {
        let Some(tally) = &self.tally else { return };
        let mb_ms = billed_ms * u64::from(self.function.memory_mb);
        let (own, on_demand) = if self.is_provisioned { (mb_ms, 0) } else { (0, mb_ms) };
        tally.add(Usage {
            requests: 1,
            errors: u64::from(is_error),
            mb_ms: on_demand,
            provisioned_run_mb_ms: own,
            provisioned_mb_ms: 0,
            tmp_mb_ms: billed_ms * u64::from(self.function.tmp_mb.saturating_sub(TMP_MB_FREE)),
        });
    }

    fn tell(&self, current: &Current, ending: Ending) -> Told {
        let unhandled = |failure: Failure, status: Status, line: Option<String>| Told {
            payload: Bytes::from(failure.payload()),
            function_error: Some("Unhandled"),
            status,
            line,
        };
        match ending {
            Ending::Response(payload) => Told { payload, function_error: None, status: Status::Fine, line: None },
            Ending::Error { payload, is_handled } => {
                let function_error = Some(if is_handled { "Handled" } else { "Unhandled" });
                Told { payload, function_error, status: Status::Fine, line: None }
            }
            Ending::TooLarge => {
                let failure = logline::too_large();
                let status = Status::Error(failure.kind.clone());
                unhandled(failure, status, None)
            }
            Ending::Exited(exit) => {
                let failure = logline::exited(current.id(), exit);
                let line = format!("{}\n{}", failure.message, failure.kind);
                unhandled(failure, Status::Error(logline::exit_error_type(exit).into()), Some(line))
            }
            Ending::TimedOut => {
                let failure = logline::timed_out(current.id(), self.function.timeout);
                let line = logline::timeout_line(self.engine.clock.now(), current.id(), self.function.timeout);
                unhandled(failure, Status::Timeout, Some(line))
            }
            Ending::Failed(failure) => {
                let line = format!("{}\n{}", failure.message, failure.kind);
                let status = Status::Error(failure.kind.clone());
                unhandled(failure, status, Some(line))
            }
            Ending::InitFailed { kind, payload } => {
                Told { payload, function_error: Some("Unhandled"), status: Status::Error(kind), line: None }
            }
        }
    }

    fn memory_peak(&self, state: &mut State) -> u64 {
        let now = Instant::now();
        match (&state.peak, &state.worker) {
            (Some((at, bytes)), _) if now - *at < PEAK_FRESH => *bytes,
            (_, Some(worker)) => {
                let bytes = worker.memory_peak_bytes();
                state.peak = Some((now, bytes));
                bytes
            }
            _ => 0,
        }
    }

    /// Marks the instance as ended: it takes no request any more.
    pub fn close(&self) {
        self.state.lock().phase = Phase::Ended;
    }

    /// Ends the worker, after what its extensions want to do; the driver does the rest.
    pub fn kill(&self) {
        let mut state = self.state.lock();
        state.phase = Phase::Ended;
        state.is_killed = true;
        let worker = state.worker.clone();
        drop(state);
        let deadline = self.engine.clock.now().plus(SHUTDOWN_GRACE).0;
        match (worker, self.extensions.shutdown(deadline)) {
            (Some(worker), Shutdown::Telling) if worker.thaw().is_ok() => {
                // Ends by itself before, or not.
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(SHUTDOWN_GRACE, worker.wait()).await;
                    worker.kill();
                });
            }
            (_, Shutdown::Told) => {}
            (Some(worker), _) => worker.kill(),
            (None, _) => {}
        }
        self.changed.notify_one();
    }
}

struct Told {
    payload: Bytes,
    function_error: Option<&'static str>,
    status: Status,
    /// A line of the platform before END.
    line: Option<String>,
}

/// Counts a connection as long as it lives.
pub struct Connected(Arc<Instance>);

impl Connected {
    pub fn new(instance: &Arc<Instance>, most: usize) -> Option<Self> {
        let mut state = instance.state.lock();
        if state.connections >= most {
            return None;
        }
        state.connections += 1;
        drop(state);
        Some(Self(instance.clone()))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.state.lock().connections -= 1;
        self.0.changed.notify_one();
    }
}

/// A trace header for a request that came without: made of the request's own id, which is random already.
fn trace_id(request_id: &str, secs: i64) -> String {
    let hex: String = request_id.chars().filter(char::is_ascii_hexdigit).collect();
    let hex = format!("{hex:0<40}");
    let (root, parent) = (hex.get(..24).unwrap_or_default(), hex.get(16..32).unwrap_or_default());
    format!("Root=1-{secs:08x}-{root};Parent={parent};Sampled=0")
}

fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}
