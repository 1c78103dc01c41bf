//! The driver around the pool: carries out its decisions and reports back what happened.

use crate::client::Clients;
use crate::driver;
use crate::egress::Relay;
use crate::extensions::SHUTDOWN_GRACE;
use crate::instance::{Call, Instance, Reply};
use crate::launch::{EndpointServer, Launcher};
use crate::logline;
use crate::output::{Output, Target};
use crate::pool::{Action, Counts, InstanceId, Limits, Pool, RequestId};
use crate::runtimes::{Family, Found, Registry};
use crate::sdk::{Sdk, SdkState};
use crate::snapshots::Snapshots;
use crate::standby::Standby;
use crate::wasm::Wasm;
use crate::zygotes::{ZygoteState, Zygotes};
use crate::{Function, InvokeError, Options, Request};
use parking_lot::Mutex;
use squall_meter::Meter;
use squall_service::{Identity, LogSink, Outcome, SessionCredentials};
use squall_types::{Clock, Random};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

/// Counts of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Instances that live, in whatever phase.
    pub instances: usize,
    /// Of these, the ones that load their code.
    pub starting: usize,
    /// Of these, the ones that wait for a request.
    pub idle: usize,
    /// Requests that wait for an instance.
    pub queued: usize,
    /// Requests admitted and not answered.
    pub in_flight: usize,
}

pub struct Engine {
    pub options: Options,
    pub launcher: Arc<dyn Launcher>,
    pub endpoint: Arc<dyn EndpointServer>,
    pub clock: Arc<dyn Clock>,
    pub runtimes: Registry,
    pub sdk: Sdk,
    pub clients: Clients,
    pub zygotes: Zygotes,
    pub wasm: Wasm,
    pub snapshots: Snapshots,
    /// Sends on what functions send outside; `None`: nothing is.
    pub relay: Option<Relay>,
    pub standby: Mutex<Standby>,
    identity: Arc<dyn Identity>,
    logs: Arc<dyn LogSink>,
    random: Arc<dyn Random>,
    born: Instant,
    is_stopping: AtomicBool,
    pub meter: OnceLock<Meter>,
    core: Mutex<Core>,
}

pub struct Core {
    pub pool: Pool,
    instances: HashMap<InstanceId, Arc<Instance>>,
    /// Requests that wait for an instance.
    calls: HashMap<RequestId, Call>,
}

impl Engine {
    pub fn now(&self) -> Duration {
        self.born.elapsed()
    }

    /// Tells the pool something and carries out what it decides.
    pub fn tell<T>(self: &Arc<Self>, event: impl FnOnce(&mut Core, Duration) -> T) -> T {
        let now = self.now();
        let mut core = self.core.lock();
        let answer = event(&mut core, now);
        let actions = core.pool.take_actions();
        drop(core);
        for action in actions {
            self.act(action);
        }
        answer
    }

    fn act(self: &Arc<Self>, action: Action) {
        match action {
            Action::Assign { request, instance, thaw } => self.assign(request, instance, thaw),
            Action::Start { instance, function, bound, is_provisioned } => {
                self.start(instance, function, bound, is_provisioned);
            }
            Action::Kill { instance } => {
                let found = self.core.lock().instances.get(&instance).cloned();
                if let Some(instance) = found {
                    instance.kill();
                }
            }
            // Carried out under the lock, in `tick`.
            Action::Freeze { .. } => {}
            Action::Look { after } => {
                let engine = Arc::downgrade(self);
                tokio::spawn(async move {
                    sleep(after).await;
                    if let Some(engine) = engine.upgrade() {
                        engine.tell(|core, now| core.pool.look(now));
                    }
                });
            }
        }
    }

    fn assign(self: &Arc<Self>, request: RequestId, instance: InstanceId, thaw: bool) {
        let (call, instance) = {
            let mut core = self.core.lock();
            (core.calls.remove(&request), core.instances.get(&instance).cloned())
        };
        let Some(call) = call else { return };
        let Some(instance) = instance else { return self.requeue(call) };
        if thaw {
            let worker = instance.state.lock().worker.clone();
            if let Some(Err(e)) = worker.map(|w| w.thaw()) {
                tracing::warn!(instance = instance.id, "thaw an instance: {e}");
                instance.kill();
            }
        }
        if let Some(call) = instance.begin(call, false) {
            self.requeue(call);
        }
    }

