//! The engine: what modules may use, where their memories lie, and what they may import.

use crate::artefact::{self, Loaded};
use crate::call::Store;
use std::borrow::Cow;
use wasmtime::component::{Component, Linker as ComponentLinker};
use wasmtime::{Config, Engine, ExternType, InstanceAllocationStrategy, Linker, Module, PoolingAllocationConfig};
use wasmtime_wasi::p2::bindings::CommandPre;

/// Address space of one linear memory: all that 32 bits reach. Bounds checks are the guard pages behind it.
const MEMORY_BYTES_MAX: usize = 4 << 30;
/// Linear memories of one call: a component may be put together from several.
const MEMORIES_PER_CALL: u32 = 4;
/// Core instances in one component.
const CORES_PER_CALL: u32 = 32;
/// Tables of one call, and the elements of each.
const TABLES_PER_CALL: u32 = 8;
const TABLE_ELEMENTS_MAX: usize = 32_768;
/// What stays mapped of a memory when its call is over, zeroed: a call that touches no more costs no page faults.
const KEEP_BYTES: usize = 256 << 10;
/// The same of a call's stack.
const KEEP_STACK_BYTES: usize = 64 << 10;
/// Stack of the function; what is deeper traps.
const WASM_STACK_BYTES: usize = 1 << 20;
/// The whole stack: the host's functions need some as well.
const STACK_BYTES: usize = 2 << 20;

/// Engine and linkers. Cheap to clone.
#[derive(Clone)]
pub struct Machine {
    /// The engine.
    pub engine: Engine,
    core: Linker<Store>,
    component: ComponentLinker<Store>,
}

impl Machine {
    /// A machine for so many calls at a time.
    ///
    /// # Errors
    /// The address space cannot be had.
    pub fn new(calls: u32) -> wasmtime::Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_stacks(calls)
            .total_component_instances(calls)
            .total_core_instances(calls * CORES_PER_CALL)
            .total_memories(calls * MEMORIES_PER_CALL)
            .total_tables(calls * TABLES_PER_CALL)
            .max_core_instances_per_component(CORES_PER_CALL)
            .max_memories_per_component(MEMORIES_PER_CALL)
            .max_tables_per_component(TABLES_PER_CALL)
            .max_tables_per_module(TABLES_PER_CALL)
            .max_memories_per_module(1)
            .max_memory_size(MEMORY_BYTES_MAX)
            .table_elements(TABLE_ELEMENTS_MAX)
            .linear_memory_keep_resident(KEEP_BYTES)
            .table_keep_resident(KEEP_STACK_BYTES)
            .async_stack_keep_resident(KEEP_STACK_BYTES);
        let mut config = Config::new();
        config
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
            .memory_reservation(MEMORY_BYTES_MAX as u64)
            .epoch_interruption(true)
            .max_wasm_stack(WASM_STACK_BYTES)
            .async_stack_size(STACK_BYTES)
            .wasm_memory64(false)
            .wasm_multi_memory(false);
        let engine = Engine::new(&config)?;
        let mut core = Linker::new(&engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut core, |store: &mut Store| &mut store.wasi)?;
        let mut component = ComponentLinker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut component)?;
        Ok(Self { engine, core, component })
    }

    /// Compiles a module or component, in its binary or its text form, and sees whether it can be run. The answer is the file
    /// that [`crate::artefact`] loads.
    ///
    /// # Errors
    /// What is wrong with it, for its author.
    pub fn compile(&self, given: &[u8]) -> Result<Vec<u8>, String> {
        const CORE: &[u8] = b"\0asm\x01\0\0\0";
        const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
        let wasm = match given.trim_ascii_start().first() {
            Some(b'(' | b';') => wat::parse_bytes(given).map_err(|e| format!("the module is not valid: {e}"))?,
            _ => Cow::Borrowed(given),
        };
        let (compiled, is_core) = match wasm.get(..8) {
            Some(CORE) => (self.engine.precompile_module(&wasm), true),
            Some(COMPONENT) => (self.engine.precompile_component(&wasm), false),
            _ => return Err("the module is no WebAssembly module or component".into()),
        };
        let compiled = compiled.map_err(|e| format!("the module is not valid: {e:#}"))?;
        // SAFETY: the bytes are what the engine has just made.
        let loaded = unsafe { self.load(&compiled, is_core) };
        loaded.map_err(|e| format!("the module cannot be run: {e:#}"))?;
        Ok(artefact::seal(is_core, &compiled))
    }

    /// Loads what [`Machine::compile`] made, and resolves its imports.
    ///
    /// # Errors
    /// It is another engine's, imports what there is not, or is no command.
    ///
    /// # Safety
    /// `compiled` must be what [`Machine::compile`] has returned: it is executed as it stands.
    pub unsafe fn load(&self, compiled: &[u8], is_core: bool) -> wasmtime::Result<Loaded> {
        if is_core {
            // SAFETY: the caller's promise.
            let module = unsafe { Module::deserialize(&self.engine, compiled) }?;
            match module.get_export("_start") {
                Some(ExternType::Func(f)) if f.params().len() + f.results().len() == 0 => {}
                _ => wasmtime::bail!("it exports no function `_start`: it must be a WASI command"),
            }
            Ok(Loaded::Core(self.core.instantiate_pre(&module)?))
        } else {
            // SAFETY: the caller's promise.
            let component = unsafe { Component::deserialize(&self.engine, compiled) }?;
            Ok(Loaded::Component(CommandPre::new(self.component.instantiate_pre(&component)?)?))
        }
    }
}
