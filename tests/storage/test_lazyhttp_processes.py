"""The HTTP filesystem in threads, processes and event loops."""

import asyncio
import functools
import gc
import multiprocessing
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import aiohttp
import fsspec
import pytest
from origin import Pattern, redirects, running_origin, stalls, stalls_in_body

from camhd_access import errors
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem

SIZE = 1_000_003
DATA = Pattern(SIZE)[:]


def pickled(value):
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


def lazy(**settings):
    return LazyHTTPFileSystem(skip_instance_cache=True, **settings)


@pytest.fixture
def url(origin):
    return origin.put("/movie.mov", SIZE)


def read_part(fs, url, i):
    return fs.cat_file(url, i * 10_000, (i + 1) * 10_000)


def test_threads_share_connections_and_their_limit(origin, url):
    fs = lazy(max_concurrency=4)
    with ThreadPoolExecutor(12) as pool:
        parts = list(pool.map(lambda i: read_part(fs, url, i), range(101)))
    assert b"".join(parts) == DATA
    assert len(origin.requests) == fs.stats.requests == 101
    assert origin.n_sent == fs.stats.bytes == SIZE
    assert origin.n_connections <= 4
    assert origin.most_at_once <= 4


def test_pickled_in_spawned_processes(origin, url):
    fs = lazy(max_request_bytes=4000, tries=2, headers={"X-Key": "y"})
    read_part(fs, url, 0)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        assert list(pool.map(read_part, [fs] * 3, [url] * 3, range(3))) == [
            DATA[:10_000],
            DATA[10_000:20_000],
            DATA[20_000:30_000],
        ]
    assert origin.requests[-1].headers["x-key"] == "y"
    assert max(request.n_sent for request in origin.requests) <= 4000


@pytest.fixture
def keeps_connections(monkeypatch):
    """Keep idle connections for longer than a busy machine takes for a fork."""
    init = functools.partialmethod(aiohttp.TCPConnector.__init__, keepalive_timeout=600)
    monkeypatch.setattr(aiohttp.TCPConnector, "__init__", init)


def read_in_child(fs, url, connection):
    try:
        connection.send((read_part(fs, url, 1), fs.stats.requests))
    finally:
        connection.close()


# Newer Pythons warn of any fork beside threads; that it works here all the same is what is tested.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.usefixtures("keeps_connections")
def test_inherited_by_forked_processes(origin, url):
    fs = lazy()
    assert read_part(fs, url, 0) == DATA[:10_000]
    fork = multiprocessing.get_context("fork")
    for _ in range(3):
        receiver, sender = fork.Pipe(duplex=False)
        child = fork.Process(target=read_in_child, args=(fs, url, sender))
        child.start()
        assert receiver.poll(120)
        assert receiver.recv() == (DATA[10_000:20_000], 1)
        child.join(120)
        assert child.exitcode == 0
        receiver.close()
        sender.close()
    assert read_part(fs, url, 2) == DATA[20_000:30_000]  # on the connection of before
    assert origin.n_connections == 4
    assert fs.stats.requests == 2


FORKS_AND_EXITS = """
import aiohttp, functools, os, sys, fsspec
init = functools.partialmethod(aiohttp.TCPConnector.__init__, keepalive_timeout=600)
aiohttp.TCPConnector.__init__ = init  # connections are kept for longer than a busy machine takes
fs, path = fsspec.core.url_to_fs(sys.argv[1])
assert len(fs.cat_file(path, 0, 1000)) == 1000
child = os.fork()
assert len(fs.cat_file(path, 1000, 3000)) == 2000
if child:
    os.waitpid(child, 0)
    assert len(fs.cat_file(path, 0, 10)) == 10
    print("done")
sys.exit()
"""


