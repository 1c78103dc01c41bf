//! The commands: deploy, remove, list, invoke and logs, each one function from options to a result that serialises.

mod invoke;
mod list;
mod logs;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::apply::{self, Progress};
use crate::client::Client;
use crate::error::{Doing, Error};
use crate::model::{self, Settings};
use crate::record::{Endpoint, Record};

pub use invoke::{Invoked, invoke};
pub use list::{FunctionLine, Listing, StackLine, list};
pub use logs::{LogLine, LogOptions, logs};

/// What to deploy.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Folder with a serverless.yml, or the file.
    pub path: PathBuf,
    /// Stage; else the file's, else `dev`.
    pub stage: Option<String>,
    /// Region; else the file's, else the client's.
    pub region: Option<String>,
    /// `${param:NAME}` and `${opt:NAME}`.
    pub params: BTreeMap<String, String>,
    /// `${env:NAME}`: the environment of the command.
    pub env: BTreeMap<String, String>,
}

/// A finished deploy.
#[derive(Clone, Debug, Serialize)]
pub struct Deployed {
    /// Name of the stack.
    pub stack: String,
    /// Where it answers, in the order of the file.
    pub endpoints: Vec<Endpoint>,
    /// `Outputs` of the file.
    pub outputs: BTreeMap<String, String>,
}

/// Reads, packages and deploys. Nothing is changed when the file or the code is at fault.
///
/// # Errors
/// See [`Error`]; after [`Error::Call`] and [`Error::State`] the deploy may be run again, or the stack removed.
pub async fn run(client: &Client, options: &Options, progress: &mut dyn Progress) -> Result<Deployed, Error> {
    let identity = client.query("sts", "GetCallerIdentity", &[]).await;
    let account = identity.doing(|| "asking who is deploying".into())?.text_of("Account").to_owned();
    let settings = Settings {
        stage: options.stage.clone(),
        region: options.region.clone(),
        params: options.params.clone(),
        env: options.env.clone(),
        account: account.clone(),
        default_region: client.region().to_owned(),
        instance: format!("{:x}", client.now().0),
    };
    let path = options.path.clone();
    progress.step(&format!("packaging {}", path.display()));
    let loaded = tokio::task::spawn_blocking(move || model::load(&path, &settings)).await;
    let project = loaded.map_err(|e| Error::State(format!("packaging ended early: {e}")))??;
    let client = client.with_region(&project.stack.region);
    let record = apply::apply(&client, &account, &project, progress).await?;
    Ok(Deployed { stack: record.name, endpoints: record.endpoints, outputs: record.outputs })
}

/// A removed stack.
#[derive(Clone, Debug, Serialize)]
pub struct Removed {
    /// Name of the stack.
    pub stack: String,
    /// Tables that `DeletionPolicy: Retain` keeps.
    pub retained: Vec<String>,
}

/// Removes a stack by its name, or by its service's name where that has one stage only.
///
/// # Errors
/// [`Error::Refused`] when there is no such stack; [`Error::Call`] when something cannot be removed: run it again.
pub async fn remove(client: &Client, name: &str, progress: &mut dyn Progress) -> Result<Removed, Error> {
    let mut records = Record::all(client).await?;
    let exact = records.iter().position(|r| r.name == name);
    let of_service: Vec<usize> =
        records.iter().enumerate().filter(|(_, r)| r.service == name).map(|(i, _)| i).collect();
    let at = match (exact, of_service.as_slice()) {
        (Some(at), _) => at,
        (None, [only]) => *only,
        (None, []) => return Err(Error::Refused(format!("there is no stack {name}; `squall ls` lists them"))),
        (None, several) => {
            let names: Vec<&str> = several.iter().filter_map(|i| records.get(*i)).map(|r| r.name.as_str()).collect();
            return Err(Error::Refused(format!("{name} has several stacks, name one of {}", names.join(", "))));
        }
    };
    let record = records.swap_remove(at);
    let region = if record.region.is_empty() { client.region() } else { &record.region };
    let client = client.with_region(region);
    let removed = apply::remove_all(&client, record, progress).await?;
    let retained = removed.tables.into_iter().filter(|t| t.is_retained).map(|t| t.name).collect();
    Ok(Removed { stack: removed.name, retained })
}

/// A function by its own name or ARN, or by its key in a deployed file: name and region.
async fn find_function(client: &Client, name: &str) -> Result<(String, String), Error> {
    let records = Record::all(client).await?;
    let of = |matches: &dyn Fn(&crate::record::FunctionRecord) -> bool| -> Vec<(String, String)> {
        let all = records.iter().flat_map(|r| r.functions.iter().map(move |f| (r, f)));
        all.filter(|(_, f)| matches(f)).map(|(r, f)| (f.name.clone(), r.region.clone())).collect()
    };
    if let Some(found) = of(&|f| f.name == name).into_iter().next() {
        return Ok(found);
    }
    match of(&|f| f.key == name).as_slice() {
        [] => Ok((name.to_owned(), client.region().to_owned())),
        [only] => Ok(only.clone()),
        several => {
            let names: Vec<&str> = several.iter().map(|(n, _)| n.as_str()).collect();
            Err(Error::Refused(format!("{name} is in several stacks, name one of {}", names.join(", "))))
        }
    }
}
