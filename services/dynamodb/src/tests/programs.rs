//! The same random programs of requests on two state engines: every answer is the same.
//!
//! A program mixes reads and writes of every kind over a few keys, so that conditions, transactions and batches meet each
//! other, with requests that are refused among them. `SQUALL_TEST_TIMES` makes the programs longer.

use super::random::{self, Writer};
use super::*;
use crate::testing::{Random, rounds};

/// A table of `pk` and the number `sk`, with a local index by `ee` and global ones by `aa` and by `bb` with `sk`.
pub(super) fn indexed(name: &str) -> Json {
    let mut input = table(name, Some("N"));
    let definitions = input["AttributeDefinitions"].as_array_mut().expect("a list");
    for (attribute, kind) in [("aa", "S"), ("bb", "N"), ("ee", "S")] {
        definitions.push(json!({"AttributeName": attribute, "AttributeType": kind}));
    }
    let key = |hash: &str, range: Option<&str>| {
        let mut schema = vec![json!({"AttributeName": hash, "KeyType": "HASH"})];
        schema.extend(range.map(|range| json!({"AttributeName": range, "KeyType": "RANGE"})));
        schema
    };
    input["LocalSecondaryIndexes"] = json!([
        {"IndexName": "bye", "KeySchema": key("pk", Some("ee")), "Projection": {"ProjectionType": "KEYS_ONLY"}}]);
    input["GlobalSecondaryIndexes"] = json!([
        {"IndexName": "bya", "KeySchema": key("aa", None), "Projection": {"ProjectionType": "ALL"}},
        {"IndexName": "byb", "KeySchema": key("bb", Some("sk")),
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["cc"]}}]);
    input
}

pub(super) fn key(r: &mut Random) -> Json {
    json!({"pk": {"S": format!("p{}", r.below(2))}, "sk": {"N": r.below(6).to_string()}})
}

/// An item whose indexed attributes mostly have the types of the indexes.
pub(super) fn item(r: &mut Random) -> Json {
    let mut item = random::attributes(r, 2);
    for (name, value) in [
        ("aa", json!({"S": format!("a{}", r.below(3))})),
        ("bb", json!({"N": r.below(3).to_string()})),
        ("ee", json!({"S": format!("e{}", r.below(4))})),
    ] {
        item.remove(name);
        match r.below(12) {
            0 => drop(item.insert(name.to_owned(), random::value(r, 1))),
            1..=7 => drop(item.insert(name.to_owned(), value)),
            _ => {}
        }
    }
    item.extend(key(r).as_object().cloned().unwrap_or_default());
    Json::Object(item)
}

fn maybe_condition(r: &mut Random, writer: &mut Writer, request: &mut Json) {
    if r.below(3) == 0 {
        request["ConditionExpression"] = json!(writer.condition(&random::condition(r)));
        if r.below(2) == 0 {
            request["ReturnValuesOnConditionCheckFailure"] = json!("ALL_OLD");
        }
    }
}

fn put(r: &mut Random) -> Json {
    let (mut writer, mut request) = (Writer::default(), json!({"TableName": "ttt", "Item": item(r)}));
    maybe_condition(r, &mut writer, &mut request);
    writer.finish(&mut request);
    request
}

fn delete(r: &mut Random) -> Json {
    let (mut writer, mut request) = (Writer::default(), json!({"TableName": "ttt", "Key": key(r)}));
    maybe_condition(r, &mut writer, &mut request);
    writer.finish(&mut request);
    request
}

fn update(r: &mut Random) -> Json {
    let (mut writer, mut request) = (Writer::default(), json!({"TableName": "ttt", "Key": key(r)}));
    request["UpdateExpression"] = json!(writer.update(&random::update(r)));
    maybe_condition(r, &mut writer, &mut request);
    writer.finish(&mut request);
    request
}

fn check(r: &mut Random) -> Json {
    let (mut writer, mut request) = (Writer::default(), json!({"TableName": "ttt", "Key": key(r)}));
    request["ConditionExpression"] = json!(writer.condition(&random::condition(r)));
    writer.finish(&mut request);
    request
}

/// The items of a transaction: mostly of different keys.
pub(super) fn transaction(r: &mut Random) -> Json {
    let one = |r: &mut Random| match r.below(4) {
        0 => json!({"Put": put(r)}),
        1 => json!({"Delete": delete(r)}),
        2 => json!({"Update": update(r)}),
        _ => json!({"ConditionCheck": check(r)}),
    };
    json!({"TransactItems": (0..1 + r.below(3)).map(|_| one(r)).collect::<Vec<_>>()})
}

fn query(r: &mut Random) -> Json {
    let (index, condition, values) = match r.below(6) {
        0 => (Some("bya"), "aa = :k", json!({":k": {"S": format!("a{}", r.below(3))}})),
        1 => (Some("byb"), "bb = :k and sk > :s", json!({":k": {"N": "1"}, ":s": {"N": r.below(6).to_string()}})),
        2 => (Some("bye"), "pk = :k and begins_with(ee, :s)", json!({":k": {"S": "p0"}, ":s": {"S": "e"}})),
        3 => (None, "pk = :k and sk between :s and :t", json!({":k": {"S": "p1"}, ":s": {"N": "1"}, ":t": {"N": "4"}})),
        _ => (None, "pk = :k", json!({":k": {"S": "p0"}})),
    };
    let mut request = json!({"TableName": "ttt", "KeyConditionExpression": condition,
        "ExpressionAttributeValues": values, "ScanIndexForward": r.below(2) == 0});
    if let Some(index) = index {
        request["IndexName"] = json!(index);
    }
    request
}

