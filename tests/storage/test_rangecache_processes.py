"""The cache in several processes: shared, forked, stopped and killed ones."""

import asyncio
import multiprocessing
import os
import random
import signal
import threading
import time

import pytest
from rangecache_target import NAME, SIZE, LoggedFileSystem, make_bytes

from camhd_access.storage.rangecache import CacheFolder, RangeCacheFileSystem, loader

SPAWN = multiprocessing.get_context("spawn")
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["camhd_access.storage.rangecache", "pytest"])


def start(target, *args):
    process = FORKSERVER.Process(target=target, args=args)
    process.start()
    return process


def finish(processes):
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)


# Each byte once


def open_and_read(world, barrier):
    data = make_bytes(SIZE)
    fs = world.session(delay_seconds=0.05)
    barrier.wait()
    assert fs.cat_file(NAME, start=-50_000) == data[-50_000:]
    starts = [i * 60_000 + random.randrange(5_000) for i in range(20)]
    barrier.wait()
    answers = fs.cat_ranges([NAME] * 20, starts, [s + 60_000 for s in starts])
    assert answers == [data[s : s + 60_000] for s in starts]


def test_eight_processes_that_read_the_same_at_the_same_time_fetch_it_once(world, data):
    barrier = FORKSERVER.Barrier(8)
    finish([start(open_and_read, world, barrier) for _ in range(8)])
    requests = world.requests()
    assert requests[0] == ("bytes", NAME, SIZE - 50_000, SIZE)
    # One that comes late is a later session, and may ask whether the file has changed.
    fetched = [i for request in requests if request[0] == "bytes" for i in range(*request[2:])]
    assert len(fetched) == len(set(fetched))


# Instances that were made elsewhere


def read_through(fs, data, stop):
    assert fs.cat_file(NAME, start=-1000) == data[-1000:]
    assert fs.cat_file(NAME, 0, stop) == data[:stop]
    assert fs.cat_ranges([NAME], 5, 10, on_error="raise") == [data[5:10]]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # that is the test
def test_forked_children_read_through_an_instance_of_their_parent(world, data):
    fs = world.session()
    fs.cat_file(NAME, 0, 1000)
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=read_through, args=(fs, data, 2000 + i)) for i in range(3)]
    for child in children:
        child.start()
    read_through(fs, data, 3000)
    finish(children)


def test_spawned_children_read_through_an_instance_of_their_parent(world, data):
    fs = RangeCacheFileSystem(fs=LoggedFileSystem(world.remote, world.log), cache_dir=world.cache_dir)
    fs.cat_file(NAME, 0, 1000)
    child = SPAWN.Process(target=read_through, args=(fs, data, 2000))
    child.start()
    finish([child])


# Death


def read_for_ever(world):
    validator = world.session().info(NAME)["validator"]
    world.session(delay_seconds=600).cat_file(NAME, 0, 1000, validator=validator)


def wait_for_request(world, request):
    while request not in (world.log.read_text() if world.log.exists() else ""):
        time.sleep(0.01)


def test_the_claim_of_a_killed_process_is_free_at_once(world, data):
    holder = start(read_for_ever, world)
    wait_for_request(world, f"bytes {NAME} 0 1000")
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(world.session().cat_file(NAME, 0, 1000)))
    waiting.start()
    time.sleep(0.1)
    assert answers == []
    os.kill(holder.pid, signal.SIGKILL)
    waiting.join(10)
    holder.join()
    assert answers == [data[:1000]]


def test_a_stopped_process_holds_others_up_for_a_while_only(world, data, monkeypatch):
    monkeypatch.setattr(loader, "_PATIENCE_SECONDS", 0.2)
    holder = start(read_for_ever, world)
    try:
        wait_for_request(world, f"bytes {NAME} 0 1000")
        os.kill(holder.pid, signal.SIGSTOP)
        assert world.session().cat_file(NAME, 0, 1000) == data[:1000]
    finally:
        holder.kill()
        holder.join()


def test_a_process_that_dies_while_it_writes_leaves_nothing_for_long(world, data):
    fs = world.session(max_bytes=1_000_000)
    fs.cat_file(NAME, 0, 1000)
    leftover = world.cache_dir / "ranges-1" / "tmp" / "0123456789abcdef"
    leftover.write_bytes(bytes(500_000))
    CacheFolder(world.cache_dir, 1_000_000).prune()
    assert not leftover.exists()


# Quota


def write_much(world, seed, max_bytes):
    data = make_bytes(SIZE)
    fs = world.session(max_bytes=max_bytes)
    rng = random.Random(seed)
    for _ in range(100):
        first = rng.randrange(SIZE)
        assert fs.cat_file(NAME, first, first + 50_000) == data[first : first + 50_000]


def test_eight_writers_stay_within_the_quota(world, data):
    max_bytes = SIZE // 5
    writers = [start(write_much, world, seed, max_bytes) for seed in range(8)]
    highest = 0
    while any(writer.is_alive() for writer in writers):
        highest = max(highest, world.kept_bytes())
        time.sleep(0.005)
    finish(writers)
    assert highest <= max_bytes + 8 * 50_000
    assert max_bytes // 2 < CacheFolder(world.cache_dir).info().n_bytes <= max_bytes


def test_closed_loops_do_not_matter(world, data):
    """One asynchronous instance in two event loops, one after the other."""
    target = LoggedFileSystem(world.remote, world.log, asynchronous=True, skip_instance_cache=True)
    fs = RangeCacheFileSystem(
        fs=target, cache_dir=world.cache_dir, asynchronous=True, skip_instance_cache=True
    )
    for _ in range(2):
        assert asyncio.run(fs._cat_file(NAME, 0, 1000)) == data[:1000]
    assert len(world.requests()) == 2
