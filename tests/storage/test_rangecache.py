"""The cache in one process: correct bytes, each fetched once, with as few requests as possible."""

import asyncio
import os
import pickle
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rangecache_target import NAME, SIZE, LoggedFileSystem, World, make_bytes

from camhd_access.errors import RemoteFileChangedError, RemoteFileError, TruncatedResponseError
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
from camhd_access.storage.rangecache import RangeCacheFileSystem, default_cache_dir, default_max_bytes

# Requests


def test_open_and_one_frame_cost_two_requests_and_no_byte_too_many(world, data):
    fs = world.session()
    assert fs.cat_file(NAME, start=-512_000) == data[-512_000:]
    info = fs.info(NAME)
    assert info["size"] == SIZE
    assert fs.cat_file(NAME, 100_001, 700_003, validator=info["validator"]) == data[100_001:700_003]
    assert world.requests() == [("bytes", NAME, SIZE - 512_000, SIZE), ("bytes", NAME, 100_001, 700_003)]


def test_a_second_open_in_a_session_costs_nothing(world, data):
    fs = world.session()
    for _ in range(2):
        assert fs.cat_file(NAME, start=-512_000) == data[-512_000:]
        assert fs.cat_file(NAME, 5, 600_000) == data[5:600_000]
    assert len(world.requests()) == 2


@pytest.mark.parametrize(
    ("options", "requests"),
    [
        ({}, [("info", NAME)]),
        ({"revalidate": 3600}, []),
        ({"revalidate": None}, []),
        ({"offline": True}, []),
    ],
)
def test_a_later_session_costs_one_request_without_bytes_or_none(world, data, options, requests):
    fs = world.session()
    fs.cat_file(NAME, start=-512_000)
    fs.cat_file(NAME, 5, 600_000)
    world.requests()
    fs = world.session(**options)
    assert fs.cat_file(NAME, start=-512_000) == data[-512_000:]
    assert fs.cat_file(NAME, 5, 600_000) == data[5:600_000]
    assert fs.cat_file(NAME, 400_000, 400_001) == data[400_000:400_001]
    assert world.requests() == requests


def test_a_worker_that_was_told_the_version_asks_nothing_for_what_is_kept(world, data):
    fs = world.session()
    fs.cat_file(NAME, 0, 1000)
    validator = fs.info(NAME)["validator"]
    world.requests()
    assert world.session().cat_file(NAME, 0, 1000, validator=validator) == data[:1000]
    assert world.requests() == []


def test_only_the_missing_bytes_are_fetched(world, data):
    fs = world.session()
    fs.info(NAME)
    fs.cat_file(NAME, 1000, 2000)
    fs.cat_file(NAME, 5000, 6000)
    world.requests()
    assert fs.cat_file(NAME, 500, 7000) == data[500:7000]
    assert sorted(world.requests()) == [
        ("bytes", NAME, 500, 1000),
        ("bytes", NAME, 2000, 5000),
        ("bytes", NAME, 6000, 7000),
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(-50, 5_050), st.integers(-50, 5_050)), max_size=4), max_size=6)
)
def test_any_reads_give_the_right_bytes_and_fetch_each_byte_once(tmp_path_factory, calls):
    world = World(tmp_path_factory.mktemp("world"))
    data = world.put(NAME, make_bytes(5_000))
    fs = world.session()
    fs.info(NAME)
    wanted = set()
    for call in calls:
        answers = fs.cat_ranges([NAME] * len(call), [a for a, _ in call], [b for _, b in call])
        assert answers == [data[a:b] for a, b in call]
        wanted |= {i for a, b in call for i in range(*slice(a, b).indices(5_000))}
    fetched = [i for request in world.requests() if request[0] == "bytes" for i in range(*request[2:])]
    assert sorted(fetched) == sorted(wanted)
    assert fs.stats.bytes_fetched == len(wanted)


