"""In-memory caching and deduplication: an LRU cache, and single flight.

Both hold values of any kind and do no I/O. The cache of bytes on
disk is `storage.rangecache`.
"""

import asyncio
import os
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

__all__ = ["LRUCache", "SingleFlight"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRUCache(Generic[K, V]):
    """A thread-safe LRU cache of values with a total weight of at most `max_weight`.

    Parameters
    ----------
    max_weight
        Limit for the sum of the weights given to `keep`; with the default weight of 1, for their number.
    """

    def __init__(self, max_weight: int) -> None:
        self._max_weight = max_weight
        self._lock = threading.RLock()  # a `__del__` that reads may run while its thread holds it
        _caches.add(self)
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.weight: int = 0
        """Total weight of the values."""
        self.n_asked: int = 0
        """Look-ups so far."""
        self.n_missed: int = 0
        """Look-ups so far that found nothing."""

    def __len__(self) -> int:
        return len(self._values)

    def find(self, key: K) -> V | None:
        """The value of `key`, marked as most recently used; None if there is none."""
        with self._lock:
            self.n_asked += 1
            if key not in self._values:
                self.n_missed += 1
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def keep(self, key: K, value: V, weight: int = 1) -> None:
        """Store `value`, unless it is heavier than a quarter of `max_weight`."""
        with self._lock:
            self._drop(key)
            if weight > self._max_weight // 4 and weight > 1:
                return
            self._values[key] = value, weight
            self.weight += weight
            while self.weight > self._max_weight:
                self._drop(next(iter(self._values)))

    def drop(self, key: K) -> None:
        """Remove `key`."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: K) -> None:
        _, weight = self._values.pop(key, (None, 0))
        self.weight -= weight


_caches: weakref.WeakSet[LRUCache[Any, Any]] = weakref.WeakSet()


def _unlock_after_fork() -> None:
    """Replace all locks in a forked child: a thread of the parent may have held one at the fork."""
    for cache in _caches:
        cache._lock = threading.RLock()  # noqa: SLF001 - of the same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_after_fork)


class SingleFlight(Generic[K, V]):
    """Share work in flight between callers that ask for the same key. For one event loop.

    Cancelling one caller does not affect the others.

    Parameters
    ----------
    is_abandoned
        Whether work is cancelled once all of its callers are; otherwise it continues.
    """

    def __init__(self, *, is_abandoned: bool = False) -> None:
        self._tasks: dict[K, asyncio.Task[Mapping[K, V]]] = {}
        self._n_callers: Counter[asyncio.Task[Mapping[K, V]]] = Counter()
        self._is_abandoned = is_abandoned
        self._ending: set[asyncio.Task[Mapping[K, V]]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    async def share(self, key: K, start: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The result of `start()`, or of the work already in flight for `key`."""

        async def start_one(_: Sequence[K]) -> Mapping[K, V]:
            return {key: await start()}

        (value,) = await self.share_all([key], start_one)
        return value

    async def share_all(
        self, keys: Iterable[K], start: Callable[[Sequence[K]], Coroutine[Any, Any, Mapping[K, V]]]
    ) -> list[V]:
        """The value of each key, from the work in flight, or from one `start` for all keys that are not."""
        keys = list(keys)
        new = [key for key in dict.fromkeys(keys) if key not in self._tasks]
        if new:
            # A separate task: others may join it, and the first caller may be cancelled.
            task = asyncio.create_task(start(new))
            self._tasks |= dict.fromkeys(new, task)
            task.add_done_callback(lambda done: self._land(new, done))
        tasks = [self._tasks[key] for key in keys]
        self._n_callers.update(tasks)
        try:
            return [(await asyncio.shield(task))[key] for task, key in zip(tasks, keys, strict=True)]
        finally:
            self._leave(tasks)

    def _leave(self, tasks: Sequence[asyncio.Task[Mapping[K, V]]]) -> None:
        """Count one caller less for each task."""
        self._n_callers.subtract(tasks)
        for task in set(tasks):
            if self._n_callers[task]:
                continue
            del self._n_callers[task]
            if self._is_abandoned and not task.done():
                task.cancel()
                for key in [key for key, each in self._tasks.items() if each is task]:
                    del self._tasks[key]  # the next caller starts again
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    def _land(self, keys: Iterable[K], task: asyncio.Task[Mapping[K, V]]) -> None:
        for key in keys:
            if self._tasks.get(key) is task:
                del self._tasks[key]
        if not task.cancelled():
            task.exception()  # mark it as retrieved, even if nobody waits for it

    def forget(self) -> None:
        """Forget the work in flight without cancelling it: after a fork it belongs to the parent."""
        self._tasks = {}

    async def aclose(self) -> None:
        """Cancel the work in flight and wait until it has ended."""
        tasks = set(self._tasks.values()) | self._ending
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
