//! What hands events to functions besides HTTP: event source mappings, and settings of asynchronous invocation.
//!
//! Three dialects say the same: `stream` events of serverless.yml, `DynamoDB` events of SAM, and CloudFormation's
//! `AWS::Lambda::EventSourceMapping`; each becomes the whole input of CreateEventSourceMapping, defaults written out, so that a
//! later deploy also takes back what is no longer said.

use serde_json::{Map, Value as Json, json};

use crate::error::{Error, at};
use crate::table::{Table, text};
use crate::yaml::{Node, Pos, Value};

/// An event source mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// Name or ARN of the function; empty where it stands at the function itself.
    pub function: String,
    /// ARN of the source; may be a token for what the cloud gives.
    pub source: String,
    /// Everything else of CreateEventSourceMapping's input.
    pub input: Json,
    /// Where it is said.
    pub at: Pos,
}

/// How a function is called asynchronously.
#[derive(Clone, Debug, PartialEq)]
pub struct InvokeConfig {
    /// Name or ARN of the function; empty where it stands at the function itself.
    pub function: String,
    /// Input of PutFunctionEventInvokeConfig; destinations may be keys of functions.
    pub input: Json,
    /// Where it is said.
    pub at: Pos,
}

/// The keys of a dialect.
struct Keys {
    size: &'static str,
    window: &'static str,
    parallel: &'static str,
    retries: &'static str,
    age: &'static str,
    bisect: &'static str,
    tumbling: &'static str,
    position: &'static str,
    enabled: &'static str,
    /// `BatchSize` unless it is said.
    size_default: i64,
}

const CLOUDFORMATION: Keys = Keys {
    size: "BatchSize",
    window: "MaximumBatchingWindowInSeconds",
    parallel: "ParallelizationFactor",
    retries: "MaximumRetryAttempts",
    age: "MaximumRecordAgeInSeconds",
    bisect: "BisectBatchOnFunctionError",
    tumbling: "TumblingWindowInSeconds",
    position: "StartingPosition",
    enabled: "Enabled",
    size_default: 100,
};

const FRAMEWORK: Keys = Keys {
    size: "batchSize",
    window: "batchWindow",
    parallel: "parallelizationFactor",
    retries: "maximumRetryAttempts",
    age: "maximumRecordAgeInSeconds",
    bisect: "bisectBatchOnFunctionError",
    tumbling: "tumblingWindowInSeconds",
    position: "startingPosition",
    enabled: "enabled",
    size_default: 10,
};

const OF_OTHER_SOURCES: &[(&str, &str)] = &[
    ("StartingPositionTimestamp", "DynamoDB streams have no such position"),
    ("startingPositionTimestamp", "DynamoDB streams have no such position"),
    ("consumer", "Kinesis is not served yet"),
    ("MetricsConfig", "metrics of mappings are not served yet"),
    ("KmsKeyArn", "encryption keys are not served yet"),
    ("LoggingConfig", "logs of mappings are not served yet"),
    ("Queues", "message brokers are not served"),
    ("Topics", "Kafka is not served"),
    ("ScalingConfig", "queues are not served yet"),
    ("SelfManagedEventSource", "Kafka is not served"),
    ("SourceAccessConfigurations", "message brokers are not served"),
    ("AmazonManagedKafkaEventSourceConfig", "Kafka is not served"),
    ("SelfManagedKafkaEventSourceConfig", "Kafka is not served"),
    ("DocumentDBEventSourceConfig", "DocumentDB is not served"),
    ("ProvisionedPollerConfig", "Kafka is not served"),
];

