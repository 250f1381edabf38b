"""Work that is bounded: so much at once, and so much waiting; the rest is rejected.

Three parts, each of its own use. A `Gate` lets a number through and rejects what is beyond its queue with
503; it stands before each mirror. `Workers` are threads behind a gate, for what needs a processor. A
`ByteBudget` bounds the memory of what is being sent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import ParamSpec, TypeVar

from camhd_access.server.problems import Problem

__all__ = ["ByteBudget", "Gate", "Workers"]

P = ParamSpec("P")
T = TypeVar("T")


class Gate:
    """Lets `at_once` pass at the same time and `waiting` wait; raises a `Problem` (503) for any more."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._max_waiting = waiting
        self.n_running = 0
        """Those within."""
        self.n_waiting = 0
        """Those before it."""
        self.n_passed = 0
        """Those let in so far."""
        self.n_refused = 0
        """Those turned away so far."""

    async def __aenter__(self) -> None:
        if self._free.locked() and self.n_waiting >= self._max_waiting:
            self.n_refused += 1
            raise Problem(503, "The server is at its limit; try again in a moment.")
        self.n_waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.n_waiting -= 1
        self.n_running += 1
        self.n_passed += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.n_running -= 1
        self._free.release()


class ByteBudget:
    """Bytes that may be held at the same time, whoever holds them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.n_bytes = 0
        """Those held now."""

    @contextmanager
    def hold(self, n_bytes: int) -> Iterator[None]:
        """Hold so many for the time of the block; a `Problem` (503) where that is more than is allowed."""
        if self.n_bytes and self.n_bytes + n_bytes > self._max_bytes:
            raise Problem(503, "The server is at its limit; try again in a moment.")
        self.n_bytes += n_bytes
        try:
            yield
        finally:
            self.n_bytes -= n_bytes


class Workers:
    """Threads for what would hold up the event loop, with a bounded queue before them."""

    def __init__(self, n_threads: int, max_waiting: int, name: str) -> None:
        self.gate = Gate(n_threads, max_waiting)
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix=f"camhd-{name}")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` returns, from one of the threads.

        Raises
        ------
        Problem
            503: too many wait already.

        Notes
        -----
        A thread cannot be interrupted: a caller that is cancelled leaves only when the thread is done.
        """
        async with self.gate:
            job = self._pool.submit(function, *args, **kwargs)
            return await _finish(asyncio.wrap_future(job))

    async def aclose(self) -> None:
        """Wait for what is running, and end the threads."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)


async def _finish(job: Awaitable[T]) -> T:
    """The result of `job`, which is waited for even by a caller that is cancelled."""
    future = asyncio.ensure_future(job)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise
