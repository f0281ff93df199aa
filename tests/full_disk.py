"""A disk that is full from the k-th time on that anything is asked of it."""

import errno
import os
from contextlib import contextmanager
from unittest import mock

CALLS = ("open", "mkdir", "fsync", "replace", "link")


class Disk:
    """How often it was asked for something, and whether it failed.

    Attributes:
        calls: so far.
        failed: whether one was refused.
    """

    def __init__(self, place):
        self.place, self.calls, self.failed = str(place), 0, False

    def asked(self, path, k):
        """Count a call about a path on it; refuse the k-th."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        if not str(path).startswith(self.place):
            return
        self.calls += 1
        if self.calls == k:
            self.failed = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@contextmanager
def full_at(place, k):
    """The k-th call that makes, writes out or renames something there fails."""
    disk, real = Disk(place), {name: getattr(os, name) for name in CALLS}

    def patched(name):
        def call(path, *args, **kwargs):
            reads = name == "open" and not (args and args[0] & os.O_CREAT)
            there = name == "mkdir" and os.path.isdir(path)
            if not reads and not there:
                disk.asked(path, k)
            return real[name](path, *args, **kwargs)

        return call

    with mock.patch.multiple(os, **{name: patched(name) for name in CALLS}):
        yield disk
