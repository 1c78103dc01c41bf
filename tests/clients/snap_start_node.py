"""SnapStart for Node.js: published versions whose environments are made of a snapshot of the initialised process."""

import os
import re
import sys
import threading

import kit
from kit import equal, fails, matches
from node_fork_soak import HERE, certificate
from snap_start import SNAP, call, lam, logs, publish

KEPT = "snap-node-kept"
HOOKED = """
import crypto from 'crypto';
import fs from 'fs';
import { STSClient, GetCallerIdentityCommand } from '@aws-sdk/client-sts';
const { snapStart } = globalThis.awslambda;
const told = [], born = crypto.randomUUID(), env = process.env;
const client = new STSClient({});
const caller = () => client.send(new GetCallerIdentityCommand({}));
const before = (await caller()).Arn;
fs.writeFileSync('/tmp/made.txt', 'in init');
fs.mkdirSync('/tmp/folder', { mode: 0o700 });
fs.symlinkSync('made.txt', '/tmp/link');
const book = fs.openSync(import.meta.filename), own = fs.openSync('/tmp/made.txt');
const line = (fd) => { const b = Buffer.alloc(5); return String(b.subarray(0, fs.readSync(fd, b, 0, 5, null))); };
const lines = [line(book), line(own)];
env.SET_IN_INIT = 'yes';
const init = [env.AWS_LAMBDA_INITIALIZATION_TYPE, env.AWS_LAMBDA_LOG_STREAM_NAME, process.pid];
const end = Date.now() + 1000;
while (Date.now() < end);
const last = setTimeout(() => told.push('a timer'), 10);
snapStart.registerBeforeSnapshot(() => told.push('before 1'));
snapStart.registerBeforeSnapshot((text) => told.push(text), 'before 2');
snapStart.registerAfterRestore(async () => { await new Promise(setImmediate); told.push('after 1'); });
snapStart.registerAfterRestore((text) => told.push(text), 'after 2');
export const handler = async (e, c) => {
  if (e.exit) process.exit(0);
  if (e.sleep) await new Promise((resolve) => setTimeout(resolve, e.sleep * 1000));
  if (e.write) fs.writeFileSync('/tmp/' + e.write, '');
  if (e.eat) { const kept = []; for (;;) kept.push(Buffer.alloc(1 << 20, 1)); }
  return { told, born, before, caller: (await caller()).Arn, tmp: fs.readdirSync('/tmp').sort(), link: fs.readFileSync('/tmp/link', 'utf8'),
    mode: fs.statSync('/tmp/folder').mode & 0o777, lines: [...lines, line(book), line(own)], env: env.SET_IN_INIT, type: env.AWS_LAMBDA_INITIALIZATION_TYPE,
    init, stream: c.logStreamName, random: [Math.random(), crypto.randomUUID(), crypto.randomInt(2 ** 47), crypto.randomBytes(8).toString('hex')],
    static: 'AWS_SECRET_ACCESS_KEY' in env, order: env._SQUALL_SNAPSHOT, version: c.functionVersion, pid: process.pid === Number(fs.readlinkSync('/proc/self')),
    uptime: process.uptime(), big: (e.big ?? '').length };
};
"""
PLAIN = "exports.handler = async () => 1;\n"


def hooked(**options):
    return kit.function({"index.mjs": HOOKED}, kit.NODE, SnapStart=SNAP, MemorySize=256, Timeout=60, **options)


def on(function_name):
    version, shown = publish(function_name)
    equal(shown["SnapStart"], {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}, logs(function_name))
    return version


