//! Query and Scan.

use super::*;

async fn filled() -> Cloud {
    let cloud = with_tables().await;
    for sk in [-3, 1, 2, 10, 20, 100] {
        for pk in ["a", "b"] {
            let item = json!({"pk": {"S": pk}, "sk": {"N": sk.to_string()}, "odd": {"BOOL": sk % 2 != 0}});
            cloud.ok("PutItem", json!({"TableName": "uuu", "Item": item})).await;
        }
    }
    cloud
}

fn query(condition: &str, more: Json) -> Json {
    let mut input = json!({"TableName": "uuu", "KeyConditionExpression": condition,
        "ExpressionAttributeValues": {":a": {"S": "a"}}});
    for (name, value) in more.as_object().into_iter().flatten() {
        match input[name].as_object_mut() {
            Some(map) => map.extend(value.as_object().cloned().unwrap_or_default()),
            None => input[name] = value.clone(),
        }
    }
    input
}

fn numbers(answer: &Json) -> Vec<i64> {
    let sk = |item: &Json| item["sk"]["N"].as_str().and_then(|n| n.parse().ok());
    answer["Items"].as_array().into_iter().flatten().filter_map(sk).collect()
}

#[tokio::test]
async fn sort_keys_come_in_order_and_within_bounds() {
    let cloud = filled().await;
    let values = |v: &[(&str, i64)]| {
        let map: serde_json::Map<String, Json> =
            v.iter().map(|(k, n)| ((*k).to_owned(), json!({"N": n.to_string()}))).collect();
        json!({"ExpressionAttributeValues": map})
    };
    for (condition, bounds, expected) in [
        ("pk = :a", values(&[]), &[-3, 1, 2, 10, 20, 100][..]),
        ("pk = :a AND sk > :x", values(&[(":x", 2)]), &[10, 20, 100]),
        ("pk = :a AND sk >= :x", values(&[(":x", 2)]), &[2, 10, 20, 100]),
        ("sk < :x AND pk = :a", values(&[(":x", 2)]), &[-3, 1]),
        ("pk = :a AND sk <= :x", values(&[(":x", 2)]), &[-3, 1, 2]),
        ("pk = :a AND sk = :x", values(&[(":x", 10)]), &[10]),
        ("pk = :a AND sk BETWEEN :x AND :y", values(&[(":x", 1), (":y", 20)]), &[1, 2, 10, 20]),
    ] {
        let answer = cloud.ok("Query", query(condition, bounds.clone())).await;
        assert_eq!(numbers(&answer), expected, "{condition}");
        let mut backwards = query(condition, bounds);
        backwards["ScanIndexForward"] = json!(false);
        let mut reversed = numbers(&cloud.ok("Query", backwards).await);
        reversed.reverse();
        assert_eq!(reversed, expected, "{condition} reversed");
    }
}

#[tokio::test]
async fn pages_follow_one_another() {
    let cloud = filled().await;
    for forward in [true, false] {
        let mut start = Json::Null;
        let mut seen = Vec::new();
        loop {
            let mut input = query("pk = :a", json!({"Limit": 4, "ScanIndexForward": forward}));
            if !start.is_null() {
                input["ExclusiveStartKey"] = start;
            }
            let page = cloud.ok("Query", input).await;
            seen.extend(numbers(&page));
            start = page["LastEvaluatedKey"].clone();
            if start.is_null() {
                break;
            }
        }
        let mut expected = vec![-3, 1, 2, 10, 20, 100];
        if !forward {
            expected.reverse();
        }
        assert_eq!(seen, expected);
    }
    // A limit that is reached exactly leaves a key, as the service does.
    let page = cloud.ok("Query", query("pk = :a", json!({"Limit": 6}))).await;
    assert_eq!(page["LastEvaluatedKey"], json!({"pk": {"S": "a"}, "sk": {"N": "100"}}));
}