def test_nothing_is_left_open_at_the_end_not_even_after_a_fork(origin, url):
    command = [
        sys.executable,
        "-X",
        "dev",
        "-W",
        "error",
        "-W",
        "ignore::DeprecationWarning",
        "-c",
        FORKS_AND_EXITS,
    ]
    found = subprocess.run([*command, f"lazy{url}"], capture_output=True, text=True, timeout=300, check=False)
    assert (found.stdout, found.stderr) == ("done\n", "")
    assert origin.wait_until(lambda o: o.n_open == 0)
    assert origin.n_connections == 2


def test_dropping_a_file_system_closes_its_connections(origin, url):
    fs = lazy()
    read_part(fs, url, 0)
    assert origin.n_open == 1
    del fs
    gc.collect()
    assert origin.wait_until(lambda o: o.n_open == 0)


def test_instances_are_shared_and_equal_after_pickling(origin, url):
    fs = fsspec.filesystem("lazyhttp", max_concurrency=5)
    again = pickled(fs)
    assert again == fs == LazyHTTPFileSystem(max_concurrency=5)
    assert again != LazyHTTPFileSystem(max_concurrency=6)
    with fs.open(url, block_size=1000) as opened:
        opened.seek(500_000)
        copy = pickled(opened)
        assert copy.read(3000) == opened.read(3000) == DATA[500_000:503_000]
        copy.close()


def test_a_pickled_file_stays_with_its_version(origin, url):
    with lazy().open(url, block_size=1000) as opened:
        origin.put("/movie.mov", Pattern(SIZE, 1), etag='"v2"')
        with pickled(opened) as copy, pytest.raises(errors.RemoteFileChangedError):
            copy.read(1)


def test_errors_travel_between_processes(origin):
    with pytest.raises(errors.RemoteFileNotFoundError) as caught:
        lazy().cat_file(f"{origin.url}/none", 0, 10)
    again = pickled(caught.value)
    assert (type(again), str(again)) == (type(caught.value), str(caught.value))


@pytest.fixture
def interruptible():
    """Ctrl-C as in a terminal: programs that a shell starts in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_stops_the_download_itself(origin, url):
    origin.play("/movie.mov", stalls_in_body, stalls, stalls_in_body)
    fs = lazy(stall_timeout_seconds=60, deadline_seconds=60)

    def press():
        origin.wait_until(lambda o: o.n_at_work == 3)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        fs.cat_ranges([url] * 3, [0, 300_000, 600_000], [100, 300_100, 600_100], max_gap=0)
    thread.join()
    assert origin.wait_until(lambda o: o.n_open == 0)
    assert read_part(fs, url, 3) == DATA[30_000:40_000]
    assert fs.stats.retries == 0


def test_loops_of_ones_own(origin, url):
    fs = lazy(asynchronous=True)

    async def read():
        found = await asyncio.gather(*(fs._cat_file(url, i, i + 5) for i in range(5)))
        await fs.aclose()
        return found

    for _ in range(3):
        assert asyncio.run(read()) == [DATA[i : i + 5] for i in range(5)]
    assert origin.wait_until(lambda o: o.n_open == 0)


def test_a_blocking_call_within_its_own_loop_is_refused(url):
    fs = lazy()

    async def block():
        return fs.cat_file(url, 0, 5)

    with pytest.raises(RuntimeError, match="await _cat_file"):
        fsspec.asyn.sync(fs.loop, block)


def test_redirects_to_and_fro_do_not_wait_for_each_other(origin, url):
    with running_origin() as other:
        other.put("/movie.mov", SIZE)
        origin.play("/there", redirects(f"{other.url}/movie.mov"), always=True)
        other.play("/there", redirects(url), always=True)
        fs = lazy(max_concurrency=1)
        both = [f"{origin.url}/there", f"{other.url}/there"]
        with ThreadPoolExecutor(8) as pool:
            parts = list(pool.map(lambda i: read_part(fs, both[i % 2], i), range(40)))
        assert b"".join(parts) == DATA[:400_000]
        assert origin.most_at_once == other.most_at_once == 1