fn settings(table: &mut Table<'_>, keys: &Keys) -> Result<Map<String, Json>, Error> {
    let mut out = Map::new();
    let mut put = |key: &str, value: Json| out.insert(key.to_owned(), value);
    put("BatchSize", table.int(keys.size, 1, 10_000)?.unwrap_or(keys.size_default).into());
    put("MaximumBatchingWindowInSeconds", table.int(keys.window, 0, 300)?.unwrap_or(0).into());
    put("ParallelizationFactor", table.int(keys.parallel, 1, 10)?.unwrap_or(1).into());
    put("MaximumRetryAttempts", table.int(keys.retries, -1, 10_000)?.unwrap_or(-1).into());
    put("MaximumRecordAgeInSeconds", table.int(keys.age, -1, 604_800)?.unwrap_or(-1).into());
    put("BisectBatchOnFunctionError", table.flag(keys.bisect)?.unwrap_or(false).into());
    put("TumblingWindowInSeconds", table.int(keys.tumbling, 0, 900)?.unwrap_or(0).into());
    let position = table.choice(keys.position, &["TRIM_HORIZON", "LATEST"])?;
    put("StartingPosition", position.unwrap_or_else(|| "TRIM_HORIZON".into()).into());
    put("Enabled", table.flag(keys.enabled)?.unwrap_or(true).into());
    Ok(out)
}

fn reports(types: &[String], table: &Table<'_>, key: &str) -> Result<Json, Error> {
    match types {
        [] => Ok(json!([])),
        [one] if one == "ReportBatchItemFailures" => Ok(json!([one])),
        _ => Err(at(table.pos(), format!("`{}` must be ReportBatchItemFailures", table.name(key)))),
    }
}

/// The target of a destination: an ARN, or a mapping with one under `key`.
fn target(node: &Node, name: &str, key: &'static str) -> Result<String, Error> {
    if node.as_str().is_some() {
        return text(node, name);
    }
    let mut inner = Table::new(node, name)?;
    let found = text(inner.need(key)?, &format!("{name}.{key}"))?;
    for kind in ["type", "Type"] {
        inner.text(kind)?;
    }
    inner.finish(&[])?;
    Ok(found)
}

fn on_failure(node: Option<&Node>, name: &str) -> Result<Json, Error> {
    let Some(node) = node else { return Ok(json!({ "OnFailure": {} })) };
    let mut inner = Table::new(node, name)?;
    let failure = inner.get("OnFailure").map(|n| target(n, &format!("{name}.OnFailure"), "Destination")).transpose()?;
    inner.finish(&[("OnSuccess", "streams have no such destination")])?;
    Ok(failure.map_or_else(|| json!({ "OnFailure": {} }), |arn| json!({ "OnFailure": { "Destination": arn } })))
}

/// The properties that CloudFormation and SAM share; `source` and `function` are their keys for these.
fn properties(table: &mut Table<'_>, source: &'static str, node_at: &Pos) -> Result<Mapping, Error> {
    let name = table.name(source);
    let source = text(table.need(source)?, &name)?;
    check_source(&source, &name, node_at)?;
    let mut input = settings(table, &CLOUDFORMATION)?;
    let types = table.texts("FunctionResponseTypes")?;
    input.insert("FunctionResponseTypes".into(), reports(&types, table, "FunctionResponseTypes")?);
    let name = table.name("FilterCriteria");
    let mut filters = Vec::new();
    if let Some(node) = table.get("FilterCriteria") {
        let mut inner = Table::new(node, &name)?;
        for filter in inner.list("Filters")? {
            let mut one = Table::new(filter, format!("{name}.Filters"))?;
            filters.push(json!({ "Pattern": text(one.need("Pattern")?, &format!("{name}.Filters.Pattern"))? }));
            one.finish(&[])?;
        }
        inner.finish(&[])?;
    }
    input.insert("FilterCriteria".into(), json!({ "Filters": filters }));
    let name = table.name("DestinationConfig");
    input.insert("DestinationConfig".into(), on_failure(table.get("DestinationConfig"), &name)?);
    Ok(Mapping { function: String::new(), source, input: Json::Object(input), at: node_at.clone() })
}

fn check_source(source: &str, name: &str, pos: &Pos) -> Result<(), Error> {
    let service = source.split(':').nth(2).unwrap_or_default();
    // A token stands for the stream of a table of this file.
    if source.starts_with('\u{1}') || service == "dynamodb" && source.contains("/stream/") {
        return Ok(());
    }
    let why = match service {
        "kinesis" | "sqs" | "kafka" => format!("event sources of {service} are not served yet; DynamoDB streams are"),
        _ => "this must be the ARN of a DynamoDB stream, such as !GetAtt Table.StreamArn".to_owned(),
    };
    Err(at(pos, format!("`{name}`: {why}")))
}

