//! A stream in memory, a function whose answers are scripted, and a place for failure records.

use crate::{StreamAdapter, Triggers};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use squall_engine_files::MemoryObjects;
use squall_engine_memory::Memory;
use squall_protocol::ServiceError;
use squall_service::*;
use squall_store::State;
use squall_types::{AccountId, Clock, Millis, Region, SystemRandom};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

pub const ARN: &str = "arn:test:stream";
pub const BEGIN_MS: i64 = 1_700_000_000_000;

/// A clock that goes with the runtime's time.
struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Millis {
        Millis(BEGIN_MS).plus(self.0.elapsed())
    }
}

#[derive(Clone, Default)]
pub struct Shard {
    pub records: Vec<(String, Millis, Value)>,
    pub parent: Option<String>,
    pub closed: bool,
}

pub struct Stream {
    pub shards: Mutex<BTreeMap<String, Shard>>,
    changed: watch::Sender<u64>,
}

impl Stream {
    fn start(shard: &Shard, from: &StreamStart) -> usize {
        match from {
            StreamStart::TrimHorizon => 0,
            StreamStart::Latest => shard.records.len(),
            StreamStart::At(at) => shard.records.partition_point(|(_, t, _)| t < at),
            StreamStart::After(s) => {
                let number: usize = s.parse().expect("a number");
                number
            }
        }
    }

    pub fn change(&self, f: impl FnOnce(&mut BTreeMap<String, Shard>)) {
        f(&mut self.shards.lock());
        self.changed.send_modify(|n| *n += 1);
    }
}

#[async_trait]
impl StreamSource for Stream {
    fn owns(&self, arn: &str) -> bool {
        arn == ARN
    }

    async fn shards(&self, _arn: &str) -> Result<Vec<StreamShard>, StreamError> {
        let shards = self.shards.lock();
        let all =
            shards.iter().map(|(id, s)| StreamShard { id: id.clone(), parent: s.parent.clone(), closed: s.closed });
        Ok(all.collect())
    }

    async fn read(&self, _arn: &str, shard: &str, from: &StreamStart, max: usize) -> Result<StreamPage, StreamError> {
        let shards = self.shards.lock();
        let shard = shards.get(shard).ok_or_else(|| StreamError::NotFound(shard.to_owned()))?;
        let start = Stream::start(shard, from);
        let records = shard.records.iter().enumerate().skip(start).take(max).map(|(n, (key, at, body))| StreamRecord {
            sequence: (n + 1).to_string(),
            at: *at,
            order_key: key.clone().into_bytes(),
            event: json!({ "n": n + 1, "key": key, "body": body }),
        });
        let records: Vec<_> = records.collect();
        let end = start + records.len();
        let next = (!shard.closed || end < shard.records.len()).then(|| StreamStart::After(end.to_string()));
        Ok(StreamPage { records, next })
    }

    async fn wait(&self, _arn: &str, shard: &str, from: &StreamStart) -> Result<(), StreamError> {
        let mut changed = self.changed.subscribe();
        loop {
            {
                let shards = self.shards.lock();
                let shard = shards.get(shard).ok_or_else(|| StreamError::NotFound(shard.to_owned()))?;
                if shard.closed || Stream::start(shard, from) < shard.records.len() {
                    return Ok(());
                }
            }
            let _ = changed.changed().await;
        }
    }
}

type Script = Box<dyn FnMut(&Value) -> Result<Outcome, ServiceError> + Send>;

pub struct Function {
    pub calls: Mutex<Vec<(Instant, Value)>>,
    pub script: Mutex<Script>,
    pub takes: Mutex<Duration>,
}

pub fn answer(payload: &str) -> Result<Outcome, ServiceError> {
    let payload = Bytes::from(payload.to_owned());
    Ok(Outcome { status: 200, payload, function_error: None, executed_version: "$LATEST".into(), log_tail: None })
}

