"""The server over mirrors that fail, change, redirect or are slow, and under load."""

import asyncio
import shutil
import socket
import threading

import aiohttp
import atoms
import numpy as np
import pytest
from lazycache import Client, running_server
from origin import Padded, answers, honest, redirects, running_origin, stalls

from camhd_access import MovieReader
from camhd_access.synthetic import serve_folder, write_movie

PAGE = '<title>Index of /files</title><a href="movie.mov">movie.mov</a>'


@pytest.fixture
def client(origin, tmp_path):
    with running_server(f"{origin.url}/files/", cache_dir=tmp_path) as client:
        yield client


@pytest.fixture(scope="module")
def movie_bytes(movie_path):
    return movie_path.read_bytes()


def listing(x):
    x.answer(200, {"Content-Type": "text/html"}, PAGE.encode())


@pytest.mark.parametrize("path", ["", "movie.mov", "movie.mov/frame/1", "other.mp4"])
@pytest.mark.parametrize(
    ("fault", "status"), [(answers(403), 502), (answers(404), 404), (answers(501), 502), (stalls, 504)]
)
def test_mirror_fails(origin, tmp_path, path, fault, status):
    for place in ("/files/", "/files/movie.mov", "/files"):
        origin.play(place, fault, always=True)
    seconds = 0.4 if fault is stalls else 60
    with running_server(f"{origin.url}/files/", cache_dir=tmp_path, request_seconds=seconds) as client:
        answer = client.get(path)
    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    told = answer.content.decode()
    assert "127.0.0.1" not in told
    assert "Traceback" not in told


