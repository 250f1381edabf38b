"""The pooled connections of one event loop: a limited number of requests per host, with counters.

aiohttp's sessions belong to one event loop of one process; connections that a forked child inherits still
belong to its parent. So there is one `Connections` per process and loop, made on first use and closed when
its owner is dropped or the process ends, unless a thread is still reading.
"""

import asyncio
import contextlib
import os
import time
import weakref
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass

import aiohttp
from yarl import URL

from camhd_access._version import __version__
from camhd_access.storage.lazyhttp.connector import Connector
from camhd_access.storage.lazyhttp.permits import Permits

__all__ = ["Connections", "TransferStats"]

_READ_BUFFER_BYTES = 1 << 20
_PAUSE_SECONDS = 1.0  # if an overloaded server does not say how long to wait
_MEMORY = 0.5 ** (1 / 64)  # the last 64 requests have half of the weight

REST_SECONDS = 1.0
"""After an idle time-out a server starts slowly again (RFC 5681, section 4.1)."""


@dataclass(frozen=True, slots=True)
class TransferStats:
    """Transfers so far; subtract two snapshots to get the transfers in between."""

    requests: int = 0
    """HTTP requests sent, including redirects and retries."""
    bytes: int = 0
    """Bytes of bodies received."""
    retries: int = 0
    """Tries after the first one of each request."""
    seconds: float = 0.0
    """Total time of all requests (concurrent ones add up), without waiting for a slot."""

    def __add__(self, other: "TransferStats") -> "TransferStats":
        return TransferStats(
            self.requests + other.requests,
            self.bytes + other.bytes,
            self.retries + other.retries,
            self.seconds + other.seconds,
        )

    def __sub__(self, other: "TransferStats") -> "TransferStats":
        return TransferStats(
            self.requests - other.requests,
            self.bytes - other.bytes,
            self.retries - other.retries,
            self.seconds - other.seconds,
        )


class _Link:
    """The transfer rate of one host, without the round trip of each request."""

    def __init__(self) -> None:
        self._n_bytes = self._seconds = 0.0
        self._last = -REST_SECONDS

    def has_rested(self) -> bool:
        """Whether the connection has been idle so long that the server's windows are small again."""
        return time.monotonic() - self._last >= REST_SECONDS

    def touch(self) -> None:
        """Note that bytes have just arrived."""
        self._last = time.monotonic()

    def weigh(self, n_bytes: int, seconds: float) -> None:
        """Count a response that took `seconds` longer than a round trip; older ones lose weight."""
        self._n_bytes = _MEMORY * self._n_bytes + n_bytes
        self._seconds = _MEMORY * self._seconds + max(0.0, seconds)

    def bytes_in(self, seconds: float) -> float:
        """Bytes that one request receives in this time, with the present number of requests in flight."""
        return seconds * self._n_bytes / self._seconds if self._seconds else 0.0


