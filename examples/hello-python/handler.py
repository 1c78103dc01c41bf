import json


def hello(event, context):
    path = event.get("pathParameters") or {}
    query = event.get("queryStringParameters") or {}
    name = path.get("name") or query.get("name") or "world"
    print(f"greeting {name}")

    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps({"message": f"Hello, {name}!"}),
    }
