"""What each runtime's documented handler styles and failures give, through Invoke."""

import base64
import json
import os
import sys

import kit
from kit import contains, equal, matches

fn = kit.client("lambda")
NODES = ["nodejs18.x", "nodejs20.x", "nodejs22.x", "nodejs24.x"]


def call(name, event=None, error=None):
    """Invokes; `error` tells whether a function error is expected. Gives the payload."""
    payload, answer = kit.invoke(name, {} if event is None else event)
    if error:
        equal(answer.get("FunctionError"), "Unhandled", f"payload {payload!r}")
    else:
        equal("FunctionError" in answer, False, f"payload {payload!r}")
    return payload


# ---------------------------------------------------------------- Node.js


def test_node_versions_and_async_handlers():
    for runtime in NODES:
        name = kit.function({"index.js": "exports.handler = async (e) => [process.version, e.x];"}, runtime)
        payload = call(name, {"x": 1})
        equal((payload[0].split(".")[0], payload[1]), ("v" + runtime[6:8], 1))


def test_node_module_styles():
    for runtime in NODES:
        for files, handler in [
            ({"index.mjs": "export const handler = async (e) => 'mjs';"}, "index.handler"),
            ({"index.js": "export const handler = async (e) => 'mjs';", "package.json": '{"type":"module"}'}, "index.handler"),
            ({"index.cjs": "module.exports.handler = async () => 'mjs';"}, "index.handler"),
            ({"src/api/users.js": "exports.get = async () => 'mjs';"}, "src/api/users.get"),
            ({"index.mjs": "const v = await Promise.resolve('mjs');\nexport const handler = async () => v;"}, "index.handler"),
            ({"index.js": "exports.a = { b: { handler: async () => 'mjs' } };"}, "index.a.b.handler"),
            (
                {"index.js": "const x = require('x'); exports.handler = async () => x;", "node_modules/x/index.js": "module.exports = 'mjs';"},
                "index.handler",
            ),
        ]:
            equal(call(kit.function(files, runtime, handler)), "mjs", f"{runtime} {files}")


def test_node_callbacks():
    for runtime in NODES[:3]:
        for source, expected in [
            ("exports.handler = (e, c, cb) => setTimeout(() => cb(null, 'later'), 5);", "later"),
            ("exports.handler = (e, c, cb) => cb(null, { a: 1 });", {"a": 1}),
            ("exports.handler = (e, c) => c.succeed('s');", "s"),
            ("exports.handler = (e, c) => c.done(null, 'd');", "d"),
            ("exports.handler = (e, c) => Promise.resolve('p');", "p"),
            ("exports.handler = () => {};", None),
            # Without callbackWaitsForEmptyEventLoop the answer does not wait for the timer.
            (
                "exports.handler = (e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 60000); cb(null, 'now'); };",
                "now",
            ),
        ]:
            equal(call(kit.function({"index.js": source}, runtime)), expected, f"{runtime} {source}")
        payload = call(kit.function({"index.js": "exports.handler = (e, c, cb) => cb(new TypeError('t'));"}, runtime), error=True)
        contains(payload, {"errorType": "TypeError", "errorMessage": "t"})
        payload = call(kit.function({"index.js": "exports.handler = (e, c, cb) => cb('plain');"}, runtime), error=True)
        contains(payload, {"errorMessage": "plain"})


def test_node_24_has_no_callbacks():
    name = kit.function({"index.js": "exports.handler = (e, c, cb) => cb(null, 1);"}, "nodejs24.x")
    contains(call(name, error=True), {"errorType": "Runtime.CallbackHandlerDeprecated"})


