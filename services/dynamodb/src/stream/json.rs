//! Records as functions get them: the JSON of the Lambda event.

use super::{Placed, event_id, sequence};
use crate::features::Stream;
use crate::item::{Item, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};
use squall_store::Part;

/// An item in DynamoDB's JSON.
pub fn json_item(item: &Item) -> Json {
    Json::Object(item.iter().map(|(name, v)| (name.to_owned(), json_value(v))).collect())
}

fn json_value(value: &Value) -> Json {
    match value {
        Value::S(text) => json!({ "S": text }),
        Value::N(number) => json!({ "N": number.to_string() }),
        Value::B(bytes) => json!({ "B": STANDARD.encode(bytes) }),
        Value::Bool(flag) => json!({ "BOOL": flag }),
        Value::Null => json!({ "NULL": true }),
        Value::L(list) => json!({ "L": list.iter().map(json_value).collect::<Vec<_>>() }),
        Value::M(map) => json!({ "M": json_item(map) }),
        Value::Ss(set) => json!({ "SS": set }),
        Value::Ns(set) => json!({ "NS": set.iter().map(ToString::to_string).collect::<Vec<_>>() }),
        Value::Bs(set) => json!({ "BS": set.iter().map(|b| STANDARD.encode(b)).collect::<Vec<_>>() }),
    }
}

/// One element of `Records`.
pub fn event(stream: &Stream, part: Part, placed: &Placed) -> Json {
    let record = &placed.record;
    let mut change = Map::new();
    change.insert("ApproximateCreationDateTime".into(), json!(placed.at.secs() as f64));
    change.insert("Keys".into(), json_item(&record.keys));
    for (name, image) in [("NewImage", &record.new), ("OldImage", &record.old)] {
        if let Some(image) = image {
            change.insert(name.into(), json_item(image));
        }
    }
    change.insert("SequenceNumber".into(), sequence(placed.seq).into());
    change.insert("SizeBytes".into(), record.size_bytes().into());
    change.insert("StreamViewType".into(), stream.view.name().into());
    let mut event = json!({
        "eventID": event_id(part, placed.seq),
        "eventName": record.event.name(),
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": stream.region,
        "dynamodb": change,
        "eventSourceARN": stream.arn,
    });
    if let (true, Some(event)) = (record.by_service, event.as_object_mut()) {
        event.insert("userIdentity".into(), json!({ "type": "Service", "principalId": "dynamodb.amazonaws.com" }));
    }
    event
}
