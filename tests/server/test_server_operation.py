"""Operation of the server: workers, sockets, prefixes, logs and metrics."""

import errno
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPResponse
from urllib.error import HTTPError

import pytest
from lazycache import running_server
from origin import running_origin
from running_server import COMMAND, fetch, serving, wait_until
from urllib3 import PoolManager, Retry

from camhd_access.server import ServerSettings
from camhd_access.server.serving import listen
from camhd_access.synthetic import serve_folder, write_movie

OWN = ("--port", 0, "--metrics-port", 0)


@pytest.fixture
def client(served_movie, tmp_path):
    with running_server(served_movie.url, cache_dir=tmp_path) as client:
        yield client


# ---- below a path


@pytest.mark.parametrize("told", ["/camhd", "/a/b.c/", "/hub/user/x%40y/proxy/8080"])
def test_a_proxy_tells_the_path_below_which_it_serves(client, served_movie, told):
    answer = client.get("/", {"X-Forwarded-Prefix": told})
    assert answer.json()[served_movie.url]["APIPath"]["V1"] == told.rstrip("/") + client.mount
    assert "X-Forwarded-Prefix" in answer.headers["Vary"]
    assert client.get("/openapi.json", {"X-Forwarded-Prefix": told}).json()["servers"] == [
        {"url": told.rstrip("/")}
    ]


@pytest.mark.parametrize("told", ["http://evil", "//evil.example", "/a\tb", "/../x", "/a<b>", "camhd"])
def test_what_is_no_path_is_not_taken_for_one(client, served_movie, told):
    answer = client.get("/", {"X-Forwarded-Prefix": told})
    assert answer.json()[served_movie.url]["APIPath"]["V1"] == client.mount


def test_all_routes_lie_below_the_root_path_too(served_movie, movie_path, tmp_path):
    with running_server(served_movie.url, cache_dir=tmp_path, root_path="/camhd") as client:
        whole = client.get(f"/camhd{client.mount}{movie_path.name}/frame/2.png")
        assert whole.content == client.get(f"{client.mount}{movie_path.name}/frame/2.png").content
        assert client.get("/camhd/").json()[served_movie.url]["APIPath"]["V1"] == "/camhd" + client.mount
        assert b"<html" in client.get("/camhd/", {"Accept": "text/html"}).content
        for path in (
            "/camhd/page/app.js",
            "/camhd/healthz",
            "/camhd/readyz",
            "/camhd/openapi.json",
            "/healthz",
        ):
            assert client.get(path).status == 200
        moved = client.get("/camhd//healthz")
        assert (moved.status, moved.headers["Location"]) == (
            301,
            "/camhd/healthz",
        )


@pytest.mark.parametrize("root_path", ["/user/jane%40x.y/a", "/user/jane@x.y/+"])
@pytest.mark.parametrize("sent", ["as told", "@", "%40"])
def test_the_root_path_may_be_that_of_a_user_of_a_hub(served_movie, movie_path, tmp_path, root_path, sent):
    below = root_path if sent == "as told" else root_path.replace("%40", "@").replace("@", sent)
    with running_server(served_movie.url, cache_dir=tmp_path, root_path=root_path) as client:
        movie = f"{client.mount}{movie_path.name}"
        assert client.get(f"{below}/healthz").content == b"ok"
        assert client.get(below + movie).json()["NumFrames"] == client.get(movie).json()["NumFrames"]
        url = f"http://127.0.0.1:{client.port}{root_path}{movie}/iiif/manifest.json?every=9&x=%20"
        assert client.get(f"{below}{movie}/iiif/manifest.json?every=9&x=%20").json()["id"] == url
        moved = client.get(f"{below}//healthz?a=%0d%0ab")
        assert (moved.status, moved.headers["Location"]) == (301, f"{root_path}/healthz?a=%0d%0ab")


# ---- old clients


@pytest.mark.parametrize("path", ["//healthz", "/page//app.js", "//v1//x?a=b"])
def test_repeated_slashes_lead_to_the_clean_path(client, path):
    answer = client.get(path, {"X-Forwarded-Prefix": "/camhd"})
    assert answer.status == 301
    assert answer.headers["Location"] == "/camhd" + re.sub("/+", "/", path)


def test_repeated_slashes_on_a_mirror_count_as_one(client, movie_path):
    clean = client.get(f"{movie_path.name}/frame/2.png")
    for path in (f"/{movie_path.name}/frame/2.png", f"{movie_path.name}//frame///2.png"):
        assert client.get(client.mount + path).content == clean.content


