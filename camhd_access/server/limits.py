"""Work that is bounded, shared fairly between clients, and stopped when nobody waits for it.

A `Gate` lets a number through at once and has a queue for the rest; it stands before each mirror. Clients
take turns, and where the queue is full, who has most in it gives a place to who has least: the rest is
rejected with 503. `Workers` are threads behind a gate, for what needs a processor. A `ByteBudget` bounds the
memory of what is being sent, of which one client gets a part.

Whose work it is says `CLIENT`, which the application sets for each request and tasks inherit.
"""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Concatenate, ParamSpec, TypeVar

from camhd_access.server.problems import Problem

__all__ = ["CLIENT", "ByteBudget", "Gate", "StoppedError", "Workers", "check_wanted"]

P = ParamSpec("P")
T = TypeVar("T")

CLIENT: ContextVar[str] = ContextVar("camhd_client", default="")
"""Whose request is answered: an address."""
ONE_CLIENTS_SHARE = 4
"""A client holds at most one of so many parts of the memory for answers."""


class StoppedError(Exception):
    """Nobody waits for this work any more."""


def check_wanted(stop: threading.Event) -> None:
    """Raise `StoppedError` once `stop` is set: between the steps of long work."""
    if stop.is_set():
        raise StoppedError


def _too_much() -> Problem:
    return Problem(503, "The server is at its limit; try again in a moment.")


class Gate:
    """Lets `at_once` pass at the same time and `waiting` wait, client by client in turn; else a 503."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._n_free = at_once
        self._max_waiting = waiting
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self.n_running = 0
        """Those within."""
        self.n_passed = 0
        """Those let in so far."""
        self.n_refused = 0
        """Those rejected so far."""

    @property
    def n_waiting(self) -> int:
        """Those before it."""
        return sum(map(len, self._queues.values()))

    @property
    def is_full(self) -> bool:
        """Whether another one would be rejected, or take somebody's place."""
        return not self._n_free and self.n_waiting >= self._max_waiting

    async def __aenter__(self) -> None:
        if self._n_free:
            self._n_free -= 1
        else:
            await self._wait(CLIENT.get())
        self.n_running += 1
        self.n_passed += 1

    async def _wait(self, client: str) -> None:
        """Wait for this client's turn; the place is then ours."""
        if self.n_waiting >= self._max_waiting:
            self._make_room(client)
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._release()  # it was our turn just now
            raise
        finally:
            self._leave(client, turn)

    def _make_room(self, client: str) -> None:
        """Reject the newest of who has most in the queue, if that is more than this client would have."""
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
        """Give a place to the next client in turn."""
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
    """Bytes that may be held at the same time, of which one client holds no more than a quarter."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._by_client: dict[str, int] = {}

    @property
    def n_bytes(self) -> int:
        """Those held now."""
        return sum(self._by_client.values())

    @contextmanager
    def hold(self, n_bytes: int) -> Iterator[None]:
        """Hold so many for the time of the block; a `Problem` (503) where that is more than is allowed."""
        client = CLIENT.get()
        held = self._by_client.get(client, 0)
        is_above_share = held and held + n_bytes > self._max_bytes // ONE_CLIENTS_SHARE
        if n_bytes and (is_above_share or (self.n_bytes and self.n_bytes + n_bytes > self._max_bytes)):
            raise _too_much()
        self._by_client[client] = held + n_bytes
        try:
            yield
        finally:
            self._by_client[client] -= n_bytes
            if not self._by_client[client]:
                del self._by_client[client]


class Workers:
    """Threads that do work for coroutines, behind a gate."""

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
            return await _finish(asyncio.wrap_future(self._pool.submit(function, *args, **kwargs)))

    async def run_in_steps(
        self, function: Callable[Concatenate[threading.Event, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `run`, for long work that looks between its steps (`check_wanted`) whether it should stop."""
        stop = threading.Event()
        async with self.gate:
            job = asyncio.wrap_future(self._pool.submit(function, stop, *args, **kwargs))
            return await _finish(job, stop.set)

    async def aclose(self) -> None:
        """Wait for what is running, and end the threads."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)


async def _finish(job: Awaitable[T], stop: Callable[[], None] = lambda: None) -> T:
    """The result of `job`, which a caller that is cancelled tells to stop, and waits for all the same."""
    future = asyncio.ensure_future(job)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # it was seen
        raise
