//! Local and global secondary indexes.

use super::*;

fn indexed(projection: Json) -> Json {
    let mut input = table("iii", Some("N"));
    for (name, kind) in [("g", "S"), ("h", "N"), ("l", "S")] {
        let definitions = input["AttributeDefinitions"].as_array_mut().expect("a list");
        definitions.push(json!({"AttributeName": name, "AttributeType": kind}));
    }
    let by = |hash: &str, range: &str| json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": range, "KeyType": "RANGE"}]);
    input["GlobalSecondaryIndexes"] =
        json!([{"IndexName": "byg", "KeySchema": by("g", "h"), "Projection": projection}]);
    input["LocalSecondaryIndexes"] =
        json!([{"IndexName": "byl", "KeySchema": by("pk", "l"), "Projection": {"ProjectionType": "KEYS_ONLY"}}]);
    input
}

fn put(pk: &str, sk: i64, more: Json) -> Json {
    let mut item = json!({"pk": {"S": pk}, "sk": {"N": sk.to_string()}});
    for (name, value) in more.as_object().into_iter().flatten() {
        item[name] = value.clone();
    }
    json!({"TableName": "iii", "Item": item})
}

fn query(index: &str, hash: &str, value: &str) -> Json {
    json!({"TableName": "iii", "IndexName": index, "KeyConditionExpression": format!("{hash} = :v"),
        "ExpressionAttributeValues": {":v": {"S": value}}})
}

#[tokio::test]
async fn indexes_follow_their_items() {
    let cloud = Cloud::new().await;
    cloud.ok("CreateTable", indexed(json!({"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"]}))).await;
    let more = |g: &str, h: i64| json!({"g": {"S": g}, "h": {"N": h.to_string()}, "x": {"S": "x"}, "y": {"S": "y"}});
    for (pk, h) in [("a", 3), ("b", 1), ("c", 2)] {
        cloud.ok("PutItem", put(pk, 1, more("one", h))).await;
    }
    cloud.ok("PutItem", put("d", 1, json!({"x": {"S": "no index key"}}))).await;
    let found = cloud.ok("Query", query("byg", "g", "one")).await;
    let names: Vec<&Json> = found["Items"].as_array().expect("items").iter().map(|i| &i["pk"]["S"]).collect();
    assert_eq!(names, ["b", "c", "a"]);
    let first = json!({"pk": {"S": "b"}, "sk": {"N": "1"}, "g": {"S": "one"}, "h": {"N": "1"}, "x": {"S": "x"}});
    assert_eq!(found["Items"][0], first);
    // An update moves the row, another one takes it out of the index, a delete removes it.
    let update = |pk: &str, text: &str| json!({"TableName": "iii", "Key": {"pk": {"S": pk}, "sk": {"N": "1"}}, "UpdateExpression": text});
    let mut moved = update("b", "SET g = :g");
    moved["ExpressionAttributeValues"] = json!({":g": {"S": "two"}});
    cloud.ok("UpdateItem", moved).await;
    cloud.ok("UpdateItem", update("c", "REMOVE h")).await;
    cloud.ok("DeleteItem", json!({"TableName": "iii", "Key": {"pk": {"S": "a"}, "sk": {"N": "1"}}})).await;
    assert_eq!(cloud.ok("Query", query("byg", "g", "one")).await["Count"], 0);
    assert_eq!(cloud.ok("Query", query("byg", "g", "two")).await["Count"], 1);
    assert_eq!(cloud.ok("Scan", json!({"TableName": "iii", "IndexName": "byg"})).await["Count"], 1);
    let mut wrong = update("b", "SET h = :h");
    wrong["ExpressionAttributeValues"] = json!({":h": {"S": "text"}});
    let text = "ValidationException: One or more parameter values were invalid: Type mismatch for Index Key h Expected: N \
                Actual: S IndexName: byg";
    cloud.check("UpdateItem", wrong, Err(text)).await;
    let text =
        "ValidationException: The update expression attempted to update the secondary index key to unsupported type";
    cloud.check("UpdateItem", update("b", "SET h = x"), Err(text)).await;
    let text = "ValidationException: One or more parameter values were invalid: Type mismatch for Index Key g Expected: S \
                Actual: N IndexName: byg";
    cloud.check("PutItem", put("e", 1, json!({"g": {"N": "1"}})), Err(text)).await;
}

