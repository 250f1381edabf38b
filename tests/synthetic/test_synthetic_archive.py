"""The synthetic archive and its web server, compared with Apache if installed."""

import hashlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import pytest

from camhd_access.synthetic import read_frame_number, serve_folder, write_archive

SMALL = {"n_frames": 7, "width": 320, "height": 192}
DAY = "RS03ASHS/PN03B/06-CAMHDA301/2016/11/13"


@pytest.fixture(scope="module")
def archive():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # for Apache, which gives up its rights when it is started by root
        yield Path(folder), write_archive(folder, **SMALL)


def condition_by_libav(path):
    if not path.stat().st_size:
        return "empty", 0, None
    try:
        with av.open(path) as container:
            creation = container.metadata["creation_time"].removesuffix(".000000Z")
            try:
                numbers = [read_frame_number(f.to_ndarray(format="gray")) for f in container.decode(video=0)]
            except ValueError:
                return "blank", container.streams.video[0].frames, np.datetime64(creation)
            assert numbers == list(range(len(numbers)))
            return "good", len(numbers), np.datetime64(creation)
    except av.InvalidDataError:
        return "no-moov", 0, None


def test_every_movie_is_what_it_is_said_to_be(archive):
    _, movies = archive
    for movie in movies:
        condition, n_frames, creation_time = condition_by_libav(movie.path)
        assert (movie.condition, movie.n_frames) == (condition, n_frames)
        assert creation_time in {None, movie.start_time}
    conditions = [movie.condition for movie in movies]
    assert {c: conditions.count(c) for c in conditions} == {"empty": 1, "good": 6, "no-moov": 1, "blank": 1}


def test_folders_and_names_are_those_of_both_eras(archive):
    folder, movies = archive
    eras = set()
    for movie in movies:
        relative = movie.path.relative_to(folder).as_posix()
        match = re.fullmatch(
            r"RS03ASHS/PN03B/06-CAMHDA301/(\d{4})/(\d\d)/(\d\d)/CAMHDA301-(\d{8})T(\d\d)(\d\d)(\d\d)(Z?)\.mov",
            relative,
        )
        year, month, day, date, *clock, era = match.groups()
        assert date == year + month + day
        name_time = np.datetime64(f"{year}-{month}-{day}T{':'.join(clock)}")
        assert (era == "Z") == (name_time < np.datetime64("2016-11-22"))
        late = (movie.start_time - name_time) / np.timedelta64(1, "s")
        assert 0 <= late < 400 if era else late == -899
        eras.add(era)
    assert eras == {"Z", ""}


def test_siblings_and_dates(archive):
    for movie in archive[1]:
        checksum, name = movie.path.with_suffix(".md5").read_text().split()
        assert (checksum, name) == (hashlib.md5(movie.path.read_bytes()).hexdigest(), movie.path.name)  # noqa: S324 -- as the archive has
        assert movie.path.with_suffix(".mp4").stat().st_size < 100
        end = movie.start_time + np.timedelta64(899, "s")
        assert np.datetime64(int(movie.path.stat().st_mtime), "s") == end


def test_two_archives_are_equal(archive, tmp_path):
    write_archive(tmp_path, **SMALL, workers=1)
    first, second = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (archive[0], tmp_path)
    )
    assert first == second


