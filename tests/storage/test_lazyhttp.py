"""The HTTP filesystem: reads, file facts, versions, retries and its fsspec interface."""

import logging
import os
import subprocess
import sys
from datetime import UTC, datetime

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from origin import Pattern, answers, honest, redirects, refuses
from webservers import start_nginx

from camhd_access import errors
from camhd_access.ranges import ByteRange
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem, TransferStats
from camhd_access.storage.lazyhttp.answers import (
    Fault,
    clip_range,
    parse_retry_after,
    range_header,
    read_partial_headers,
)

SIZE = 3_000_001
DATA = Pattern(SIZE)[:]


def lazy(**settings):
    return LazyHTTPFileSystem(skip_instance_cache=True, **{"backoff_seconds": 0.01, **settings})


@pytest.fixture(scope="module")
def url(webserver):
    folder = webserver.root / "lazyhttp"
    folder.mkdir(exist_ok=True)
    (folder / "movie.mov").write_bytes(DATA)
    (folder / "empty.mov").write_bytes(b"")
    return f"{webserver.url}/lazyhttp/movie.mov"


# ---- honest servers


@pytest.mark.parametrize(
    ("start", "end"),
    [
        *(
            (0, 1),
            (0, SIZE),
            (7, 1_000_003),
            (SIZE - 1, SIZE),
            (2_999_000, SIZE + 10),
            (0, 10**30),
            (10**30, None),
        ),
        *((SIZE, SIZE + 1), (SIZE + 5, SIZE + 9), (5, 5), (9, 5), (None, None), (None, 9), (5, None)),
        *(
            (-1, None),
            (-1000, None),
            (-SIZE, None),
            (-SIZE - 1, None),
            (-(10**30), None),
            (-9, -5),
            (5, -5),
            (None, -1),
        ),
        *((0, 0), (None, 0), (SIZE, None), (-5, 3), (-5, SIZE)),
    ],
)
def test_a_range_is_a_slice(url, start, end):
    fs = lazy()
    assert fs.cat_file(url, start, end) == DATA[start:end]
    assert fs.cat_file(url, start, end) == DATA[start:end]
    assert fs.stats.bytes <= 2 * len(DATA[start:end])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bounds=st.lists(
        st.tuples(st.none() | st.integers(-SIZE - 9, SIZE + 9), st.none() | st.integers(-SIZE - 9, SIZE + 9)),
        max_size=12,
    ),
    max_gap=st.none() | st.integers(0, 10**6),
    max_request_bytes=st.sampled_from([300_000, 10**6, 8 << 20]),
)
def test_many_ranges_are_many_slices(url, bounds, max_gap, max_request_bytes):
    fs = LazyHTTPFileSystem(max_request_bytes=max_request_bytes)
    starts, ends = [start for start, _ in bounds], [end for _, end in bounds]
    found = fs.cat_ranges([url] * len(bounds), starts, ends, max_gap=max_gap)
    assert found == [DATA[start:end] for start, end in bounds]


def test_opening_costs_one_request(url):
    fs = lazy()
    assert fs.cat_file(url, start=-4096) == DATA[-4096:]
    info = fs.info(url)
    assert (info["name"], info["size"], info["type"]) == (url, SIZE, "file")
    assert fs.cat_file(url, 100, 200, validator=info["validator"]) == DATA[100:200]
    assert fs.stats.requests == 2
    assert fs.stats.bytes == 4196
    fs.invalidate_cache(url)
    assert fs.info(url) == info
    assert fs.stats.requests == 3


def test_a_replaced_file(webserver):
    movie = webserver.root / "lazyhttp" / "replaced.mov"
    movie.parent.mkdir(exist_ok=True)
    movie.write_bytes(b"old" * 1000)
    os.utime(movie, (10**9, 10**9))
    url = f"{webserver.url}/lazyhttp/replaced.mov"
    fs = lazy()
    with fs.open(url, block_size=100) as opened:
        assert opened.read(3) == b"old"
        validator = fs.info(url)["validator"]
        movie.write_bytes(b"new" * 1000)
        with pytest.raises(errors.RemoteFileChangedError):
            fs.cat_file(url, 0, 3, validator=validator)
        opened.seek(1500)
        with pytest.raises(errors.RemoteFileChangedError):
            opened.read(3)
    assert fs.cat_file(url, 0, 3) == b"new"


