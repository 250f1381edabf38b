"""`MovieReader`: opening, reading, times, costs, pickling and errors."""

import multiprocessing
import os
import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import atoms
import fsspec
import numpy as np
import pytest
from oracle import decode_ten_bits, expected_pixels, read_by_libav, unpickle, write_by_libav
from origin import answers
from prores_samples import KINDS

from camhd_access import (
    FrameDecodeError,
    FrameIndexError,
    InvalidMovieError,
    MissingMoovError,
    MovieReader,
    RemoteFileChangedError,
    RemoteFileNotFoundError,
)
from camhd_access.caching import LRUCache
from camhd_access.decoding.pixels import PIXEL_FORMATS
from camhd_access.movie import index_cache
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
from camhd_access.storage.rangecache import CacheFolder, RangeCacheFileSystem
from camhd_access.synthetic import read_frame_number, serve_folder, write_movie

TAIL_BYTES = 512 * 1024


@pytest.fixture
def copy_path(movie_path, tmp_path):
    """A copy of the movie that a test may change."""
    path = tmp_path / movie_path.name
    path.write_bytes(movie_path.read_bytes())
    return path


def replace_movie(path, **options):
    """Put another movie of the same name in its place, as a mirror does: under another name first."""
    options = {"n_frames": 8, "width": 320, "height": 192, "first_frame_number": 500} | options
    write_movie(path.with_suffix(".part"), **options)
    path.with_suffix(".part").replace(path)


# ---- what it costs


@pytest.mark.parametrize("cache", [False, True])
def test_opening_is_one_request_and_a_frame_one_more(served_movie, movie_url, movie_path, cache):
    reader = MovieReader(movie_url, cache=cache)
    file_size = movie_path.stat().st_size
    assert (served_movie.n_requests, served_movie.n_bytes_sent) == (1, min(TAIL_BYTES, file_size))
    reader.read(0)
    expected = int(reader.index.size[0])
    assert served_movie.n_requests == 2 - (cache and file_size <= TAIL_BYTES)
    if not cache:
        assert served_movie.n_bytes_sent == min(TAIL_BYTES, file_size) + expected


def test_indexes_opened_last_stay_in_memory_up_to_a_number(movie_path, tmp_path, monkeypatch):
    monkeypatch.setattr(index_cache, "_open_movies", LRUCache(2))
    for name in "abc":
        (tmp_path / f"{name}.mov").write_bytes(movie_path.read_bytes())
    with serve_folder(tmp_path) as server:
        for name, n_requests in [("a", 1), ("b", 2), ("a", 2), ("c", 3), ("a", 3), ("b", 4)]:
            MovieReader(f"{server.url}{name}.mov", cache=False)
            assert server.n_requests == n_requests


def test_a_movie_of_full_length_costs_no_more(sparse_path):
    with serve_folder(sparse_path.parent) as server:
        reader = MovieReader(server.url + sparse_path.name, cache=False)
        assert reader.n_frames == 25_000
        assert reader.file_size == sparse_path.stat().st_size > 13e9
        assert (server.n_requests, server.n_bytes_sent) == (1, TAIL_BYTES)
        assert read_frame_number(reader.read(7200)[0]) == 7200
        assert server.n_requests == 2
        assert server.n_bytes_sent == TAIL_BYTES + reader.index.size[7200]


def test_moov_in_front_costs_three_requests_at_most(tmp_path):
    write_movie(tmp_path / "a.mov", n_frames=40, width=640, height=480, layout="moov-first")
    assert (tmp_path / "a.mov").stat().st_size > TAIL_BYTES
    with serve_folder(tmp_path) as server:
        MovieReader(server.url + "a.mov", cache=False)
        assert server.n_requests <= 3


def test_the_scheme_of_a_url_may_be_in_capitals(movie_url):
    assert MovieReader(movie_url.replace("http:", "HTTP:"), cache=False).n_frames == 40


