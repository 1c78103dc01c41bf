"""Functions that do what they should not, on every kind of runtime: AWS's error for it, a new instance, and neighbours go on.

Node.js and Python run as forks of zygotes; `native` is a program of its own that speaks the Runtime API over a plain socket.
`hostile_functions.py neighbours` measures instead how long a neighbour waits meanwhile, at rest and beside each of them.
"""

import base64
import sys
import threading
import time

import kit
from kit import contains, equal, matches

fn = kit.client("lambda")
SPIN_S, LIMIT = 1, 6291556

# What each runtime does for a name in the event, and how it is written there.
PYTHON_SOURCE = """
import os, signal, socket, time
def children():
    made = []
    try:
        while len(made) < 5000:
            pid = os.fork()
            if pid == 0:
                time.sleep(1000)
            made.append(pid)
    except OSError as e:
        return [e.errno, len(made)]
def handler(e, c):
    do = e.get("do")
    if do == "fork": return children()
    if do == "spin":
        while True: pass
    if do == "sleep": time.sleep(1000)
    if do == "allocate":
        kept = []
        while True: kept.append(bytearray(b"x" * (8 << 20)))
    if do == "fill":
        n = 0
        try:
            with open("/tmp/fill", "wb", buffering=0) as f:
                while n < 700 << 20: n += f.write(b"x" * (1 << 20))
        except OSError as error: return [error.errno, n >> 20]
    if do == "close":
        os.closerange(0, 1024)
        time.sleep(1000)
    if do == "large": return "x" * (7 << 20)
    if do == "kill": os.kill(os.getpid(), signal.SIGKILL)
    if do == "stop": os.kill(os.getpid(), signal.SIGSTOP)
    if do == "print":
        line = b"x" * 65535 + b"\\n"
        for _ in range(e["bytes"] >> 16): os.write(1, line)
        return "printed"
    if do == "twice":
        api = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
        for body in (b'"first"', b'"second"'):
            with socket.create_connection((api[0], int(api[1]))) as s:
                head = "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n"
                s.sendall((head % (c.aws_request_id, len(body))).encode() + body)
                s.recv(100)
        return "third"
    return "fine"
"""
NODE_SOURCE = """
const { spawnSync } = require('child_process');
const fs = require('fs'), net = require('net');
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
exports.handler = async (e, c) => {
  switch (e.do) {
    case 'fork': {
      // Forks of the shell are cheaper than those of node.
      const loop = 'n=0; while [ $n -lt 3000 ]; do sleep 1000 >/dev/null 2>&1 & n=$((n+1)); echo $n; done';
      const { status, stdout } = spawnSync('/bin/sh', ['-c', loop], { encoding: 'utf8' });
      return [status === 0 ? 0 : 11, Number(stdout.trim().split('\\n').pop())];
    }
    case 'spin': for (;;);
    case 'sleep': await sleep(1e6); break;
    case 'allocate': { const kept = []; for (;;) kept.push(Buffer.alloc(8 << 20, 1)); }
    case 'fill': {
      const f = fs.openSync('/tmp/fill', 'w'), block = Buffer.alloc(1 << 20, 1);
      let n = 0;
      try { while (n < 700 << 20) n += fs.writeSync(f, block); } catch (error) { return [-error.errno, n >> 20]; }
      break;
    }
    case 'close': for (let i = 0; i < 1024; i++) try { fs.closeSync(i); } catch {} await sleep(1e6); break;
    case 'large': return 'x'.repeat(7 << 20);
    case 'kill': process.kill(process.pid, 'SIGKILL'); await sleep(1e6); break;
    case 'stop': process.kill(process.pid, 'SIGSTOP'); await sleep(1e6); break;
    case 'print': {
      const line = Buffer.alloc(65536, 'x'); line[65535] = 10;
      for (let i = 0; i < e.bytes >> 16; i++) fs.writeSync(1, line);
      return 'printed';
    }
    case 'twice': {
      const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
      for (const body of ['"first"', '"second"']) {
        await new Promise((resolve) => {
          const s = net.connect(Number(port), host, () => s.write(`POST /2018-06-01/runtime/invocation/${c.awsRequestId}/response HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nContent-Length: ${body.length}\\r\\n\\r\\n${body}`));
          s.on('data', () => { s.destroy(); resolve(); }); s.on('error', resolve); s.on('close', resolve);
        });
      }
      return 'third';
    }
  }
  return 'fine';
};
"""
# A runtime of its own around the Python above: the package brings the program.
BOOTSTRAP = """#!/usr/bin/python3
import http.client, json, os, types
import index
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
base = "/2018-06-01/runtime/invocation/"
while True:
    api.request("GET", base + "next")
    event = api.getresponse()
    id, body = event.headers["Lambda-Runtime-Aws-Request-Id"], json.loads(event.read())
    result = json.dumps(index.handler(body, types.SimpleNamespace(aws_request_id=id)))
    api.request("POST", base + id + "/response", result.encode())
    api.getresponse().read()
"""
MADE = {}