def test_missing_and_empty_files(url):
    fs = lazy()
    missing, empty = url.replace("movie", "none"), url.replace("movie", "empty")
    for read in (fs.info, fs.cat_file, fs.open, lambda name: fs.cat_file(name, start=-9)):
        with pytest.raises(errors.RemoteFileNotFoundError, match=r"none\.mov"):
            read(missing)
    assert fs.cat_file(empty) == fs.cat_file(empty, start=-9) == fs.cat_file(empty, 0, 9) == b""
    assert fs.info(empty)["size"] == 0
    assert fs.cat_ranges([url, missing, empty], 0, 4, on_error="return")[::2] == [DATA[:4], b""]
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([url, missing], 0, 4, on_error="raise")


def test_more_requests_than_a_server_allows_on_a_connection(url):
    fs = lazy(max_request_bytes=2000)
    assert fs.cat_file(url, 0, 1_000_000) == DATA[:1_000_000]
    assert fs.stats.requests - fs.stats.retries == 500  # a request may meet a connection that is being closed
    assert fs.stats.bytes == 1_000_000


def test_files_for_readers_that_want_them(url):
    fs = lazy()
    with fs.open(url, block_size=1 << 16) as opened:
        assert opened.size == SIZE
        assert opened.read(10) == DATA[:10]
        assert opened.seek(-5, 2) == SIZE - 5
        assert opened.read() == DATA[-5:]
        assert opened.read() == b""
    assert fs.stats.bytes < 4 << 16
    with pytest.raises(NotImplementedError):
        fs.open(url, "wb")


def test_fsspec_finds_it_by_protocol(url):
    with fsspec.open(f"lazy{url}") as opened:
        assert opened.read(10) == DATA[:10]
        assert isinstance(opened.fs, LazyHTTPFileSystem)
    fs, path = fsspec.core.url_to_fs(f"lazy{url}", max_concurrency=3)
    assert path == url
    assert fs.unstrip_protocol(path) == f"lazy{url}"
    assert fs.cat_file(f"lazy{url}", 0, 4) == fs.cat(url)[:4] == DATA[:4]
    assert fs.checks_validator


# ---- what is asked, counted by the origin


def test_a_long_range_is_split_and_the_limit_holds_for_all_calls(origin):
    def slow(x):
        origin.wait_until(lambda o: o.most_at_once == 3)
        honest(x)

    a, b = origin.put("/a", 10**6), origin.put("/b", 10**6)
    origin.play("/a", slow, slow)
    origin.play("/b", slow)
    fs = lazy(max_concurrency=3, max_request_bytes=100_000)
    found = fs.cat_ranges([a, b, a], [0, 0, 700_000], [600_001, 300_000, 10**7])
    assert [len(each) for each in found] == [600_001, 300_000, 300_000]
    assert found[2] == Pattern(10**6)[700_000:]
    assert origin.most_at_once == origin.n_connections == 3
    assert origin.n_sent == fs.stats.bytes == sum(map(len, found))
    assert len(origin.requests) == fs.stats.requests == 1 + 6 + 1 + 2 + 1 + 2


def test_near_ranges_are_one_request(origin):
    url = origin.put("/a", 10**6)
    fs = lazy(max_gap_bytes=100)
    starts, ends = [500, 0, 100, 0, 401, 900_000, 150], [600, 100, 300, 100, 450, 900_001, 150]
    found = fs.cat_ranges([url] * 7, starts, ends)
    assert found == [Pattern(10**6)[a:b] for a, b in zip(starts, ends, strict=True)]
    assert sorted(origin.ranges) == ["bytes=0-299", "bytes=401-599", "bytes=900000-900000"]
    assert len(fs.cat_ranges([url] * 7, starts, ends, max_gap=101)) == 7
    assert sorted(origin.ranges[3:]) == ["bytes=0-599", "bytes=900000-900000"]


