"""What the boto3 scripts share: clients, functions to deploy, and checks.

A script defines functions `test_…` and ends with `kit.main(globals())`, which runs them in order (or those that are named on
the command line), prints one line for each and exits with 1 if one failed.
"""

import io
import json
import os
import re
import sys
import time
import traceback
import urllib.error
import urllib.request
import uuid
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError, WaiterError  # noqa: F401 (for scripts)

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
REGION = os.environ["AWS_REGION"]
ACCOUNT = "000000000000"
# A wrong answer shall show as what it is, not after retries.
ONCE = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=120)
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
NODE = "nodejs20.x"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


def client(service, **options):
    options.setdefault("config", ONCE)
    return boto3.client(service, **options)


def client_of(service, keys, **options):
    """A client with the credentials of CreateAccessKey or AssumeRole."""
    return client(
        service,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys.get("SessionToken"),
        **options,
    )


def name(prefix="t"):
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def equal(found, expected, what=""):
    if found != expected:
        raise AssertionError(f"{what or 'values differ'}\n   found: {found!r}\nexpected: {expected!r}")


def matches(found, pattern, what=""):
    if not isinstance(found, str) or not re.fullmatch(pattern, found, re.S):
        raise AssertionError(f"{what or 'no match'}\n   found: {found!r}\n pattern: {pattern}")


def contains(found, expected):
    """`expected` is a part of `found`: dicts by key, everything else as it is."""
    for key, value in expected.items():
        if key not in found:
            raise AssertionError(f"no {key} in {found!r}")
        if isinstance(value, dict) and isinstance(found[key], dict):
            contains(found[key], value)
        else:
            equal(found[key], value, key)


def fails(code, message, call, *args, status=None, **kwargs):
    """The call is refused with that code and that message (a regular expression where it begins with `~`)."""
    try:
        answer = call(*args, **kwargs)
    except ClientError as e:
        error = e.response["Error"]
        equal(error["Code"], code, f"code of {e}")
        if message is not None and message.startswith("~"):
            matches(error.get("Message", ""), message[1:])
        elif message is not None:
            equal(error.get("Message", ""), message, "message")
        if status is not None:
            equal(e.response["ResponseMetadata"]["HTTPStatusCode"], status, "status")
        return e.response
    answer.pop("ResponseMetadata", None)
    raise AssertionError(f"expected {code}, but it succeeded: {answer!r}")


def until(what, probe, timeout=20):
    """Polls until the probe gives something true; for what the cloud does after its answer."""
    deadline = time.monotonic() + timeout
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.05)


def zipped(files):
    if isinstance(files, str):
        files = {"index.py": files}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for path, text in files.items():
            info = zipfile.ZipInfo(path)
            info.external_attr = 0o755 << 16
            z.writestr(info, text)
    return out.getvalue()


def role(trust=TRUST, policy=None):
    """A new role for functions: its ARN."""
    iam = client("iam")
    it = name("role")
    arn = iam.create_role(RoleName=it, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    if policy:
        allow(iam.put_role_policy, policy, RoleName=it)
    return arn


def allow(put, statements, **who):
    statements = statements if isinstance(statements, list) else [statements]
    for s in statements:
        s.setdefault("Effect", "Allow")
        s.setdefault("Resource", "*")
    put(PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}), **who)


_role = None


def function(files, runtime=None, handler="index.handler", wait=True, **options):
    """Makes a function and waits until it is active: its name."""
    global _role
    if _role is None and "Role" not in options:
        _role = role()
    options.setdefault("Role", _role)
    it = options.pop("FunctionName", None) or name("fn")
    if runtime is None:
        runtime = PYTHON if isinstance(files, str) else NODE
    client("lambda").create_function(
        FunctionName=it, Runtime=runtime, Handler=handler, Code={"ZipFile": zipped(files)}, **options
    )
    if wait:
        client("lambda").get_waiter("function_active_v2").wait(
            FunctionName=it, WaiterConfig={"Delay": 0.05, "MaxAttempts": 600}
        )
    return it


def node(source, **options):
    return function({"index.js": source}, NODE, **options)


def invoke(function_name, event=None, **options):
    """Invokes: (payload as Python sees it, the whole answer)."""
    answer = client("lambda").invoke(FunctionName=function_name, Payload=json.dumps(event), **options)
    text = answer["Payload"].read()
    return (json.loads(text) if text else None), answer


class Http:
    """An HTTP answer."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()


def local(url):
    """The URL on this machine without wildcard DNS: (URL, Host header)."""
    match = re.match(r"(https?)://([^/:]+)(:\d+)?(.*)", url)
    host, port = match.group(2), match.group(3) or ""
    return ENDPOINT + match.group(4), host + port


def http(url, method="GET", body=None, headers=None):
    """Sends a request; hosts below `localhost` are reached by their Host header. Bodies are bytes or text."""
    url, host = local(url)
    if isinstance(body, str):
        body = body.encode()
    request = urllib.request.Request(url, data=body, method=method, headers={"Host": host, **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=60) as r:
            return Http(r.status, r.headers, r.read())
    except urllib.error.HTTPError as e:
        return Http(e.code, e.headers, e.read())


def where(error):
    """The script's own lines on the way to the error; libraries' are noise here."""
    here = os.path.dirname(os.path.abspath(__file__))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(here)]
    return "".join(f"  {os.path.basename(f.filename)}:{f.lineno} {f.line}\n" for f in frames if "kit.py" not in f.filename)


def clip(text, most=1500):
    return text if len(text) <= most else text[: most // 2] + " […] " + text[-most // 2 :]


def main(names):
    tests = {n: f for n, f in names.items() if n.startswith("test_")}
    picked = sys.argv[1:] or list(tests)
    failed = []
    for it in picked:
        start = time.monotonic()
        try:
            tests[it]()
            print(f"ok   {it} ({time.monotonic() - start:.2f} s)", flush=True)
        except Exception as e:
            failed.append(it)
            print(f"FAIL {it}\n{where(e)}{clip(f'{type(e).__name__}: {e}')}", flush=True)
    print(f"{len(picked) - len(failed)} passed, {len(failed)} failed" + (": " + ", ".join(failed) if failed else ""))
    sys.exit(1 if failed else 0)
