"""What the scripts about event source mappings share: tables with streams, functions that print events, mappings."""

import json

import kit
from kit import until

fn = kit.client("lambda")
db = kit.client("dynamodb")
logs = kit.client("logs")

# With the function's own time: lines of two instances come to the log in the order in which their pipes are read.
PRINT = {
    "index.py": """import json, time
def handler(event, context):
    print('EVENT ' + json.dumps({**event, 'at': time.time_ns()}))
"""
}
STREAM = ["dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream", "dynamodb:ListStreams"]
READER = [{"Effect": "Allow", "Action": STREAM, "Resource": "*"}]


def table(view="NEW_AND_OLD_IMAGES"):
    name = kit.name("table")
    made = db.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": view},
    )
    db.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    return name, made["TableDescription"]["LatestStreamArn"]


def reader(source=PRINT, **options):
    return kit.function(source, kit.PYTHON, Role=kit.role(policy=READER), **options)


def enabled(uuid, state="Enabled"):
    def look():
        found = fn.get_event_source_mapping(UUID=uuid)
        return found if found["State"] == state else None

    return until(f"{uuid} is {state}", look)


def mapping(function, arn, **options):
    options.setdefault("StartingPosition", "TRIM_HORIZON")
    made = fn.create_event_source_mapping(FunctionName=function, EventSourceArn=arn, **options)
    enabled(made["UUID"])
    return made


def events(function):
    try:
        lines = logs.filter_log_events(logGroupName=f"/aws/lambda/{function}", filterPattern="EVENT")["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    found = [json.loads(line["message"].split("EVENT ", 1)[1]) for line in lines if "EVENT " in line["message"]]
    return sorted(found, key=lambda event: event.get("at", 0))


def records(function):
    return [r for event in events(function) for r in event["Records"]]


def put(name, key, **more):
    db.put_item(TableName=name, Item={"id": {"S": key}, **more})


def at_least(n, probe, timeout=20):
    """What the probe gives once there are so many."""
    return until(f"{n} of them", lambda: (lambda found: found if len(found) >= n else None)(probe()), timeout)