def test_whole_files_long_and_short(origin):
    url = origin.put("/a", 10**6)
    fs = lazy(max_request_bytes=400_000)
    assert fs.cat_file(url) == Pattern(10**6)[:]
    assert origin.ranges[0] is None  # begun, not read: it is longer than one request may be
    assert sorted(origin.ranges[1:]) == ["bytes=0-333332", "bytes=333333-666665", "bytes=666666-999999"]
    assert fs.stats.bytes == 10**6
    assert lazy().cat_file(url) == Pattern(10**6)[:]
    assert origin.ranges[4:] == [None]


def test_only_ranges_that_every_server_understands_are_sent(origin):
    url = origin.put("/a", 1000)
    fs = lazy()
    for start in (None, 0, 5, 1000, 2000, -1, -1000, -2000):
        for end in (None, 0, 5, 1000, 2**70, -1, -2000):
            for _ in "known", "unknown":
                assert fs.cat_file(url, start, end) == Pattern(1000)[slice(start, end)]
                fs.invalidate_cache()
    for asked in origin.ranges:
        if asked not in (None, "HEAD"):
            first, last = asked.removeprefix("bytes=").split("-")
            assert int(last) < 2**63
            assert int(last) >= int(first) if first else int(last) > 0


def test_counters(origin):
    url = origin.put("/a", 10**6)
    fs = lazy()
    assert fs.stats == TransferStats(0, 0, 0, 0.0)
    fs.cat_file(url, 0, 1000)
    before = fs.stats
    origin.play("/a", answers(503))
    fs.cat_file(url, 0, 500)
    cost = fs.stats - before
    assert (cost.requests, cost.retries) == (2, 1)
    assert cost.bytes in (500, 502)  # the two bytes of the error's page, or not
    assert 0 < cost.seconds < 60


def test_logging_is_quiet_unless_asked(origin, caplog):
    url = origin.put("/a?sig=hush", 10**6).replace("://", "://user:hush@")
    origin.play("/a?sig=hush", answers(503))
    with caplog.at_level(logging.WARNING):
        lazy().cat_file(url, 0, 1000)
    assert not caplog.records
    origin.play("/a?sig=hush", answers(503))
    with caplog.at_level(logging.DEBUG, "camhd_access.storage.lazyhttp"):
        lazy().cat_file(url, 0, 1000)
    first, retry, second = [each.getMessage() for each in caplog.records]
    assert "/a bytes=0-999: 503" in first
    assert "HTTP 503, next try in" in retry
    assert "/a bytes=0-999: 206" in second
    assert "hush" not in caplog.text


def test_secrets_in_an_url_are_not_in_messages(origin):
    url = origin.url.replace("://", "://user:hush@") + "/none?sig=hush"
    with pytest.raises(errors.RemoteFileNotFoundError) as caught:
        lazy().cat_file(url, 0, 10)
    assert "hush" not in str(caught.value)


def test_ipv4_and_names_share_nothing_but_the_code(origin):
    url = origin.put("/a", 1000)
    fs = lazy(max_concurrency=1)
    other = url.replace("127.0.0.1", "localhost")
    assert fs.cat_ranges([url, other], 0, 10) == [Pattern(10)[:]] * 2


@pytest.mark.parametrize("bad", ["ftp://h/x", "/local/path", "http://", "memory://x", "lazyftp://h/x"])
def test_other_urls_are_wrong_arguments(bad):
    with pytest.raises(ValueError, match="not an http or https URL"):
        lazy().cat_file(bad, 0, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tries": 0},
        {"max_concurrency": 0},
        {"max_request_bytes": 0},
        {"deadline_seconds": 0},
        {"redirects": "no"},
    ],
)
def test_wrong_settings(wrong):
    with pytest.raises(
        ValueError, match=next(iter(wrong)) if wrong != {"deadline_seconds": 0} else "time-outs"
    ):
        lazy(**wrong)