def test_all_missing_ranges_of_a_file_are_asked_in_one_call(world, data):
    world.put("other.mov", data[::-1])

    class OneCall(LoggedFileSystem):
        calls = 0

        async def _cat_ranges(self, *args, **kwargs):
            OneCall.calls += 1
            return await super()._cat_ranges(*args, **kwargs)

    target = OneCall(world.remote, world.log, skip_instance_cache=True)
    fs = RangeCacheFileSystem(fs=target, cache_dir=world.cache_dir, skip_instance_cache=True)
    names = [NAME, "other.mov"] * 50
    starts = [i * 20_000 for i in range(100)]
    answers = fs.cat_ranges(names, starts, [s + 10_000 for s in starts])
    assert answers == [
        (data if n == NAME else data[::-1])[s : s + 10_000] for n, s in zip(names, starts, strict=True)
    ]
    assert OneCall.calls == 2
    assert fs.stats == type(fs.stats)(hits=0, misses=100, requests=102, bytes_fetched=1_000_000)
    fs.cat_ranges(names, starts, [s + 10_000 for s in starts])
    assert fs.stats == type(fs.stats)(100, 100, 102, bytes_from_cache=1_000_000, bytes_fetched=1_000_000)


# Slices


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        (0, 0),
        (10, 5),
        (SIZE - 5, SIZE + 5),
        (SIZE, SIZE + 5),
        (-10, None),
        (-SIZE - 10, None),
        (-10, -5),
        (5, -10),
        (None, 7),
        (7, None),
    ],
)
def test_positions_mean_what_they_mean_in_a_slice(world, data, start, end):
    for _ in range(2):
        assert world.session().cat_file(NAME, start, end) == data[start:end]


# Versions


def test_a_changed_file_is_read_anew_by_the_next_session(world, data):
    fs = world.session()
    assert fs.cat_file(NAME, start=-1000) == data[-1000:]
    assert fs.cat_file(NAME, 0, 1000) == data[:1000]
    new = world.put(NAME, make_bytes(SIZE, seed=1))
    fs = world.session()
    assert fs.cat_file(NAME, start=-1000) == new[-1000:]
    assert fs.cat_file(NAME, 0, 1000) == new[:1000]
    assert len(world.blocks()) == 2


def test_a_worker_that_was_told_a_new_version_is_not_misled_by_what_is_kept_of_the_old(world, data):
    world.session().cat_file(NAME, 0, 1000)
    new = world.put(NAME, make_bytes(SIZE, seed=1))
    validator = world.session(cache_dir=world.cache_dir / "elsewhere").info(NAME)["validator"]
    assert world.session().cat_file(NAME, 0, 1000, validator=validator) == new[:1000]


def test_a_change_within_a_session_is_an_error_and_never_mixed_bytes(world, data):
    fs = world.session()
    assert fs.cat_file(NAME, 0, 1000) == data[:1000]
    validator = fs.info(NAME)["validator"]
    new = world.put(NAME, make_bytes(SIZE, seed=1))
    with pytest.raises(RemoteFileChangedError):
        fs.cat_file(NAME, 500, 1500)
    assert world.blocks() == []
    assert fs.cat_file(NAME, 500, 1500) == new[500:1500]
    with pytest.raises(RemoteFileChangedError, match="replaced while it was in use"):
        fs.cat_file(NAME, 500, 1500, validator=validator)
    assert isinstance(fs.cat_ranges([NAME], 0, 5, validator=validator)[0], RemoteFileChangedError)
    with pytest.raises(RemoteFileChangedError):
        fs.cat_ranges([NAME], 0, 5, on_error="raise", validator=validator)


def test_who_finds_the_old_version_gone_leaves_the_new_one_to_others(world, data):
    old = world.session()
    assert old.cat_file(NAME, 0, 1000) == data[:1000]
    new_data = world.put(NAME, make_bytes(SIZE, seed=1))
    assert world.session().cat_file(NAME, 0, 1000) == new_data[:1000]
    with pytest.raises(RemoteFileChangedError):
        old.cat_file(NAME, 0, 2000)
    world.requests()
    assert world.session(offline=True).cat_file(NAME, 0, 1000) == new_data[:1000]


def test_a_file_without_a_mark_of_its_version_is_read_but_not_kept(world, data):
    class Unmarked(LoggedFileSystem):
        def _describe(self, path):
            info = super()._describe(path)
            return info | {"etag": None, "validator": f":{info['size']}"}

    target = Unmarked(world.remote, world.log, skip_instance_cache=True)
    fs = RangeCacheFileSystem(fs=target, cache_dir=world.cache_dir, skip_instance_cache=True)
    for _ in range(2):
        assert fs.cat_file(NAME, 0, 1000) == data[:1000]
    assert world.requests() == [("info", NAME), ("bytes", NAME, 0, 1000), ("bytes", NAME, 0, 1000)]
    assert world.blocks() == []


