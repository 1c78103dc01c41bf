"""Functions in WebAssembly: made, called, refused, ended, and what they do to their neighbours.

The first argument is a folder with the modules of `wasm/*.wat` in binary form.
"""

import base64
import concurrent.futures
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import kit
from kit import contains, equal, fails, matches

MODULES = pathlib.Path(sys.argv.pop(1))
EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples/hello-wasm"
ANSWER_MAX = 6 * 1024 * 1024 + 100
MADE = {}


def module(name):
    return (MODULES / f"{name}.wasm").read_bytes()


def made(name, **options):
    """A function of that module, made once for the same options."""
    key = (name, str(options))
    if key not in MADE:
        MADE[key] = kit.function({"bootstrap.wasm": module(name)}, "wasm", "bootstrap.wasm", **options)
    return MADE[key]


def deed(letter, **options):
    """(payload as text, answer, log tail) of one deed."""
    answer = kit.client("lambda").invoke(
        FunctionName=made("deeds", **options), Payload=f'"{letter}"'.encode(), LogType="Tail"
    )
    return answer["Payload"].read().decode(), answer, base64.b64decode(answer["LogResult"]).decode()


def failed(letter, kind, message, status, **options):
    payload, answer, tail = deed(letter, **options)
    equal(answer["FunctionError"], "Unhandled", payload)
    request = answer["ResponseMetadata"]["RequestId"]
    error = kit.json.loads(payload)
    equal(error["errorType"], kind)
    matches(error["errorMessage"], message.replace("ID", request))
    matches(tail, rf".*END RequestId: {request}\nREPORT RequestId: {request}\tDuration: .*{status}.*", tail)
    # What comes after it is not touched.
    equal(deed("d", **options)[0], '"done"')
    return tail


def test_an_event_goes_in_and_an_answer_comes_out():
    name = made("echo")
    for event in [None, {"a": [1, "ü"]}, "x" * 3_000_000]:
        payload, answer = kit.invoke(name, event)
        equal((payload, "FunctionError" in answer), (event, False))
    made_of = kit.client("lambda").get_function_configuration(FunctionName=name)
    contains(made_of, {"Runtime": "wasm", "State": "Active", "Handler": "bootstrap.wasm"})


def test_a_component():
    payload, answer = kit.invoke(made("command"), {})
    equal((payload, "FunctionError" in answer), (None, False))


def test_variables():
    name = made("deeds", Environment={"Variables": {"TABLE": "t", "TZ": "Europe/Berlin"}})
    context = base64.b64encode(b'{"custom":{}}').decode()
    before = time.time() * 1000
    answer = kit.client("lambda").invoke(FunctionName=name, Payload=b'"n"', ClientContext=context)
    pairs = answer["Payload"].read().decode().split("\0")
    env = dict(pair.split("=", 1) for pair in pairs if pair)
    arn = kit.client("lambda").get_function_configuration(FunctionName=name)["FunctionArn"]
    contains(
        env,
        {
            "TABLE": "t",
            "TZ": "Europe/Berlin",
            "_HANDLER": "bootstrap.wasm",
            "AWS_REGION": kit.REGION,
            "AWS_EXECUTION_ENV": "AWS_Lambda_wasm",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
            "LAMBDA_RUNTIME_AWS_REQUEST_ID": answer["ResponseMetadata"]["RequestId"],
            "LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN": arn,
            "LAMBDA_RUNTIME_CLIENT_CONTEXT": '{"custom":{}}',
        },
    )
    matches(env["_X_AMZN_TRACE_ID"], r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};.*")
    left = int(env["LAMBDA_RUNTIME_DEADLINE_MS"]) - before
    equal(0 < left < 120_000, True, left)
    for secret in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "SQUALL_WASM_TOKEN"]:
        equal(secret in env, False, secret)


