"""Hooks of SnapStart, by the names under which AWS's managed runtimes have them.

    from snapshot_restore_py import register_before_snapshot, register_after_restore

Each takes a callable with its arguments, or decorates one. Before a snapshot they run in the reverse order of their registration,
after a restore in its order.
"""

_before_snapshot = []
_after_restore = []


def register_before_snapshot(func, *args, **kwargs):
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func, *args, **kwargs):
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot():
    return _before_snapshot


def get_after_restore():
    return _after_restore
