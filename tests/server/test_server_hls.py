"""A movie that is played: read by libav's HLS demuxer, as by ffmpeg and VLC; each segment made once."""

import io
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction

import av
import numpy as np
import pytest
from lazycache import running_server
from running_server import wait_until

from camhd_access import MovieReader
from camhd_access.output.provenance import Provenance
from camhd_access.synthetic import read_frame_number, serve_folder, write_movie

MOVIE = "CAMHDA301-20161113T000000Z.mov"
N_FRAMES, N_EACH = 75, 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("movies")
    start = np.datetime64("2016-11-13T00:00:01")
    write_movie(folder / MOVIE, n_frames=N_FRAMES, width=320, height=192, start_time=start, audio=False)
    return folder


@pytest.fixture(scope="module")
def index(folder):
    return MovieReader(folder / MOVIE).index


@pytest.fixture
def mirror(folder):
    with serve_folder(folder) as mirror:
        yield mirror


@pytest.fixture
def client(mirror, tmp_path):
    with running_server(mirror.url, cache_dir=tmp_path / "cache") as client:
        yield client


def url_of(client, name="index.m3u8"):
    return f"http://127.0.0.1:{client.port}{client.mount}{MOVIE}/hls/{name}"


# ---- players


def test_libav_plays_every_frame_at_its_time(client, index):
    with av.open(url_of(client)) as film:
        (stream,) = film.streams.video
        assert (stream.codec_context.name, stream.time_base) == ("h264", Fraction(1, index.timescale))
        assert stream.average_rate == Fraction(30000, 1001)
        assert film.duration == pytest.approx(1e6 * N_FRAMES * 1001 / 30000, abs=10)
        frames = list(film.decode(stream))
    assert [frame.pts for frame in frames] == (index.pts - index.pts[0]).tolist()
    assert [frame.key_frame for frame in frames] == [i % N_EACH == 0 for i in range(N_FRAMES)]
    numbers = [read_frame_number(frame.to_ndarray(format="rgb24")) for frame in frames]
    assert numbers == list(range(N_FRAMES))


@pytest.mark.parametrize("frame", [0, 29, 30, 31, 74])
def test_libav_seeks(client, index, frame):
    with av.open(url_of(client)) as film:
        stream = film.streams.video[0]
        film.seek(int(index.pts[frame]), stream=stream)
        first = next(film.decode(stream))
        assert first.pts == index.pts[frame // N_EACH * N_EACH]
        assert read_frame_number(first.to_ndarray(format="rgb24")) == frame // N_EACH * N_EACH


@pytest.mark.parametrize("step", [2, 7, 30, 100])
def test_every_nth_frame(client, index, step):
    chosen = [
        i for start in range(0, N_FRAMES, N_EACH) for i in range(start, min(start + N_EACH, N_FRAMES), step)
    ]
    with av.open(url_of(client, f"index.m3u8?step={step}")) as film:
        packets = [packet for packet in film.demux(video=0) if packet.size]
        assert [packet.pts for packet in packets] == index.pts[chosen].tolist()
        ends = [packet.pts + packet.duration for packet in packets]
        assert ends == [*index.pts[chosen[1:]].tolist(), N_FRAMES * 1001]


@pytest.mark.parametrize(
    ("frame", "shift", "first"),
    [
        (47, 1e-6, 47),
        (47, -1e-4, 46),
        (47, 0.02, 47),
        (59, 0.02, 59),
        (30, 0.02, 30),
        (29, 0.02, 30),  # before the segment
        (60, 0.001, 30),  # after it
        (74, 500, 30),
    ],
)
def test_a_segment_begins_with_the_sought_frame(client, index, frame, shift, first):
    seconds = (index.pts[frame] - index.pts[0]) / index.timescale + shift
    init = client.get(f"{MOVIE}/hls/init.mp4").content
    part = client.get(f"{MOVIE}/hls/2.m4s?since={seconds:.9f}").content
    with av.open(io.BytesIO(init + part)) as film:
        frames = list(film.decode(video=0))
    assert [each.pts for each in frames] == (index.pts[first:60] - index.pts[0]).tolist()
    assert frames[0].key_frame
    numbers = [read_frame_number(each.to_ndarray(format="rgb24")) for each in frames]
    assert numbers == list(range(first, 60))


def test_every_nth_frame_from_the_sought_one_on(client, index):
    init = client.get(f"{MOVIE}/hls/init.mp4").content
    part = client.get(f"{MOVIE}/hls/2.m4s?step=6&since=1.6").content
    with av.open(io.BytesIO(init + part)) as film:
        packets = [packet for packet in film.demux(video=0) if packet.size]
    assert [packet.pts for packet in packets] == [index.pts[i] for i in (47, 53, 59)]
    assert packets[-1].pts + packets[-1].duration == 60 * 1001


def test_small_and_deinterlaced(client):
    with av.open(url_of(client, "index.m3u8?width=160&deinterlace=linear")) as film:
        frame = next(film.decode(video=0))
        assert (frame.width, frame.height) == (160, 96)


def test_playlist(client):
    answer = client.get(f"{MOVIE}/hls/index.m3u8")
    assert answer.headers["Content-Type"].startswith("application/vnd.apple.mpegurl")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.content.decode().splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-TARGETDURATION:2",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        '#EXT-X-MAP:URI="init.mp4?step=1&width=960"',
        "#EXT-X-PROGRAM-DATE-TIME:2016-11-13T00:00:01.000000Z",
        "#EXTINF:1.001000,",
        "1.m4s?step=1&width=960",
        "#EXTINF:1.001000,",
        "2.m4s?step=1&width=960",
        "#EXTINF:0.500500,",
        "3.m4s?step=1&width=960",
        "#EXT-X-ENDLIST",
    ]


