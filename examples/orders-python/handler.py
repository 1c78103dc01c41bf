import json

import boto3
from boto3.dynamodb.conditions import Key

orders = boto3.resource("dynamodb").Table("Orders")
changes = boto3.resource("dynamodb").Table("OrderHistory")


def answer(status, body):
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(body)}


# PUT /orders/{id}
def save_order(event, context):
    order = {"id": event["pathParameters"]["id"], "state": json.loads(event["body"])["state"]}
    orders.put_item(Item=order)
    return answer(200, order)


# The stream of the table Orders: what changed becomes a line of the history.
def tell_change(event, context):
    failed = []
    for record in event["Records"]:
        change = record["dynamodb"]
        try:
            changes.put_item(
                Item={
                    "order": change["Keys"]["id"]["S"],
                    "sequence": change["SequenceNumber"],
                    "from": change.get("OldImage", {}).get("state", {}).get("S", "-"),
                    "to": change["NewImage"]["state"]["S"],
                }
            )
        except Exception as error:
            print(f"record {change['SequenceNumber']}: {error}")
            failed.append({"itemIdentifier": change["SequenceNumber"]})
    return {"batchItemFailures": failed}


# GET /orders/{id}/history
def history(event, context):
    found = changes.query(KeyConditionExpression=Key("order").eq(event["pathParameters"]["id"]))
    return answer(200, [f"{line['from']} > {line['to']}" for line in found["Items"]])
