"""What DynamoDB refuses and how it says so: raw signed requests, so that wrong types and odd JSON reach the server."""

import json
import urllib.error
import urllib.request

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

import kit
from kit import equal

db = kit.client("dynamodb")
keys = boto3.Session().get_credentials()
INVALID = "One or more parameter values were invalid: "
EMPTY = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
SEVERAL = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
DEEP = "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
CAST = (
    "class sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl cannot be cast to class java.lang.Class "
    "(sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl and java.lang.Class are in module java.base of loader "
    "'bootstrap')"
)


def raw(operation, body, sign=True):
    """Status, code and message of the answer; the message of a success is its JSON."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
    request = AWSRequest("POST", kit.ENDPOINT + "/", data=data, headers=headers)
    if sign:
        SigV4Auth(keys, "dynamodb", kit.REGION).add_auth(request)
    sent = urllib.request.Request(kit.ENDPOINT + "/", data=data, headers=dict(request.headers), method="POST")
    try:
        with urllib.request.urlopen(sent) as answer:
            return answer.status, "", json.loads(answer.read())
    except urllib.error.HTTPError as error:
        told = json.loads(error.read() or b"{}")
        return error.code, told["__type"].split("#")[-1], told.get("message", told.get("Message"))


def refused(operation, body, message, code="ValidationException"):
    equal(raw(operation, body), (400, code, message), f"{operation} {json.dumps(body)[:300]}")


def tables():
    names = kit.name("hash"), kit.name("range")
    types = [{"AttributeName": name, "AttributeType": "S"} for name in "abc"]
    for name, schema in zip(names, ("a", "ab")):
        kinds = zip(schema, ("HASH", "RANGE"))
        db.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in kinds],
            AttributeDefinitions=types[: 1 if schema == "a" else 3],
            BillingMode="PAY_PER_REQUEST",
            **(
                {}
                if schema == "a"
                else {
                    "GlobalSecondaryIndexes": [
                        {
                            "IndexName": "byc",
                            "KeySchema": [{"AttributeName": "c", "KeyType": "HASH"}],
                            "Projection": {"ProjectionType": "KEYS_ONLY"},
                        }
                    ]
                }
            ),
        )
        db.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    return names


HASH, RANGE = tables()
KEY = {"a": {"S": "1"}}


def test_what_is_no_request():
    for body in ["", "{", "[]", '"x"', '{"TableName":"a",}']:
        status, code, _ = raw("GetItem", body)
        equal((status, code), (400, "SerializationException"), body)
    equal(raw("NoSuchThing", {})[:2], (400, "UnknownOperationException"))
    equal(raw("GetItem", {}, sign=False)[:2], (400, "MissingAuthenticationTokenException"))


def test_wrong_types_are_named():
    def put(value, message):
        refused("PutItem", {"TableName": HASH, "Item": {**KEY, "x": value}}, message, "SerializationException")

    structure = "Start of structure or map found where not expected"
    package = "com.amazonaws.dynamodb.v20120810."
    for value, message in [
        ({"S": 1}, "NUMBER_VALUE cannot be converted to String"),
        ({"N": 1.5}, "DECIMAL_VALUE cannot be converted to String"),
        ({"S": True}, "TRUE_VALUE cannot be converted to String"),
        ({"S": []}, "Unrecognized collection type class java.lang.String"),
        ({"S": {}}, structure),
        ({"B": 1}, "only base-64-encoded strings are convertible to bytes"),
        ({"B": "234"}, "Base64 encoded length is expected a multiple of 4 bytes but found: 3"),
        ({"B": "=+/="}, "Invalid last non-pad Base64 character dectected"),
        ({"BOOL": 1}, "NUMBER_VALUE cannot be converted to Boolean"),
        ({"BOOL": "maybe"}, "Unexpected token received from parser"),
        ({"SS": "a"}, "Unexpected field type"),
        ({"SS": {}}, structure),
        ({"L": [1]}, "Unexpected value type in payload"),
        ({"M": []}, f"Unrecognized collection type java.util.Map<java.lang.String, {package}AttributeValue>"),
        ("a", "Unexpected value type in payload"),
        ([], f"Unrecognized collection type class {package}AttributeValue"),
    ]:
        put(value, message)
    scan = {"TableName": HASH}
    for member, value, message in [
        ("Limit", "1", "STRING_VALUE cannot be converted to Integer"),
        ("Limit", False, "FALSE_VALUE cannot be converted to Integer"),
        ("AttributesToGet", "a", "Unexpected field type"),
        ("ScanFilter", [], f"Unrecognized collection type java.util.Map<java.lang.String, {package}Condition>"),
    ]:
        refused("Scan", {**scan, member: value}, message, "SerializationException")
    refused("BatchWriteItem", {"RequestItems": {HASH: 1}}, CAST, "SerializationException")
    refused("BatchGetItem", {"RequestItems": {HASH: {"Keys": ["a"]}}}, CAST, "SerializationException")


def test_broken_constraints_come_together():
    refused(
        "GetItem",
        {"TableName": HASH, "ReturnConsumedCapacity": "hi", "AttributesToGet": []},
        "3 validation errors detected: "
        "Value null at 'key' failed to satisfy constraint: Member must not be null; "
        "Value '[]' at 'attributesToGet' failed to satisfy constraint: Member must have length greater than or equal to 1; "
        "Value 'hi' at 'returnConsumedCapacity' failed to satisfy constraint: Member must satisfy enum value set: "
        "[INDEXES, TOTAL, NONE]",
    )
    refused(
        "Scan",
        {"TableName": HASH, "Limit": 0},
        "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: "
        "Member must have value greater than or equal to 1",
    )


def nested(levels):
    value = {"S": "x"}
    for _ in range(levels):
        value = {"M": {"x": value}}
    return value


def test_values_that_are_none():
    number = "The parameter cannot be converted to a numeric value"
    for value, message in [
        ({}, EMPTY),
        ({"Q": 1}, EMPTY),
        ({"L": [None]}, EMPTY),
        ({"S": "a", "N": "1"}, SEVERAL),
        ({"S": "a", "N": "b"}, f"{number}: b"),
        ({"N": ""}, number),
        ({"N": "Infinity"}, f"{number}: Infinity"),
        ({"N": "1" * 39}, "Attempting to store more than 38 significant digits in a Number"),
        ({"N": "1e126"}, "Number overflow. Attempting to store a number with magnitude larger than supported range"),
        ({"N": "1e-131"}, "Number underflow. Attempting to store a number with magnitude smaller than supported range"),
        ({"NULL": False}, f"{INVALID}Null attribute value types must have the value of true"),
        ({"SS": []}, f"{INVALID}An string set  may not be empty"),
        ({"NS": []}, f"{INVALID}An number set  may not be empty"),
        ({"BS": []}, f"{INVALID}Binary sets should not be empty"),
        ({"SS": ["a", "a"]}, f"{INVALID}Input collection [a, a] contains duplicates."),
        ({"BS": ["Yg==", "Yg=="]}, f"{INVALID}Input collection [Yg==, Yg==]of type BS contains duplicates."),
        ({"NS": ["1", "1.0"]}, "Input collection contains duplicates"),
        (nested(32), DEEP),
    ]:
        refused("PutItem", {"TableName": HASH, "Item": {**KEY, "x": value}}, message)
        update = {"TableName": HASH, "Key": KEY, "UpdateExpression": "SET x = :x", "ExpressionAttributeValues": {":x": value}}
        refused("UpdateItem", update, f"ExpressionAttributeValues contains invalid value: {message} for key :x")
    equal(raw("PutItem", {"TableName": HASH, "Item": {**KEY, "x": nested(31)}})[0], 200)
    big = {"TableName": HASH, "Item": {**KEY, "x": {"S": "x" * 410_000}}}
    refused("PutItem", big, "Item size has exceeded the maximum allowed size")
    refused("TransactWriteItems", {"TransactItems": [{"Put": big}]}, "Item size has exceeded the maximum allowed size")


def test_conditions_that_are_none():
    def delete(expression, message, values=None, names=None):
        body = {"TableName": HASH, "Key": KEY, "ConditionExpression": expression}
        body.update({"ExpressionAttributeValues": values} if values else {})
        body.update({"ExpressionAttributeNames": names} if names else {})
        refused("DeleteItem", body, f"Invalid ConditionExpression: {message}")

    distinct = "The first operand must be distinct from the remaining operands for this operator or function; operator: "
    kind = "Incorrect operand type for operator or function; operator or function: "
    s, t = {"S": "s"}, {"S": "a"}
    for expression, message, values in [
        ("", "The expression can not be empty;", None),
        ("a = ", 'Syntax error; token: "<EOF>", near: "="', None),
        ("a = b c = d", 'Syntax error; token: "c", near: "b c ="', None),
        ("a = #b!", 'Syntax error; token: "!", near: "#b!"', None),
        ("a.and = :b", 'Syntax error; token: "and", near: ".and ="', None),
        ("((a = :b))", "The expression has redundant parentheses;", None),
        ("name = :b", "Attribute name is a reserved keyword; reserved keyword: name", None),
        ("a = #b", "An expression attribute name used in the document path is not defined; attribute name: #b", None),
        ("a = :b", "An expression attribute value used in expression is not defined; attribute value: :b", None),
        ("lol(a)", "Invalid function name; function: lol", None),
        ("size(a)", "The function is not allowed to be used this way in an expression; function: size", None),
        ("a = a", f"{distinct}=, first operand: [a]", None),
        ("a IN (b, a)", f"{distinct}IN, first operand: [a]", None),
        ("a[0].b BETWEEN b AND a[0].b", f"{distinct}BETWEEN, first operand: [a, [0], b]", None),
        ("a < :b", f"{kind}<, operand type: BOOL", {":b": {"BOOL": True}}),
        ("begins_with(a, :b)", f"{kind}begins_with, operand type: N", {":b": {"N": "1"}}),
        (
            "a BETWEEN :b AND :c",
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: "
            "AttributeValue: {S:s}, upper bound operand: AttributeValue: {S:a}",
            {":b": s, ":c": t},
        ),
        ("a" + ".a" * 32 + " = :b", "The document path has too many nesting elements; nesting levels: 33", {":b": s}),
        ("a = :b" + " OR a = :b" * 150, "The expression contains too many operators; operator count: 301", {":b": s}),
        ("x" * 4097, "Expression size has exceeded the maximum allowed size; expression size: 4097", None),
    ]:
        delete(expression, message, values)
    unused = {"TableName": HASH, "Key": KEY, "ConditionExpression": "a = :b"}
    refused(
        "DeleteItem",
        {**unused, "ExpressionAttributeValues": {":b": s, ":c": s}},
        "Value provided in ExpressionAttributeValues unused in expressions: keys: {:c}",
    )
    refused(
        "DeleteItem",
        {**unused, "Expected": {}},
        "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: "
        "{Expected} Expression parameters: {ConditionExpression}",
    )


def test_updates_that_do_not_fit():
    db.put_item(TableName=HASH, Item={**KEY, "s": {"S": "s"}, "n": {"N": "1"}, "l": {"L": []}})
    one = {":c": {"N": "1"}}
    invalid = "Invalid UpdateExpression: "
    wrong = "An operand in the update expression has an incorrect data type"
    path = "The document path provided in the update expression is invalid for update"
    for expression, message, values in [
        ("foo", f'{invalid}Syntax error; token: "foo", near: "foo"', None),
        ("SET b = :c, REMOVE d", f'{invalid}Syntax error; token: "REMOVE", near: ", REMOVE d"', one),
        ("SET b = :c SET d = :c", f'{invalid}The "SET" section can only be used once in an update expression;', one),
        (
            "SET b = :c, b.d = :c",
            f"{invalid}Two document paths overlap with each other; must remove or rewrite one of these paths; path one: "
            "[b], path two: [b, d]",
            one,
        ),
        ("SET a = :c", f"{INVALID}Cannot update attribute a. This attribute is part of the key", one),
        ("SET b = z", "The provided expression refers to an attribute that does not exist in the item", None),
        ("SET b = s + :c", wrong, one),
        ("ADD s :c", wrong, one),
        ("SET z.y = :c", path, one),
        ("REMOVE n.y", path, None),
    ]:
        body = {"TableName": HASH, "Key": KEY, "UpdateExpression": expression}
        refused("UpdateItem", {**body, "ExpressionAttributeValues": values} if values else body, message)
    legacy = {"TableName": HASH, "Key": KEY, "AttributeUpdates": {"s": {"Action": "ADD", "Value": {"N": "1"}}}}
    refused("UpdateItem", legacy, "Type mismatch for attribute to update")


def test_taking_away_from_a_missing_item_makes_none():
    for expression, values in [("REMOVE x", None), ("DELETE x :x", {":x": {"SS": ["x"]}})]:
        body = {"TableName": HASH, "Key": {"a": {"S": "missing"}}, "UpdateExpression": expression}
        equal(raw("UpdateItem", {**body, "ExpressionAttributeValues": values} if values else body), (200, "", {}))
    equal(raw("GetItem", {"TableName": HASH, "Key": {"a": {"S": "missing"}}}), (200, "", {}))
    equal(raw("UpdateItem", {"TableName": HASH, "Key": {"a": {"S": "made"}}}), (200, "", {}))
    equal("Item" in db.get_item(TableName=HASH, Key={"a": {"S": "made"}}), True)
    gone = f"DELETE FROM \"{HASH}\" WHERE a = 'missing' AND x = 1"
    equal(raw("ExecuteStatement", {"Statement": gone}), (200, "", {"Items": []}))


def test_queries_that_are_none():
    schema = "Query condition missed key schema element: "
    for condition, values, message in [
        ("a <> :a", "1", "Invalid operator used in KeyConditionExpression: <>"),
        ("a = b", None, "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition"),
        ("a.b = :a", "1", "KeyConditionExpressions cannot have conditions on nested attributes"),
        ("a > :a", "1", "Query key condition not supported"),
        ("b = :a", "1", f"{schema}a"),
        ("a = :a AND a = :b", "12", "KeyConditionExpressions must only contain one condition per key"),
        ("a = :a AND c = :b", "12", f"{schema}b"),
    ]:
        body = {"TableName": RANGE, "KeyConditionExpression": condition}
        if values:
            body["ExpressionAttributeValues"] = {f":{name}": {"S": text} for name, text in zip("ab", values)}
        refused("Query", body, message)
    body = {"TableName": RANGE, "KeyConditionExpression": "a = :a", "ExpressionAttributeValues": {":a": {"S": "1"}}}
    for more, message in [
        ({"IndexName": "nope"}, "The table does not have the specified index: nope"),
        ({"Select": "SPECIFIC_ATTRIBUTES"}, "Must specify the AttributesToGet or ProjectionExpression when choosing to get "
            "SPECIFIC_ATTRIBUTES"),
        ({"ExclusiveStartKey": {"a": {"S": "1"}}}, "The provided starting key is invalid"),
        ({"ExclusiveStartKey": {"a": {"S": "2"}, "b": {"S": "2"}}}, "The provided starting key is outside query boundaries "
            "based on provided conditions"),
        ({"FilterExpression": "b = :a"}, "Filter Expression can only contain non-primary key attributes: Primary key "
            "attribute: b"),
    ]:
        refused("Query", {**body, **more}, message)
    consistent = {"TableName": RANGE, "IndexName": "byc", "ConsistentRead": True}
    refused("Scan", consistent, "Consistent reads are not supported on global secondary indexes")


def test_keys_are_scalars():
    scalars = "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: "
    key = {"a": {"S": "1"}, "b": {"S": "1"}}
    one = {":c": {"N": "1"}}
    get = {"TableName": RANGE, "Key": key}
    refused("GetItem", {**get, "ProjectionExpression": "x.y, a[0]"}, f"{scalars}Key: a")
    refused("GetItem", {**get, "ProjectionExpression": "c.d"}, f"{scalars}IndexKey: c")
    refused("Scan", {"TableName": RANGE, "FilterExpression": "attribute_exists(b.x)"}, f"{scalars}Key: b")
    condition = {"ConditionExpression": "b[1] = :c", "ExpressionAttributeValues": one}
    refused("DeleteItem", {**get, **condition}, f"{scalars}Key: b")
    refused("PutItem", {"TableName": RANGE, "Item": key, **condition}, f"{scalars}Key: b")
    update = {**get, "ExpressionAttributeValues": one}
    refused("UpdateItem", {**update, "UpdateExpression": "SET c.d = :c"}, f"{scalars}IndexKey: c")
    mismatch = f"{INVALID}Type mismatch for Index Key c Expected: S Actual: N IndexName: byc"
    refused("UpdateItem", {**update, "UpdateExpression": "SET c = :c"}, mismatch)
    legacy = {**get, "AttributeUpdates": {"c": {"Action": "ADD", "Value": {"N": "1"}}}}
    refused("UpdateItem", legacy, mismatch)


def test_a_repeated_transaction_is_a_read():
    body = {
        "TransactItems": [{"Put": {"TableName": HASH, "Item": KEY}}],
        "ClientRequestToken": kit.name("token"),
        "ReturnConsumedCapacity": "TOTAL",
    }
    for unit in ["WriteCapacityUnits", "ReadCapacityUnits"]:
        spent = {"TableName": HASH, "CapacityUnits": 2.0, unit: 2.0}
        equal(raw("TransactWriteItems", body), (200, "", {"ConsumedCapacity": [spent]}))


kit.main(globals())
