"""Restores snapshots of a node that has run its init code: `node_snap_soak.py NODE CLIENT SDK [RESTORES [INVOCATIONS]]`.

As node_fork_soak.py, of whose features every restored process uses some: the first of each snapshot all of them, one after the other
and then side by side. A tenth as many snapshots are made as there are restores. With SOAK_SECONDS in the environment it ends
after that time and says how far it came.
"""

import ctypes
import json
import os
import struct
import sys
import time

import node_fork_kit as kit
from node_fork_soak import HERE, certificate, check

IMAGE = "/var/snapshot/image"


def refuse_rings():
    """No io_uring, as in a sandbox: a ring is memory that is shared with the kernel."""
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x50026), (0x06, 0, 0, 0x7FFF0000)]
    filters = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in code))
    program = struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(filters))
    kit.must(kit.LIBC.prctl(38, 1, 0, 0, 0), "no new privileges")
    kit.must(kit.LIBC.prctl(22, 2, program, 0, 0), "seccomp")


def answer_of(connection):
    """One request: its path and body; nothing when the other side has closed."""
    have = b""
    while True:
        head, gap, body = have.partition(b"\r\n\r\n")
        if gap:
            length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
            if len(body) >= length:
                return head.split(b" ")[1].decode(), body
            parts = [body]
            while length > sum(map(len, parts)):
                parts.append(connection.recv(1 << 20) or sys.exit("half a snapshot"))
            return head.split(b" ")[1].decode(), b"".join(parts)
        more = connection.recv(1 << 20)
        if not more:
            return None, b""
        have += more


def make(zygote, handler, env):
    """The image of a process that has run its init code."""
    worker = kit.Worker(zygote, handler, {**env, "_SQUALL_SNAPSHOT": "make", "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"})
    path = None
    while path is None:
        connection, _ = worker.listener.accept()
        connection.settimeout(60)
        path, body = answer_of(connection)
        if path is not None:
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        connection.close()
    if not path.endswith("/snapshot"):
        raise AssertionError(f"{path}: {body.decode()}\n{worker.collect()}")
    status = worker.wait()
    if status != 0:
        raise AssertionError(f"the maker ended with {status}: {worker.printed.decode()}")
    return body


def restore(zygote, handler, env):
    worker = kit.Worker(zygote, handler, {**env, "_SQUALL_SNAPSHOT": "restore", "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"})
    return worker, worker.ready()


def look(worker, seen):
    kind, body = worker.invoke(b'{"look": 1}')
    told = json.loads(body)
    if kind != "response":
        raise AssertionError(f"worker {worker.pid}: {kind} {told}\n{worker.printed.decode()}")
    if told["hooks"] != ["before 2", "before 1", "after 1", "after 2"] or told["type"] != "snap-start":
        raise AssertionError(str(told))
    fresh = {drawn for drawn in told["fresh"]}
    if len(fresh) != len(told["fresh"]) or fresh & seen:
        raise AssertionError(f"drawn twice: {sorted(map(str, fresh & seen))[:5]}")
    if len(seen) < 1_000_000:
        seen |= fresh
    return told["born"], told["drawn"], told["heard"]


def main():
    node, client, sdk = sys.argv[1:4]
    restores, invocations = (int(a) for a in (sys.argv[4:] + ["20", "6"][len(sys.argv) - 4:])[:2])
    env = {**certificate(), **({"TEST_SDK": "1"} if sdk != "-" else {}), **{n: v for n, v in os.environ.items() if n.startswith("TEST_")}}
    kit.enter_namespace(os.path.abspath(client), None if sdk == "-" else os.path.abspath(sdk), HERE)
    os.makedirs(os.path.dirname(IMAGE))
    for folder in ["/tmp", "/dev/shm"]:
        kit.mount("tmpfs", folder, 0, b"tmpfs")
    kit.FLAGS[:] = [flag for flag in kit.FLAGS if "largepages" not in flag]
    refuse_rings()
    zygote = kit.Zygote(node, ["--bare"])
    handler, seen, ready, sizes = "node_snap_function.handler", set(), [], []
    started = told = time.time()
    seconds = float(os.environ.get("SOAK_SECONDS", "inf"))
    for number in range(restores):
        if time.time() - started > seconds:
            restores = number
            break
        if time.time() - told > 30:
            told = time.time()
            print(f"{number} restores after {told - started:.0f} s", flush=True)
        is_first = number % 10 == 0
        if is_first:
            image = make(zygote, handler, env)
            sizes.append(len(image))
            # Another file: that of before may still be mapped.
            with open(IMAGE + ".new", "wb") as f:
                f.write(image)
            os.rename(IMAGE + ".new", IMAGE)
            birth = None
        worker, took = restore(zygote, handler, env)
        ready.append(took)
        for turn in range(invocations):
            heavy = {"together": turn == 1, "heavy": True} if is_first and turn < 2 else {"together": True, "turn": number + turn}
            check(worker, heavy, seen)
        found = look(worker, seen)
        birth = birth or found
        if found != birth:
            raise AssertionError(f"{found} is not {birth}")
        worker.kill()
    ready.sort()
    print(f"{restores} restores of {len(sizes)} snapshots ({min(sizes) >> 20} to {max(sizes) >> 20} MB), {restores * (invocations + 1)} invocations "
          f"in {time.time() - started:.0f} s; ready in {ready[len(ready) // 2] * 1000:.1f} ms (p50), {ready[-1] * 1000:.1f} ms (most)")
    if zygote.end() != 0:
        raise AssertionError("the zygote did not end in order")
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
