"""The body of a response, received in few steps and to its end.

A long link delivers packet by packet. A step of the event loop for each of them costs more processor time
than the bytes themselves, so the system is asked to collect some packets first.
"""

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import aiohttp

from camhd_access.storage.lazyhttp.answers import Fault

__all__ = ["end_body", "receive_body"]

_MIN_STEPS = 4  # a body that takes fewer is received as it comes
_MAX_HELD_BYTES = 32 << 10  # received, but not yet decrypted: the longest record of TLS, for proxies twice
_MIN_BUFFER_STEPS = 16  # the buffer, and with it the rate of a new connection, would not grow in large steps
_LAST_CHUNK_SECONDS = 0.05


async def receive_body(
    response: aiohttp.ClientResponse, n_bytes: int, keep: Callable[[bytes], None], *, step_bytes: int
) -> None:
    """Pass the `n_bytes` of a body to `keep`; if it is interrupted, all received bytes, before the error.

    A long body of known length comes in steps of `step_bytes`, but for the first ones of a new connection and
    the last ones.
    """
    content = response.content
    is_long = response.content_length == n_bytes >= _MIN_STEPS * step_bytes
    with _collecting(response) as collect:
        try:
            while content.total_bytes < n_bytes and not content.at_eof():
                if is_long:
                    n_to_come = n_bytes - content.total_bytes - _MAX_HELD_BYTES
                    collect(max(1, min(step_bytes, n_to_come)))
                keep(await content.readany())
        finally:
            if rest := content._read_nowait(-1):  # noqa: SLF001 - its public twin raises the error
                keep(rest)


@contextmanager
def _collecting(response: aiohttp.ClientResponse) -> Iterator[Callable[[int], None]]:
    """A function that sets at how many bytes the system reports that there are some; 1 after the block.

    It also reports fewer if the connection ends, or if its buffer is full. Has no effect but on Linux.
    """
    transport = response.connection.transport if response.connection else None
    sock = transport.get_extra_info("socket") if transport and sys.platform == "linux" else None

    def collect(n_bytes: int) -> None:
        if sock is not None:
            with suppress(OSError):  # closed meanwhile
                n_buffer_bytes = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
                n_bytes = min(n_bytes, max(1, n_buffer_bytes // _MIN_BUFFER_STEPS))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, n_bytes)

    try:
        yield collect
    finally:
        collect(1)


async def end_body(response: aiohttp.ClientResponse, n_bytes: int) -> None:
    """Wait briefly for the end of a body after its `n_bytes`, so that the connection can be reused.

    Raises
    ------
    Fault
        There are more bytes.
    """
    content = response.content
    if content.total_bytes <= n_bytes and not content.is_eof():
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(_LAST_CHUNK_SECONDS):
                await content.wait_eof()
    if content.total_bytes > n_bytes:
        raise Fault("the body is longer than its Content-Length")
