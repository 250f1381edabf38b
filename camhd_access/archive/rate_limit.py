"""How an archive's server is treated: few requests at once, and few a second.

The server is a public one, of an observatory whose purpose is not to serve crawlers. A crawl has at most
`MAX_AT_ONCE` requests under way and begins at most `MAX_PER_SECOND`, whatever the link would bear. Requests
that are tried again (`lazyhttp`: with growing pauses, and as late as `Retry-After` asks) come on top.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

__all__ = ["MAX_AT_ONCE", "MAX_PER_SECOND", "RateLimiter", "ask_all"]

MAX_AT_ONCE = 8
"""Requests under way at the same time: what a browser allows itself, and a bit more."""

MAX_PER_SECOND = 50.0
"""Requests begun in any second."""

Job = TypeVar("Job")
T = TypeVar("T")


class RateLimiter:
    """Turns at equal distances: who asks for one is told how long to wait for it.

    Parameters
    ----------
    per_second
        How many turns a second there are at most; `inf` where nobody needs to be spared.
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
        """Wait for the next free turn. All who wait for one pace must run on one event loop."""
        await asyncio.sleep(self.reserve(asyncio.get_running_loop().time()))


def ask_all(
    queue: deque[Job],
    ask: Callable[[Job], Coroutine[Any, Any, T]],
    loop: asyncio.AbstractEventLoop,
    *,
    at_once: int,
) -> Generator[tuple[Job, Future[T]]]:
    """Each job of `queue` with its future, as they are done; `at_once` are under way meanwhile.

    Parameters
    ----------
    queue
        Emptied from its left. The caller may add to it while it goes through the answers.
    ask
        The coroutine that answers a job, run on `loop`.
    """
    under_way: dict[Future[T], Job] = {}
    try:
        while queue or under_way:
            while queue and len(under_way) < at_once:
                job = queue.popleft()
                under_way[asyncio.run_coroutine_threadsafe(ask(job), loop)] = job
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                yield under_way.pop(future), future
    finally:
        for future in under_way:
            future.cancel()
