"""Clips from the server: equal to `write_clip`, in any range, at the cost of that range."""

import http.client
import io
from contextlib import ExitStack

import av
import pytest
from lazycache import running_server

from camhd_access import MovieReader, write_clip
from camhd_access.server.films import PIECE_BYTES
from camhd_access.synthetic import serve_folder, write_movie

MOVIE = "CAMHDA301-20161113T000000Z.mov"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("movies")
    write_movie(folder / MOVIE, n_frames=24, width=1920, height=1080)
    return folder


@pytest.fixture
def mirror(folder):
    with serve_folder(folder) as server:
        yield server


@pytest.fixture
def client(mirror, tmp_path):
    with running_server(mirror.url, cache_dir=tmp_path) as client:
        yield client


def clip_of(mirror, frames):
    """The clip by the library, which tells the same source."""
    file = io.BytesIO()
    write_clip(MovieReader(mirror.url + MOVIE), frames, file, progress=False)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "frames"), [("5-20.mov", slice(4, 20)), ("1-24.mov?step=7", slice(0, 24, 7))]
)
def test_a_clip_is_what_the_library_writes(client, mirror, name, frames):
    expected = clip_of(mirror, frames)
    answer = client.get(f"{MOVIE}/clip/{name}")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "video/quicktime"
    assert answer.headers["Content-Length"] == str(len(expected))
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.content == expected
    with av.open(io.BytesIO(answer.content)) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(range(24)[frames])


def test_ranges_of_a_clip(client, mirror):
    expected = clip_of(mirror, slice(4, 20))
    size = len(expected)
    assert size > PIECE_BYTES
    for told, part in {
        "0-0": slice(0, 1),
        "100-99999": slice(100, 100_000),
        f"{PIECE_BYTES - 5}-{PIECE_BYTES + 5}": slice(PIECE_BYTES - 5, PIECE_BYTES + 6),
        "-777": slice(-777, None),
        f"{size - 1}-": slice(-1, None),
    }.items():
        answer = client.get(f"{MOVIE}/clip/5-20.mov", {"Range": f"bytes={told}"})
        start, stop, _ = part.indices(size)
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
        assert answer.content == expected[part]
    beyond = client.get(f"{MOVIE}/clip/5-20.mov", {"Range": f"bytes={size}-"})
    assert beyond.status == 416
    assert beyond.headers["Content-Range"] == f"bytes */{size}"


def test_our_own_reader_reads_clips_from_the_server(client, folder):
    url = f"http://127.0.0.1:{client.port}{client.mount}{MOVIE}/clip/5-20.mov"
    clip, original = MovieReader(url, cache=False), MovieReader(folder / MOVIE)
    assert clip.read_encoded([0, 15]) == original.read_encoded([4, 19])
    assert (clip.times() == original.times()[4:20]).all()


def test_a_clip_costs_its_frames(client, mirror, folder):
    client.get(MOVIE)
    before = mirror.n_bytes_sent
    client.get(f"{MOVIE}/clip/9-12.mov")
    sizes = MovieReader(folder / MOVIE).index.size[8:12]
    assert mirror.n_bytes_sent - before <= 1.02 * sizes.sum()  # sound lies in between


def test_headers_alone(client, mirror, folder):
    size = len(clip_of(mirror, slice(4, 20)))
    told = client.ask("HEAD", f"{client.mount}{MOVIE}/clip/5-20.mov")
    before = mirror.n_bytes_sent
    assert told.status == 200
    assert told.headers["Content-Length"] == str(size)
    assert told.headers["Accept-Ranges"] == "bytes"
    unchanged = client.get(f"{MOVIE}/clip/5-20.mov", {"If-None-Match": told.headers["ETag"]})
    assert (unchanged.status, unchanged.content) == (304, b"")
    assert mirror.n_bytes_sent == before


@pytest.mark.parametrize(
    "name",
    [
        "0-3.mov",
        "3-2.mov",
        "1-25.mov",
        "5.mov",
        "1-2",
        "1-2.mp4",
        "a-b.mov",
        "1-2.mov?step=0",
    ],
)
def test_wrong_clips(client, name):
    answer = client.get(f"{MOVIE}/clip/{name}")
    assert answer.status == 400
    assert answer.headers["Content-Type"].startswith("application/problem+json")


def test_no_more_frames_than_allowed(mirror, tmp_path):
    with running_server(mirror.url, cache_dir=tmp_path, max_frames=10) as client:
        assert client.get(f"{MOVIE}/clip/1-11.mov").status == 400
        assert client.get(f"{MOVIE}/clip/1-11.mov?step=2").status == 200


def test_a_clip_that_the_mirror_breaks_off_is_not_whole(folder, tmp_path):
    with ExitStack() as serving:
        mirror = serving.enter_context(serve_folder(folder))
        with running_server(mirror.url, cache_dir=tmp_path) as client:
            assert client.get(f"{MOVIE}/clip/1-2.mov").status == 200
            serving.close()
            with pytest.raises(http.client.IncompleteRead):
                client.get(f"{MOVIE}/clip/1-24.mov")
            assert client.get(f"{MOVIE}/clip/1-2.mov").status == 200  # what was fetched is kept
