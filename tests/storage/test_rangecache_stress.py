"""Sixteen processes read at random from one cache with a small quota, while some are killed.

Every byte must be right and the quota kept. By default a few seconds of it; `CAMHD_STRESS_KILLS=100000` for a
whole night.
"""

import multiprocessing
import os
import random
import shutil
import time

import pytest
from rangecache_target import World, make_bytes

from camhd_access.storage.rangecache import CacheFolder

N_KILLS = int(os.environ.get("CAMHD_STRESS_KILLS", "50"))
N_PROCESSES = 16
FILES = {f"{i}.mov": make_bytes(4_000_000, seed=i) for i in range(3)}
MAX_BYTES = sum(map(len, FILES.values())) // 10
LONGEST = 60_000
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["camhd_access.storage.rangecache", "pytest"])


def read_at_random(world, seed):
    rng = random.Random(seed)
    while not (world.remote / "stop").exists():
        fs = world.session(max_bytes=MAX_BYTES, revalidate=rng.choice([0, 1]))
        for _ in range(20):
            name = rng.choice(list(FILES))
            data = FILES[name]
            n_ranges = rng.randrange(4)
            # Half of them begin at one of ten places, so that processes meet.
            starts = [
                rng.choice([rng.randrange(10) * 50_000, rng.randrange(len(data))]) for _ in range(n_ranges)
            ]
            stops = [s + rng.randrange(LONGEST) for s in starts]
            answers = fs.cat_ranges([name] * n_ranges, starts, stops, on_error="raise")
            assert answers == [data[a:b] for a, b in zip(starts, stops, strict=True)]
            n_tail = rng.randrange(1, LONGEST)
            assert fs.cat_file(name, start=-n_tail) == data[-n_tail:]


def damage_something(world, rng):
    """An event that can happen to a folder in use."""
    files = [p for p in world.cache_dir.rglob("*") if p.is_file() and p.name != "locks"]
    try:
        path = rng.choice(files)
        match rng.randrange(20):
            case 0:
                shutil.rmtree(world.cache_dir, ignore_errors=True)
            case 1 | 2 | 3:
                path.unlink()
            case 4 | 5 | 6:
                os.truncate(path, rng.randrange(path.stat().st_size))
            case _:
                with path.open("r+b") as file:
                    file.seek(rng.randrange(path.stat().st_size))
                    file.write(b"?")
    except (OSError, IndexError, ValueError):
        pass  # it was evicted first, or is empty


@pytest.mark.parametrize("with_damage", [False, True])
def test_random_reads_and_kills(tmp_path, with_damage):
    world = World(tmp_path)
    for name, data in FILES.items():
        world.put(name, data)
    rng = random.Random(with_damage)
    processes = {}
    highest = 0
    for kill in range(N_KILLS):
        while len(processes) < N_PROCESSES:
            seed = 100 * kill + len(processes)
            processes[seed] = FORKSERVER.Process(target=read_at_random, args=(world, seed))
            processes[seed].start()
        time.sleep(rng.uniform(0, 0.05))
        highest = max(highest, world.kept_bytes())
        if with_damage:
            damage_something(world, rng)
        victim = processes.pop(rng.choice(list(processes)))
        assert victim.is_alive(), f"a reader failed by itself: {victim.exitcode}"
        victim.kill()
        victim.join()
    (world.remote / "stop").touch()
    for process in processes.values():
        process.join(60)
    assert {process.exitcode for process in processes.values()} == {0}
    if not with_damage:
        assert highest <= MAX_BYTES + N_PROCESSES * LONGEST
    folder = CacheFolder(world.cache_dir, MAX_BYTES)
    report = folder.verify()
    assert with_damage or report.n_damaged == 0
    folder.prune()
    assert world.kept_bytes() <= MAX_BYTES
    assert list(world.cache_dir.glob("ranges-1/tmp/*")) == []
    fs = world.session(max_bytes=MAX_BYTES)
    assert all(fs.cat_file(name) == data for name, data in FILES.items())
