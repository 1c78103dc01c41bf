"""DynamoDB Query, Scan, batches and transactions through boto3."""

import hashlib

import boto3
from boto3.dynamodb.conditions import Attr, Key

import kit
from kit import equal, fails

db = kit.client("dynamodb")


def table(count=0, sort="N"):
    it = kit.name("table")
    db.create_table(
        TableName=it,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": sort},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    db.get_waiter("table_exists").wait(TableName=it, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    for start in range(0, count, 25):
        batch = [{"PutRequest": {"Item": item(i)}} for i in range(start, min(start + 25, count))]
        equal(db.batch_write_item(RequestItems={it: batch})["UnprocessedItems"], {})
    return it


def item(i, **more):
    return {"pk": {"S": f"p{i % 2}"}, "sk": {"N": str(i)}, "even": {"BOOL": i % 2 == 0}, "v": {"N": str(i % 5)}, **more}


def key(i):
    return {"pk": {"S": f"p{i % 2}"}, "sk": {"N": str(i)}}


def numbers(answer):
    return [int(i["sk"]["N"]) for i in answer["Items"]]


def query(it, condition="pk = :p", values=None, **options):
    values = {":p": {"S": "p0"}, **(values or {})}
    return db.query(TableName=it, KeyConditionExpression=condition, ExpressionAttributeValues=values, **options)


def test_query_in_both_orders_and_ranges():
    it = table(20)
    answer = query(it)
    equal((answer["Count"], answer["ScannedCount"], numbers(answer)), (10, 10, list(range(0, 20, 2))))
    equal(numbers(query(it, ScanIndexForward=False)), list(range(18, -1, -2)))
    six, twelve = {":a": {"N": "6"}}, {":b": {"N": "12"}}
    for condition, values, expected in [
        ("pk = :p AND sk = :a", six, [6]),
        ("pk = :p AND sk < :a", six, [0, 2, 4]),
        ("pk = :p AND sk <= :a", six, [0, 2, 4, 6]),
        ("pk = :p AND sk > :b", twelve, [14, 16, 18]),
        ("pk = :p AND sk >= :b", twelve, [12, 14, 16, 18]),
        ("pk = :p AND sk BETWEEN :a AND :b", {**six, **twelve}, [6, 8, 10, 12]),
        ("(sk >= :b) AND (pk = :p)", twelve, [12, 14, 16, 18]),
    ]:
        equal(numbers(query(it, condition, values)), expected, condition)


def test_numbers_and_text_sort_as_such():
    it = table()
    for n in ["-10", "-9.5", "0", "1E-3", "2", "10", "100"]:
        db.put_item(TableName=it, Item={"pk": {"S": "x"}, "sk": {"N": n}})
    found = query(it, values={":p": {"S": "x"}})["Items"]
    equal([i["sk"]["N"] for i in found], ["-10", "-9.5", "0", "0.001", "2", "10", "100"])
    it = table(sort="S")
    for s in ["b", "B", "a", "aa", "ä", "10", "9"]:
        db.put_item(TableName=it, Item={"pk": {"S": "x"}, "sk": {"S": s}})
    found = query(it, values={":p": {"S": "x"}})["Items"]
    equal([i["sk"]["S"] for i in found], ["10", "9", "B", "a", "aa", "b", "ä"])
    found = query(it, "pk = :p AND begins_with(sk, :a)", {":p": {"S": "x"}, ":a": {"S": "a"}})["Items"]
    equal([i["sk"]["S"] for i in found], ["a", "aa"])


def test_query_pages_with_limit():
    it = table(20)
    seen, start, pages = [], {}, 0
    while True:
        page = query(it, Limit=3, **start)
        seen += numbers(page)
        pages += 1
        if "LastEvaluatedKey" not in page:
            break
        equal(page["LastEvaluatedKey"], key(seen[-1]))
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    equal((seen, pages), (list(range(0, 20, 2)), 4))


def test_pages_end_at_one_megabyte():
    it = table()
    for i in range(0, 40, 2):
        db.put_item(TableName=it, Item=item(i, big={"S": "x" * 100_000}))
    first = query(it)
    equal((first["Count"], first["LastEvaluatedKey"]), (11, key(20)), "a page passes 1 MB with its last item")
    rest = query(it, ExclusiveStartKey=first["LastEvaluatedKey"])
    equal((rest["Count"], "LastEvaluatedKey" in rest), (9, False))
    pages = list(db.get_paginator("scan").paginate(TableName=it))
    equal(sorted(n for p in pages for n in numbers(p)), list(range(0, 40, 2)))


def test_filters_count_and_project():
    it = table(20)
    answer = query(
        it,
        values={":v": {"N": "3"}},
        FilterExpression="v >= :v",
        ProjectionExpression="sk",
    )
    equal((answer["Count"], answer["ScannedCount"]), (4, 10))
    equal(answer["Items"][0], {"sk": {"N": "4"}})
    counted = query(it, Select="COUNT")
    equal((counted["Count"], "Items" in counted), (10, False))
    limited = query(it, values={":v": {"N": "9"}}, FilterExpression="v = :v", Limit=4)
    equal((limited["Count"], limited["ScannedCount"], limited["LastEvaluatedKey"]), (0, 4, key(6)))


def test_scan_whole_and_in_segments():
    it = table(30)
    answer = db.scan(TableName=it)
    equal((answer["Count"], sorted(numbers(answer))), (30, list(range(30))))
    parts = [numbers(db.scan(TableName=it, Segment=s, TotalSegments=3)) for s in range(3)]
    equal(sorted(sum(parts, [])), list(range(30)), "segments cover the table once")
    answer = db.scan(TableName=it, FilterExpression="even = :t", ExpressionAttributeValues={":t": {"BOOL": True}})
    equal((answer["Count"], answer["ScannedCount"]), (15, 30))
    fails(
        "ValidationException",
        "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: 3 is not less than TotalSegments: 3",
        db.scan,
        TableName=it,
        Segment=3,
        TotalSegments=3,
    )


def test_partitions_are_in_the_order_of_the_service():
    it = kit.name("table")
    db.create_table(
        TableName=it,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    names = ["3635", "228", "1668", "3435", "hello", "1", "2", "ß"]
    for name in names:
        db.put_item(TableName=it, Item={"pk": {"S": name}})
    order = sorted(names, key=lambda name: hashlib.md5(b"Outliers" + name.encode()).digest())
    equal([i["pk"]["S"] for i in db.scan(TableName=it)["Items"]], order)
    first = db.scan(TableName=it, Segment=0, TotalSegments=4096)
    equal([i["pk"]["S"] for i in first["Items"]], ["3635", "228"])


def test_a_table_goes_by_its_arn_too():
    it = table(2)
    arn = db.describe_table(TableName=it)["Table"]["TableArn"]
    spent = {"ReturnConsumedCapacity": "TOTAL"}
    equal(db.get_item(TableName=arn, Key=key(1), **spent)["ConsumedCapacity"], {"TableName": arn, "CapacityUnits": 0.5})
    equal(query(arn, **spent)["ConsumedCapacity"]["TableName"], arn)
    found = db.batch_get_item(RequestItems={arn: {"Keys": [key(0)]}}, **spent)
    equal((list(found["Responses"]), found["ConsumedCapacity"][0]["TableName"]), ([arn], arn))
    put = {"Put": {"TableName": arn, "Item": item(7)}}
    equal(db.transact_write_items(TransactItems=[put], **spent)["ConsumedCapacity"][0]["TableName"], arn)
    equal(db.get_item(TableName=it, Key=key(7), **spent)["ConsumedCapacity"]["TableName"], it)


def test_bad_queries_are_refused():
    it = table()

    def bad(message, **options):
        fails("ValidationException", message, db.query, TableName=it, **options, status=400)

    values = {":p": {"S": "a"}}
    bad("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
    bad(
        "Query condition missed key schema element: pk",
        KeyConditionExpression="sk = :p",
        ExpressionAttributeValues={":p": {"N": "1"}},
    )
    bad("Query key condition not supported", KeyConditionExpression="pk > :p", ExpressionAttributeValues=values)
    bad(
        "One or more parameter values were invalid: Condition parameter type does not match schema type",
        KeyConditionExpression="pk = :p",
        ExpressionAttributeValues={":p": {"N": "1"}},
    )
    bad(
        "Filter Expression can only contain non-primary key attributes: Primary key attribute: pk",
        KeyConditionExpression="pk = :p",
        FilterExpression="pk = :p",
        ExpressionAttributeValues=values,
    )
    bad(
        "The provided starting key is invalid",
        KeyConditionExpression="pk = :p",
        ExpressionAttributeValues=values,
        ExclusiveStartKey={"pk": {"S": "a"}},
    )
    bad(
        "The table does not have the specified index: nope",
        KeyConditionExpression="pk = :p",
        ExpressionAttributeValues=values,
        IndexName="nope",
    )


def test_batch_get_and_write():
    it = table(10)
    answer = db.batch_get_item(RequestItems={it: {"Keys": [key(1), key(8), key(99)], "ProjectionExpression": "sk"}})
    equal(sorted(int(i["sk"]["N"]) for i in answer["Responses"][it]), [1, 8])
    equal(answer["UnprocessedKeys"], {})
    db.batch_write_item(
        RequestItems={it: [{"DeleteRequest": {"Key": key(1)}}, {"PutRequest": {"Item": item(50)}}]}
    )
    equal(sorted(numbers(db.scan(TableName=it))), [0, 2, 3, 4, 5, 6, 7, 8, 9, 50])

    def bad(message, call, requests):
        fails("ValidationException", message, call, RequestItems=requests, status=400)

    put = {"PutRequest": {"Item": item(1)}}
    bad("Provided list of item keys contains duplicates", db.batch_write_item, {it: [put, put]})
    bad(
        "~.*Member must have length less than or equal to 25.*",
        db.batch_write_item,
        {it: [{"PutRequest": {"Item": item(i)}} for i in range(26)]},
    )
    bad("Provided list of item keys contains duplicates", db.batch_get_item, {it: {"Keys": [key(1), key(1)]}})
    bad("~(Too many items requested for the BatchGetItem call|.*length less than or equal to 100)", db.batch_get_item, {it: {"Keys": [key(i) for i in range(101)]}})
    fails(
        "ResourceNotFoundException",
        "Requested resource not found",
        db.batch_write_item,
        RequestItems={"nothing-here": [put]},
    )


def test_batch_get_leaves_what_passes_16_megabytes():
    it = table()
    for i in range(45):
        db.put_item(TableName=it, Item=item(i, big={"S": "x" * 390_000}))
    answer = db.batch_get_item(RequestItems={it: {"Keys": [key(i) for i in range(45)]}})
    got, left = len(answer["Responses"][it]), len(answer["UnprocessedKeys"][it]["Keys"])
    equal((got + left, 0 < left < 10), (45, True), f"{got} answered, {left} left")


def test_transactions():
    it = table(4)
    db.transact_write_items(
        TransactItems=[
            {"Put": {"TableName": it, "Item": item(100)}},
            {"Delete": {"TableName": it, "Key": key(0)}},
            {
                "Update": {
                    "TableName": it,
                    "Key": key(1),
                    "UpdateExpression": "SET v = v + :n",
                    "ExpressionAttributeValues": {":n": {"N": "10"}},
                }
            },
            {"ConditionCheck": {"TableName": it, "Key": key(2), "ConditionExpression": "attribute_exists(pk)"}},
        ]
    )
    equal(sorted(numbers(db.scan(TableName=it))), [1, 2, 3, 100])
    refused = fails(
        "TransactionCanceledException",
        "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]",
        db.transact_write_items,
        TransactItems=[
            {"Put": {"TableName": it, "Item": item(200)}},
            {"ConditionCheck": {"TableName": it, "Key": key(2), "ConditionExpression": "attribute_not_exists(pk)"}},
        ],
    )
    equal(
        refused["CancellationReasons"],
        [{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}],
    )
    got = db.transact_get_items(
        TransactItems=[{"Get": {"TableName": it, "Key": key(1)}}, {"Get": {"TableName": it, "Key": key(200)}}]
    )
    equal((got["Responses"][0]["Item"]["v"], "Item" in got["Responses"][1]), ({"N": "11"}, False))


def test_the_resource_layer():
    it = table(10)
    t = boto3.resource("dynamodb", config=kit.ONCE).Table(it)
    found = t.query(KeyConditionExpression=Key("pk").eq("p1") & Key("sk").between(3, 7), FilterExpression=Attr("v").ne(0))
    equal([int(i["sk"]) for i in found["Items"]], [3, 7])
    with t.batch_writer() as batch:
        for i in range(60):
            batch.put_item({"pk": "bulk", "sk": i})
    equal(t.query(KeyConditionExpression=Key("pk").eq("bulk"), Select="COUNT")["Count"], 60)


kit.main(globals())
