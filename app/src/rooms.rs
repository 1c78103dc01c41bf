//! Puts the cloud together: a line per room.

use crate::config::Settings;
use crate::engine::{self, Engine};
use crate::internal::Pages;
use crate::{cost, moving};
use anyhow::{Context, Result};
use serde_json::json;
use squall_apigateway::ApiGateway;
use squall_dynamodb::DynamoDb;
use squall_gateway::{Gateway, Options, Parts};
use squall_iam::Iam;
use squall_lambda::Lambda;
use squall_logs::Logs;
use squall_meter::Meter;
use squall_runtime::{EndpointServer, Launcher, ProcessLauncher, Runtime, SdkState, Source};
use squall_sandbox::Sandbox;
use squall_service::{Deps, Identity, Invoke, LogSink, Room};
use squall_triggers::Triggers;
use squall_types::{SystemClock, SystemRandom};
use std::any::Any;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;

/// First argument that turns this program into the sandbox's spawner.
pub const SPAWNER_ARG: &str = "__spawner";

/// How long running functions may take to end when the cloud stops.
const DRAIN: Duration = Duration::from_secs(10);

/// A cloud that is ready to serve.
pub struct Cloud {
    /// The listener's logic.
    pub gateway: Gateway,
    /// Root access key id and secret.
    pub root: (String, String),
    /// The function runtime.
    pub runtime: Runtime,
    sandbox: Sandbox,
    logs: Arc<Logs>,
    triggers: Triggers,
    engine: Engine,
    meter: Meter,
}

impl Cloud {
    /// Stops functions, writes what the logs and the meter still hold, closes the sandbox, gives the state free.
    pub async fn shutdown(self) {
        // Batches in flight end; what does not by then is handed over again by the next start.
        let _ = tokio::time::timeout(DRAIN, self.triggers.shutdown()).await;
        self.runtime.shutdown(DRAIN).await;
        if let Err(e) = self.meter.flush().await {
            tracing::error!(error = %e, "write what functions used");
        }
        self.logs.shutdown().await;
        self.sandbox.shutdown().await;
        self.engine.close().await;
    }
}

/// Builds everything; `address` is where the gateway will listen.
///
/// # Errors
/// The data directory is in use or broken, or the host cannot give the isolation level.
pub async fn build(settings: &Settings, address: SocketAddr) -> Result<Cloud> {
    let lock = engine::take(&settings.data)?;
    // The spawner starts while the state is opened: neither waits for the other.
    let sandbox = tokio::spawn(Sandbox::start(sandbox_options(settings)?));
    let engine = Engine::open(settings, lock).await?;
    if let Some(file) = &settings.import {
        let filled = moving::command::take_in(&engine, settings, file).await?;
        tracing::info!(from = filled.head.engine, "imported:\n{}", filled.target.table());
    }
    engine.adopt(settings).await?;
    let deps = Deps {
        state: engine.state.clone(),
        objects: Arc::new(engine.objects.clone()),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        account: settings.account.clone(),
        region: settings.regions[0].clone(),
    };
    let iam = Iam::open(deps.clone()).await?;
    let logs = Logs::open(deps.clone(), &settings.data.join("logs")).await?;
    let sandbox = sandbox.await.context("start the sandbox")?.context(
        "isolate functions (see `squall doctor`; a weaker level must be chosen by name: --isolation namespaces or none)",
    )?;
    let endpoint = Arc::new(Endpoint::default());
    let runtime = Runtime::start(
        runtime_options(settings),
        launcher(settings, &sandbox),
        iam.clone() as Arc<dyn Identity>,
        logs.clone() as Arc<dyn LogSink>,
        endpoint.clone(),
        deps.clock.clone(),
        deps.random.clone(),
    )
    .context("start the function runtime")?;
    let meter = Meter::start(deps.state.clone(), deps.clock.clone(), deps.random.clone(), settings.meter.clone());
    runtime.meter(meter.clone());
    let identity: Arc<dyn Identity> = iam.clone();
    let lambda =
        Lambda::open(deps.clone(), runtime.clone(), identity.clone(), lambda_options(settings, address)).await?;
    let invoke: Arc<dyn Invoke> = lambda.clone();
    let apis =
        ApiGateway::open(deps.clone(), invoke, identity.clone(), settings.domain.clone(), address.port()).await?;
    let dynamodb = DynamoDb::open(deps.clone()).await?;

    let mut rooms: Vec<Arc<dyn Room>> = vec![lambda.clone(), logs.clone()];
    rooms.extend(dynamodb.rooms());
    rooms.extend(iam.rooms());
    rooms.extend(apis.rooms());
    let pages = Arc::new(Pages::new(deps.clone(), settings.data.clone(), engine.backup.clone()));
    pages.export(engine.source(settings).await?);
    pages.cost(cost::Page { meter: meter.clone(), prices: settings.prices.clone(), clock: deps.clock.clone() });
    health(&pages, settings, &sandbox, &runtime, &logs);
    let gateway = Gateway::new(
        Options {
            account: settings.account.clone(),
            regions: settings.regions.clone(),
            domain: settings.domain.clone(),
            dev: settings.dev,
        },
        Parts {
            rooms,
            execute_api: apis,
            lambda_url: lambda.clone(),
            identity,
            internal: pages,
            clock: deps.clock.clone(),
            random: deps.random.clone(),
        },
    );
    endpoint.connect(gateway.clone());
    // Now functions that are called find the cloud's endpoint.
    let triggers = triggers(&deps, &lambda, &dynamodb).await;
    let root = iam.root_credentials();
    Ok(Cloud { gateway, root, runtime, sandbox, logs, triggers, engine, meter })
}

