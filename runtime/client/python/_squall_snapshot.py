"""SnapStart: the memory of a function that has run its init code, and environments that are made of it.

A fork of a bare zygote loads the function, runs its before-snapshot hooks and sends its memory to the platform (`take`); further
forks of the same zygote become that process (`restore`) and go on where it stood: in `take`, which then returns 1. What
memory alone does not hold is looked at first: threads, processes, timers and most descriptors make a snapshot impossible,
files that are open for reading are opened again, connections are closed, what lies in /tmp is written again.
"""

import ctypes
import os
import sys

LIBRARY = "/var/runtime/zygote.so"
IMAGE = b"/var/snapshot/image"
# What the platform wants of the process.
VARIABLE = "_SQUALL_SNAPSHOT"
# Files of /tmp are kept in the snapshot's memory.
TMP_BYTES_MAX = 64 << 20

_library = None


class Unsafe(Exception):
    """The process holds what a snapshot cannot."""


def reserve():
    """In the zygote, before it forks. False where there are no snapshots."""
    global _library
    library = ctypes.PyDLL(LIBRARY)
    library.squall_snapshot_error.restype = ctypes.c_char_p
    library.squall_snapshot_take.argtypes = (ctypes.c_int, ctypes.c_char_p)
    library.squall_snapshot_restore.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint32)
    library.squall_snapshot_payload.restype = ctypes.c_void_p
    library.squall_snapshot_payload.argtypes = (ctypes.c_void_p,)
    _library = library
    return library.squall_snapshot_reserve() == 0


def is_wanted(payload):
    """Whether the process is to become a snapshot."""
    return b"\0" + VARIABLE.encode() + b"=restore\0" in payload


def restore(payload):
    """Becomes the snapshot; returns, with the reason, only where that cannot be."""
    _library.squall_snapshot_restore(IMAGE, payload, len(payload))
    return _library.squall_snapshot_error().decode("utf-8", "replace")


def variables(payload):
    """The environment in a payload, as bytes."""
    argc, envc = int.from_bytes(payload[:4], "little"), int.from_bytes(payload[4:8], "little")
    pairs = payload[8:].split(b"\0")[argc : argc + envc]
    return dict(pair.partition(b"=")[::2] for pair in pairs)


def run_hooks(name, last_first):
    module = sys.modules.get("snapshot_restore_py")
    hooks = list(getattr(module, name)()) if module is not None else []
    for func, args, kwargs in reversed(hooks) if last_first else hooks:
        func(*args, **kwargs)


# --- What is beside the memory.


def look_around():
    """Refuses what a snapshot cannot hold; what has to be made again."""
    import signal

    if len(os.listdir("/proc/self/task")) > 1:
        raise Unsafe("the init code has left a thread running")
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        raise Unsafe("the init code has left a process running")
    except ChildProcessError:
        pass
    if any(signal.getitimer(n)[0] for n in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)) or timers():
        raise Unsafe("the init code has left a timer running")
    if os.listdir("/dev/shm"):
        raise Unsafe("the init code has left files in /dev/shm")
    sockets, files = descriptors()
    return sockets, files, contents("/tmp")


def timers():
    try:
        with open("/proc/self/timers") as f:
            return f.read().strip()
    except OSError:
        return ""


def descriptors():
    """Connections, and files that are open for reading: (number, path, place, inheritable)."""
    import fcntl
    import stat

    sockets, files = [], []
    for number in sorted(int(n) for n in os.listdir("/proc/self/fd")):
        try:
            target, mode = os.readlink("/proc/self/fd/%d" % number), os.fstat(number).st_mode
        except OSError:
            # The one that the folder was read with.
            continue
        if number < 3:
            continue
        if stat.S_ISSOCK(mode) and is_connection(number):
            sockets.append((number, os.get_inheritable(number)))
        elif stat.S_ISREG(mode) and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY and os.path.isfile(target):
            files.append((number, target, os.lseek(number, 0, os.SEEK_CUR), os.get_inheritable(number)))
        else:
            raise Unsafe("the init code has left a descriptor open: %s" % target)
    return sockets, files


def is_connection(number):
    import socket

    with socket.socket(fileno=os.dup(number)) as s:
        try:
            return s.family in (socket.AF_INET, socket.AF_INET6) and s.type == socket.SOCK_STREAM and bool(s.getpeername())
        except OSError:
            # It listens, or is not connected yet, or not any more.
            return False


