"""DynamoDB tables and single items through boto3."""

import re

import kit
from kit import contains, equal, fails, matches

db = kit.client("dynamodb")


def table(range_key=None, **options):
    it = kit.name("table")
    keys = [("pk", "HASH", "S")] + ([(range_key, "RANGE", "N")] if range_key else [])
    answer = db.create_table(
        TableName=it,
        KeySchema=[{"AttributeName": n, "KeyType": k} for n, k, _ in keys],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, _, t in keys],
        **{"BillingMode": "PAY_PER_REQUEST", **options},
    )
    equal(answer["TableDescription"]["TableStatus"], "CREATING")
    db.get_waiter("table_exists").wait(TableName=it, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    return it


def test_table_lifecycle():
    it = table(range_key="sk")
    described = db.describe_table(TableName=it)["Table"]
    contains(
        described,
        {
            "TableName": it,
            "TableStatus": "ACTIVE",
            "TableArn": f"arn:aws:dynamodb:{kit.REGION}:{kit.ACCOUNT}:table/{it}",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            "ItemCount": 0,
        },
    )
    matches(described["TableId"], "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
    equal(it in db.list_tables()["TableNames"], True)
    fails(
        "ResourceInUseException",
        f"Table already exists: {it}",
        db.create_table,
        TableName=it,
        KeySchema=[{"AttributeName": "a", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "a", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        status=400,
    )
    equal(db.delete_table(TableName=it)["TableDescription"]["TableStatus"], "DELETING")
    db.get_waiter("table_not_exists").wait(TableName=it, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    fails(
        "ResourceNotFoundException",
        f"Requested resource not found: Table: {it} not found",
        db.describe_table,
        TableName=it,
        status=400,
    )
    fails("ResourceNotFoundException", f"~Requested resource not found: Table: {it} not found", db.delete_table, TableName=it)
    fails("ResourceNotFoundException", "Requested resource not found", db.get_item, TableName=it, Key={"pk": {"S": "a"}})


def test_provisioned_throughput_is_kept_and_asked_for():
    it = table(BillingMode="PROVISIONED", ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 6})
    found = db.describe_table(TableName=it)["Table"]["ProvisionedThroughput"]
    contains(found, {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6})
    fails(
        "ValidationException",
        "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be specified when "
        "BillingMode is PROVISIONED",
        db.create_table,
        TableName=kit.name(),
        KeySchema=[{"AttributeName": "a", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "a", "AttributeType": "S"}],
    )


def test_bad_tables_are_refused():
    def bad(message, code="ValidationException", **change):
        request = {
            "TableName": kit.name(),
            "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}],
            "BillingMode": "PAY_PER_REQUEST",
        }
        fails(code, message, db.create_table, **{**request, **change}, status=400)

    bad(
        "~.*Member must satisfy regular expression pattern: \\[a-zA-Z0-9_.-\\]\\+.*",
        TableName="no spaces",
    )
    bad(
        "Invalid KeySchema: Some index key attribute have no definition",
        AttributeDefinitions=[{"AttributeName": "b", "AttributeType": "S"}],
    )
    bad(
        "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of "
        "attributes defined in AttributeDefinitions",
        AttributeDefinitions=[{"AttributeName": "a", "AttributeType": "S"}, {"AttributeName": "b", "AttributeType": "S"}],
    )
    bad(
        # The order of the set is that of a hash set and differs.
        "~1 validation error detected: Value 'X' at 'attributeDefinitions.1.member.attributeType' failed to satisfy "
        r"constraint: Member must satisfy enum value set: \[[BNS], [BNS], [BNS]\]",
        AttributeDefinitions=[{"AttributeName": "a", "AttributeType": "X"}],
    )


def test_list_tables_pages():
    made = sorted(table() for _ in range(3))
    names, start = [], {}
    while True:
        page = db.list_tables(Limit=1, **start)
        names += page["TableNames"]
        if "LastEvaluatedTableName" not in page:
            break
        start = {"ExclusiveStartTableName": page["LastEvaluatedTableName"]}
    equal(names, sorted(names), "names are sorted")
    equal([n for n in names if n in made], made)


def test_tags_ttl_and_settings():
    it = table(Tags=[{"Key": "a", "Value": "1"}])
    arn = db.describe_table(TableName=it)["Table"]["TableArn"]
    db.tag_resource(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    db.untag_resource(ResourceArn=arn, TagKeys=["a"])
    equal(db.list_tags_of_resource(ResourceArn=arn)["Tags"], [{"Key": "b", "Value": "2"}])
    equal(db.describe_time_to_live(TableName=it)["TimeToLiveDescription"]["TimeToLiveStatus"], "DISABLED")
    equal(db.describe_limits()["AccountMaxReadCapacityUnits"] > 0, True)
    db.update_table(TableName=it, DeletionProtectionEnabled=True)
    fails("ValidationException", "~.*[Dd]eletion protection.*", db.delete_table, TableName=it)
    db.update_table(TableName=it, DeletionProtectionEnabled=False)
    db.delete_table(TableName=it)


def test_every_type_reads_back():
    it = table()
    item = {
        "pk": {"S": "a"},
        "s": {"S": "ünï \u0000 🦀"},
        "empty": {"S": ""},
        "n": {"N": "-12345678901234567890.123456789"},
        "tiny": {"N": "1E-130"},
        "huge": {"N": "9.9999999999999999999999999999999999999E+125"},
        "b": {"B": b"\x00\xff"},
        "bool": {"BOOL": False},
        "null": {"NULL": True},
        "ss": {"SS": ["a", "b"]},
        "ns": {"NS": ["1", "2.5"]},
        "bs": {"BS": [b"a", b"b"]},
        "l": {"L": [{"S": "x"}, {"L": []}, {"M": {}}]},
        "m": {"M": {"k": {"M": {"deep": {"N": "1"}}}}},
    }
    db.put_item(TableName=it, Item=item)
    found = db.get_item(TableName=it, Key={"pk": {"S": "a"}}, ConsistentRead=True)["Item"]
    for key in ("ss", "ns", "bs"):
        (kind, values), = found[key].items()
        found[key] = {kind: sorted(values)}
    equal(found["tiny"], {"N": "0." + "0" * 129 + "1"})
    equal(found["huge"], {"N": "9" * 38 + "0" * 88})
    for key in ("tiny", "huge"):
        del found[key], item[key]
    equal(found, item)
    equal("Item" in db.get_item(TableName=it, Key={"pk": {"S": "none"}}), False)


def test_bad_items_are_refused():
    it = table(range_key="sk")
    key = {"pk": {"S": "a"}, "sk": {"N": "1"}}

    def bad(message, item):
        fails("ValidationException", message, db.put_item, TableName=it, Item=item, status=400)

    missing = "One or more parameter values were invalid: Missing the key {} in the item"
    bad(missing.format("sk"), {"pk": {"S": "a"}})
    bad(missing.format("pk"), {"sk": {"N": "1"}})
    bad(
        "One or more parameter values were invalid: Type mismatch for key sk expected: N actual: S",
        {"pk": {"S": "a"}, "sk": {"S": "1"}},
    )
    bad(
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty "
        "string value. Key: pk",
        {"pk": {"S": ""}, "sk": {"N": "1"}},
    )
    bad("The parameter cannot be converted to a numeric value: abc", {**key, "x": {"N": "abc"}})
    bad(
        "Number overflow. Attempting to store a number with magnitude larger than supported range",
        {**key, "x": {"N": "1E126"}},
    )
    bad(
        "Number underflow. Attempting to store a number with magnitude smaller than supported range",
        {**key, "x": {"N": "1E-131"}},
    )
    bad("Attempting to store more than 38 significant digits in a Number", {**key, "x": {"N": "1" * 39}})
    bad("One or more parameter values were invalid: An string set  may not be empty", {**key, "x": {"SS": []}})
    bad(
        "One or more parameter values were invalid: Input collection [a, a] contains duplicates.",
        {**key, "x": {"SS": ["a", "a"]}},
    )
    bad("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes", {**key, "x": {}})
    bad(
        "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
        {**key, "x": {"S": "a", "N": "1"}},
    )
    bad("Item size has exceeded the maximum allowed size", {**key, "x": {"S": "x" * (400 * 1024)}})
    fails(
        "ValidationException",
        "The provided key element does not match the schema",
        db.get_item,
        TableName=it,
        Key={"pk": {"S": "a"}},
    )
    fails(
        "ValidationException",
        "The provided key element does not match the schema",
        db.delete_item,
        TableName=it,
        Key={**key, "more": {"S": "x"}},
    )


def test_put_item_return_values_and_conditions():
    it = table()
    old = {"pk": {"S": "a"}, "v": {"N": "1"}}
    equal("Attributes" in db.put_item(TableName=it, Item=old, ReturnValues="ALL_OLD"), False)
    new = {"pk": {"S": "a"}, "v": {"N": "2"}}
    equal(db.put_item(TableName=it, Item=new, ReturnValues="ALL_OLD")["Attributes"], old)
    fails(
        "ConditionalCheckFailedException",
        "The conditional request failed",
        db.put_item,
        TableName=it,
        Item=old,
        ConditionExpression="attribute_not_exists(pk)",
        status=400,
    )
    refused = fails(
        "ConditionalCheckFailedException",
        "The conditional request failed",
        db.put_item,
        TableName=it,
        Item=old,
        ConditionExpression="v = :v",
        ExpressionAttributeValues={":v": {"N": "7"}},
        ReturnValuesOnConditionCheckFailure="ALL_OLD",
    )
    equal(refused["Item"], new)
    fails(
        "ValidationException",
        "ReturnValues can only be ALL_OLD or NONE",
        db.put_item,
        TableName=it,
        Item=old,
        ReturnValues="ALL_NEW",
    )
    equal(db.get_item(TableName=it, Key={"pk": {"S": "a"}})["Item"], new)


def test_update_item_return_values():
    it = table()
    key = {"pk": {"S": "a"}}

    def update(**options):
        return db.update_item(TableName=it, Key=key, **options)

    first = update(
        UpdateExpression="SET a = :one, b = :two",
        ExpressionAttributeValues={":one": {"N": "1"}, ":two": {"S": "2"}},
        ReturnValues="ALL_NEW",
    )
    equal(first["Attributes"], {**key, "a": {"N": "1"}, "b": {"S": "2"}})
    change = dict(
        UpdateExpression="SET a = a + :n REMOVE b",
        ExpressionAttributeValues={":n": {"N": "5"}},
    )
    equal("Attributes" in update(**change), False)
    equal(update(**change, ReturnValues="UPDATED_OLD")["Attributes"], {"a": {"N": "6"}})
    equal(update(**change, ReturnValues="UPDATED_NEW")["Attributes"], {"a": {"N": "16"}})
    equal(update(**change, ReturnValues="ALL_OLD")["Attributes"], {**key, "a": {"N": "16"}})
    equal(update(**change, ReturnValues="ALL_NEW")["Attributes"], {**key, "a": {"N": "26"}})
    equal(update(ReturnValues="ALL_NEW")["Attributes"], {**key, "a": {"N": "26"}})


def test_update_expressions():
    it = table()
    key = {"pk": {"S": "a"}}
    db.put_item(
        TableName=it,
        Item={
            **key,
            "l": {"L": [{"N": "1"}, {"N": "2"}, {"N": "3"}]},
            "m": {"M": {"x": {"N": "1"}}},
            "tags": {"SS": ["a", "b"]},
            "n": {"N": "10"},
        },
    )

    def after(expression, values=None, names=None):
        options = {}
        if values:
            options["ExpressionAttributeValues"] = values
        if names:
            options["ExpressionAttributeNames"] = names
        answer = db.update_item(TableName=it, Key=key, UpdateExpression=expression, ReturnValues="ALL_NEW", **options)
        return answer["Attributes"]

    equal(
        after("SET l = list_append(l, :more), m.#y = :n", {":more": {"L": [{"N": "4"}]}, ":n": {"N": "9"}}, {"#y": "y"})["l"],
        {"L": [{"N": "1"}, {"N": "2"}, {"N": "3"}, {"N": "4"}]},
    )
    equal(after("REMOVE l[0], l[2] SET n = n - :d", {":d": {"N": "0.5"}})["l"], {"L": [{"N": "2"}, {"N": "4"}]})
    found = after("ADD n :k, tags :t, fresh :k", {":k": {"N": "2"}, ":t": {"SS": ["c"]}})
    equal((found["n"], sorted(found["tags"]["SS"]), found["fresh"]), ({"N": "11.5"}, ["a", "b", "c"], {"N": "2"}))
    equal(sorted(after("DELETE tags :t", {":t": {"SS": ["a", "zz"]}})["tags"]["SS"]), ["b", "c"])
    equal("tags" in after("DELETE tags :t", {":t": {"SS": ["b", "c"]}}), False)
    equal(after("SET n = if_not_exists(n, :z), o = if_not_exists(o, :z)", {":z": {"N": "0"}})["o"], {"N": "0"})

    def bad(message, expression, values=None, names=None):
        fails("ValidationException", message, after, expression, values, names, status=400)

    bad('Invalid UpdateExpression: Syntax error; token: "<EOF>", near: "SET"', "SET")
    bad(
        "Invalid UpdateExpression: An expression attribute value used in expression is not defined; attribute value: :x",
        "SET a = :x",
    )
    bad(
        "Value provided in ExpressionAttributeValues unused in expressions: keys: {:y}",
        "SET a = :x",
        {":x": {"N": "1"}, ":y": {"N": "1"}},
    )
    bad(
        "Invalid UpdateExpression: Attribute name is a reserved keyword; reserved keyword: name",
        "SET name = :x",
        {":x": {"N": "1"}},
    )
    bad(
        "One or more parameter values were invalid: Cannot update attribute pk. This attribute is part of the key",
        "SET pk = :x",
        {":x": {"S": "b"}},
    )
    bad("The document path provided in the update expression is invalid for update", "SET nothing.here = :x", {":x": {"N": "1"}})
    bad(
        "The provided expression refers to an attribute that does not exist in the item",
        "SET a = absent1 + :x",
        {":x": {"N": "1"}},
    )
    bad(
        "An operand in the update expression has an incorrect data type",
        "SET n = pk + :x",
        {":x": {"N": "1"}},
    )
    bad(
        "Invalid UpdateExpression: Two document paths overlap with each other; must remove or rewrite one of these paths; "
        "path one: [a], path two: [a]",
        "SET a = :x, a = :x",
        {":x": {"N": "1"}},
    )


def test_condition_expressions():
    it = table()
    key = {"pk": {"S": "a"}}
    db.put_item(
        TableName=it,
        Item={**key, "n": {"N": "10"}, "s": {"S": "hello"}, "l": {"L": [{"S": "x"}]}, "ss": {"SS": ["p", "q"]}},
    )
    values = {":ten": {"N": "10"}, ":five": {"N": "5"}, ":h": {"S": "he"}, ":p": {"S": "p"}, ":t": {"S": "N"}, ":one": {"N": "1"}}

    def holds(condition):
        used = {k: v for k, v in values.items() if re.search(k + r"\b", condition)}
        try:
            db.update_item(
                TableName=it,
                Key=key,
                ConditionExpression=condition,
                **({"ExpressionAttributeValues": used} if used else {}),
            )
            return True
        except db.exceptions.ConditionalCheckFailedException:
            return False

    for condition, expected in [
        ("n = :ten", True),
        ("n <> :ten", False),
        ("n > :five AND n <= :ten", True),
        ("n BETWEEN :five AND :ten", True),
        ("n IN (:five, :ten)", True),
        ("NOT n IN (:five, :one)", True),
        ("begins_with(s, :h)", True),
        ("contains(s, :p) OR contains(ss, :p)", True),
        ("attribute_exists(l[0])", True),
        ("attribute_exists(l[1])", False),
        ("attribute_type(n, :t)", True),
        ("size(s) = :five", True),
        ("size(l) = :one", True),
        ("(n = :five OR n = :ten) AND NOT attribute_exists(zz)", True),
        ("zz = :ten", False),
        ("zz <> :ten", True),
    ]:
        equal(holds(condition), expected, condition)
    fails(
        "ValidationException",
        "~Invalid ConditionExpression: Invalid function name; function: nothing.*",
        db.update_item,
        TableName=it,
        Key=key,
        ConditionExpression="nothing(n)",
    )
    fails(
        "ValidationException",
        "ExpressionAttributeNames can only be specified when using expressions",
        db.update_item,
        TableName=it,
        Key=key,
        ExpressionAttributeNames={"#a": "a"},
    )


def test_delete_item():
    it = table()
    key = {"pk": {"S": "a"}}
    db.put_item(TableName=it, Item={**key, "v": {"N": "1"}})
    fails(
        "ConditionalCheckFailedException",
        "The conditional request failed",
        db.delete_item,
        TableName=it,
        Key=key,
        ConditionExpression="v > :v",
        ExpressionAttributeValues={":v": {"N": "1"}},
    )
    equal(db.delete_item(TableName=it, Key=key, ReturnValues="ALL_OLD")["Attributes"], {**key, "v": {"N": "1"}})
    equal("Attributes" in db.delete_item(TableName=it, Key=key, ReturnValues="ALL_OLD"), False)


def test_projections():
    it = table()
    key = {"pk": {"S": "a"}}
    db.put_item(
        TableName=it,
        Item={**key, "m": {"M": {"x": {"N": "1"}, "y": {"N": "2"}}}, "l": {"L": [{"N": "1"}, {"N": "2"}]}, "data": {"S": "d"}},
    )
    found = db.get_item(
        TableName=it,
        Key=key,
        ProjectionExpression="m.x, l[1], #d",
        ExpressionAttributeNames={"#d": "data"},
    )["Item"]
    equal(found, {"m": {"M": {"x": {"N": "1"}}}, "l": {"L": [{"N": "2"}]}, "data": {"S": "d"}})


def test_consumed_capacity_is_told():
    it = table()
    item = {"pk": {"S": "a"}, "x": {"S": "y" * 3000}}
    equal(db.put_item(TableName=it, Item=item, ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"]["CapacityUnits"], 3.0)
    got = db.get_item(TableName=it, Key={"pk": {"S": "a"}}, ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"]
    equal((got["TableName"], got["CapacityUnits"]), (it, 0.5))


kit.main(globals())
