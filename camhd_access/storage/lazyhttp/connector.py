"""aiohttp's connector, extended for distant hosts and forked processes.

A new connection starts slowly: it carries some 14 kB in its first round trip, and twice as much in each
further one (RFC 5681, section 3.1; RFC 6928). Over a long round trip, several connections fetch a frame
sooner than one. So the first connection to a distant host opens some more, while its own first request is
in flight.
"""

import asyncio
import os
import socket
import struct
import warnings
from typing import Any

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

__all__ = ["N_PARTS", "Connector"]

N_PARTS = 4
"""Connections kept open to a distant host, for the parts of one range."""

_TCP_INFO_RTT = 68  # offset of tcpi_rtt, in microseconds, in Linux's struct tcp_info


class Connector(aiohttp.TCPConnector):
    """A connector with extra connections to distant hosts, which leaves its sockets open in a forked child.

    Closing them there would take them out of the epoll set that the child shares with its parent.
    """

    def __init__(self, *, keepalive_limit: int, long_link_seconds: float) -> None:
        super().__init__(limit=0, limit_per_host=keepalive_limit)
        self._pid = os.getpid()
        self._long_link_seconds = long_link_seconds
        self._n_more = min(N_PARTS, keepalive_limit) - 1
        self.round_trip_seconds: dict[URL, float] = {}
        self._warming: set[asyncio.Task[None]] = set()

    def is_long(self, origin: URL) -> bool:
        """Whether the round trip to the host is known to be long."""
        return self.round_trip_seconds.get(origin, -1.0) >= self._long_link_seconds

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - as in aiohttp
    ) -> Connection:
        """A connection for `req`; the first one to a distant host opens more in the background."""
        connection = await super().connect(req, traces, timeout)
        origin = req.url.origin()
        if origin not in self.round_trip_seconds:
            self.round_trip_seconds[origin] = _round_trip_seconds(connection.transport)
            if self.is_long(origin):
                task = asyncio.create_task(self._open_more(req, timeout))
                self._warming.add(task)
                task.add_done_callback(self._warming.discard)
        return connection

    async def _open_more(self, req: aiohttp.ClientRequest, limits: aiohttp.ClientTimeout) -> None:
        opened = await asyncio.gather(
            *(super(Connector, self).connect(req, [], limits) for _ in range(self._n_more)),
            return_exceptions=True,  # the request that needs one retries and reports the error
        )
        for connection in opened:
            if isinstance(connection, Connection):
                connection.release()

    def _release(self, key: Any, protocol: Any, **options: Any) -> None:  # noqa: ANN401 - as in aiohttp
        """Return a connection, to be reused first: its congestion window has grown."""
        super()._release(key, protocol, **options)
        idle = self._conns.get(key)
        if idle and idle[-1][0] is protocol:
            idle.rotate(1)

    def close(self, *, abort_ssl: bool = False) -> Any:  # noqa: ANN401, D102 - as in aiohttp
        for task in self._warming:
            task.cancel()
        return super().close(abort_ssl=abort_ssl)

    def __del__(self, _warnings: Any = warnings) -> None:  # noqa: ANN401 - as in aiohttp
        if self._pid == os.getpid():
            super().__del__(_warnings)


def _round_trip_seconds(transport: asyncio.BaseTransport | None) -> float:
    """The round trip that the kernel measured while connecting; 0 if not available (not Linux)."""
    sock = transport.get_extra_info("socket") if transport else None
    if sock is None or not hasattr(socket, "TCP_INFO"):
        return 0.0
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_RTT + 4)
    (microseconds,) = struct.unpack_from("I", info, _TCP_INFO_RTT)
    return float(microseconds) / 1e6
