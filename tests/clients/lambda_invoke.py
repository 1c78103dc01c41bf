"""Invoke in all its forms, what functions see, what they print, and function URLs, through boto3."""

import base64
import json
import re
import time

import kit
from kit import contains, equal, fails, matches

fn = kit.client("lambda")
logs = kit.client("logs")

ECHO = {
    kit.PYTHON: {"index.py": "def handler(event, context):\n    return event\n"},
    kit.NODE: {"index.js": "exports.handler = async (event) => event;\n"},
}
BOTH = list(ECHO)


def log_text(name, want=("REPORT",)):
    def read():
        try:
            events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return None
        text = "".join(e["message"] for e in events)
        return text if all(w in text for w in want) else None

    return kit.until(f"{want} in the log of {name}", read)


def test_payloads_pass_through():
    for runtime in BOTH:
        name = kit.function(ECHO[runtime], runtime)
        for event in [{}, {"a": [1, 2.5, None, True, "ü🦀"]}, "text", 7, None, [], {"deep": {"x": {"y": [[]]}}}]:
            payload, answer = kit.invoke(name, event)
            equal(payload, event, runtime)
            contains(answer, {"StatusCode": 200, "ExecutedVersion": "$LATEST"})
            equal("FunctionError" in answer, False)
            matches(answer["ResponseMetadata"]["RequestId"], "[0-9a-f-]{36}")
        answer = fn.invoke(FunctionName=name)
        equal(json.loads(answer["Payload"].read()), {}, f"{runtime}: no payload is an empty event")


def test_a_large_payload_passes_and_a_larger_one_does_not():
    name = kit.function(ECHO[kit.PYTHON], kit.PYTHON, Timeout=30)
    big = "x" * (6 * 1024 * 1024 - 100)
    equal(kit.invoke(name, big)[0], big)
    fails(
        "RequestEntityTooLargeException",
        "~.*6291456.*",
        fn.invoke,
        FunctionName=name,
        Payload=json.dumps("x" * (6 * 1024 * 1024 + 1)),
        status=413,
    )
    grow = kit.function("def handler(e, c):\n    return 'x' * (6 * 1024 * 1024 + 1024)\n", Timeout=30)
    payload, answer = kit.invoke(grow)
    equal(answer["FunctionError"], "Unhandled")
    contains(payload, {"errorType": "Function.ResponseSizeTooLarge"})
    matches(payload["errorMessage"], r"Response payload size exceeded maximum allowed payload size \(6291556 bytes\)\.")


def test_bad_payloads_are_refused():
    name = kit.function(ECHO[kit.PYTHON], kit.PYTHON)
    for body in [b"{", b"nope", b"\xff\xfe"]:
        fails(
            "InvalidRequestContentException",
            "~Could not parse request body into json: .*",
            fn.invoke,
            FunctionName=name,
            Payload=body,
            status=400,
        )
    fails("ValidationException", "~.*at 'invocationType' failed.*", fn.invoke, FunctionName=name, InvocationType="Sometimes", status=400)


def test_dry_run_checks_only():
    name = kit.function("def handler(e, c):\n    raise SystemExit\n")
    answer = fn.invoke(FunctionName=name, InvocationType="DryRun")
    equal((answer["StatusCode"], answer["Payload"].read()), (204, b""))
    fails("ResourceNotFoundException", None, fn.invoke, FunctionName="nope", InvocationType="DryRun", status=404)


def test_event_invocations_run_later():
    name = kit.function("def handler(e, c):\n    print('got', e['n'])\n")
    for n in range(3):
        answer = fn.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps({"n": n}))
        equal((answer["StatusCode"], answer["Payload"].read()), (202, b""))
    log_text(name, ["got 0\n", "got 1\n", "got 2\n"])