def test_environments_begin_after_the_init_code():
    it = hooked(FunctionName=KEPT)
    version = on(it)
    value, log = call(it, {"write": "own"}, version)
    equal([t for t in value["told"] if t != "a timer"], ["before 2", "before 1", "after 1", "after 2"])
    equal((value["lines"], value["link"], value["mode"]), (["\nimpo", "in in", "rt cr", "it"], "in init", 0o700))
    equal((value["env"], value["type"], value["init"][0], value["version"]), ("yes", "snap-start", "snap-start", version))
    equal((value["static"], value.get("order"), value["pid"]), (False, None, True))
    matches(value["caller"], "arn:aws:sts::000000000000:assumed-role/.*")
    matches(value["before"], "arn:aws:sts::000000000000:assumed-role/.*")
    assert value["stream"] != value["init"][1], value["stream"]
    tail = r"(Restore Duration: [\d.]+ ms\tBilled Restore Duration: \d+ ms)\t"
    assert re.search(tail, log) and "Init Duration" not in log, log
    print("   " + re.search(tail, log).group(1).replace("\t", ", "))
    text = logs(it)
    assert re.search(r"RESTORE_START Runtime Version: nodejs:20\.v\S+\tRuntime Version ARN: ", text), text
    assert re.search(r"RESTORE_REPORT Restore Duration: [\d.]+ ms", text), text
    again, log = call(it, {}, version)
    assert "Restore Duration" not in log, log
    equal(again["stream"], value["stream"])
    equal(again["told"].count("a timer"), 1)


