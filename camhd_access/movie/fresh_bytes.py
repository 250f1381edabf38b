"""The bytes of damaged samples, fetched once more: the disk cache may have got them damaged.

Threads that find the same damage at the same time wait for the first of them, whose bytes are then in the
cache. What is damaged on its server is fetched once more and no more.
"""

import os
import threading

from camhd_access.caching import LRUCache
from camhd_access.ranges import ByteRange
from camhd_access.storage.source import ByteSource

__all__ = ["read_again"]

MAX_SAMPLES_READ_AGAIN = 1024
_was_cached: LRUCache[tuple[ByteSource, ByteRange], bool] = LRUCache(MAX_SAMPLES_READ_AGAIN)
"""The ranges that were read again, and whether they had come from the disk cache."""

_reading = threading.RLock()  # a `__del__` that reads may run while its thread holds it


def read_again(source: ByteSource, wanted: ByteRange) -> bytes | None:
    """The bytes of a range, as its server has them; None if they had not come from the disk cache."""
    with _reading:
        was_cached = _was_cached.find((source, wanted))
        if was_cached is None:
            data = source.read_again(wanted)
            _was_cached.keep((source, wanted), data is not None)
            return data
    return source.read(wanted) if was_cached else None


def _unlock_after_fork() -> None:
    global _reading  # noqa: PLW0603 - a thread of the parent may have held it
    _reading = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_after_fork)