    /// Where a new instance of the function prints: a stream of its own.
    pub fn output(&self, function: &Function) -> Output {
        let mut hex = [0u8; 16];
        self.random.fill(&mut hex);
        let hex: String = hex.iter().map(|b| format!("{b:02x}")).collect();
        Output::new(Target {
            sink: self.logs.clone(),
            clock: self.clock.clone(),
            region: function.region.clone(),
            group: function.log_group.clone(),
            stream: logline::stream_name(self.clock.now(), &function.version, &hex),
        })
    }

    fn start(
        self: &Arc<Self>,
        id: InstanceId,
        function: Arc<Function>,
        bound: Option<RequestId>,
        is_provisioned: bool,
    ) {
        let output = self.output(&function);
        let instance = Arc::new(Instance::new(id, function, self.clone(), output, is_provisioned));
        let call = {
            let mut core = self.core.lock();
            core.instances.insert(id, instance.clone());
            bound.and_then(|request| core.calls.remove(&request))
        };
        if let Some(call) = call {
            // A new instance takes anything.
            let _ = instance.begin(call, true);
        }
        tokio::spawn(driver::run(self.clone(), instance));
    }

    /// Puts a request back to the head of its queue: its instance had ended before it began.
    pub fn requeue(self: &Arc<Self>, call: Call) {
        self.tell(|core, now| {
            let request = call.request;
            if call.reply.is_closed() {
                // Its caller has gone, and with it what bounds the wait.
                return core.pool.answered(request, now);
            }
            core.calls.insert(request, call);
            core.pool.requeue(request, now);
        });
    }

    /// See [`Pool::ready`].
    pub fn ready(self: &Arc<Self>, instance: InstanceId) {
        self.tell(|core, now| core.pool.ready(instance, now));
    }

    /// See [`Pool::answered`].
    pub fn answered(self: &Arc<Self>, request: RequestId) {
        self.tell(|core, now| core.pool.answered(request, now));
    }

    /// See [`Pool::init_failed`].
    pub fn init_failed(self: &Arc<Self>, instance: InstanceId) {
        self.tell(|core, now| core.pool.init_failed(instance, now));
    }

    /// See [`Pool::gone`].
    pub fn gone(self: &Arc<Self>, instance: InstanceId) {
        self.tell(|core, now| {
            core.instances.remove(&instance);
            core.pool.gone(instance, now);
        });
    }

    /// The instance could not be started: the request for which it was answers with the reason.
    pub fn start_failed(self: &Arc<Self>, instance: &Arc<Instance>, error: InvokeError) {
        let bound = instance.fail_bound();
        let call = self.tell(|core, now| {
            core.instances.remove(&instance.id);
            if let Some(call) = bound {
                core.pool.answered(call.request, now);
                core.pool.gone(instance.id, now);
                return Some(call);
            }
            core.pool.start_failed(instance.id, now).and_then(|request| core.calls.remove(&request))
        });
        if let Some(call) = call {
            let _ = call.reply.send(Err(error));
        }
    }

    fn cancel(self: &Arc<Self>, request: RequestId) -> bool {
        self.tell(|core, now| {
            let was_waiting = core.pool.cancel(request, now);
            if was_waiting {
                core.calls.remove(&request);
            }
            was_waiting
        })
    }

    fn tick(self: &Arc<Self>) {
        let now = self.now();
        let mut core = self.core.lock();
        core.pool.tick(now);
        let actions = core.pool.take_actions();
        for action in &actions {
            let Action::Freeze { instance } = action else { continue };
            // Under the lock: a request that is assigned a moment later must find it frozen, or not at all.
            let worker = core.instances.get(instance).and_then(|i| i.state.lock().worker.clone());
            if let Some(Err(e)) = worker.map(|w| w.freeze()) {
                tracing::debug!(instance, "freeze an instance: {e}");
            }
        }
        drop(core);
        for action in actions {
            self.act(action);
        }
    }

