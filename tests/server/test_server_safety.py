"""The server with slow, large or many clients: others are still served."""

import asyncio
import logging
import shlex
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from lazycache import Client, running_server
from origin import honest, running_origin
from running_server import COMMAND, fetch, read_address, serving, wait_until

from camhd_access.server import application
from camhd_access.server.serving import LIMITS
from camhd_access.synthetic import serve_folder, write_movie


def connect(client):
    return closing(socket.create_connection(("127.0.0.1", client.port), timeout=100))


def read_to_end(connection):
    """All bytes received until the other side closes or resets the connection."""
    got = b""
    try:
        while piece := connection.recv(65536):
            got += piece
    except ConnectionError:
        pass
    return got


def drip(connection, text):
    """Send one byte at a time until the other side has hung up; whether it did before the end."""
    connection.settimeout(0.02)
    for byte in text:
        try:
            connection.sendall(bytes([byte]))
            if connection.recv(65536) == b"":
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


def test_headers_that_drip_are_cut_off(served_movie, tmp_path):
    limits = LIMITS | {"keepalive_timeout": 0.5}
    with (
        running_server(served_movie.url, cache_dir=tmp_path, limits=limits) as client,
        connect(client) as slow,
    ):
        assert drip(slow, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"x" * 4000)


def test_bodies_that_drip_are_cut_off(served_movie, tmp_path):
    limits = LIMITS | {"lingering_time": 0.3}
    with (
        running_server(served_movie.url, cache_dir=tmp_path, limits=limits) as client,
        connect(client) as slow,
    ):
        slow.sendall(b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert slow.recv(65536).startswith(b"HTTP/1.1 405 ")
        assert drip(slow, b"x" * 4000)


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"]
)
def test_many_slow_clients_keep_nobody_out(served_movie, movie_path, tmp_path, sent):
    with (
        running_server(served_movie.url, cache_dir=tmp_path, max_concurrency=1) as client,
        ExitStack() as stack,
    ):
        for _ in range(300):
            stack.enter_context(connect(client)).sendall(sent)
        assert client.get(f"{movie_path.name}/frame/7").status == 200


def test_bodies_are_not_inflated(served_movie, tmp_path):
    """Zeros compress a thousand to one: inflating half a megabyte would take seconds."""
    head = "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n"
    with running_server(served_movie.url, cache_dir=tmp_path) as client, connect(client) as connection:
        connection.sendall(head.encode() + b"not gzip." + b"GET /healthz HTTP/1.0\r\n\r\n")
        assert read_to_end(connection).endswith(b"\r\n\r\nok")


def test_pipelined_requests_are_answered_one_after_the_other(served_movie, movie_path, tmp_path):
    n = 200
    with (
        running_server(served_movie.url, cache_dir=tmp_path, max_queue=0) as client,
        connect(client) as connection,
    ):
        lines = [
            f"GET {client.at(movie_path.name)}/frame/{i % 40 + 1}.jpg HTTP/1.1\r\nHost: x\r\n\r\n"
            for i in range(n)
        ]
        connection.sendall("".join(lines).encode() + b"GET /healthz HTTP/1.0\r\n\r\n")
        assert read_to_end(connection).count(b"HTTP/1.1 200 OK") == n


def test_clients_that_stop_reading_are_cut_off(served_movie, movie_path, tmp_path, monkeypatch, caplog):
    """Long before the time that the answer may take is over, and not while they read, however slowly."""
    caplog.set_level(logging.INFO, "camhd_access")
    n_pauses, sleep = threading.Semaphore(0), asyncio.sleep

    async def pause(seconds, *result):
        is_stall = seconds == application.STALL_SECONDS
        while is_stall and not n_pauses.acquire(blocking=False):
            await sleep(0.001)
        return await sleep(0 if is_stall else seconds, *result)

    monkeypatch.setattr(asyncio, "sleep", pause)
    with running_server(served_movie.url, cache_dir=tmp_path) as client, closing(socket.socket()) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        slow.settimeout(100)
        slow.connect(("127.0.0.1", client.port))
        path = f"{client.at(movie_path.name)}/frame/1.bmp?width=4000&height=4000"
        slow.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = slow.makefile("rb")
        for _ in range(4):  # more each time than the system keeps, so that the server sends some
            assert len(answer.read(8 << 20)) == 8 << 20
            n_pauses.release()
            wait_until(lambda: not n_pauses._value)
        assert "stopped receiving" not in caplog.text
        n_pauses.release(3)
        wait_until(lambda: "the client stopped receiving" in caplog.text)
        assert len(read_to_end(slow)) < 8 << 20  # of 14 MB; what the system keeps


