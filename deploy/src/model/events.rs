//! Event source mappings and settings of asynchronous invocation, with the functions that they are for.

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::Known;
use crate::config::{self, Event, Service};
use crate::error::{Error, at};
use crate::yaml::Pos;

/// An event source mapping.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mapping {
    /// Name of the function.
    pub function: String,
    /// ARN of the source, or a token for it.
    pub source: String,
    /// Everything else of CreateEventSourceMapping's input, defaults written out.
    pub input: Json,
}

/// How a function is called asynchronously.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InvokeConfig {
    /// Name of the function.
    pub function: String,
    /// Input of PutFunctionEventInvokeConfig.
    pub input: Json,
}

/// What a role needs to read a stream.
const READING: [&str; 4] =
    ["dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream", "dynamodb:ListStreams"];

fn name_of(known: &Known, key: &str) -> String {
    known.functions.get(key).cloned().unwrap_or_default()
}

/// The function of this stack that a resource names by name or ARN.
fn own_function(known: &Known, named: &str, pos: &Pos) -> Result<String, Error> {
    let name = named.rsplit_once(":function:").map_or(named, |(_, name)| name);
    match known.functions.values().find(|n| *n == name) {
        Some(found) => Ok(found.clone()),
        None => Err(at(pos, format!("`{named}` is no function of this stack"))),
    }
}

/// All mappings: those of events, then those of resources.
pub(super) fn mappings(service: &Service, known: &Known) -> Result<Vec<Mapping>, Error> {
    let mut out: Vec<Mapping> = Vec::new();
    let mut found: Vec<(String, &config::Mapping)> = Vec::new();
    for function in &service.functions {
        for event in &function.events {
            if let Event::Stream(mapping) = event {
                found.push((name_of(known, &function.key), mapping));
            }
        }
    }
    for mapping in &service.mappings {
        found.push((own_function(known, &mapping.function, &mapping.at)?, mapping));
    }
    for (function, config::Mapping { source, input, at: pos, .. }) in found {
        if out.iter().any(|m| m.function == function && m.source == *source) {
            return Err(at(pos, format!("the function `{function}` reads this stream twice")));
        }
        out.push(Mapping { function, source: source.clone(), input: input.clone() });
    }
    Ok(out)
}

/// Settings of asynchronous invocation; destinations may be keys of functions.
pub(super) fn invoke_configs(service: &Service, known: &Known) -> Result<Vec<InvokeConfig>, Error> {
    let mut out: Vec<InvokeConfig> = Vec::new();
    let mut found: Vec<(String, &config::InvokeConfig)> = Vec::new();
    for function in &service.functions {
        found.extend(function.invoke.as_ref().map(|c| (name_of(known, &function.key), c)));
    }
    for config in &service.invoke_configs {
        found.push((own_function(known, &config.function, &config.at)?, config));
    }
    for (function, config) in found {
        if out.iter().any(|c| c.function == function) {
            return Err(at(&config.at, format!("the function `{function}` has these settings twice")));
        }
        let mut input = config.input.clone();
        for end in ["/DestinationConfig/OnSuccess/Destination", "/DestinationConfig/OnFailure/Destination"] {
            let Some(target) = input.pointer_mut(end) else { continue };
            let text = target.as_str().unwrap_or_default().to_owned();
            if text.starts_with("arn:") || text.starts_with('\u{1}') {
                continue;
            }
            let Some(name) = known.functions.get(&text) else {
                return Err(at(&config.at, format!("the destination `{text}` is neither an ARN nor a function here")));
            };
            *target = arn(known, name).into();
        }
        out.push(InvokeConfig { function, input });
    }
    Ok(out)
}

fn arn(known: &Known, function: &str) -> String {
    format!("arn:aws:lambda:{}:{}:function:{function}", known.region, known.account)
}

/// What the common role may do for the sake of events and destinations, as the framework has it.
pub(super) fn statements(service: &Service, known: &Known) -> Vec<Json> {
    let (mut streams, mut targets): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    for function in service.functions.iter().filter(|f| f.role.is_none()) {
        for event in &function.events {
            if let Event::Stream(mapping) = event {
                streams.push(&mapping.source);
            }
        }
        targets.extend(function.invoke.iter().flat_map(|c| invoked(&c.input, known)));
    }
    let mut out = Vec::new();
    if !streams.is_empty() {
        out.push(json!({ "Effect": "Allow", "Action": READING, "Resource": streams }));
    }
    if !targets.is_empty() {
        out.push(json!({ "Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": targets }));
    }
    out
}

/// ARNs of the functions that settings of asynchronous invocation name as destinations.
pub(crate) fn invoked(input: &Json, known: &Known) -> Vec<String> {
    let ends = ["/DestinationConfig/OnSuccess/Destination", "/DestinationConfig/OnFailure/Destination"];
    let texts = ends.into_iter().filter_map(|end| input.pointer(end)?.as_str());
    let arns = texts.map(|t| known.functions.get(t).map_or_else(|| t.to_owned(), |name| arn(known, name)));
    arns.filter(|a| a.contains(":lambda:")).collect()
}