def test_tail_and_log_group_hold_awss_lines():
    for runtime, source, printed in [
        (kit.PYTHON, {"index.py": "def handler(e, c):\n    print('hello')\n"}, "hello\n"),
        (
            kit.NODE,
            {"index.js": "exports.handler = async () => { console.log('hello', {a: 1}); };\n"},
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\tID\tINFO\thello \{ a: 1 \}\n",
        ),
    ]:
        name = kit.function(source, runtime)
        for i in range(2):
            _, answer = kit.invoke(name, {}, LogType="Tail")
            text = base64.b64decode(answer["LogResult"]).decode()
            request_id = answer["ResponseMetadata"]["RequestId"]
            report = (
                f"REPORT RequestId: {request_id}\tDuration: \\d+\\.\\d\\d ms\tBilled Duration: \\d+ ms\tMemory Size: 128 MB"
                "\tMax Memory Used: \\d+ MB\t" + ("Init Duration: \\d+\\.\\d\\d ms\t" if i == 0 else "")
            )
            want = f"START RequestId: {request_id} Version: \\$LATEST\n{printed}END RequestId: {request_id}\n{report}\n"
            matches(re.sub(r"^INIT_START [^\n]*\n", "", text), want.replace("ID\\tINFO", request_id + "\\tINFO"), runtime)
        whole = log_text(name, ["INIT_START Runtime Version: ", f"END RequestId: {request_id}\n"])
        equal(whole.count("START RequestId:"), 2)
        streams = logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
        matches(streams[0]["logStreamName"], r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}")
        _, answer = kit.invoke(name, {}, LogType="None")
        equal("LogResult" in answer, False)


def test_thrown_errors():
    name = kit.function("class Broken(Exception): pass\ndef handler(e, c):\n    raise Broken('for ' + e['who'])\n")
    payload, answer = kit.invoke(name, {"who": "you"}, LogType="Tail")
    equal((answer["StatusCode"], answer["FunctionError"]), (200, "Unhandled"))
    contains(payload, {"errorMessage": "for you", "errorType": "Broken"})
    equal(payload["requestId"], answer["ResponseMetadata"]["RequestId"])
    equal(payload["stackTrace"][-1], '  File "/var/task/index.py", line 3, in handler\n    raise Broken(\'for \' + e[\'who\'])\n')
    log = base64.b64decode(answer["LogResult"]).decode()
    equal("[ERROR] Broken: for you\nTraceback (most recent call last):\n" in log, True, log)
    name = kit.node("exports.handler = async (e) => { throw new RangeError('for ' + e.who); };")
    payload, answer = kit.invoke(name, {"who": "you"}, LogType="Tail")
    equal(answer["FunctionError"], "Unhandled")
    contains(payload, {"errorType": "RangeError", "errorMessage": "for you"})
    equal(payload["trace"][0], "RangeError: for you")
    matches(payload["trace"][1], r"    at .*\(?/var/task/index\.js:1:\d+\)?")
    log = base64.b64decode(answer["LogResult"]).decode()
    equal("\tERROR\tInvoke Error \t" in log, True, log)


def test_a_function_sees_its_place():
    source = """
import os
def handler(event, context):
    return {
        "env": dict(os.environ),
        "context": {k: getattr(context, k) for k in ("function_name", "function_version", "invoked_function_arn",
            "memory_limit_in_mb", "aws_request_id", "log_group_name", "log_stream_name")},
        "left": context.get_remaining_time_in_millis(),
        "files": sorted(os.listdir("/var/task")),
        "cwd": os.getcwd(),
        "client": context.client_context and context.client_context.custom,
    }
"""
    name = kit.function(source, Timeout=7, MemorySize=256, Environment={"Variables": {"MINE": "x y"}})
    custom = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    payload, answer = kit.invoke(name, {}, ClientContext=custom)
    env = payload["env"]
    contains(
        env,
        {
            "MINE": "x y",
            "AWS_REGION": kit.REGION,
            "AWS_DEFAULT_REGION": kit.REGION,
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{kit.PYTHON}",
            "_HANDLER": "index.handler",
            "LAMBDA_TASK_ROOT": "/var/task",
        },
    )
    for variable in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        equal(bool(env.get(variable)), True, variable)
    contains(
        payload["context"],
        {
            "function_name": name,
            "function_version": "$LATEST",
            "invoked_function_arn": f"arn:aws:lambda:{kit.REGION}:{kit.ACCOUNT}:function:{name}",
            "memory_limit_in_mb": "256",
            "aws_request_id": answer["ResponseMetadata"]["RequestId"],
            "log_stream_name": env["AWS_LAMBDA_LOG_STREAM_NAME"],
        },
    )
    equal(5000 < payload["left"] <= 7000, True, f"{payload['left']} ms left")
    equal((payload["files"], payload["cwd"], payload["client"]), (["index.py"], "/var/task", {"k": "v"}))
    equal(any("SQUALL" in k for k in env), False, f"nothing of the server's own: {sorted(env)}")


