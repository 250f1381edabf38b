"""One rate limit for many processes: a server that grants permits, and the client of each event loop.

Before each request a client asks for a permit, and gives it back when the response has been read. The server
bounds the permits in use and those granted per second. If a web server asks one client to slow down, the
client passes this on, and no permit is granted to anybody until then. A connection that ends gives back its
permits, so a process that is killed blocks nobody; nor does a machine that is cut off, for more than 30 s.

The protocol is lines of text: a client sends the token, then `ask N`, `done N` and `pause SECONDS`; the
server sends `go N`. `N` is a number chosen by the client. An address is `HOST:PORT/TOKEN`.
"""

import asyncio
import contextlib
import itertools
import secrets
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from camhd_access.errors import RemoteFileError

__all__ = ["PermitServer", "Permits", "PermitsLostError", "check_address"]

MAX_PAUSE_SECONDS = 300.0
"""Longest pause that a client can ask for."""

MAX_LINE_BYTES = 200
"""Longer lines are not of a client."""

CONNECT_SECONDS = 10.0
"""Longest wait for a connection to the permit server."""


_SILENCE_OPTIONS = (
    ("TCP_KEEPIDLE", 10),
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 4),
    ("TCP_USER_TIMEOUT", 30_000),
)
"""After 30 s without a sign of life a connection ends: seconds, probes, and milliseconds for unsent data."""


class PermitsLostError(RemoteFileError):
    """The permit server cannot be reached: its job has ended, or the network is cut."""


def check_address(address: str) -> tuple[str, int, str]:
    """Host, port and token of an address.

    Raises
    ------
    ValueError
        It is not an address of a permit server.
    """
    place, _, token = address.partition("/")
    host, _, port = place.rpartition(":")
    if not (host and port.isdigit() and token):
        raise ValueError("permits must be the address of a permit server: HOST:PORT/TOKEN")
    return host, int(port), token


class PermitServer:
    """Grants permits, in the order in which they are asked for. Runs on one event loop.

    Parameters
    ----------
    at_once
        Maximum number of permits in use.
    per_second
        Maximum number of permits granted per second; `inf` for no limit.
    """

    def __init__(self, *, at_once: int, per_second: float) -> None:
        self.at_once = at_once
        self.per_second = per_second
        self.token: str = secrets.token_hex(16)
        self.n_granted: int = 0
        """Permits granted so far."""
        self._next_turn = self._paused_until = float("-inf")
        self._waiting: deque[tuple[_Peer, str]] = deque()
        self._held: set[tuple[_Peer, str]] = set()
        self._peers: set[_Peer] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._server: asyncio.Server | None = None

    async def start(self, host: str) -> int:
        """Listen on a free port of `host`; the port."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Peer(self), host, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def aclose(self) -> None:
        """Close all connections."""
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            self._server.close()
        for peer in list(self._peers):
            peer.abort()
        await asyncio.sleep(0)

    def join(self, peer: "_Peer") -> None:
        """Note a new connection."""
        self._peers.add(peer)

    def leave(self, peer: "_Peer") -> None:
        """Take back the permits of a connection that has ended."""
        self._peers.discard(peer)
        self._waiting = deque(each for each in self._waiting if each[0] is not peer)
        self._held = {each for each in self._held if each[0] is not peer}
        self._grant()

    def obey(self, peer: "_Peer", command: str, value: str) -> None:
        """Act on one line of a client."""
        if command == "ask":
            self._waiting.append((peer, value))
        elif command == "done":
            self._held.discard((peer, value))
            with contextlib.suppress(ValueError):
                self._waiting.remove((peer, value))  # given up before it was granted
        elif command == "pause":
            seconds = min(float(value), MAX_PAUSE_SECONDS)
            self._paused_until = max(self._paused_until, asyncio.get_running_loop().time() + seconds)
        self._grant()

    def _grant(self) -> None:
        """Grant the permits that are free now, and come back when the next one may be."""
        loop = asyncio.get_running_loop()
        while self._waiting and len(self._held) < self.at_once:
            now = loop.time()
            turn = max(self._next_turn, self._paused_until)
            if turn > now:
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = loop.call_at(turn, self._grant)
                return
            peer, number = self._waiting.popleft()
            self._held.add((peer, number))
            self._next_turn = now + 1 / self.per_second
            self.n_granted += 1
            peer.send(f"go {number}")


def _notice_loss(connection: Any) -> None:  # noqa: ANN401 - a socket, as asyncio wraps it
    """Have the system end a connection whose other end is silent, as that of a machine that is cut off is."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SILENCE_OPTIONS:  # not every system has each of them
        if option := getattr(socket, name, None):
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


