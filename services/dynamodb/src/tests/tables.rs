//! Tables, tags, time to live.

use super::*;

#[tokio::test]
async fn a_table_is_made_described_listed_and_deleted() {
    let cloud = Cloud::new().await;
    let made = cloud.ok("CreateTable", table("ttt", Some("N"))).await;
    let description = &made["TableDescription"];
    assert_eq!(description["TableStatus"], "CREATING");
    assert_eq!(description["TableArn"], "arn:aws:dynamodb:us-east-1:000000000000:table/ttt");
    assert_eq!(description["BillingModeSummary"], json!({"BillingMode": "PAY_PER_REQUEST"}));
    let text = "ResourceInUseException: Table already exists: ttt";
    cloud.check("CreateTable", table("ttt", None), Err(text)).await;
    let cloud = cloud.reopened().await;
    let described = cloud.ok("DescribeTable", json!({"TableName": "ttt"})).await;
    assert_eq!(described["Table"]["TableStatus"], "ACTIVE");
    assert_eq!(described["Table"]["TableId"], description["TableId"]);
    assert_eq!(described["Table"]["WarmThroughput"]["ReadUnitsPerSecond"], 12000);
    cloud.ok("CreateTable", table("aaa", None)).await;
    let first = json!({"TableNames": ["aaa"], "LastEvaluatedTableName": "aaa"});
    cloud.check("ListTables", json!({"Limit": 1}), Ok(first)).await;
    cloud.check("ListTables", json!({"ExclusiveStartTableName": "aaa"}), Ok(json!({"TableNames": ["ttt"]}))).await;
    cloud.ok("PutItem", json!({"TableName": "ttt", "Item": {"pk": {"S": "a"}, "sk": {"N": "1"}}})).await;
    let deleted = cloud.ok("DeleteTable", json!({"TableName": "ttt"})).await;
    assert_eq!(deleted["TableDescription"]["TableStatus"], "DELETING");
    let text = "ResourceNotFoundException: Requested resource not found: Table: ttt not found";
    cloud.check("DescribeTable", json!({"TableName": "ttt"}), Err(text)).await;
    // A new table of that name is empty, and the old rows go.
    cloud.ok("CreateTable", table("ttt", Some("N"))).await;
    cloud.check("Scan", json!({"TableName": "ttt"}), Ok(json!({"Items": [], "Count": 0, "ScannedCount": 0}))).await;
    cloud.room.work().await.expect("garbage is removed");
    let prefix = squall_store::Key::new(squall_store::Kind::kv(3, 4), 0x0301, 0);
    use squall_store::StateExt as _;
    assert_eq!(cloud.deps.state.all(prefix, 10).await.expect("readable").len(), 0);
}

#[tokio::test]
async fn wrong_tables_get_the_service_s_texts() {
    let cloud = Cloud::new().await;
    let changed = |change: &dyn Fn(&mut Json)| {
        let mut input = table("ttt", Some("S"));
        change(&mut input);
        input
    };
    let invalid = "One or more parameter values were invalid: ";
    let throughput = json!({"ReadCapacityUnits": 1, "WriteCapacityUnits": 1});
    let index = |name: &str, keys: Json| json!([{"IndexName": name, "KeySchema": keys, "Projection": {"ProjectionType": "ALL"}}]);
    let by = |hash: &str, range: &str| json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": range, "KeyType": "RANGE"}]);
    for (input, expected) in [
        (
            changed(&|t| t["ProvisionedThroughput"] = throughput.clone()),
            format!(
                "{invalid}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is \
                 PAY_PER_REQUEST"
            ),
        ),
        (
            changed(&|t| t["BillingMode"] = json!("PROVISIONED")),
            format!(
                "{invalid}ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"
            ),
        ),
        (
            changed(&|t| t["KeySchema"][0]["KeyType"] = json!("RANGE")),
            "Invalid KeySchema: The first KeySchemaElement is not a HASH key type".into(),
        ),
        (
            changed(&|t| t["KeySchema"][1]["AttributeName"] = json!("pk")),
            "Both the Hash Key and the Range Key element in the KeySchema have the same name".into(),
        ),
        (
            changed(&|t| t["KeySchema"][1]["AttributeName"] = json!("zz")),
            "Invalid KeySchema: Some index key attribute have no definition".into(),
        ),
        (
            changed(&|t| t["KeySchema"] = json!([{"AttributeName": "pk", "KeyType": "HASH"}])),
            format!(
                "{invalid}Number of attributes in KeySchema does not exactly match number of attributes defined in \
                 AttributeDefinitions"
            ),
        ),
        (
            changed(&|t| t["LocalSecondaryIndexes"] = index("lll", by("sk", "pk"))),
            format!(
                "{invalid}Index KeySchema does not have the same leading hash key as table KeySchema for index: lll. index \
                 hash key: sk, table hash key: pk"
            ),
        ),
        (
            changed(&|t| t["GlobalSecondaryIndexes"] = json!([])),
            format!("{invalid}List of GlobalSecondaryIndexes is empty"),
        ),
        (
            changed(&|t| t["StreamSpecification"] = json!({"StreamEnabled": true})),
            format!("{invalid}StreamViewType must be specified when StreamEnabled is true"),
        ),
    ] {
        cloud.check("CreateTable", input, Err(&format!("ValidationException: {expected}"))).await;
    }
}

