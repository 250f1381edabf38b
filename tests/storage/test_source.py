"""`ByteSource`: prefetched ranges, pinned versions, and the plan of requests."""

import os
import pickle
import socket
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest
from oracle import unpickle
from origin import Pattern, answers, breaks_off

from camhd_access import (
    InvalidMovieError,
    MovieReader,
    NotAMovieError,
    RemoteFileChangedError,
    RemoteFileError,
    RemoteFileNotFoundError,
    TruncatedResponseError,
    read_catalog,
    read_frameset,
    read_multimov,
    read_regions,
)
from camhd_access.ranges import ByteRange
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
from camhd_access.storage.local_files import read_part
from camhd_access.storage.rangecache import RangeCacheFileSystem
from camhd_access.storage.read_ahead import MAX_BYTES_AHEAD
from camhd_access.storage.source import MAX_SPAN_BYTES, open_source

SIZE = 30 << 20
FAST = {"tries": 2, "backoff_seconds": 0.01}
RANGES = [
    ByteRange(*both)
    for both in [(5_000_000, 5_000_100), (7, 7), (0, 10), (20, 30), (9, 21), (SIZE - 5, SIZE), (20, 30)]
]


@pytest.fixture(params=["path", "memory", "http", "cached"])
def source(request, tmp_path, origin):
    """The same bytes in each place."""
    data = Pattern(SIZE)
    if request.param == "path":
        (tmp_path / "a.mov").write_bytes(data[:])
        return open_source(str(tmp_path / "a.mov")).pinned()
    if request.param == "memory":
        fsspec.filesystem("memory").pipe("/source/a.mov", data[:])
        return open_source("memory://source/a.mov").pinned()
    return open_source(origin.put("/a.mov", SIZE), cache=request.param == "cached").pinned()


def test_all_ranges_are_fetched_in_file_order(source):
    found = {}
    last = 0
    for span, data in source.fetch(RANGES):
        assert span.start >= last
        last = span.stop
        assert data == Pattern(SIZE)[span.start : span.stop]
        found.update(dict.fromkeys(span.members))
    assert sorted(found) == [0, 2, 3, 4, 5, 6]  # one is empty


@pytest.mark.parametrize("ranges", [[], [ByteRange(3, 3)], [ByteRange(0, 1)], [ByteRange(0, SIZE)]], ids=str)
def test_few_ranges_and_large_ones(source, ranges):
    fetched = [data for _, data in source.fetch(ranges)]
    assert fetched == [Pattern(SIZE)[start:stop] for start, stop in ranges if stop > start]


def test_a_long_stretch_comes_in_spans(source):
    ranges = [ByteRange(i, i + 600_000) for i in range(0, 20_000_000, 600_000)]
    spans = [span for span, _ in source.fetch(ranges)]
    assert len(spans) == 17  # enough for all connections
    assert all(span.n_bytes <= MAX_SPAN_BYTES for span in spans)
    assert spans == source.plan(ranges)


def test_the_tail_and_the_size(source):
    assert source.read_tail(100) == Pattern(SIZE)[-100:]
    assert source.size == SIZE
    assert source.read(ByteRange(8, 24)) == Pattern(SIZE)[8:24]


def test_sources_pickle_and_are_small(source):
    copy = unpickle(pickle.dumps(source))
    assert copy == source
    assert hash(copy) == hash(source)
    assert len(pickle.dumps(source)) < 1000


def test_a_fetch_may_be_left(source):
    for _, data in source.fetch([ByteRange(i, i + 4) for i in range(0, SIZE, 1 << 20)]):
        assert data == Pattern(SIZE)[:4]
        break
    assert source.read(ByteRange(0, 8)) == Pattern(SIZE)[:8]


def test_a_file_smaller_than_its_tail(tmp_path, origin):
    (tmp_path / "a").write_bytes(b"abc")
    assert open_source(str(tmp_path / "a")).read_tail(100) == b"abc"
    for cache in (False, True):
        assert open_source(origin.put("/small", b"abc"), cache=cache).read_tail(100) == b"abc"


# ---- which filesystem