def test_init_segment_tells_the_movie(client, mirror):
    init, first = (client.get(f"{MOVIE}/hls/{name}").content for name in ("init.mp4", "1.m4s"))
    record = Provenance.parse(re.search(rb"\{\"camhd_access\".*\}", init)[0].decode())
    assert (record.movie, record.source, record.frames) == (
        MOVIE.removesuffix(".mov"),
        mirror.url + MOVIE,
        f"0:{N_FRAMES}",
    )
    assert (record.reduce, record.width, record.color_matrix) == (1, 320, "ITU-R BT.709")
    assert b"moov" not in first
    sparse = client.get(f"{MOVIE}/hls/init.mp4?step=29").content
    record = Provenance.parse(re.search(rb"\{\"camhd_access\".*\}", sparse)[0].decode())
    assert record.frames == "0,29,30,59,60"


# ---- work


def test_a_segment_is_fetched_and_made_once(client, mirror, index):
    client.get(f"{MOVIE}/hls/init.mp4")
    n_bytes, n_requests = mirror.n_bytes_sent, mirror.n_requests
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.get, [f"{MOVIE}/hls/2.m4s"] * 8))
    assert {(each.status, each.content) for each in answers} == {(200, answers[0].content)}
    assert client.figure('camhd_access_work_total{gate="hls"}') == 1
    assert mirror.n_bytes_sent - n_bytes <= 1.02 * index.size[30:60].sum()
    assert mirror.n_requests - n_requests == 1
    etag = answers[0].headers["ETag"]
    assert client.get(f"{MOVIE}/hls/2.m4s", {"If-None-Match": etag}).status == 304
    assert "immutable" in answers[0].headers["Cache-Control"]
    part = client.get(f"{MOVIE}/hls/2.m4s", {"Range": "bytes=10-19"})
    assert (part.status, part.content) == (206, answers[0].content[10:20])


def test_every_nth_frame_costs_an_nth(client, mirror, index):
    client.get(f"{MOVIE}/hls/init.mp4")
    before = mirror.n_bytes_sent
    assert client.get(f"{MOVIE}/hls/1.m4s?step=30").status == 200
    assert mirror.n_bytes_sent - before <= 1.02 * index.size[0]


def test_the_rest_of_a_segment_costs_only_the_rest(client, mirror, index):
    client.get(f"{MOVIE}/hls/init.mp4")
    before = mirror.n_bytes_sent
    assert client.get(f"{MOVIE}/hls/2.m4s?since=1.6").status == 200
    assert mirror.n_bytes_sent - before <= 1.02 * index.size[47:60].sum()


def test_where_the_segment_is_there_no_rest_of_it_is_made(mirror, tmp_path):
    options = {"image_store": str(tmp_path / "store")}
    with running_server(mirror.url, cache_dir=tmp_path / "a", **options) as client:
        rest = client.get(f"{MOVIE}/hls/2.m4s?since=1.6")
        whole = client.get(f"{MOVIE}/hls/2.m4s")
        assert len(rest.content) < len(whole.content)
        assert client.get(f"{MOVIE}/hls/2.m4s?since=1.6").content == whole.content
        assert client.figure('camhd_access_work_total{gate="hls"}') == 2
    stored = [path.read_bytes() for path in (tmp_path / "store").rglob("*.m4s")]
    assert whole.content in stored
    assert rest.content not in stored
    with running_server(mirror.url, cache_dir=tmp_path / "b", **options) as client:
        assert client.get(f"{MOVIE}/hls/2.m4s?since=1.6").content == whole.content
        assert client.figure('camhd_access_work_total{gate="hls"}') == 0


