//! Tests of the room on state in memory; functions run inside the test, see [`fake`].

mod aliases;
mod asynchronous;
mod concurrency;
mod errors;
mod fake;
mod functions;
mod hostile;
mod invocation;
mod layers;
mod packages;
mod permissions;
mod provisioned;
mod restart;
mod updates;
mod url_events;
mod urls;
mod versions;

use crate::api::*;
use crate::{Lambda, Options};
use async_trait::async_trait;
use bytes::Bytes;
use fake::Fake;
use parking_lot::Mutex;
use squall_engine_files::MemoryObjects;
use squall_protocol::{FromValue, IntoValue, ServiceError};
use squall_runtime::{EndpointServer, Runtime, Source};
use squall_service::{
    Access, AccessDenied, Credential, CredentialError, Ctx, Deps, Identity, LogEvent, LogSink, Principal, RoleCheck,
    Room as _, SessionCredentials,
};
use squall_types::{AccountId, Clock, ManualClock, Millis, Region, SystemRandom};
use std::any::Any;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

const ACCOUNT: &str = "000000000000";
/// 2026-01-02T03:04:05Z.
const START: Millis = Millis(1_767_323_045_000);
const RUNTIME: &str = "provided.al2023";
const ROLE: &str = "arn:aws:iam::000000000000:role/r";

/// Roles `r` and what begins with it are good; `stranger` does not trust Lambda; others do not exist. The user `allowed`
/// may do everything.
struct Roles;

#[async_trait]
impl Identity for Roles {
    async fn credential(&self, _: &str, _: Option<&str>) -> Result<Credential, CredentialError> {
        Err(CredentialError::Unknown)
    }
    async fn authorise(&self, ctx: &Ctx, accesses: &[Access], _: &[Option<String>]) -> Result<(), AccessDenied> {
        let is_allowed = matches!(&ctx.principal, Principal::User { name, .. } if name == "allowed");
        let denied = || AccessDenied { message: format!("not authorized to perform: {}", accesses[0].action) };
        if is_allowed { Ok(()) } else { Err(denied()) }
    }
    async fn role_check(&self, arn: &str, service: &str) -> RoleCheck {
        assert_eq!(service, "lambda.amazonaws.com");
        match arn.rsplit('/').next() {
            Some("stranger") => RoleCheck::NotTrusted,
            Some(name) if name.starts_with('r') => RoleCheck::Trusted,
            _ => RoleCheck::Missing,
        }
    }
    async fn session(&self, _: &str, name: &str, _: Duration) -> Option<SessionCredentials> {
        Some(SessionCredentials {
            access_key_id: "ASIATEST".into(),
            secret_access_key: "secret".into(),
            session_token: format!("token-{name}"),
            expires: Millis(i64::MAX),
        })
    }
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl LogSink for Lines {
    fn append(&self, _: &str, _: &str, _: &str, events: Vec<LogEvent>) {
        self.0.lock().extend(events.into_iter().map(|e| e.message));
    }
}

struct NoEndpoint;

impl EndpointServer for NoEndpoint {
    fn serve(&self, listener: TcpListener, _: Source) -> Box<dyn Any + Send + Sync> {
        Box::new(listener)
    }
}

/// A room with everything around it.
struct Cloud {
    room: Arc<Lambda>,
    deps: Deps,
    clock: Arc<ManualClock>,
    fake: Fake,
    logs: Arc<Lines>,
    objects: Arc<MemoryObjects>,
    dir: Arc<tempfile::TempDir>,
    options: Options,
}

impl Cloud {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let objects = Arc::new(MemoryObjects::default());
        let deps = Deps {
            state: squall_testkit_state::state(clock.clone()),
            objects: objects.clone(),
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            account: AccountId::parse(ACCOUNT).expect("twelve digits"),
            region: Region::parse("us-east-1").expect("a region"),
        };
        let dir = Arc::new(tempfile::tempdir().expect("a folder"));
        let mut options = Options { code_dir: dir.path().join("code"), domain: None, port: 4566, concurrency: 1000 };
        change(&mut options);
        let (fake, logs) = (Fake::default(), Arc::new(Lines::default()));
        let room = open(&deps, &fake, &logs, &dir, &options).await;
        Self { room, deps, clock, fake, logs, objects, dir, options }
    }

    /// The cloud after a crash: a new room on a copy of the state as it is now, the same objects and folder.
    async fn reopened(self) -> Self {
        // The copy is cut before the old room gets another turn; what it still does then touches nothing of the new one.
        let records = self.deps.state.export();
        let state = squall_testkit_state::state(self.clock.clone());
        self.room.runtime.shutdown(Duration::ZERO).await;
        squall_store::State::import(&*state, records).await.expect("a copy");
        let deps = Deps { state, ..self.deps };
        let room = open(&deps, &self.fake, &self.logs, &self.dir, &self.options).await;
        Self { room, deps, ..self }
    }

