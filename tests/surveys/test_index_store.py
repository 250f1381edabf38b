"""A store of indexes: packed exactly, written by crawls, and used by readers without a request."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from new_process import forget_everything
from surveyed import CUT_SHORT, EMPTY, NAMES, write_numbered

from camhd_access import (
    FrameDecodeError,
    InvalidMovieError,
    MovieReader,
    RemoteFileChangedError,
    open_archive,
    open_movie,
    open_movies,
    open_timelapse,
    survey,
)
from camhd_access.formats.quicktime.packing import pack_index, unpack_index
from camhd_access.movie.index_store import IndexStore, name_index
from camhd_access.storage.rangecache import RangeCacheFileSystem
from camhd_access.synthetic import read_frame_number, serve_folder, write_movie


def assert_equal(one, other):
    """Compare all fields of two indexes."""
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, field.name
        assert type(a) is type(b), field.name


def names_in(folder):
    return {path.name for path in folder.iterdir()}


# ---- packing


def test_packing_is_exact(movie_path):
    index = MovieReader(movie_path).index
    packed = pack_index(index, version="a", file_size=movie_path.stat().st_size)
    again, about = unpack_index(packed)
    assert_equal(again, index)
    assert about == {"version": "a", "file_size": movie_path.stat().st_size}


@pytest.mark.parametrize("options", [{"interlaced": False}, {"start_time": None}, {"audio": False}])
def test_packing_of_other_movies(tmp_path, options):
    write_movie(tmp_path / "a.mov", n_frames=3, width=320, height=192, **options)
    index = MovieReader(tmp_path / "a.mov").index
    assert_equal(unpack_index(pack_index(index), file_size=1 << 40)[0], index)


@given(
    st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(-(1 << 20), 1 << 40)), min_size=1, max_size=40),
    st.integers(0, 1 << 31),
)
def test_packing_of_any_table(movie_index, rows, ticks):
    size, gap = np.array(rows, np.int64).T
    offset = np.maximum(np.cumsum(size) - size + gap, 0)
    n = len(size)
    duration = np.full(n, ticks, np.int64)
    index = replace(
        movie_index,
        offset=offset,
        size=size,
        pts=np.arange(n) * 7 - 3,
        duration=duration,
        is_sync=np.ones(n, bool),
        width=1920,
        height=1080,
    )
    assert_equal(unpack_index(pack_index(index), file_size=1 << 62)[0], index)


@pytest.fixture(scope="module")
def movie_index(movie_path):
    return MovieReader(movie_path).index


def test_27_000_frames_take_60_kilobytes(movie_index):
    n = 26_955
    size = np.random.default_rng(0).normal(480_000, 15_000, n).astype(np.int64)
    sound = np.where(np.arange(n) % 6 == 0, 19_200, 0)  # before each chunk of six frames
    index = replace(
        movie_index,
        offset=48 + np.cumsum(sound) + np.cumsum(size) - size,
        size=size,
        pts=np.arange(n) * 1001,
        duration=np.full(n, 1001),
        is_sync=np.ones(n, bool),
        width=1920,
        height=1080,
    )
    packed = pack_index(index, file_size=1 << 40)
    assert len(packed) < 60_000
    assert_equal(unpack_index(packed)[0], index)


@given(data=st.data())
def test_damage_is_an_error(movie_index, data):
    packed = pack_index(movie_index, file_size=1 << 30)
    kind = data.draw(st.sampled_from(["cut", "flip", "other"]))
    position = data.draw(st.integers(0, len(packed) - 1))
    if kind == "cut":
        damaged = packed[:position]
    elif kind == "flip":
        damaged = packed[:position] + bytes([packed[position] ^ 1 << data.draw(st.integers(0, 7))])
        damaged += packed[position + 1 :]
    else:
        damaged = data.draw(st.binary(max_size=200))
    try:
        index, _ = unpack_index(damaged)
    except InvalidMovieError:
        return
    assert (index.offset + index.size <= 1 << 30).all()


def test_frames_beyond_the_file_are_refused(movie_index):
    with pytest.raises(InvalidMovieError, match="frames outside the file"):
        unpack_index(pack_index(movie_index), file_size=int(movie_index.offset[-1]))


# ---- crawls


def test_a_crawl_fills_the_store_and_others_complete_it(server, written, tmp_path):
    store = tmp_path / "indexes"
    archive = open_archive(server.url, indexes=store)
    catalog = archive.catalog(index=True, progress=False, file=tmp_path / "a.jsonl")
    names = {name_index(url) for url in catalog["url"][:3]}
    assert names_in(store) == names
    n_before = server.n_requests
    archive.catalog(index=True, progress=False, file=tmp_path / "a.jsonl")
    n_listed = server.n_requests - n_before
    (store / min(names)).unlink()
    n_before = server.n_requests
    archive.catalog(index=True, progress=False, file=tmp_path / "a.jsonl")
    assert server.n_requests - n_before == n_listed + 1
    assert names_in(store) == names
    assert catalog.loc[[CUT_SHORT, EMPTY], "quality"].tolist() == ["unreadable", "empty"]


def test_several_crawlers_at_once(server, tmp_path):
    archive = open_archive(server.url, indexes=tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: archive.catalog(index=True, progress=False), range(4)))
    assert len(names_in(tmp_path)) == 3
    for path in tmp_path.iterdir():
        unpack_index(path.read_bytes())


def test_a_store_is_for_web_servers(written, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="archives on web servers"):
        open_archive(written, indexes=tmp_path / "indexes")
    monkeypatch.setenv("CAMHD_INDEXES", str(tmp_path / "indexes"))
    assert len(open_archive(written).catalog(index=True, progress=False)) == 5
    assert MovieReader(written / f"{NAMES[0]}.mov").n_frames == 10
    assert not (tmp_path / "indexes").exists()


def test_any_filesystem(server, s3):
    store = IndexStore.open(f"s3://{s3.bucket()}/indexes", s3.options)
    url = f"{server.url}{NAMES[0]}.mov"
    reader = MovieReader(url)
    store.keep(url, reader.index, version=reader.source.version, file_size=reader.file_size)
    assert_equal(store.find(url).index, reader.index)
    assert store.names() == {name_index(url)}
    assert store.find(url + "x") is None


# ---- readers


def test_with_recover_an_index_that_does_not_fit_is_rebuilt_all_the_same(tmp_path):
    path = tmp_path / f"{NAMES[0]}.mov"
    write_movie(path, n_frames=8, width=256, height=128, audio=False, timecode=False)
    expected, index = MovieReader(path).read(slice(7)), MovieReader(path).index
    data, start, stop = path.read_bytes(), int(index.offset[0]), int(index.offset[-1] + index.size[-1])
    path.write_bytes(data[:start] + bytes(1000) + data[start : stop - 1000] + data[stop:])
    store = IndexStore.open(str(tmp_path / "indexes"))
    with serve_folder(tmp_path) as server:
        url = server.url + path.name
        reader = MovieReader(url)
        store.keep(url, reader.index, version=reader.source.version, file_size=reader.file_size)
        forget_everything()
        with pytest.raises(FrameDecodeError, match="recover=True"):
            MovieReader(url, indexes=store).read(0)
        np.testing.assert_array_equal(
            MovieReader(url, indexes=store, recover=True).read(slice(None)), expected
        )


@pytest.fixture
def store(server, tmp_path):
    """A store that a crawl has filled; the process then forgets what it knows."""
    open_archive(server.url, indexes=tmp_path / "indexes").catalog(index=True, progress=False)
    forget_everything()
    return tmp_path / "indexes"


@pytest.fixture(params=[False, True], ids=["uncached", "cached"])
def cache(request):
    return request.param


def test_a_movie_opens_without_a_request(server, written, store, cache):
    n_before = server.n_requests
    reader = MovieReader(f"{server.url}{NAMES[1]}.mov", indexes=store, cache=cache)
    assert reader.n_frames == 10
    assert reader.plan([2]).n_frames == 1
    again = MovieReader(f"{server.url}{NAMES[1]}.mov", indexes=store, cache=cache)
    assert again.source == reader.source
    assert server.n_requests == n_before
    assert_equal(reader.index, MovieReader(written / f"{NAMES[1]}.mov").index)
    assert read_frame_number(reader.read(7, pix_fmt="gray")[0]) == 107
    assert server.n_requests == n_before + 1
    assert [read_frame_number(p) for p in reader.read([0, 9], pix_fmt="gray")] == [100, 109]


def test_arrays_open_without_a_request(server, store, cache):
    urls = [f"{server.url}{name}.mov" for name in NAMES[:3]]
    options = {"indexes": store, "cache": cache, "pix_fmt": "gray", "progress": False}
    n_before = server.n_requests
    several = open_movies(urls, **options)
    lapse = open_timelapse(urls, frame=4, **options)
    movie = open_movie(urls[0], indexes=store, cache=cache, pix_fmt="gray")
    assert server.n_requests == n_before
    assert several.sizes["time"] == 30
    assert [read_frame_number(p) for p in lapse.to_numpy()] == [4, 104, 204]
    assert read_frame_number(movie[3].to_numpy()) == 3


def test_the_environment_names_the_store(server, store, monkeypatch):
    monkeypatch.setenv("CAMHD_INDEXES", str(store))
    n_before = server.n_requests
    assert MovieReader(f"{server.url}{NAMES[0]}.mov").n_frames == 10
    assert server.n_requests == n_before


def test_surveys_use_the_store(server, store, tmp_path):
    urls = [f"{server.url}{name}.mov" for name in NAMES[:3]]
    n_before = server.n_requests

    def number(pictures, context):
        return read_frame_number(pictures[0])

    options = {"frames": 4, "pix_fmt": "gray", "indexes": store, "progress": False}
    plan = survey.plan(number, urls, out=tmp_path / "out", frames=4, indexes=store)
    assert plan.n_requests == 3
    assert server.n_requests == n_before
    table = survey(number, urls, out=tmp_path / "out", **options)
    assert table["value"].tolist() == [4, 104, 204]
    assert server.n_requests == n_before + 3


def test_what_was_read_is_in_the_cache_also_for_other_sessions(server, store):
    url = f"{server.url}{NAMES[1]}.mov"
    MovieReader(url, indexes=store).read(7)
    forget_everything()
    RangeCacheFileSystem.clear_instance_cache()
    n_before = server.n_requests
    reader = MovieReader(url, indexes=store)
    assert read_frame_number(reader.read(7, pix_fmt="gray")[0]) == 107
    assert server.n_requests == n_before  # the version in the store is that of the cached bytes


@pytest.fixture
def replaced(written, tmp_path):
    """A server, a store, and a movie of another size that takes the place of the stored one."""
    folder = tmp_path / "movies"
    folder.mkdir()
    path = Path(shutil.copy(written / f"{NAMES[0]}.mov", folder))
    with serve_folder(folder) as server:
        open_archive(server.url, indexes=tmp_path / "indexes").catalog(index=True, progress=False)
        forget_everything()
        write_numbered(path, 5, n_frames=12)
        yield server.url + path.name, tmp_path / "indexes"


def test_a_movie_that_was_replaced_is_an_error_and_opens_anew(replaced, cache):
    url, store = replaced
    stale = MovieReader(url, indexes=store, cache=cache)
    assert stale.n_frames == 10
    with pytest.raises(RemoteFileChangedError, match="replaced"):
        stale.read(3)
    fresh = MovieReader(url, indexes=store, cache=cache)
    assert fresh.n_frames == 12
    assert read_frame_number(fresh.read(11, pix_fmt="gray")[0]) == 511


def test_the_next_crawl_corrects_the_store(replaced, tmp_path):
    url, store = replaced
    open_archive(url.rpartition("/")[0], indexes=store).catalog(index=True, progress=False)
    forget_everything()
    assert MovieReader(url, indexes=store).n_frames == 12


def test_a_survey_of_a_replaced_movie_does_it_again(replaced, tmp_path):
    url, store = replaced

    def number(pictures, context):
        return read_frame_number(pictures[0])

    options = {"frames": 4, "pix_fmt": "gray", "indexes": store, "progress": False, "out": tmp_path / "out"}
    assert "RemoteFileChangedError" in survey(number, [url], **options)["error"][0]
    assert survey(number, [url], **options)["value"].tolist() == [504]


def test_a_damaged_file_of_the_store_is_not_used(server, store, caplog):
    url = f"{server.url}{NAMES[0]}.mov"
    (store / name_index(url)).write_bytes(b"camhd-index-1\n....")
    assert MovieReader(url, indexes=store).n_frames == 10
    assert "is not used" in caplog.text


def test_movies_that_are_not_in_the_store_open_as_before(server, store, tmp_path):
    url = f"{server.url}{NAMES[0]}.mov"
    n_before = server.n_requests
    assert MovieReader(url, indexes=tmp_path / "nothing").n_frames == 10
    assert server.n_requests == n_before + 1
