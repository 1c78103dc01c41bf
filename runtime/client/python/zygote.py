"""Holds a started interpreter of which the instances are forks: `python -s -S zygote.py SDK_FOLDER`.

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


def serve(ready):
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
    state = runtime.State()
    before = set(sys.modules)
    sys.meta_path.insert(0, runtime.LoggingHook(state))
    try:
        preload(sdk)
    except Exception as error:
        refuse("%s: %s" % (type(error).__name__, error))
    if "threading" in sys.modules and sys.modules["threading"].active_count() > 1:
        refuse("the SDK has started a thread")
    # A function's own module of such a name would have come first.
    names = {name.partition(".")[0] for name in set(sys.modules) - before}
    payload = serve(" ".join(sorted(names)).encode())
    become(payload)
    runtime.main(state)


main()
