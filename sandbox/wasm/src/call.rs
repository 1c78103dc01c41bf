//! One call: an instance, its limits, and how it ended.

use crate::artefact::Loaded;
use crate::engine::Machine;
use crate::streams::{Answer, Log};
use bytes::Bytes;
use squall_wasm_wire::Outcome;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wasmtime::{ResourceLimiter, Trap};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{I32Exit, WasiCtxBuilder, WasiCtxView, WasiView};

/// Most bytes of a trap's stack that are told.
const STACK_TEXT_BYTES_MAX: usize = 8 << 10;
/// Bytes that an element of a table takes.
const ELEMENT_BYTES: u64 = 8;

/// What all calls together have of memory, and may have.
pub struct Budget {
    pub used: AtomicU64,
    pub bytes_max: u64,
}

/// Memory of one call. Given back to the budget when it is dropped.
struct Limits {
    budget: Arc<Budget>,
    used: u64,
    bytes_max: u64,
    /// It asked for more than it may have.
    is_exceeded: bool,
}

impl Limits {
    fn grow(&mut self, bytes: u64) -> bool {
        let fits = self.used + bytes <= self.bytes_max && {
            let before = self.budget.used.fetch_add(bytes, Ordering::Relaxed);
            let fits = before + bytes <= self.budget.bytes_max;
            if !fits {
                self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
            }
            fits
        };
        if fits {
            self.used += bytes;
        } else {
            self.is_exceeded = true;
        }
        fits
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.used, Ordering::Relaxed);
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Beyond the module's own maximum it is no matter of ours.
        let is_own = maximum.is_some_and(|most| desired > most);
        Ok(!is_own && self.grow(desired.saturating_sub(current) as u64))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let is_own = maximum.is_some_and(|most| desired > most);
        Ok(!is_own && self.grow(desired.saturating_sub(current) as u64 * ELEMENT_BYTES))
    }
}

/// What an instance reaches of the host.
pub struct Store {
    pub wasi: WasiP1Ctx,
    limits: Limits,
}

impl WasiView for Store {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

/// What is to be called.
pub struct Call<'a> {
    pub machine: &'a Machine,
    pub loaded: &'a Loaded,
    pub budget: Arc<Budget>,
    pub memory_bytes: u64,
    pub timeout: Duration,
    /// Variables of the environment and of this call.
    pub env: [&'a [(String, String)]; 2],
    pub event: Bytes,
    pub log: Log,
}

impl Call<'_> {
    /// Runs it to its end: how it ended, and the most memory that it had.
    pub async fn run(self) -> (Outcome, u64) {
        let answer = Answer::default();
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdin(MemoryInputPipe::new(self.event)).stdout(answer.clone()).stderr(self.log);
        wasi.arg("bootstrap.wasm").allow_tcp(false).allow_udp(false);
        for list in self.env {
            wasi.envs(list);
        }
        let limits = Limits { budget: self.budget, used: 0, bytes_max: self.memory_bytes, is_exceeded: false };
        let mut store = wasmtime::Store::new(&self.machine.engine, Store { wasi: wasi.build_p1(), limits });
        store.limiter(|store| &mut store.limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let ended = tokio::time::timeout(self.timeout, start(self.loaded, &mut store)).await;
        let limits = &store.data().limits;
        let (is_exceeded, peak) = (limits.is_exceeded, limits.used);
        let outcome = match ended {
            Err(_) => Outcome::TimedOut,
            Ok(Ok(0)) if !answer.is_too_large() => Outcome::Answer(answer.take()),
            _ if answer.is_too_large() => Outcome::TooLarge,
            Ok(Ok(status)) => Outcome::Exit(status, answer.take()),
            Ok(Err(_)) if is_exceeded => Outcome::OutOfMemory,
            Ok(Err(error)) => trapped(&error),
        };
        (outcome, peak)
    }
}

/// Makes an instance and runs it; its exit status.
async fn start(loaded: &Loaded, store: &mut wasmtime::Store<Store>) -> wasmtime::Result<i32> {
    let ended = match loaded {
        Loaded::Core(pre) => {
            let instance = pre.instantiate_async(&mut *store).await?;
            let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
            start.call_async(&mut *store, ()).await.map(|()| 0)
        }
        Loaded::Component(pre) => {
            let command = pre.instantiate_async(&mut *store).await?;
            let ended = command.wasi_cli_run().call_run(&mut *store).await;
            ended.map(|ended| i32::from(ended.is_err()))
        }
    };
    ended.or_else(|error| match error.downcast_ref::<I32Exit>() {
        Some(I32Exit(status)) => Ok(*status),
        None => Err(error),
    })
}

fn trapped(error: &wasmtime::Error) -> Outcome {
    let line = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    let mut stack = error.to_string();
    if stack.len() > STACK_TEXT_BYTES_MAX {
        let end = stack.floor_char_boundary(STACK_TEXT_BYTES_MAX);
        stack.truncate(end);
    }
    Outcome::Trap(line, stack)
}
