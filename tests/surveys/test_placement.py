"""Movies are read where their bytes are cached; clusters may grow from nothing."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Thread

import dask
import pandas as pd
import pytest
from clusters import require_addresses
from distributed import Client, LocalCluster, Scheduler, SpecCluster, Worker, get_worker
from distributed.comm.addressing import get_address_host
from distributed.comm.core import CommClosedError
from running_server import wait_until

from camhd_access import survey
from camhd_access.surveys.dataset import ResultFile
from camhd_access.surveys.placement import choose_host
from camhd_access.synthetic import serve_folder

MOVIES = [f"CAMHDA301-2016{month:02}{day:02}T000000Z" for month in range(1, 11) for day in range(1, 21)]


def choose_all(hosts):
    return {movie: choose_host(movie, hosts) for movie in MOVIES}


def test_hosts_get_movies_in_proportion_to_their_threads():
    counts = Counter(choose_all({"10.0.0.1": 1, "10.0.0.2": 1, "10.0.0.3": 2}).values())
    for host, share in {"10.0.0.1": 50, "10.0.0.2": 50, "10.0.0.3": 100}.items():
        assert abs(counts[host] - share) < 25, counts  # 3.5 standard deviations and more


def test_only_movies_of_a_host_that_is_gone_move():
    before = choose_all(dict.fromkeys("abcd", 2))
    after = choose_all(dict.fromkeys("abd", 2))
    moved = {movie for movie in MOVIES if before[movie] != after[movie]}
    assert moved == {movie for movie, host in before.items() if host == "c"}
    assert {after[movie] for movie in moved} == {"a", "b", "d"}


def test_the_order_of_hosts_does_not_matter():
    assert choose_all({"a": 1, "b": 2}) == choose_all({"b": 2, "a": 1})


def slowly(pictures, context):
    time.sleep(0.2)
    return where(pictures, context)


def where(pictures, context):
    return {"host": get_address_host(get_worker().address), "worker": str(get_worker().name)}


@pytest.fixture
def two_hosts():
    """A client of two workers, each on an address of its own; neither takes over movies of the other."""
    with dask.config.set({"distributed.scheduler.work-stealing": False}), running_hosts() as (client, _):
        yield client


@contextmanager
def running_hosts():
    require_addresses()
    spec = {
        n: {"cls": Worker, "options": {"host": f"127.0.0.{n}", "nthreads": 1, "dashboard": False}}
        for n in (1, 2)
    }
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": ":0"}}
    with SpecCluster(workers=spec, scheduler=scheduler) as cluster, Client(cluster) as client:
        client.wait_for_workers(2)
        yield client, cluster


def test_a_movie_is_read_on_the_same_host_in_each_survey(many, two_hosts, tmp_path):
    options = {"frames": [1], "pix_fmt": "gray", "client": two_hosts, "progress": False}
    hosts = {"127.0.0.1": 1, "127.0.0.2": 1}
    for out in ("a", "b"):
        table = survey(where, many, out=tmp_path / out, **options)
        assert table["error"].isna().all()
        assert table["host"].tolist() == [choose_host(movie, hosts) for movie in table["movie"]]
        assert set(table["host"]) == set(hosts)


def test_a_worker_that_is_retired(many, two_hosts, tmp_path):
    """What it was reading is read by the others."""
    (victim, *_), out = two_hosts.nthreads(), tmp_path / "out"

    def retire():
        wait_until(lambda: list(out.glob("done-*")))
        two_hosts.retire_workers([victim])

    with ThreadPoolExecutor() as pool:
        retiring = pool.submit(retire)
        table = survey(slowly, many, frames=[1], out=out, client=two_hosts, pix_fmt="gray", progress=False)
        retiring.result()
    assert table["error"].isna().all()
    assert table["movie"].is_unique
    assert len(table) == len(many)
    assert victim not in two_hosts.nthreads()


def test_a_scheduler_that_is_gone_when_it_is_asked_for_its_workers(many, two_hosts, tmp_path, monkeypatch):
    def fail(_):
        raise CommClosedError("in <TCP (closed) ConnectionPool.ncores>: Connection reset by peer")

    monkeypatch.setattr(Client, "nthreads", fail)
    options = {"frames": [1], "pix_fmt": "gray", "client": two_hosts, "progress": False}
    with pytest.raises(
        ConnectionAbortedError, match="the same call goes on with the movies that are missing"
    ):
        survey(where, many, out=tmp_path / "out", **options)


def test_a_cluster_that_ends_meanwhile(many, tmp_path):
    options = {"frames": [1], "pix_fmt": "gray", "out": tmp_path / "out", "progress": False}
    with running_hosts() as (client, cluster):

        def close():
            wait_until(lambda: list(options["out"].glob("*.parquet")))
            cluster.close()

        closing = Thread(target=close)
        closing.start()
        with pytest.raises(OSError, match="the same call goes on with the movies that are missing"):
            survey(slowly, many, client=client, **options)
        closing.join()
    with dask.config.set(scheduler="threads"):
        table = survey(slowly_here, many, **options)
    assert table["error"].isna().all()
    assert table["movie"].is_unique
    assert len(table) == len(many)


def slowly_here(pictures, context):
    return {"host": "", "worker": ""}


slowly_here.__name__ = "slowly"


SEEN = set()
"""The workers of the cluster that grows."""


def with_another(pictures, context):
    """Ends when two workers have come."""
    SEEN.add(get_worker().name)
    wait_until(lambda: len(SEEN) >= 2)
    return where(pictures, context)


def test_a_cluster_that_grows_from_nothing(many, tmp_path):
    SEEN.clear()
    with (
        LocalCluster(n_workers=0, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        cluster.adapt(minimum=0, maximum=2, interval="50ms")
        options = {"frames": [1], "pix_fmt": "gray", "client": client, "progress": False}
        table = survey(with_another, many, out=tmp_path / "out", **options)
    assert table["error"].isna().all()
    assert table["movie"].is_unique
    assert len(table) == len(many)
    assert table["worker"].nunique() == 2


class Visits:
    """The movies that a function was called for; from the fourth on it ends when it is told."""

    def __init__(self):
        self.movies = []
        self.may_end = Event()

    def __call__(self, pictures, context):
        self.movies.append(context.movie)
        if len(self.movies) > 3:
            self.may_end.wait(100)
        return len(pictures)


VISITS = Visits()


def visit(pictures, context):
    return VISITS(pictures, context)


def test_a_cluster_that_shrinks_while_all_its_workers_work(many, tmp_path):
    """Each worker that it loses loses one movie, and what was finished is not read again."""
    out = tmp_path / "out"

    def shrink():
        wait_until(lambda: len(list(out.glob("done-*"))) == 3 and len(VISITS.movies) == 6)
        finished = {path: path.stat().st_mtime_ns for path in out.glob("done-*")}
        cluster.adapt(minimum=1, maximum=1, interval="20ms", wait_count=1)
        wait_until(lambda: len(client.nthreads()) == 1)
        VISITS.may_end.set()
        return finished

    with (
        LocalCluster(n_workers=3, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        ThreadPoolExecutor() as pool,
    ):
        shrinking = pool.submit(shrink)
        table = survey(visit, many, frames=[1], client=client, out=out, pix_fmt="gray", progress=False)
        finished = shrinking.result()
    assert table["error"].isna().all()
    assert table["movie"].tolist() == MOVIES[:12]
    assert len(pd.read_parquet(out)) == len(table)
    counts = Counter(VISITS.movies)
    assert sorted(counts.values()) == [1] * 10 + [2] * 2
    assert [counts[ResultFile.parse(path.name).movie] for path in finished] == [1, 1, 1]
    assert finished == {path: path.stat().st_mtime_ns for path in finished}


@pytest.fixture
def many(written, tmp_path):
    """URLs of twelve movies on a web server."""
    folder = tmp_path / "movies"
    folder.mkdir()
    movie = next(path for path in sorted(written.iterdir()) if path.stat().st_size)
    for name in MOVIES[:12]:
        (folder / f"{name}.mov").hardlink_to(movie)
    with serve_folder(folder) as server:
        yield [f"{server.url}{name}.mov" for name in MOVIES[:12]]