    /// A random identifier in the form of a UUID (version 4).
    pub fn uuid(&self) -> String {
        let mut bytes = [0u8; 16];
        self.random.fill(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default().to_owned();
        [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
    }

    /// Temporary credentials for an instance.
    pub async fn session(&self, function: &Function, slack: Duration) -> Result<SessionCredentials, InvokeError> {
        let valid = Duration::from_secs(self.options.age_max_s) + slack;
        let session = self.identity.session(&function.role_arn, &function.name, valid).await;
        session.ok_or_else(|| InvokeError::Start(format!("the role {} gives no credentials", function.role_arn)))
    }
}

/// Takes a request back when its caller has gone while it still waits.
struct Waiting<'a> {
    engine: &'a Arc<Engine>,
    request: RequestId,
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.engine.cancel(self.request);
        }
    }
}

/// The invocation core. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    engine: Arc<Engine>,
}

impl Runtime {
    /// Starts the core: writes the runtime clients, begins to look for interpreters. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The data directory cannot be written, or a setting cannot be had.
    pub fn start(
        options: Options,
        launcher: Arc<dyn Launcher>,
        identity: Arc<dyn Identity>,
        logs: Arc<dyn LogSink>,
        endpoint: Arc<dyn EndpointServer>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> io::Result<Self> {
        options.check(launcher.is_on_host_paths()).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let clients = Clients::install(&options.data_dir)?;
        let limits = Limits {
            concurrency: options.concurrency,
            instances_max: options.instances_max,
            memory_mb_max: options.instances_memory_mb_max,
            starting_max: options.starting_max.max(1),
            burst: options.burst.max(1),
            keep_alive: options.keep_alive(),
            age_max: Duration::from_secs(options.age_max_s.min(36_000)),
            freeze_after: Duration::from_millis(options.freeze_after_ms),
            busy_enough: std::thread::available_parallelism().map_or(8, |n| n.get() as u32 * 4).max(8),
        };
        let engine = Arc::new(Engine {
            runtimes: Registry::start(&options, clients.python.clone()),
            sdk: Sdk::new(&options),
            clients,
            zygotes: Zygotes::default(),
            wasm: Wasm::new(&options),
            snapshots: Snapshots::new(&options.data_dir)?,
            relay: options.egress.egress().map(|e| Relay::start(e, options.host.resolv_conf.clone())).transpose()?,
            standby: Mutex::new(Standby::new(options.standby, options.standby_max)),
            launcher,
            endpoint,
            clock,
            identity,
            logs,
            random,
            born: Instant::now(),
            is_stopping: AtomicBool::new(false),
            meter: OnceLock::new(),
            core: Mutex::new(Core { pool: Pool::new(limits), instances: HashMap::new(), calls: HashMap::new() }),
            options,
        });
        tokio::spawn(keep_house(Arc::downgrade(&engine)));
        Ok(Self { engine })
    }

    /// Runs one request. Once an instance has taken it, it runs to its end even if this future is dropped; before that,
    /// dropping takes it back.
    ///
    /// # Errors
    /// The request was not run: see [`InvokeError`]. A function that fails is an [`Outcome`] with `function_error`.
    pub async fn invoke(&self, function: Arc<Function>, request: Request) -> Result<Outcome, InvokeError> {
        let engine = &self.engine;
        if engine.is_stopping.load(Ordering::Relaxed) {
            return Err(InvokeError::Stopping);
        }
        let patience = function.timeout + Duration::from_secs(engine.options.init_timeout_s);
        let (reply, mut answer) = oneshot::channel::<Reply>();
        let request = engine.tell(|core, now| {
            let id = core.pool.request(&function, now).map_err(InvokeError::Throttled)?;
            core.calls.insert(id, Call { request: id, input: request, reply });
            Ok(id)
        })?;
        let mut waiting = Waiting { engine, request, is_over: false };
        // More than one round only where the request runs when its patience is over: then the function's timeout bounds it.
        loop {
            if let Ok(reply) = timeout(patience, &mut answer).await {
                waiting.is_over = true;
                return reply.map_err(|_| InvokeError::Start("the instance was lost".into()))?;
            }
            if engine.cancel(request) {
                waiting.is_over = true;
                return Err(InvokeError::NoCapacity);
            }
        }
    }

    /// Lets instances drain, dropping no request: with `keep_revision` those of `$LATEST` with a lower revision, after a change
    /// of code or configuration; with `None` all of the function, when it is deleted.
    pub fn retire(&self, function_arn: &str, keep_revision: Option<u64>) {
        self.engine.tell(|core, _| core.pool.retire(function_arn, keep_revision));
    }

    /// Tells the reserved concurrency of a function that may not have been invoked yet: the rest of the account shares what is
    /// left.
    pub fn reserve(&self, function_arn: &str, reserved: Option<u32>) {
        self.engine.tell(|core, _| core.pool.reserve(function_arn, reserved));
    }

    /// Makes ready what functions of this runtime and size need beyond their package: waits for the SDK, installing it on first
    /// need, and begins to start the zygote.
    ///
    /// # Errors
    /// The host lacks the runtime; the text says how to add it.
    pub async fn prepare(&self, runtime: &str, memory_mb: u32) -> Result<SdkState, String> {
        let found = self.engine.runtimes.find(runtime).await?;
        let state = self.engine.sdk.prepare(&found, &self.engine.runtimes).await;
        self.engine.start_zygote(&found, memory_mb);
        if found.family == Family::Wasm {
            // The program that runs it is started now, and is there when it is called.
            self.engine.wasm.link(&self.engine).await.map_err(|e| e.to_string())?;
            return Ok(state);
        }
        self.engine.standby.lock().deployed(&found.id, self.engine.now());
        self.engine.restock();
        Ok(state)
    }

    /// How it stands with the zygotes that were asked for, by runtime, for health and doctor.
    #[must_use]
    pub fn zygotes(&self) -> Vec<(String, ZygoteState)> {
        self.engine.zygotes.states()
    }

    /// The interpreter that serves a runtime identifier.
    ///
    /// # Errors
    /// The host lacks it; the text says how to add it.
    pub async fn find(&self, runtime: &str) -> Result<Arc<Found>, String> {
        self.engine.runtimes.find(runtime).await
    }

    /// Every runtime found, once the search is over.
    pub async fn runtimes(&self) -> Vec<Arc<Found>> {
        self.engine.runtimes.all().await
    }

    /// The same without waiting: `None` while the search still runs. For health.
    #[must_use]
    pub fn runtimes_so_far(&self) -> Option<Vec<Arc<Found>>> {
        self.engine.runtimes.so_far()
    }

    /// What is known of the SDKs so far, by family, for health and doctor.
    #[must_use]
    pub fn sdks(&self) -> Vec<(String, SdkState)> {
        self.engine.sdk.states()
    }

    /// Counts of the moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Counts { instances, starting, idle, queued, in_flight } = self.engine.core.lock().pool.counts();
        Stats { instances, starting, idle, queued, in_flight }
    }