/// The properties of a SAM event of type `DynamoDB`.
pub(crate) fn sam(node: &Node, name: &str) -> Result<Mapping, Error> {
    let mut table = Table::new(node, name)?;
    table.need("StartingPosition")?;
    let mapping = properties(&mut table, "Stream", &node.at)?;
    table.finish(OF_OTHER_SOURCES)?;
    Ok(mapping)
}

/// The properties of an `AWS::Lambda::EventSourceMapping`.
pub(super) fn resource(node: &Node, name: &str) -> Result<Mapping, Error> {
    let mut table = Table::new(node, name)?;
    let function = text(table.need("FunctionName")?, &table.name("FunctionName"))?;
    table.need("StartingPosition")?;
    let mut mapping = properties(&mut table, "EventSourceArn", &node.at)?;
    if table.get("Tags").is_some() {
        let mut tags = Map::new();
        for tag in table.list("Tags")? {
            let mut one = Table::new(tag, table.name("Tags"))?;
            let key = text(one.need("Key")?, "Key")?;
            tags.insert(key, text(one.need("Value")?, "Value")?.into());
            one.finish(&[])?;
        }
        mapping.input["Tags"] = Json::Object(tags);
    }
    table.finish(OF_OTHER_SOURCES)?;
    Ok(Mapping { function, ..mapping })
}

/// A `stream` event of serverless.yml: an ARN, or a mapping.
pub(super) fn stream(node: &Node, name: &str) -> Result<Mapping, Error> {
    let short;
    let (node, is_short) = match node.as_str() {
        Some(_) => {
            let entry = crate::yaml::Entry { key: "arn".into(), at: node.at.clone(), node: node.clone() };
            short = Node::new(&node.at, Value::Map(vec![entry]));
            (&short, true)
        }
        None => (node, false),
    };
    let mut table = Table::new(node, name)?;
    if !is_short {
        table.need("type")?;
        if table.choice("type", &["dynamodb", "kinesis"])?.as_deref() == Some("kinesis") {
            return Err(at(&node.at, format!("`{name}.type: kinesis`: Kinesis is not served yet")));
        }
    }
    let source = text(table.need("arn")?, &format!("{name}.arn"))?;
    check_source(&source, &format!("{name}.arn"), &node.at)?;
    let mut input = settings(&mut table, &FRAMEWORK)?;
    let types: Vec<String> = table.text("functionResponseType")?.into_iter().collect();
    input.insert("FunctionResponseTypes".into(), reports(&types, &table, "functionResponseType")?);
    let filters = table.list("filterPatterns")?.iter().map(|p| json!({ "Pattern": p.to_json().to_string() }));
    input.insert("FilterCriteria".into(), json!({ "Filters": filters.collect::<Vec<_>>() }));
    let mut failure = json!({});
    if let Some(node) = table.get("destinations") {
        let name = format!("{name}.destinations");
        let mut inner = Table::new(node, &name)?;
        if let Some(node) = inner.get("onFailure") {
            failure = json!({ "Destination": target(node, &format!("{name}.onFailure"), "arn")? });
        }
        inner.finish(&[("onSuccess", "streams have no such destination")])?;
    }
    input.insert("DestinationConfig".into(), json!({ "OnFailure": failure }));
    table.finish(OF_OTHER_SOURCES)?;
    Ok(Mapping { function: String::new(), source, input: Json::Object(input), at: node.at.clone() })
}

fn invoke_input(retries: Option<i64>, age: Option<i64>, success: Option<String>, failure: Option<String>) -> Json {
    let mut out = Map::new();
    if let Some(n) = retries {
        out.insert("MaximumRetryAttempts".into(), n.into());
    }
    if let Some(n) = age {
        out.insert("MaximumEventAgeInSeconds".into(), n.into());
    }
    let arn = |a: Option<String>| a.map_or_else(|| json!({}), |a| json!({ "Destination": a }));
    out.insert("DestinationConfig".into(), json!({ "OnSuccess": arn(success), "OnFailure": arn(failure) }));
    Json::Object(out)
}

