"""Forks of zygotes are what executed programs are: the same environment, as apart from host, zygote and each other.

Each test runs on Node.js and Python, forked and executed; a variable that an interpreter reads at its start has it executed.
"""

import base64
import json
import os
import re

import kit
from kit import contains, equal, matches

RUNTIMES = [kit.PYTHON, kit.NODE]
EXECUTED = {"LC_ALL": "C.UTF-8"}

# What a function tells of its place: the same keys from both languages.
PYTHON_SOURCE = """
import os, random, secrets, ssl, sys, time, uuid
import hashlib
DRAWN = [random.random().hex(), uuid.uuid4().hex, secrets.token_hex(8), ssl.RAND_bytes(8).hex(), random.SystemRandom().random().hex(), os.urandom(8).hex()]
def read(path):
    try:
        with open(path, errors="replace") as f: return f.read()
    except OSError as e: return "errno %d" % e.errno
def search(word):
    found = 0
    for line in open("/proc/self/maps"):
        span, mode = line.split()[:2]
        if mode[0] != "r" or "[v" in line: continue
        start, end = (int(x, 16) for x in span.split("-"))
        try:
            with open("/proc/self/mem", "rb", 0) as m:
                m.seek(start); found += m.read(end - start).count(word)
        except (OSError, ValueError, OverflowError): pass
    return found
def handler(e, c):
    if "write" in e: open("/tmp/" + e["write"], "w").write("x"); return
    if "search" in e:
        # Joined here, so that the whole word is nowhere in this process by its own doing.
        return search(bytes.fromhex(e["search"]))
    fds = []
    for n in os.listdir("/proc/self/fd"):
        try: fds.append(os.readlink("/proc/self/fd/" + n))
        except OSError: pass
    return {"env": dict(os.environ), "drawn": DRAWN, "fds": fds, "status": read("/proc/self/status"), "limits": read("/proc/self/limits"),
        "spaces": {n: os.readlink("/proc/self/ns/" + n) for n in ("pid", "net", "ipc", "uts", "user", "mnt", "cgroup")},
        "cmdline": read("/proc/self/cmdline"), "environ": read("/proc/self/environ"), "maps": read("/proc/self/maps"), "tmp": os.listdir("/tmp"),
        "shm": os.listdir("/dev/shm"), "host": os.uname().nodename, "pids": [n for n in os.listdir("/proc") if n.isdigit()], "pid": os.getpid(),
        "left": c.get_remaining_time_in_millis(), "client": c.client_context and c.client_context.custom, "arn": c.invoked_function_arn,
        "identity": c.identity and getattr(c.identity, "cognito_identity_id", None), "request": c.aws_request_id, "cwd": os.getcwd(), "path": sys.path,
        "opt": sorted(os.listdir("/opt")), "secret files": [p for p in ("/etc/shadow", "/ro" "ot/.bashrc", "/var/lib/dpkg/status", "/proc/1/environ", "/proc/kcore", "/proc/sysrq-trigger") if not read(p).startswith("errno")]}
"""
NODE_SOURCE = """
const fs = require('fs'), crypto = require('crypto'), os = require('os');
const drawn = [Math.random(), crypto.randomUUID(), crypto.randomBytes(8).toString('hex'), globalThis.crypto.getRandomValues(new Uint32Array(2)).join(), crypto.randomInt(2 ** 40), crypto.generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }).x].map(String);
const read = (path) => { try { return fs.readFileSync(path, 'utf8') } catch (e) { return 'errno ' + e.errno } };
const search = (word) => {
  let found = 0;
  const mem = fs.openSync('/proc/self/mem', 'r');
  for (const line of read('/proc/self/maps').split('\\n')) {
    const m = /^([0-9a-f]+)-([0-9a-f]+) r/.exec(line);
    if (!m || line.includes('[v')) continue;
    const buffer = Buffer.alloc(1 << 20);
    for (let at = BigInt('0x' + m[1]); at < BigInt('0x' + m[2]); at += BigInt(buffer.length)) {
      let n;
      try { n = fs.readSync(mem, buffer, 0, Number(BigInt('0x' + m[2]) - at > BigInt(buffer.length) ? buffer.length : BigInt('0x' + m[2]) - at), at) } catch { break }
      for (let i = buffer.indexOf(word, 0); i >= 0 && i < n; i = buffer.indexOf(word, i + 1)) found++;
      buffer.fill(0);
    }
  }
  fs.closeSync(mem);
  return found;
};
exports.handler = async (e, c) => {
  if (e.write) return void fs.writeFileSync('/tmp/' + e.write, 'x');
  if (e.search) return search(Buffer.from(e.search, 'hex'));
  const fds = fs.readdirSync('/proc/self/fd').map((n) => { try { return fs.readlinkSync('/proc/self/fd/' + n) } catch { return '/proc/' } });
  const spaces = Object.fromEntries(['pid', 'net', 'ipc', 'uts', 'user', 'mnt', 'cgroup'].map((n) => [n, fs.readlinkSync('/proc/self/ns/' + n)]));
  return { env: { ...process.env }, drawn, fds, status: read('/proc/self/status'), limits: read('/proc/self/limits'), spaces,
    cmdline: read('/proc/self/cmdline'), environ: read('/proc/self/environ'), maps: read('/proc/self/maps'), tmp: fs.readdirSync('/tmp'),
    shm: fs.readdirSync('/dev/shm'), host: os.hostname(), pids: fs.readdirSync('/proc').filter((n) => /^[0-9]+$/.test(n)), pid: process.pid,
    left: c.getRemainingTimeInMillis(), client: c.clientContext && c.clientContext.custom, arn: c.invokedFunctionArn,
    identity: c.identity && c.identity.cognitoIdentityId || null, request: c.awsRequestId, cwd: process.cwd(), path: require('module').globalPaths,
    opt: fs.readdirSync('/opt').sort(), 'secret files': ['/etc/shadow', '/ro' + 'ot/.bashrc', '/var/lib/dpkg/status', '/proc/1/environ', '/proc/kcore', '/proc/sysrq-trigger'].filter((p) => !read(p).startsWith('errno')) };
};
"""