def function(kind):
    if kind not in MADE:
        options = {"Timeout": 20, "MemorySize": 256}
        if kind == "python":
            MADE[kind] = kit.function({"index.py": PYTHON_SOURCE}, kit.PYTHON, **options)
        elif kind == "node":
            MADE[kind] = kit.function({"index.js": NODE_SOURCE}, kit.NODE, **options)
        else:
            MADE[kind] = kit.function({"bootstrap": BOOTSTRAP, "index.py": PYTHON_SOURCE}, "provided.al2023", "x", **options)
    return MADE[kind]


KINDS = ["python", "node", "native"]


def neighbour():
    if "neighbour" not in MADE:
        MADE["neighbour"] = kit.function("def handler(e, c):\n    return 'here'\n")
    equal(kit.invoke(MADE["neighbour"], {})[0], "here", "the neighbour answers")


def did(kind, event):
    """What it answers, and the tail of its log; the neighbour answers before, beside and after."""
    neighbour()
    done = []

    def call():
        payload, answer = kit.invoke(function(kind), event, LogType="Tail")
        done.append((payload, answer.get("FunctionError"), answer["ResponseMetadata"]["RequestId"], base64.b64decode(answer["LogResult"]).decode()))

    thread = threading.Thread(target=call)
    thread.start()
    while thread.is_alive():
        neighbour()
        thread.join(0.05)
    equal(len(done), 1, f"{kind} {event}: no answer")
    equal(kit.invoke(function(kind), {})[0], "fine", f"{kind} after {event}: the next call is answered")
    neighbour()
    return done[0]


