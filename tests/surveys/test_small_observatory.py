"""`benchmarks/observatory.py` in small: machines that are killed while they share a limit on requests."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import dask
import pandas as pd
import pytest
from clusters import Machines
from distributed import Client
from running_server import wait_until
from surveyed import write_numbered
from watched import watching

from camhd_access import survey
from camhd_access.storage.rangecache import CacheFolder
from camhd_access.synthetic import read_frame_number

MOVIES = [f"CAMHDA301-201612{day:02}T000000Z" for day in range(1, 17)]
N_QUICK = 8
"""Movies of which the server sends bytes at once, so that `PER_SECOND` limits, and not `AT_ONCE`."""
AT_ONCE, PER_SECOND = 2, 8
N_WORKERS, N_THREADS = 2, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Movies of which a request for the index is not enough to read frames."""
    folder = tmp_path_factory.mktemp("movies")
    for n in range(3):
        write_numbered(folder / f"{MOVIES[n]}.mov", n, n_frames=60)
    for n in range(3, len(MOVIES)):
        os.link(folder / f"{MOVIES[n % 3]}.mov", folder / f"{MOVIES[n]}.mov")
    return folder


@pytest.fixture
def watch(folder):
    with watching(folder, lambda path: 0.4 if path > f"/{MOVIES[N_QUICK]}" else 0.0) as watch:
        yield watch


@pytest.fixture
def table(folder, watch):
    """The movies with their sizes, so that no request is needed to see that they have not changed."""
    files = [folder / f"{name}.mov" for name in MOVIES]
    return pd.DataFrame(
        {
            "url": [watch.url + file.name for file in files],
            "file_size": [file.stat().st_size for file in files],
        }
    )


def make_function(hold):
    """A function, sent by value to workers, that does not end the last movie while the file `hold` exists."""

    def number(pictures, context):
        while context.movie == MOVIES[-1] and hold.exists():
            time.sleep(0.02)
        return {"number": [read_frame_number(picture) for picture in pictures]}

    return number


OPTIONS = {"frames": [3, 50], "pix_fmt": "gray", "progress": False, "at_once": AT_ONCE}


@pytest.fixture
def machines(tmp_path):
    with Machines(tmp_path) as machines:
        yield machines


@pytest.fixture
def run(watch, table, machines, tmp_path):
    """A function that does a survey on new machines, while another function does something to them.

    The limits hold until the survey returns its rows or raises an error.
    """

    def run(function, disturb=lambda: None):
        watch.clear()
        machines.start_scheduler()
        for n in range(N_WORKERS):
            machines.start_worker(n, n_threads=N_THREADS)
        with Client(machines.address, timeout=100) as client, ThreadPoolExecutor() as pool:
            client.wait_for_workers(N_WORKERS)
            begin = time.monotonic()
            disturbing = pool.submit(disturb)
            try:
                return survey(
                    function, table, out=tmp_path / "out", client=client, per_second=PER_SECOND, **OPTIONS
                )
            finally:
                disturbing.result()
                assert all(start - begin >= n / PER_SECOND for n, start in enumerate(watch.starts))
                assert 1 < watch.most <= AT_ONCE

    return run


def stamps_in(out):
    """When the file of each movie that is done was written."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob("done-*")}


def test_machines_that_are_killed_and_started_again(table, watch, machines, run, tmp_path):
    out, hold = tmp_path / "out", tmp_path / "hold"
    function = make_function(hold)
    with dask.config.set(scheduler="threads"):
        wanted = survey(function, table, out=tmp_path / "undisturbed", per_second=None, **OPTIONS)
    assert wanted["number"].tolist() == [n % 3 * 100 + f for n in range(len(MOVIES)) for f in (3, 50)]

    def disturb():
        wait_until(lambda: len(stamps_in(out)) >= 3)
        machines.kill(0)
        wait_until(lambda: len(stamps_in(out)) >= 10)
        machines.kill()

    hold.touch()
    with pytest.raises(OSError, match="the same call goes on with the movies that are missing"):
        run(function, disturb)
    machines.kill_all()
    hold.unlink()
    kept = stamps_in(out)
    rows = run(function)
    pd.testing.assert_frame_equal(rows, wanted)
    assert rows.attrs["survey"].startswith(f"{len(MOVIES) - len(kept)} movies done")
    assert f"0 failed, {len(kept)} skipped" in rows.attrs["survey"]
    assert kept.items() <= stamps_in(out).items()
    assert len(pd.read_parquet(out)) == len(rows)
    done_before = {name.removeprefix("done-").partition(".")[0] for name in kept}
    assert not done_before & {request.path[1:].partition(".")[0] for request in watch.requests}
    assert all(CacheFolder(machines.cache_of(n)).info().n_blocks for n in range(N_WORKERS))