def test_unknown_parameters_are_ignored_and_named(client, movie_path):
    plain = client.get(f"{movie_path.name}/frame/2.png")
    answer = client.get(f"{movie_path.name}/frame/2.png?widht=64&a=1&a=2&%0d%0aEvil=1")
    assert (answer.status, answer.content) == (200, plain.content)
    assert answer.headers["X-camhd-ignored-parameters"] == "widht, a, %0D%0AEvil"
    assert "X-camhd-ignored-parameters" not in plain.headers
    assert client.get(f"{movie_path.name}?x=1").headers["X-camhd-ignored-parameters"] == "x"


@pytest.mark.parametrize("name", ["2foo", "2foo.png", "0002", "2-", "2.png/3/4"])
def test_a_number_is_the_digits_that_a_name_begins_with(client, movie_path, name):
    assert (
        client.get(f"{movie_path.name}/frame/{name}").content
        == client.get(f"{movie_path.name}/frame/2").content
    )


def test_old_clients_try_again_after_a_503(served_movie, movie_path, tmp_path):
    """Those of go-lazycache retry by urllib3 on 500, 502 and 504; on 503 they do as `Retry-After` tells."""
    with running_server(served_movie.url, cache_dir=tmp_path, max_concurrency=1, max_queue=0) as client:
        films = []
        for i in range(3):
            films.append(socket.create_connection(("127.0.0.1", client.port)))
            path = f"{client.at(movie_path.name)}/animation.mp4?width={600 + 2 * i}"
            films[-1].sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        retry = Retry(total=3, backoff_factor=0.3, status_forcelist=(500, 502, 504))
        url = f"http://127.0.0.1:{client.port}{client.at(movie_path.name)}/sheet.jpg?every=1"
        with PoolManager(retries=retry) as pool:
            assert pool.request("GET", url).status == 200
        assert client.figure('camhd_access_work_refused_total{gate="films"}') >= 1
        for film in films:
            film.close()


# ---- work that nobody waits for


def test_a_film_whose_client_has_left_is_stopped(tmp_path):
    (tmp_path / "www").mkdir()
    write_movie(tmp_path / "www/m.mov", n_frames=100, width=1280, height=720, audio=False)
    with (
        serve_folder(tmp_path / "www") as mirror,
        running_server(mirror.url, cache_dir=tmp_path / "cache", max_concurrency=1) as client,
    ):
        client.get("m.mov")
        for i in range(3):
            with closing(socket.create_connection(("127.0.0.1", client.port))) as film:
                path = f"{client.at('m.mov')}/animation.webp?start={i + 1}&width=1280"
                film.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                wait_until(lambda: client.figure('camhd_access_work_running{gate="films"}') == 1)
        wait_until(lambda: client.figure('camhd_access_work_running{gate="films"}') == 0)
        assert client.figure('cache_size{store="made_files"}') == 0


# ---- what mirrors do


def test_a_redirect_leaves_neither_the_host_nor_the_folder(tmp_path):
    write_movie(tmp_path / "m.mov", n_frames=2, width=256, height=64, audio=False)
    with running_origin() as origin:
        origin.put("/files/m.mov", (tmp_path / "m.mov").read_bytes())
        origin.put("/other/m.mov", (tmp_path / "m.mov").read_bytes())
        for name, target in (
            ("near", "/files/m.mov"),
            ("far", "/other/m.mov"),
            ("up", "/files/../other/m.mov"),
        ):
            origin.play(
                f"/files/{name}.mov",
                lambda x, target=target: x.answer(302, {"Location": target}),
                always=True,
            )
        with running_server(f"{origin.url}/files/", cache_dir=tmp_path / "cache") as client:
            assert client.get("near.mov").json()["NumFrames"] == 2
            assert client.get("far.mov").status == 502
            assert client.get("up.mov").status == 502


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_listing_that_is_cut_off_is_no_listing(tmp_path, share):
    rows = "".join(f'<a href="{i}.mov">{i}.mov</a> 2016-11-13 00:00 13G\n' for i in range(9))
    page = f"<html><head><title>Index of /f</title></head><body><pre>{rows}</pre></body></html>".encode()
    with running_origin() as origin:
        answers = (page[: int(share * len(page))], page)
        told = [lambda x, body=body: x.answer(200, {"Content-Type": "text/html"}, body) for body in answers]
        origin.play("/f/", *told, always=True)
        with running_server(f"{origin.url}/f/", cache_dir=tmp_path) as client:
            assert client.get("").status == 502
            assert len(client.get("").json()["Files"]) == 9


