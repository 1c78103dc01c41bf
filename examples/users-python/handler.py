import json
from decimal import Decimal
from uuid import uuid4

import boto3

users = boto3.resource("dynamodb").Table("Users")


def plain(value):
    """DynamoDB's numbers are Decimal, which json does not know."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"{type(value)} is not JSON")


# GET /users/{id}
def get_user(event, context):
    user_id = event["pathParameters"]["id"]

    user = users.get_item(Key={"id": user_id})

    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(user, default=plain),
    }


# POST /users
def create_user(event, context):
    user_data = json.loads(event["body"], parse_float=Decimal)

    users.put_item(Item={"id": str(uuid4()), **user_data})

    return {"statusCode": 201, "body": json.dumps({"message": "User created"})}