@pytest.mark.parametrize(("change", "error"), [(-1, TruncatedResponseError), (1, RemoteFileError)])
def test_an_answer_of_the_wrong_length_is_an_error_and_not_kept(world, data, change, error):
    class Sloppy(LoggedFileSystem):
        async def _cat_file(self, path, start=None, end=None, *, validator=None):
            return await super()._cat_file(path, start, end + change, validator=validator)

    target = Sloppy(world.remote, world.log, skip_instance_cache=True)
    fs = RangeCacheFileSystem(fs=target, cache_dir=world.cache_dir, skip_instance_cache=True)
    with pytest.raises(error, match="1000 bytes from byte 10 on were requested"):
        fs.cat_file(NAME, 10, 1010)
    assert world.blocks() == []


def test_an_error_stays_with_the_ranges_that_it_concerns(world, data):
    class Faulty(LoggedFileSystem):
        async def _cat_file(self, path, start=None, end=None, *, validator=None):
            if start == 5000:
                raise RemoteFileError("no")
            return await super()._cat_file(path, start, end, validator=validator)

    target = Faulty(world.remote, world.log, skip_instance_cache=True)
    fs = RangeCacheFileSystem(fs=target, cache_dir=world.cache_dir, skip_instance_cache=True)
    one, two, three = fs.cat_ranges([NAME] * 3, [0, 5000, 9000], [10, 5010, 9010])
    assert (one, three) == (data[:10], data[9000:9010])
    assert isinstance(two, RemoteFileError)
    missing = fs.cat_ranges([NAME, "nothing.mov"], 0, 10)
    assert missing[0] == data[:10]
    assert isinstance(missing[1], FileNotFoundError)


# Offline


def test_offline_answers_from_the_folder_alone(world, data):
    with pytest.raises(RemoteFileError, match="offline"):
        world.session(offline=True).info(NAME)
    world.session().cat_file(NAME, 0, 1000)
    world.requests()
    fs = world.session(offline=True)
    assert fs.cat_file(NAME, 10, 20) == data[10:20]
    with pytest.raises(RemoteFileError, match="offline"):
        fs.cat_file(NAME, 990, 1001)
    with pytest.raises(RemoteFileError, match="offline"):
        fs.ls("")
    assert world.requests() == []


# Many at once


def test_many_threads_that_open_and_read_the_same_fetch_it_once(world, data):
    fs = world.session(delay_seconds=0.05)

    def read(_):
        return fs.cat_file(NAME, start=-1000), fs.cat_file(NAME, 0, 600_000)

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(read, range(64))) == {(data[-1000:], data[:600_000])}
    assert world.requests() == [("bytes", NAME, SIZE - 1000, SIZE), ("bytes", NAME, 0, 600_000)]


def test_even_without_a_folder_many_threads_fetch_the_same_once(world, data):
    world.cache_dir.write_text("a file where the folder should be")
    fs = world.session(delay_seconds=0.2)
    for start, stop in ((-1000, None), (0, 600_000)):
        with ThreadPoolExecutor(8) as pool:
            answers = set(pool.map(lambda _, a=start, b=stop: fs.cat_file(NAME, a, b), range(8)))
        assert answers == {data[start:stop]}
    assert world.requests() == [("bytes", NAME, SIZE - 1000, SIZE), ("bytes", NAME, 0, 600_000)]


def test_instances_of_one_process_share_what_is_under_way(world, data):
    sessions = [world.session(delay_seconds=0.05) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda fs: fs.cat_file(NAME, start=-100_000), sessions))
        assert answers == [data[-100_000:]] * 8
        answers = list(pool.map(lambda i: sessions[i].cat_file(NAME, i * 100, 50_000), range(8)))
    assert answers == [data[i * 100 : 50_000] for i in range(8)]
    # A thread that comes late, when nothing is in flight any more, asks whether the file is still the same.
    fetched = [i for kind, _, *bounds in world.requests() if kind == "bytes" for i in range(*bounds)]
    assert sorted(fetched) == [*range(50_000), *range(SIZE - 100_000, SIZE)]


