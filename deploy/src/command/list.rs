//! `ls`: stacks with their endpoints, and every function of the account.

use serde::Serialize;
use serde_json::Value as Json;

use crate::client::Client;
use crate::error::{Doing, Error};
use crate::record::{Endpoint, Record};

const PAGES_MAX: usize = 1000;

/// Everything that is deployed.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// Stacks by name.
    pub stacks: Vec<StackLine>,
    /// Functions by name, those that no stack made among them.
    pub functions: Vec<FunctionLine>,
}

/// A stack.
#[derive(Clone, Debug, Serialize)]
pub struct StackLine {
    /// Name.
    pub name: String,
    /// Stage.
    pub stage: String,
    /// Region.
    pub region: String,
    /// `deployed`, `deploying` or `removing`.
    pub status: String,
    /// Milliseconds since 1970 of the last change.
    pub updated_at_ms: i64,
    /// Names of its tables.
    pub tables: Vec<String>,
    /// Where it answers.
    pub endpoints: Vec<Endpoint>,
}

/// A function.
#[derive(Clone, Debug, Serialize)]
pub struct FunctionLine {
    /// Name.
    pub name: String,
    /// Runtime.
    pub runtime: String,
    /// Memory in MiB.
    pub memory_mb: i64,
    /// Timeout in seconds.
    pub timeout_s: i64,
    /// Time of the last change as Lambda writes it.
    pub last_modified: String,
    /// The stack that made it.
    pub stack: Option<String>,
}

/// Lists stacks, and functions of the client's region and of every region that has a stack.
///
/// # Errors
/// [`Error::Call`].
pub async fn list(client: &Client) -> Result<Listing, Error> {
    let records = Record::all(client).await?;
    let mut regions: Vec<&str> = records.iter().map(|r| r.region.as_str()).filter(|r| !r.is_empty()).collect();
    regions.push(client.region());
    regions.sort_unstable();
    regions.dedup();
    let mut functions = Vec::new();
    for region in regions {
        functions.extend(in_region(&client.with_region(region), &records).await?);
    }
    functions.sort_by(|a: &FunctionLine, b| a.name.cmp(&b.name));
    let stacks = records.into_iter().map(|r| StackLine {
        name: r.name,
        stage: r.stage,
        region: r.region,
        status: r.status,
        updated_at_ms: r.updated_at_ms,
        tables: r.tables.into_iter().map(|t| t.name).collect(),
        endpoints: r.endpoints,
    });
    Ok(Listing { stacks: stacks.collect(), functions })
}

async fn in_region(client: &Client, records: &[Record]) -> Result<Vec<FunctionLine>, Error> {
    let (mut out, mut marker) = (Vec::new(), String::new());
    for _ in 0..PAGES_MAX {
        let query: &[(&str, &str)] = if marker.is_empty() { &[] } else { &[("Marker", marker.as_str())] };
        let page = client.rest("lambda", "GET", "/2015-03-31/functions", query, None).await;
        let page = page.doing(|| "listing functions".into())?;
        let text = |f: &Json, key: &str| f.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        let number = |f: &Json, key: &str| f.get(key).and_then(Json::as_i64).unwrap_or_default();
        for f in page.get("Functions").and_then(Json::as_array).into_iter().flatten() {
            let name = text(f, "FunctionName");
            let owns = |r: &&Record| r.region == client.region() && r.functions.iter().any(|g| g.name == name);
            out.push(FunctionLine {
                stack: records.iter().find(owns).map(|r| r.name.clone()),
                runtime: text(f, "Runtime"),
                memory_mb: number(f, "MemorySize"),
                timeout_s: number(f, "Timeout"),
                last_modified: text(f, "LastModified"),
                name,
            });
        }
        marker = text(&page, "NextMarker");
        if marker.is_empty() {
            break;
        }
    }
    Ok(out)
}