#[tokio::test]
async fn filters_count_what_they_leave_out() {
    let cloud = filled().await;
    let filter = json!({"FilterExpression": "odd = :t", "ExpressionAttributeValues": {":t": {"BOOL": true}}});
    let answer = cloud.ok("Query", query("pk = :a", filter.clone())).await;
    assert_eq!((numbers(&answer), &answer["Count"], &answer["ScannedCount"]), (vec![-3, 1], &json!(2), &json!(6)));
    let key = json!({"FilterExpression": "sk = :a"});
    let text = "ValidationException: Filter Expression can only contain non-primary key attributes: Primary key \
                attribute: sk";
    cloud.check("Query", query("pk = :a", key), Err(text)).await;
    let mut scan = filter;
    scan["TableName"] = json!("uuu");
    scan["Select"] = json!("COUNT");
    cloud.check("Scan", scan, Ok(json!({"Count": 4, "ScannedCount": 12}))).await;
    let legacy = json!({"TableName": "uuu", "KeyConditions": {
        "pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "b"}]},
        "sk": {"ComparisonOperator": "GT", "AttributeValueList": [{"N": "2"}]}},
        "QueryFilter": {"odd": {"ComparisonOperator": "EQ", "AttributeValueList": [{"BOOL": false}]}}});
    assert_eq!(numbers(&cloud.ok("Query", legacy).await), [10, 20, 100]);
}

#[tokio::test]
async fn pages_end_after_a_megabyte() {
    let cloud = with_tables().await;
    let big = "x".repeat(300 * 1024);
    for sk in 0..8 {
        let item = json!({"pk": {"S": "a"}, "sk": {"N": sk.to_string()}, "d": {"S": big}});
        cloud.ok("PutItem", json!({"TableName": "uuu", "Item": item})).await;
    }
    let page = cloud.ok("Query", query("pk = :a", json!({"ProjectionExpression": "sk"}))).await;
    assert_eq!(numbers(&page), [0, 1, 2, 3]);
    assert_eq!(page["LastEvaluatedKey"]["sk"], json!({"N": "3"}));
    let next = query("pk = :a", json!({"ProjectionExpression": "sk", "ExclusiveStartKey": page["LastEvaluatedKey"]}));
    assert_eq!(numbers(&cloud.ok("Query", next).await), [4, 5, 6, 7]);
}

#[tokio::test]
async fn segments_together_are_the_table() {
    let cloud = with_tables().await;
    for n in 0..60 {
        cloud.ok("PutItem", json!({"TableName": "ttt", "Item": {"pk": {"S": n.to_string()}}})).await;
    }
    let mut all = Vec::new();
    for segment in 0..7 {
        let mut start = Json::Null;
        loop {
            let mut input = json!({"TableName": "ttt", "Segment": segment, "TotalSegments": 7, "Limit": 3});
            if !start.is_null() {
                input["ExclusiveStartKey"] = start;
            }
            let page = cloud.ok("Scan", input).await;
            all.extend(page["Items"].as_array().cloned().unwrap_or_default().iter().map(|i| i["pk"]["S"].to_string()));
            start = page["LastEvaluatedKey"].clone();
            if start.is_null() {
                break;
            }
        }
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 60);
    let text = "ValidationException: The Segment parameter is zero-based and must be less than parameter TotalSegments: \
                Segment: 7 is not less than TotalSegments: 7";
    cloud.check("Scan", json!({"TableName": "ttt", "Segment": 7, "TotalSegments": 7}), Err(text)).await;
}

#[tokio::test]
async fn wrong_queries_get_the_service_s_texts() {
    let cloud = filled().await;
    for (input, expected) in [
        (
            json!({"TableName": "uuu"}),
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
        ),
        (query("sk = :a", json!({})), "Query condition missed key schema element: pk"),
        (query("pk = :a", json!({"IndexName": "nope"})), "The table does not have the specified index: nope"),
        (
            query("pk = :a", json!({"Select": "SPECIFIC_ATTRIBUTES"})),
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES",
        ),
        (
            query("pk = :a", json!({"ExclusiveStartKey": {"pk": {"S": "b"}, "sk": {"N": "1"}}})),
            "The provided starting key is outside query boundaries based on provided conditions",
        ),
        (query("pk = :a", json!({"ExclusiveStartKey": {"pk": {"S": "a"}}})), "The provided starting key is invalid"),
    ] {
        cloud.check("Query", input, Err(&format!("ValidationException: {expected}"))).await;
    }
}