pub fn failure() -> Result<Outcome, ServiceError> {
    answer(r#"{"errorMessage":"no"}"#).map(|o| Outcome { function_error: Some("Unhandled"), ..o })
}

#[async_trait]
impl Invoke for Function {
    async fn invoke(&self, invocation: Invocation) -> Result<Outcome, ServiceError> {
        let event: Value = serde_json::from_slice(&invocation.payload).expect("an event is JSON");
        self.calls.lock().push((Instant::now(), event.clone()));
        let takes = *self.takes.lock();
        tokio::time::sleep(takes).await;
        (self.script.lock())(&event)
    }
}

#[derive(Default)]
pub struct Target(pub Mutex<Vec<Value>>);

#[async_trait]
impl Destination for Target {
    fn owns(&self, arn: &str) -> bool {
        arn == "arn:test:target"
    }

    async fn deliver(&self, _arn: &str, body: Bytes) -> Result<(), ServiceError> {
        self.0.lock().push(serde_json::from_slice(&body).expect("a record is JSON"));
        Ok(())
    }
}

pub struct World {
    pub stream: Arc<Stream>,
    pub function: Arc<Function>,
    pub target: Arc<Target>,
    pub state: Arc<dyn State>,
    pub triggers: Triggers,
    deps: Deps,
}

fn start(deps: &Deps, stream: &Arc<Stream>, function: &Arc<Function>, target: &Arc<Target>) -> Triggers {
    let kind = SourceKind {
        actions: &[],
        batch_size: (100, 10_000),
        at_timestamp: true,
        denied: str::to_owned,
        missing: str::to_owned,
    };
    let adapter = StreamAdapter { kind, source: stream.clone(), batch_info: "TestBatchInfo", arrival_millis: false };
    let invoke: Arc<dyn Invoke> = function.clone();
    Triggers::start(deps.clone(), Arc::downgrade(&invoke), vec![adapter], vec![target.clone()])
}

impl World {
    pub fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock(Instant::now()));
        let state: Arc<dyn State> = Arc::new(Memory::new(clock.clone()));
        let deps = Deps {
            state: state.clone(),
            objects: Arc::new(MemoryObjects::default()),
            clock,
            random: Arc::new(SystemRandom),
            account: AccountId::parse("000000000000").expect("an account"),
            region: Region::parse("us-east-1").expect("a region"),
        };
        let stream = Arc::new(Stream { shards: Mutex::default(), changed: watch::Sender::new(0) });
        stream.change(|all| drop(all.insert("s1".into(), Shard::default())));
        let function = Arc::new(Function {
            calls: Mutex::default(),
            script: Mutex::new(Box::new(|_| answer("null"))),
            takes: Mutex::default(),
        });
        let target = Arc::new(Target::default());
        let triggers = start(&deps, &stream, &function, &target);
        Self { stream, function, target, state, triggers, deps }
    }

    /// A process that comes after a crash: the old one's tasks are not told.
    pub fn restarted(&self) -> Self {
        let (stream, function, target) = (self.stream.clone(), self.function.clone(), self.target.clone());
        let triggers = start(&self.deps, &stream, &function, &target);
        Self { stream, function, target, state: self.state.clone(), triggers, deps: self.deps.clone() }
    }

    pub fn script(&self, f: impl FnMut(&Value) -> Result<Outcome, ServiceError> + Send + 'static) {
        *self.function.script.lock() = Box::new(f);
    }

    /// Writes records with that key.
    pub fn write(&self, shard: &str, key: &str, count: usize) {
        let now = self.deps.clock.now();
        self.stream.change(|all| {
            let shard = all.get_mut(shard).expect("a shard");
            shard.records.extend((0..count).map(|_| (key.to_owned(), now, Value::Null)));
        });
    }

    /// Numbers of the records of each call so far.
    pub fn batches(&self) -> Vec<Vec<i64>> {
        self.function.calls.lock().iter().map(|(_, event)| numbers(event)).collect()
    }

    pub async fn until(&self, what: &str, f: impl Fn(&Self) -> bool) {
        for _ in 0..200_000 {
            if f(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{what} did not come: {:?}", self.batches());
    }
}

pub fn numbers(event: &Value) -> Vec<i64> {
    event["Records"].as_array().expect("records").iter().map(|r| r["n"].as_i64().expect("a number")).collect()
}

pub fn mapping() -> Mapping {
    Mapping {
        uuid: "u".into(),
        region: "us-east-1".into(),
        source_arn: ARN.into(),
        function_arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
        start: StartingPosition::TrimHorizon,
        batch_size: 100,
        window_s: 0,
        parallel: 1,
        retries: None,
        record_age_s: None,
        bisect: false,
        reports_failures: false,
        tumbling_s: 0,
        filters: Vec::new(),
        on_failure: None,
    }
}
