"""SnapStart: published versions whose environments are made of a snapshot of the initialised process."""

import json
import re
import threading
import time

import kit
from kit import equal, fails, matches

SNAP = {"ApplyOn": "PublishedVersions"}
HOOKED = """
import base64, os, random, secrets, socket, sys, threading, time, uuid
import boto3
from snapshot_restore_py import register_before_snapshot, register_after_restore
TOLD = []
TABLE = {str(n): [n] * 4 for n in range(50000)}
CLIENT = boto3.client("sts")
BEFORE = CLIENT.get_caller_identity()["Arn"]
open("/tmp/made.txt", "w").write("in init")
BOOK = open(__file__)
BOOK.readline()
os.environ["SET_IN_INIT"] = "yes"
time.sleep(1)
INIT_TYPE, INIT_PID, INIT_STREAM = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], os.getpid(), os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
@register_before_snapshot
def first(): TOLD.append("before 1")
register_before_snapshot(TOLD.append, "before 2")
@register_after_restore
def second(): TOLD.append("after 1")
register_after_restore(TOLD.append, "after 2")
def handler(e, c):
    if "sleep" in e: time.sleep(e["sleep"])
    if "write" in e: open("/tmp/" + e["write"], "w").close()
    if "eat" in e: return len(bytearray(e["eat"]))
    found = []
    t = threading.Thread(target=lambda: found.append(1)); t.start(); t.join()
    return {"told": TOLD, "size": sum(map(len, TABLE.values())), "caller": CLIENT.get_caller_identity()["Arn"], "before": BEFORE,
        "tmp": sorted(os.listdir("/tmp")), "made": open("/tmp/made.txt").read(), "line": BOOK.readline(), "env": os.environ["SET_IN_INIT"],
        "type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "init type": INIT_TYPE, "stream": c.log_stream_name, "init stream": INIT_STREAM,
        "random": [random.random().hex(), uuid.uuid4().hex, secrets.token_hex(8)], "threads": found, "static": "AWS_SECRET_ACCESS_KEY" in os.environ,
        "order": os.environ.get("_SQUALL_SNAPSHOT"), "version": c.function_version, "big": len(e.get("big", ""))}
"""
PLAIN = "def handler(e, c): return 1"


def lam():
    return kit.client("lambda")