#[tokio::test]
async fn local_indexes_read_the_table_for_what_they_lack() {
    let cloud = Cloud::new().await;
    cloud.ok("CreateTable", indexed(json!({"ProjectionType": "KEYS_ONLY"}))).await;
    for (sk, l) in [(1, "z"), (2, "y"), (3, "x")] {
        cloud.ok("PutItem", put("a", sk, json!({"l": {"S": l}, "v": {"N": sk.to_string()}}))).await;
    }
    let keys = cloud.ok("Query", query("byl", "pk", "a")).await;
    assert_eq!(keys["Items"][0], json!({"pk": {"S": "a"}, "sk": {"N": "3"}, "l": {"S": "x"}}));
    let mut all = query("byl", "pk", "a");
    all["Select"] = json!("ALL_ATTRIBUTES");
    all["ConsistentRead"] = json!(true);
    all["ReturnConsumedCapacity"] = json!("INDEXES");
    let all = cloud.ok("Query", all).await;
    // Each item that is fetched from the table is a read of its own.
    assert_eq!(all["ConsumedCapacity"]["Table"]["CapacityUnits"], json!(3.0), "{all}");
    assert_eq!(all["ConsumedCapacity"]["CapacityUnits"], json!(4.0), "{all}");
    assert_eq!(all["Items"][2]["v"], json!({"N": "1"}));
    let mut global = query("byg", "g", "a");
    global["ConsistentRead"] = json!(true);
    let text = "ValidationException: Consistent reads are not supported on global secondary indexes";
    cloud.check("Query", global.clone(), Err(text)).await;
    global["ConsistentRead"] = json!(false);
    global["ProjectionExpression"] = json!("v");
    let text = "ValidationException: One or more parameter values were invalid: Global secondary index byg does not \
                project [v]";
    cloud.check("Query", global, Err(text)).await;
}

#[tokio::test]
async fn pages_of_an_index_follow_one_another() {
    let cloud = Cloud::new().await;
    cloud.ok("CreateTable", indexed(json!({"ProjectionType": "ALL"}))).await;
    for n in 0..20 {
        let more = json!({"g": {"S": "same"}, "h": {"N": (n / 7).to_string()}});
        cloud.ok("PutItem", put(&format!("p{n}"), n, more)).await;
    }
    let mut start = Json::Null;
    let mut seen = Vec::new();
    loop {
        let mut input = query("byg", "g", "same");
        input["Limit"] = json!(3);
        if !start.is_null() {
            input["ExclusiveStartKey"] = start;
        }
        let page = cloud.ok("Query", input).await;
        seen.extend(page["Items"].as_array().expect("items").iter().map(|i| i["pk"]["S"].to_string()));
        start = page["LastEvaluatedKey"].clone();
        if start.is_null() {
            break;
        }
        assert_eq!(start.as_object().map(serde_json::Map::len), Some(4));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 20);
}

#[tokio::test]
async fn an_index_made_later_fills_up_and_can_be_deleted() {
    let cloud = Cloud::new().await;
    cloud.ok("CreateTable", table("iii", Some("N"))).await;
    for n in 0..250 {
        cloud.ok("PutItem", put("a", n, json!({"g": {"S": format!("v{}", n % 2)}}))).await;
    }
    let create = json!({"TableName": "iii", "AttributeDefinitions": [{"AttributeName": "g", "AttributeType": "S"}],
        "GlobalSecondaryIndexUpdates": [{"Create": {"IndexName": "later",
            "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}}]});
    let updated = cloud.ok("UpdateTable", create).await;
    assert_eq!(updated["TableDescription"]["GlobalSecondaryIndexes"][0]["IndexStatus"], "CREATING");
    let text = "ValidationException: Cannot read from backfilling global secondary index: later";
    cloud.check("Query", query("later", "g", "v0"), Err(text)).await;
    cloud.ok("PutItem", put("b", 1, json!({"g": {"S": "v0"}}))).await;
    cloud.room.work().await.expect("filled");
    assert_eq!(cloud.ok("Query", query("later", "g", "v0")).await["Count"], 126);
    let described = cloud.ok("DescribeTable", json!({"TableName": "iii"})).await;
    assert_eq!(described["Table"]["GlobalSecondaryIndexes"][0]["IndexStatus"], "ACTIVE");
    let delete = json!({"TableName": "iii", "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "later"}}]});
    cloud.ok("UpdateTable", delete).await;
    let text = "ValidationException: The table does not have the specified index: later";
    cloud.check("Query", query("later", "g", "v0"), Err(text)).await;
    cloud.room.work().await.expect("garbage is removed");
    assert_eq!(cloud.ok("Scan", json!({"TableName": "iii", "Select": "COUNT"})).await["Count"], 251);
}