def test_a_path_may_be_of_any_kind(movie_path):
    for path in (movie_path, str(movie_path), os.fsencode(movie_path)):
        assert MovieReader(path).n_frames == 40


def test_a_movie_that_is_open_is_not_opened_again(served_movie, movie_url):
    readers = [MovieReader(movie_url, cache=False) for _ in range(5)]
    assert served_movie.n_requests == 1
    assert len({id(reader.index) for reader in readers}) == 1


@pytest.mark.parametrize(
    "frames", [slice(None), slice(0, 3), [0, 20, 39], [5, 5, 6], [39, 0], slice(None, None, 7), []]
)
def test_a_plan_tells_what_a_read_costs(served_movie, movie_url, frames):
    reader = MovieReader(movie_url, cache=False)
    plan = reader.plan(frames)
    before = served_movie.n_requests, served_movie.n_bytes_sent
    assert before[0] == 1
    assert len(reader.read(frames)) == plan.n_frames
    assert served_movie.n_requests - before[0] == plan.n_requests
    assert served_movie.n_bytes_sent - before[1] == plan.n_bytes


def test_neighbours_come_in_one_request(served_movie, movie_url):
    reader = MovieReader(movie_url, cache=False)
    reader.read(slice(10, 16))
    assert served_movie.n_requests == 2


# ---- pixels


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_movies_of_every_kind_are_bit_exact(kind, tmp_path):
    libav = read_by_libav(write_by_libav(tmp_path / "a.mov", kind))
    reader = MovieReader(tmp_path / "a.mov")
    planes = decode_ten_bits(libav)
    assert reader.shape == (3, kind.height, kind.width)
    assert reader.interlaced == bool(kind.interlace)
    assert reader.index.offset.tolist() == libav.offsets
    codes = reader.read(slice(None), pix_fmt="gray10le")
    matrix = reader.index.color_matrix or (1 if kind.height >= 720 else 6)
    for i, colors in enumerate(reader.read(slice(None))):
        assert np.array_equal(codes[i], planes[i][0])
        assert abs(colors - expected_pixels(planes[i], "rgb24", matrix)).max() < 0.51


@pytest.mark.parametrize("pix_fmt", PIXEL_FORMATS)
@pytest.mark.parametrize("interlaced", [False, True])
def test_every_pixel_format(pix_fmt, interlaced, tmp_path):
    path = tmp_path / "a.mov"
    write_movie(path, n_frames=2, width=270, height=118, interlaced=interlaced)
    reader = MovieReader(path)
    assert reader.interlaced == interlaced
    pixels = reader.read(slice(None), pix_fmt=pix_fmt)
    assert pixels.dtype == PIXEL_FORMATS[pix_fmt].dtype
    for planes, picture in zip(read_by_libav(path).planes, pixels, strict=True):
        assert abs(picture - expected_pixels(planes, pix_fmt, matrix=1)).max() < 0.51


@pytest.mark.parametrize("pix_fmt", PIXEL_FORMATS)
@pytest.mark.parametrize("kind", [KINDS[5], KINDS[7], KINDS[12]], ids=str)
def test_crops_are_crops_of_the_whole(pix_fmt, kind, tmp_path):
    reader = MovieReader(write_by_libav(tmp_path / "a.mov", kind, n_frames=2))
    whole = reader.read(slice(None), pix_fmt=pix_fmt)
    _, h, w = reader.shape
    for y in (slice(33, 34), slice(1, h), slice(-5, None), slice(17, 48)):
        for x in (slice(w - 1, w), slice(31, 33), slice(1, 18), slice(None, -1), slice(16, 32)):
            assert np.array_equal(reader.read([1, 0], y=y, x=x, pix_fmt=pix_fmt), whole[::-1, y, x])


def test_out_is_filled_and_returned(movie_path, movie_by_libav):
    out = np.zeros((2, 192, 320), np.uint16)
    assert MovieReader(movie_path).read([4, 9], pix_fmt="gray10le", out=out) is out
    assert np.array_equal(out, movie_by_libav.luma([4, 9]))


