"""Holds a started interpreter of which the instances are forks: `python -s -S zygote.py SDK_FOLDER`, or `zygote.py --bare` for
functions with snapshots, whose forks load everything themselves.

Loads the runtime client and the SDK, never a function's code, and goes on in each fork where bootstrap.py would begin. What the
forks find loaded must be what they would load themselves: nothing is read from /var/task or /opt, and nothing that depends
on the environment is decided here.
"""

import gc
import os
import sys
import time

import _squall_runtime as runtime
import _squall_sdk

CONTROL = 3
LIBRARY = "/var/runtime/zygote.so"
# Modules that functions use most.
MODULES = ("json", "logging", "datetime", "uuid", "decimal", "base64", "hashlib", "random", "re", "urllib.request", "concurrent.futures")


def refuse(reason):
    os.write(CONTROL, b"E" + reason.encode("utf-8", "replace")[:4096])
    os._exit(1)


def preload(sdk):
    for name in MODULES:
        __import__(name)
    if sdk:
        sys.path.append(sdk)
        try:
            _squall_sdk.load()
        except ImportError:
            # A folder without boto3.
            pass
        finally:
            sys.path.remove(sdk)


# --- The rehearsal: a fork does once what every worker will do, and tells which pages of memory that took.


def open_stage():
    """Serves two events as the platform would, in a process of its own: its number, and its address."""
    import fcntl
    import socket
    import struct

    up = struct.pack("16sH22x", b"lo", 1 | 64)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    address = "127.0.0.1:%d" % listener.getsockname()[1]
    pid = os.fork()
    if pid:
        listener.close()
        return pid, address
    try:
        import signal

        signal.alarm(20)
        connection = listener.accept()[0]
        for body in (b'{"n": 1}', b'{"last": true}'):
            text = b""
            while b"/invocation/next " not in text:
                text += connection.recv(65536) or os._exit(1)
            accepted = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n" if text.startswith(b"POST") else b""
            head = "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 1\r\nLambda-Runtime-Trace-Id: 1\r\n"
            head += "Lambda-Runtime-Deadline-Ms: %d\r\nContent-Length: %d\r\n\r\n" % (time.time() * 1000, len(body))
            connection.sendall(accepted + head.encode() + body)
        connection.recv(1)
    finally:
        os._exit(0)


def rehearsal_payload(address, sdk):
    env = {name: os.environ.get(name, "") for name in ("PATH", "LANG", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH")}
    env.update({name: os.environ[name] for name in os.environ if name.startswith("AWS_")})
    env.update({name: "none" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")})
    env.update(AWS_LAMBDA_RUNTIME_API=address, LAMBDA_TASK_ROOT="/var/runtime", _HANDLER="_squall_rehearsal.handler")
    strings = ["python", "/var/runtime/bootstrap.py", "/opt", sdk]
    sizes = len(strings).to_bytes(4, "little") + len(env).to_bytes(4, "little")
    strings += ["%s=%s" % pair for pair in env.items()]
    return sizes + b"".join(os.fsencode(text) + b"\0" for text in strings)


def rehearse(library, state, sdk):
    """Without it, or where it fails, workers get their pages one by one."""
    import ctypes

    before, after = ctypes.pythonapi.PyOS_BeforeFork, ctypes.pythonapi.PyOS_AfterFork_Child
    try:
        stage, address = open_stage()
    except OSError:
        return
    before()
    if library.squall_zygote_rehearse():
        after()
        try:
            become(rehearsal_payload(address, sdk))
            runtime.main(state)
        finally:
            os._exit(1)
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    os.waitpid(stage, 0)


def report():
    import ctypes

    ctypes.PyDLL(LIBRARY).squall_zygote_rehearsed()


def serve(ready, state, sdk):
    """The payload of the worker that this process has become; in the zygote it never returns."""
    import ctypes

    library = ctypes.PyDLL(LIBRARY)
    library.squall_zygote_serve.restype = ctypes.c_void_p
    library.squall_zygote_serve.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)
    length = ctypes.c_uint32()
    before, after = ctypes.pythonapi.PyOS_BeforeFork, ctypes.pythonapi.PyOS_AfterFork_Child
    gc.collect()
    # What lives now is not looked at again: a collection would copy every page of it.
    gc.freeze()
    if sdk != "--bare":
        rehearse(library, state, sdk)
    before()
    at = library.squall_zygote_serve(CONTROL, ready, None, ctypes.byref(length))
    after()
    return ctypes.string_at(at, length.value)


def open_streams():
    """The zygote's own were /dev/null; what they are was asked when they were opened."""
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        old = getattr(sys, name)
        mode = "r" if number == 0 else "w"
        new = open(number, mode, encoding=old.encoding, errors=old.errors, closefd=False)
        new.mode = mode
        setattr(sys, name, new)
        setattr(sys, "__%s__" % name, new)


def become(payload):
    """Arguments, environment and what was derived from them, as if this process had been executed with them."""
    argc, envc = int.from_bytes(payload[:4], "little"), int.from_bytes(payload[4:8], "little")
    strings = payload[8:].split(b"\0")
    argv = [os.fsdecode(a) for a in strings[:argc]]
    os.environ.clear()
    for pair in strings[argc : argc + envc]:
        name, _, value = pair.partition(b"=")
        os.environb[name] = value
    # Behind the interpreter and its options: bootstrap.py and its arguments.
    at = next((n for n, a in enumerate(argv) if a.endswith("/bootstrap.py")), 0)
    sys.argv[:] = argv[at:]
    # The zygote's own was /var/runtime, as the function's is by default.
    sys.path[1:2] = [p for p in os.environ.get("PYTHONPATH", "").split(":") if p]
    time.tzset()
    open_streams()
    options = os.environ.get("PYTHONWARNINGS")
    if options:
        import warnings

        sys.warnoptions[:] = options.split(",")
        warnings._processoptions(sys.warnoptions)
    if "_ssl" in sys.modules:
        # It notices the fork by the process's number, which may by chance be the same.
        sys.modules["_ssl"].RAND_add(os.urandom(32), 32.0)


def main():
    sdk = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        import ctypes  # noqa: F401
    except ImportError as error:
        refuse("this Python has no ctypes: %s" % error)
    is_bare = sdk == "--bare"
    if is_bare:
        import _squall_snapshot as snapshot

        if not snapshot.reserve():
            refuse("there are no snapshots on this machine")
    state = runtime.State()
    before = set(sys.modules)
    sys.meta_path.insert(0, runtime.LoggingHook(state))
    try:
        if not is_bare:
            preload(sdk)
    except Exception as error:
        refuse("%s: %s" % (type(error).__name__, error))
    if "threading" in sys.modules and sys.modules["threading"].active_count() > 1:
        refuse("the SDK has started a thread")
    # A function's own module of such a name would have come first.
    names = {name.partition(".")[0] for name in set(sys.modules) - before}
    payload = serve(" ".join(sorted(names)).encode(), state, sdk)
    unusable = snapshot.restore(payload) if is_bare and snapshot.is_wanted(payload) else None
    become(payload)
    if unusable is not None:
        runtime.unusable(unusable)
    runtime.main(state)


main()
