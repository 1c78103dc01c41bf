"""DynamoDB's streams, time to live, backups, point-in-time recovery and resource policies through boto3."""

import datetime
import json
import time

import kit
from kit import equal, fails

db = kit.client("dynamodb")
streams = kit.client("dynamodbstreams")


def table(**options):
    it = kit.name("table")
    answer = db.create_table(
        TableName=it,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        **{"BillingMode": "PAY_PER_REQUEST", **options},
    )
    db.get_waiter("table_exists").wait(TableName=it, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    return it, answer["TableDescription"].get("LatestStreamArn")


def put(it, pk, **more):
    db.put_item(TableName=it, Item={"pk": {"S": pk}, **more})


def records(arn):
    found = []
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        at = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        at = at["ShardIterator"]
        while at:
            page = streams.get_records(ShardIterator=at)
            found += page["Records"]
            at = page.get("NextShardIterator") if page["Records"] else None
    return found


def until(what, seconds=60):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s")
        time.sleep(0.2)


def test_changes_are_told():
    it, arn = table(StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
    put(it, "a", x={"B": b"\x00\xff"})
    put(it, "a", x={"B": b"\x00\xff"})
    put(it, "a", x={"NS": ["1", "2"]})
    db.delete_item(TableName=it, Key={"pk": {"S": "a"}})
    found = records(arn)
    equal([r["eventName"] for r in found], ["INSERT", "MODIFY", "REMOVE"])
    equal(found[0]["dynamodb"]["NewImage"], {"pk": {"S": "a"}, "x": {"B": b"\x00\xff"}})
    equal(found[1]["dynamodb"]["OldImage"], found[0]["dynamodb"]["NewImage"])
    equal(isinstance(found[0]["dynamodb"]["ApproximateCreationDateTime"], datetime.datetime), True)
    equal(len({r["eventID"] for r in found}), 3)
    db.delete_table(TableName=it)
    equal(len(records(arn)), 3, "the stream outlives its table")
    equal([s["StreamArn"] for s in streams.list_streams(TableName=it)["Streams"]], [arn])


def test_items_end_and_the_stream_says_so():
    it, arn = table(StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"})
    db.update_time_to_live(TableName=it, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ends"})
    put(it, "a", ends={"N": str(int(time.time()) - 5)})
    put(it, "b", ends={"N": str(int(time.time()) + 3600)})
    until(lambda: any(r["eventName"] == "REMOVE" for r in records(arn)), 120)
    removed = [r for r in records(arn) if r["eventName"] == "REMOVE"]
    equal([r["dynamodb"]["Keys"] for r in removed], [{"pk": {"S": "a"}}])
    equal(removed[0]["userIdentity"], {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"})
    equal(db.scan(TableName=it, Select="COUNT")["Count"], 1)


def test_backups_come_back():
    it, _ = table()
    put(it, "a", x={"S": "old"})
    backup = db.create_backup(TableName=it, BackupName="first")["BackupDetails"]["BackupArn"]

    def state():
        return db.describe_backup(BackupArn=backup)["BackupDescription"]["BackupDetails"]["BackupStatus"]

    until(lambda: state() == "AVAILABLE")
    put(it, "a", x={"S": "new"})
    to = kit.name("table")
    db.restore_table_from_backup(TargetTableName=to, BackupArn=backup)
    until(lambda: db.describe_table(TableName=to)["Table"]["TableStatus"] == "ACTIVE")
    equal(db.get_item(TableName=to, Key={"pk": {"S": "a"}})["Item"]["x"], {"S": "old"})
    exists = f"Table already exists: {to}"
    again = {"TargetTableName": to, "BackupArn": backup}
    fails("TableAlreadyExistsException", exists, db.restore_table_from_backup, **again)
    equal([b["BackupArn"] for b in db.list_backups(TableName=it)["BackupSummaries"]], [backup])
    db.delete_backup(BackupArn=backup)


def test_tables_go_back_in_time():
    it, _ = table()
    on = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 7}
    db.update_continuous_backups(TableName=it, PointInTimeRecoverySpecification=on)
    put(it, "a", x={"S": "old"})
    put(it, "gone", x={"S": "old"})
    time.sleep(2)
    at = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=1)
    put(it, "a", x={"S": "new"})
    put(it, "late", x={"S": "new"})
    db.delete_item(TableName=it, Key={"pk": {"S": "gone"}})
    to = kit.name("table")
    db.restore_table_to_point_in_time(SourceTableName=it, TargetTableName=to, RestoreDateTime=at)
    until(lambda: db.describe_table(TableName=to)["Table"]["TableStatus"] == "ACTIVE")
    found = {i["pk"]["S"]: i["x"]["S"] for i in db.scan(TableName=to)["Items"]}
    equal(found, {"a": "old", "gone": "old"})


def test_policies_have_revisions():
    it, _ = table()
    arn = db.describe_table(TableName=it)["Table"]["TableArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{kit.ACCOUNT}:root"},
                "Action": "dynamodb:GetItem",
                "Resource": arn,
            }
        ],
    }
    first = db.put_resource_policy(ResourceArn=arn, Policy=json.dumps(policy))["RevisionId"]
    equal(json.loads(db.get_resource_policy(ResourceArn=arn)["Policy"]), policy)
    equal(db.put_resource_policy(ResourceArn=arn, Policy=json.dumps(policy))["RevisionId"], first)
    db.delete_resource_policy(ResourceArn=arn, ExpectedRevisionId=first)
    fails("PolicyNotFoundException", None, db.get_resource_policy, ResourceArn=arn)


kit.main(globals())