/// `maximumRetryAttempts`, `maximumEventAge` and `destinations` of a function in serverless.yml.
pub(super) fn invoke_of(table: &mut Table<'_>) -> Result<Option<InvokeConfig>, Error> {
    let retries = table.int("maximumRetryAttempts", 0, 2)?;
    let age = table.int("maximumEventAge", 60, 21_600)?;
    let (mut success, mut failure) = (None, None);
    let name = table.name("destinations");
    if let Some(node) = table.get("destinations") {
        let mut inner = Table::new(node, &name)?;
        success = inner.get("onSuccess").map(|n| target(n, &format!("{name}.onSuccess"), "arn")).transpose()?;
        failure = inner.get("onFailure").map(|n| target(n, &format!("{name}.onFailure"), "arn")).transpose()?;
        inner.finish(&[])?;
    }
    if retries.is_none() && age.is_none() && success.is_none() && failure.is_none() {
        return Ok(None);
    }
    let input = invoke_input(retries, age, success, failure);
    Ok(Some(InvokeConfig { function: String::new(), input, at: table.pos().clone() }))
}

/// SAM's `EventInvokeConfig`, and the properties of an `AWS::Lambda::EventInvokeConfig`.
pub(crate) fn invoke(node: &Node, name: &str, is_resource: bool) -> Result<InvokeConfig, Error> {
    let mut table = Table::new(node, name)?;
    let mut function = String::new();
    if is_resource {
        function = text(table.need("FunctionName")?, &table.name("FunctionName"))?;
        table.need("Qualifier")?;
        table.choice("Qualifier", &["$LATEST"])?;
    }
    let retries = table.int("MaximumRetryAttempts", 0, 2)?;
    let age = table.int("MaximumEventAgeInSeconds", 60, 21_600)?;
    let (mut success, mut failure) = (None, None);
    let name = table.name("DestinationConfig");
    if let Some(node) = table.get("DestinationConfig") {
        let mut inner = Table::new(node, &name)?;
        success = inner.get("OnSuccess").map(|n| target(n, &format!("{name}.OnSuccess"), "Destination")).transpose()?;
        failure = inner.get("OnFailure").map(|n| target(n, &format!("{name}.OnFailure"), "Destination")).transpose()?;
        inner.finish(&[])?;
    }
    table.finish(&[])?;
    Ok(InvokeConfig { function, input: invoke_input(retries, age, success, failure), at: node.at.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn read(text: &str) -> Result<Mapping, String> {
        parse("s.yml", text).and_then(|n| stream(&n, "stream")).map_err(|e| e.to_string())
    }

    #[test]
    fn streams_become_inputs() {
        let arn = "arn:aws:dynamodb:r:1:table/t/stream/x";
        let short = read(arn).expect("an ARN is enough");
        assert_eq!((short.input["BatchSize"].as_i64(), short.input["Enabled"].as_bool()), (Some(10), Some(true)));
        let long = format!(
            "type: dynamodb\narn: {arn}\nbatchSize: 5\nstartingPosition: LATEST\nmaximumRetryAttempts: 3\n\
             functionResponseType: ReportBatchItemFailures\nfilterPatterns:\n  - eventName: [INSERT]\n"
        );
        let long = read(&long).expect("valid").input;
        assert_eq!(long["FilterCriteria"], json!({ "Filters": [{ "Pattern": r#"{"eventName":["INSERT"]}"# }] }));
        assert_eq!(long["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
        assert_eq!(
            (long["StartingPosition"].as_str(), long["MaximumRetryAttempts"].as_i64()),
            (Some("LATEST"), Some(3))
        );
    }

    #[test]
    fn what_is_not_served_is_named_with_its_line() {
        let cases = [
            ("arn:aws:kinesis:r:1:stream/s", "s.yml:1: `stream.arn`: event sources of kinesis are not served yet"),
            ("type: kinesis\narn: x", "s.yml:1: `stream.type: kinesis`: Kinesis is not served yet"),
            ("arn:aws:dynamodb:r:1:table/t", "s.yml:1: `stream.arn`: this must be the ARN of a DynamoDB stream"),
            (
                "type: dynamodb\narn: arn:aws:dynamodb:r:1:table/t/stream/x\nconsumer: true",
                "s.yml:3: `stream.consumer`",
            ),
        ];
        for (text, expected) in cases {
            let found = read(text).expect_err(text);
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