def test_a_cancelled_reader_takes_nothing_from_those_who_wait_with_it(world, data):
    async def main():
        target = LoggedFileSystem(world.remote, world.log, 0.05, asynchronous=True, skip_instance_cache=True)
        fs = RangeCacheFileSystem(
            fs=target, cache_dir=world.cache_dir, asynchronous=True, skip_instance_cache=True
        )
        await fs._info(NAME)
        first = asyncio.create_task(fs._cat_file(NAME, 0, 1000))
        others = [asyncio.create_task(fs._cat_file(NAME, 0, 1000)) for _ in range(1000)]
        await asyncio.sleep(0.02)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert set(await asyncio.gather(*others)) == {data[:1000]}

    asyncio.run(main())
    assert world.requests() == [("info", NAME), ("bytes", NAME, 0, 1000)]


def test_who_waits_for_somebody_elses_claim_holds_up_nobody(world, data):
    gate = threading.Event()

    class Gated(LoggedFileSystem):
        async def _cat_file(self, path, start=None, end=None, *, validator=None):
            answer = await super()._cat_file(path, start, end, validator=validator)
            await asyncio.to_thread(gate.wait)
            return answer

    target = Gated(world.remote, world.log, skip_instance_cache=True)
    gated = RangeCacheFileSystem(fs=target, cache_dir=world.cache_dir, skip_instance_cache=True)
    fs = world.session()
    with ThreadPoolExecutor(2) as pool:
        owner = pool.submit(gated.cat_file, NAME, 0, 1000)
        while not (world.log.exists() and "bytes" in world.log.read_text()):
            pass
        waiting = pool.submit(fs.cat_file, NAME, 500, 1500)
        assert fs.cat_file(NAME, 2000, 3000) == data[2000:3000]
        assert not owner.done()
        assert not waiting.done()
        gate.set()
        assert (owner.result(), waiting.result()) == (data[:1000], data[500:1500])
    assert ("bytes", NAME, 1000, 1500) in world.requests()


# fsspec


def test_url_chains(tmp_path, data, monkeypatch):
    monkeypatch.setenv("CAMHD_CACHE_DIR", str(tmp_path / "chained"))
    (tmp_path / NAME).write_bytes(data)
    fsspec.filesystem("memory").pipe_file("/chain/movie.mov", data)
    for url in (f"file://{tmp_path}/{NAME}", "memory://chain/movie.mov"):
        fs, path = fsspec.url_to_fs(f"lazy::{url}")
        assert isinstance(fs, RangeCacheFileSystem)
        assert fs.folder.path == tmp_path / "chained"
        assert fs.cat_file(path, start=-1000) == data[-1000:]
        assert fs.cat_file(url, 5, 10) == fs.cat_file(f"lazy::{url}", 5, 10) == data[5:10]
        assert fs.info(path)["size"] == fs.size(path) == SIZE
        assert fs.exists(path)
        assert not fs.exists(path + "x")
        assert path in fs.ls(path.rpartition("/")[0], detail=False)
        assert fs.glob(path.replace(NAME, "*.mov")) == [path]
        assert path in fs.find(path.rpartition("/")[0])
        assert fs.unstrip_protocol(path) == f"lazy::{fs.fs.unstrip_protocol(path)}"
        assert fs.cat_file(fs.unstrip_protocol(path), 5, 10) == data[5:10]
        with fsspec.open(f"lazy::{url}") as file:
            file.seek(-10, 2)
            assert file.read() == data[-10:]
        with pytest.raises(NotImplementedError):
            fs.open(path, "wb")
    assert fsspec.url_to_fs("lazy::memory://chain/other.mov")[0] is fs


def test_http_goes_through_the_filesystem_that_checks_its_answers():
    fs, path = fsspec.url_to_fs("lazy::https://127.0.0.1:1/a%20b/movie.mov")
    assert type(fs.fs) is LazyHTTPFileSystem
    assert path == "https://127.0.0.1:1/a%20b/movie.mov"
    options = {"lazy": {"max_bytes": "1 MiB"}, "https": {"tries": 1}}
    fs, _ = fsspec.url_to_fs("lazy::https://127.0.0.1:1/movie.mov", **options)
    assert fs.folder.max_bytes == 1 << 20


def test_a_dead_server_is_no_empty_folder(tmp_path):
    fs = RangeCacheFileSystem("http", {"tries": 1}, cache_dir=tmp_path)
    with pytest.raises(RemoteFileError):
        fs.find("http://127.0.0.1:1/files/")