def exits(kind, event, how):
    payload, error, request, tail = did(kind, event)
    equal((error, payload), ("Unhandled", {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {request} Error: Runtime exited {how}"}), kind)
    matches(tail, rf".*END RequestId: {request}\nREPORT RequestId: {request}\tDuration: .*", f"{kind}: {tail}")
    return tail


def test_forking_ends_at_the_limit():
    for kind in KINDS:
        payload, error, _, tail = did(kind, {"do": "fork"})
        if error:
            # A thousand processes may need more memory than there is, before they are too many.
            matches(tail, r".*Runtime exited with error: signal: killed.*Error Type: Runtime\.OutOfMemory.*", f"{kind}: {payload}")
        else:
            equal((payload[0], 10 < payload[1] < 1100), (11, True), f"{kind}: {payload[1]} processes")


def test_spinning_and_sleeping_end_at_the_deadline():
    for kind in KINDS:
        fn.update_function_configuration(FunctionName=function(kind), Timeout=SPIN_S)
        fn.get_waiter("function_updated_v2").wait(FunctionName=function(kind), WaiterConfig={"Delay": 0.05, "MaxAttempts": 600})
        for do in ["spin", "sleep", "close", "stop"]:
            payload, error, request, tail = did(kind, {"do": do})
            if do == "close" and payload["errorType"] == "Runtime.ExitError":
                continue  # A runtime that notices that its connection is gone may end at once.
            expected = {"errorType": "Sandbox.Timedout", "errorMessage": f"RequestId: {request} Error: Task timed out after 1.00 seconds"}
            equal((error, payload), ("Unhandled", expected), f"{kind} {do}")
            matches(tail, rf".*{request} Task timed out after 1\.00 seconds.*REPORT RequestId: {request}\tDuration: 1000\.\d\d ms\t.*Status: timeout.*", tail)
        fn.update_function_configuration(FunctionName=function(kind), Timeout=20)
        fn.get_waiter("function_updated_v2").wait(FunctionName=function(kind), WaiterConfig={"Delay": 0.05, "MaxAttempts": 600})


def test_memory_has_an_end():
    for kind in KINDS:
        tail = exits(kind, {"do": "allocate"}, "with error: signal: killed")
        matches(tail, r".*Max Memory Used: 25[0-9] MB\t.*Status: error\tError Type: Runtime\.OutOfMemory.*", f"{kind}: {tail}")


def test_temporary_space_has_an_end():
    for kind in KINDS:
        (number, written), error, _, _ = did(kind, {"do": "fill"})
        equal((number, error, 440 < written <= 530), (28, None, True), f"{kind}: {written} MiB")


def test_killing_oneself():
    for kind in KINDS:
        exits(kind, {"do": "kill"}, "with error: signal: killed")


def test_answers_that_are_too_large():
    for kind in KINDS:
        payload, error, _, _ = did(kind, {"do": "large"})
        equal(error, "Unhandled", kind)
        equal(payload, {"errorType": "Function.ResponseSizeTooLarge", "errorMessage": f"Response payload size exceeded maximum allowed payload size ({LIMIT} bytes)."}, kind)


def test_the_first_of_two_answers_counts():
    for kind in KINDS:
        payload, error, _, _ = did(kind, {"do": "twice"})
        equal((payload, error), ("first", None), kind)


def test_printing_without_end():
    size = 64 << 20
    for kind in KINDS:
        payload, error, _, tail = did(kind, {"do": "print", "bytes": size})
        equal((payload, error, len(tail) <= 4096), ("printed", None, True), kind)


def waits(seconds, beside=None):
    """Latencies of the neighbour in ms: p50, p99."""
    stop = threading.Event()

    def harm():
        while not stop.is_set():
            try:
                kit.invoke(function(beside[0]), beside[1])
            except Exception:
                pass

    thread = threading.Thread(target=harm)
    if beside:
        thread.start()
        time.sleep(0.5)
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        neighbour()
        took.append((time.perf_counter() - start) * 1000)
    stop.set()
    if beside:
        thread.join()
    took.sort()
    return took[len(took) // 2], took[int(len(took) * 0.99)]


def measure_neighbours():
    """Not in CI: how much a hostile function costs its neighbours. On a machine with one core only, half is fair."""
    for kind in KINDS:
        function(kind)
        fn.update_function_configuration(FunctionName=function(kind), Timeout=2)
    neighbour()
    rest = waits(8)
    print(f"at rest: p50 {rest[0]:.2f} ms, p99 {rest[1]:.2f} ms")
    for kind in KINDS:
        for do in ["fork", "spin", "allocate", "fill", "large", "kill", "print"]:
            p50, p99 = waits(8, (kind, {"do": do, "bytes": 1 << 30}))
            print(f"beside {kind} {do}: p50 {p50:.2f} ms, p99 {p99:.2f} ms ({p99 / rest[1]:.1f} x)", flush=True)


if sys.argv[1:] == ["neighbours"]:
    measure_neighbours()
else:
    kit.main(globals())