#[tokio::test]
async fn billing_protection_and_tags_change() {
    let cloud = with_tables().await;
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/ttt";
    cloud
        .ok(
            "TagResource",
            json!({"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}),
        )
        .await;
    cloud.ok("UntagResource", json!({"ResourceArn": arn, "TagKeys": ["a"]})).await;
    let tags = json!({"Tags": [{"Key": "b", "Value": "2"}]});
    cloud.check("ListTagsOfResource", json!({"ResourceArn": arn}), Ok(tags)).await;
    let throughput = json!({"ReadCapacityUnits": 3, "WriteCapacityUnits": 4});
    let change = json!({"TableName": "ttt", "BillingMode": "PROVISIONED", "ProvisionedThroughput": throughput,
        "DeletionProtectionEnabled": true});
    let updated = cloud.ok("UpdateTable", change).await;
    assert_eq!(updated["TableDescription"]["TableStatus"], "UPDATING");
    let cloud = cloud.reopened().await;
    let described = cloud.ok("DescribeTable", json!({"TableName": "ttt"})).await;
    assert_eq!(described["Table"]["ProvisionedThroughput"]["WriteCapacityUnits"], 4);
    assert_eq!(described["Table"]["BillingModeSummary"]["BillingMode"], "PROVISIONED");
    let text = "ValidationException: Resource cannot be deleted as it is currently protected against deletion. Disable \
                deletion protection first.";
    cloud.check("DeleteTable", json!({"TableName": "ttt"}), Err(text)).await;
    let same = json!({"TableName": "ttt", "ProvisionedThroughput": throughput});
    let error = cloud.call("UpdateTable", same).await.expect_err("nothing changes");
    assert!(error.starts_with("ValidationException: The provisioned throughput for the table will not change."));
}

#[tokio::test]
async fn the_name_comes_first_and_units_have_bounds() {
    let cloud = Cloud::new().await;
    let keys = json!([{"AttributeName": "a", "KeyType": "HASH"}]);
    let units = |n: u64| json!({"ReadCapacityUnits": n, "WriteCapacityUnits": 1});
    let null = |of: &str| format!("Value null at '{of}' failed to satisfy constraint: Member must not be null");
    for (input, expected) in [
        (json!({}), "The parameter 'TableName' is required but was not present in the request".to_owned()),
        (
            json!({"TableName": "a;"}),
            "TableName must be at least 3 characters long and at most 255 characters long".to_owned(),
        ),
        (
            json!({"TableName": "abc"}),
            format!("2 validation errors detected: {}; {}", null("attributeDefinitions"), null("keySchema")),
        ),
        (
            json!({"TableName": "abc", "AttributeDefinitions": [], "KeySchema": keys,
                "ProvisionedThroughput": units(1_000_000_000_001)}),
            "Given value 1000000000001 for ReadCapacityUnits is out of bounds".to_owned(),
        ),
    ] {
        cloud.check("CreateTable", input, Err(&format!("ValidationException: {expected}"))).await;
    }
}

#[tokio::test]
async fn updates_are_checked_before_the_table_is_looked_for() {
    let cloud = with_tables().await;
    let units = json!({"ReadCapacityUnits": 1, "WriteCapacityUnits": 1});
    let update = json!({"Update": {"IndexName": "iii", "ProvisionedThroughput": units}});
    let invalid = "ValidationException: One or more parameter values were invalid: ";
    for (input, expected) in [
        (
            json!({"TableName": "none", "BillingMode": "PAY_PER_REQUEST", "ProvisionedThroughput": units}),
            format!(
                "{invalid}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is \
                 PAY_PER_REQUEST"
            ),
        ),
        (
            json!({"TableName": "none", "GlobalSecondaryIndexUpdates": [update, {"Delete": {"IndexName": "iii"}}]}),
            format!("{invalid}Only one global secondary index update per index is allowed simultaneously. Index: iii"),
        ),
        (
            json!({"TableName": "none", "DeletionProtectionEnabled": true}),
            "ResourceNotFoundException: Requested resource not found: Table: none not found".to_owned(),
        ),
    ] {
        cloud.check("UpdateTable", input, Err(&expected)).await;
    }
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/ttt";
    for (op, input, expected) in [
        ("TagResource", json!({"ResourceArn": arn, "Tags": []}), "Atleast one Tag needs to be provided as Input."),
        (
            "UntagResource",
            json!({"ResourceArn": arn, "TagKeys": []}),
            "Atleast one Tag Key needs to be provided as Input.",
        ),
        (
            "ListTagsOfResource",
            json!({"ResourceArn": "a"}),
            "Invalid TableArn: Invalid ResourceArn provided as input a",
        ),
    ] {
        cloud.check(op, input, Err(&format!("ValidationException: {expected}"))).await;
    }
}

#[tokio::test]
async fn an_update_shows_what_is_still_under_way() {
    let cloud = Cloud::new().await;
    let mut input = table("ttt", None);
    input["BillingMode"] = json!("PROVISIONED");
    input["ProvisionedThroughput"] = json!({"ReadCapacityUnits": 5, "WriteCapacityUnits": 5});
    cloud.ok("CreateTable", input).await;
    let less = json!({"TableName": "ttt", "ProvisionedThroughput": {"ReadCapacityUnits": 4, "WriteCapacityUnits": 5}});
    let updated = cloud.ok("UpdateTable", less).await["TableDescription"].clone();
    let shown = &updated["ProvisionedThroughput"];
    assert_eq!((&updated["TableStatus"], &shown["ReadCapacityUnits"]), (&json!("UPDATING"), &json!(5)));
    let now = cloud.ok("DescribeTable", json!({"TableName": "ttt"})).await["Table"]["ProvisionedThroughput"].clone();
    assert_eq!((&now["ReadCapacityUnits"], &now["NumberOfDecreasesToday"]), (&json!(4), &json!(1)));
}

#[tokio::test]
async fn expired_items_go_and_others_stay() {
    let cloud = with_tables().await;
    let now = 1_700_000_000i64;
    let six_years = 6 * 365 * 24 * 3600;
    for (pk, end) in [("soon", now + 100), ("later", now + 10_000), ("ancient", now - six_years)] {
        let item = json!({"pk": {"S": pk}, "end": {"N": end.to_string()}});
        cloud.ok("PutItem", json!({"TableName": "ttt", "Item": item})).await;
    }
    cloud.ok("PutItem", json!({"TableName": "ttt", "Item": {"pk": {"S": "text"}, "end": {"S": "5"}}})).await;
    let spec = json!({"Enabled": true, "AttributeName": "end"});
    let update = json!({"TableName": "ttt", "TimeToLiveSpecification": spec});
    cloud.check("UpdateTimeToLive", update.clone(), Ok(json!({"TimeToLiveSpecification": spec}))).await;
    cloud.check("UpdateTimeToLive", update, Err("ValidationException: TimeToLive is already enabled")).await;
    let other = "ValidationException: TimeToLive is active on a different AttributeName: current AttributeName is end";
    for on in [true, false] {
        let spec = json!({"Enabled": on, "AttributeName": "other"});
        cloud.check("UpdateTimeToLive", json!({"TableName": "ttt", "TimeToLiveSpecification": spec}), Err(other)).await;
    }
    let enabled = json!({"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "end"}});
    cloud.check("DescribeTimeToLive", json!({"TableName": "ttt"}), Ok(enabled)).await;
    cloud.room.work().await.expect("nothing is due");
    assert_eq!(cloud.ok("Scan", json!({"TableName": "ttt"})).await["Count"], 4);
    cloud.advance(200);
    cloud.room.work().await.expect("one is due");
    let left = cloud.ok("Scan", json!({"TableName": "ttt"})).await;
    let mut names: Vec<String> = left["Items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|i| i["pk"]["S"].as_str().unwrap_or("").to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["ancient", "later", "text"]);
}

#[tokio::test]
async fn items_are_counted_after_a_while() {
    let cloud = with_tables().await;
    cloud.room.count_all().await.expect("counted");
    for pk in ["a", "b"] {
        cloud.ok("PutItem", json!({"TableName": "ttt", "Item": {"pk": {"S": pk}}})).await;
    }
    assert_eq!(cloud.ok("DescribeTable", json!({"TableName": "ttt"})).await["Table"]["ItemCount"], 0);
    cloud.advance(7 * 3600);
    cloud.room.count_all().await.expect("counted again");
    assert_eq!(cloud.ok("DescribeTable", json!({"TableName": "ttt"})).await["Table"]["ItemCount"], 2);
}

#[tokio::test]
async fn the_loops_end_with_the_room() {
    let cloud = Cloud::new().await;
    let (work, stop) = (cloud.room.work.clone(), cloud.room.stop_counts.clone());
    drop(cloud);
    let ended = async {
        while Arc::strong_count(&work) + Arc::strong_count(&stop) > 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(4), ended).await.expect("both loops end at once");
}
