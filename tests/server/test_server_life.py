"""The server's connections, its image store, startup and shutdown."""

import http.client
import json
import logging
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
from lazycache import running_server
from origin import honest, running_origin
from running_server import fetch, wait_until

from camhd_access.server.serving import LIMITS
from camhd_access.synthetic import serve_folder


def until_closed(connection):
    """All bytes received until the other side closes the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_connections_that_do_not_ask_are_closed(served_movie, tmp_path, sent):
    limits = LIMITS | {"keepalive_timeout": 0.5}
    with (
        running_server(served_movie.url, cache_dir=tmp_path, limits=limits) as client,
        socket.create_connection(("127.0.0.1", client.port), timeout=100) as connection,
    ):
        connection.sendall(sent)
        assert until_closed(connection) == b""


def test_idle_connections_are_closed(served_movie, tmp_path):
    limits = LIMITS | {"keepalive_timeout": 0.5}
    with (
        running_server(served_movie.url, cache_dir=tmp_path, limits=limits) as client,
        socket.create_connection(("127.0.0.1", client.port), timeout=100) as connection,
    ):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /heal")
        assert until_closed(connection).endswith(b"\r\n\r\nok")


@pytest.mark.parametrize("header", ["X: " + "x" * 5000, "\r\n".join(f"X{i}: 1" for i in range(100))])
def test_large_headers_are_refused(served_movie, tmp_path, header):
    with (
        running_server(served_movie.url, cache_dir=tmp_path) as client,
        socket.create_connection(("127.0.0.1", client.port), timeout=100) as connection,
    ):
        connection.sendall(f"GET /healthz HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        assert b" 400 " in connection.recv(65536).splitlines()[0]


@contextmanager
def lazy_clients(client, paths):
    """Clients that send a request and read only the first bytes of the response."""
    with ExitStack() as stack:
        for path in paths:
            connection = socket.socket()
            stack.enter_context(connection)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", client.port))
            connection.sendall(f"GET {client.at(path)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert connection.recv(15).startswith(b"HTTP/1.1 200")
        yield


def test_clients_that_do_not_read_hold_no_worker(served_movie, movie_path, tmp_path):
    paths = [f"{movie_path.name}/frame/{n}.npy?pix_fmt=rgb48le" for n in range(1, 31)]
    with (
        running_server(served_movie.url, cache_dir=tmp_path, max_concurrency=1) as client,
        lazy_clients(client, paths),
    ):
        assert client.get(f"{movie_path.name}/frame/40").status == 200


def test_clients_that_do_not_read_hold_bounded_memory(served_movie, movie_path, tmp_path):
    path = f"{movie_path.name}/frame/1.bmp?width=2000&height=2000"  # 12 MB, more than sockets take
    with running_server(served_movie.url, cache_dir=tmp_path, memory=200 << 20) as client:
        with lazy_clients(client, [path] * 2):  # of a quarter of half of it, which is one client's
            refused = client.get(path)
            assert refused.status == 503
            assert int(refused.headers["Retry-After"]) > 0
            assert client.get("/healthz").status == 200
            assert client.get(f"{movie_path.name}/frame/1").status == 200
        while client.get(path).status == 503:
            time.sleep(0.1)  # until it has noticed that they left


def test_clients_that_do_not_read_are_cut_off(served_movie, movie_path, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "camhd_access")
    monkeypatch.setattr("camhd_access.server.application.SEND_SECONDS", 0.3)
    monkeypatch.setattr("camhd_access.server.application.MIN_BYTES_PER_SECOND", 1 << 30)
    with running_server(served_movie.url, cache_dir=tmp_path) as client:
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=100)
        connection.request("GET", client.at(f"{movie_path.name}/frame/1.bmp?width=2000&height=2000"))
        response = connection.getresponse()
        wait_until(lambda: "the client was too slow" in caplog.text)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
        connection.close()


# ---- the store


def test_stored_pictures_are_read_again(served_movie, movie_path, tmp_path):
    store = str(tmp_path / "store")
    options = {"cache_dir": tmp_path / "cache", "image_store": store}
    with running_server(served_movie.url, **options) as client:
        made = client.get(f"{movie_path.name}/frame/7.png")
        client.get(f"{movie_path.name}/frame/7.rgba")
        small = client.get(f"{movie_path.name}/frame/7.png?width=64")
    assert len(list((tmp_path / "store" / "camhd-pictures").rglob("*.png"))) == 2
    assert not list((tmp_path / "store").rglob("*.rgba"))
    with running_server(served_movie.url, **options) as client:
        assert client.get(f"{movie_path.name}/frame/7.png").content == made.content
        assert client.get(f"{movie_path.name}/frame/7.png?width=64").content == small.content
        assert client.figure('camhd_access_work_total{gate="pictures"}') == 0
        assert client.figure("camhd_access_image_store_pictures") == 2
        assert client.figure("camhd_access_image_store_failures_total") == 0


def test_public_store_answers_itself(served_movie, movie_path, tmp_path):
    (tmp_path / "store").mkdir()
    with (
        serve_folder(tmp_path / "store") as public,
        running_server(
            served_movie.url,
            cache_dir=tmp_path / "cache",
            image_store=str(tmp_path / "store"),
            image_store_url=public.url,
        ) as client,
    ):
        made = client.get(f"{movie_path.name}/frame/7.jpg")
        assert made.status == 200
        wait_until(lambda: client.get(f"{movie_path.name}/frame/7.jpg").status == 307)  # it is written
        answer = client.get(f"{movie_path.name}/frame/7.jpg")
        assert answer.status == 307
        assert answer.headers["Content-Type"] == "image/jpeg"
        location = answer.headers["Location"]
        assert location.startswith(public.url)
        connection = http.client.HTTPConnection("127.0.0.1", public.server_port)
        connection.request("GET", location.removeprefix(public.url.rstrip("/")))
        assert connection.getresponse().read() == made.content
        connection.close()
        assert (
            client.get(f"{movie_path.name}/frame/7.jpg", {"If-None-Match": made.headers["ETag"]}).status
            == 304
        )


def test_a_private_store_answers_by_signed_urls(served_movie, movie_path, tmp_path, s3, monkeypatch):
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("ENDPOINT_URL", s3.url)):
        monkeypatch.setenv(f"AWS_{name}", value)
    settings = {"image_store": f"s3://{s3.bucket()}", "image_store_sign": 900}
    with running_server(served_movie.url, cache_dir=tmp_path, **settings) as client:
        made = client.get(f"{movie_path.name}/frame/7.jpg")
        wait_until(lambda: client.get(f"{movie_path.name}/frame/7.jpg").status == 307)  # it is written
        answer = client.get(f"{movie_path.name}/frame/7.jpg")
        assert fetch(answer.headers["Location"]).body == made.content
        assert "Cache-Control" not in answer.headers  # the URL expires
        policy = client.get("/page/app.js").headers["Content-Security-Policy"]
        assert f"img-src 'self' {s3.url};" in policy


# ---- beginning and end


SERVE = """
import logging, sys
from pathlib import Path
from camhd_access.server import ServerSettings, run_server
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
run_server(ServerSettings(mirrors=(sys.argv[1],), cache_dir=Path(sys.argv[2]), port=0))
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_flight_finish(movie_path, tmp_path, how):
    arrived, go_on = threading.Event(), threading.Event()

    def waits(x):
        arrived.set()
        go_on.wait(300)
        honest(x)

    with running_origin() as origin:
        origin.put("/movie.mov", movie_path.read_bytes())
        origin.play("/movie.mov", waits)
        with subprocess.Popen(
            [sys.executable, "-c", SERVE, f"{origin.url}/", str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                port = next(
                    int(found[1]) for line in process.stdout if (found := re.search(r":(\d+) =", line))
                )
                host = origin.url.removeprefix("http://").split(".")
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
                connection.request("GET", f"/v1/{'/'.join(reversed(host))}/movie.mov")
                assert arrived.wait(300)
                process.send_signal(how)
                wait_until_closed(port)
                go_on.set()
                response = connection.getresponse()
                assert response.status == 200
                assert json.loads(response.read())["NumFrames"] == 40
                connection.close()
                rest = process.stdout.read()
                assert process.wait(300) == 0
                assert "Traceback" not in rest
            finally:
                go_on.set()
                process.kill()


def wait_until_closed(port):
    """Return when nobody accepts connections there any more."""
    while True:
        time.sleep(0.1)  # many connections in the moment of closing are asyncio's trouble, not ours
        try:
            socket.create_connection(("127.0.0.1", port), timeout=100).close()
        except ConnectionError:
            return
