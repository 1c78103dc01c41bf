//! Single items and batches.

use super::*;

#[tokio::test]
async fn an_item_is_put_read_and_deleted() {
    let cloud = with_tables().await;
    let item = json!({
        "pk": {"S": "a"}, "n": {"N": "1.50"}, "b": {"B": "AAEC"}, "t": {"BOOL": true}, "z": {"NULL": true},
        "l": {"L": [{"S": "x"}, {"M": {"y": {"N": "2"}}}]}, "m": {"M": {}}, "ss": {"SS": ["p", "q"]},
        "ns": {"NS": ["1", "2.0"]}, "bs": {"BS": ["AA=="]}, "e": {"S": ""},
    });
    cloud.check("PutItem", json!({"TableName": "ttt", "Item": item}), Ok(json!({}))).await;
    let mut stored = item.clone();
    stored["n"] = json!({"N": "1.5"});
    stored["ns"] = json!({"NS": ["1", "2"]});
    let key = json!({"TableName": "ttt", "Key": {"pk": {"S": "a"}}});
    cloud.check("GetItem", key.clone(), Ok(json!({"Item": stored}))).await;
    let arn = json!({"TableName": "arn:aws:dynamodb:us-east-1:000000000000:table/ttt", "Key": {"pk": {"S": "a"}},
        "ProjectionExpression": "l[1].y, #m", "ExpressionAttributeNames": {"#m": "m"}});
    let part = json!({"Item": {"l": {"L": [{"M": {"y": {"N": "2"}}}]}, "m": {"M": {}}}});
    cloud.check("GetItem", arn, Ok(part)).await;
    let delete = json!({"TableName": "ttt", "Key": {"pk": {"S": "a"}}, "ReturnValues": "ALL_OLD"});
    cloud.check("DeleteItem", delete.clone(), Ok(json!({"Attributes": stored}))).await;
    cloud.check("DeleteItem", delete, Ok(json!({}))).await;
    cloud.check("GetItem", key, Ok(json!({}))).await;
}

#[tokio::test]
async fn wrong_requests_get_the_service_s_texts() {
    let cloud = with_tables().await;
    let put = |item: Json, more: Json| {
        let mut input = json!({"TableName": "ttt", "Item": item});
        for (name, value) in more.as_object().into_iter().flatten() {
            input[name] = value.clone();
        }
        input
    };
    let one = json!({"pk": {"S": "a"}});
    let deep = (0..33).fold(json!({"N": "1"}), |v, _| json!({"L": [v]}));
    let big = "x".repeat(400 * 1024);
    for (input, expected) in [
        (
            put(json!({"a": {"S": "a"}}), json!({})),
            "One or more parameter values were invalid: Missing the key pk in the item",
        ),
        (
            put(json!({"pk": {"N": "1"}}), json!({})),
            "One or more parameter values were invalid: Type mismatch for key pk expected: S actual: N",
        ),
        (
            put(json!({"pk": {}}), json!({})),
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
        ),
        (
            put(json!({"pk": {"S": "a"}, "d": deep}), json!({})),
            "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit",
        ),
        (put(json!({"pk": {"S": "a"}, "d": {"S": big}}), json!({})), "Item size has exceeded the maximum allowed size"),
        (put(one.clone(), json!({"ReturnValues": "ALL_NEW"})), "ReturnValues can only be ALL_OLD or NONE"),
        (
            put(one.clone(), json!({"ExpressionAttributeNames": {"#a": "b"}})),
            "ExpressionAttributeNames can only be specified when using expressions",
        ),
        (
            put(one.clone(), json!({"ExpressionAttributeValues": {":a": {"S": "b"}}})),
            "ExpressionAttributeValues can only be specified when using expressions: ConditionExpression is null",
        ),
        (
            put(one.clone(), json!({"ConditionExpression": "a = :a", "ExpressionAttributeValues": {":a": {}}})),
            "ExpressionAttributeValues contains invalid value: Supplied AttributeValue is empty, must contain exactly one \
             of the supported datatypes for key :a",
        ),
        (
            put(one.clone(), json!({"ConditionExpression": "attribute_exists(a)", "Expected": {}})),
            "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: \
             {Expected} Expression parameters: {ConditionExpression}",
        ),
    ] {
        cloud.check("PutItem", input, Err(&format!("ValidationException: {expected}"))).await;
    }
    let missing = json!({"TableName": "nope", "Key": {"pk": {"S": "a"}}});
    cloud.check("GetItem", missing, Err("ResourceNotFoundException: Requested resource not found")).await;
    let wrong = json!({"TableName": "ttt", "Key": {"pk": {"S": "a"}, "x": {"S": "b"}}});
    let expected = "ValidationException: The provided key element does not match the schema";
    cloud.check("GetItem", wrong.clone(), Err(expected)).await;
    cloud.check("DeleteItem", wrong, Err(expected)).await;
}