def test_mirror_is_gone(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with running_server(f"http://127.0.0.1:{port}/", cache_dir=tmp_path, request_seconds=1) as client:
        assert client.get("movie.mov").status in (502, 504)


def test_failed_listing_is_neither_empty_nor_kept(client, origin):
    origin.play("/files/", answers(403), listing)
    assert client.get("").status == 502
    assert client.get("").json()["Files"] == ["movie.mov"]


def test_page_that_is_no_listing(client, origin):
    origin.play("/files/", answers(200, b"<title>Welcome</title>", Content_Type="text/html"), always=True)
    assert client.get("").status == 502


@pytest.mark.parametrize("path", ["", "movie.mov"])
def test_redirects_to_other_hosts_are_refused(client, origin, path):
    with running_origin() as other:
        for place in ("/files/", "/files/movie.mov"):
            origin.play(place, redirects(other.url + "/secret"), always=True)
        assert client.get(path).status == 502
        assert other.requests == []


def test_redirects_within_the_folder_of_the_mirror_are_followed(client, origin, movie_bytes):
    origin.put("/files/moved.mov", movie_bytes)
    origin.put("/moved.mov", movie_bytes)
    origin.play("/files/movie.mov", redirects(f"{origin.url}/files/moved.mov"), always=True)
    origin.play("/files/other.mov", redirects(f"{origin.url}/moved.mov"), always=True)
    assert client.get("movie.mov").json()["NumFrames"] == 40
    assert client.get("other.mov").status == 502


def test_damaged_frame(client, origin, movie_path, movie_bytes):
    index = MovieReader(movie_path).index
    damaged = bytearray(movie_bytes)
    damaged[index.offset[4] + 200 : index.offset[4] + index.size[4]] = bytes(index.size[4] - 200)
    origin.put("/files/movie.mov", bytes(damaged))
    assert client.get("movie.mov/frame/5").status == 422
    assert client.get("movie.mov/sample/5").status == 200
    assert client.get("movie.mov/frame/6").status == 200


@pytest.mark.parametrize("what", ["", "/frame/9", "/sample/9", "/sheet", "/animation"])
def test_a_sample_larger_than_a_frame_can_be_is_not_fetched(client, origin, tmp_path, what):
    write_movie(tmp_path / "m.mov", n_frames=9, width=256, height=128, layout="moov-first")
    lying = atoms.change_size((tmp_path / "m.mov").read_bytes(), 8, 3 << 30)
    origin.put("/files/movie.mov", Padded(lying, 4 << 30))
    assert client.get(f"movie.mov{what}").status == 422
    assert origin.n_sent < 2 << 20


@pytest.fixture
def changing(tmp_path):
    """A movie that may be replaced, too large to be read with its index; and a client of its mirror."""
    path = tmp_path / "www" / "movie.mov"
    path.parent.mkdir()
    write_movie(path, n_frames=12, width=640, height=480)
    assert path.stat().st_size > 1 << 20
    with (
        serve_folder(path.parent) as mirror,
        running_server(mirror.url, cache_dir=tmp_path / "cache") as client,
    ):
        yield path, client


def test_movie_that_is_replaced_while_it_is_read(changing):
    path, client = changing
    first = client.get("movie.mov/frame/1.npy")
    write_movie(path, n_frames=9, width=256, height=128)
    answer = client.get("movie.mov/frame/2.npy")
    assert answer.status == 200
    assert answer.headers["X-lazycache-output-width"] == "256"
    assert client.get("movie.mov").json()["NumFrames"] == 9
    assert client.get("movie.mov/frame/1.npy").headers["ETag"] != first.headers["ETag"]


def test_movie_that_grew_is_opened_again(changing, monkeypatch):
    path, client = changing
    assert client.get("movie.mov").json()["NumFrames"] == 12
    write_movie(path, n_frames=14, width=640, height=480)
    monkeypatch.setattr("camhd_access.server.movies.FRESH_SECONDS", 0.0)
    assert client.get("movie.mov").json()["NumFrames"] == 14


def test_slow_mirror_holds_up_nobody_else(tmp_path, movie_path):
    go_on = threading.Event()

    def waits(x):
        go_on.wait(300)
        honest(x)

    with running_origin() as slow, serve_folder(movie_path.parent) as good:
        slow.play("/movie.mov", waits, always=True)
        with running_server(good.url, f"{slow.url}/", cache_dir=tmp_path, max_concurrency=1) as client:
            away = Client(client.port, f"{slow.url}/")
            waiting = [threading.Thread(target=away.get, args=("movie.mov",)) for _ in range(20)]
            for thread in waiting:
                thread.start()
            assert slow.wait_until(lambda origin: origin.requests)
            assert client.get(f"{movie_path.name}/frame/1").status == 200
            assert all(thread.is_alive() for thread in waiting)
            go_on.set()
            for thread in waiting:
                thread.join()
    assert len(slow.requests) <= 2  # one opening for all of them


def test_overlay_is_read_in_place_of_the_mirror(origin, tmp_path, movie_path):
    shutil.copy(movie_path, tmp_path / "movie.mov")
    with running_server(
        f"{origin.url}/files/",
        cache_dir=tmp_path / "cache",
        file_overlay=tmp_path,
        file_overlay_flatten=True,
    ) as client:
        assert client.get("movie.mov/frame/3").status == 200
        assert origin.requests == []


# ---- many at once


def ask_all(client, paths):
    """Status, headers and body of many requests, all of them under way at the same time."""

    async def ask(session, path):
        async with session.get(f"http://127.0.0.1:{client.port}{client.at(path)}") as response:
            return response.status, response.headers, await response.read()

    async def ask_them():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            return await asyncio.gather(*(ask(session, path) for path in paths))

    return asyncio.run(ask_them())


def test_a_thousand_clients_share_one_frame(served_movie, movie_path, tmp_path):
    with running_server(served_movie.url, cache_dir=tmp_path, max_queue=0) as client:
        found = ask_all(client, [f"{movie_path.name}/frame/7.jpg"] * 1000)
        assert {status for status, _, _ in found} == {200}
        assert len({body for _, _, body in found}) == 1
        assert client.figure('camhd_access_work_total{gate="pictures"}') == 1
    assert served_movie.n_requests == 2  # the index and the frame


def test_hundred_clients_share_one_opening(served_movie, movie_path, tmp_path):
    with running_server(served_movie.url, cache_dir=tmp_path) as client:
        found = ask_all(client, [movie_path.name] * 100)
        assert {status for status, _, _ in found} == {200}
    assert served_movie.n_requests == 2  # the index, and the head of a frame


def test_all_frames_at_once_are_right(served_movie, movie_path, tmp_path):
    reader = MovieReader(movie_path)
    with running_server(served_movie.url, cache_dir=tmp_path) as client:
        found = ask_all(client, [f"{movie_path.name}/frame/{n}.rgba" for n in range(1, 41)])
    for index, (status, _, body) in enumerate(found):
        assert status == 200
        pixels = np.frombuffer(body, np.uint8).reshape(192, 320, 4)[..., :3]
        np.testing.assert_array_equal(pixels, reader.read([index])[0])


def test_overload_is_told(served_movie, movie_path, tmp_path):
    with running_server(served_movie.url, cache_dir=tmp_path, max_concurrency=1, max_queue=1) as client:
        client.get(movie_path.name)
        found = ask_all(client, [f"{movie_path.name}/frame/{n}" for n in range(1, 41)])
        statuses = [status for status, _, _ in found]
        assert set(statuses) == {200, 503}
        refused = next(headers for status, headers, _ in found if status == 503)
        assert int(refused["Retry-After"]) > 0
        assert client.get(f"{movie_path.name}/frame/1").status == 200


def test_client_that_leaves_takes_nobodys_work_away(origin, tmp_path, movie_bytes):
    origin.put("/movie.mov", movie_bytes)
    with running_server(f"{origin.url}/", cache_dir=tmp_path) as client:
        client.get("movie.mov")
        arrived, go_on = threading.Event(), threading.Event()

        def waits(x):
            arrived.set()
            go_on.wait(300)
            honest(x)

        origin.play("/movie.mov", waits)
        with socket.create_connection(("127.0.0.1", client.port)) as leaver:
            leaver.sendall(f"GET {client.mount}movie.mov/frame/7 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert arrived.wait(300)
        answer = []
        stayer = threading.Thread(target=lambda: answer.append(client.get("movie.mov/frame/7")))
        stayer.start()
        n_requests = len(origin.requests)
        go_on.set()
        stayer.join()
        assert answer[0].status == 200
        assert len(origin.requests) == n_requests


# ---- hostile requests


@pytest.mark.parametrize(
    "target",
    [
        "../movie.mov",
        "%2e%2e/movie.mov",
        "%2e%2e%2fmovie.mov",
        "..%5cmovie.mov",
        "a%2fmovie.mov",
        "a/./movie.mov",
        "movie.mov%00",
        "movie.mov%0d%0aX:1",
        "%252e%252e/movie.mov",
        "%ff.mov",
        "http%3a%2f%2fevil/x.mov",
    ],
)
def test_path_tricks_reach_nothing(client, origin, target):
    assert client.get(target).status == 400
    assert origin.requests == []


def test_long_paths_reach_nothing(client, origin):
    assert client.get("x" * 2000).status == 414
    assert client.get("x" * 20000).status in (400, 414)
    assert origin.requests == []


def talk(port, request):
    """The first response to raw bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=100) as connection:
        connection.sendall(request)
        return connection.recv(65536)


@pytest.mark.parametrize(
    ("url", "status"),
    [
        (b"http://evil.example/", 200),
        (b"HTTP://evil.example/?a=b", 200),
        (b"https://evil.example/v1/", 404),
        (b"https://evil.example/v1/../../etc/passwd", 400),
        (b"http:///v1/", 400),
        (b"file:///etc/passwd", 400),
    ],
)
def test_absolute_urls_reach_nothing_but_this_server(client, origin, url, status):
    answer = talk(client.port, b"GET " + url + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b" %d " % status in answer.splitlines()[0]
    assert origin.requests == []


def test_options_of_the_server_as_a_whole(client):
    answer = talk(client.port, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 204")


def test_bodies_are_not_read(client):
    head = f"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: {10**12}\r\nConnection: close\r\n\r\n"
    assert talk(client.port, head.encode()).startswith(b"HTTP/1.1 200")
