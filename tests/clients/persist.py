"""One of everything, made before a restart (`make`) and used after it (`check`)."""

import json
import os
import sys

import kit
from kit import equal

FILE = os.path.join(os.environ["SQUALL_TEST_SCRATCH"], "persist.json")
GROUP = "/persist/group"


def make():
    role = kit.role(policy={"Action": "dynamodb:*"})
    name = kit.function("def handler(e, c):\n    return e\n", Role=role)
    fn, api, logs, iam, db = (kit.client(s) for s in ("lambda", "apigatewayv2", "logs", "iam", "dynamodb"))
    fn.publish_version(FunctionName=name)
    fn.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    fn.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)
    url = fn.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    for action, more in (("InvokeFunctionUrl", {"FunctionUrlAuthType": "NONE"}), ("InvokeFunction", {"InvokedViaFunctionUrl": True})):
        fn.add_permission(FunctionName=name, StatementId=action, Action=f"lambda:{action}", Principal="*", **more)
    arn = fn.get_function_configuration(FunctionName=name)["FunctionArn"]
    it = api.create_api(Name="a", ProtocolType="HTTP", Target=arn)
    fn.add_permission(FunctionName=name, StatementId="api", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com")
    user = kit.name("user")
    iam.create_user(UserName=user)
    iam.attach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess")
    key = iam.create_access_key(UserName=user)["AccessKey"]
    db.create_table(
        TableName="kept",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    db.get_waiter("table_exists").wait(TableName="kept", WaiterConfig={"Delay": 1})
    db.put_item(TableName="kept", Item={"id": {"S": "a"}})
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="s")
    import time

    logs.put_log_events(logGroupName=GROUP, logStreamName="s", logEvents=[{"timestamp": int(time.time() * 1000), "message": "kept"}])
    kit.invoke(name, 1)
    state = {"name": name, "url": url, "api": it["ApiEndpoint"], "key": {k: key[k] for k in ("AccessKeyId", "SecretAccessKey")}}
    with open(FILE, "w") as f:
        json.dump(state, f)


def check():
    with open(FILE) as f:
        state = json.load(f)
    fn, logs = kit.client("lambda"), kit.client("logs")
    name = state["name"]
    equal(kit.invoke(name, {"a": 1})[0], {"a": 1})
    equal(kit.invoke(name, {"a": 1}, Qualifier="live")[1]["ExecutedVersion"], "1")
    equal(fn.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"], 5)
    equal(kit.http(state["url"] + "x").json()["rawPath"], "/x")
    equal(kit.http(state["api"] + "/y").json()["rawPath"], "/y")
    db = kit.client_of("dynamodb", state["key"])
    equal(db.get_item(TableName="kept", Key={"id": {"S": "a"}})["Item"], {"id": {"S": "a"}})
    kit.fails("AccessDeniedException", None, db.put_item, TableName="kept", Item={"id": {"S": "b"}})
    events = logs.get_log_events(logGroupName=GROUP, logStreamName="s", startFromHead=True)["events"]
    equal([e["message"] for e in events], ["kept"])
    text = "".join(e["message"] for e in logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"])
    equal(text.count("REPORT RequestId") >= 1, True, text)


{"make": make, "check": check}[sys.argv[1]]()
print("ok")