#[tokio::test]
async fn conditions_guard_writes() {
    let cloud = with_tables().await;
    let put = json!({"TableName": "ttt", "Item": {"pk": {"S": "a"}, "v": {"N": "1"}},
        "ConditionExpression": "attribute_not_exists(pk)"});
    cloud.check("PutItem", put.clone(), Ok(json!({}))).await;
    let failed = "ConditionalCheckFailedException: The conditional request failed";
    cloud.check("PutItem", put.clone(), Err(failed)).await;
    let mut told = put;
    told["ReturnValuesOnConditionCheckFailure"] = json!("ALL_OLD");
    let expected = format!("{failed} {}", json!({"Item": {"pk": {"S": "a"}, "v": {"N": "1"}}}));
    cloud.check("PutItem", told, Err(&expected)).await;
    let legacy = json!({"TableName": "ttt", "Key": {"pk": {"S": "a"}},
        "Expected": {"v": {"Value": {"N": "2"}}}});
    cloud.check("DeleteItem", legacy.clone(), Err(failed)).await;
    let mut fits = legacy;
    fits["Expected"] = json!({"v": {"ComparisonOperator": "BETWEEN", "AttributeValueList": [{"N": "0"}, {"N": "1"}]}});
    cloud.check("DeleteItem", fits, Ok(json!({}))).await;
}

#[tokio::test]
async fn updates_return_what_is_asked_for() {
    let cloud = with_tables().await;
    let update = |returned: &str| {
        json!({"TableName": "ttt", "Key": {"pk": {"S": "a"}}, "ReturnValues": returned,
            "UpdateExpression": "SET m.c = if_not_exists(m.c, :zero) + :one, #l[1] = :one ADD hits :one REMOVE gone",
            "ExpressionAttributeNames": {"#l": "list"},
            "ExpressionAttributeValues": {":zero": {"N": "0"}, ":one": {"N": "1"}}})
    };
    let path = "ValidationException: The document path provided in the update expression is invalid for update";
    cloud.check("UpdateItem", update("NONE"), Err(path)).await;
    let item =
        json!({"pk": {"S": "a"}, "m": {"M": {"x": {"S": "y"}}}, "list": {"L": [{"N": "7"}]}, "gone": {"S": "g"}});
    cloud.ok("PutItem", json!({"TableName": "ttt", "Item": item})).await;
    let old = json!({"gone": {"S": "g"}});
    cloud.check("UpdateItem", update("UPDATED_OLD"), Ok(json!({"Attributes": old}))).await;
    let new = json!({"m": {"M": {"c": {"N": "2"}}}, "list": {"L": [{"N": "1"}]}, "hits": {"N": "2"}});
    cloud.check("UpdateItem", update("UPDATED_NEW"), Ok(json!({"Attributes": new}))).await;
    let all = json!({"pk": {"S": "a"}, "m": {"M": {"x": {"S": "y"}, "c": {"N": "3"}}},
        "list": {"L": [{"N": "7"}, {"N": "1"}]}, "hits": {"N": "3"}});
    cloud.check("UpdateItem", update("ALL_NEW"), Ok(json!({"Attributes": all}))).await;
    cloud.check("UpdateItem", update("ALL_OLD"), Ok(json!({"Attributes": all}))).await;
    let key = json!({"TableName": "ttt", "Key": {"pk": {"S": "a"}}, "UpdateExpression": "SET pk = :v",
        "ExpressionAttributeValues": {":v": {"S": "b"}}});
    let text = "ValidationException: One or more parameter values were invalid: Cannot update attribute pk. This \
                attribute is part of the key";
    cloud.check("UpdateItem", key, Err(text)).await;
}

