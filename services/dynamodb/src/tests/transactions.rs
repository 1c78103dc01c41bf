//! TransactWriteItems and TransactGetItems.

use super::*;

fn put(pk: &str, condition: Option<&str>) -> Json {
    let mut put = json!({"TableName": "ttt", "Item": {"pk": {"S": pk}, "v": {"N": "1"}}});
    if let Some(condition) = condition {
        put["ConditionExpression"] = json!(condition);
    }
    json!({"Put": put})
}

#[tokio::test]
async fn a_transaction_happens_whole_or_not_at_all() {
    let cloud = with_tables().await;
    let fresh = "attribute_not_exists(pk)";
    let two = json!({"TransactItems": [put("a", Some(fresh)), put("b", None)]});
    cloud.check("TransactWriteItems", two.clone(), Ok(json!({}))).await;
    let reasons = json!({"CancellationReasons": [
        {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}, {"Code": "None"}]});
    let text = "TransactionCanceledException: Transaction cancelled, please refer cancellation reasons for specific \
                reasons [ConditionalCheckFailed, None]";
    let again = json!({"TransactItems": [put("a", Some(fresh)), put("c", None)]});
    cloud.check("TransactWriteItems", again, Err(&format!("{text} {reasons}"))).await;
    let get = json!({"TransactItems": [
        {"Get": {"TableName": "ttt", "Key": {"pk": {"S": "a"}}, "ProjectionExpression": "v"}},
        {"Get": {"TableName": "ttt", "Key": {"pk": {"S": "c"}}}}]});
    cloud.check("TransactGetItems", get, Ok(json!({"Responses": [{"Item": {"v": {"N": "1"}}}, {}]}))).await;
    let mixed = json!({"TransactItems": [
        {"Update": {"TableName": "ttt", "Key": {"pk": {"S": "a"}}, "UpdateExpression": "ADD v :n",
            "ExpressionAttributeValues": {":n": {"N": "4"}}}},
        {"Delete": {"TableName": "ttt", "Key": {"pk": {"S": "b"}}}},
        {"ConditionCheck": {"TableName": "ttt", "Key": {"pk": {"S": "c"}}, "ConditionExpression": fresh}}],
        "ReturnConsumedCapacity": "TOTAL"});
    let capacity = json!({"ConsumedCapacity":
        [{"TableName": "ttt", "CapacityUnits": 6.0, "WriteCapacityUnits": 6.0}]});
    cloud.check("TransactWriteItems", mixed, Ok(capacity)).await;
    let scan = cloud.ok("Scan", json!({"TableName": "ttt"})).await;
    assert_eq!(scan["Items"], json!([{"pk": {"S": "a"}, "v": {"N": "5"}}]));
}

#[tokio::test]
async fn a_token_makes_a_transaction_happen_once() {
    let cloud = with_tables().await;
    let add = |n: &str| {
        json!({"ClientRequestToken": "token", "TransactItems": [{"Update": {"TableName": "ttt",
            "Key": {"pk": {"S": "a"}}, "UpdateExpression": "ADD v :n", "ExpressionAttributeValues": {":n": {"N": n}}}}]})
    };
    for _ in 0..3 {
        cloud.check("TransactWriteItems", add("1"), Ok(json!({}))).await;
    }
    let error = cloud.call("TransactWriteItems", add("2")).await.expect_err("other parameters");
    assert!(error.starts_with("IdempotentParameterMismatchException: "), "{error}");
    cloud.advance(601);
    cloud.check("TransactWriteItems", add("2"), Ok(json!({}))).await;
    let item = cloud.ok("GetItem", json!({"TableName": "ttt", "Key": {"pk": {"S": "a"}}})).await;
    assert_eq!(item["Item"]["v"], json!({"N": "3"}));
}

#[tokio::test]
async fn wrong_transactions_get_the_service_s_texts() {
    let cloud = with_tables().await;
    let twice = json!({"TransactItems": [put("a", None), {"Delete": {"TableName": "ttt", "Key": {"pk": {"S": "a"}}}}]});
    let text = "ValidationException: Transaction request cannot include multiple operations on one item";
    cloud.check("TransactWriteItems", twice, Err(text)).await;
    let mut both = put("a", None);
    both["Delete"] = json!({"TableName": "ttt", "Key": {"pk": {"S": "a"}}});
    let text = "ValidationException: TransactItems can only contain one of Check, Put, Update or Delete";
    cloud.check("TransactWriteItems", json!({"TransactItems": [both]}), Err(text)).await;
    let missing = json!({"TransactItems": [{"Put": {"TableName": "nope", "Item": {"pk": {"S": "a"}}}}]});
    cloud.check("TransactWriteItems", missing, Err("ResourceNotFoundException: Requested resource not found")).await;
    let wrong = json!({"TransactItems": [{"Put": {"TableName": "ttt", "Item": {"x": {"S": "a"}}}}]});
    let error = cloud.call("TransactWriteItems", wrong).await.expect_err("no key");
    assert!(error.contains("[ValidationError]") && error.contains("Missing the key pk in the item"), "{error}");
}
