//! Calls of modules as their authors and their enemies write them.

use crate::artefact::{self, Loaded};
use crate::call::{Budget, Call};
use crate::engine::Machine;
use crate::pulse::Pulse;
use crate::streams::Log;
use squall_wasm_wire::{ANSWER_BYTES_MAX, Outbox, Outcome};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const ECHO: &str = include_str!("../../../tests/clients/wasm/echo.wat");
const DEEDS: &str = include_str!("../../../tests/clients/wasm/deeds.wat");
const COMMAND: &str = include_str!("../../../tests/clients/wasm/command.wat");
const MIB: u64 = 1 << 20;
/// No test waits for it to pass.
const LONG: Duration = Duration::from_secs(120);

static MACHINE: LazyLock<(Machine, Pulse)> = LazyLock::new(|| {
    let machine = Machine::new(16).expect("an engine");
    let pulse = Pulse::start(&machine.engine).expect("a thread");
    (machine, pulse)
});

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("a module")
}

fn loaded(text: &str) -> Loaded {
    load_sealed(&MACHINE.0.compile(&wasm(text)).expect("compiled")).expect("loaded")
}

fn load_sealed(bytes: &[u8]) -> std::io::Result<Loaded> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("m");
    std::fs::write(&path, bytes).expect("write");
    artefact::load(&MACHINE.0, &path)
}

struct Given {
    memory_mb: u64,
    timeout: Duration,
    budget: Arc<Budget>,
    env: Vec<(String, String)>,
}

impl Default for Given {
    fn default() -> Self {
        let budget = Arc::new(Budget { used: AtomicU64::new(0), bytes_max: 4096 * MIB });
        Self { memory_mb: 128, timeout: LONG, budget, env: vec![("GIVEN".into(), "yes".into())] }
    }
}

async fn call(loaded: &Loaded, event: &str, given: &Given) -> (Outcome, u64) {
    let _beat = MACHINE.1.begin();
    let call = Call {
        machine: &MACHINE.0,
        loaded,
        budget: given.budget.clone(),
        memory_bytes: given.memory_mb * MIB,
        timeout: given.timeout,
        env: [&given.env, &[("OF_CALL".into(), "1".into())]],
        event: event.to_owned().into(),
        log: Log::new(1, Arc::new(Outbox::default())),
    };
    call.run().await
}

async fn deed(event: &str) -> Outcome {
    call(&loaded(DEEDS), event, &Given::default()).await.0
}

