"""A long link emulated by a TCP proxy, for users without permission for network namespaces.

Each direction hands bytes over half a round trip after they came, and all connections share one rate. Both
ends speak TCP over loopback, so there is no slow start, and connecting takes one round trip by decree:
figures are kinder to new connections than a real link is. Run as
`python -m benchmarks.proxy PORT MBIT RTT_MS`; it prints its port, and works until its standard input ends.
"""

import asyncio
import contextlib
import sys
import time

__all__ = []

PIECE_BYTES = 1 << 16
QUEUE_PIECES = 128


class Pace:
    """The rate of one direction, which all connections share."""

    def __init__(self, mbit: float) -> None:
        self._bytes_per_second = mbit * 1e6 / 8
        self._free_at = 0.0

    def departure(self, n_bytes: int) -> float:
        """When the last of `n_bytes` that are here now leaves."""
        self._free_at = max(time.monotonic(), self._free_at) + n_bytes / self._bytes_per_second
        return self._free_at


async def forward(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pace: Pace, delay_seconds: float
) -> None:
    """Bytes of one direction of one connection, later."""
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUE_PIECES)

    async def give() -> None:
        while True:
            arrival, data = await queue.get()
            await asyncio.sleep(arrival - time.monotonic())
            if not data:
                break
            writer.write(data)
            await writer.drain()

    giving = asyncio.create_task(give())
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(PIECE_BYTES):
            await queue.put((pace.departure(len(data)) + delay_seconds, data))
    await queue.put((time.monotonic() + delay_seconds, b""))
    with contextlib.suppress(ConnectionError):
        await giving
    writer.close()


async def serve(target_port: int, mbit: float, rtt_seconds: float) -> None:
    """Forward until standard input ends."""
    up, down = Pace(mbit), Pace(mbit)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(rtt_seconds)  # the handshake
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target_port)
        await asyncio.gather(
            forward(reader, far_writer, up, rtt_seconds / 2),
            forward(far_reader, writer, down, rtt_seconds / 2),
        )

    server = await asyncio.start_server(connect, "127.0.0.1", 0, limit=PIECE_BYTES)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]) / 1000))
