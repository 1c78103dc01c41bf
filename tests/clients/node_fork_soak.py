"""Uses everything that node offers in forks of a zygote: `node_fork_soak.py NODE CLIENT SDK [FORKS [INVOCATIONS]]`.

NODE is the program, CLIENT the folder of the runtime client with its addon, SDK a folder with the AWS SDK's packages, or "-".
FORKS workers are forked, two at a time, and each is invoked INVOCATIONS times: the first time all features run one after the
other, the second time side by side, then two different ones each time. The zygote's memory and descriptors must not grow. The
short form of tests is 20 forks with 10 invocations; the long form is 4000 with 250, a million in all. With SOAK_SECONDS in the
environment it ends after that time and says how far it came.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import node_fork_kit as kit

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ["client-dynamodb", "lib-dynamodb", "client-s3", "client-sqs"]


def certificate():
    with tempfile.TemporaryDirectory() as folder:
        key, cert = f"{folder}/key", f"{folder}/cert"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out",
             cert, "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
            check=True, capture_output=True)
        return {name: open(path).read().replace("\n", ",") for name, path in [("TEST_KEY", key), ("TEST_CERT", cert)]}


def size(pid):
    """Memory of its own in KiB, open files, threads."""
    lines = open(f"/proc/{pid}/smaps_rollup").read().splitlines()
    own = sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Private_Clean")))
    return own, len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


def check(worker, event, seen):
    kind, body = worker.invoke(json.dumps(event).encode())
    answer = json.loads(body)
    if kind != "response" or answer["failed"]:
        raise AssertionError(f"worker {worker.pid}: {kind} {json.dumps(answer, indent=1)}\n{worker.printed.decode()}")
    # Those of the first turn tell forks apart; all of a million would not fit into memory.
    for drawn in answer["drawn"] if "turn" not in event else []:
        if drawn in seen:
            raise AssertionError(f"{drawn} drawn twice")
        seen.add(drawn)


def main():
    node, client, sdk = sys.argv[1:4]
    forks, invocations = (int(a) for a in (sys.argv[4:] + ["20", "10"][len(sys.argv) - 4:])[:2])
    env = certificate()
    if sdk != "-":
        sdk = os.path.abspath(sdk)
    kit.enter_namespace(os.path.abspath(client), None if sdk == "-" else sdk, HERE)
    zygote = kit.Zygote(node, [f"@aws-sdk/{p}" for p in PACKAGES])
    seen, started, count, ready = set(), time.time(), 0, []
    first = None
    seconds = float(os.environ.get("SOAK_SECONDS", "inf"))
    told = time.time()
    for number in range(0, forks, 2):
        if time.time() - started > seconds:
            forks = number
            break
        if time.time() - told > 30:
            told = time.time()
            print(f"{number} forks, {count} invocations after {told - started:.0f} s", flush=True)
        handlers = ["node_fork_features.handler", "node_fork_module.handler"]
        workers = [kit.Worker(zygote, handler, env) for handler in handlers]
        ready += [worker.ready() for worker in workers]
        for turn in range(invocations):
            for worker in workers:
                event = {"together": True, "turn": turn} if turn > 1 else {"together": turn == 1, "heavy": True}
                check(worker, event, seen)
                count += 1
        for worker in workers:
            worker.kill()
        if number >= 10 and not first:
            first = size(zygote.process.pid)
    ready.sort()
    print(f"{forks} forks, {count} invocations in {time.time() - started:.0f} s; ready in {ready[len(ready) // 2] * 1000:.1f} ms (p50)")
    if first:
        last = size(zygote.process.pid)
        print(f"zygote: KiB of its own, files, threads: {first} -> {last}")
        if last[0] > first[0] + 1024 or last[1:] != first[1:]:
            raise AssertionError("the zygote grows")
    if zygote.end() != 0:
        raise AssertionError("the zygote did not end in order")
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