@pytest.mark.parametrize("wrong", [{"proxy": 3}, {"ssl": None}, {"ssl": 1}], ids=str)
def test_settings_of_a_wrong_type(wrong):
    with pytest.raises(TypeError, match=f"{next(iter(wrong))} must be"):
        lazy(**wrong)


def test_misspelt_arguments_are_not_swallowed(origin):
    with pytest.raises(TypeError):
        lazy(max_concurency=3)
    with pytest.raises(TypeError):
        lazy().cat_file(origin.put("/a", 10), 0, 1, validater="x")


# ---- https


def test_https(certificate, origin, tmp_path):
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "a").write_bytes(DATA)
    directives = f"location = /away {{ return 302 {origin.put('/b', 10)}; }}"
    with start_nginx(tmp_path / "www", tmp_path / "state", directives, certificate=certificate) as server:
        fs = lazy()
        with pytest.raises(errors.RemoteFileError, match=r"certificate.*\(1 try\)"):
            fs.cat_file(f"{server.url}/a", 0, 10)
        script = (
            "import sys, fsspec\n"
            "from camhd_access.errors import RemoteFileError\n"
            "fs = fsspec.filesystem('lazyhttps')\n"
            "assert len(fs.cat_file(sys.argv[1] + '/a')) == 3_000_001\n"
            "try: fs.cat_file(sys.argv[1] + '/away', 0, 4)\n"
            "except RemoteFileError as error: print(error)\n"
        )
        trusting = {**os.environ, "SSL_CERT_FILE": str(certificate[0])}
        found = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, server.url.replace("https", "lazyhttps")],
            env=trusting,
            capture_output=True,
            text=True,
            check=False,
        )
    assert "redirect from https to http refused" in found.stdout
    assert not found.stderr
    assert not origin.requests


# ---- headers, without a network


def test_ranges_as_headers():
    assert range_header(ByteRange(0, 1)) == "bytes=0-0"
    assert range_header(ByteRange(10, 20)) == "bytes=10-19"
    assert range_header(ByteRange(-5, 0)) == "bytes=-5"


@given(st.integers(-50, 50), st.integers(0, 50), st.integers(0, 40))
def test_a_true_206_is_taken_and_any_other_refused(start, length, size):
    wanted = ByteRange(start, max(0, start) + length if start >= 0 else 0)
    true = clip_range(wanted, size)
    for told in [true, (true[0] + 1, true[1]), (true[0], true[1] + 1), (true[0], true[1] - 1)]:
        headers = {"Content-Range": f"bytes {told[0]}-{told[1] - 1}/{size}"}
        if told[0] == true[0] < told[1] <= true[1]:  # all of it, or a part
            assert read_partial_headers(206, headers, wanted) == (size, told)
        elif told != true:
            with pytest.raises(Fault):
                read_partial_headers(206, headers, wanted)


def test_retry_after_in_all_its_forms():
    now = datetime(2016, 11, 13, 0, 0, 0, tzinfo=UTC)
    assert parse_retry_after("120", now) == 120
    assert parse_retry_after("Sun, 13 Nov 2016 00:00:30 GMT", now) == 30
    assert parse_retry_after("Sun, 13 Nov 2016 00:00:30 -0000", now) == 30
    assert parse_retry_after("Sun, 13 Nov 2016 01:00:30 +0100", now) == 30
    assert parse_retry_after("Sat, 12 Nov 2016 00:00:30 GMT", now) == 0
    for nonsense in (None, "", "soon", "-1", "1.5", "²", "Sun, 99 Nov 2016 00:00:30 GMT"):
        assert parse_retry_after(nonsense, now) is None


def test_folders_are_told_by_their_slash(origin):
    origin.put("/day/", 1000)
    origin.play("/day", redirects("/day/"), always=True)
    for behave in (honest, refuses(method="HEAD")):
        origin.play("/day/", behave, always=True)
        info = lazy().info(f"{origin.url}/day/")
        assert (info["name"], info["size"], info["type"]) == (f"{origin.url}/day", None, "directory")