def make(runtime, variables=None, **options):
    files = {"index.py": PYTHON_SOURCE} if runtime == kit.PYTHON else {"index.js": NODE_SOURCE}
    return kit.function(files, runtime, MemorySize=256, Timeout=7, Environment={"Variables": variables or {}}, **options)


def is_fork(told):
    return "zygote" in told["cmdline"]


def forked(runtime, **options):
    """A new function whose instance is a fork: its name and what it tells."""

    def probe():
        name = make(runtime, **options)
        told = kit.invoke(name, {})[0]
        return (name, told) if is_fork(told) else None

    # The first functions of a runtime may come before its zygote is ready.
    return kit.until(f"{runtime} forks", probe)


def test_forks_see_what_executed_programs_see():
    for runtime in RUNTIMES:
        custom = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
        told = {}
        for how in ("fork", "executed"):
            variables = {"MINE": "x y", "TZ": "Asia/Tokyo", **(EXECUTED if how == "executed" else {})}
            name = forked(runtime, variables=variables)[0] if how == "fork" else make(runtime, variables)
            it, answer = kit.invoke(name, {}, ClientContext=custom)
            equal(is_fork(it), how == "fork", f"{runtime}: {it['cmdline']}")
            env = it["env"]
            contains(env, {
                "MINE": "x y", "AWS_REGION": kit.REGION, "AWS_DEFAULT_REGION": kit.REGION, "AWS_LAMBDA_FUNCTION_NAME": name,
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
                "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}", "_HANDLER": "index.handler",
                "LAMBDA_TASK_ROOT": "/var/task", "LAMBDA_RUNTIME_DIR": "/var/runtime", "TZ": "Asia/Tokyo", "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
            })
            matches(env["_X_AMZN_TRACE_ID"], r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}.*")
            matches(env["AWS_LAMBDA_LOG_STREAM_NAME"], r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}")
            equal([bool(env.get(v)) for v in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")], [True] * 3)
            equal(["/opt/bin" in env["PATH"].split(":"), "/opt/lib" in env["LD_LIBRARY_PATH"].split(":"), "/var/task/lib" in env["LD_LIBRARY_PATH"].split(":")], [True] * 3)
            if runtime == kit.NODE:
                equal("/opt/nodejs/node_modules" in env["NODE_PATH"].split(":"), True)
                equal("/opt/nodejs/node_modules" in it["path"], True, f"{how}: {it['path']}")
            else:
                equal([p for p in ("/var/task", "/opt/python") if p not in it["path"]], [], f"{how}: {it['path']}")
            equal((it["client"], it["identity"], it["cwd"], it["opt"]), ({"k": "v"}, None, "/var/task", []))
            equal((it["request"], it["arn"]), (answer["ResponseMetadata"]["RequestId"], f"arn:aws:lambda:{kit.REGION}:{kit.ACCOUNT}:function:{name}"))
            equal(5000 < it["left"] <= 7000, True)
            told[how] = it
        own = ("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
               "AWS_SESSION_TOKEN", "_X_AMZN_TRACE_ID", "LC_ALL", "LC_CTYPE")
        same = [{k: v for k, v in told[how]["env"].items() if k not in own} for how in ("fork", "executed")]
        equal(same[0], same[1], f"{runtime}: the environment of a fork")


def test_forks_are_isolated():
    spaces = {n: os.readlink(f"/proc/self/ns/{n}") for n in ("pid", "net", "ipc", "uts", "user", "mnt", "cgroup")}
    for runtime in RUNTIMES:
        seen = {n: {link} for n, link in spaces.items()}
        for _ in range(3):
            _, told = forked(runtime)
            for n, link in told["spaces"].items():
                equal(link in seen[n], False, f"{runtime}: {n} namespace of another")
                seen[n].add(link)
            status = dict(line.split(":\t", 1) for line in told["status"].splitlines() if ":\t" in line)
            for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                equal(int(status[capabilities], 16), 0, capabilities)
            equal((status["NoNewPrivs"], status["Seccomp"], status["Groups"].strip()), ("1", "2", ""))
            matches(re.sub(" +", " ", next(l for l in told["limits"].splitlines() if l.startswith("Max core"))), r"Max core file size [01] [01] bytes ?")
            files = [f for f in told["fds"] if not re.match(r"(pipe|socket):|/dev/null$|/proc/|anon_inode:", f)]
            equal(files, [], "open files")
            equal(len([f for f in told["fds"] if f.startswith("socket:")]) <= 2, True, f"sockets: {told['fds']}")
            writable = [l for l in told["maps"].splitlines() if len(l.split()) > 1 and {"s", "w"} <= set(l.split()[1])]
            equal(writable, [], "memory shared with others")
            # What the kernel shows as the environment is the zygote's: nothing but how it was started.
            names = {p.split("=")[0] for p in told["environ"].split("\0") if "=" in p}
            equal([n for n in names if re.search("SECRET|TOKEN|SQUALL|ACCESS_KEY", n)], [], f"{sorted(names)}")
            equal((told["tmp"], told["shm"], told["host"] in ("localhost", "squall"), told["secret files"]), ([], [], True, []), told["host"])
            equal(sorted(map(int, told["pids"]))[0:2], sorted({1, told["pid"]}), "only itself and its init")


def test_forks_draw_numbers_of_their_own():
    for runtime in RUNTIMES:
        seen = set()
        for _ in range(8):
            for drawn in forked(runtime)[1]["drawn"]:
                equal(drawn in seen, False, f"{runtime}: {drawn} twice")
                seen.add(drawn)


def test_nothing_of_one_function_is_in_another():
    """Its environment, its events and its credentials are in no other fork's memory, nor in one made later."""
    for runtime in RUNTIMES:
        secret = os.urandom(12).hex()
        name, told = forked(runtime, variables={"SECRET": f"k-{secret}"})
        key = told["env"]["AWS_SECRET_ACCESS_KEY"]
        kit.invoke(name, {"write": f"f-{secret}"})
        equal(kit.invoke(name, {"search": f"k-{secret}".encode().hex()})[0] > 0, True, f"{runtime}: the search finds what is there")
        for _ in range(3):
            other, told = forked(runtime)
            for word in (f"k-{secret}", key):
                # The event holds the word in hexadecimal digits only; the searching process decodes it: twice at most.
                found = kit.invoke(other, {"search": word.encode().hex()})[0]
                baseline = kit.invoke(other, {"search": os.urandom(12).hex().encode().hex()})[0]
                equal(found <= baseline + 1, True, f"{runtime}: {found} places, {baseline} of a word that nobody has")
            equal(told["tmp"], [])


kit.main(globals())