def test_instances_are_kept_and_run_beside_each_other():
    name = kit.function(
        "import time, uuid\nit, n = uuid.uuid4().hex, 0\n"
        "def handler(e, c):\n    global n\n    n += 1\n    time.sleep(e.get('s', 0))\n    return [it, n]\n"
    )
    first, second = kit.invoke(name, {})[0], kit.invoke(name, {})[0]
    equal((first[0], first[1], second[1]), (second[0], 1, 2), "a warm instance keeps its globals")
    from concurrent.futures import ThreadPoolExecutor

    start = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: kit.invoke(name, {"s": 1})[0][0], range(8)))
    took = time.monotonic() - start
    equal(len(set(found)), 8, "one instance per concurrent call")
    equal(took < 7, True, f"beside each other, not one after the other: {took:.1f} s")


def test_functions_use_their_own_role():
    kit.client("dynamodb").create_table(
        TableName="own-role",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    allowed = {"Action": "dynamodb:PutItem", "Resource": f"arn:aws:dynamodb:{kit.REGION}:{kit.ACCOUNT}:table/own-role"}
    role = kit.role(policy=allowed)
    python = """
import boto3
table = boto3.resource("dynamodb").Table("own-role")
def handler(event, context):
    table.put_item(Item={"id": event["id"]})
    me = boto3.client("sts").get_caller_identity()["Arn"]
    try:
        table.get_item(Key={"id": event["id"]})
        return "read, but should not"
    except Exception as e:
        return [me, e.response["Error"]["Code"], str(e)]
"""
    node = """
const { DynamoDBClient, PutItemCommand, GetItemCommand } = require("@aws-sdk/client-dynamodb");
const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
const db = new DynamoDBClient({});
exports.handler = async (event) => {
  await db.send(new PutItemCommand({ TableName: "own-role", Item: { id: { S: event.id } } }));
  const me = (await new STSClient({}).send(new GetCallerIdentityCommand({}))).Arn;
  try {
    await db.send(new GetItemCommand({ TableName: "own-role", Key: { id: { S: event.id } } }));
    return "read, but should not";
  } catch (e) {
    return [me, e.name, e.message];
  }
};
"""
    role_name = role.split("/")[-1]
    for name in [kit.function(python, Role=role, Timeout=20, MemorySize=512), kit.node(node, Role=role, Timeout=20, MemorySize=512)]:
        payload, answer = kit.invoke(name, {"id": name})
        equal("FunctionError" in answer, False, str(payload))
        equal(payload[0], f"arn:aws:sts::{kit.ACCOUNT}:assumed-role/{role_name}/{name}")
        matches(payload[1], "AccessDeniedException")
        matches(
            payload[2],
            rf".*User: arn:aws:sts::{kit.ACCOUNT}:assumed-role/{role_name}/{name} is not authorized to perform: "
            rf"dynamodb:GetItem on resource: arn:aws:dynamodb:{kit.REGION}:{kit.ACCOUNT}:table/own-role because no "
            "identity-based policy allows the dynamodb:GetItem action",
        )


URL_ECHO = """
exports.handler = async (event) => {
  if (event.rawPath === "/plain") return "text";
  if (event.rawPath === "/object") return { hello: "world" };
  if (event.rawPath === "/throw") throw new Error("no");
  if (event.rawPath === "/binary") return { statusCode: 200, headers: {"content-type": "image/png"}, body: Buffer.from([0, 255, 1]).toString("base64"), isBase64Encoded: true };
  return { statusCode: 201, headers: { "X-Mine": "1", "content-type": "application/json" }, cookies: ["a=1; Path=/", "b=2"], body: JSON.stringify(event) };
};
"""


def test_function_urls():
    name = kit.node(URL_ECHO)
    fails("ResourceNotFoundException", "The resource you requested does not exist.", fn.get_function_url_config, FunctionName=name)
    made = fn.create_function_url_config(FunctionName=name, AuthType="NONE")
    url = made["FunctionUrl"]
    equal(made["FunctionArn"], f"arn:aws:lambda:{kit.REGION}:{kit.ACCOUNT}:function:{name}")
    matches(url, rf"http://[a-z0-9]+\.lambda-url\.{kit.REGION}\.localhost:\d+/")
    answer = kit.http(url)
    equal((answer.status, answer.headers["x-amzn-ErrorType"]), (403, "AccessDeniedException"))
    equal(answer.json()["Message"][:9], "Forbidden")
    fn.add_permission(
        FunctionName=name, StatementId="url", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE"
    )
    fn.add_permission(
        FunctionName=name, StatementId="via", Action="lambda:InvokeFunction", Principal="*", InvokedViaFunctionUrl=True
    )
    answer = kit.http(
        url + "some/p%20ath?q=1&q=2&e=%26", "POST", '{"x":1}', {"Content-Type": "application/json", "Cookie": "c=1; d=2", "X-Two": "v"}
    )
    equal((answer.status, answer.headers["x-mine"]), (201, "1"))
    equal(answer.headers.get_all("set-cookie"), ["a=1; Path=/", "b=2"])
    event = answer.json()
    contains(
        event,
        {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/some/p ath",
            "rawQueryString": "q=1&q=2&e=%26",
            "cookies": ["c=1", "d=2"],
            "queryStringParameters": {"q": "1,2", "e": "&"},
            "body": '{"x":1}',
            "isBase64Encoded": False,
        },
    )
    equal(event["headers"]["x-two"], "v")
    http = event["requestContext"]["http"]
    contains(http, {"method": "POST", "path": "/some/p ath", "protocol": "HTTP/1.1"})
    equal(event["requestContext"]["accountId"], "anonymous")
    answer = kit.http(url + "plain")
    equal((answer.status, answer.body, answer.headers["content-type"]), (200, b"text", "application/json"))
    equal(kit.http(url + "object").json(), {"hello": "world"})
    answer = kit.http(url + "binary")
    equal((answer.body, answer.headers["content-type"]), (b"\x00\xff\x01", "image/png"))
    answer = kit.http(url + "throw")
    equal((answer.status, answer.body), (502, b"Internal Server Error"))
    answer = kit.http(url + "x", "POST", b"\x00\xff", {"Content-Type": "application/octet-stream"})
    equal((answer.json()["body"], answer.json()["isBase64Encoded"]), ("AP8=", True))
    # The way without wildcard DNS.
    url_id = url.split("//")[1].split(".")[0]
    equal(kit.http(f"{kit.ENDPOINT}/_aws/lambda-url/{url_id}/object").json(), {"hello": "world"})
    cors = fn.update_function_url_config(
        FunctionName=name, Cors={"AllowOrigins": ["https://x.example"], "AllowMethods": ["GET"], "AllowHeaders": ["a"], "MaxAge": 60}
    )
    equal(cors["Cors"]["AllowOrigins"], ["https://x.example"])
    answer = kit.http(url, "OPTIONS", headers={"Origin": "https://x.example", "Access-Control-Request-Method": "GET"})
    equal((answer.status, answer.headers["access-control-allow-origin"]), (200, "https://x.example"))
    equal(kit.http(url, headers={"Origin": "https://x.example"}).headers["access-control-allow-origin"], "https://x.example")
    fails("ResourceConflictException", None, fn.create_function_url_config, FunctionName=name, AuthType="NONE", status=409)
    equal(len(fn.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]), 1)
    fn.delete_function_url_config(FunctionName=name)
    equal(kit.http(url).status in (403, 404), True)


def test_function_urls_with_iam():
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    import os

    name = kit.node(URL_ECHO)
    url = fn.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")["FunctionUrl"]
    answer = kit.http(url)
    equal((answer.status, answer.json()["Message"][:9]), (403, "Forbidden"))
    local, host = kit.local(url)
    request = AWSRequest("GET", url, headers={"Host": host})
    keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(keys, "lambda", kit.REGION).add_auth(request)
    answer = kit.http(url, headers=dict(request.headers))
    equal(answer.status, 201, answer.text)
    contains(answer.json()["requestContext"]["authorizer"]["iam"], {"accountId": kit.ACCOUNT})
    headers = dict(request.headers)
    headers["Authorization"] = headers["Authorization"][:-1] + ("0" if headers["Authorization"][-1] != "0" else "1")
    equal(kit.http(url, headers=headers).status, 403)


kit.main(globals())