#[tokio::test]
async fn an_update_makes_an_item_and_legacy_updates_work() {
    let cloud = with_tables().await;
    let key = json!({"pk": {"S": "n"}, "sk": {"N": "1"}});
    let bare = json!({"TableName": "uuu", "Key": key, "ReturnValues": "ALL_NEW"});
    cloud.check("UpdateItem", bare, Ok(json!({"Attributes": key}))).await;
    let legacy = json!({"TableName": "uuu", "Key": key, "ReturnValues": "UPDATED_NEW", "AttributeUpdates": {
        "a": {"Value": {"S": "x"}}, "n": {"Action": "ADD", "Value": {"N": "4"}},
        "l": {"Action": "ADD", "Value": {"L": [{"S": "e"}]}}, "gone": {"Action": "DELETE"}}});
    let expected = json!({"Attributes": {"a": {"S": "x"}, "n": {"N": "4"}, "l": {"L": [{"S": "e"}]}}});
    cloud.check("UpdateItem", legacy, Ok(expected)).await;
}

#[tokio::test]
async fn consumed_capacity_is_told() {
    let cloud = with_tables().await;
    let item = json!({"pk": {"S": "a"}, "d": {"S": "x".repeat(5000)}});
    let put = json!({"TableName": "ttt", "Item": item, "ReturnConsumedCapacity": "INDEXES"});
    let expected =
        json!({"ConsumedCapacity": {"TableName": "ttt", "CapacityUnits": 5.0, "Table": {"CapacityUnits": 5.0}}});
    cloud.check("PutItem", put, Ok(expected)).await;
    let get = json!({"TableName": "ttt", "Key": {"pk": {"S": "a"}}, "ReturnConsumedCapacity": "TOTAL",
        "ProjectionExpression": "pk"});
    let expected = json!({"Item": {"pk": {"S": "a"}}, "ConsumedCapacity": {"TableName": "ttt", "CapacityUnits": 1.0}});
    cloud.check("GetItem", get, Ok(expected)).await;
}

#[tokio::test]
async fn batches_write_and_read() {
    let cloud = with_tables().await;
    let put = |id: usize| json!({"PutRequest": {"Item": {"pk": {"S": format!("k{id}")}, "n": {"N": id.to_string()}}}});
    let items: Vec<Json> = (0..25).map(put).collect();
    cloud.check("BatchWriteItem", json!({"RequestItems": {"ttt": items}}), Ok(json!({"UnprocessedItems": {}}))).await;
    let keys: Vec<Json> = (0..30).map(|id| json!({"pk": {"S": format!("k{id}")}})).collect();
    let get = json!({"RequestItems": {"ttt": {"Keys": keys, "ProjectionExpression": "n"}}});
    let found = cloud.ok("BatchGetItem", get).await;
    assert_eq!(found["Responses"]["ttt"].as_array().map(Vec::len), Some(25));
    assert_eq!(found["UnprocessedKeys"], json!({}));
    let twice = json!({"RequestItems": {"ttt": [put(1), put(1)]}});
    let text = "ValidationException: Provided list of item keys contains duplicates";
    cloud.check("BatchWriteItem", twice, Err(text)).await;
    let wrong = json!({"RequestItems": {"ttt": [{"PutRequest": {"Item": {"x": {"S": "a"}}}}]}});
    let text = "ValidationException: The provided key element does not match the schema";
    cloud.check("BatchWriteItem", wrong, Err(text)).await;
    let mixed = json!({"RequestItems": {"ttt": [put(40), {"DeleteRequest": {"Key": {"pk": {"S": "k0"}}}}],
        "uuu": [{"PutRequest": {"Item": {"pk": {"S": "a"}, "sk": {"N": "1"}}}}]}});
    cloud.ok("BatchWriteItem", mixed).await;
    let count = cloud.ok("Scan", json!({"TableName": "ttt", "Select": "COUNT"})).await;
    assert_eq!(count, json!({"Count": 25, "ScannedCount": 25}));
}