def test_node_init_failures():
    for source, kind, message in [
        ("require('not-there');", "Runtime.ImportModuleError", "Error: Cannot find module 'not-there'\nRequire stack:.*"),
        ("exports.handler = async () => {", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected end of input"),
        ("exports.other = 1;", "Runtime.HandlerNotFound", "index.handler is undefined or not exported"),
        ("exports.handler = 7;", "Runtime.HandlerNotFound", "index.handler is not a function"),
        ("throw new RangeError('at start');", "RangeError", "at start"),
    ]:
        payload = call(kit.function({"index.js": source}, kit.NODE), error=True)
        equal(payload["errorType"], kind, source)
        matches(payload["errorMessage"], message)
        equal(isinstance(payload["trace"], list), True)
    payload = call(kit.function({"index.js": ""}, kit.NODE, "other.handler"), error=True)
    equal(payload["errorType"], "Runtime.ImportModuleError")
    matches(payload["errorMessage"], "Error: Cannot find module 'other'.*")
    payload = call(kit.function({"index.js": ""}, kit.NODE, "nodot"), error=True)
    equal(payload["errorType"], "Runtime.MalformedHandlerName")


def test_node_failures_at_run_time():
    for source, expected in [
        ("exports.handler = async () => { throw { code: 1 }; };", {}),
        ("exports.handler = async () => { throw 'text'; };", {"errorMessage": "text"}),
        ("exports.handler = () => { throw new Error('sync'); };", {"errorType": "Error", "errorMessage": "sync"}),
        ("exports.handler = async () => { const e = new Error('m'); e.name = 'Mine'; throw e; };", {"errorType": "Mine", "errorMessage": "m"}),
        (
            "exports.handler = () => new Promise(() => { setTimeout(() => { throw new Error('lost'); }, 1); });",
            {"errorType": "Error", "errorMessage": "lost"},
        ),
        (
            "exports.handler = () => { Promise.reject(new Error('nobody')); return new Promise(() => {}); };",
            {"errorType": "Runtime.UnhandledPromiseRejection"},
        ),
    ]:
        payload = call(kit.function({"index.js": source}, kit.NODE), error=True)
        contains(payload, expected)
    name = kit.function({"index.js": "let n = 0; exports.handler = async () => { if (++n == 2) throw new Error('x'); return n; };"}, kit.NODE)
    equal(call(name), 1)
    call(name, error=True)
    equal(call(name), 3, "an instance outlives a thrown error")


def test_node_exits():
    for code, message in [
        (0, "RequestId: ID Error: Runtime exited without providing a reason"),
        (3, "RequestId: ID Error: Runtime exited with error: exit status 3"),
    ]:
        name = kit.node(f"exports.handler = async (e) => {{ if (e.x) process.exit({code}); return 'ok'; }};")
        payload, answer = kit.invoke(name, {"x": 1})
        equal(answer["FunctionError"], "Unhandled")
        equal(payload, {"errorType": "Runtime.ExitError", "errorMessage": message.replace("ID", answer["ResponseMetadata"]["RequestId"])})
        equal(call(name), "ok", "the next call gets a new instance")


def test_node_streams_are_refused():
    """Response streaming is not served yet; a handler that streams learns so at once."""
    source = "exports.handler = awslambda.streamifyResponse(async (e, stream) => { stream.end('x'); });"
    payload = call(kit.node(source), error=True)
    matches(payload["errorMessage"], ".*[Ss]tream.*")


# ---------------------------------------------------------------- Python


def test_python_handlers():
    for files, handler, expected in [
        ({"index.py": "def handler(e, c):\n    return e['x']\n"}, "index.handler", 1),
        ({"app/users.py": "def get(e, c):\n    return 'dir'\n"}, "app/users.get", "dir"),
        ({"app/__init__.py": "", "app/users.py": "def get(e, c):\n    return 'dots'\n"}, "app.users.get", "dots"),
        ({"index.py": "class H:\n    def __call__(self, e, c):\n        return 'object'\nhandler = H()\n"}, "index.handler", "object"),
        (
            {"index.py": "from lib import v\ndef handler(e, c):\n    return v\n", "lib.py": "v = 'import'\n"},
            "index.handler",
            "import",
        ),
        ({"index.py": "from decimal import Decimal\ndef handler(e, c):\n    return {'a': (1, 2), 2: None, 'd': [Decimal('1.50'), Decimal(7)]}\n"}, "index.handler", {"a": [1, 2], "2": None, "d": [1.5, 7]}),
        ({"index.py": "def handler(e, c):\n    return b'[\"bytes\"]'\n"}, "index.handler", ["bytes"]),
    ]:
        equal(call(kit.function(files, kit.PYTHON, handler), {"x": 1}), expected, str(files))


def test_python_init_failures():
    for files, handler, expected in [
        (
            {"index.py": "import not_there\n"},
            "index.handler",
            {"errorType": "Runtime.ImportModuleError", "errorMessage": "Unable to import module 'index': No module named 'not_there'", "stackTrace": []},
        ),
        (
            {"index.py": ""},
            "other.handler",
            {"errorType": "Runtime.ImportModuleError", "errorMessage": "Unable to import module 'other': No module named 'other'"},
        ),
        (
            {"index.py": "x = 1\n"},
            "index.handler",
            {"errorType": "Runtime.HandlerNotFound", "errorMessage": "Handler 'handler' missing on module 'index'", "stackTrace": []},
        ),
        (
            {"index.py": "x = 1\n"},
            "nodot",
            {"errorType": "Runtime.MalformedHandlerName", "errorMessage": "Bad handler 'nodot': not enough values to unpack (expected 2, got 1)"},
        ),
        ({"index.py": "raise ValueError('at start')\n"}, "index.handler", {"errorType": "ValueError", "errorMessage": "at start"}),
    ]:
        payload = call(kit.function(files, kit.PYTHON, handler), error=True)
        contains(payload, expected)
        equal(payload["requestId"], "")
    payload = call(kit.function({"index.py": "def handler(:\n"}, kit.PYTHON), error=True)
    equal(payload["errorType"], "Runtime.UserCodeSyntaxError")
    matches(payload["errorMessage"], r"Syntax error in module 'index': invalid syntax \(index\.py, line 1\)")


def test_python_failures_at_run_time():
    payload = call(kit.function("def handler(e, c):\n    return {1, 2}\n"), error=True)
    contains(payload, {"errorType": "Runtime.MarshalError", "errorMessage": "Unable to marshal response: Object of type set is not JSON serializable"})
    payload = call(kit.function("def handler(e):\n    return 1\n"), error=True)
    contains(payload, {"errorType": "TypeError"})
    for statement, kind, message in [
        ("import os; os._exit(0)", "Runtime.ExitError", "Runtime exited without providing a reason"),
        ("import os; os._exit(9)", "Runtime.ExitError", "Runtime exited with error: exit status 9"),
        ("import os; os.kill(os.getpid(), 9)", "Runtime.ExitError", "Runtime exited with error: signal: killed"),
        ("import os; os.kill(os.getpid(), 11)", "Runtime.ExitError", "Runtime exited with error: signal: segmentation fault"),
    ]:
        name = kit.function(f"def handler(e, c):\n    if e.get('x'):\n        {statement}\n    return 'ok'\n")
        payload, answer = kit.invoke(name, {"x": 1})
        request_id = answer["ResponseMetadata"]["RequestId"]
        contains(payload, {"errorType": kind})
        matches(payload["errorMessage"], f"RequestId: {request_id} Error: {message}( \\(core dumped\\))?")
        equal(call(name), "ok")
    # sys.exit: the runtime client treats it as the end of the process.
    payload = call(kit.function("import sys\ndef handler(e, c):\n    sys.exit(1)\n"), error=True)
    equal(payload["errorType"] in ("Runtime.ExitError", "SystemExit"), True, str(payload))


def test_python_logging():
    name = kit.function(
        "import logging\nlogging.getLogger().setLevel(logging.INFO)\n"
        "def handler(e, c):\n    logging.info('to the log')\n    print('multi\\nline')\n"
    )
    _, answer = kit.invoke(name, {}, LogType="Tail")
    text = base64.b64decode(answer["LogResult"]).decode()
    request_id = answer["ResponseMetadata"]["RequestId"]
    matches(text, rf".*\[INFO\]\t\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z\t{request_id}\tto the log\n.*multi\nline\n.*")


# ---------------------------------------------------------------- all


def test_timeouts():
    for source, runtime in [
        ({"index.py": "import time\ndef handler(e, c):\n    print('before', flush=True)\n    time.sleep(e.get('s', 0))\n    return 'ok'\n"}, kit.PYTHON),
        ({"index.js": "exports.handler = async (e) => { console.log('before'); if (e.s) for (;;); return 'ok'; };"}, kit.NODE),
    ]:
        name = kit.function(source, runtime, Timeout=1)
        payload, answer = kit.invoke(name, {"s": 30}, LogType="Tail")
        request_id = answer["ResponseMetadata"]["RequestId"]
        equal(answer["FunctionError"], "Unhandled")
        equal(payload, {"errorType": "Sandbox.Timedout", "errorMessage": f"RequestId: {request_id} Error: Task timed out after 1.00 seconds"})
        log = base64.b64decode(answer["LogResult"]).decode()
        matches(log, rf".*before.*{request_id} Task timed out after 1\.00 seconds.*REPORT RequestId: {request_id}\tDuration: 1000\.\d\d ms\tBilled Duration: \d+ ms.*Status: timeout.*")
        equal(call(name), "ok", "the next call gets a new instance")


def test_out_of_memory():
    for source, runtime in [
        ({"index.py": "def handler(e, c):\n    if e.get('x'):\n        b = bytearray(400 << 20)\n        b[::4096] = b'x' * len(b[::4096])\n    return 'ok'\n"}, kit.PYTHON),
        ({"index.js": "exports.handler = async (e) => { if (e.x) { const a = []; for (;;) a.push(Buffer.alloc(1 << 20, 1)); } return 'ok'; };"}, kit.NODE),
    ]:
        name = kit.function(source, runtime, Timeout=30)
        payload, answer = kit.invoke(name, {"x": 1})
        equal(answer["FunctionError"], "Unhandled")
        matches(payload["errorType"], r"Runtime\.(OutOfMemory|ExitError)")
        matches(payload["errorMessage"], "RequestId: [0-9a-f-]+ Error: Runtime exited with error: signal: killed")
        equal(call(name), "ok")


def test_temporary_space_ends_where_it_should():
    source = """
import errno, os
def handler(e, c):
    if e.get("left"):
        return sorted(os.listdir("/tmp"))
    written = 0
    try:
        with open("/tmp/fill", "wb", buffering=0) as f:
            while written < 600 << 20:
                written += f.write(b"x" * (1 << 20))
        return [written, None]
    except OSError as error:
        return [written, errno.errorcode[error.errno]]
"""
    name = kit.function(source, Timeout=60)
    written, error = call(name)
    equal(error, "ENOSPC")
    equal(500 << 20 < written <= 530 << 20, True, f"{written >> 20} MiB fit")
    equal(call(name, {"left": 1}), ["fill"], "the instance keeps its /tmp")


def test_a_custom_runtime():
    """AWS's own Python runtime client as the bootstrap of provided.al2023."""
    import awslambdaric

    # A custom runtime sees what is below /usr; elsewhere an interpreter has to come with the package.
    python = "/usr/bin/python%d.%d" % sys.version_info[:2]
    if not os.path.exists(python):
        print(f"     (left out: there is no {python})")
        return
    root = os.path.dirname(awslambdaric.__file__)
    files = {
        "bootstrap": "#!/bin/sh\nexec %s -m awslambdaric index.handler\n" % python,
        "index.py": "def handler(e, c):\n    if e.get('throw'):\n        raise KeyError('k')\n    return [e, c.function_name]\n",
    }
    for folder, _, names in os.walk(os.path.dirname(root)):
        inside = os.path.relpath(folder, os.path.dirname(root))
        if inside == "." or inside.split(os.sep)[0] in ("awslambdaric", "snapshot_restore_py", "simplejson"):
            for n in names:
                if inside == "." and not n.startswith(("runtime_client", "simplejson", "snapshot")):
                    continue
                if n.endswith((".py", ".so")):
                    with open(os.path.join(folder, n), "rb") as f:
                        files[os.path.normpath(os.path.join(inside, n))] = f.read()
    name = kit.function(files, "provided.al2023", "index.handler", Timeout=10)
    payload = call(name, {"a": 1})
    equal(payload, [{"a": 1}, name])
    contains(call(name, {"throw": 1}, error=True), {"errorType": "KeyError", "errorMessage": "'k'"})


def test_a_custom_runtime_in_shell():
    bootstrap = r"""#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  headers=$(mktemp)
  event=$(curl -sS -D "$headers" "$api/next") || exit 1
  id=$(grep -i '^lambda-runtime-aws-request-id:' "$headers" | tr -d '\r' | cut -d' ' -f2)
  case "$event" in
    *bad*) curl -sS -X POST -H 'Lambda-Runtime-Function-Error-Type: Mine' "$api/$id/error" -d '{"errorMessage":"m","errorType":"Mine"}' >&2 ;;
    *) curl -sS -X POST "$api/$id/response" -d "{\"got\": $event}" >&2 ;;
  esac
done
"""
    name = kit.function({"bootstrap": bootstrap}, "provided.al2023", "any")
    equal(call(name, {"a": 1}), {"got": {"a": 1}})
    equal(call(name, "bad", error=True), {"errorMessage": "m", "errorType": "Mine"})
    name = kit.function({"other": "x"}, "provided.al2023", "any")
    payload = call(name, error=True)
    equal(payload["errorType"], "Runtime.InvalidEntrypoint")


kit.main(globals())