def test_what_a_folder_shows_can_be_asked_for(tmp_path):
    names = ["plain.mov", "a b.mov", "per%20cent.mov", "back\\slash.mov"]
    (tmp_path / "www").mkdir()
    for name in names:
        (tmp_path / "www" / name).touch()
    with (
        serve_folder(tmp_path / "www") as mirror,
        running_server(mirror.url, cache_dir=tmp_path / "c") as client,
    ):
        assert client.get("").json()["Files"] == ["a b.mov", "plain.mov"]


# ---- what is told where


def test_figures_are_on_a_port_of_their_own(served_movie, tmp_path):
    with serving(*OWN, "--mirror", served_movie.url, "--cache-dir", tmp_path) as (process, address):
        figures = re.search(r"http://\S+/metrics", process.stderr.readline())[0]
        assert b"camhd_access_requests_total" in fetch(figures).body
        for path in ("/metrics", "/metrics/", "//metrics"):
            with pytest.raises(HTTPError, match="404"):
                fetch(address + path)


def test_texts_are_compressed_for_who_takes_them_so(client):
    plain = client.get("/openapi.json")
    packed = client.get("/openapi.json", {"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == plain.content
    assert len(packed.content) < len(plain.content) / 3
    assert "Accept-Encoding" in plain.headers["Vary"]
    style = client.get("/page/style.css", {"Accept-Encoding": "gzip"})
    again = client.get("/page/style.css", {"If-None-Match": style.headers["ETag"]})
    assert (style.headers["ETag"][:2], again.status) == ("W/", 304)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip;q=0", None),
        ("GZIP ; Q=0.000, br", None),
        ("*, gzip;q=0", None),
        ("br, gzipped", None),
        ("", None),
        ("br;q=1, gzip;q=0.001", "gzip"),
        ("x-gzip", "gzip"),
        ("br, *;q=0.5", "gzip"),
    ],
)
def test_texts_are_compressed_by_quality_values(client, accepted, coding):
    assert client.get("/openapi.json", {"Accept-Encoding": accepted}).headers["Content-Encoding"] == coding


@pytest.mark.parametrize("path", ["/openapi.json", "/page/style.css", "/", "/healthz"])
@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_head_tells_what_get_sends(client, path, accepted):
    got, told = (client.ask(method, path, {"Accept-Encoding": accepted}) for method in ("GET", "HEAD"))
    assert told.content == b""
    for name in ("Content-Length", "Content-Type", "Content-Encoding", "ETag", "Vary"):
        assert told.headers[name] == got.headers[name], name


def test_pages_of_other_sites_read_nothing_where_that_is_switched_off(served_movie, tmp_path):
    with running_server(served_movie.url, cache_dir=tmp_path, cors=False) as client:
        for path in ("/", "", "/nothing"):
            assert not any(name.startswith("Access-Control") for name in client.get(path).headers)


@pytest.mark.parametrize("settings", [{}, {"cors": False}, {"public": True}])
@pytest.mark.parametrize("sent", [b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: x\r\n\r\n"])
def test_what_is_no_http_is_answered_as_all_else(served_movie, tmp_path, sent, settings):
    with running_server(served_movie.url, cache_dir=tmp_path, **settings) as client:
        with socket.create_connection(("127.0.0.1", client.port), timeout=30) as connection:
            connection.sendall(sent)
            answer = HTTPResponse(connection)
            answer.begin()
            assert answer.status == json.loads(answer.read())["status"] == 400
        other = client.get("/nothing")
    assert other.status == 404
    own = {"Server-Timing", "X-lazycache-timing-handler-ns", "Connection", "Content-Length", "Date"}
    headers = {name: value for name, value in answer.getheaders() if name not in own}
    assert headers == {name: value for name, value in other.headers.items() if name not in own}


@pytest.mark.parametrize("form", ["common", "json", "off"])
def test_the_access_log(served_movie, movie_path, tmp_path, form):
    command = [*COMMAND, *OWN, "--mirror", served_movie.url, "--cache-dir", tmp_path, "--access-log", form]
    with subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        address = re.search(r"http://[\d.:]+", process.stderr.readline())[0]
        fetch(f"{address}/healthz")
        fetch(f"{address}/info/")
        process.terminate()
        lines = process.communicate(timeout=60)[0].splitlines()
    if form == "off":
        assert lines == []
    elif form == "json":
        (told,) = map(json.loads, lines)
        assert (told["target"], told["status"], told["client"]) == ("/info/", 200, "127.0.0.1")
        assert told["bytes"] > 0
    else:
        (line,) = lines
        assert re.fullmatch(r'127\.0\.0\.1 - - \[.*\+0000\] "GET /info/ HTTP/1\.1" 200 \d+', line)


# ---- processes


@contextmanager
def workers(n, *arguments):
    with serving(*OWN, "--workers", n, *arguments) as (process, address):
        yield process, address


def children_of(process):
    path = f"/proc/{process.pid}/task/{process.pid}/children"
    with open(path) as file:  # noqa: PTH123 - of the kernel
        return [int(pid) for pid in file.read().split()]


def test_workers_share_a_port_and_stop_cleanly(served_movie, movie_path, tmp_path):
    store = ("--image-store", tmp_path / "store", "--cache-dir", tmp_path / "cache")
    with workers(2, "--mirror", served_movie.url, *store) as (process, address):
        mount = json.loads(fetch(address).body)[served_movie.url]["APIPath"]["V1"]
        first = fetch(f"{address}{mount}{movie_path.name}/frame/7.png").body
        assert len(children_of(process)) == 2
        victim = children_of(process)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(children_of(process)) == 2 and victim not in children_of(process))
        assert fetch(f"{address}{mount}{movie_path.name}/frame/7.png").body == first
        process.terminate()
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()


def test_workers_that_are_about_to_serve_stop_too(served_movie, tmp_path):
    program = """
import runpy, time
from camhd_access.server import serving

serve = serving._serve

async def begin_late(*arguments):
    time.sleep(600)
    await serve(*arguments)

serving._serve = begin_late
runpy.run_module("camhd_access.cli", run_name="__main__")
"""
    own = ("serve", *OWN, "--workers", 2, "--mirror", served_movie.url, "--cache-dir", tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, own)], stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: len(children_of(process)) == 2)
        process.terminate()
        try:
            assert process.wait(300) == 0
        finally:
            process.kill()
        assert "Traceback" not in process.stderr.read()


