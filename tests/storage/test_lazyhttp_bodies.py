"""Bodies: received in few steps, whole or interrupted, over connections that are afterwards as before."""

import asyncio
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress

import aiohttp
import pytest
from origin import Done, breaks_off

from camhd_access.storage.lazyhttp.bodies import end_body, receive_body
from camhd_access.storage.lazyhttp.settings import Settings

SIZE = 512 << 10
PACKET_BYTES = 4096
STEP_BYTES = 64 << 10

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems report each packet")


def sends_packets(n_bytes, *, stalls=False):
    """A body in small packets, with pauses between them."""

    def behave(x):
        x.partial(send=False)
        for at in range(0, n_bytes, PACKET_BYTES):
            x.body(x.file.data, at, min(n_bytes, at + PACKET_BYTES))
            time.sleep(0.002)
        if stalls:
            x.stall()
        if n_bytes < SIZE:
            raise Done

    return behave


@pytest.fixture
def url(origin):
    return origin.put("/movie", SIZE)


@pytest.fixture
def content(origin, url):
    return origin.files["/movie"].data[:SIZE]


@asynccontextmanager
async def responding(url):
    """A response, whose body is then read, and its socket."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={"Range": f"bytes=0-{SIZE - 1}"}) as response,
    ):
        yield response, response.connection.transport.get_extra_info("socket")


def low_water_mark(sock):
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


@on_linux
def test_a_long_body_takes_few_steps(origin, url, content):
    origin.play("/movie", sends_packets(SIZE))
    chunks = []

    async def run():
        async with responding(url) as (response, sock):

            def keep(chunk):
                chunks.append(chunk)  # where a step takes more of the buffer, new connections stay slow
                assert low_water_mark(sock) <= sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) / 16

            await receive_body(response, SIZE, keep, step_bytes=STEP_BYTES)
            await end_body(response, SIZE)
            return low_water_mark(sock)

    assert asyncio.run(run()) == 1  # the next response may be short
    assert b"".join(chunks) == content
    assert len(chunks) <= 0.7 * SIZE // PACKET_BYTES  # none but the last 32 KiB came in packets


@on_linux
def test_a_cancelled_body_keeps_what_was_received(origin, url, content):
    origin.play("/movie", sends_packets(SIZE // 2, stalls=True))
    chunks = []

    async def run():
        async with responding(url) as (response, sock):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await receive_body(response, SIZE, chunks.append, step_bytes=STEP_BYTES)
            return low_water_mark(sock)

    assert asyncio.run(run()) == 1
    assert content.startswith(b"".join(chunks))


@pytest.mark.parametrize("n_bytes", [0, 100, 300_001])
@pytest.mark.parametrize("step_bytes", [STEP_BYTES, SIZE])
def test_all_received_bytes_of_an_interrupted_body_are_kept(origin, url, content, n_bytes, step_bytes):
    origin.play("/movie", breaks_off(n_bytes))
    chunks = []

    async def run():
        async with responding(url) as (response, _):
            await receive_body(response, SIZE, chunks.append, step_bytes=step_bytes)

    with pytest.raises(aiohttp.ClientPayloadError):
        asyncio.run(run())
    assert b"".join(chunks) == content[:n_bytes]


@contextmanager
def serving_tls(certificate, n_last):
    """The URL of a server that sends the last `n_last` encrypted bytes of its response a little later."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)

    def respond(sock):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        encrypted = context.wrap_bio(incoming, outgoing, server_side=True)

        def until_done(step):
            while True:
                with suppress(ssl.SSLWantReadError):
                    step()
                    return
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(1 << 16))

        until_done(encrypted.do_handshake)
        until_done(lambda: encrypted.read(1 << 16))
        encrypted.write(b"HTTP/1.1 206 X\r\nContent-Length: %d\r\n\r\n" % SIZE)
        encrypted.write(bytes(SIZE))
        sent = outgoing.read()
        sock.sendall(sent[:-n_last])
        time.sleep(0.3)  # the client decrypts all whole records
        sock.sendall(sent[-n_last:])
        sock.recv(1)

    def serve():
        with listener.accept()[0] as sock:
            respond(sock)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve)
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
        served.result()


@pytest.mark.parametrize("n_last", [1, 1000, 15_000, 40_000])
def test_records_of_tls_that_arrive_in_parts(certificate, n_last):
    chunks = []
    trusting = ssl.create_default_context(cafile=certificate[0])

    async def run(url):
        async with aiohttp.ClientSession() as session, session.get(url, ssl=trusting) as response:
            async with asyncio.timeout(60):
                await receive_body(response, SIZE, chunks.append, step_bytes=STEP_BYTES)

    with serving_tls(certificate, n_last) as url:
        asyncio.run(run(url))
    assert b"".join(chunks) == bytes(SIZE)


def test_a_step_is_short_enough_for_the_slowest_acceptable_server():
    assert Settings().step_bytes == STEP_BYTES
    assert Settings(stall_timeout_seconds=4, min_bytes_per_second=1000).step_bytes == 1000
    assert Settings(stall_timeout_seconds=0.1, min_bytes_per_second=1).step_bytes == 1