@pytest.mark.parametrize("out", [np.empty((1, 192, 320), "u1"), np.empty((1, 192, 320, 3), "u2")])
def test_out_of_another_kind_is_refused(movie_path, out):
    with pytest.raises(ValueError, match=r"out is .*; it must be uint8"):
        MovieReader(movie_path).read(0, out=out)


@pytest.mark.parametrize("setting", ["libav", "numba"])
def test_out_that_is_read_only_is_refused_and_not_written(movie_path, setting, monkeypatch):
    monkeypatch.setenv("CAMHD_DECODER", setting)
    memory = bytes(192 * 320)
    out = np.frombuffer(memory, "u1").reshape(1, 192, 320)
    with pytest.raises(ValueError, match="out is read-only"):
        MovieReader(movie_path).read(0, pix_fmt="gray", out=out)
    assert not any(memory)


@pytest.mark.parametrize("protocol", ["file", "memory", "local", "pathlike"])
def test_all_filesystems_give_the_same(protocol, movie_path, movie_by_libav):
    if protocol == "memory":
        fsspec.filesystem("memory").pipe("/films/a.mov", movie_path.read_bytes())
    urlpath = {
        "file": f"file://{movie_path}",
        "memory": "memory://films/a.mov",
        "local": str(movie_path),
        "pathlike": Path(movie_path),
    }[protocol]
    frames = MovieReader(urlpath).read([1, 38, 2], pix_fmt="gray10le")
    assert np.array_equal(frames, movie_by_libav.luma([1, 38, 2]))


# ---- which frames


@pytest.mark.parametrize(
    ("frames", "chosen"),
    [
        (7, [7]),
        (-1, [39]),
        (np.int64(3), [3]),
        ([3, -40, 3], [3, 0, 3]),
        (np.linspace(0, 39, 4), [0, 13, 26, 39]),
        ([0.4, 0.6], [0, 1]),
        (range(5, 2, -1), [5, 4, 3]),
        (slice(36, 99), [36, 37, 38, 39]),
        (slice(None, None, -13), [39, 26, 13, 0]),
        ([], []),
        (slice(3, 3), []),
    ],
)
def test_frames_are_chosen_as_numpy_does(movie_path, frames, chosen):
    images = MovieReader(movie_path).read(frames, pix_fmt="gray")
    assert [read_frame_number(image) for image in images] == chosen
    assert images.shape == (len(chosen), 192, 320)


@pytest.mark.parametrize("frames", [40, -41, [0, 40], 39.6, np.nan, np.inf])
def test_frames_that_are_not_there(movie_path, frames):
    with pytest.raises(FrameIndexError, match=r"no frame .*0 to 39") as caught:
        MovieReader(movie_path).read(frames)
    assert isinstance(caught.value, IndexError)


@pytest.mark.parametrize("frames", ["3", None, True, [[1, 2]], [True, False], 1j])
def test_things_that_are_no_frames(movie_path, frames):
    with pytest.raises(TypeError, match="frames must be a number, a sequence of numbers, or a slice, not"):
        MovieReader(movie_path).read(frames)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"pix_fmt": "yuv420p"}, ValueError, r"unknown pix_fmt 'yuv420p'; known are rgb24.*gray10le"),
        ({"y": 3}, TypeError, r"y must be a slice without step, .*, not 3"),
        ({"x": slice(0, 8, 2)}, TypeError, "x must be a slice without step"),
        ({"y": slice(192, 200)}, ValueError, r"y=192:200 is empty: y goes from 0 to 192"),
        ({"x": slice(5, 5)}, ValueError, r"x=5:5 is empty: x goes from 0 to 320"),
    ],
)
def test_wrong_arguments_are_named(movie_path, wrong, error, message):
    with pytest.raises(error, match=message):
        MovieReader(movie_path).read(0, **wrong)


# ---- times


