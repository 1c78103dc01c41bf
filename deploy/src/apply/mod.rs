//! Makes the cloud match a stack, through the AWS APIs and in the order that references need.
//!
//! Order: log groups, tables, role (which may name streams of tables), empty APIs (their ids may stand in variables), layers,
//! functions, URLs, routes, event source mappings, and last what is no longer wanted. Before the first change everything that could be refused is looked at: tables that would have to be
//! replaced, names that belong to somebody else.
//!
//! A second deploy changes in place: code and configuration are updated and awaited, routes are added and moved before old
//! ones go, so that no request is dropped. Every step may be repeated.

mod functions;
mod http_api;
mod layers;
mod mappings;
mod permissions;
mod remove;
mod rest_api;
mod rest_routes;
mod role;
mod table_diff;
mod tables;
mod urls;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::client::{self, Client};
use crate::error::{Doing, Error};
use crate::intrinsics::fill_json;
use crate::model::{Project, Role, Stack};
use crate::record::{ApiRecord, Endpoint, FunctionRecord, Record, TableRecord};

pub use remove::remove_all;

/// Hears what is being done, one line per step.
pub trait Progress: Send {
    /// `text` is a phrase such as "creating function app-dev-hello".
    fn step(&mut self, text: &str);
}

impl<F: FnMut(&str) + Send> Progress for F {
    fn step(&mut self, text: &str) {
        self(text);
    }
}

/// How long a resource may take to become ready: the first function of a runtime waits for its SDK to be downloaded.
const READY_MAX: Duration = Duration::from_secs(900);

pub(crate) struct Deployer<'a> {
    client: &'a Client,
    account: &'a str,
    record: Record,
    progress: &'a mut dyn Progress,
    /// Ids that intrinsic functions stand for.
    late: BTreeMap<String, String>,
    /// Endpoints of function URLs.
    urls: Vec<Endpoint>,
}

/// Makes the cloud match `project` and answers the finished record.
pub(crate) async fn apply(
    client: &Client,
    account: &str,
    project: &Project,
    progress: &mut dyn Progress,
) -> Result<Record, Error> {
    let stack = &project.stack;
    let record = Record::load(client, &stack.name).await?.unwrap_or_else(|| Record::new(&stack.name));
    if !record.region.is_empty() && record.region != stack.region {
        let text = format!("stack {} is in region {}; remove it there first", stack.name, record.region);
        return Err(Error::Refused(text));
    }
    let mut deployer = Deployer { client, account, record, progress, late: BTreeMap::new(), urls: Vec::new() };
    let made = deployer.run(project).await;
    if made.is_err() && !deployer.record.status.is_empty() {
        // The record already names everything begun; what matters now is the first error.
        let _ = deployer.record.save(client).await;
    }
    made.map(|()| deployer.record)
}