fn page(r: &mut Random, mut request: Json) -> Json {
    if r.below(2) == 0 {
        request["Limit"] = json!(1 + r.below(8));
    }
    match r.below(4) {
        0 => request["Select"] = json!("COUNT"),
        1 => request["ProjectionExpression"] = json!("cc, sk"),
        2 => request["FilterExpression"] = json!("attribute_exists(cc) or attribute_exists(dd.aa)"),
        _ => {}
    }
    request
}

fn scan(r: &mut Random) -> Json {
    let mut request = json!({"TableName": "ttt"});
    match r.below(4) {
        0 => request["IndexName"] = json!(*r.pick(&["bya", "byb", "bye"])),
        1 => {
            request["TotalSegments"] = json!(3);
            request["Segment"] = json!(r.below(3));
        }
        _ => {}
    }
    request
}

fn batch(r: &mut Random) -> Json {
    let one = |r: &mut Random| match r.below(3) {
        0 => json!({"DeleteRequest": {"Key": key(r)}}),
        _ => json!({"PutRequest": {"Item": item(r)}}),
    };
    json!({"RequestItems": {"ttt": (0..1 + r.below(4)).map(|_| one(r)).collect::<Vec<_>>()}})
}

fn statement(r: &mut Random) -> Json {
    let sk = r.below(6);
    let text = match r.below(6) {
        0 => format!("SELECT * FROM ttt WHERE pk = 'p0' AND sk >= {sk}"),
        1 => format!("SELECT pk, cc FROM ttt.bya WHERE aa = 'a{}'", r.below(3)),
        2 => format!("INSERT INTO ttt VALUE {{'pk': 'p1', 'sk': {sk}, 'cc': [1, {{'x': 'y'}}]}}"),
        3 => format!("UPDATE ttt SET dd = 'new' REMOVE cc WHERE pk = 'p0' AND sk = {sk} RETURNING ALL OLD *"),
        4 => format!("DELETE FROM ttt WHERE pk = 'p1' AND sk = {sk} AND dd = 'new'"),
        _ => "SELECT * FROM ttt WHERE contains(cc, 1)".to_owned(),
    };
    json!({"Statement": text})
}

/// The next request of a program; `last` is the answer before, whose key a page may go on from.
fn request(r: &mut Random, last: &Json) -> (&'static str, Json) {
    let consumed = *r.pick(&["NONE", "TOTAL", "INDEXES"]);
    let returned = *r.pick(&["NONE", "ALL_OLD", "NONE", "ALL_OLD", "ALL_NEW"]);
    let (op, mut request) = match r.below(16) {
        0..=2 => ("PutItem", put(r)),
        3 => ("DeleteItem", delete(r)),
        4..=5 => ("UpdateItem", update(r)),
        6 => ("GetItem", json!({"TableName": "ttt", "Key": key(r), "ConsistentRead": r.below(2) == 0})),
        7..=8 => {
            let request = query(r);
            ("Query", page(r, request))
        }
        9 => {
            let request = scan(r);
            ("Scan", page(r, request))
        }
        10 => ("BatchWriteItem", batch(r)),
        11 => ("BatchGetItem", json!({"RequestItems": {"ttt": {"Keys": [key(r), key(r)]}}})),
        12..=13 => ("TransactWriteItems", transaction(r)),
        14 => (
            "TransactGetItems",
            json!({"TransactItems": [{"Get": {"TableName": "ttt", "Key": key(r)}},
            {"Get": {"TableName": "ttt", "Key": key(r), "ProjectionExpression": "cc, dd[0]"}}]}),
        ),
        _ => ("ExecuteStatement", statement(r)),
    };
    request["ReturnConsumedCapacity"] = json!(consumed);
    match op {
        "PutItem" | "DeleteItem" => request["ReturnValues"] = json!(returned),
        "UpdateItem" => request["ReturnValues"] = json!(*r.pick(&["UPDATED_NEW", "UPDATED_OLD", "ALL_NEW", "ALL_OLD"])),
        "Query" | "Scan" if !last["LastEvaluatedKey"].is_null() && r.below(2) == 0 => {
            request["ExclusiveStartKey"] = last["LastEvaluatedKey"].clone();
        }
        _ => {}
    }
    (op, request)
}

async fn same_answers(seed: u64, length: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |clock| squall_engine_sqlite::Sqlite::open(folder.path(), clock).expect("an empty folder");
    let memory = Cloud::new().await;
    let sqlite = Cloud::over(|clock| Arc::new(open(clock))).await;
    for cloud in [&memory, &sqlite] {
        cloud.ok("CreateTable", indexed("ttt")).await;
    }
    let (mut r, mut last, mut done) = (Random::new(seed), Json::Null, 0);
    for step in 0..length {
        let (op, request) = request(&mut r, &last);
        let expected = memory.call(op, request.clone()).await;
        let got = sqlite.call(op, request.clone()).await;
        assert_eq!(got, expected, "seed {seed}, step {step}: {op} {request}");
        done += usize::from(expected.is_ok());
        last = expected.unwrap_or(Json::Null);
    }
    assert!(done * 2 > length, "{done} of {length} went through");
}

#[tokio::test]
async fn two_engines_answer_every_request_alike() {
    for seed in 0..3 {
        same_answers(seed, rounds(500)).await;
    }
}
