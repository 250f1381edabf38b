"""Large arrays whose memory is reused, or returned at once.

The operating system clears each page of a new array when it is first written, which takes a third of the time
of decoding a frame into it. The memory of an array from `empty` is kept after the array and all of its views
have been deleted, up to `MAX_BYTES_KEPT`, and reused for the next array of about the same size.

So is that of arrays from `zeros`, but that of very large ones is unmapped when they are deleted. `malloc`
would keep some of it for each thread: for sums of images in colour, which have several sizes, half as much
again.
"""

import math
import mmap
import os
import threading
import weakref
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["empty", "zeros"]

MIN_BYTES = 1024 * 1024
"""Smaller arrays are allocated by numpy, which caches their memory itself."""

MIN_BYTES_RETURNED = 10 * 1024 * 1024
"""Memory of smaller sums is kept: the system would clear the pages again for each."""

MAX_BYTES_KEPT = 128 * 1024 * 1024
"""Maximum amount of unused memory: a dask chunk of frames."""

MAX_WASTE = 1.25
"""Memory is reused for arrays that are smaller by at most this factor."""

_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
"""For mappings that are not shared with forked processes, except on Windows, which does not fork."""

Block = npt.NDArray[np.uint8]


class _Pool:
    """Unused blocks of memory, most recently returned last."""

    def __init__(self) -> None:
        self.unlock()
        self._returned: deque[Block] = deque()  # appended to by finalizers, which run anywhere: no lock
        self._blocks: list[Block] = []

    def unlock(self) -> None:
        """Replace the lock, which a thread of the parent may have held at a fork."""
        self._lock = threading.Lock()

    def take(self, n_bytes: int) -> Block:
        """Memory of `n_bytes` or a little more."""
        if self._lock.acquire(blocking=False):  # never waits
            try:
                self._sort_in()
                for i in reversed(range(len(self._blocks))):
                    if n_bytes <= len(self._blocks[i]) <= MAX_WASTE * n_bytes:
                        return self._blocks.pop(i)
            finally:
                self._lock.release()
        return np.empty(n_bytes, np.uint8)

    def give_back(self, block: Block) -> None:
        """Keep memory that is no longer in use."""
        self._returned.append(block)
        if self._lock.acquire(blocking=False):
            try:
                self._sort_in()
            finally:
                self._lock.release()

    def _sort_in(self) -> None:
        while self._returned:
            self._blocks.append(self._returned.popleft())
        n_bytes = sum(map(len, self._blocks))
        while n_bytes > MAX_BYTES_KEPT:
            n_bytes -= len(self._blocks.pop(0))


_pool = _Pool()
if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_pool.unlock)


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array like that of `numpy.empty`, which may reuse the memory of an earlier one."""
    kind = np.dtype(dtype)
    n_items = math.prod(shape)
    n_bytes = n_items * kind.itemsize
    if n_bytes < MIN_BYTES:
        return np.empty(shape, kind)
    block = _pool.take(n_bytes)
    # All views refer to this array, because its own base is not an array; so it is deleted last.
    first = np.frombuffer(block.data, kind, n_items)
    weakref.finalize(first, _pool.give_back, block).atexit = False
    return first.reshape(shape)


def zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array like that of `numpy.zeros`; the memory of a very large one is unmapped when deleted."""
    kind = np.dtype(dtype)
    n_items = math.prod(shape)
    if n_items * kind.itemsize < MIN_BYTES_RETURNED:
        array = empty(shape, kind)
        array.fill(0)
        return array
    memory = mmap.mmap(-1, n_items * kind.itemsize, **_PRIVATE)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # Linux
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, kind).reshape(shape)
