//! What the integration tests share: a runtime on plain processes, functions from text, a log that can be read.
#![allow(dead_code, reason = "every test file uses a part of this")]

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use squall_runtime::{
    EndpointServer, Function, Host, InvokeError, Launcher, Options, ProcessLauncher, Request, Runtime, Source,
};
use squall_service::{
    Access, AccessDenied, Credential, CredentialError, Ctx, Identity, LogEvent, LogSink, Outcome, RoleCheck,
    SessionCredentials,
};
use squall_types::{Millis, Random, SystemClock, SystemRandom};
use std::any::Any;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Everybody's credentials.
pub struct AnyRole;

#[async_trait]
impl Identity for AnyRole {
    async fn credential(&self, _: &str, _: Option<&str>) -> Result<Credential, CredentialError> {
        Err(CredentialError::Unknown)
    }
    async fn authorise(&self, _: &Ctx, _: &[Access], _: &[Option<String>]) -> Result<(), AccessDenied> {
        Ok(())
    }
    async fn role_check(&self, _: &str, _: &str) -> RoleCheck {
        RoleCheck::Trusted
    }
    async fn session(&self, _: &str, name: &str, _: Duration) -> Option<SessionCredentials> {
        Some(SessionCredentials {
            access_key_id: "ASIATEST".into(),
            secret_access_key: "secret".into(),
            session_token: format!("token-{name}"),
            expires: Millis(0),
        })
    }
}

/// A log in memory.
#[derive(Default)]
pub struct Lines(Mutex<Vec<(String, String)>>);

impl LogSink for Lines {
    fn append(&self, _: &str, group: &str, _: &str, events: Vec<LogEvent>) {
        let mut lines = self.0.lock();
        if lines.len() < 200_000 {
            lines.extend(events.into_iter().map(|e| (group.to_owned(), e.message.trim_end_matches('\n').to_owned())));
        }
    }
}

impl Lines {
    /// What a function logged.
    pub fn of(&self, name: &str) -> Vec<String> {
        let group = format!("/aws/lambda/{name}");
        self.0.lock().iter().filter(|(g, _)| *g == group).map(|(_, m)| m.clone()).collect()
    }
}

struct NoEndpoint;

impl EndpointServer for NoEndpoint {
    fn serve(&self, listener: TcpListener, _: Source) -> Box<dyn Any + Send + Sync> {
        Box::new(listener)
    }
}

/// A runtime with everything around it.
pub struct World {
    pub runtime: Runtime,
    pub logs: Arc<Lines>,
    pub dir: tempfile::TempDir,
    count: AtomicU64,
}

/// The options of tests: what the test's own machine offers, and what `SQUALL_TEST_RUNTIMES` names
/// (`nodejs24.x=/path/node,nodejs18.x=/path/node`).
pub fn options(dir: &std::path::Path) -> Options {
    let home = std::env::var_os("HOME").map(Into::into);
    let host = Host { path: std::env::var_os("PATH").unwrap_or_default(), home, ..Host::default() };
    let more = std::env::var("SQUALL_TEST_RUNTIMES").unwrap_or_default();
    let pairs = more.split(',').filter_map(|pair| pair.split_once('='));
    let runtimes = pairs.map(|(id, path)| (id.to_owned(), path.into())).collect();
    Options { runtimes, data_dir: dir.join("data"), host, sdk_install: false, ..Options::default() }
}

impl World {
    pub fn new() -> Self {
        Self::with(Arc::new(ProcessLauncher), |_| ())
    }

    pub fn with(launcher: Arc<dyn Launcher>, change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut options = options(dir.path());
        change(&mut options);
        let logs = Arc::new(Lines::default());
        let runtime = Runtime::start(
            options,
            launcher,
            Arc::new(AnyRole),
            logs.clone(),
            Arc::new(NoEndpoint),
            Arc::new(SystemClock),
            Arc::new(SystemRandom),
        )
        .expect("the runtime starts");
        Self { runtime, logs, dir, count: AtomicU64::new(0) }
    }

    /// A function from files: `("index.js", "exports.handler = …")`.
    pub fn function(&self, runtime: &str, handler: &str, files: &[(&str, &str)]) -> Function {
        let name = format!("f{}", self.count.fetch_add(1, Ordering::Relaxed));
        let code_dir = self.dir.path().join(&name);
        for (file, text) in files {
            let path = code_dir.join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("make the folder");
            std::fs::write(&path, text).expect("write the file");
            if *file == "bootstrap" || text.starts_with("#!") {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("make it executable");
            }
        }
        Function {
            function_arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{name}"),
            version: "$LATEST".into(),
            revision: 1,
            region: "us-east-1".into(),
            account: "000000000000".into(),
            role_arn: "arn:aws:iam::000000000000:role/r".into(),
            handler: handler.into(),
            runtime: runtime.into(),
            memory_mb: 256,
            timeout: Duration::from_secs(10),
            tmp_mb: 512,
            code_dir,
            log_group: format!("/aws/lambda/{name}"),
            name,
            ..Function::default()
        }
    }

    pub async fn invoke(&self, f: &Arc<Function>, event: &str) -> Answer {
        self.try_invoke(f, event).await.expect("admitted")
    }

    pub async fn try_invoke(&self, f: &Arc<Function>, event: &str) -> Result<Answer, InvokeError> {
        let request = Request {
            request_id: (&SystemRandom as &dyn Random).uuid(),
            payload: Bytes::copy_from_slice(event.as_bytes()),
            log_tail: true,
            ..Request::default()
        };
        let id = request.request_id.clone();
        self.runtime.invoke(f.clone(), request).await.map(|outcome| Answer { outcome, id })
    }

    /// The cheapest call: what a bench measures.
    pub async fn invoke_plain(&self, f: &Arc<Function>) {
        let request = Request {
            request_id: (&SystemRandom as &dyn Random).uuid(),
            payload: Bytes::from_static(b"{\"hello\":\"world\"}"),
            ..Request::default()
        };
        let outcome = self.runtime.invoke(f.clone(), request).await.expect("admitted");
        assert_eq!(outcome.function_error, None);
    }

    /// Invokes a new function once.
    pub async fn once(&self, runtime: &str, handler: &str, files: &[(&str, &str)], event: &str) -> Answer {
        self.invoke(&Arc::new(self.function(runtime, handler, files)), event).await
    }

    /// Whether the test machine has the runtime; says so where not.
    pub async fn has(&self, runtime: &str) -> bool {
        match self.runtime.find(runtime).await {
            Ok(_) => true,
            Err(e) => {
                eprintln!("skipped: {e}");
                false
            }
        }
    }
}

/// What an invocation answered.
pub struct Answer {
    pub outcome: Outcome,
    pub id: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.outcome.payload).unwrap_or_else(|e| panic!("{e}: {:?}", self.outcome.payload))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.outcome.payload).into_owned()
    }

    pub fn error(&self) -> Option<&str> {
        self.outcome.function_error
    }

    pub fn tail(&self) -> String {
        String::from_utf8(self.outcome.log_tail.clone().expect("asked for")).expect("text")
    }
}
