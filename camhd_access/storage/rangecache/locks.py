"""Locks on the byte ranges that are being fetched: kernel locks on ranges of one empty file.

The file represents all remote files: each has a slot of 2^40 bytes in it, and the lock on a byte of
the slot is the lock on that byte of the remote file. Locks on ranges that do not overlap are independent, so
neighbours are fetched in parallel; overlapping ones wait only as long as both are in flight. Two
files in one slot (1 in 4 million) or beyond a tebibyte wait for each other without need, which is
harmless.

Linux locks belong to the open file (`F_OFD_SETLK`), so they work between threads too. Elsewhere they belong
to the process: there, two filesystems of one process may fetch a byte twice. Systems without these locks
(Windows) run without any: the cache is still correct, but some bytes are fetched twice.
"""

import errno
import os
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b

from camhd_access.ranges import ByteRange

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

__all__ = ["WHOLE_FILE", "FetchLocks", "Patience", "exclusive", "is_being_written", "writing"]

_PATIENCE_SECONDS = 2.0  # a scan of a hundred thousand blocks takes half of it
_REST_SECONDS = 60.0
_OLD_SECONDS = 3600.0
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}

_SLOT_BITS = 40
_SLOT_BYTES = 1 << _SLOT_BITS

WHOLE_FILE = ByteRange(_SLOT_BYTES - 1, _SLOT_BYTES)
"""Represents the description of a file instead of its bytes."""


class FetchLocks:
    """The locks of one fetch, in the file that is open as `fd`; `close` releases them."""

    def __init__(self, fd: int) -> None:
        # A file object, not a descriptor: it is closed even if nobody calls `close`.
        self._file = os.fdopen(fd, "ab", buffering=0)

    def take(self, url: str, ranges: Sequence[ByteRange]) -> list[ByteRange]:
        """Lock those of `ranges` that nobody else holds, and return them. Does not wait."""
        number = int.from_bytes(blake2b(url.encode(), digest_size=8).digest()) % (1 << 62 - _SLOT_BITS)
        slot = number << _SLOT_BITS
        return [r for r in ranges if self._try(slot + r.start % _SLOT_BYTES, r.n_bytes)]

    def close(self) -> None:
        """Release everything, even if a forked child still has the file open."""
        try:
            self._try(0, 0, release=True)
        finally:
            self._file.close()

    def _try(self, start: int, n_bytes: int, *, release: bool = False) -> bool:
        try:
            if fcntl is None:
                return True
            if sys.platform == "linux":
                kind = fcntl.F_UNLCK if release else fcntl.F_WRLCK
                flock = struct.pack("hhqqi", kind, os.SEEK_SET, start, n_bytes, 0)
                fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, flock)
            else:
                command = fcntl.LOCK_UN if release else fcntl.LOCK_EX | fcntl.LOCK_NB
                fcntl.lockf(self._file, command, n_bytes, start)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, depending on the system
            return False
        return True


class Patience:
    """How long to wait for a lock: after one time-out, not at all for a while."""

    def __init__(self) -> None:
        self._rests_until = float("-inf")

    def deadline(self, seconds: float) -> float:
        """End of a wait that begins now and may take this many seconds, as `time.monotonic`."""
        now = time.monotonic()
        return now if now < self._rests_until else now + seconds

    def lose(self) -> None:
        """Note a time-out: the holder is stopped, or its disk hangs."""
        self._rests_until = time.monotonic() + _REST_SECONDS


@contextmanager
def exclusive(fd: int, patience: Patience) -> Iterator[None]:
    """A context in which no other process (or thread with its own `fd`) holds the same file.

    If a filesystem has no locks, it is entered at once.

    Raises
    ------
    TimeoutError
        Another process held it for longer than any of our work takes: it is stopped, or its disk hangs.
    """
    deadline = patience.deadline(_PATIENCE_SECONDS)
    while not _lock_file(fd):
        if time.monotonic() >= deadline:
            patience.lose()
            raise TimeoutError("another process holds the lock on the cache's size")
        time.sleep(0.001)
    try:
        yield
    finally:
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)


@contextmanager
def writing(fd: int) -> Iterator[bool]:
    """A context that marks a file's writer as alive; yields False if others took it for dead before.

    Notes
    -----
    The lock is kept by a duplicate of `fd`: within the context, `fd` may be closed and the file renamed.
    """
    held = os.dup(fd)
    try:
        yield _lock_file(held) and bool(os.fstat(held).st_nlink)
    finally:
        os.close(held)


def is_being_written(fd: int) -> bool:
    """Whether the writer of an unfinished file lives; without locks, whether it was modified recently."""
    try:
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # NFS allows no other lock for readers
            return False
    except BlockingIOError:
        return True
    except OSError:
        pass
    return time.time() - os.fstat(fd).st_mtime < _OLD_SECONDS


def _lock_file(fd: int) -> bool:
    """Try to lock the whole file; returns whether it succeeded. True on filesystems without locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