class Client:
    """One kept connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)

    def ask(self, path, method="GET", **headers):
        self.connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()


@pytest.fixture(scope="module")
def server(archive):
    with serve_folder(archive[0]) as running:
        yield running


@pytest.fixture
def client(server):
    client = Client(server.server_port)
    yield client
    client.connection.close()


@pytest.fixture(scope="module")
def apache(archive, tmp_path_factory):
    """A client of the real one, on the same folder."""
    if shutil.which("apache2") is None:
        pytest.skip("Apache (apache2) is not installed")
    root = tmp_path_factory.mktemp("apache")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    modules = "".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
        for name in ("mpm_event", "authz_core", "mime", "dir", "alias", "autoindex")
    )
    user = "User nobody\nGroup nogroup\n" if os.geteuid() == 0 else ""
    (root / "httpd.conf").write_text(
        f"ServerRoot {root}\nServerName localhost\nPidFile {root}/pid\nListen 127.0.0.1:{port}\n"
        f"ErrorLog {root}/errors\n{modules}{user}TypesConfig /dev/null\nDocumentRoot {archive[0]}\n"
        "IndexOptions FancyIndexing NameWidth=* Charset=UTF-8\nDefaultIcon /icons/unknown.gif\n"
        "AddIcon /icons/back.gif ..\nAddIcon /icons/folder.gif ^^DIRECTORY^^\n"
        "AddIcon /icons/blank.gif ^^BLANKICON^^\nAddType video/quicktime .mov\n"
        f"<Directory {archive[0]}>\nOptions +Indexes\nRequire all granted\n</Directory>\n"
    )
    process = subprocess.Popen(["apache2", "-f", root / "httpd.conf", "-DFOREGROUND"])
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        client = Client(port)
        yield client
        client.connection.close()
    finally:
        process.terminate()
        process.wait(10)


MOVIE = f"/{DAY}/CAMHDA301-20161113T000000Z.mov"
EMPTY = "/RS03ASHS/PN03B/06-CAMHDA301/2016/01/26/CAMHDA301-20160126T090000Z.mov"
RANGES = ["bytes=0-0", "bytes=5-99", "bytes=100-", "bytes=-100", "bytes=0-99999999", "bytes=-99999999"]
NO_RANGES = ["", "bytes=9-8", "bytes=-0", "bytes=-", "bytes=a-b", "lines=1-2", "bytes 1-2"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [MOVIE, EMPTY])
@pytest.mark.parametrize("wanted", [*RANGES, *NO_RANGES])
def test_answers_are_apache_s(client, apache, path, wanted, method):
    (status, headers, body), (a_status, a_headers, a_body) = (
        c.ask(path, method, Range=wanted) for c in (client, apache)
    )
    assert (status, body) == (a_status, a_body)
    for name in ("Content-Length", "Content-Range", "ETag", "Last-Modified", "Accept-Ranges", "Content-Type"):
        if name == "Content-Type" and path == EMPTY:
            continue  # Apache names none
        assert headers[name] == a_headers[name], name


@pytest.mark.parametrize("path", ["/", "/RS03ASHS/PN03B/06-CAMHDA301/2016/", f"/{DAY}/", f"/{DAY}/?C=N;O=A"])
def test_listings_are_apache_s(client, apache, path):
    pages = [
        c.ask(path)[2].partition(b"<html>")[2] for c in (client, apache)
    ]  # the DOCTYPE varies by version
    assert pages[0] == pages[1]


def test_listed_sizes_are_apache_s(archive, client, apache):
    folder = archive[0] / "sizes"
    folder.mkdir()
    sizes = [0, 972, 973, 1023, 1024, 9_999, 10_188, 10_240, 10_751, 996_351, 996_352, 2**20, 10_433_331]
    for size in [*sizes, 2**30, 13_912_345_678, 2**40]:
        with (folder / f"{size}.mov").open("wb") as file:
            file.truncate(size)
        os.utime(folder / f"{size}.mov", (1.5e9, 1.5e9))
    pages = [c.ask("/sizes/")[2].partition(b"<html>")[2] for c in (client, apache)]
    shutil.rmtree(folder)
    assert pages[0] == pages[1]
    assert b" 13G " in pages[0]


@pytest.mark.parametrize("wanted", RANGES)
def test_ranges_hold_the_bytes_of_the_file(archive, client, wanted):
    data = (archive[0] / MOVIE[1:]).read_bytes()
    first, last = wanted.removeprefix("bytes=").split("-")
    start = int(first) if first else max(0, len(data) - int(last))
    stop = min(int(last) + 1, len(data)) if first and last else len(data)
    status, headers, body = client.ask(MOVIE, Range=wanted)
    assert (status, body) == (206, data[start:stop])
    assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(data)}"


def test_a_range_beyond_the_end_is_416(archive, client):
    size = (archive[0] / MOVIE[1:]).stat().st_size
    status, headers, _ = client.ask(MOVIE, Range=f"bytes={size}-")
    assert (status, headers["Content-Range"]) == (416, f"bytes */{size}")


def test_if_range_guards_against_another_version(archive, client):
    size = (archive[0] / MOVIE[1:]).stat().st_size
    etag = client.ask(MOVIE, "HEAD")[1]["ETag"]
    assert client.ask(MOVIE, Range="bytes=0-9", If_Range=etag)[0] == 206
    status, _, body = client.ask(MOVIE, Range="bytes=0-9", If_Range='"other"')
    assert (status, len(body)) == (200, size)


def test_ranges_beyond_4_gib(tmp_path):
    with (tmp_path / "large.mov").open("wb") as file:
        file.seek(13 * 10**9)
        file.write(b"the end")
    with serve_folder(tmp_path) as server:
        client = Client(server.server_port)
        status, headers, body = client.ask("/large.mov", Range="bytes=-7")
        client.connection.close()
    assert (status, body) == (206, b"the end")
    assert headers["Content-Range"] == "bytes 13000000000-13000000006/13000000007"


def test_a_folder_without_a_slash_is_redirected(server, client):
    status, headers, _ = client.ask(f"/{DAY}")
    assert (status, headers["Location"]) == (301, f"{server.url}{DAY}/")
    assert client.ask(f"//{DAY}")[1]["Location"] == f"{server.url}{DAY}/"


def test_nothing_outside_the_folder_is_reached(archive, client, tmp_path):
    (tmp_path / "secret").write_text("secret")
    link = archive[0] / "link"
    link.symlink_to(tmp_path)
    outside = os.path.relpath(tmp_path / "secret", archive[0])
    for path in (
        f"/{outside}",
        f"/{outside.replace('.', '%2e')}",
        f"//{tmp_path}/secret",
        "/link/secret",
        "/a%00b",
    ):
        assert client.ask(path)[0] == 404, path
    link.unlink()


def test_requests_and_bytes_are_counted(archive):
    with serve_folder(archive[0]) as server:
        client = Client(server.server_port)
        n_bytes = 0
        for path, wanted in ((MOVIE, "bytes=0-999"), (MOVIE, "bytes=-5"), ("/nowhere", ""), ("/", "")):
            n_bytes += len(client.ask(path, Range=wanted)[2])
        client.ask(MOVIE, "HEAD")
        assert (server.n_requests, server.n_bytes_sent) == (5, n_bytes)
        client.connection.close()


def test_a_client_that_leaves_disturbs_nobody(tmp_path, capfd):
    with (tmp_path / "large.mov").open("wb") as file:
        file.truncate(2 * 10**9)
    with serve_folder(tmp_path) as server:
        with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
            connection.sendall(b"GET /large.mov HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.recv(1000)
        client = Client(server.server_port)
        assert client.ask("/large.mov", Range="bytes=0-9")[0] == 206
    # The client's connection is still open, and the server is gone all the same.
    with pytest.raises((http.client.HTTPException, OSError)):
        client.ask("/large.mov", "HEAD")
    client.connection.close()
    assert capfd.readouterr().err == ""