def publish(function_name, state="Active"):
    """Publishes a version and waits until its snapshot is there or not."""
    made = lam().publish_version(FunctionName=function_name)
    equal((made["State"], made.get("StateReasonCode")), ("Pending", "Creating"))
    equal(made["SnapStart"], {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"})

    def settled():
        shown = lam().get_function_configuration(FunctionName=function_name, Qualifier=made["Version"])
        return shown if shown["State"] != "Pending" else None

    shown = kit.until("the version is no longer pending", settled, timeout=180)
    equal(shown["State"], state, f"{shown.get('StateReasonCode')}: {shown.get('StateReason')}")
    return made["Version"], shown


def logs(function_name):
    events = kit.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{function_name}")["events"]
    return "".join(e["message"] for e in events)


def call(function_name, event, version):
    value, answer = kit.invoke(function_name, event, Qualifier=version, LogType="Tail")
    if "FunctionError" in answer:
        raise AssertionError(f"{value}\n{logs(function_name)}")
    import base64

    return value, base64.b64decode(answer["LogResult"]).decode()


def test_environments_begin_after_the_init_code():
    it = kit.function(HOOKED, SnapStart=SNAP, MemorySize=256, Timeout=60)
    latest = lam().get_function_configuration(FunctionName=it)
    equal(latest["SnapStart"], {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"})
    version, shown = publish(it)
    equal(shown["SnapStart"], {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}, logs(it))
    value, log = call(it, {"write": "own"}, version)
    equal(value["told"], ["before 2", "before 1", "after 1", "after 2"])
    equal((value["size"], value["made"], value["env"], value["threads"]), (200000, "in init", "yes", [1]))
    equal((value["type"], value["init type"], value["version"]), ("snap-start", "snap-start", version))
    equal(value["line"], "import base64, os, random, secrets, socket, sys, threading, time, uuid\n")
    equal((value["static"], value["order"]), (False, None))
    matches(value["caller"], "arn:aws:sts::000000000000:assumed-role/.*")
    assert value["stream"] != value["init stream"], value["stream"]
    tail = r"(Restore Duration: [\d.]+ ms\tBilled Restore Duration: \d+ ms)\t"
    assert re.search(tail, log) and "Init Duration" not in log, log
    print("   " + re.search(tail, log).group(1).replace("\t", ", "))
    text = logs(it)
    assert re.search(r"RESTORE_START Runtime Version: python:3\.\d+\.v\S+\tRuntime Version ARN: ", text), text
    assert re.search(r"RESTORE_REPORT Restore Duration: [\d.]+ ms", text), text
    again, log = call(it, {}, version)
    assert "Restore Duration" not in log, log
    equal((again["stream"], again["line"]), (value["stream"], "import boto3\n"))


def test_environments_are_apart():
    it = kit.function(HOOKED, SnapStart=SNAP, MemorySize=256, Timeout=60)
    version, _ = publish(it)
    found = []

    def one(n):
        found.append(call(it, {"write": f"of-{n}", "sleep": 2}, version)[0])

    threads = [threading.Thread(target=one, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(len(found), 6)
    for place in range(3):
        drawn = [f["random"][place] for f in found]
        equal(len(set(drawn)), len(drawn), "values drawn at random")
    for f in found:
        equal(len([n for n in f["tmp"] if n.startswith("of-")]), 1, "files of others in /tmp")
    # A limit of its own: who passes it ends alone.
    _, answer = kit.invoke(it, {"eat": 300 << 20}, Qualifier=version)
    equal(answer["FunctionError"], "Unhandled")
    call(it, {"big": "x" * 500000}, version)


def test_what_a_snapshot_cannot_hold_starts_as_others_do():
    cases = {
        "a thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n",
        "a process": "import subprocess\nsubprocess.Popen(['sleep', '600'])\n",
        "a timer": "import signal\nsignal.signal(signal.SIGALRM, lambda *a: None)\nsignal.setitimer(signal.ITIMER_REAL, 600)\n",
        "a descriptor": "import socket\nS = socket.socket()\nS.bind(('127.0.0.1', 0))\nS.listen()\n",
    }
    for reason, source in cases.items():
        it = kit.function(source + PLAIN, SnapStart=SNAP, Timeout=30)
        version, shown = publish(it)
        equal(shown["SnapStart"]["OptimizationStatus"], "Off", reason)
        text = kit.until("the log says why", lambda: logs(it) if "SnapStart is off" in logs(it) else None)
        assert f"SnapStart is off for this version: the init code has left {reason}" in text, text
        value, log = call(it, {}, version)
        equal(value, 1)
        assert "Init Duration" in log and "Restore" not in log, log


def test_init_code_that_fails_makes_the_version_fail():
    it = kit.function("raise ValueError('no')\n" + PLAIN, SnapStart=SNAP)
    version, shown = publish(it, "Failed")
    equal(shown["StateReasonCode"], "FunctionError")
    matches(shown["StateReason"], ".*no.*")
    fails("ResourceConflictException", "~.*Failed", lam().invoke, FunctionName=it, Qualifier=version)
    hooked = "from snapshot_restore_py import *\n@register_before_snapshot\ndef f(): raise KeyError('k')\n"
    it = kit.function(hooked + PLAIN, SnapStart=SNAP)
    _, shown = publish(it, "Failed")
    matches(shown["StateReason"], "Runtime.BeforeSnapshotError.*")


def test_hooks_that_fail_after_a_restore_are_told():
    hooked = "from snapshot_restore_py import *\n@register_after_restore\ndef f(): raise KeyError('k')\n"
    it = kit.function(hooked + PLAIN, SnapStart=SNAP)
    version, shown = publish(it)
    equal(shown["SnapStart"]["OptimizationStatus"], "On")
    value, answer = kit.invoke(it, {}, Qualifier=version)
    equal((answer["FunctionError"], value["errorType"]), ("Unhandled", "Runtime.AfterRestoreError"))


def test_latest_is_not_made_of_snapshots():
    it = kit.function(PLAIN, SnapStart=SNAP)
    _, answer = kit.invoke(it, {}, LogType="Tail")
    import base64

    assert b"Init Duration" in base64.b64decode(answer["LogResult"])
    lam().update_function_configuration(FunctionName=it, SnapStart={"ApplyOn": "None"})
    lam().get_waiter("function_updated_v2").wait(FunctionName=it, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100})
    made = lam().publish_version(FunctionName=it)
    equal((made["State"], made["SnapStart"]["ApplyOn"]), ("Active", "None"))


def test_what_is_not_served_is_refused():
    def make(**options):
        options = {"Runtime": kit.PYTHON, "Handler": "i.h", "Role": kit.role(), "SnapStart": SNAP, **options}
        return lam().create_function(FunctionName=kit.name(), Code={"ZipFile": kit.zipped(PLAIN)}, **options)

    wrong = "InvalidParameterValueException"
    fails(wrong, "provided.al2023 is not supported for SnapStart enabled functions.", make, Runtime="provided.al2023")
    fails(wrong, "~.*SnapStart.*", make, EphemeralStorage={"Size": 1024})
    text = "1 validation error detected: Value 'All' at 'snapStart.applyOn' failed to satisfy constraint: Member must satisfy enum value set: [PublishedVersions, None]"
    fails("ValidationException", text, make, SnapStart={"ApplyOn": "All"})
    it = kit.function(PLAIN, SnapStart=SNAP)
    version, _ = publish(it)
    fails(
        wrong,
        "~.*SnapStart.*",
        lam().put_provisioned_concurrency_config,
        FunctionName=it,
        Qualifier=version,
        ProvisionedConcurrentExecutions=1,
    )
    fails(wrong, "~.*SnapStart.*", lam().update_function_configuration, FunctionName=it, EphemeralStorage={"Size": 1024})


def test_deleted_versions_leave_nothing():
    it = kit.function(HOOKED, SnapStart=SNAP, MemorySize=256)
    version, _ = publish(it)
    call(it, {}, version)
    lam().delete_function(FunctionName=it, Qualifier=version)
    fails("ResourceNotFoundException", None, lam().invoke, FunctionName=it, Qualifier=version)
    again, _ = publish_after_change(it)
    equal(call(it, {}, again)[0]["version"], again)
    lam().delete_function(FunctionName=it)


def publish_after_change(it):
    lam().update_function_configuration(FunctionName=it, Description=str(time.time()))
    lam().get_waiter("function_updated_v2").wait(FunctionName=it, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100})
    return publish(it)


if __name__ == "__main__":
    kit.main(globals())