    /// Takes no new requests, lets running ones finish for at most `grace`, then ends every instance.
    pub async fn shutdown(&self, grace: Duration) {
        let engine = &self.engine;
        engine.is_stopping.store(true, Ordering::Relaxed);
        engine.tell(|core, _| core.pool.stop());
        let last = Instant::now() + grace;
        while self.stats().in_flight > 0 && Instant::now() < last {
            sleep(Duration::from_millis(10)).await;
        }
        let rest: Vec<_> = engine.core.lock().instances.values().cloned().collect();
        for instance in rest {
            instance.kill();
        }
        engine.zygotes.end();
        engine.wasm.end().await;
        engine.snapshots.end();
        // Extensions have their time, and a little is left to take the instances down.
        let last = Instant::now() + SHUTDOWN_GRACE + Duration::from_millis(500);
        while self.stats().instances > 0 && Instant::now() < last {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Runtime {
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }
}

async fn keep_house(engine: Weak<Engine>) {
    let mut looked = Instant::now();
    loop {
        let pause = {
            let Some(engine) = engine.upgrade() else { return };
            engine.tick();
            engine.restock();
            looked = engine.look_around(looked);
            let is_empty = engine.core.lock().instances.is_empty();
            let freeze = engine.options.freeze_after_ms;
            if is_empty || freeze == 0 { 1000 } else { freeze.clamp(20, 1000) }
        };
        sleep(Duration::from_millis(pause)).await;
    }
}
