"""Limits on work, shared fairly between clients; work that nobody waits for is stopped.

A `Gate` admits a number of tasks at once and queues the rest; there is one for each mirror. Clients
take turns, and if the queue is full, the client with most entries loses its newest to one with fewer; the
rest is rejected with 503. `Workers` are threads behind a gate, for CPU-bound work. A `ByteBudget` limits the
memory of responses being sent, in total and per client.

The client is in `CLIENT`, which the application sets for each request and tasks inherit.
"""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import ParamSpec, TypeVar

from camhd_access.server.problems import Problem
from camhd_access.stopping import stopped_by

__all__ = ["CLIENT", "ByteBudget", "Gate", "Workers"]

P = ParamSpec("P")
T = TypeVar("T")

CLIENT: ContextVar[str] = ContextVar("camhd_client", default="")
"""Address of the client of the current request."""
ONE_CLIENTS_SHARE = 4
"""A client may use at most one of this many parts of the memory for responses."""


def _too_much() -> Problem:
    return Problem(503, "The server is at its limit; try again in a moment.")


class Gate:
    """Admits `at_once` tasks and queues `waiting` more, clients in turn; the rest gets a 503."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._n_free = at_once
        self._max_waiting = waiting
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self.n_running = 0
        """Tasks running now."""
        self.n_passed = 0
        """Tasks admitted so far."""
        self.n_refused = 0
        """Tasks rejected so far."""

    @property
    def n_waiting(self) -> int:
        """Tasks in the queue."""
        return sum(map(len, self._queues.values()))

    @property
    def is_full(self) -> bool:
        """Whether another task would be rejected, or replace a queued one."""
        return not self._n_free and self.n_waiting >= self._max_waiting

    async def __aenter__(self) -> None:
        if self._n_free:
            self._n_free -= 1
        else:
            await self._wait(CLIENT.get())
        self.n_running += 1
        self.n_passed += 1

    async def _wait(self, client: str) -> None:
        """Wait for this client's turn; the slot is then taken."""
        if self.n_waiting >= self._max_waiting:
            self._make_room(client)
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._release()  # our turn had just come
            raise
        finally:
            self._leave(client, turn)

    def _make_room(self, client: str) -> None:
        """Reject the newest task of the client with most in the queue, if it has more than this one would."""
        self.n_refused += 1
        most = max(self._queues, key=lambda each: len(self._queues[each]), default=client)
        if len(self._queues.get(most, ())) <= len(self._queues.get(client, ())) + 1:
            raise _too_much()
        turn = self._queues[most].pop()
        if not turn.done():
            turn.set_exception(_too_much())

    def _leave(self, client: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(client)
        if queue is not None and turn in queue:
            queue.remove(turn)
        if not queue:
            self._queues.pop(client, None)

    def _release(self) -> None:
        """Give the slot to the next client in turn."""
        for client in list(self._queues):
            self._queues.move_to_end(client)
            queue = self._queues[client]
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._n_free += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.n_running -= 1
        self._release()


class ByteBudget:
    """Limit for bytes in memory at the same time, of which one client may use at most a quarter."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._by_client: dict[str, int] = {}

    @property
    def n_bytes(self) -> int:
        """Bytes in use now."""
        return sum(self._by_client.values())

    @contextmanager
    def hold(self, n_bytes: int) -> Iterator[None]:
        """Reserve bytes for the block; raises a `Problem` (503) if that exceeds a limit."""
        if not n_bytes:
            yield
            return
        client = CLIENT.get()
        held = self._by_client.get(client, 0)
        is_above_share = held and held + n_bytes > self._max_bytes // ONE_CLIENTS_SHARE
        if is_above_share or (self.n_bytes and self.n_bytes + n_bytes > self._max_bytes):
            raise _too_much()
        self._by_client[client] = held + n_bytes
        try:
            yield
        finally:
            self._by_client[client] -= n_bytes
            if not self._by_client[client]:
                del self._by_client[client]


class Workers:
    """Threads that work for coroutines, behind a gate."""

    def __init__(self, n_threads: int, max_waiting: int, name: str) -> None:
        self.gate = Gate(n_threads, max_waiting)
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix=f"camhd-{name}")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `function`, run in one of the threads.

        Raises
        ------
        Problem
            503: the queue is full.

        Notes
        -----
        A thread cannot be interrupted: a cancelled caller returns only when the thread is done, or has
        noticed between two steps of its work that it is to stop (see `stopping`).
        """
        stop = threading.Event()

        def work() -> T:
            with stopped_by(stop):
                return function(*args, **kwargs)

        async with self.gate:
            return await _finish(asyncio.wrap_future(self._pool.submit(work)), stop.set)

    async def aclose(self) -> None:
        """Wait for running work, and end the threads."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)


async def _finish(job: Awaitable[T], stop: Callable[[], None]) -> T:
    """The result of `job`; a cancelled caller signals it to stop, and still waits for it."""
    future = asyncio.ensure_future(job)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # mark it as retrieved
        raise