class _Lines(asyncio.Protocol):
    """A connection on which lines of text are received and sent."""

    transport: asyncio.Transport | None = None

    def __init__(self) -> None:
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of TCP
        _notice_loss(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            self.abort()
        for line in lines:
            self.line_received(line.decode(errors="replace"))

    def line_received(self, line: str) -> None:
        """Act on a line."""
        raise NotImplementedError

    def send(self, line: str) -> None:
        """Send a line, if the connection still exists."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(f"{line}\n".encode())

    def abort(self) -> None:
        """Close the connection now."""
        if self.transport is not None:
            self.transport.abort()


class _Peer(_Lines):
    """A client, as the server sees it."""

    def __init__(self, server: PermitServer) -> None:
        super().__init__()
        self._server = server
        self._is_known = False

    def line_received(self, line: str) -> None:
        if not self._is_known:
            self._is_known = secrets.compare_digest(line.encode(), self._server.token.encode())
            if self._is_known:
                self._server.join(self)
            else:
                self.abort()
            return
        command, _, value = line.partition(" ")
        try:
            self._server.obey(self, command, value)
        except ValueError:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._server.leave(self)


class _Connection(_Lines):
    """The connection to the server, as a client sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, asyncio.Future[None]] = {}
        self.is_lost = False

    def line_received(self, line: str) -> None:
        future = self.asked.pop(line.removeprefix("go "), None)
        if future is not None and not future.done():
            future.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        for future in self.asked.values():
            if not future.done():
                future.set_exception(ConnectionResetError(str(exc or "closed")))
        self.asked.clear()


class Permits:
    """The permits of one event loop, from a permit server; connects when it is first used."""

    def __init__(self, address: str) -> None:
        self._host, self._port, self._token = check_address(address)
        self._connection: _Connection | None = None
        self._numbers = itertools.count()
        self._connecting = asyncio.Lock()

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[None]:
        """A block that makes one request.

        Raises
        ------
        PermitsLostError
            The permit server does not respond: the job that started it has ended.
        """
        number = str(next(self._numbers))
        connection = await self._ask(number)
        try:
            yield
        finally:
            connection.send(f"done {number}")

    async def _ask(self, number: str) -> _Connection:
        """Wait for a permit; the connection that it is of."""
        try:
            connection = await self._connect()
            connection.asked[number] = asyncio.get_running_loop().create_future()
            connection.send(f"ask {number}")
            try:
                await connection.asked[number]
            except asyncio.CancelledError:
                connection.send(f"done {number}")
                raise
        except OSError as error:
            raise PermitsLostError(
                f"the server of permits at {self._host}:{self._port} does not respond ({error}): the job "
                "that limits the requests has ended"
            ) from error
        return connection

    async def _connect(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or self._connection.is_lost:
                loop = asyncio.get_running_loop()
                async with asyncio.timeout(CONNECT_SECONDS):
                    _, connection = await loop.create_connection(_Connection, self._host, self._port)
                connection.send(self._token)
                self._connection = connection
            return self._connection

    def pause(self, seconds: float) -> None:
        """Ask that nobody gets a permit for this time."""
        if self._connection is not None:
            self._connection.send(f"pause {seconds:.3f}")

    def close(self) -> None:
        """Close the connection; it opens again when needed."""
        if self._connection is not None:
            self._connection.abort()