def test_times_are_libavs_from_the_start_of_the_movie(movie_path, movie_by_libav):
    reader = MovieReader(movie_path)
    assert reader.start_time == np.datetime64("2016-11-13T00:00:03", "ns")
    seconds = [float(pts * movie_by_libav.time_base) for pts in movie_by_libav.pts]
    elapsed = (reader.times() - reader.start_time) / np.timedelta64(1, "ns")
    assert abs(elapsed - np.array(seconds) * 1e9).max() <= 0.51
    assert reader.duration == pytest.approx(40 * 1001 / 30000, abs=1e-12)


def test_times_do_not_drift_over_a_quarter_of_an_hour(sparse_path):
    reader = MovieReader(sparse_path)
    exact = 24_999 * 1001 * 1_000_000_000 / 30_000
    assert abs((reader.times()[-1] - reader.start_time).astype(int) - exact) <= 0.5


def test_a_movie_without_clock_says_so(tmp_path):
    write_movie(tmp_path / "a.mov", n_frames=1, width=256, height=64)
    reader = MovieReader(tmp_path / "a.mov")
    assert reader.start_time is None
    with pytest.raises(ValueError, match=r"a\.mov has no start time"):
        reader.times()
    assert "unknown" in repr(reader)


def test_repr_says_what_it_is(movie_path):
    assert re.fullmatch(
        rf"<MovieReader {movie_path}: 40 frames of 320x192 \(apcn\), 1\.335 s from 2016-11-13T00:00:03, "
        r"[\d,]+ bytes>",
        repr(MovieReader(movie_path)),
    )


# ---- what newcomers meet


