"""The HTTP filesystem against servers that fail in every way: retries, errors and requests counted."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from origin import (
    Pattern,
    RemoteFile,
    answers,
    breaks_off,
    capped,
    chunked,
    closes,
    drips,
    honest,
    ignores_range,
    never_ends,
    redirects,
    refuses,
    replicas,
    resets,
    running_origin,
    stalls,
    stalls_in_body,
    then_closes,
)

from camhd_access import errors
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem

MOVIE_BYTES = 13_000_000_007
START, STOP = 6_500_000_001, 6_500_100_004
N = STOP - START
ASKED = f"bytes={START}-{STOP - 1}"
WANTED = Pattern(MOVIE_BYTES)[START:STOP]


def lazy(**settings):
    """A file system of its own that pauses briefly."""
    return LazyHTTPFileSystem(skip_instance_cache=True, **{"backoff_seconds": 0.01, **settings})


def impatient(*numbers):
    """A file system of its own whose requests of these numbers, from 0, soon give up; others are patient."""
    fs = lazy(stall_timeout_seconds=0.5, deadline_seconds=100)
    exchanges = fs._client.exchanges
    options_of = exchanges._options

    def options(*arguments):
        is_patient = exchanges.mine().requests not in numbers
        return options_of(*arguments) | ({"timeout": aiohttp.ClientTimeout()} if is_patient else {})

    exchanges._options = options
    return fs


@pytest.fixture
def movie(origin):
    return origin.put("/movie.mov", MOVIE_BYTES)


# ---- faults that pass


@pytest.mark.parametrize(
    "fault",
    [
        resets,
        closes,
        stalls,
        stalls_in_body,
        breaks_off(0),
        breaks_off(40_000),
        breaks_off(40_000, reset=True),
    ]
    + [answers(status) for status in (408, 429, 500, 502, 503, 504, 599)]
    + [answers(429, Retry_After="0"), answers(503, Retry_After="soon"), answers(503, Retry_After="-1")],
)
def test_one_fault_is_mended_by_one_more_request(origin, movie, fault):
    origin.play("/movie.mov", fault)
    fs = impatient(0) if fault in (stalls, stalls_in_body) else lazy()
    assert fs.cat_file(movie, START, STOP) == WANTED
    assert len(origin.requests) == fs.stats.requests == 2
    assert fs.stats.retries == 1
    assert origin.n_sent <= N + 40_000
    assert N <= fs.stats.bytes <= N + 40_000


def test_a_body_that_broke_off_is_continued_where_it_ended(origin, movie):
    def pauses_then_breaks_off(x):
        x.partial(send=False)
        x.body(x.file.data, START, START + 40_000)
        origin.wait_until(lambda _: fs.stats.bytes == 40_000)
        x.reset()

    origin.play("/movie.mov", pauses_then_breaks_off)
    fs = lazy()
    assert fs.cat_file(movie, START, STOP) == WANTED
    assert origin.ranges == [ASKED, f"bytes={START + 40_000}-{STOP - 1}"]
    assert fs.stats.bytes == N


def test_several_faults_of_several_kinds(origin, movie):
    origin.play("/movie.mov", resets, answers(503), breaks_off(10_000), stalls)
    assert impatient(3).cat_file(movie, START, STOP) == WANTED
    assert len(origin.requests) == 5


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for(origin, movie, form):
    begin = time.time()
    date = format_datetime(datetime.fromtimestamp(begin + 2, UTC), usegmt=True)
    origin.play("/movie.mov", answers(503, Retry_After="1" if form == "seconds" else date))
    assert lazy().cat_file(movie, START, STOP) == WANTED
    assert time.time() >= begin + 0.9
    assert len(origin.requests) == 2


def test_connections_dropped_while_idle(origin, movie):
    origin.play("/movie.mov", then_closes(honest), always=True)
    fs = lazy()
    for i in range(5):
        assert fs.cat_file(movie, START + i, STOP) == WANTED[i:]
        assert origin.wait_until(lambda o: o.n_open == 0)
    assert len(origin.requests) == 5


@pytest.mark.parametrize("header", ["0", "Thu, 01 Jan 2015 00:00:00 GMT"])
def test_retry_after_is_a_least_pause(origin, movie, header, monkeypatch):
    """The usual pauses are added, here their means: they are longer than the server is busy."""
    monkeypatch.setattr("random.uniform", lambda low, high: (low + high) / 2)
    first = []

    def busy(x):
        first.append(time.monotonic())
        return answers(429, Retry_After=header)(x) if first[-1] < first[0] + 0.15 else honest(x)

    origin.play("/movie.mov", busy, always=True)
    assert lazy(backoff_seconds=0.2).cat_file(movie, START, STOP) == WANTED


# ---- faults that do not pass


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (resets, errors.RemoteFileError, "reset"),
        (closes, errors.RemoteFileError, "disconnected"),
        (answers(503), errors.RemoteFileError, "HTTP 503"),
        (answers(429, Retry_After="0"), errors.RemoteFileError, "HTTP 429, the server asks to wait 0 s"),
        (breaks_off(1000), errors.TruncatedResponseError, "tries"),
        (breaks_off(1000, reset=True), errors.TruncatedResponseError, "tries"),
    ],
)
def test_tries_are_bounded_and_the_error_says_what_happened(origin, movie, fault, error, words):
    origin.play("/movie.mov", fault, always=True)
    with pytest.raises(error) as caught:
        lazy().cat_file(movie, START, STOP)
    assert type(caught.value) is error
    assert len(origin.requests) == 5
    for word in (words, f"{movie}, bytes {START} to {STOP}", "5 tries"):
        assert word in str(caught.value)


@pytest.mark.parametrize("fault", [stalls, stalls_in_body, drips])
def test_a_server_that_only_holds_us_up_is_left_at_the_deadline(origin, movie, fault):
    origin.play("/movie.mov", fault, always=True)
    with pytest.raises(errors.RemoteFileError, match=r"timed out \(deadline_seconds=1.2, .*\(1 try\)"):
        lazy(deadline_seconds=1.2, min_bytes_per_second=1 << 20).cat_file(movie, START, STOP)
    assert origin.wait_until(lambda o: o.requests and o.n_open == 0)
    assert len(origin.requests) <= 5


def test_a_slow_link_gets_the_time_that_its_bytes_need(origin, movie):
    def slowly(x):
        x.partial(send=False)
        for at in range(START, STOP, 10_000):
            x.body(x.file.data, at, min(STOP, at + 10_000))
            time.sleep(0.05)

    origin.play("/movie.mov", slowly)
    fs = lazy(deadline_seconds=0.1, min_bytes_per_second=10_000)
    assert fs.cat_file(movie, START, STOP) == WANTED
    assert len(origin.requests) == 1


def test_a_longer_wait_than_the_deadline_is_not_waited_for(origin, movie):
    origin.play("/movie.mov", answers(503, Retry_After="3600"), always=True)
    with pytest.raises(errors.RemoteFileError, match=r"asks to wait 3600 s \(1 try\)"):
        lazy().cat_file(movie, START, STOP)
    date = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    origin.play("/movie.mov", answers(429, Retry_After=date), always=True)
    with pytest.raises(errors.RemoteFileError, match=r"asks to wait 86\d\d\d s \(1 try\)"):
        lazy().cat_file(movie, START, STOP)
    assert len(origin.requests) == 2


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, errors.RemoteFileNotFoundError), (410, errors.RemoteFileNotFoundError)]
    + [(status, errors.RemoteFileError) for status in (204, 304, 401, 403, 405, 418, 505)]
    + [(400, errors.RangeNotSupportedError), (501, errors.RangeNotSupportedError)],
)
def test_what_another_try_cannot_mend_is_not_tried_again(origin, movie, status, error):
    origin.play("/movie.mov", answers(status, b""), always=True)
    with pytest.raises(error, match=f"HTTP {status}") as caught:
        lazy().cat_file(movie, START, STOP)
    assert type(caught.value) is error
    assert origin.ranges == [ASKED]


# ---- answers about other bytes


@pytest.mark.parametrize(
    "fault",
    [
        lambda x: x.partial(offset=1),
        lambda x: x.partial(offset=-1000),
        lambda x: x.partial(total=STOP - 10),
        lambda x: x.answer(206, {"Content-Range": f"bytes {START}-{STOP}/{MOVIE_BYTES}"}, WANTED + b"!"),
        lambda x: x.answer(206, {"Content-Range": f"bytes {START}-{START - 1}/{MOVIE_BYTES}"}, b""),
        lambda x: x.answer(206, {"Content-Range": f"bytes {START}-{STOP - 1}/{MOVIE_BYTES}"}, WANTED[:-1]),
        lambda x: x.answer(206, {"Content-Range": f"bytes {START}-{STOP - 1}/*"}, WANTED),
        lambda x: x.answer(206, {"Content-Range": f"{START}-{STOP - 1}/{MOVIE_BYTES}"}, WANTED),
        lambda x: x.answer(206, {}, WANTED),
        lambda x: x.answer(206, {"Content-Type": "multipart/byteranges; boundary=x"}, WANTED),
        lambda x: x.partial(headers={"Content-Encoding": "gzip"}),
    ],
)
def test_an_answer_that_is_not_what_was_asked_is_refused_unread(origin, movie, fault):
    origin.play("/movie.mov", fault, always=True)
    fs = lazy()
    with pytest.raises(errors.RemoteFileError, match=r"movie\.mov"):
        fs.cat_file(movie, START, STOP)
    assert len(origin.requests) == 1
    assert fs.stats.bytes == 0


def test_a_longer_body_than_announced_is_refused(origin, movie):
    def longer(x):
        told = f"bytes {START}-{STOP - 1}/{MOVIE_BYTES}"
        x.head(206, {"Content-Range": told, "Transfer-Encoding": "chunked"})
        x.sock.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (N + 1, WANTED + b"!"))

    origin.play("/movie.mov", longer, always=True)
    with pytest.raises(errors.RemoteFileError, match="longer than its Content-Length"):
        lazy().cat_file(movie, START, STOP)


def test_an_endless_body_is_not_read_beyond_what_was_asked(origin, movie):
    def endless(x):
        told = f"bytes {START}-{STOP - 1}/{MOVIE_BYTES}"
        x.head(206, {"Content-Range": told, "Transfer-Encoding": "chunked"})
        while True:
            x.sock.sendall(b"4000\r\n%s\r\n" % bytes(0x4000))
            x.request.n_sent += 0x4000

    origin.play("/movie.mov", endless, always=True)
    fs = lazy()
    with pytest.raises(errors.RemoteFileError, match="longer than its Content-Length"):
        fs.cat_file(movie, START, STOP)
    assert fs.stats.bytes < N + (4 << 20)
    assert origin.wait_until(lambda o: o.n_open == 0)


def test_an_encoded_body_is_refused_unread(origin, movie):
    origin.play("/movie.mov", lambda x: x.head(200, {"Content-Encoding": "gzip"}, length=1000), always=True)
    fs = lazy()
    for read in (fs.cat_file, fs.info):
        with pytest.raises(errors.RemoteFileError, match="encoded the file as 'gzip'"):
            read(movie)
    assert origin.ranges == [None, "HEAD", "bytes=0-0"]
    assert fs.stats.bytes == 0


def test_what_is_no_http_at_all(origin):
    url = origin.put("/movie.mov?sig=hush", MOVIE_BYTES)
    origin.play("/movie.mov?sig=hush", lambda x: x.sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 9), always=True)
    with pytest.raises(errors.RemoteFileError, match=r"\(5 tries\)") as caught:
        lazy().cat_file(url, START, STOP)
    assert "hush" not in str(caught.value)


def test_nobody_there(origin):
    dead = origin.url.rsplit(":", 1)[0]
    with pytest.raises(errors.RemoteFileError, match=r"Cannot connect to host 127\.0\.0\.1:1 .*\(3 tries\)"):
        lazy(tries=3).cat_file(f"{dead}:1/movie.mov", 0, 10)
    with pytest.raises(errors.RemoteFileError, match=r"Cannot connect to host 127\.0\.0\.1:1 \[Connect call"):
        lazy(tries=1).cat_file("https://127.0.0.1:1/movie.mov", 0, 10)


def test_the_whole_movie_instead_of_a_part_is_not_downloaded(origin, movie):
    origin.play("/movie.mov", ignores_range, always=True)
    fs = lazy()
    with pytest.raises(errors.RangeNotSupportedError, match="HTTP 200"):
        fs.cat_file(movie, START, STOP)
    with pytest.raises(errors.RangeNotSupportedError, match="HTTP 200"):
        fs.cat_file(movie, start=-1000)
    assert origin.ranges == [ASKED, "bytes=-1000", f"bytes={MOVIE_BYTES - 1000}-{MOVIE_BYTES - 1}"]
    assert fs.stats.bytes == 0
    assert origin.wait_until(lambda o: o.n_open == 0)
    assert origin.n_sent < 1 << 20  # what lay in the buffers of three connections


def test_the_whole_file_is_right_where_it_is_what_was_asked(origin):
    url = origin.put("/small.json", 1000)
    origin.play("/small.json", ignores_range, always=True)
    for bounds in [(0, 1000), (0, 5000), (-1000, None), (-5000, None), (None, None)]:
        fs = lazy()
        assert fs.cat_file(url, *bounds) == Pattern(1000)[:]
        assert fs.stats.requests == 1


def test_no_length_is_needed_where_the_range_is_told(origin, movie):
    origin.play("/movie.mov", chunked, always=True)
    assert lazy().cat_file(movie, START, STOP) == WANTED
    assert len(origin.requests) == 1


def test_the_size_of_a_whole_file_of_untold_length_is_known_afterwards(origin):
    url = origin.put("/page", 5000)
    validator = lazy().info(url)["validator"]
    origin.play("/page", chunked, always=True)
    fs = lazy()
    assert fs.cat_file(url, validator=validator) == Pattern(5000)[:]
    assert fs.info(url)["size"] == 5000
    assert fs.stats.requests == 1


def test_endless_bodies_without_a_length_are_not_read_on(origin):
    url = origin.put("/page", 64 << 20)
    origin.play("/page", chunked, always=True)
    fs = lazy(max_request_bytes=100_000)
    with pytest.raises(errors.RemoteFileError, match="more than 100000 bytes, without a Content-Length"):
        fs.cat_file(url)
    assert fs.stats.bytes < 2 << 20


@pytest.mark.parametrize("told", [True, False])
def test_a_range_that_begins_beyond_the_end(origin, told):
    url = origin.put("/short", 1000)
    if not told:  # Apache tells no size in a 416
        origin.play("/short", answers(416))
    assert lazy().cat_file(url, 1000, 2000) == b""
    assert origin.ranges == ["bytes=1000-1999", "HEAD"]


def test_a_416_for_bytes_that_exist_is_an_error(origin, movie):
    origin.play("/movie.mov", answers(416))
    with pytest.raises(errors.RangeNotSupportedError, match="416"):
        lazy().cat_file(movie, START, STOP)
    assert origin.ranges == [ASKED, "HEAD"]


@pytest.mark.parametrize("fault", [answers(416), honest])
def test_the_end_of_an_empty_file(origin, fault):
    url = origin.put("/empty", b"")
    origin.play("/empty", fault)
    fs = lazy()
    assert fs.cat_file(url, start=-1000) == b""
    assert fs.cat_file(url) == b""
    assert fs.info(url)["size"] == 0
    assert len(origin.requests) <= 3


# ---- servers that lack something


@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_head_refused(origin, movie, status):
    origin.play("/movie.mov", refuses(method="HEAD", status=status), always=True)
    fs = lazy()
    assert fs.info(movie)["size"] == fs.info(movie)["size"] == MOVIE_BYTES
    assert origin.ranges == ["HEAD", "bytes=0-0"]
    assert fs.stats.bytes <= 1


@pytest.mark.parametrize("size", [0, MOVIE_BYTES])
def test_head_and_ranges_refused(origin, size):
    url = origin.put("/movie.mov", size)
    origin.play("/movie.mov", answers(403), answers(416))
    fs = lazy()
    assert fs.info(url)["size"] == size
    assert origin.ranges == ["HEAD", "bytes=0-0", None]
    assert fs.stats.bytes == 0


def test_head_without_a_length(origin, movie):
    origin.play("/movie.mov", chunked)
    assert lazy().info(movie)["size"] == MOVIE_BYTES
    assert origin.ranges == ["HEAD", "bytes=0-0"]


def test_the_size_of_a_file_on_a_server_without_head_and_ranges(origin, movie):
    origin.play("/movie.mov", answers(405), ignores_range)
    fs = lazy()
    assert fs.info(movie)["size"] == MOVIE_BYTES
    assert fs.stats.bytes == 0


@pytest.mark.parametrize("status", [400, 416, 501])
def test_ranges_from_the_end_refused_is_remembered(origin, movie, status):
    other = origin.put("/other.mov", 5000)
    for path in ("/movie.mov", "/other.mov"):
        origin.play(path, refuses(suffix=True, status=status), always=True)
    fs = lazy()
    assert fs.cat_file(movie, start=-1000) == Pattern(MOVIE_BYTES)[-1000:]
    assert fs.cat_file(other, start=-1000) == Pattern(5000)[-1000:]
    assert origin.ranges == [
        "bytes=-1000",
        "HEAD",
        f"bytes={MOVIE_BYTES - 1000}-{MOVIE_BYTES - 1}",
        "HEAD",
        "bytes=4000-4999",
    ]


def test_ranges_from_the_end_ignored_tells_the_size_all_the_same(origin, movie):
    def ignores_suffix(x):
        return ignores_range(x) if (x.request.range or "").startswith("bytes=-") else honest(x)

    origin.play("/movie.mov", ignores_suffix, always=True)
    fs = lazy()
    assert fs.cat_file(movie, start=-1000) == Pattern(MOVIE_BYTES)[-1000:]
    assert origin.ranges == ["bytes=-1000", f"bytes={MOVIE_BYTES - 1000}-{MOVIE_BYTES - 1}"]
    assert fs.stats.bytes == 1000


@pytest.mark.parametrize("status", [400, 402, 403, 405, 409, 418, 500, 501, 502, 503, 505])
def test_ranges_from_the_end_refused_by_any_status(origin, movie, status):
    origin.play("/movie.mov", refuses(suffix=True, status=status), always=True)
    fs = lazy()
    for _ in range(2):
        assert fs.cat_file(movie, start=-1000) == Pattern(MOVIE_BYTES)[-1000:]
    n_tries = 2 if status in (500, 502, 503) else 1
    explicit = f"bytes={MOVIE_BYTES - 1000}-{MOVIE_BYTES - 1}"
    assert origin.ranges == ["bytes=-1000"] * n_tries + ["HEAD", explicit, explicit]


@pytest.mark.parametrize("status", [401, 404, 407, 410])
def test_what_is_not_about_the_form_of_the_range_is_no_reason_to_ask_again(origin, movie, status):
    origin.play("/movie.mov", answers(status), always=True)
    with pytest.raises(errors.RemoteFileError, match=f"HTTP {status}"):
        lazy().cat_file(movie, start=-1000)
    assert len(origin.requests) == 1


def test_a_portal_is_no_reason_to_think_that_the_server_lacks_something(origin, movie):
    page = answers(200, b"<html>" * 5000, Content_Type="text/html")
    origin.play("/movie.mov", page, page, page)
    fs = lazy()
    with pytest.raises(errors.RemoteFileError):
        fs.cat_file(movie, start=-1000)
    origin.play("/movie.mov")
    origin.requests.clear()
    assert fs.cat_file(movie, start=-1000) == Pattern(MOVIE_BYTES)[-1000:]
    assert origin.ranges == ["bytes=-1000"]


# ---- parts


def test_an_answer_that_ends_early_is_a_part(origin, movie):
    origin.play("/movie.mov", capped(40_000), always=True)
    fs = lazy()
    assert fs.cat_file(movie, START, STOP) == WANTED
    assert origin.ranges == [f"bytes={START + done}-{STOP - 1}" for done in (0, 40_000, 80_000)]
    assert fs.cat_file(movie, start=-50_000) == Pattern(MOVIE_BYTES)[-50_000:]
    assert (fs.stats.retries, fs.stats.bytes, len(origin.requests)) == (0, N + 50_000, 5)


def test_answers_of_a_few_bytes_count_as_tries(origin, movie):
    origin.play("/movie.mov", capped(100), always=True)
    with pytest.raises(errors.TruncatedResponseError, match=r"sends only 100 bytes at a time \(5 tries\)"):
        lazy().cat_file(movie, START, STOP)
    assert len(origin.requests) == 5


@pytest.mark.parametrize("close", [True, False])
def test_a_chunked_body_is_done_when_its_bytes_are_there(origin, movie, close):
    origin.play("/movie.mov", never_ends(close=close), always=True)
    fs = lazy()
    assert fs.cat_file(movie, START, STOP) == WANTED
    assert (len(origin.requests), fs.stats.retries) == (1, 0)


# ---- replicas that disagree

DATE, LATER = "Mon, 23 Nov 2015 12:00:00 GMT", "Mon, 23 Nov 2015 12:00:09 GMT"
DISAGREEING = {
    "etag": ({"etag": '"a"', "last_modified": DATE}, {"etag": '"b"', "last_modified": DATE}),
    "both": ({"etag": '"a"', "last_modified": DATE}, {"etag": '"b"', "last_modified": LATER}),
    "date": ({"etag": None, "last_modified": DATE}, {"etag": None, "last_modified": LATER}),
    "one has no etag": ({"etag": None, "last_modified": DATE}, {"etag": '"b"', "last_modified": DATE}),
}


@pytest.mark.parametrize("version", ["auto", "size"])
@pytest.mark.parametrize("kind", DISAGREEING)
def test_replicas_that_disagree_are_of_one_version(origin, movie, version, kind):
    origin.play("/movie.mov", replicas(*DISAGREEING[kind]), always=True)
    fs = lazy(version=version)
    tail = fs.cat_file(movie, start=-1000)
    validator = fs.info(movie)["validator"]
    assert tail == Pattern(MOVIE_BYTES)[-1000:]
    for _ in range(4):
        assert fs.cat_file(movie, START, STOP, validator=validator) == WANTED
        assert lazy(version=version).cat_file(movie, START, STOP, validator=validator) == WANTED
    settled = fs.info(movie)["validator"]
    n_requests = len(origin.requests)
    assert lazy(version=version).cat_file(movie, START, STOP, validator=settled) == WANTED
    assert len(origin.requests) == n_requests + 1  # who is told of it need not find out


@pytest.mark.parametrize("kind", DISAGREEING)
def test_replicas_are_named_where_etags_have_to_agree(origin, movie, kind):
    origin.play("/movie.mov", replicas(*DISAGREEING[kind]), always=True)
    fs = lazy(version="etag")
    fs.cat_file(movie, start=-1000)
    with pytest.raises(errors.RemoteFileChangedError, match=r"replicas .* disagree.*version='size'"):
        fs.cat_file(movie, START, STOP, validator=fs.info(movie)["validator"])


def test_where_only_the_size_counts_another_size_is_another_version(origin):
    url = origin.put("/f", 1000)
    fs = lazy(version="size")
    validator = fs.info(url)["validator"]
    origin.put("/f", 1000, etag='"v2"', last_modified=None)
    assert fs.cat_file(url, 0, 10, validator=validator) == Pattern(1000)[:10]
    origin.put("/f", 1001)
    with pytest.raises(errors.RemoteFileChangedError):
        fs.cat_file(url, 0, 10, validator=validator)


def test_the_date_that_replicas_agree_on_counts(origin):
    url = origin.put("/f", 10**6)
    origin.play("/f", replicas(*DISAGREEING["etag"]), always=True)
    fs = lazy(max_request_bytes=10_000)
    assert fs.cat_file(url, 0, 50_000) == Pattern(10**6)[:50_000]
    validator = fs.info(url)["validator"]
    origin.play("/f", replicas({"etag": '"c"', "last_modified": LATER}), always=True)
    with pytest.raises(errors.RemoteFileChangedError):
        fs.cat_file(url, 0, 10, validator=validator)


@pytest.mark.parametrize(
    ("fault", "settings", "words"),
    [
        (stalls, {"stall_timeout_seconds": 0.2, "tries": 1}, "stall_timeout_seconds=0.2"),
        (drips, {"deadline_seconds": 0.5, "min_bytes_per_second": 10**6}, "deadline_seconds=0.5"),
    ],
)
def test_deadlines_name_their_setting(origin, movie, fault, settings, words):
    origin.play("/movie.mov", fault, always=True)
    with pytest.raises(errors.RemoteFileError, match=words):
        lazy(**settings).cat_file(movie, START, STOP)


# ---- the file is replaced

OLD, NEW = {"etag": '"old"', "last_modified": None}, {"etag": '"new"', "last_modified": None}
REPLACED = {
    "etag": (RemoteFile(Pattern(10**6), **OLD), RemoteFile(Pattern(10**6, 1), **NEW)),
    "last_modified": (
        RemoteFile(Pattern(10**6), None, "Mon, 23 Nov 2015 12:00:00 GMT"),
        RemoteFile(Pattern(10**6, 1), None, "Mon, 23 Nov 2015 12:00:01 GMT"),
    ),
    "size": (RemoteFile(Pattern(10**6), None, None), RemoteFile(Pattern(10**6 + 1, 1), None, None)),
}


@pytest.fixture(params=REPLACED)
def replaced(request):
    return REPLACED[request.param]


def test_replaced_between_two_reads(origin, replaced):
    old, new = replaced
    url = origin.put("/f", 0)
    origin.files["/f"] = old
    fs = lazy()
    tail = fs.cat_file(url, start=-1000)
    validator = fs.info(url)["validator"]
    assert fs.cat_file(url, 0, 1000, validator=validator) + tail == old.data[:1000] + old.data[-1000:]
    origin.files["/f"] = new
    received = fs.stats.bytes
    with pytest.raises(errors.RemoteFileChangedError, match="replaced"):
        fs.cat_file(url, 0, 1000, validator=validator)
    with pytest.raises(errors.RemoteFileChangedError):
        fs.cat_ranges([url], [0], [1000], validator=validator, on_error="raise")
    assert fs.stats.bytes == received
    assert fs.cat_file(url, 0, 1000) == new.data[:1000]
    assert fs.cat_file(url, 0, 1000, validator=fs.info(url)["validator"]) == new.data[:1000]
    n_probes = 0 if len(old.data) != len(new.data) else 4  # whether it is a replica: each time
    assert len(origin.requests) == 6 + 2 * n_probes


def test_replaced_while_a_body_is_on_its_way(origin, replaced):
    old, new = replaced
    url = origin.put("/f", 0)
    origin.files["/f"] = old

    def breaks_off_and_is_replaced(x):
        origin.files["/f"] = new
        breaks_off(40_000)(x)

    origin.play("/f", breaks_off_and_is_replaced)
    with pytest.raises(errors.RemoteFileChangedError):
        lazy().cat_file(url, 0, 100_000)
    assert origin.ranges[2:] == (["HEAD"] * 4 if len(old.data) == len(new.data) else [])


@pytest.mark.parametrize("n_before", [1, 2, 3])
def test_replaced_between_the_parts_of_a_long_read(origin, replaced, n_before):
    old, new = replaced
    url = origin.put("/f", 0)
    origin.files["/f"] = old

    def is_replaced(x):
        origin.files["/f"] = x.file = new
        honest(x)

    origin.play("/f", *[honest] * n_before, is_replaced)
    fs = lazy(max_request_bytes=10_000, max_concurrency=1)
    with pytest.raises(errors.RemoteFileChangedError):
        fs.cat_file(url, 0, 100_000)
    assert fs.cat_file(url, 0, 100_000) == new.data[:100_000]


def test_replaced_between_the_ranges_of_one_call(origin, replaced):
    old, new = replaced
    url = origin.put("/f", 0)
    origin.files["/f"] = old

    def is_replaced(x):
        origin.files["/f"] = x.file = new
        honest(x)

    origin.play("/f", honest, is_replaced)
    one, two = lazy(max_concurrency=1).cat_ranges([url] * 2, [0, 500_000], [1000, 501_000])
    assert one == old.data[:1000]
    assert isinstance(two, errors.RemoteFileChangedError)


def test_an_etag_that_is_weak_at_first_is_the_same(origin):
    url = origin.put("/f", 1000, etag='W/"x"')
    fs = lazy()
    validator = fs.info(url)["validator"]
    origin.put("/f", 1000, etag='"x"')
    assert fs.cat_file(url, 0, 10, validator=validator) == Pattern(1000)[:10]


# ---- all of it together


def swaps(x):
    """The file is replaced before this request is answered."""
    x.origin.files[x.request.path] = x.file = REPLACED["etag"][1]
    honest(x)


def of_ranges(behave):
    """A behaviour for range requests only; other requests get a correct response."""
    return lambda x: (behave if x.wanted() and x.request.method == "GET" else honest)(x)


FAULTS = [honest, resets, closes, answers(503), answers(429, Retry_After="0"), answers(404), answers(403)]
FAULTS += [answers(416), chunked, ignores_range, swaps, of_ranges(breaks_off(0)), of_ranges(breaks_off(7000))]
FAULTS += [of_ranges(capped(5000)), of_ranges(capped(70)), of_ranges(never_ends(close=True))]
FAULTS += [of_ranges(breaks_off(3, reset=True)), of_ranges(lambda x: x.partial(offset=1))]
FAULTS += [
    of_ranges(lambda x: x.partial(total=10**7)),
    of_ranges(lambda x: x.partial(total=x.wanted()[1] - 1)),
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    faults=st.lists(st.sampled_from(FAULTS), max_size=12),
    start=st.integers(0, 10**6),
    n=st.integers(1, 60_000),
    pinned=st.booleans(),
)
def test_exact_bytes_of_one_version_or_a_named_error(origin, faults, start, n, pinned):
    old, new = REPLACED["etag"]
    url = origin.put("/f", 0)
    origin.files["/f"] = old
    origin.play("/f")
    fs = lazy(max_request_bytes=20_000, backoff_seconds=0.001)
    validator = fs.info(url)["validator"] if pinned else None
    origin.requests.clear()
    origin.play("/f", *faults)
    found = None
    with contextlib.suppress(errors.RemoteFileError):
        found = fs.cat_file(url, start, start + n, validator=validator)
    versions = [old] if pinned else [old, new]
    assert found in (None, *(version.data[start : start + n] for version in versions))
    n_pieces = min(3, -(-n // 20_000))
    # Answers that bring some bytes do not count as failed, so there may be a request for each fault.
    assert len(origin.requests) <= max(5 * n_pieces + 5, len(faults) + n_pieces + 2)


# ---- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_on_the_same_host(origin, movie, status):
    origin.play("/old.mov", redirects("/movie.mov", status), always=True)
    fs = lazy(redirects="same-host", headers={"Authorization": "Bearer x"})
    assert fs.cat_file(origin.url + "/old.mov", START, STOP) == WANTED
    assert [(r.path, r.range) for r in origin.requests] == [("/old.mov", ASKED), ("/movie.mov", ASKED)]
    assert [r.headers.get("authorization") for r in origin.requests] == ["Bearer x"] * 2
    assert fs.info(origin.url + "/old.mov")["size"] == MOVIE_BYTES
    assert fs.stats.requests == 2


def test_redirect_to_another_host_takes_no_secrets_along(origin, movie):
    with running_origin() as first:
        first.play("/m", redirects(movie), always=True)
        fs = lazy(headers={"Authorization": "Bearer x", "X-Key": "y"})
        assert fs.cat_file(first.url + "/m", START, STOP) == WANTED
        assert first.requests[0].headers["x-key"] == "y"
        assert not {"authorization", "x-key"} & origin.requests[0].headers.keys()
        assert origin.requests[0].headers["accept-encoding"] == "identity"
        with pytest.raises(errors.RemoteFileError, match="redirect to another host refused"):
            lazy(redirects="same-host").cat_file(first.url + "/m", START, STOP)
    assert len(origin.requests) == 1


def test_redirects_in_a_circle_end(origin):
    origin.play("/a", redirects("/b"), always=True)
    origin.play("/b", redirects("/a"), always=True)
    with pytest.raises(errors.RemoteFileError, match="more than 10 redirects"):
        lazy().cat_file(origin.url + "/a", 0, 10)
    assert len(origin.requests) == 11


@pytest.mark.parametrize("location", ["", "ftp://127.0.0.1/x", "http://[", "file:///etc/passwd"])
def test_redirects_to_nowhere(origin, location):
    origin.play("/a", redirects(location), always=True)
    with pytest.raises(errors.RemoteFileError, match="invalid redirect"):
        lazy().cat_file(origin.url + "/a", 0, 10)
    assert len(origin.requests) == 1


# ---- listings


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (answers(404), errors.RemoteFileNotFoundError),
        (answers(403), errors.RemoteFileError),
        (answers(500), errors.RemoteFileError),
        (resets, errors.RemoteFileError),
        (stalls, errors.RemoteFileError),
        (answers(200, b"<h1>Welcome</h1>", Content_Type="text/html"), errors.RemoteFileError),
        (answers(200, b"", Content_Type="text/html"), errors.RemoteFileError),
        (ignores_range, errors.RemoteFileError),
    ],
)
def test_a_failed_listing_is_an_error_and_never_empty(origin, fault, error):
    url = origin.put("/day/", MOVIE_BYTES)
    origin.play("/day/", fault, always=True)
    origin.play("/day", answers(404), always=True)
    fs = lazy(tries=1, stall_timeout_seconds=0.5 if fault is stalls else 100)
    with pytest.raises(error):
        fs.ls(url)
    if error is not errors.RemoteFileNotFoundError:
        with pytest.raises(error):
            fs.find(url)
        with pytest.raises(error):
            fs.glob(f"{url}*.mov")
    assert fs.stats.bytes < 1000


def test_a_listing_that_broke_off_is_fetched_again(origin):
    page = b"<title>Index of /day</title>" + b'<a href="a.mov">a</a>' * 5000
    url = origin.put("/day/", page)

    def breaks_off_whole(x):
        x.head(200, {"Content-Type": "text/html"}, length=len(page))
        x.body(page, 0, 30_000)
        x.reset()

    origin.play("/day/", breaks_off_whole, answers(200, page, Content_Type="text/html"))
    assert lazy().ls(url, detail=False) == [f"{url}a.mov"]
    assert len(origin.requests) == 2


# ---- stopping


def test_a_cancelled_task_frees_its_connections(origin, movie):
    origin.play("/movie.mov", stalls_in_body, always=True)

    async def cancel_half_way():
        fs = lazy(asynchronous=True, stall_timeout_seconds=30, deadline_seconds=30)
        task = asyncio.create_task(
            fs._cat_ranges([movie] * 4, [0, 10**6, 10**7, 10**8], [99, 10**7, 10**8, 10**9])
        )
        assert await asyncio.to_thread(origin.wait_until, lambda o: o.n_at_work == 4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        freed = await asyncio.to_thread(origin.wait_until, lambda o: o.n_open == 0)
        origin.play("/movie.mov", honest)
        assert await fs._cat_file(movie, START, STOP) == WANTED  # and its slots
        await fs.aclose()
        return freed

    assert asyncio.run(cancel_half_way())


def test_the_first_error_stops_what_else_is_under_way(origin, movie):
    origin.play("/movie.mov", stalls_in_body, stalls_in_body, answers(404), always=True)
    fs = lazy(max_request_bytes=1 << 20, stall_timeout_seconds=30, deadline_seconds=30)
    with pytest.raises(errors.RemoteFileNotFoundError):
        fs.cat_ranges([movie] * 3, [0, 10**8, 10**9], [99, 10**8 + 9, 10**9 + 9], on_error="raise")
    assert origin.wait_until(lambda o: o.n_open <= 1)  # one may be kept for the next request
