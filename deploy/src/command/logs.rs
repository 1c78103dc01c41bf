//! `logs`: what a function printed, and what it prints from now on.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::find_function;
use crate::client::{self, Client};
use crate::error::{Doing, Error};

/// How often a followed log is asked for.
const POLL: Duration = Duration::from_millis(500);
/// Events may reach the log a little after the time they carry; this far back is asked for again.
const OVERLAP_MS: i64 = 10_000;

/// Which events.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Go on until the sink has enough.
    pub is_following: bool,
    /// Milliseconds since 1970 to begin at; everything unless given.
    pub since_ms: Option<i64>,
    /// CloudWatch filter pattern.
    pub filter: Option<String>,
}

/// One event of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Log stream, one per execution environment.
    pub stream: String,
    /// Text without a line end.
    pub message: String,
}

/// Hands a function's log lines to `sink`, in order of time, until there are no more or (when following) it answers false.
///
/// # Errors
/// [`Error::Refused`] when neither the function nor a log of it exists; [`Error::Call`].
pub async fn logs(
    client: &Client,
    name: &str,
    options: &LogOptions,
    sink: &mut (dyn FnMut(&LogLine) -> bool + Send),
) -> Result<(), Error> {
    let (function, region) = find_function(client, name).await?;
    let function = function.rsplit(':').next().unwrap_or_default().to_owned();
    let client = client.with_region(&region);
    let group = format!("/aws/lambda/{function}");
    let mut since = options.since_ms;
    let mut seen: HashMap<String, i64> = HashMap::new();
    let mut is_checked = false;
    loop {
        let events = match events(&client, &group, since, options.filter.as_deref()).await {
            Err(e) if e.is_not_found() => {
                if !is_checked {
                    check_function(&client, &function).await?;
                    is_checked = true;
                }
                Vec::new()
            }
            other => other.doing(|| format!("reading the log of {function}"))?,
        };
        for (id, line) in events {
            if seen.insert(id, line.timestamp_ms).is_none() && !sink(&line) {
                return Ok(());
            }
        }
        if !options.is_following {
            return Ok(());
        }
        if let Some(newest) = seen.values().max().copied() {
            let from = newest.saturating_sub(OVERLAP_MS).max(options.since_ms.unwrap_or(0));
            seen.retain(|_, at| *at >= from);
            since = Some(from);
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn check_function(client: &Client, function: &str) -> Result<(), Error> {
    let path = format!("/2015-03-31/functions/{}/configuration", client::encode(function));
    match client.rest("lambda", "GET", &path, &[], None).await {
        Ok(_) => Ok(()),
        Err(e) if e.is_not_found() => {
            Err(Error::Refused(format!("there is no function {function}; `squall ls` lists them")))
        }
        Err(e) => Err(e).doing(|| format!("looking at function {function}")),
    }
}

/// Every event from that time on, with its id, in order of time.
async fn events(
    client: &Client,
    group: &str,
    since_ms: Option<i64>,
    filter: Option<&str>,
) -> Result<Vec<(String, LogLine)>, client::Error> {
    let mut out = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let mut input = json!({ "logGroupName": group });
        if let Some(map) = input.as_object_mut() {
            for (key, value) in [
                ("startTime", since_ms.map(Json::from)),
                ("filterPattern", filter.map(Json::from)),
                ("nextToken", token.take().map(Json::from)),
            ] {
                if let Some(value) = value {
                    map.insert(key.into(), value);
                }
            }
        }
        let page = client.json("logs", "Logs_20140328.FilterLogEvents", &input).await?;
        let text = |e: &Json, key: &str| e.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        for event in page.get("events").and_then(Json::as_array).into_iter().flatten() {
            let line = LogLine {
                timestamp_ms: event.get("timestamp").and_then(Json::as_i64).unwrap_or_default(),
                stream: text(event, "logStreamName"),
                message: text(event, "message").trim_end_matches(['\n', '\r']).to_owned(),
            };
            out.push((text(event, "eventId"), line));
        }
        token = page.get("nextToken").and_then(Json::as_str).map(str::to_owned);
        if token.is_none() {
            out.sort_by_key(|(_, line)| line.timestamp_ms);
            return Ok(out);
        }
    }
}
