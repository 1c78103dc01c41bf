//! The room over the engine that the tests are asked to run on, spoken to in JSON through the wire layer.

mod atomic;
mod backups;
mod expressions;
mod indexes;
mod items;
mod layout;
mod model;
mod naive;
mod programs;
mod queries;
mod random;
mod streams;
mod tables;
mod throttling;
mod time_to_live;
mod transactions;

use crate::room::DynamoDb;
use serde_json::{Value as Json, json};
use squall_engine_files::MemoryObjects;
use squall_protocol::{Head, Route, constraint, decode, encode, encode_error};
use squall_service::{Access, Ctx, Deps, Principal, Room};
use squall_store::State;
use squall_types::{AccountId, ManualClock, Millis, Region, SystemRandom};
use std::sync::Arc;
use std::time::Duration;

/// A room of its own with a clock that stands still.
pub(super) struct Cloud {
    pub room: Arc<DynamoDb>,
    pub clock: Arc<ManualClock>,
    pub deps: Deps,
    ctx: Ctx,
}

impl Cloud {
    pub(super) async fn new() -> Cloud {
        Cloud::over(|clock| squall_testkit_state::state(clock)).await
    }

    /// A room over the engine that `open` gives.
    pub(super) async fn over(open: impl FnOnce(Arc<ManualClock>) -> Arc<dyn State>) -> Cloud {
        let clock = Arc::new(ManualClock::new(Millis(1_700_000_000_000)));
        let account = AccountId::parse("000000000000").expect("twelve digits");
        let region = Region::parse("us-east-1").expect("a region");
        let deps = Deps {
            state: open(clock.clone()),
            objects: Arc::new(MemoryObjects::default()),
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            account: account.clone(),
            region: region.clone(),
        };
        let ctx = Ctx {
            account: account.clone(),
            region,
            principal: Principal::Root { account: account.to_string() },
            request_id: "r".into(),
            time: Millis(1_700_000_000_000),
            source_ip: std::net::Ipv4Addr::LOCALHOST.into(),
            user_agent: String::new(),
            host: "localhost:4566".into(),
            trace_header: None,
        };
        let room = DynamoDb::open(deps.clone()).await.expect("an empty state opens");
        Cloud { room, clock, deps, ctx }
    }

    /// The same state under a room that starts anew.
    pub(super) async fn reopened(self) -> Cloud {
        let room = DynamoDb::open(self.deps.clone()).await.expect("the state opens again");
        Cloud { room, ..self }
    }

    /// The same cloud asked by somebody whom policies bind.
    pub(super) fn by_user(mut self) -> Cloud {
        let arn = "arn:aws:iam::000000000000:user/u".into();
        self.ctx.principal = Principal::User { arn, name: "u".into(), id: "AIDAU".into() };
        self
    }

    /// Calls an operation as the gateway does; an error as `Code: message`, followed by further members.
    pub(super) async fn call(&self, op: &str, input: Json) -> Result<Json, String> {
        let [tables, streams] = &self.room.rooms()[..] else { panic!("two rooms") };
        let is_stream = streams.service().operation(op).is_some();
        let room = if is_stream { streams } else { tables };
        let service = room.service();
        let op = service.operation(op).expect("served");
        let route = Route { op, labels: Vec::new() };
        let body = serde_json::to_vec(&input).expect("JSON").into();
        let error = |e: &squall_protocol::ServiceError| -> String {
            let reply = encode_error(service, e, "r");
            let mut body: Json = serde_json::from_slice(&reply.body).expect("JSON");
            let members = body.as_object_mut().expect("an object");
            members.retain(|name, _| !matches!(name.as_str(), "__type" | "message" | "Message"));
            let rest = if members.is_empty() { String::new() } else { format!(" {body}") };
            format!("{}: {}{rest}", e.code, e.message)
        };
        let value = decode(service, &route, &Head::default(), &body).map_err(|e| error(&e))?;
        constraint::check(service, op.input.expect("an input"), &value)
            .map_err(|m| format!("ValidationException: {m}"))?;
        let value = room.call(&self.ctx, op, value).await.map_err(|e| error(&e))?;
        let reply = encode(service, op, value, "r");
        Ok(serde_json::from_slice(&reply.body).unwrap_or(Json::Null))
    }

    /// Calls an operation that must succeed.
    pub(super) async fn ok(&self, op: &str, input: Json) -> Json {
        let shown = input.to_string();
        self.call(op, input).await.unwrap_or_else(|e| panic!("{op} {shown}: {e}"))
    }

    /// Calls an operation and compares its answer or its error.
    pub(super) async fn check(&self, op: &str, input: Json, expected: Result<Json, &str>) {
        let shown = input.to_string();
        let got = self.call(op, input).await;
        assert_eq!(got, expected.map_err(str::to_owned), "{op} {shown}");
    }

    /// The accesses that the policy check sees.
    pub(super) fn access(&self, op: &str, input: Json) -> Vec<Access> {
        let service = self.room.service();
        let op = service.operation(op).expect("served");
        let body = serde_json::to_vec(&input).expect("JSON").into();
        let value = decode(service, &Route { op, labels: Vec::new() }, &Head::default(), &body).expect("valid");
        self.room.access(&self.ctx, op, &value)
    }

    pub(super) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

/// CreateTable's input for a key `pk` of type S and, if wanted, `sk` of the given type.
pub(super) fn table(name: &str, sort: Option<&str>) -> Json {
    let mut attributes = vec![json!({"AttributeName": "pk", "AttributeType": "S"})];
    let mut schema = vec![json!({"AttributeName": "pk", "KeyType": "HASH"})];
    if let Some(kind) = sort {
        attributes.push(json!({"AttributeName": "sk", "AttributeType": kind}));
        schema.push(json!({"AttributeName": "sk", "KeyType": "RANGE"}));
    }
    json!({"TableName": name, "AttributeDefinitions": attributes, "KeySchema": schema, "BillingMode": "PAY_PER_REQUEST"})
}

/// A cloud with table `t` of key `pk`, and table `u` of `pk` and the number `sk`.
pub(super) async fn with_tables() -> Cloud {
    let cloud = Cloud::new().await;
    cloud.ok("CreateTable", table("ttt", None)).await;
    cloud.ok("CreateTable", table("uuu", Some("N"))).await;
    cloud
}