def test_the_cache_is_for_what_is_far(tmp_path):
    url = "http://127.0.0.1:9/a.mov"
    assert isinstance(open_source(url).filesystem, RangeCacheFileSystem)
    assert isinstance(open_source(url, cache=False).filesystem, LazyHTTPFileSystem)
    for near in (str(tmp_path / "a.mov"), f"file://{tmp_path}/a.mov", "memory://a.mov"):
        assert not isinstance(open_source(near).filesystem, RangeCacheFileSystem)


def test_options_reach_the_filesystem(origin):
    url = origin.put("/a.mov", b"abc")
    options = {"headers": {"Authorization": "Bearer 1"}}
    for cache in (False, True):
        open_source(url, cache=cache, storage_options=options).read_tail(3)
        assert origin.requests[-1].headers["authorization"] == "Bearer 1"
    with pytest.raises(TypeError, match="retries"):
        open_source(url, storage_options={"retries": 3})


# ---- costs


def test_no_request_but_for_bytes(origin):
    source = open_source(origin.put("/a.mov", SIZE), cache=False)
    assert origin.ranges == []
    source.read_tail(100)
    source = source.pinned()
    assert source.size == SIZE
    assert origin.ranges == ["bytes=-100"]
    list(source.fetch(RANGES))
    assert sorted(origin.ranges[1:]) == [
        "bytes=0-29",
        f"bytes={SIZE - 5}-{SIZE - 1}",
        "bytes=5000000-5000099",
    ]


def test_no_more_is_fetched_ahead_than_agreed(origin):
    size = 200 << 20
    source = open_source(origin.put("/a.mov", size), cache=False)
    source.read_tail(1)
    fetching = source.pinned().fetch([ByteRange(i, i + (2 << 20)) for i in range(0, size, 2 << 20)])
    next(fetching)
    n_spans = MAX_BYTES_AHEAD // (2 << 20)
    assert origin.wait_until(lambda o: len(o.requests) > n_spans - 1)
    assert not origin.wait_until(lambda o: len(o.requests) > n_spans + 1, seconds=0.2)
    fetching.close()


# ---- faults


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (answers(500), RemoteFileError),
        (answers(403), RemoteFileError),
        (answers(404), RemoteFileNotFoundError),
        (breaks_off(0), TruncatedResponseError),
    ],
    ids=["500", "403", "404", "short"],
)
def test_a_fault_under_way_is_raised_and_can_be_got_over(origin, fault, error, cache):
    url = origin.put("/a.mov", SIZE)
    source = open_source(url, cache=cache, storage_options=FAST)
    source.read_tail(4)
    source = source.pinned()
    ranges = [ByteRange(i, i + 4) for i in range(0, 10 << 20, 1 << 20)]
    origin.play("/a.mov", fault, always=True)
    with pytest.raises(error, match=r"a\.mov"):
        list(source.fetch(ranges))
    with pytest.raises(error, match=r"a\.mov"):
        source.read(ranges[3])
    origin.play("/a.mov")
    ranges = [ByteRange(a + (1 << 19), b + (1 << 19)) for a, b in ranges]  # none that is still under way
    assert [data for _, data in source.fetch(ranges)] == [Pattern(SIZE)[a:b] for a, b in ranges]


@pytest.mark.parametrize("cache", [False, True])
def test_another_version_on_the_server_is_never_mixed_in(origin, cache):
    url = origin.put("/a.mov", SIZE)
    source = open_source(url, cache=cache)
    source.read_tail(4)
    source = source.pinned()
    source.read(ByteRange(0, 4))
    origin.put("/a.mov", SIZE, etag='"v2"')
    ranges = [ByteRange(i, i + 4) for i in range(1 << 20, 10 << 20, 1 << 20)]
    for _ in range(2):
        with pytest.raises(RemoteFileChangedError, match=r"a\.mov"):
            list(source.fetch(ranges))
    anew = open_source(url, cache=cache).pinned()
    assert anew.version != source.version
    assert anew.read(ranges[0]) == Pattern(SIZE)[ranges[0].start : ranges[0].stop]