@pytest.mark.parametrize("target", ["frame/1?width=" + "1" * 5000, "frame/" + "1" * 2000, "x" * 30000])
def test_what_is_too_long_is_told(served_movie, movie_path, tmp_path, target):
    with running_server(served_movie.url, cache_dir=tmp_path) as client:
        answer = client.get(f"{movie_path.name}/{target}")
        assert (answer.status, answer.json()["status"]) == (414, 414)


@pytest.mark.parametrize(
    "made", ["frame/1.webp?width=16384&height=1", "sheet.webp?every=0.01&columns=40&width=1280"]
)
def test_pictures_longer_than_their_format_has_are_refused(tmp_path, made):
    write_movie(tmp_path / "wide.mov", n_frames=20, width=1280, height=64)
    with serve_folder(tmp_path) as mirror, running_server(mirror.url, cache_dir=tmp_path / "cache") as client:
        assert client.get(f"wide.mov/{made}").status == 400


def test_films_hold_up_no_frames(served_movie, movie_path, tmp_path):
    with (
        running_server(served_movie.url, cache_dir=tmp_path, max_concurrency=1, max_queue=20) as client,
        ExitStack() as stack,
    ):
        client.get(movie_path.name)
        for i in range(20):
            film = stack.enter_context(connect(client))
            path = f"{client.at(movie_path.name)}/animation.webp?stop=20&width={320 - 2 * i}"
            film.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.get(f"{movie_path.name}/frame/7").status == 200
        assert client.figure('camhd_access_work_running{gate="films"}') == 1


def test_memory_is_bounded(served_movie, movie_path, tmp_path):
    """A hundred images of 6 MB each take only the memory of cached and in-flight ones."""
    own = ("--port", 0, "--mirror", served_movie.url, "--cache-dir", tmp_path, "--metrics-port", 0)
    with serving(*own) as (process, address):
        figures = read_address(process) + "/metrics"
        client = Client(urlsplit(address).port, served_movie.url, lambda: fetch(figures).body)
        path = f"{movie_path.name}/frame/{{}}.bmp?width={{}}&height=1000"
        client.get(path.format(1, 1000))
        before = peak_bytes(process.pid)
        for i in range(100):
            assert len(client.get(path.format(i % 40 + 1, 2000 + i)).content) > 6_000_000
        assert client.figure('cache_size{store="made_files"}') <= 128 << 20
        assert peak_bytes(process.pid) - before < 300 << 20


def peak_bytes(pid):
    """Peak memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def test_command_finishes_what_is_under_way(tmp_path, movie_path):
    arrived, go_on = threading.Event(), threading.Event()

    def waits(x):
        arrived.set()
        go_on.wait(300)
        honest(x)

    with running_origin() as origin:
        origin.put("/movie.mov", movie_path.read_bytes())
        with serving("--port", 0, "--mirror", origin.url, "--cache-dir", tmp_path) as (process, address):
            client = Client(urlsplit(address).port, f"{origin.url}/")
            client.get("movie.mov")
            origin.play("/movie.mov", waits)
            answers = []
            asking = threading.Thread(target=lambda: answers.append(client.get("movie.mov/frame/7")))
            asking.start()
            assert arrived.wait(300)
            process.terminate()
            go_on.set()
            asking.join()
            assert answers[0].status == 200
            assert process.wait(300) == 0
            assert "Traceback" not in process.stderr.read()


def test_crowds_do_not_fill_the_log(served_movie, movie_path, tmp_path):
    """More connections than files may be open, and requests that are no HTTP: a line or two, no traceback."""
    limit = f'ulimit -n 100; exec {shlex.join(COMMAND)} "$@"'
    command = [
        "bash",
        "-c",
        limit,
        "camhd",
        "--port",
        "0",
        "--mirror",
        served_movie.url,
        "--cache-dir",
        tmp_path,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        client = Client(urlsplit(read_address(process)).port, served_movie.url)
        with connect(client) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")  # no Host
            assert read_to_end(stranger).startswith(b"HTTP/1.0 400 ")
        with ExitStack() as crowd:
            for _ in range(150):
                crowd.enter_context(connect(client))
            said = ""
            while "all file descriptors are in use" not in said:
                said += (line := process.stderr.readline())
                assert line, said
            time.sleep(1)
        assert client.get(f"{movie_path.name}/frame/7").status == 200
        process.terminate()
        said += process.stderr.read()
        assert said.count("all file descriptors are in use") == 1
        assert "Traceback" not in said