fn answer(text: &'static str) -> Outcome {
    Outcome::Answer(text.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_comes_in_and_an_answer_goes_out() {
    let echo = loaded(ECHO);
    let long = format!("\"{}\"", "x".repeat(3_000_000));
    for event in ["{}", "{\"a\":[1,2]}", &long] {
        let (outcome, peak) = call(&echo, event, &Given::default()).await;
        assert_eq!(outcome, Outcome::Answer(event.to_owned().into()));
        assert_eq!(peak, 2 * 65536);
    }
    assert_eq!(call(&loaded(COMMAND), "{}", &Given::default()).await.0, answer(""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_sees_its_variables_and_nothing_else() {
    assert_eq!(deed("\"n\"").await, answer("GIVEN=yes\0OF_CALL=1\0"));
    // 8: EBADF, there is no folder that could be opened.
    assert_eq!(deed("\"f\"").await, answer("\"I\""));
    let (a, b) = (deed("\"r\"").await, deed("\"r\"").await);
    assert_ne!(a, b, "randomness");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_call() {
    let deeds = loaded(DEEDS);
    for _ in 0..100 {
        assert_eq!(call(&deeds, "\"k\"", &Given::default()).await.0, answer("1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_are_told_apart() {
    assert_eq!(deed("\"x\"").await, Outcome::Exit(3, "".into()));
    assert_eq!(deed("\"z\"").await, answer("\"done\""));
    assert_eq!(deed("\"w\"").await, answer("\"done\""));
    let own = "{\"errorType\":\"Own\",\"errorMessage\":\"mine\"}";
    assert_eq!(deed("\"h\"").await, Outcome::Exit(1, own.into()));
    let Outcome::Trap(line, stack) = deed("\"t\"").await else { panic!("no trap") };
    assert!(line.contains("unreachable") && stack.contains("backtrace"), "{line}\n{stack}");
    let Outcome::Trap(line, _) = deed("\"s\"").await else { panic!("no trap") };
    assert!(line.contains("call stack exhausted"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_spins_ends_in_time_and_lets_others_run() {
    let (deeds, echo) = (Arc::new(loaded(DEEDS)), loaded(ECHO));
    let spin = || {
        let deeds = deeds.clone();
        tokio::spawn(async move {
            let given = Given { timeout: Duration::from_secs(1), ..Given::default() };
            call(&deeds, "\"l\"", &given).await.0
        })
    };
    let spinning: Vec<_> = (0..4).map(|_| spin()).collect();
    for _ in 0..20 {
        assert_eq!(call(&echo, "{}", &Given::default()).await.0, answer("{}"));
    }
    for task in spinning {
        assert_eq!(task.await.expect("no panic"), Outcome::TimedOut);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_has_its_limits() {
    let deeds = loaded(DEEDS);
    let given = Given::default();
    assert_eq!(call(&deeds, "\"m\"", &given).await.0, Outcome::OutOfMemory);
    let (outcome, peak) = call(&deeds, "\"g\"", &given).await;
    assert_eq!((outcome, peak > 120 * MIB && peak <= 128 * MIB), (answer("\"done\""), true));
    assert_eq!(call(&deeds, "\"b\"", &given).await, (answer("\"done\""), 64 * MIB + 4 * 65536));
    assert_eq!(given.budget.used.load(Ordering::SeqCst), 0, "given back");
    // All together.
    let small = Given { budget: Arc::new(Budget { used: AtomicU64::new(0), bytes_max: 32 * MIB }), ..Given::default() };
    assert_eq!(call(&deeds, "\"m\"", &small).await.0, Outcome::OutOfMemory);
    assert_eq!(call(&deeds, "\"p\"", &small).await.0, answer("\"done\""));
    // From the start.
    let large = loaded("(module (memory (export \"memory\") 4000) (func (export \"_start\")))");
    assert_eq!(call(&large, "{}", &given).await.0, Outcome::OutOfMemory);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_and_logs_are_bounded() {
    assert_eq!(deed("\"o\"").await, Outcome::TooLarge);
    let echo = loaded(ECHO);
    let most = "x".repeat(ANSWER_BYTES_MAX);
    assert_eq!(call(&echo, &most, &Given::default()).await.0, Outcome::Answer(most.clone().into()));
    assert_eq!(call(&echo, &(most + "x"), &Given::default()).await.0, Outcome::TooLarge);
    // Nobody reads this log: the call waits, and its time passes.
    let given = Given { timeout: Duration::from_secs(1), ..Given::default() };
    assert_eq!(call(&loaded(DEEDS), "\"e\"", &given).await.0, Outcome::TimedOut);
}

#[test]
fn what_cannot_run_is_refused_with_the_reason() {
    let cases = [
        ("(module)", "it exports no function `_start`"),
        ("(module (func (export \"_start\") (param i32)))", "it exports no function `_start`"),
        ("(module (import \"env\" \"print\" (func)) (func (export \"_start\")))", "unknown import: `env::print`"),
        (
            "(module (import \"wasi_snapshot_preview1\" \"fd_read\" (func)) (func (export \"_start\")))",
            "incompatible import type for `wasi_snapshot_preview1::fd_read`",
        ),
        ("(module (memory i64 1) (func (export \"_start\")))", "memory64"),
        ("(module (table 100000 funcref) (func (export \"_start\")))", "table"),
        ("(component)", "wasi:cli/run"),
        ("(component (import \"wasi:http/types@0.2.0\" (instance (export \"x\" (func)))))", "wasi:http/types"),
    ];
    for (text, expected) in cases {
        let error = MACHINE.0.compile(&wasm(text)).expect_err(text);
        assert!(error.contains(expected) && error.starts_with("the module "), "{text}: {error}");
    }
    for bytes in [b"".as_slice(), b"\0asm", b"#!/bin/sh\n", b"\0asm\x02\0\0\0"] {
        assert!(MACHINE.0.compile(bytes).expect_err("no module").contains("no WebAssembly module"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_form_is_compiled_too() {
    for text in [
        ECHO,
        "\n (module (func (export \"_start\")))",
        "(component)",
        "(module",
        "(module (func (export \"_start\") (drop)))",
    ] {
        let compiled = MACHINE.0.compile(text.as_bytes());
        let expected = match text {
            "(component)" => Some("wasi:cli/run"),
            "(module" => Some("expected `)`"),
            _ if text.ends_with("(drop)))") => Some("not valid"),
            _ => None,
        };
        match (compiled, expected) {
            (Ok(compiled), None) => assert!(load_sealed(&compiled).is_ok(), "{text}"),
            (Err(error), Some(expected)) => assert!(error.contains(expected), "{text}: {error}"),
            (other, _) => panic!("{text}: {:?}", other.map(|c| c.len())),
        }
    }
}

#[test]
fn files_that_are_damaged_are_not_loaded() {
    let file = MACHINE.0.compile(&wasm(ECHO)).expect("compiled");
    assert!(load_sealed(&file).is_ok());
    for end in [0, 10, 32, 33, 40, file.len() / 2, file.len() - 1] {
        assert!(load_sealed(&file[..end]).is_err(), "cut at {end}");
    }
    for at in (0..file.len()).step_by(file.len() / 50) {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        assert!(load_sealed(&damaged).is_err(), "flipped at {at}");
    }
}

/// What the digest does not tell: whole, but made for other settings.
#[test]
fn what_another_engine_has_compiled_is_not_loaded() {
    let engine = wasmtime::Engine::default();
    let file = artefact::seal(true, &engine.precompile_module(&wasm(ECHO)).expect("compiled"));
    let error = load_sealed(&file).map(|_| ()).expect_err("another engine's");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
    let component = artefact::seal(true, &engine.precompile_component(&wasm(COMMAND)).expect("compiled"));
    assert!(load_sealed(&component).is_err(), "a component is no module");
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_of_noise_harm_nobody() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let mut ran = 0;
    for round in 0..600 {
        let mut bytes = wasm([ECHO, DEEDS, COMMAND][round % 3]);
        for _ in 0..=next(4) {
            let at = 8 + next(bytes.len() - 8);
            match next(3) {
                0 => bytes[at] = next(256) as u8,
                1 => bytes[at] ^= 1 << next(8),
                _ => bytes.truncate(at),
            }
            if bytes.len() <= 9 {
                break;
            }
        }
        let Ok(compiled) = MACHINE.0.compile(&bytes) else { continue };
        let loaded = load_sealed(&compiled).expect("what was compiled is loaded");
        let given = Given { timeout: Duration::from_millis(20), ..Given::default() };
        let (outcome, _) = call(&loaded, "\"p\"", &given).await;
        assert!(!matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
        ran += 1;
    }
    assert!(ran > 20, "{ran}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_functions_are_compiled() {
    let functions = "(func (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))".repeat(100_000);
    let many = loaded(&format!("(module (memory (export \"memory\") 1) {functions} (func (export \"_start\")))"));
    assert_eq!(call(&many, "{}", &Given::default()).await.0, answer(""));
}

/// Names what was compiled, so it must be the engine's.
#[test]
fn the_engines_version_is_the_one_in_use() {
    let lock = include_str!("../../../Cargo.lock");
    let expected = format!("name = \"wasmtime\"\nversion = \"{}\"\n", crate::ENGINE_VERSION);
    assert!(lock.contains(&expected), "{expected}");
}