def test_logs_and_reports():
    payload, answer, tail = deed("p", Description="logs")
    request = answer["ResponseMetadata"]["RequestId"]
    equal(payload, '"done"')
    matches(
        tail,
        rf"START RequestId: {request} Version: \$LATEST\na line on stderr\nEND RequestId: {request}\nREPORT RequestId: {request}\t"
        r"Duration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\tMax Memory Used: 1 MB\tInit Duration: \d+\.\d\d ms\t\n",
    )
    matches(deed("b", Description="logs")[2], r".*Max Memory Used: 65 MB\t\n")
    matches(deed("p", Description="logs")[2], r".*Max Memory Used: 1 MB\t\n")


def test_nothing_is_left_of_a_call():
    for _ in range(5):
        equal(deed("k")[0], "1")


def test_functions_that_fail():
    failed("x", "Runtime.ExitError", "RequestId: ID Error: Runtime exited with error: exit status 3", "Runtime.ExitError")
    tail = failed("t", "Runtime.Trap", "RequestId: ID Error: .*unreachable.*", "Error Type: Runtime.Trap")
    matches(tail, r".*wasm backtrace.*")
    failed("s", "Runtime.Trap", "RequestId: ID Error: .*call stack exhausted.*", "Error Type: Runtime.Trap")
    payload, answer, _ = deed("h")
    equal((payload, answer["FunctionError"]), ('{"errorType":"Own","errorMessage":"mine"}', "Unhandled"))
    equal(deed("z")[0], '"done"')


def test_limits():
    killed = "RequestId: ID Error: Runtime exited with error: signal: killed"
    failed("m", "Runtime.ExitError", killed, "Max Memory Used: 128 MB\tStatus: error\tError Type: Runtime.OutOfMemory")
    matches(deed("g")[2], r".*Memory Size: 128 MB\tMax Memory Used: 12\d MB.*")
    failed("l", "Sandbox.Timedout", r"RequestId: ID Error: Task timed out after 1\.00 seconds", "Status: timeout", Timeout=1)
    size = f"Response payload size exceeded maximum allowed payload size \\({ANSWER_MAX} bytes\\)\\."
    failed("o", "Function.ResponseSizeTooLarge", size, "Function.ResponseSizeTooLarge")
    failed("e", "Sandbox.Timedout", r"RequestId: ID Error: Task timed out after 1\.00 seconds", "Status: timeout", Timeout=1)


def test_waiting_takes_no_thread():
    name = made("deeds", Timeout=60)
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        began = time.monotonic()
        answers = list(pool.map(lambda _: kit.invoke(name, "w")[0], range(50)))
        took = time.monotonic() - began
    equal(answers, ["done"] * 50)
    # One after the other they would take 50 seconds.
    equal(took < 40, True, took)


def test_neighbours_go_on():
    spinning, other = made("deeds", Timeout=3), made("echo")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        tasks = [pool.submit(kit.invoke, spinning, letter) for letter in "llllmmoe"]
        for n in range(20):
            equal(kit.invoke(other, n)[0], n)
        for task in tasks:
            equal(task.result()[1]["FunctionError"], "Unhandled")


def refused(message, files, **options):
    options = {"runtime": "wasm", "handler": "x", "wait": False, **options}
    fails("InvalidParameterValueException", message, kit.function, files, **options, status=400)


def test_what_cannot_run_is_refused_when_it_is_made():
    refused("The package has no bootstrap.wasm or bootstrap.wat.", {"other": "x"})
    refused("~the module is no WebAssembly module .*", {"bootstrap.wasm": "#!/bin/sh"})
    refused("~the module is not valid: .*", {"bootstrap.wasm": module("echo")[:-5]})
    refused("~.*unknown import: `env::print`.*", {"bootstrap.wasm": module("import")})
    refused("~.*it exports no function `_start`.*", {"bootstrap.wasm": b"\0asm\1\0\0\0"})
    good = {"bootstrap.wasm": module("echo")}
    refused("~EphemeralStorage: .*", good, EphemeralStorage={"Size": 1024})
    refused("~MemorySize: .*", good, MemorySize=8192)