def test_workers_make_each_image_once_between_them(served_movie, movie_path, tmp_path):
    store = ("--image-store", tmp_path / "store", "--cache-dir", tmp_path / "cache")
    with workers(2, "--mirror", served_movie.url, *store) as (process, address):
        pages = []
        while len(pages) < 2:
            pages += re.findall(r"metrics are on (\S+)", process.stderr.readline())
        mount = json.loads(fetch(address).body)[served_movie.url]["APIPath"]["V1"]
        urls = [f"{address}{mount}{movie_path.name}/frame/{number}.png" for number in range(1, 7)] * 8
        with ThreadPoolExecutor(16) as pool:
            images = {(url, answer.body) for url, answer in zip(urls, pool.map(fetch, urls), strict=True)}
        assert len(images) == 6
        told = [fetch(page).body.decode() for page in pages]
        assert sum(figure_of(each, 'work_total{gate="pictures"}') for each in told) == 6
        assert sum(figure_of(each, 'requests_total{route="frame",status="2xx"}') for each in told) == 48


def test_workers_end_when_their_parent_is_killed(served_movie, tmp_path):
    with workers(2, "--mirror", served_movie.url, "--cache-dir", tmp_path) as (process, address):
        assert fetch(f"{address}/healthz").body == b"ok"
        process.kill()
        process.communicate(timeout=60)  # the workers have closed it
    with pytest.raises(OSError):
        fetch(f"{address}/healthz")


def figure_of(told, name):
    found = re.search(rf"^camhd_access_{re.escape(name)} (\S+)$", told, re.MULTILINE)
    return float(found[1]) if found else 0


def test_a_unix_socket(served_movie, tmp_path):
    path = tmp_path / "camhd.sock"
    own = ("--unix-socket", path, "--metrics-port", 0, "--mirror", served_movie.url, "--cache-dir", tmp_path)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # of a server that was killed
    with subprocess.Popen([*COMMAND, *map(str, own)], stderr=subprocess.PIPE, text=True) as process:
        assert f"unix:{path}" in process.stderr.readline()
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                connection.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                assert b"".join(iter(lambda: connection.recv(65536), b"")).endswith(b"ok")
        process.terminate()
        assert process.wait(60) == 0
    assert not path.exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_a_unix_socket_replaces_nothing_but_a_socket(tmp_path, kind):
    path, notes = tmp_path / "camhd.sock", tmp_path / "notes"
    notes.write_text("of somebody")
    {"file": lambda: notes.rename(path), "folder": path.mkdir, "link": lambda: path.symlink_to(notes)}[kind]()
    with pytest.raises(OSError, match="it exists and is not a socket") as raised:
        listen(ServerSettings(unix_socket=path))
    assert raised.value.errno == errno.EEXIST
    assert path.is_dir() or path.read_text() == "of somebody"


def test_a_port_that_is_taken_is_told_in_one_line(served_movie):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run(
            [sys.executable, "-m", "camhd_access.cli", "serve", "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr.splitlines()[-1]