    fn ctx(&self) -> Ctx {
        Ctx {
            account: self.deps.account.clone(),
            region: self.deps.region.clone(),
            principal: Principal::Root { account: ACCOUNT.into() },
            request_id: self.deps.random.uuid(),
            time: self.clock.now(),
            source_ip: [127, 0, 0, 1].into(),
            user_agent: "tests".into(),
            host: "localhost".into(),
            trace_header: None,
        }
    }

    /// Calls an operation as the gateway does: checked, then dispatched.
    async fn call<O: FromValue>(&self, op: &str, input: impl IntoValue) -> Result<O, ServiceError> {
        let op = self.room.service().operation(op).expect("a served operation");
        let input = input.into_value();
        squall_protocol::constraint::check(self.room.service(), op.input.expect("an input"), &input)
            .map_err(|text| ServiceError::client("ValidationException", 400, text))?;
        let output = self.room.call(&self.ctx(), op, input).await?;
        Ok(O::from_value(output).expect("the output's shape"))
    }

    /// Expects a refusal: code and status, text.
    async fn refused<O: FromValue>(&self, op: &str, input: impl IntoValue) -> ((&'static str, u16), String) {
        match self.call::<O>(op, input).await {
            Ok(_) => panic!("{op} was not refused"),
            Err(e) => ((e.code, e.status), e.message),
        }
    }

    async fn create(&self, input: CreateFunctionInput) -> Result<FunctionConfiguration, ServiceError> {
        self.call("CreateFunction", input).await
    }

    /// A function that is `Active`.
    async fn function(&self, name: &str, script: &str) -> FunctionConfiguration {
        self.create(create(name, script)).await.expect("created");
        self.settled(name).await
    }

    async fn get(&self, name: &str) -> Result<FunctionConfiguration, ServiceError> {
        let input = GetFunctionConfigurationInput { function_name: name.into(), ..Default::default() };
        self.call("GetFunctionConfiguration", input).await
    }

    /// The configuration once nothing is under way any more.
    async fn settled(&self, name: &str) -> FunctionConfiguration {
        loop {
            let c = self.get(name).await.expect("exists");
            let is_done =
                c.state.as_deref() != Some("Pending") && c.last_update_status.as_deref() != Some("InProgress");
            if is_done {
                return c;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn invoke(&self, name: &str, payload: &str) -> Result<InvokeOutput, ServiceError> {
        self.call("Invoke", invoke(name, payload)).await
    }

    /// The payload that a successful call answers.
    async fn answer(&self, name: &str, payload: &str) -> String {
        let out = self.invoke(name, payload).await.expect("runs");
        assert_eq!((out.function_error, out.status_code), (None, Some(200)));
        text(&out.payload)
    }
}

async fn open(deps: &Deps, fake: &Fake, logs: &Arc<Lines>, dir: &tempfile::TempDir, options: &Options) -> Arc<Lambda> {
    let data_dir = dir.path().join("runtime");
    let runtime = Runtime::start(
        squall_runtime::Options { data_dir, sdk_install: false, ..Default::default() },
        Arc::new(fake.clone()),
        Arc::new(Roles),
        logs.clone(),
        Arc::new(NoEndpoint),
        deps.clock.clone(),
        deps.random.clone(),
    )
    .expect("the runtime starts");
    Lambda::open(deps.clone(), runtime, Arc::new(Roles), options.clone()).await.expect("the room opens")
}

/// A zip of these files; `bootstrap` tells the fake what to do.
fn zip(files: &[(&str, &str)]) -> Bytes {
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in files {
        out.start_file(*name, zip::write::SimpleFileOptions::default().unix_permissions(0o755)).expect("a file");
        out.write_all(text.as_bytes()).expect("written");
    }
    out.finish().expect("a zip").into_inner().into()
}

/// The least input that makes a function.
fn create(name: &str, script: &str) -> CreateFunctionInput {
    CreateFunctionInput {
        function_name: name.into(),
        runtime: Some(RUNTIME.into()),
        role: ROLE.into(),
        handler: Some("bootstrap".into()),
        code: FunctionCode { zip_file: Some(zip(&[("bootstrap", script)])), ..Default::default() },
        ..Default::default()
    }
}

fn new_code(name: &str, script: &str) -> UpdateFunctionCodeInput {
    let zip_file = Some(zip(&[("bootstrap", script)]));
    UpdateFunctionCodeInput { function_name: name.into(), zip_file, ..Default::default() }
}

fn invoke(name: &str, payload: &str) -> InvokeInput {
    let payload = Some(Bytes::copy_from_slice(payload.as_bytes()));
    InvokeInput { function_name: name.into(), payload, ..Default::default() }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn text(bytes: &Option<Bytes>) -> String {
    String::from_utf8(bytes.as_deref().unwrap_or_default().to_vec()).expect("text")
}

fn arn(rest: &str) -> String {
    format!("arn:aws:lambda:us-east-1:000000000000:function:{rest}")
}

/// Waits until something that goes on by itself has happened.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..5000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{what}: never");
}
