"""Who is fetching which bytes: locks on ranges of one empty file, kept by the kernel.

The file stands for all remote files at once: each has a slot of 2^40 bytes in it, and the lock on a byte of
the slot is the lock on that byte of the remote file. Locks of ranges that do not overlap do not meet, so
neighbours are fetched side by side; those that do overlap wait only as long as both are under way. Two
files in one slot (1 in 4 million) or beyond a tebibyte wait for each other without need, which does no
harm.

Linux locks belong to the open file (`F_OFD_SETLK`), so they hold between threads too. Elsewhere they belong
to the process: there, two filesystems of one process may fetch a byte twice.
"""

import fcntl
import os
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from camhd_access.ranges import ByteRange

__all__ = ["WHOLE_FILE", "FetchLocks", "exclusive"]

_SLOT_BITS = 40
_SLOT_BYTES = 1 << _SLOT_BITS

WHOLE_FILE = ByteRange(_SLOT_BYTES - 1, _SLOT_BYTES)
"""Stands for what is learnt about a file, rather than for bytes of it."""


class FetchLocks:
    """The locks that one fetch holds; `close` gives all of them back."""

    def __init__(self, path: Path) -> None:
        # A file object, not a descriptor: it is closed in the end even if nobody gets to call `close`.
        self._file = path.open("ab", buffering=0)

    def take(self, url: str, ranges: Sequence[ByteRange]) -> list[ByteRange]:
        """Those of `ranges` that nobody else was fetching, now ours. Does not wait."""
        number = int.from_bytes(blake2b(url.encode(), digest_size=8).digest()) % (1 << 62 - _SLOT_BITS)
        slot = number << _SLOT_BITS
        return [r for r in ranges if self._try(fcntl.F_WRLCK, slot + r.start % _SLOT_BYTES, r.n_bytes)]

    def close(self) -> None:
        """Release everything, also where a forked child still has the file open."""
        try:
            self._try(fcntl.F_UNLCK, 0, 0)
        finally:
            self._file.close()

    def _try(self, kind: int, start: int, n_bytes: int) -> bool:
        try:
            if sys.platform == "linux":
                flock = struct.pack("hhqqi", kind, os.SEEK_SET, start, n_bytes, 0)
                fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, flock)
            else:
                command = fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB
                fcntl.lockf(self._file, command, n_bytes, start)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, by the system's choice
            return False
        return True


@contextmanager
def exclusive(fd: int, *, patience_seconds: float = 2.0) -> Iterator[None]:
    """A context in which no other process (or thread with its own `fd`) holds the same file.

    Raises
    ------
    TimeoutError
        Another process held it for longer than anything we do takes: it is stopped, or its disk hangs.
    """
    give_up = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise TimeoutError("another process holds the cache's books") from None
            time.sleep(0.001)
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)