def contents(folder):
    """Folders, links and files below a folder, with their modes."""
    import stat

    found, total = [], 0
    for at, folders, files in os.walk(folder):
        if at == folder:
            folders[:] = [f for f in folders if f != "lost+found"]
        for name in folders + files:
            path = os.path.join(at, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found.append((path, None, os.readlink(path)))
            elif stat.S_ISDIR(mode):
                found.append((path, stat.S_IMODE(mode), None))
            elif stat.S_ISREG(mode):
                total += os.lstat(path).st_size
                if total > TMP_BYTES_MAX:
                    raise Unsafe("the init code has left more than %d MB in /tmp" % (TMP_BYTES_MAX >> 20))
                with open(path, "rb") as f:
                    found.append((path, stat.S_IMODE(mode), f.read()))
            else:
                raise Unsafe("the init code has left a special file: %s" % path)
    return found


def make_again(sockets, files, tmp):
    for path, mode, data in tmp:
        if mode is None:
            os.symlink(data, path)
        elif data is None:
            os.mkdir(path)
            os.chmod(path, mode)
        else:
            with open(path, "wb") as f:
                f.write(data)
            os.chmod(path, mode)
    for number, path, place, inheritable in files:
        new = os.open(path, os.O_RDONLY)
        os.lseek(new, place, os.SEEK_SET)
        put(new, number, inheritable)
    if sockets:
        import socket

        for number, inheritable in sockets:
            # What a connection is whose other side has gone: that is how libraries find out and connect anew.
            ours, theirs = socket.socketpair()
            theirs.close()
            put(ours.detach(), number, inheritable)


def put(new, number, inheritable):
    if new != number:
        os.dup2(new, number)
        os.close(new)
    os.set_inheritable(number, inheritable)


# --- The snapshot.


def take(runtime, client, given):
    """Runs the hooks, makes the snapshot and ends; in what is made of it, returns the connection to the platform. `given`: the
    environment that this process had at its start."""
    import gc

    try:
        run_hooks("get_before_snapshot", True)
    except Exception as error:
        fail(runtime, client, "Runtime.BeforeSnapshotError", error, 64)
    client.sock.close()
    runtime.flush()
    gc.collect()
    address = os.environ["AWS_LAMBDA_RUNTIME_API"]
    try:
        kept = look_around()
    except (Unsafe, OSError) as unsafe:
        refuse(runtime.Client(address), str(unsafe))
    client = runtime.Client(address)
    head = "POST %ssnapshot HTTP/1.1\r\nHost: %s\r\nContent-Type: application/octet-stream\r\n" % (runtime.VERSION, address)
    hooks = ctypes.pythonapi
    hooks.PyOS_BeforeFork()
    made = _library.squall_snapshot_take(client.sock.fileno(), head.encode())
    if made == 1:
        hooks.PyOS_AfterFork_Child()
        client.sock.detach()
        return wake(runtime, given, kept)
    hooks.PyOS_AfterFork_Parent()
    if made < 0:
        client.sock.close()
        refuse(runtime.Client(address), _library.squall_snapshot_error().decode("utf-8", "replace"))
    client.read()
    os._exit(0)


def refuse(client, reason):
    client.post("snapshot/refused", reason.encode("utf-8", "replace"))
    os._exit(0)


def fail(runtime, client, kind, error, code):
    fields = runtime.describe(error, "")
    fields["errorMessage"] = "%s: %s" % (fields["errorType"], fields["errorMessage"])
    fields["errorType"] = kind
    runtime.print_error(fields)
    runtime.flush()
    client.post("init/error", runtime.dumps(fields).encode("utf-8", "backslashreplace"), kind)
    os._exit(code)


def wake(runtime, given, kept):
    """In the process that was made of the snapshot: its own environment, connection and randomness."""
    length = ctypes.c_uint32()
    at = _library.squall_snapshot_payload(ctypes.byref(length))
    now = variables(ctypes.string_at(at, length.value))
    now.pop(VARIABLE.encode(), None)
    for name, value in now.items():
        # What the init code has set stays, unless it is the platform's to say.
        if given.get(name) != value:
            os.environb[name] = value
    for name in set(given) - set(now):
        os.environb.pop(name, None)
    if "_ssl" in sys.modules:
        sys.modules["_ssl"].RAND_add(os.urandom(32), 32.0)
    trouble = None
    try:
        make_again(*kept)
    except OSError as error:
        trouble = error
    # After the others: it takes the first number that is free.
    client = runtime.Client(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        if trouble is not None:
            raise trouble
        run_hooks("get_after_restore", False)
    except Exception as error:
        fail(runtime, client, "Runtime.AfterRestoreError", error, 65)
    return client