#[tokio::test]
async fn policies_see_actions_resources_and_condition_keys() {
    let cloud = with_tables().await.by_user();
    let arn = |name: &str| format!("arn:aws:dynamodb:us-east-1:000000000000:table/{name}");
    let keys = |access: &Access, name: &str| -> Vec<String> {
        let found = access.context.iter().find(|(key, _)| key == name);
        found.map(|(_, values)| values.clone()).unwrap_or_default()
    };
    let get =
        cloud.access("GetItem", json!({"TableName": "ttt", "Key": {"pk": {"S": "me"}}, "ProjectionExpression": "x.y"}));
    assert_eq!((get[0].action.as_str(), get[0].resource.as_str()), ("dynamodb:GetItem", arn("ttt").as_str()));
    assert_eq!(keys(&get[0], "dynamodb:LeadingKeys"), ["me"]);
    assert_eq!(keys(&get[0], "dynamodb:Attributes"), ["pk", "x"]);
    assert_eq!(keys(&get[0], "dynamodb:Select"), ["SPECIFIC_ATTRIBUTES"]);
    let query = json!({"TableName": "uuu", "KeyConditionExpression": "#p = :p AND sk > :n", "FilterExpression": "f = :n",
        "ExpressionAttributeNames": {"#p": "pk"}, "ExpressionAttributeValues": {":p": {"S": "you"}, ":n": {"N": "1"}}});
    let query = cloud.access("Query", query);
    assert_eq!(keys(&query[0], "dynamodb:LeadingKeys"), ["you"]);
    assert_eq!(keys(&query[0], "dynamodb:Attributes"), ["f", "pk", "sk"]);
    let legacy = json!({"TableName": "ttt", "KeyConditions": {"pk": {"ComparisonOperator": "EQ",
        "AttributeValueList": [{"S": "old"}]}}});
    assert_eq!(keys(&cloud.access("Query", legacy)[0], "dynamodb:LeadingKeys"), ["old"]);
    let scan = cloud.access("Scan", json!({"TableName": "ttt", "IndexName": "idx"}));
    assert_eq!(scan[0].resource, arn("ttt/index/idx"));
    let batch = json!({"RequestItems": {"ttt": {"Keys": [{"pk": {"S": "a"}}, {"pk": {"S": "b"}}]}}});
    assert_eq!(keys(&cloud.access("BatchGetItem", batch)[0], "dynamodb:LeadingKeys"), ["a", "b"]);
    let batch = json!({"RequestItems": {"ttt": [{"PutRequest": {"Item": {"pk": {"S": "a"}, "v": {"N": "1"}}}},
        {"DeleteRequest": {"Key": {"pk": {"S": "b"}}}}]}});
    let batch = cloud.access("BatchWriteItem", batch);
    assert_eq!(keys(&batch[0], "dynamodb:LeadingKeys"), ["a", "b"]);
    let transaction = json!({"TransactItems": [
        {"Put": {"TableName": "ttt", "Item": {"pk": {"S": "a"}}}},
        {"ConditionCheck": {"TableName": "uuu", "Key": {"pk": {"S": "b"}}, "ConditionExpression": "x"}}]});
    let transaction = cloud.access("TransactWriteItems", transaction);
    let actions: Vec<&str> = transaction.iter().map(|a| a.action.as_str()).collect();
    assert_eq!(actions, ["dynamodb:PutItem", "dynamodb:ConditionCheckItem"]);
    assert_eq!(keys(&transaction[1], "dynamodb:LeadingKeys"), ["b"]);
}