class Connections:
    """Session, slots and counters of the running event loop.

    Parameters
    ----------
    max_concurrency
        Concurrent requests to one host (scheme, name and port).
    connect_timeout_seconds, stall_timeout_seconds
        Longest wait for a connection, and for the next byte of a response.
    long_link_seconds
        Round trip from which a host is distant.
    permits
        Address of a server that grants permits for requests; empty for none.
    """

    def __init__(
        self,
        *,
        max_concurrency: int,
        connect_timeout_seconds: float,
        stall_timeout_seconds: float,
        long_link_seconds: float,
        permits: str = "",
    ) -> None:
        self._connector = Connector(keepalive_limit=max_concurrency, long_link_seconds=long_link_seconds)
        self.session = aiohttp.ClientSession(
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(
                sock_connect=connect_timeout_seconds, sock_read=stall_timeout_seconds
            ),
            headers={"User-Agent": f"camhd_access/{__version__}", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.CookieJar(unsafe=True, quote_cookie=False),  # also for IP addresses
            auto_decompress=False,
            read_bufsize=_READ_BUFFER_BYTES,
        )
        # aiohttp would silently resend a request without a response: uncounted, and without a pause.
        self.session._retry_connection = False  # noqa: SLF001
        self.permits: Permits | None = Permits(permits) if permits else None
        self.probing = asyncio.Lock()
        """Held while finding out whether replicas of a file disagree."""
        self.requests = self.bytes = self.retries = 0
        self.seconds = 0.0
        self._slots: defaultdict[URL, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(max_concurrency)
        )
        self._links: defaultdict[URL, _Link] = defaultdict(_Link)
        self._n_fetching: defaultdict[URL, int] = defaultdict(int)
        self._n_requests = 0  # admitted, or waiting for it

    @asynccontextmanager
    async def admission(self, url: URL) -> AsyncIterator[None]:
        """The right to send one request to the host of `url`; held for that request only, never nested.

        It includes a permit from the server that all processes share, if there is one. Until the block ends,
        the end of the process leaves the connections open.
        """
        permit = nullcontext() if self.permits is None else self.permits.permit()
        self._n_requests += 1
        try:
            async with self._slots[url.origin()], permit:
                yield
        finally:
            self._n_requests -= 1

    def slow_down(self, seconds: float | None) -> None:
        """Hold the requests of all processes that share the permits; None if the server names no time."""
        if self.permits is not None:
            self.permits.pause(_PAUSE_SECONDS if seconds is None else seconds)

    @contextmanager
    def fetching(self, url: URL) -> Iterator[bool]:
        """A block that fetches one range; yields whether to fetch it in parts.

        True if it is the only one, the host is distant, and its connections were idle, so that they
        all start slowly again. A connection that was just used is faster than several idle ones. Where
        requests are counted for many processes, several for one range would be the permits of others.
        """
        origin = url.origin()
        is_alone = not self._n_fetching[origin] and self.permits is None
        self._n_fetching[origin] += 1
        try:
            yield is_alone and self._connector.is_long(origin) and self._links[origin].has_rested()
        finally:
            self._n_fetching[origin] -= 1

    def receive(self, url: URL, n_bytes: int) -> None:
        """Count received bytes of a body."""
        self.bytes += n_bytes
        self._links[url.origin()].touch()

    def weigh(self, url: URL, n_bytes: int, seconds: float) -> None:
        """Update the estimated rate from a response of `n_bytes` that occupied a slot for this time."""
        origin = url.origin()
        self._links[origin].weigh(n_bytes, seconds - self._connector.round_trip_seconds.get(origin, 0.0))

    def request_worth_bytes(self, url: URL) -> float:
        """Bytes that a slot of the host could receive in the round trip of one more request."""
        origin = url.origin()
        return self._links[origin].bytes_in(self._connector.round_trip_seconds.get(origin, 0.0))

    @property
    def stats(self) -> TransferStats:
        """Snapshot of the counters."""
        return TransferStats(self.requests, self.bytes, self.retries, self.seconds)

    def close_with(self, owner: object) -> None:
        """Close the session when `owner` is garbage-collected, at the latest when the process ends."""
        weakref.finalize(owner, _close, self, asyncio.get_running_loop(), os.getpid())

    async def close_unused(self) -> None:
        """Close all connections, unless there are requests."""
        if not self._n_requests:
            await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        if self.permits is not None:
            self.permits.close()
        await self.session.close()


def _close(connections: Connections, loop: asyncio.AbstractEventLoop, pid: int) -> None:
    if pid != os.getpid():
        connections.session.detach()
        return
    if not loop.is_running() or connections.session.closed:
        return
    closing = asyncio.run_coroutine_threadsafe(connections.close_unused(), loop)
    with contextlib.suppress(RuntimeError):  # no loop runs in this thread, so it may block
        if asyncio.get_running_loop() is loop:
            return
    with contextlib.suppress(TimeoutError):
        closing.result(timeout=1)
