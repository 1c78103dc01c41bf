//! `/_squall/`: health for everybody; backups and exports for root; the rest for root and whom a policy allows.

use crate::moving::source;
use crate::{backup, cost};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use serde_json::{Value, json};
use squall_gateway::{Internal, InternalReply};
use squall_service::Deps;
use squall_store::{Key, Kind, StateExt as _, Txn, envelope};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// Tells a part's health as JSON.
pub type Probe = Box<dyn Fn() -> Value + Send + Sync>;

/// The platform's own pages.
pub struct Pages {
    deps: Deps,
    data: PathBuf,
    backup: Option<Arc<dyn backup::Source>>,
    probes: RwLock<Vec<(&'static str, Probe)>>,
    cost: OnceLock<cost::Page>,
    export: OnceLock<source::Source>,
}

/// Stack records: one row each, by name.
const STACK: Kind = Kind::kv(0x06, 1);
/// Most stacks of one cloud.
const STACKS_MAX: usize = 10_000;

impl Pages {
    /// Pages over that state; `backup` is absent where the engine has nothing durable to back up.
    #[must_use]
    pub fn new(deps: Deps, data: PathBuf, backup: Option<Arc<dyn backup::Source>>) -> Self {
        Self { deps, data, backup, probes: RwLock::default(), cost: OnceLock::new(), export: OnceLock::new() }
    }

    /// Adds a part to the health page.
    pub fn probe(&self, name: &'static str, probe: Probe) {
        self.probes.write().push((name, probe));
    }

    /// Serves bills from that meter.
    pub fn cost(&self, page: cost::Page) {
        let _ = self.cost.set(page);
    }

    /// Exports that cloud.
    pub fn export(&self, source: source::Source) {
        let _ = self.export.set(source);
    }

    fn health(&self) -> InternalReply {
        let mut page = serde_json::Map::new();
        page.insert("status".into(), json!("ok"));
        page.insert("version".into(), json!(env!("CARGO_PKG_VERSION")));
        page.insert("region".into(), json!(self.deps.region.as_str()));
        page.insert("account".into(), json!(self.deps.account.as_str()));
        for (name, probe) in self.probes.read().iter() {
            page.insert((*name).into(), probe());
        }
        InternalReply::json(200, &Value::Object(page))
    }

    async fn stack(&self, method: &str, name: &str, body: Bytes) -> InternalReply {
        if name.is_empty() || name.len() > 128 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return fault(400, "a stack name has 1 to 128 letters, digits and hyphens");
        }
        let key = stack_key(name);
        let done = match method {
            "GET" => {
                return match self.deps.state.get(key).await {
                    Ok(Some(row)) => match envelope::open(&row.value) {
                        Ok(body) => raw(body),
                        Err(e) => failed("read", &e),
                    },
                    Ok(None) => fault(404, &format!("no stack named {name}")),
                    Err(e) => failed("read", &e),
                };
            }
            "PUT" if serde_json::from_slice::<Value>(&body).is_err() => return fault(400, "the record is not JSON"),
            "PUT" => self.deps.state.commit(Txn::new().put(key, envelope::seal(&body))).await,
            "DELETE" => self.deps.state.commit(Txn::new().delete(key)).await,
            _ => return fault(405, "stack records take GET, PUT and DELETE"),
        };
        match done {
            Ok(_) => InternalReply::json(200, &json!({})),
            Err(e) => failed("write", &e),
        }
    }

    async fn stacks(&self) -> InternalReply {
        let rows = match self.deps.state.all(Key::new(STACK, 0, 0), STACKS_MAX).await {
            Ok(rows) => rows,
            Err(e) => return failed("list", &e),
        };
        let records: Vec<Value> =
            rows.iter().filter_map(|row| serde_json::from_slice(envelope::open(&row.value).ok()?).ok()).collect();
        InternalReply::json(200, &json!({ "stacks": records }))
    }

    fn backup(&self) -> InternalReply {
        match &self.backup {
            Some(source) => InternalReply {
                status: 200,
                content_type: "application/x-tar",
                body: Bytes::new(),
                stream: Some(backup::stream(source.clone(), self.data.clone())),
            },
            None => fault(
                409,
                "only a cloud whose state and objects lie in its data directory is backed up this way: \
                 for state in memory or in a database, and objects in a bucket, use `squall export` or their own tools",
            ),
        }
    }
}

fn stack_key(name: &str) -> Key {
    Key::new(STACK, 0, 0).raw(name.as_bytes())
}

fn raw(json: &[u8]) -> InternalReply {
    InternalReply { status: 200, content_type: "application/json", body: Bytes::copy_from_slice(json), stream: None }
}

fn fault(status: u16, message: &str) -> InternalReply {
    InternalReply::json(status, &json!({ "message": message }))
}

fn failed(action: &str, error: &squall_store::Error) -> InternalReply {
    tracing::error!(%error, action, "stack record");
    fault(500, "the state engine failed: the server's log has the cause")
}

#[async_trait]
impl Internal for Pages {
    fn is_public(&self, method: &str, path: &str) -> bool {
        method == "GET" && path == "health"
    }

    fn is_for_root(&self, path: &str) -> bool {
        // Both carry root's credentials.
        matches!(path, "backup" | "export")
    }

    async fn page(&self, method: &str, path: &str, query: &str, body: Bytes) -> InternalReply {
        match (method, path) {
            ("GET", "health") => self.health(),
            ("GET", "stacks") => self.stacks().await,
            ("POST", "backup") => self.backup(),
            ("POST", "export") => match &self.export.get() {
                Some(source) => InternalReply {
                    status: 200,
                    content_type: "application/octet-stream",
                    body: Bytes::new(),
                    stream: Some(source::stream((*source).clone())),
                },
                None => fault(503, "the cloud is not ready"),
            },
            ("GET", "cost") => match self.cost.get() {
                Some(page) => page.answer(query).await,
                None => fault(503, "usage is not metered"),
            },
            _ => match path.strip_prefix("stacks/") {
                Some(name) => self.stack(method, name, body).await,
                None => fault(404, "no such page: /_squall/health, stacks, backup, export, cost"),
            },
        }
    }
}