def test_environments_are_apart():
    it = hooked()
    version = on(it)
    found = []

    def one(n):
        found.append(call(it, {"write": f"of-{n}", "sleep": 2}, version)[0])

    threads = [threading.Thread(target=one, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(len(found), 6)
    equal(len({f["born"] for f in found}), 1, "what the init code has drawn")
    for place in range(4):
        drawn = [f["random"][place] for f in found]
        equal(len(set(drawn)), len(drawn), "values drawn at random")
    for f in found:
        equal(len([n for n in f["tmp"] if n.startswith("of-")]), 1, "files of others in /tmp")
    # A limit of its own: who passes it ends alone.
    _, answer = kit.invoke(it, {"eat": True}, Qualifier=version)
    equal(answer["FunctionError"], "Unhandled")
    equal(call(it, {"big": "x" * 500000}, version)[0]["big"], 500000)


def package():
    names = ["node_fork_features.cjs", "node_fork_module.mjs", "node_fork_child.cjs", "node_snap_function.mjs"]
    return {name: open(os.path.join(HERE, name)).read() for name in names}


def test_everything_works_in_restored_environments():
    env = {**certificate(), "TEST_SDK": "1", "TEST_OBJECTS": "400000", "TEST_WORKER": "1"}
    it = kit.function(package(), kit.NODE, "node_snap_function.handler", SnapStart=SNAP, MemorySize=1024, Timeout=120, Environment={"Variables": env})
    version = on(it)
    equal(call(it, {"heavy": True}, version)[0]["failed"], {})
    equal(call(it, {"together": True}, version)[0]["failed"], {})
    told = call(it, {"look": True}, version)[0]
    equal((told["hooks"], told["heard"]), (["before 2", "before 1", "after 1", "after 2"], 2))


def test_other_versions_of_node():
    for runtime in ["nodejs18.x", "nodejs22.x", "nodejs24.x"]:
        it = kit.function(package(), runtime, "node_snap_function.handler", SnapStart=SNAP, MemorySize=512, Timeout=60, Environment={"Variables": certificate()})
        version = on(it)
        equal(call(it, {"together": True}, version)[0]["failed"], {})
        assert call(it, {"look": True}, version)[0]["born"]


def test_what_a_snapshot_cannot_hold_starts_as_others_do():
    cases = {
        "a thread": "new (require('worker_threads').Worker)('setInterval(() => {}, 1000)', { eval: true });\n",
        "a process": "require('child_process').spawn('sleep', ['600']);\n",
        "a descriptor open: socket": "require('http').createServer().listen(0);\n",
        "a descriptor open: anon_inode:inotify": "require('fs').watch('/tmp');\n",
        "a descriptor open: /tmp/out": "require('fs').openSync('/tmp/out', 'w');\n",
        "more than 64 MB in /tmp": "require('fs').writeFileSync('/tmp/out', Buffer.alloc(65 << 20));\n",
        "work under way": "require('child_process').execFileSync('mkfifo', ['/tmp/f']);\nrequire('fs').open('/tmp/f', () => {});\n",
    }
    for reason, source in cases.items():
        it = kit.node(source + PLAIN, SnapStart=SNAP, Timeout=30, MemorySize=256)
        version, shown = publish(it)
        equal(shown["SnapStart"]["OptimizationStatus"], "Off", reason)
        text = kit.until("the log says why", lambda: logs(it) if "SnapStart is off" in logs(it) else None)
        assert f"SnapStart is off for this version: the init code has left {reason}" in text, f"{reason}: {text}"
        value, log = call(it, {}, version)
        equal(value, 1)
        assert "Init Duration" in log and "Restore" not in log, log


def test_connections_are_found_closed():
    # The server goes with the init code; what it has accepted, and the agent's end, are left.
    source = """
import http from 'http';
import net from 'net';
const agent = new http.Agent({ keepAlive: true });
const get = (port) => new Promise((resolve, reject) => http.get({ port, agent, host: '127.0.0.1' }, (r) => r.resume().on('end', resolve)).on('error', reject));
const serve = () => new Promise((resolve) => { const s = http.createServer((q, r) => r.end('x')).listen(0, '127.0.0.1', () => resolve(s)); });
let closed = 0;
const first = await serve();
await get(first.address().port);
const lasting = net.connect({ port: first.address().port, host: '127.0.0.1' });
lasting.on('close', () => closed++).on('error', () => {});
await new Promise((resolve) => lasting.once('connect', resolve));
first.close();
export const handler = async () => {
  const s = await serve();
  await get(s.address().port);
  s.closeAllConnections();
  s.close();
  return closed;
};
"""
    it = kit.function({"index.mjs": source}, kit.NODE, SnapStart=SNAP, MemorySize=256, Timeout=30)
    equal(call(it, {}, on(it))[0], 1)


def test_work_in_the_background_is_waited_for():
    source = """
let done = 0;
require('crypto').pbkdf2('p', 's', 100000, 16, 'sha256', () => done++);
require('fs').readFile(__filename, () => done++);
exports.handler = async () => done;
"""
    it = kit.node(source, SnapStart=SNAP, MemorySize=256)
    equal(call(it, {}, on(it))[0], 2)


def test_init_code_that_fails_makes_the_version_fail():
    it = kit.node("throw new RangeError('no');\n" + PLAIN, SnapStart=SNAP)
    version, shown = publish(it, "Failed")
    equal(shown["StateReasonCode"], "FunctionError")
    matches(shown["StateReason"], ".*no.*")
    fails("ResourceConflictException", "~.*Failed", lam().invoke, FunctionName=it, Qualifier=version)
    it = kit.node("awslambda.snapStart.registerBeforeSnapshot(async () => { throw new RangeError('k'); });\n" + PLAIN, SnapStart=SNAP)
    _, shown = publish(it, "Failed")
    equal(shown["StateReason"], "Runtime.BeforeSnapshotError: RangeError: k")


def test_hooks_that_fail_after_a_restore_are_told():
    it = kit.node("awslambda.snapStart.registerAfterRestore(() => { throw new RangeError('k'); });\n" + PLAIN, SnapStart=SNAP)
    value, answer = kit.invoke(it, {}, Qualifier=on(it))
    equal((answer["FunctionError"], value["errorType"], value["errorMessage"]), ("Unhandled", "Runtime.AfterRestoreError", "RangeError: k"))


def test_hooks_are_there_without_snapshots():
    it = kit.node("awslambda.snapStart.registerAfterRestore(() => { throw new RangeError('k'); });\n" + PLAIN)
    equal(kit.invoke(it, {})[0], 1)


def again_after_a_restart():
    """Not of the first round: the server has been started anew, and the snapshot is gone."""
    value, log = call(KEPT, {}, "1")
    assert "Restore Duration" not in log, log
    equal(("before 1" in value["told"], value["type"]), (False, "on-demand"))

    def restored():
        kit.invoke(KEPT, {"exit": True}, Qualifier="1")
        return "Restore Duration" in call(KEPT, {}, "1")[1]

    kit.until("environments are made of a snapshot again", restored, timeout=180)


if __name__ == "__main__":
    if sys.argv[1:] == ["again"]:
        again_after_a_restart()
        print("1 passed, 0 failed")
    else:
        kit.main(globals())
