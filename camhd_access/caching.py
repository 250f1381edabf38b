"""What a process remembers, and what it is doing right now: an LRU cache, and single flight.

Both are bounded and hold values of any kind; neither touches a disk or the network. The cache of bytes on
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
    """Values by key, together no heavier than `max_weight`: the least recently used goes first. Thread-safe.

    Parameters
    ----------
    max_weight
        Of all values together, in whatever unit `keep` is given; with the default weight of 1, their number.
    """

    def __init__(self, max_weight: int) -> None:
        self._max_weight = max_weight
        self._lock = threading.Lock()
        _caches.add(self)
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.weight: int = 0
        """Of what is held."""
        self.n_asked: int = 0
        """Look-ups so far."""
        self.n_missed: int = 0
        """Look-ups so far that found nothing."""

    def __len__(self) -> int:
        return len(self._values)

    def find(self, key: K) -> V | None:
        """The value of `key`, which is the most recently used from now on; None where there is none."""
        with self._lock:
            self.n_asked += 1
            if key not in self._values:
                self.n_missed += 1
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def keep(self, key: K, value: V, weight: int = 1) -> None:
        """Hold `value`, unless it is heavier than a quarter of all."""
        with self._lock:
            self._drop(key)
            if weight > self._max_weight // 4 and weight > 1:
                return
            self._values[key] = value, weight
            self.weight += weight
            while self.weight > self._max_weight:
                self._drop(next(iter(self._values)))

    def drop(self, key: K) -> None:
        """Forget `key`."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: K) -> None:
        _, weight = self._values.pop(key, (None, 0))
        self.weight -= weight


_caches: weakref.WeakSet[LRUCache[Any, Any]] = weakref.WeakSet()


def _unlock_after_fork() -> None:
    """A thread of the parent may have held a lock when the process was forked; in the child nobody does."""
    for cache in _caches:
        cache._lock = threading.Lock()  # noqa: SLF001 - of the same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_after_fork)


class SingleFlight(Generic[K, V]):
    """Work in flight, by what it is for: callers who ask for the same share it. For one event loop.

    A caller that is cancelled leaves the others undisturbed.

    Parameters
    ----------
    is_abandoned
        Whether work is cancelled when all of its callers were; else it goes on without them.
    """

    def __init__(self, *, is_abandoned: bool = False) -> None:
        self._tasks: dict[K, asyncio.Task[Mapping[K, V]]] = {}
        self._n_callers: Counter[asyncio.Task[Mapping[K, V]]] = Counter()
        self._is_abandoned = is_abandoned
        self._ending: set[asyncio.Task[Mapping[K, V]]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    async def share(self, key: K, start: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """What `start()` returns, or the work in flight for `key`."""

        async def start_one(_: Sequence[K]) -> Mapping[K, V]:
            return {key: await start()}

        (value,) = await self.share_all([key], start_one)
        return value

    async def share_all(
        self, keys: Iterable[K], start: Callable[[Sequence[K]], Coroutine[Any, Any, Mapping[K, V]]]
    ) -> list[V]:
        """The value of each key, from the work in flight, or from one `start` of all keys that are not."""
        keys = list(keys)
        new = [key for key in dict.fromkeys(keys) if key not in self._tasks]
        if new:
            # A task of its own: others may come to wait for it, and the first to ask may be cancelled.
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
        """One caller fewer waits for each task."""
        self._n_callers.subtract(tasks)
        for task in set(tasks):
            if self._n_callers[task]:
                continue
            del self._n_callers[task]
            if self._is_abandoned and not task.done():
                task.cancel()
                for key in [key for key, each in self._tasks.items() if each is task]:
                    del self._tasks[key]  # who asks now begins anew
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    def _land(self, keys: Iterable[K], task: asyncio.Task[Mapping[K, V]]) -> None:
        for key in keys:
            if self._tasks.get(key) is task:
                del self._tasks[key]
        if not task.cancelled():
            task.exception()  # it was seen, even where nobody waits any more

    def forget(self) -> None:
        """Forget what is in flight, without ending it: after a fork, it is the parent's."""
        self._tasks = {}

    async def aclose(self) -> None:
        """Cancel what is in flight, and wait for its end."""
        tasks = set(self._tasks.values()) | self._ending
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