@pytest.mark.parametrize("where", ["path", "memory"])
def test_another_version_on_disk_is_noticed_before_each_read(tmp_path, where):
    urlpath = str(tmp_path / "a.mov") if where == "path" else "memory://source/b.mov"

    def put(data):
        with fsspec.open(urlpath + ".part", "wb") as file:
            file.write(data)
        fs, path = fsspec.core.url_to_fs(urlpath)
        fs.mv(path + ".part", path)

    put(b"old bytes")
    source = open_source(urlpath).pinned()
    put(b"new bytes")
    for job in (lambda: source.read(ByteRange(0, 3)), lambda: list(source.fetch([ByteRange(0, 3)] * 2))):
        with pytest.raises(RemoteFileChangedError, match="replaced since it was opened; open it again"):
            job()
    assert open_source(urlpath).pinned().read(ByteRange(0, 3)) == b"new"


def test_a_folder_has_no_size(served_movie):
    with pytest.raises(InvalidMovieError, match="it is a folder, not a movie; open one of the files in it"):
        _ = open_source(served_movie.url, cache=False).size


def test_a_folder_has_no_end(tmp_path):
    with pytest.raises(InvalidMovieError, match="it is a folder, not a movie; open one of the files in it"):
        open_source(str(tmp_path)).read_tail(100)


# ---- fsspec's own caches


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("kind", ["simplecache", "filecache", "blockcache"])
@pytest.mark.parametrize("behind", ["http://127.0.0.1:1/m.mov?sig=hush", "memory://chains/m.mov", "/m.mov"])
def test_caches_of_fsspec_are_refused_with_a_hint(tmp_path, behind, kind, cache):
    options = {kind: {"cache_storage": str(tmp_path / "kept")}}
    for address in (f"{kind}::{behind}", f"lazy::{kind}::{behind}"):
        with pytest.raises(ValueError, match=rf"{kind}:: .*Use lazy::.* or the plain URL") as caught:
            MovieReader(address, cache=cache, storage_options=options)
        assert "hush" not in str(caught.value)


def test_the_chain_of_the_hint_opens(origin, movie_path):
    url = origin.put("/m.mov", movie_path.read_bytes())
    assert MovieReader(f"lazy::{url}").n_frames == 40


# ---- what is no file


@pytest.fixture(params=["pipe", "device", "folder", "socket"])
def special(request, tmp_path):
    """A path that is not a file, and the kind of its target."""
    path = tmp_path / "odd.mov"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "device":
        path = Path("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    return path, request.param


@pytest.mark.parametrize("recover", [False, True])
def test_what_is_no_file_is_refused_by_name(special, recover):
    path, kind = special
    for address in (path, f"file://{path}", f"lazy::file://{path}"):
        with pytest.raises(NotAMovieError, match=f"{path.name}: it is a {kind}, not a"):
            MovieReader(address, recover=recover)


def test_lists_and_sidecars_that_are_no_files_are_refused_by_name(special, movie_path):
    path, kind = special
    for read in (read_catalog, read_frameset, read_multimov, read_regions):
        with pytest.raises(ValueError, match=f"{path.name}: it is a {kind}, not a file$"):
            read(path)
    with pytest.raises(InvalidMovieError, match=f"it is a {kind}, not a"):
        MovieReader(movie_path, recover=path)


@pytest.mark.parametrize(
    "ranges", [[ByteRange(0, 9)], [ByteRange(0, 9), ByteRange(MAX_SPAN_BYTES, MAX_SPAN_BYTES + 9)]]
)
def test_a_local_file_that_is_replaced_while_it_is_read(tmp_path, monkeypatch, ranges):
    path, other = tmp_path / "m.mov", tmp_path / "other"
    path.write_bytes(b"a" * 2 * MAX_SPAN_BYTES)
    other.write_bytes(b"b" * 2 * MAX_SPAN_BYTES)
    source = open_source(str(path)).pinned()

    def replace_and_read(*args):
        with suppress(FileNotFoundError):  # two threads read
            other.replace(path)
        return read_part(*args)

    monkeypatch.setattr("camhd_access.storage.source.read_part", replace_and_read)
    with pytest.raises(RemoteFileChangedError):
        list(source.fetch(ranges))