def test_real_servers(webserver, web_root, tmp_path, data):
    (web_root / "rangecache").mkdir(exist_ok=True)
    (web_root / "rangecache" / NAME).write_bytes(data)
    url = f"{webserver.url}/rangecache/{NAME}"

    def session():
        target = LazyHTTPFileSystem(skip_instance_cache=True)
        return RangeCacheFileSystem(fs=target, cache_dir=tmp_path / webserver.name, skip_instance_cache=True)

    fs = session()
    assert fs.cat_file(url, start=-512_000) == data[-512_000:]
    assert fs.cat_file(url, 100, 600_100, validator=fs.info(url)["validator"]) == data[100:600_100]
    assert (fs.fs.stats.requests, fs.stats.bytes_fetched) == (2, 1_112_000)
    fs = session()
    assert fs.cat_file(url, start=-512_000) == data[-512_000:]
    assert fs.cat_ranges([url] * 2, [100, 5000], [600_100, 6000]) == [data[100:600_100], data[5000:6000]]
    assert (fs.fs.stats.requests, fs.stats.bytes_fetched, fs.stats.hits) == (1, 0, 3)


def test_a_new_session_finds_a_changed_file_though_its_http_filesystem_is_an_old_one(
    webserver, web_root, tmp_path, data
):
    (web_root / "rangecache").mkdir(exist_ok=True)
    url = f"{webserver.url}/rangecache/changing.mov"
    target = LazyHTTPFileSystem(skip_instance_cache=True)
    for seed in range(3):
        data = make_bytes(100_000 + seed, seed)
        (web_root / "rangecache" / "changing.mov").write_bytes(data)
        fs = RangeCacheFileSystem(fs=target, cache_dir=tmp_path / webserver.name, skip_instance_cache=True)
        assert fs.cat_file(url, start=-1000) == data[-1000:]
        assert fs.cat_file(url, 0, 1000) == data[:1000]


def test_instances_pickle(world, data):
    fs = RangeCacheFileSystem(fs=LoggedFileSystem(world.remote, world.log), cache_dir=world.cache_dir)
    copy = pickle.loads(pickle.dumps(fs))  # noqa: S301 - our own
    assert copy is fs
    fs.clear_instance_cache()
    copy = pickle.loads(pickle.dumps(fs))  # noqa: S301 - our own
    assert copy is not fs
    assert copy.cat_file(NAME, 0, 10) == data[:10]


def test_unknown_options_are_refused(tmp_path):
    with pytest.raises(TypeError):
        RangeCacheFileSystem("memory", cache_dri=tmp_path)
    with pytest.raises(ValueError, match="filesystem behind"):
        RangeCacheFileSystem(cache_dir=tmp_path)
    with pytest.raises(ValueError):
        RangeCacheFileSystem("memory", max_bytes="-1")


def test_settings_from_argument_configuration_environment_and_platform(monkeypatch, tmp_path):
    for name in ("CAMHD_CACHE_DIR", "CAMHD_CACHE_SIZE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert default_cache_dir() == Path.home() / ".cache" / "camhd_access"
    assert default_max_bytes() == 10 * 2**30
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_cache_dir() == Path.home() / ".cache" / "camhd_access"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "camhd_access"
    monkeypatch.setattr("sys.platform", "darwin")
    assert default_cache_dir() == Path.home() / "Library" / "Caches" / "camhd_access"

    def homeless():
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    assert default_cache_dir() == Path(tempfile.gettempdir()) / f"camhd_access-{os.getuid()}"
    monkeypatch.setenv("CAMHD_CACHE_DIR", str(tmp_path / "env"))
    monkeypatch.setenv("CAMHD_CACHE_SIZE", "20 GiB")
    fs = RangeCacheFileSystem("memory", skip_instance_cache=True)
    assert (fs.folder.path, fs.folder.max_bytes) == (tmp_path / "env", 20 * 2**30)
    monkeypatch.setitem(
        fsspec.config.conf, "lazy", {"max_bytes": "1000", "cache_dir": str(tmp_path / "conf")}
    )
    fs = RangeCacheFileSystem("memory", skip_instance_cache=True)
    assert (fs.folder.path, fs.folder.max_bytes) == (tmp_path / "conf", 1000)
    fs = RangeCacheFileSystem("memory", skip_instance_cache=True, cache_dir=tmp_path, max_bytes=5)
    assert (fs.folder.path, fs.folder.max_bytes) == (tmp_path, 5)
