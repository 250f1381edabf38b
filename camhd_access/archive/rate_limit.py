"""Rate limits for the server of an archive: requests in flight, and requests per second.

OOI's server is a public server of an observatory and not made for crawlers. A crawl has at most `MAX_AT_ONCE`
requests in flight and starts at most `MAX_PER_SECOND` per second. Retries (`lazyhttp`: with exponential
back-off, or after `Retry-After`) are additional.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

__all__ = ["MAX_AT_ONCE", "MAX_PER_SECOND", "RateLimiter", "ask_all"]

MAX_AT_ONCE = 8
"""Maximum number of requests in flight: slightly more than a browser uses."""

MAX_PER_SECOND = 50.0
"""Maximum number of requests started per second."""

Job = TypeVar("Job")
T = TypeVar("T")


class RateLimiter:
    """Turns at equal intervals; `reserve` returns the time to wait for the next one.

    Parameters
    ----------
    per_second
        Maximum number of turns per second; `inf` for no limit.
    """

    def __init__(self, per_second: float) -> None:
        self._interval_seconds = 1 / per_second
        self._next_turn = float("-inf")

    def reserve(self, now: float) -> float:
        """Seconds from `now` to the next free turn, which is then taken."""
        turn = max(now, self._next_turn)
        self._next_turn = turn + self._interval_seconds
        return turn - now

    async def turn(self) -> None:
        """Wait for the next free turn. All users of a limiter must run on the same event loop."""
        await asyncio.sleep(self.reserve(asyncio.get_running_loop().time()))


def ask_all(
    queue: deque[Job],
    ask: Callable[[Job], Coroutine[Any, Any, T]],
    loop: asyncio.AbstractEventLoop,
    *,
    at_once: int,
) -> Generator[tuple[Job, Future[T]]]:
    """Each job of `queue` with its future, as they complete; at most `at_once` are in flight.

    Parameters
    ----------
    queue
        Emptied from the left. The caller may append to it while it iterates over the results.
    ask
        Coroutine function that performs a job on `loop`.
    """
    in_flight: dict[Future[T], Job] = {}
    try:
        while queue or in_flight:
            while queue and len(in_flight) < at_once:
                job = queue.popleft()
                in_flight[asyncio.run_coroutine_threadsafe(ask(job), loop)] = job
            for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                yield in_flight.pop(future), future
    finally:
        for future in in_flight:
            future.cancel()