def test_segments_stay_in_the_store(mirror, tmp_path):
    options = {"image_store": str(tmp_path / "store"), "image_store_url": "https://pictures.example/"}
    with running_server(mirror.url, cache_dir=tmp_path / "a", **options) as client:
        made = [client.get(f"{MOVIE}/hls/{name}") for name in ("init.mp4", "1.m4s", "3.m4s")]
    with running_server(mirror.url, cache_dir=tmp_path / "b", **options) as client:
        kept = [client.get(f"{MOVIE}/hls/{name}") for name in ("init.mp4", "1.m4s", "3.m4s")]
        assert client.figure('camhd_access_work_total{gate="pictures"}') == 0
    assert [each.content for each in kept] == [each.content for each in made]
    assert [each.status for each in kept] == [200] * 3  # scripts of pages could not follow a redirect


def test_a_segment_that_nobody_waits_for_is_stopped(tmp_path):
    (tmp_path / "www").mkdir()
    write_movie(tmp_path / "www/m.mov", n_frames=40, width=1280, height=720, audio=False)
    with (
        serve_folder(tmp_path / "www") as mirror,
        running_server(mirror.url, cache_dir=tmp_path / "cache", max_concurrency=1) as client,
    ):
        client.get("m.mov")
        running = 'camhd_access_work_running{gate="pictures"}'
        for i in range(2):
            with closing(socket.create_connection(("127.0.0.1", client.port))) as player:
                path = f"{client.at('m.mov')}/hls/{i + 1}.m4s?width=1280"
                player.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                wait_until(lambda: client.figure(running) == 1)
        wait_until(
            lambda: client.figure(running) == client.figure('camhd_access_work_running{gate="hls"}') == 0
        )
        assert client.figure('cache_size{store="made_files"}') == 0


# ---- problems


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("", 404),
        ("index.html", 404),
        ("0.m4s", 400),
        ("4.m4s", 404),
        ("x.m4s", 400),
        ("1.ts", 404),
        ("index.m3u8?step=0", 400),
        ("1.m4s?width=5", 400),
        ("1.m4s?step=x", 400),
        ("1.m4s?since=x", 400),
        ("1.m4s?since=-1", 400),
        ("4.m4s?since=2", 404),
        ("init.mp4?deinterlace=x", 400),
    ],
)
def test_wrong_requests(client, mirror, name, status):
    client.get(MOVIE)
    before = mirror.n_bytes_sent
    assert client.get(f"{MOVIE}/hls/{name}").status == status
    assert mirror.n_bytes_sent == before


def test_a_damaged_frame_fails_its_segment_only(tmp_path, folder, index):
    damaged = bytearray((folder / MOVIE).read_bytes())
    damaged[index.offset[40] + 200 : index.offset[40] + index.size[40]] = bytes(index.size[40] - 200)
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / MOVIE).write_bytes(damaged)
    with (
        serve_folder(tmp_path / "www") as mirror,
        running_server(mirror.url, cache_dir=tmp_path / "cache") as client,
    ):
        statuses = [client.get(f"{MOVIE}/hls/{name}").status for name in ("1.m4s", "2.m4s", "3.m4s")]
        assert statuses == [200, 422, 200]
        assert client.get(f"{MOVIE}/hls/2.m4s?step=7").status == 200


def test_bounds_of_the_settings(mirror, tmp_path):
    with running_server(mirror.url, cache_dir=tmp_path, max_frames=10, max_pixels=20000) as client:
        assert client.get(f"{MOVIE}/hls/index.m3u8").status == 400
        playlist = client.get(f"{MOVIE}/hls/index.m3u8?width=160").content.decode()
        assert playlist.count("#EXTINF:0.333667,") == 7
        assert client.get(f"{MOVIE}/hls/8.m4s?width=160").status == 200


def test_without_the_encoder_it_is_told(client, monkeypatch):
    monkeypatch.setattr("camhd_access.output.segments.ENCODER", "nix")
    answer = client.get(f"{MOVIE}/hls/index.m3u8")
    assert answer.status == 501
    assert "libx264" in answer.json()["detail"]
