//! What the cloud remembers of a stack: `/_squall/stacks/{name}`.
//!
//! The record is written before anything is made and again after every step, so that a deploy which ends half-way can be
//! run again or removed. A name in it means "this stack's, if it exists"; ids are there once the cloud gave them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::client::{self, Call, Client, encode};
use crate::error::{Doing, Error};

/// Newest version of the record that is understood.
const VERSION: u32 = 1;

/// A deployed stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this record's form.
    pub version: u32,
    /// Name of the stack.
    pub name: String,
    /// Service in the file.
    pub service: String,
    /// Stage.
    pub stage: String,
    /// Region that everything is in.
    pub region: String,
    /// `deploying`, `deployed` or `removing`; the first and last mean that a command ended half-way (or still runs).
    pub status: String,
    /// Milliseconds since 1970 of the last change.
    pub updated_at_ms: i64,
    /// Roles.
    pub roles: Vec<String>,
    /// Log groups.
    pub log_groups: Vec<String>,
    /// Tables.
    pub tables: Vec<TableRecord>,
    /// Functions.
    pub functions: Vec<FunctionRecord>,
    /// Published versions of layers, oldest first.
    #[serde(default)]
    pub layers: Vec<LayerRecord>,
    /// Event source mappings.
    #[serde(default)]
    pub mappings: Vec<MappingRecord>,
    /// REST API.
    pub rest_api: Option<ApiRecord>,
    /// HTTP API.
    pub http_api: Option<ApiRecord>,
    /// Where it answers.
    pub endpoints: Vec<Endpoint>,
    /// Named values.
    pub outputs: BTreeMap<String, String>,
}

/// A table of a stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TableRecord {
    /// Name.
    pub name: String,
    /// Stays when the stack goes.
    pub is_retained: bool,
}

/// A function of a stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FunctionRecord {
    /// Key in the file.
    pub key: String,
    /// Name.
    pub name: String,
}

/// A published version of a stack's layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Name of the layer.
    pub name: String,
    /// ARN of the version.
    pub arn: String,
    /// Base64 of its package's SHA-256.
    pub sha256: String,
    /// What else it was published with.
    pub settings: Json,
    /// It stays when a newer one comes and when the stack goes.
    pub is_retained: bool,
}

/// An event source mapping of a stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MappingRecord {
    /// Id that the cloud gave.
    pub uuid: String,
    /// Name of the function.
    pub function: String,
    /// ARN of the source.
    pub source: String,
}

/// An API of a stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ApiRecord {
    /// Id that the cloud gave.
    pub id: String,
    /// Stage that serves, once there is one.
    pub stage: String,
    /// What was deployed last, to leave it alone while it stays the same.
    pub deployed: Json,
    /// Id of that deployment.
    pub deployment: String,
}

/// A place where a stack answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `GET` … or `ANY`.
    pub method: String,
    /// URL with `{param}` left as it is.
    pub url: String,
    /// Key of the function that answers.
    pub function: String,
}

impl Record {
    /// A stack that nothing is known of yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { version: VERSION, name: name.to_owned(), ..Self::default() }
    }

    /// The record of that stack.
    ///
    /// # Errors
    /// [`Error::Call`], and [`Error::Refused`] for a record that a newer version wrote.
    pub async fn load(client: &Client, name: &str) -> Result<Option<Self>, Error> {
        let path = format!("/_squall/stacks/{}", encode(name));
        match client.rest("squall", "GET", &path, &[], None).await {
            Ok(json) => understood(json).map(Some),
            Err(client::Error::Service { status: 404, .. }) => Ok(None),
            Err(e) => Err(e).doing(|| format!("reading the record of stack {name}")),
        }
    }

    /// Every stack's record, by name.
    ///
    /// # Errors
    /// As [`Record::load`].
    pub async fn all(client: &Client) -> Result<Vec<Self>, Error> {
        let found = client.rest("squall", "GET", "/_squall/stacks", &[], None).await;
        let found = found.doing(|| "listing stacks".into())?;
        let list = found.get("stacks").and_then(Json::as_array).cloned().unwrap_or_default();
        let mut records = list.into_iter().map(understood).collect::<Result<Vec<_>, _>>()?;
        records.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(records)
    }

    /// Keeps the record.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn save(&mut self, client: &Client) -> Result<(), Error> {
        self.updated_at_ms = client.now().0;
        let path = format!("/_squall/stacks/{}", encode(&self.name));
        let body = serde_json::to_value(&*self).map_err(|e| Error::State(format!("writing the record: {e}")))?;
        let saved = client.rest("squall", "PUT", &path, &[], Some(&body)).await;
        saved.map(|_| ()).doing(|| format!("keeping the record of stack {}", self.name))
    }

    /// Forgets the record.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn delete(&self, client: &Client) -> Result<(), Error> {
        let path = format!("/_squall/stacks/{}", encode(&self.name));
        let call = Call { service: "squall", method: "DELETE", path: &path, ..Call::default() };
        match client.send(call).await {
            Ok(_) | Err(client::Error::Service { status: 404, .. }) => Ok(()),
            Err(e) => Err(e).doing(|| format!("forgetting the record of stack {}", self.name)),
        }
    }
}

fn understood(json: Json) -> Result<Record, Error> {
    let version = json.get("version").and_then(Json::as_u64).unwrap_or(0);
    if version > u64::from(VERSION) {
        return Err(Error::Refused("the stack was deployed by a newer squall; use that version".into()));
    }
    serde_json::from_value(json).map_err(|e| Error::State(format!("the stack's record is not understood: {e}")))
}