impl Deployer<'_> {
    async fn run(&mut self, project: &Project) -> Result<(), Error> {
        let stack = &project.stack;
        let roles = self.look_at_roles(stack).await?;
        let tables = self.look_at_tables(stack).await?;
        let functions = self.look_at_functions(stack).await?;
        self.intend(stack);
        self.record.save(self.client).await?;

        self.log_groups(stack).await?;
        for (table, found) in stack.tables.iter().zip(tables) {
            self.table(table, found).await?;
        }
        for (role, found) in stack.roles.iter().zip(roles) {
            let policy = role.policy.as_ref().map(|p| fill_json(p, &self.late));
            self.role(&Role { policy, ..role.clone() }, found).await?;
        }
        if let Some(api) = &stack.rest_api {
            self.rest_shell(&stack.name, api).await?;
        }
        if let Some(api) = &stack.http_api {
            self.http_shell(&stack.name, api).await?;
        }
        self.layers(project).await?;
        self.functions(project, functions).await?;
        for function in &stack.functions {
            self.url(function).await?;
        }
        let mut endpoints = Vec::new();
        if let Some(api) = &stack.rest_api {
            endpoints.extend(self.rest_routes(stack, api).await?);
        }
        if let Some(api) = &stack.http_api {
            endpoints.extend(self.http_routes(stack, api).await?);
        }
        endpoints.append(&mut self.urls);
        self.invoke_configs(stack).await?;
        self.mappings(stack).await?;
        self.remove_unwanted(stack).await?;
        self.record.endpoints = endpoints;
        self.record.outputs =
            stack.outputs.iter().map(|(k, v)| (k.clone(), crate::intrinsics::fill(v, &self.late))).collect();
        self.record.status = "deployed".into();
        self.record.save(self.client).await
    }

    /// Adds everything wanted to the record, before it is made.
    fn intend(&mut self, stack: &Stack) {
        let record = &mut self.record;
        record.status = "deploying".into();
        record.service.clone_from(&stack.service);
        record.stage.clone_from(&stack.stage);
        record.region.clone_from(&stack.region);
        for role in &stack.roles {
            if !record.roles.contains(&role.name) {
                record.roles.push(role.name.clone());
            }
        }
        for group in &stack.log_groups {
            if !record.log_groups.contains(&group.name) {
                record.log_groups.push(group.name.clone());
            }
        }
        for table in &stack.tables {
            let entry = TableRecord { name: table.name.clone(), is_retained: table.is_retained };
            match record.tables.iter_mut().find(|t| t.name == table.name) {
                Some(known) => *known = entry,
                None => record.tables.push(entry),
            }
        }
        for function in &stack.functions {
            let entry = FunctionRecord { key: function.key.clone(), name: function.name.clone() };
            match record.functions.iter_mut().find(|f| f.name == function.name) {
                Some(known) => *known = entry,
                None => record.functions.push(entry),
            }
        }
    }

    fn step(&mut self, text: impl AsRef<str>) {
        self.progress.step(text.as_ref());
    }

    /// Log groups have no owner: a function that ran before may have made its group.
    async fn log_groups(&mut self, stack: &Stack) -> Result<(), Error> {
        for group in &stack.log_groups {
            let name = &group.name;
            let created =
                self.client.json("logs", "Logs_20140328.CreateLogGroup", &json!({ "logGroupName": name })).await;
            let existed = match created {
                Ok(_) => false,
                Err(e) if e.code() == Some("ResourceAlreadyExistsException") => true,
                Err(e) => return Err(e).doing(|| format!("creating log group {name}")),
            };
            if !existed {
                self.step(format!("created log group {name}"));
            }
            let (target, input) = match group.retention_days {
                Some(days) => {
                    ("Logs_20140328.PutRetentionPolicy", json!({ "logGroupName": name, "retentionInDays": days }))
                }
                None if existed => ("Logs_20140328.DeleteRetentionPolicy", json!({ "logGroupName": name })),
                None => continue,
            };
            let set = self.client.json("logs", target, &input).await;
            set.doing(|| format!("setting the retention of {name}"))?;
        }
        Ok(())
    }

    fn function_arn(&self, stack: &Stack, key: &str) -> String {
        let name = stack.functions.iter().find(|f| f.key == key).map_or(key, |f| f.name.as_str());
        format!("arn:aws:lambda:{}:{}:function:{name}", stack.region, self.account)
    }

    fn new_api(id: String) -> ApiRecord {
        ApiRecord { id, ..ApiRecord::default() }
    }
}

/// A thing that exists with that name but is not of this stack.
fn foreign(kind: &str, name: &str, stack: &str) -> Error {
    Error::Refused(format!(
        "{kind} {name} exists already and does not belong to stack {stack}; remove it or take another name (nothing was changed)"
    ))
}

/// The answer, or nothing where AWS says that there is none.
fn found<T>(answer: Result<T, client::Error>) -> Result<Option<T>, client::Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e),
    }
}

/// Waits a little longer each time, up to a second.
struct Pause {
    next: Duration,
    spent: Duration,
    is_said: bool,
}

impl Pause {
    fn new() -> Self {
        Self { next: Duration::from_millis(20), spent: Duration::ZERO, is_said: false }
    }

    /// True once, when the wait has become one to speak of.
    fn is_long(&mut self) -> bool {
        let is_due = !self.is_said && self.spent >= Duration::from_secs(1);
        self.is_said |= is_due;
        is_due
    }

    /// Sleeps; false once the time is used up.
    async fn wait(&mut self) -> bool {
        if self.spent >= READY_MAX {
            return false;
        }
        tokio::time::sleep(self.next).await;
        self.spent += self.next;
        self.next = (self.next * 3 / 2).min(Duration::from_secs(1));
        true
    }
}

/// Which tags to set and which to take away.
fn tag_changes(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> (BTreeMap<String, String>, Vec<String>) {
    let set = new.iter().filter(|(k, v)| old.get(*k) != Some(v)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let unset = old.keys().filter(|k| !new.contains_key(*k) && !k.starts_with("aws:")).cloned().collect();
    (set, unset)
}

/// A mapping of texts out of an answer.
fn texts(json: Option<&Json>) -> BTreeMap<String, String> {
    let entries = json.and_then(Json::as_object).into_iter().flatten();
    entries.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

/// A text out of an answer; empty when it is not there.
fn text<'a>(json: &'a Json, key: &str) -> &'a str {
    json.get(key).and_then(Json::as_str).unwrap_or_default()
}