@pytest.mark.parametrize("where", ["local", "http", "cached"])
@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", InvalidMovieError, "empty file"),
        (
            b"<!DOCTYPE html><html><body>Log in</body></html>",
            InvalidMovieError,
            "not a QuickTime movie.*html",
        ),
        (b"\0" * 5000, InvalidMovieError, ""),
        ("no-moov", MissingMoovError, "recording interrupted or file incomplete"),
    ],
    ids=["empty", "page", "zeros", "unfinished"],
)
def test_files_that_are_no_movies(tmp_path, where, content, error, message):
    path = tmp_path / "a.mov"
    if content == "no-moov":
        write_movie(path, n_frames=2, width=256, height=64, layout=content)
    else:
        path.write_bytes(content)
    with serve_folder(tmp_path) as server, pytest.raises(error, match=rf"a\.mov: .*{message}") as caught:
        MovieReader(str(path) if where == "local" else server.url + "a.mov", cache=where == "cached")
    assert str(unpickle(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("cache", [False, True])
def test_a_folder_is_no_movie(served_movie, cache):
    with pytest.raises(InvalidMovieError, match=rf"{served_movie.url[:-1]}.* folder"):
        MovieReader(served_movie.url, cache=cache)


def test_missing_files(served_movie, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.mov"):
        MovieReader(tmp_path / "none.mov")
    with pytest.raises(RemoteFileNotFoundError, match=r"404.*none\.mov"):
        MovieReader(served_movie.url + "none.mov")


# ---- damage


@pytest.mark.parametrize("fault", ["zeros", "noise", "header"])
def test_a_damaged_frame_is_named_and_the_others_are_read(copy_path, movie_by_libav, fault):
    index = MovieReader(copy_path).index
    start, size = int(index.offset[17]), int(index.size[17])
    with copy_path.open("r+b") as file:
        file.seek(start if fault == "header" else start + size // 3)
        file.write(np.random.default_rng(0).bytes(3000) if fault == "noise" else bytes(3000))
    reader = MovieReader(copy_path)
    for frames in (17, [3, 17, 30], slice(None)):
        with pytest.raises(FrameDecodeError, match=rf"frame 17 of {copy_path}.*bytes {start}") as caught:
            reader.read(frames)
        assert str(unpickle(pickle.dumps(caught.value))) == str(caught.value)
    others = [i for i in range(40) if i != 17]
    assert np.array_equal(reader.read(others, pix_fmt="gray10le"), movie_by_libav.luma(others))


def test_holes_of_a_file_are_no_frames(sparse_path):
    with pytest.raises(FrameDecodeError, match="frame 100 of"):
        MovieReader(sparse_path).read([0, 100])


# ---- threads, processes, versions


def test_one_reader_serves_eight_threads(movie_url, movie_by_libav):
    reader = MovieReader(movie_url, cache=False)
    start = threading.Barrier(8)

    def read(seed):
        start.wait()
        rng = np.random.default_rng(seed)
        for _ in range(6):
            frames = rng.integers(0, 40, rng.integers(1, 6))
            y = slice(int(rng.integers(0, 90)), int(rng.integers(91, 192)))
            expected = movie_by_libav.luma(frames)[:, y]
            assert np.array_equal(reader.read(frames, y=y, pix_fmt="gray10le"), expected)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(8)))


def test_eight_threads_open_a_movie_at_once(movie_url):
    with ThreadPoolExecutor(8) as pool:
        readers = list(pool.map(lambda _: MovieReader(movie_url, cache=False), range(8)))
    assert {reader.n_frames for reader in readers} == {40}


def read_sum(reader, frames):
    return reader.read(frames, pix_fmt="gray10le").sum(axis=(1, 2), dtype=np.int64).tolist()


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # what is tested is just that
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("where", ["local", "http"])
def test_other_processes_read(method, where, movie_path, movie_url, movie_by_libav):
    reader = MovieReader(str(movie_path) if where == "local" else movie_url, cache=False)
    reader.read(0)  # contexts, threads and connections exist before the fork
    reader.read(slice(0, 4))
    frames = [0, 5, 39]
    with multiprocessing.get_context(method).Pool(2) as pool:
        sums = [pool.apply_async(read_sum, (reader, frames)) for _ in range(2)]
        expected = movie_by_libav.luma(frames).sum(axis=(1, 2), dtype=np.int64).tolist()
        assert [each.get(60) for each in sums] == [expected] * 2
        pool.close()
        pool.join()


def test_pickled_a_reader_is_an_address(movie_path, sparse_path, monkeypatch):
    reader = MovieReader(sparse_path)
    assert len(pickle.dumps(reader)) < 500
    copy = unpickle(pickle.dumps(reader))
    assert (copy.shape, copy.urlpath) == (reader.shape, reader.urlpath)
    monkeypatch.chdir(movie_path.parent)
    relative = pickle.dumps(MovieReader(movie_path.name))
    monkeypatch.chdir(os.sep)
    assert unpickle(relative).n_frames == 40


def test_a_file_replaced_under_a_reader_is_noticed(copy_path):
    reader = MovieReader(copy_path)
    pickled = pickle.dumps(reader)
    replace_movie(copy_path)
    with pytest.raises(RemoteFileChangedError, match=rf"{copy_path} was replaced.*open it again"):
        reader.read(0)
    with pytest.raises(RemoteFileChangedError, match="open it again"):
        reader.read([0, 30])
    copy = unpickle(pickled)  # reads nothing: an error here would kill a worker of a cluster
    assert "not opened" in repr(copy)
    with pytest.raises(RemoteFileChangedError, match="was replaced since it was opened"):
        copy.read(0)
    anew = MovieReader(copy_path)
    assert anew.n_frames == 8
    assert read_frame_number(anew.read(3)[0]) == 503


def test_a_file_in_memory_replaced_under_a_reader_is_noticed(movie_path, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/films/b.mov", movie_path.read_bytes())
    reader = MovieReader("memory://films/b.mov")
    replace_movie(tmp_path / "b.mov")
    memory.pipe("/films/b.mov", (tmp_path / "b.mov").read_bytes())
    with pytest.raises(RemoteFileChangedError):
        reader.read(0)
    assert MovieReader("memory://films/b.mov").n_frames == 8


@pytest.mark.parametrize("cache", [False, True])
def test_a_file_replaced_on_the_server_is_noticed(copy_path, cache):
    with serve_folder(copy_path.parent) as server:
        reader = MovieReader(server.url + copy_path.name, cache=cache)
        pickled = pickle.dumps(reader)
        replace_movie(copy_path, width=640, height=480, n_frames=40)
        with pytest.raises(RemoteFileChangedError):
            reader.read(slice(None))
        with pytest.raises(RemoteFileChangedError, match=r"[Oo]pen it again"):
            unpickle(pickled).read(0)
        anew = MovieReader(server.url + copy_path.name, cache=cache)
        assert anew.shape == (40, 480, 640)
        assert read_frame_number(anew.read(3)[0]) == 503


def open_and_report(pickled):
    try:
        return unpickle(pickled).n_frames
    except RemoteFileChangedError as error:
        return error


def test_a_reader_that_travels_to_a_replaced_file_says_so(copy_path):
    pickled = pickle.dumps(MovieReader(copy_path))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(open_and_report, (pickled,)) == 40
        replace_movie(copy_path)
        assert isinstance(pool.apply(open_and_report, (pickled,)), RemoteFileChangedError)
        pool.close()
        pool.join()


PAGE = b"<!DOCTYPE html><title>Please log in</title>" + b"<p>Accept our terms.</p>" * 200


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("headers", [{}, {"ETag": '"page"'}])
def test_a_page_answered_for_the_movie_leaves_nothing_behind(origin, movie_path, cache, headers):
    url = origin.put("/m.mov", movie_path.read_bytes())
    origin.play("/m.mov", answers(200, PAGE, Content_Type="text/html", **headers), always=True)
    with pytest.raises(InvalidMovieError):
        MovieReader(url, cache=cache)
    assert not [each for each in CacheFolder().path.rglob("*-*-*") if each.is_file()]
    origin.play("/m.mov")
    assert read_frame_number(MovieReader(url, cache=cache).read(3)[0]) == 3


def test_bytes_of_the_cache_that_are_no_movie_are_fetched_once_more(origin, movie_path):
    data = movie_path.read_bytes()
    url = origin.put("/m.mov", PAGE.ljust(len(data)))  # of one size, and with the same ETag
    RangeCacheFileSystem(fs=LazyHTTPFileSystem()).cat_file(url, start=-TAIL_BYTES)
    origin.put("/m.mov", data)
    RangeCacheFileSystem.clear_instance_cache()
    LazyHTTPFileSystem.clear_instance_cache()
    assert read_frame_number(MovieReader(url).read(3)[0]) == 3


def test_a_movie_that_is_damaged_is_fetched_once_more_at_most(origin):
    url = origin.put("/m.mov", PAGE)
    for n_requests in (1, 2):
        with pytest.raises(InvalidMovieError):
            MovieReader(url)
        assert len(origin.requests) == n_requests


@pytest.mark.parametrize("creation", [1, (1 << 33) - 1], ids=["1904", "2176"])
@pytest.mark.parametrize("first", [0, 1 - (1 << 31)], ids=["from the start", "long before"])
def test_the_earliest_and_the_latest_times_that_are_read_are_dates(creation, first, tmp_path):
    durations = [1, 1] if first else [(1 << 31) - 2, 1]
    track = atoms.Track(
        [b"x" * 40] * 2, durations=durations, timescale=1, composition=[first] * 2 if first else None
    )
    movie = atoms.movie([track], header=atoms.mvhd(creation=creation, version=1))
    (tmp_path / "m.mov").write_bytes(movie)
    reader = MovieReader(tmp_path / "m.mov", clock="mvhd")
    start = np.datetime64("1904-01-01T00:00:00", "s") + np.timedelta64(creation + first, "s")
    shown = reader.times(), reader.times(fields=True)
    assert [each[0].astype("datetime64[s]") for each in shown] == [start] * 2
    assert np.diff(shown[0]).astype("timedelta64[s]").astype(int).tolist() == durations[:1]
    assert (np.diff(shown[1]) > np.timedelta64(0, "ns")).all()