/// How functions are isolated.
///
/// # Errors
/// This program's own file cannot be found.
pub fn sandbox_options(settings: &Settings) -> Result<squall_sandbox::Options> {
    Ok(squall_sandbox::Options {
        level: settings.isolation,
        run_dir: settings.data.join("run"),
        pool: 8,
        egress: settings.runtime.egress.reach(),
        spawner_exe: std::env::current_exe().context("find this program's file")?,
        spawner_args: vec![SPAWNER_ARG.into()],
    })
}

fn health(pages: &Pages, settings: &Settings, sandbox: &Sandbox, runtime: &Runtime, logs: &Arc<Logs>) {
    let (level, note) = (settings.isolation, sandbox.note().to_owned());
    pages.probe("isolation", Box::new(move || json!(level)));
    pages.probe("isolation_note", Box::new(move || json!(note)));
    let pools = sandbox.clone();
    pages.probe("sandbox", Box::new(move || json!(pools.stats())));
    let functions = runtime.clone();
    pages.probe("functions", Box::new(move || json!(functions.stats())));
    let host = runtime.clone();
    let sdk = |state: &SdkState| match state {
        SdkState::Ready(_) => json!("ready"),
        SdkState::NotNeeded => json!("not needed"),
        SdkState::Failed(why) => json!({ "failed": why }),
    };
    pages.probe(
        "runtimes",
        Box::new(move || {
            let found: Vec<_> =
                host.runtimes_so_far().iter().flatten().map(|f| json!({ "id": f.id, "version": f.version })).collect();
            let sdks: serde_json::Map<_, _> =
                host.sdks().iter().map(|(name, state)| (name.clone(), sdk(state))).collect();
            json!({ "found": found, "sdk": sdks })
        }),
    );
    let logs = logs.clone();
    pages.probe("log_lines_dropped", Box::new(move || json!(logs.dropped())));
}

/// What runs event source mappings: an adapter per kind of source. The mappings that are there begin to run.
async fn triggers(deps: &Deps, lambda: &Arc<Lambda>, dynamodb: &Arc<DynamoDb>) -> Triggers {
    let invoke: Arc<dyn Invoke> = lambda.clone();
    let adapters = vec![squall_trigger_dynamodb::adapter(dynamodb.clone())];
    let triggers = Triggers::start(deps.clone(), Arc::downgrade(&invoke), adapters, Vec::new());
    lambda.connect_sources(Arc::new(triggers.clone())).await;
    triggers
}

/// Serves the platform's endpoint inside sandboxes; the gateway exists only after the rooms, so it is connected late.
#[derive(Default)]
struct Endpoint(OnceLock<Gateway>);

impl Endpoint {
    fn connect(&self, gateway: Gateway) {
        assert!(self.0.set(gateway).is_ok(), "the gateway is connected once");
    }
}

impl EndpointServer for Endpoint {
    fn serve(&self, listener: std::net::TcpListener, _source: Source) -> Box<dyn Any + Send + Sync> {
        let (Some(gateway), Ok(listener)) = (self.0.get().cloned(), TcpListener::from_std(listener)) else {
            // Before the gateway is there nothing invokes functions; a listener that tokio refuses is a lost worker.
            return Box::new(());
        };
        Box::new(Serving(tokio::spawn(async move { gateway.serve(listener).await }).abort_handle()))
    }
}

/// Ends serving when the worker is gone.
struct Serving(tokio::task::AbortHandle);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Without isolation functions are plain processes of this user; everything else goes through the sandbox.
fn launcher(settings: &Settings, sandbox: &Sandbox) -> Arc<dyn Launcher> {
    match settings.isolation {
        squall_sandbox::Level::None => Arc::new(ProcessLauncher),
        _ => Arc::new(sandbox.clone()),
    }
}

/// How functions run, with what the process knows of its host.
#[must_use]
pub fn runtime_options(settings: &Settings) -> squall_runtime::Options {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    let managers = [
        "PYENV_ROOT",
        "NVM_DIR",
        "FNM_DIR",
        "VOLTA_HOME",
        "ASDF_DATA_DIR",
        "MISE_DATA_DIR",
        "UV_PYTHON_INSTALL_DIR",
        "RBENV_ROOT",
        "JAVA_HOME",
    ];
    squall_runtime::Options {
        data_dir: settings.data.clone(),
        region: settings.regions.first().map(ToString::to_string).unwrap_or_default(),
        host: squall_runtime::Host {
            path: var("PATH").unwrap_or_default(),
            home: var("HOME").map(Into::into),
            managers: managers.iter().filter_map(|m| Some(((*m).to_owned(), var(m)?.into()))).collect(),
            ..squall_runtime::Host::default()
        },
        wasm: wasm_program(),
        ..settings.runtime.clone()
    }
}

/// What runs WebAssembly functions: this program, started in a sandbox.
#[cfg(feature = "wasm")]
fn wasm_program() -> Option<squall_runtime::WasmProgram> {
    let exe = std::env::current_exe().ok()?;
    Some(squall_runtime::WasmProgram { exe, version: squall_wasm::ENGINE_VERSION.into() })
}

/// This build has none.
#[cfg(not(feature = "wasm"))]
fn wasm_program() -> Option<squall_runtime::WasmProgram> {
    None
}

fn lambda_options(settings: &Settings, address: SocketAddr) -> squall_lambda::Options {
    squall_lambda::Options {
        code_dir: settings.data.join("cache/code"),
        domain: settings.domain.clone(),
        port: address.port(),
        concurrency: settings.runtime.concurrency,
    }
}
