//! Puts the cloud together: a line per room.

use crate::config::{Settings, StateKind};
use crate::internal::Pages;
use crate::{backup, cost};
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use serde_json::json;
use squall_apigateway::ApiGateway;
use squall_dynamodb::DynamoDb;
use squall_engine_files::{FileObjects, MemoryObjects};
use squall_engine_memory::Memory;
use squall_engine_postgres::Postgres;
use squall_engine_sqlite::Sqlite;
use squall_gateway::{Gateway, Options, Parts};
use squall_iam::Iam;
use squall_lambda::Lambda;
use squall_logs::Logs;
use squall_meter::Meter;
use squall_runtime::{EndpointServer, Launcher, ProcessLauncher, Runtime, SdkState, Source};
use squall_sandbox::Sandbox;
use squall_service::{Deps, Identity, Invoke, LogSink, Room};
use squall_store::State;
use squall_store::objects::Objects;
use squall_triggers::Triggers;
use squall_types::{Random as _, SystemClock, SystemRandom};
use std::any::Any;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
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
    postgres: Option<Postgres>,
    meter: Meter,
    _lock: std::fs::File,
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
        if let Some(postgres) = self.postgres {
            postgres.close().await;
        }
    }
}

struct Engine {
    state: Arc<dyn State>,
    objects: Arc<dyn Objects>,
    backup: Option<Arc<dyn backup::Source>>,
    postgres: Option<Postgres>,
}

struct SqliteSource(Arc<Sqlite>);

#[async_trait]
impl backup::Source for SqliteSource {
    async fn cut(&self, to: &Path) -> Result<()> {
        Ok(self.0.backup(to).await?)
    }
}

async fn open(settings: &Settings) -> Result<Engine> {
    match &settings.state {
        StateKind::Memory => Ok(Engine {
            state: Arc::new(Memory::new(Arc::new(SystemClock))),
            objects: Arc::new(MemoryObjects::default()),
            backup: None,
            postgres: None,
        }),
        StateKind::Postgres(options) => {
            let options = options.as_ref().clone().node(node_name(&settings.data)?);
            let engine = Postgres::open(options).await?;
            let (state, objects) = (Arc::new(engine.clone()), objects(settings).await?);
            Ok(Engine { state, objects, backup: None, postgres: Some(engine) })
        }
        StateKind::Sqlite => {
            let engine = Arc::new(Sqlite::open(&settings.data, Arc::new(SystemClock))?);
            let objects = objects(settings).await?;
            // A backup holds what lies in the data directory: without the objects it would not be whole.
            let backup = settings.objects.is_none();
            let backup = backup.then(|| Arc::new(SqliteSource(engine.clone())) as Arc<dyn backup::Source>);
            Ok(Engine { state: engine, objects, backup, postgres: None })
        }
    }
}

/// Where objects lie; a bucket is written to, read and listed before anything relies on it.
async fn objects(settings: &Settings) -> Result<Arc<dyn Objects>> {
    let Some(options) = &settings.objects else { return Ok(file_objects(settings)?) };
    let credentials = squall_engine_objects::Credentials::find(options, |name| std::env::var(name).ok())?;
    let store = squall_engine_objects::S3Objects::new(options, &credentials)?;
    store.check().await?;
    Ok(Arc::new(store))
}

fn file_objects(settings: &Settings) -> Result<Arc<FileObjects>> {
    let folder = settings.data.join("objects");
    Ok(Arc::new(FileObjects::open(&folder).with_context(|| format!("open {}", folder.display()))?))
}

/// The name under which a shared database knows this data directory's server, made once: after a crash the next server
/// of the same directory takes over at once.
fn node_name(data: &Path) -> Result<String> {
    let path = data.join("node");
    match std::fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(40).collect();
    let mut bytes = [0; 6];
    SystemRandom.fill(&mut bytes);
    let unique: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{host}-{unique}");
    std::fs::write(&path, &name).with_context(|| format!("write {}", path.display()))?;
    Ok(name)
}

/// Builds everything; `address` is where the gateway will listen.
///
/// # Errors
/// The data directory is in use or broken, or the host cannot give the isolation level.
pub async fn build(settings: &Settings, address: SocketAddr) -> Result<Cloud> {
    make_data_dir(&settings.data)?;
    let lock = lock(&settings.data)?;
    // The spawner starts while the state is opened: neither waits for the other.
    let sandbox = tokio::spawn(Sandbox::start(sandbox_options(settings)?));
    let engine = open(settings).await?;
    let deps = Deps {
        state: engine.state,
        objects: engine.objects,
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
    let pages = Arc::new(Pages::new(deps.clone(), settings.data.clone(), engine.backup));
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
    let (root, postgres) = (iam.root_credentials(), engine.postgres);
    Ok(Cloud { gateway, root, runtime, sandbox, logs, triggers, postgres, meter, _lock: lock })
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

/// Holds the data directory for this process: starting cleans up what a crash left, which must not be another server's.
fn lock(data: &Path) -> Result<std::fs::File> {
    let path = data.join("server.lock");
    let file = std::fs::File::create(&path).with_context(|| format!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!(
                "{} is in use by another server: stop it, or choose another directory with --data DIR",
                data.display()
            )
        }
        Err(std::fs::TryLockError::Error(e)) => Err(e).with_context(|| format!("lock {}", path.display())),
    }
}

fn make_data_dir(data: &Path) -> Result<()> {
    let mut make = std::fs::DirBuilder::new();
    make.recursive(true).mode(0o700);
    make.create(data).with_context(|| format!("make the data directory {}", data.display()))
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
        ..settings.runtime.clone()
    }
}

fn lambda_options(settings: &Settings, address: SocketAddr) -> squall_lambda::Options {
    squall_lambda::Options {
        code_dir: settings.data.join("cache/code"),
        domain: settings.domain.clone(),
        port: address.port(),
        concurrency: settings.runtime.concurrency,
    }
}