def test_updates():
    client, name = kit.client("lambda"), kit.function({"bootstrap.wasm": module("echo")}, "wasm", "x")
    equal(kit.invoke(name, "d")[0], "d")
    broken = kit.zipped({"bootstrap.wasm": module("import")})
    fails("InvalidParameterValueException", "~.*unknown import.*", client.update_function_code, FunctionName=name, ZipFile=broken)
    equal(kit.invoke(name, "d")[0], "d")
    client.update_function_code(FunctionName=name, ZipFile=kit.zipped({"bootstrap.wasm": module("deeds")}))
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    equal(kit.invoke(name, "d")[0], "done")
    fails(
        "InvalidParameterValueException", "~MemorySize: .*",
        client.update_function_configuration, FunctionName=name, MemorySize=10240,
    )
    client.update_function_configuration(FunctionName=name, MemorySize=256)
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    equal(kit.invoke(name, "d")[0], "done")


def test_a_function_that_becomes_webassembly():
    client = kit.client("lambda")
    name = kit.function({"bootstrap.wasm": module("echo"), "index.py": "def handler(e, c): return 'python'"}, kit.PYTHON)
    equal(kit.invoke(name, 1)[0], "python")
    client.update_function_configuration(FunctionName=name, Runtime="wasm")
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    equal(kit.invoke(name, 1)[0], 1)
    other = kit.function("def handler(e, c): return 'python'")
    fails(
        "InvalidParameterValueException", "The package has no bootstrap.wasm or bootstrap.wat.",
        client.update_function_configuration, FunctionName=other, Runtime="wasm",
    )


def test_versions_and_concurrency():
    client, name = kit.client("lambda"), kit.function({"bootstrap.wasm": module("deeds")}, "wasm", "x", Timeout=30)
    version = client.publish_version(FunctionName=name)["Version"]
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version)
    equal(kit.invoke(name, "d", Qualifier=version)[1]["ExecutedVersion"], version)
    client.put_provisioned_concurrency_config(FunctionName=name, Qualifier=version, ProvisionedConcurrentExecutions=2)
    kit.until(
        "provisioned",
        lambda: client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=version)["Status"] == "READY",
        timeout=60,
    )
    answer = client.invoke(FunctionName=name, Payload=b'"n"', Qualifier=version)
    equal("AWS_LAMBDA_INITIALIZATION_TYPE=provisioned-concurrency" in answer["Payload"].read().decode(), True)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier=version)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    fails("TooManyRequestsException", None, client.invoke, FunctionName=name, Payload=b'"d"', status=429)
    client.delete_function_concurrency(FunctionName=name)
    equal(kit.invoke(name, "d")[0], "done")


def test_the_example_in_text_form():
    name = kit.function({"bootstrap.wat": (EXAMPLES / "bootstrap.wat").read_text()}, "wasm", "bootstrap")
    greeted(name)
    equal(kit.invoke(name, "x" * 200_000)[0]["body"], "Hello, world!\n")


def greeted(name):
    for who in ["Ada", "Grace", "x" * 60]:
        event = kit.json.dumps({"pathParameters": {"name": who}}, separators=(",", ":"))
        answer = kit.client("lambda").invoke(FunctionName=name, Payload=event)
        payload = kit.json.loads(answer["Payload"].read())
        equal((payload["statusCode"], payload["body"]), (200, f"Hello, {who}!\n"))


def test_the_example_in_c():
    compiler = shutil.which("clang-14") or shutil.which("clang")
    if not compiler:
        print("skipped: no clang here")
        return
    with tempfile.TemporaryDirectory() as out:
        file = pathlib.Path(out) / "bootstrap.wasm"
        done = subprocess.run([compiler, "--target=wasm32-wasi", "-O2", "-o", str(file), str(EXAMPLES / "main.c")], capture_output=True)
        if done.returncode:
            print(f"skipped: {done.stderr.decode()[:200]}")
            return
        name = kit.function({"bootstrap.wasm": file.read_bytes()}, "wasm", "bootstrap.wasm")
    greeted(name)


if __name__ == "__main__":
    kit.main(globals())
