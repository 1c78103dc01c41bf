//! The state engine that rooms' tests run on: memory, or the one that `SQUALL_TEST_STATE` names (`cargo xtask test --state`).
//!
//! Every call gives an empty state of its own: a folder, or a schema of a private PostgreSQL that the tests of a process share.
//! Tests with a paused clock work too: while an engine works, tokio's clock is kept from running ahead.

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use squall_engine_memory::Memory;
use squall_engine_postgres::{Options, Postgres};
use squall_engine_sqlite::Sqlite;
use squall_store::{
    Change, ClaimSpec, Claimed, Committed, Consistency, Part, Queue, ReadOp, ReadOut, Record, Result, State, Txn,
};
use squall_types::{Clock, Millis};
use std::sync::{Arc, OnceLock, mpsc};
use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};

/// An empty state whose time is that clock.
///
/// # Panics
/// The engine does not open, or `SQUALL_TEST_STATE` names none.
#[must_use]
pub fn state(clock: Arc<dyn Clock>) -> Arc<dyn State> {
    match std::env::var("SQUALL_TEST_STATE").unwrap_or_default().as_str() {
        "" | "memory" => Arc::new(Memory::new(clock)),
        "sqlite" => {
            let folder = tempfile::Builder::new().prefix("squall-state-").tempdir().expect("a folder");
            let state = Sqlite::open(folder.path(), clock).expect("an empty folder");
            Arc::new(Engine { state: Arc::new(state), _folder: Some(folder) })
        }
        "postgres" => {
            let options = Options::parse(&squall_testkit::postgres_schema()).expect("a URL").clock(clock);
            // Its tasks outlive the test's own runtime, and a test's runtime may have one thread.
            let open = move || runtime().block_on(Postgres::open(options)).expect("an empty schema");
            let state = std::thread::spawn(open).join().expect("PostgreSQL");
            Arc::new(Engine { state: Arc::new(state), _folder: None })
        }
        other => panic!("SQUALL_TEST_STATE={other}: expected memory, sqlite or postgres"),
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("a runtime")
    })
}

/// An engine with what must live as long.
struct Engine {
    state: Arc<dyn State>,
    _folder: Option<TempDir>,
}

/// While one lives, a paused clock does not run ahead: blocking work is under way.
struct Busy {
    _end: mpsc::Sender<()>,
}

impl Busy {
    fn new() -> Self {
        let (_end, ended) = mpsc::channel::<()>();
        if let Ok(handle) = Handle::try_current() {
            handle.spawn_blocking(move || ended.recv());
        }
        Self { _end }
    }
}

#[async_trait]
impl State for Engine {
    async fn read(&self, ops: Vec<ReadOp>, consistency: Consistency) -> Result<Vec<ReadOut>> {
        let _busy = Busy::new();
        self.state.read(ops, consistency).await
    }

    async fn commit(&self, txn: Txn) -> Result<Committed> {
        let _busy = Busy::new();
        self.state.commit(txn).await
    }

    async fn claim(&self, queue: Queue, spec: ClaimSpec) -> Result<Vec<Claimed>> {
        // Who waits for an entry waits for the clock.
        let _busy = (spec.wait.0 <= 0).then(Busy::new);
        self.state.claim(queue, spec).await
    }

    fn watch(&self, part: Part, after: u64) -> BoxStream<'static, Result<Change>> {
        self.state.watch(part, after)
    }

    fn export(&self) -> BoxStream<'static, Result<Record>> {
        // PostgreSQL starts a task for it.
        let _inside = runtime().enter();
        self.state.export()
    }

    async fn import(&self, records: BoxStream<'static, Result<Record>>) -> Result<()> {
        let _busy = Busy::new();
        self.state.import(records).await
    }

    fn now(&self) -> Millis {
        self.state.now()
    }
}
