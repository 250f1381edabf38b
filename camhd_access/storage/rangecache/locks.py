"""Who is fetching which bytes: locks on ranges of one empty file, kept by the kernel.

The file stands for all remote files at once: each has a slot of 2^40 bytes in it, and the lock on a byte of
the slot is the lock on that byte of the remote file. Locks of ranges that do not overlap do not meet, so
neighbours are fetched side by side; those that do overlap wait only as long as both are under way. Two
files in one slot (1 in 4 million) or beyond a tebibyte wait for each other without need, which does no
harm.

Linux locks belong to the open file (`F_OFD_SETLK`), so they hold between threads too. Elsewhere they belong
to the process: there, two filesystems of one process may fetch a byte twice. A system without these locks
(Windows) is as a filesystem without any: what is kept is right all the same, some bytes are fetched twice.
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

_PATIENCE_SECONDS = 2.0  # a walk through a folder of a hundred thousand blocks takes half of it
_REST_SECONDS = 60.0
_OLD_SECONDS = 3600.0
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}

_SLOT_BITS = 40
_SLOT_BYTES = 1 << _SLOT_BITS

WHOLE_FILE = ByteRange(_SLOT_BYTES - 1, _SLOT_BYTES)
"""Stands for what is learnt about a file, rather than for bytes of it."""


class FetchLocks:
    """The locks that one fetch holds, in the file that is open as `fd`; `close` gives all of them back."""

    def __init__(self, fd: int) -> None:
        # A file object, not a descriptor: it is closed in the end even if nobody gets to call `close`.
        self._file = os.fdopen(fd, "ab", buffering=0)

    def take(self, url: str, ranges: Sequence[ByteRange]) -> list[ByteRange]:
        """Those of `ranges` that nobody else was fetching, now ours. Does not wait."""
        number = int.from_bytes(blake2b(url.encode(), digest_size=8).digest()) % (1 << 62 - _SLOT_BITS)
        slot = number << _SLOT_BITS
        return [r for r in ranges if self._try(slot + r.start % _SLOT_BYTES, r.n_bytes)]

    def close(self) -> None:
        """Release everything, also where a forked child still has the file open."""
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
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, by the system's choice
            return False
        return True


class Patience:
    """For how long a lock is waited for: once in vain, and then for a while not at all."""

    def __init__(self) -> None:
        self._rests_until = float("-inf")

    def deadline(self, seconds: float) -> float:
        """When waiting ends that begins now and may take so many seconds, as `time.monotonic` tells it."""
        now = time.monotonic()
        return now if now < self._rests_until else now + seconds

    def lose(self) -> None:
        """Note that somebody was waited for in vain, who is stopped, or whose disk hangs."""
        self._rests_until = time.monotonic() + _REST_SECONDS


@contextmanager
def exclusive(fd: int, patience: Patience) -> Iterator[None]:
    """A context in which no other process (or thread with its own `fd`) holds the same file.

    Where a filesystem knows no locks, it is entered at once.

    Raises
    ------
    TimeoutError
        Another process held it for longer than anything we do takes: it is stopped, or its disk hangs.
    """
    deadline = patience.deadline(_PATIENCE_SECONDS)
    while not _lock_file(fd):
        if time.monotonic() >= deadline:
            patience.lose()
            raise TimeoutError("another process holds the cache's books")
        time.sleep(0.001)
    try:
        yield
    finally:
        if fcntl is not None:
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)


@contextmanager
def writing(fd: int) -> Iterator[bool]:
    """A context in which others see that the writer of a file lives; False where one took it for dead before.

    Notes
    -----
    The lock is kept by a duplicate of `fd`, which may be closed, and the file renamed, within the context.
    """
    held = os.dup(fd)
    try:
        yield _lock_file(held) and bool(os.fstat(held).st_nlink)
    finally:
        os.close(held)


def is_being_written(fd: int) -> bool:
    """Whether the writer of an unfinished file lives; without locks, whether it was written to lately."""
    try:
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # NFS gives readers no other
            return False
    except BlockingIOError:
        return True
    except OSError:
        pass
    return time.time() - os.fstat(fd).st_mtime < _OLD_SECONDS


def _lock_file(fd: int) -> bool:
    """Lock the whole file without waiting; whether nobody else holds it. Filesystems without locks agree."""
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
