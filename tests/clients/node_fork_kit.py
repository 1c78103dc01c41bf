"""Speaks to a Node zygote as the spawner does (sandbox/zygote/README.md), without a sandbox around the workers.

For tests of what a fork of node can do. Needs root: it makes a mount namespace of its own, in which functions, runtime client
and SDK stand where workers see them.
"""

import array
import ctypes
import os
import select
import signal
import socket
import struct
import subprocess
import time

LIBC = ctypes.CDLL(None, use_errno=True)
MAGIC = 0x315A5153
SYS_DUP3 = {"x86_64": 292, "aarch64": 24}[os.uname().machine]
SYS_CHDIR = {"x86_64": 80, "aarch64": 49}[os.uname().machine]
CLONE_NEWNS, CLONE_NEWPID, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x20000000, 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
FLAGS = ["--single-threaded", "--no-flush-bytecode", "--use-largepages=silent", "--max-semi-space-size=8"]
LIMITS = ["--max-old-space-size=460", "--max-semi-space-size=25"]


def must(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), what)


def mount(source, target, flags=MS_BIND | MS_REC, kind=None):
    os.makedirs(target, exist_ok=True)
    must(LIBC.mount(source.encode(), target.encode(), kind, flags, None), f"mount {source} on {target}")


def enter_namespace(client, sdk, task):
    """/var as workers see it, and to be their process 1, for this process and its children."""
    must(LIBC.unshare(CLONE_NEWNS | CLONE_NEWPID), "unshare")
    # Only a child is in the new namespace of processes.
    child = os.fork()
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255)
    must(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "end with the parent")
    must(LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "make mounts private")
    mount("proc", "/proc", 0, b"proc")
    # Held open, since /var hides what lies below it.
    places = [(os.open(path, os.O_PATH), inside) for path, inside in
              [(client, "/var/runtime"), (sdk, "/var/node_modules"), (task, "/var/task")] if path]
    mount("tmpfs", "/var", 0, b"tmpfs")
    for fd, inside in places:
        mount(f"/proc/self/fd/{fd}", inside)
        os.close(fd)


class Zygote:
    def __init__(self, node, packages, env=None):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket, self.node = ours, node
        env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": ":UTC", **(env or {})}

        def three():
            os.dup2(theirs.fileno(), 3)

        argv = [node, *FLAGS, "/var/runtime/bootstrap.cjs", "--zygote", *packages]
        null = subprocess.DEVNULL
        # Python closes what is not passed on after `three`, but never what it passes on.
        self.process = subprocess.Popen(argv, env=env, stdin=null, stdout=null, preexec_fn=three, pass_fds=[3])
        theirs.close()
        self.socket.settimeout(60)
        told = self.socket.recv(1 << 17)
        if told[:1] != b"R":
            raise RuntimeError(f"the zygote refused: {told[1:].decode()}")
        self.text = told[1:].decode()
        self.pidfd = os.pidfd_open(os.getpid())

    def fork(self, env, output, argv=None):
        """A worker with these variables that prints to `output`: its pid."""
        argv = argv or [self.node, *LIMITS, "/var/runtime/bootstrap.cjs"]
        strings = [*argv, *(f"{k}={v}" for k, v in env.items())]
        payload = struct.pack("<II", len(argv), len(env)) + b"".join(s.encode() + b"\0" for s in strings)
        blob = b"/var/task\0"
        calls = b"".join(struct.pack("<iI6qqii", number, kinds, *(a + [0] * (6 - len(a))), 0, 0, 0) for number, kinds, a in [
            (SYS_DUP3, 1, [3, 1, 0]), (SYS_DUP3, 1, [3, 2, 0]), (SYS_CHDIR, 2, [0])])
        packet = struct.pack("<5I", MAGIC, 3, len(blob), len(payload), 0) + calls + blob + payload
        report, report_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        adoption, adoption_end = os.pipe()
        fds = array.array("i", [report_end.fileno(), self.pidfd, adoption_end, output])
        self.socket.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        report_end.close()
        os.close(adoption_end)
        report.settimeout(30)
        said = report.recv(64)
        pid = struct.unpack("<i", os.read(adoption, 4))[0] if said == b"S" else None
        report.close()
        os.close(adoption)
        if said != b"S":
            raise RuntimeError(f"the fork failed: {said!r}")
        return pid

    def end(self):
        self.socket.close()
        return self.process.wait(timeout=10)


class Worker:
    """One worker with a Runtime API of its own."""

    def __init__(self, zygote, handler, env=None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(60)
        read, write = os.pipe()
        self.output, self.printed, self.connection, self.buffer, self.number = read, b"", None, b"", 0
        own = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.listener.getsockname()[1]}", "_HANDLER": handler,
            "LAMBDA_TASK_ROOT": "/var/task", "AWS_REGION": "us-east-1", "AWS_LAMBDA_FUNCTION_NAME": "f", "TZ": ":UTC",
            "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8",
            "HOME": "/tmp", **(env or {}),
        }
        self.started = time.perf_counter()
        self.pid = zygote.fork(own, write)
        os.close(write)

    def request(self):
        """The next request of the runtime client: (path, body)."""
        if self.connection is None:
            self.connection, _ = self.listener.accept()
            self.connection.settimeout(60)
        while True:
            head, gap, rest = self.buffer.partition(b"\r\n\r\n")
            if gap:
                length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
                if len(rest) >= length:
                    self.buffer = rest[length:]
                    return head.split(b" ")[1].decode(), rest[:length]
            # What it prints must not fill the pipe meanwhile.
            ready, _, _ = select.select([self.connection, self.output], [], [], 60)
            if self.output in ready:
                self.drain()
            if not ready:
                raise TimeoutError(f"nothing from worker {self.pid}: {self.printed.decode()}")
            if self.connection in ready:
                more = self.connection.recv(1 << 16)
                if not more:
                    raise EOFError(f"worker {self.pid} has closed: {self.buffer!r} {self.collect()}")
                self.buffer += more

    def drain(self):
        got = os.read(self.output, 1 << 16)
        self.printed += got
        return got

    def ready(self):
        path, body = self.request()
        if not path.endswith("/next"):
            raise AssertionError(f"init failed: {path} {body.decode()} {self.printed.decode()}")
        return time.perf_counter() - self.started

    def invoke(self, event=b"{}"):
        """The answer to one event: (kind, body); the worker must be ready, and is so again."""
        self.number += 1
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: r{self.number}\r\n" \
            f"Lambda-Runtime-Deadline-Ms: {int(time.time() * 1000) + 60000}\r\nContent-Length: {len(event)}\r\n\r\n"
        self.connection.sendall(head.encode() + event)
        path, body = self.request()
        self.connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        if path.endswith("/response"):
            self.ready()
        return path.rsplit("/", 1)[1], body

    def collect(self):
        """Everything printed until the worker has closed its output."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if select.select([self.output], [], [], 0.1)[0] and not self.drain():
                break
        return self.printed.decode(errors="replace")

    def wait(self, timeout=10):
        """Its exit status, as `waitpid` has it."""
        end = time.monotonic() + timeout
        while True:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pid = 0  # The middle, its parent, has not ended yet.
            if pid:
                self.close()
                return status
            if time.monotonic() > end:
                raise TimeoutError(f"worker {self.pid} does not end")
            select.select([], [], [], 0.001)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def close(self):
        if self.connection:
            self.connection.close()
        self.listener.close()
        os.close(self.output)
