"""Bytes over bare sockets, without any checks: the upper limit of what a link can deliver."""

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

__all__ = ["BareConnection", "BareConnections"]

PIECE_BYTES = 1 << 18


class BareConnection:
    """One kept connection to the server of one file."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nRange: bytes="
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = memoryview(bytearray(PIECE_BYTES))

    def close(self) -> None:
        self._socket.close()

    def read(self, spec: str) -> int:
        """Number of bytes received for a range as HTTP writes it: `0-9`, or `-10` for the last ten."""
        self._socket.sendall(f"{self._request}{spec}\r\n\r\n".encode())
        n_received = self._socket.recv_into(self._buffer)
        while (end := bytes(self._buffer[:n_received]).find(b"\r\n\r\n")) < 0:
            n_received += self._socket.recv_into(self._buffer[n_received:])
        head = bytes(self._buffer[:end]).decode().lower()
        assert head.startswith("http/1.1 206"), head
        n_bytes = int(head.partition("content-length:")[2].split()[0])
        n_left = n_bytes - (n_received - end - 4)
        while n_left:
            n_left -= self._socket.recv_into(self._buffer[: min(n_left, PIECE_BYTES)])
        return n_bytes


class BareConnections:
    """Several connections at work at once, each in a thread of its own."""

    def __init__(self, url: str, n: int) -> None:
        self._stack = ExitStack()
        self._pool = self._stack.enter_context(ThreadPoolExecutor(n))
        self._idle: list[BareConnection] = []
        self._url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def read(self, specs: Sequence[str]) -> int:
        """Number of bytes received for all ranges."""
        return sum(self._pool.map(self._read_one, specs))

    def _connect(self) -> BareConnection:
        connection = BareConnection(self._url)
        self._stack.callback(connection.close)
        return connection

    def _read_one(self, spec: str) -> int:
        connection = self._idle.pop() if self._idle else self._connect()
        n_bytes = connection.read(spec)
        self._idle.append(connection)
        return n_bytes
