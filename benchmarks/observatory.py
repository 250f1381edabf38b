"""A simulated observatory: a survey of a whole deployment, undisturbed and disturbed, on four workers.

`python -m benchmarks.observatory CATALOG` (as root; the catalogue of August 2018, about seven minutes) makes
the archive of 9,441 movies, which takes 3 GB on disk, in `benchmarks/.cache/observatory`. It prints what was
measured: rates, requests, bytes, CPU and memory, from the workers and from the archive's own log, which also
shows whether the limits of the survey held. Every result is compared with the pictures that were written.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.observatory_archive import CORNER, FRAMES, THRESHOLD, Archive, make_archive
from benchmarks.observatory_sites import SCHEDULER, Sites, open_sites

FOLDER = Path(__file__).parent / ".cache" / "observatory"
N_WORKERS, N_THREADS = 4, 2
AT_ONCE, PER_SECOND = 16, 50
PAUSE_SECONDS = 2.0


def count_bright(pictures: np.ndarray, context: Any) -> dict[str, list[int]]:  # noqa: ARG001
    """The floc proxy: bright pixels of each picture."""
    return {"n_bright": [int((picture > THRESHOLD).sum()) for picture in pictures]}


def count_after_pause(pictures: np.ndarray, context: Any) -> dict[str, list[int]]:
    """Likewise, after a pause: a computation on a processor that a worker has for itself."""
    time.sleep(PAUSE_SECONDS)
    return count_bright(pictures, context)


# ---- on the node of the client


def run_survey(state: Path, options: dict[str, Any]) -> None:
    """Run a survey on the cluster, and print what it took, as JSON."""
    from distributed import Client

    from camhd_access import survey

    table = pd.read_parquet(state / "table.parquet")
    n_workers, function = options.pop("n_workers"), globals()[options.pop("function", "count_bright")]
    with Client(SCHEDULER, timeout=60) as client:
        client.wait_for_workers(n_workers, timeout=120)
        client.run(import_module, survey.__module__)  # a worker that has just started would count for less
        before = client.run(spent)
        begin = time.monotonic()
        mine = time.process_time()
        report = survey.run(
            function,
            table,
            frames=FRAMES,
            pix_fmt="gray10le",
            client=client,
            progress=False,
            **CORNER,
            **options,
        )
        seconds, mine = time.monotonic() - begin, time.process_time() - mine
        after = client.run(spent)
    told = {
        "seconds": seconds,
        "client_seconds": mine,
        "worker_seconds": sum(after[w][0] - before.get(w, (0, 0))[0] for w in after),
        "peak_mb": max(after[w][1] for w in after),
        "done": len(report.done),
        "failed": report.failed,
        "skipped": len(report.skipped),
    }
    print(json.dumps(told))


def fill_store(state: Path) -> None:
    """Keep the index of each movie in a store."""
    from camhd_access import MovieReader
    from camhd_access.movie.index_store import IndexStore

    store = IndexStore.open(str(state / "indexes"))

    def keep(url: str) -> None:
        reader = MovieReader(url, cache=False)
        store.keep(url, reader.index, version=reader.source.version, file_size=reader.file_size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, pd.read_parquet(state / "table.parquet")["url"]))


def spent() -> tuple[float, float]:
    """CPU seconds of this process, and its peak memory in MB."""
    return time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


# ---- the archive's log


@dataclass(frozen=True)
class Log:
    """What the web server has seen."""

    rows: pd.DataFrame
    """One row for each request."""

    @classmethod
    def read(cls, path: Path) -> "Log":
        """The log, which is emptied."""
        names = ["end", "seconds", "client", "method", "status", "bytes", "path"]
        rows = pd.read_csv(path, sep=" ", names=names)
        os.truncate(path, 0)
        return cls(rows.assign(start=rows["end"] - rows["seconds"]))

    @property
    def most_at_once(self) -> int:
        """Requests in flight, at most."""
        rows = self.rows
        steps = [(t, 1) for t in rows["start"]] + [(t, -1) for t in rows["end"]]
        return int(np.cumsum([step for _, step in sorted(steps)]).max())

    def most_in(self, seconds: float) -> int:
        """Requests that began within so many seconds, at most."""
        starts = np.sort(self.rows["start"].to_numpy())
        return int((np.searchsorted(starts, starts + seconds, "left") - np.arange(len(starts))).max())

    def __str__(self) -> str:
        rows = self.rows
        return (
            f"{len(rows):,} requests, {rows['bytes'].sum() / 1e6:,.1f} MB, "
            f"at most {self.most_at_once} at once, {self.most_in(1)} within a second and "
            f"{self.most_in(10)} within ten"
        )


# ---- the runs


class Observatory:
    """The runs, and what they found."""

    def __init__(self, sites: Sites, archive: Archive) -> None:
        self.sites, self.archive = sites, archive
        self.log_path = sites.state / "access.log"

    def start(self, out: str, *, n_workers: int = N_WORKERS, **options: Any) -> subprocess.Popen[str]:
        """A survey, in the background."""
        given = {"at_once": AT_ONCE, "per_second": PER_SECOND} | options | {"n_workers": n_workers}
        given["out"] = str(self.sites.state / out)
        arguments = ("client", str(self.sites.state), json.dumps(given))
        return self.sites.run_client("-m", "benchmarks.observatory", *arguments)

    def fill_store(self) -> str:
        """A store of the indexes of all movies."""
        with self.sites.run_client("-m", "benchmarks.observatory", "store", str(self.sites.state)) as program:
            program.communicate()
        if program.returncode:
            raise RuntimeError("the store of indexes was not filled")
        return str(self.sites.state / "indexes")

    def survey(self, title: str, out: str, **options: Any) -> dict[str, Any]:
        """A survey until its end, told on a line."""
        with self.start(out, **options) as program:
            printed = program.communicate()[0]
        if program.returncode:
            raise RuntimeError(f"{title}: the survey ended with {program.returncode}")
        told: dict[str, Any] = json.loads(printed.splitlines()[-1])
        n = max(told["done"], 1)
        print(
            f"{title}: {told['done']} done, {len(told['failed'])} failed, {told['skipped']} skipped in "
            f"{told['seconds']:.1f} s; {told['done'] / told['seconds']:.1f} movies/s, "
            f"CPU per movie {1e3 * told['worker_seconds'] / n:.0f} ms of workers, "
            f"{1e3 * told['client_seconds'] / n:.1f} ms of the client; "
            f"workers {told['peak_mb']:.0f} MB at most",
            flush=True,
        )
        for movie, error in list(told["failed"].items())[:3]:
            print(f"    {movie}: {error}")
        return told

    def tell_log(self, n_movies: int = 0) -> None:
        """Print what the web server has seen since the last time; for so many movies, also of each."""
        log = Log.read(self.log_path)
        print(f"    the archive: {log}", flush=True)
        if n_movies:
            print(
                f"    a movie: {len(log.rows) / n_movies:.2f} requests, "
                f"{log.rows['bytes'].sum() / n_movies / 1e6:.2f} MB; its six samples are "
                f"{self.archive.media_bytes / 1e6:.2f} MB"
            )

    def check(self, out: str) -> pd.DataFrame:
        """The rows, which are those of the pictures, none twice."""
        rows = pd.read_parquet(self.sites.state / out)
        rows = rows.sort_values(["movie", "frame"], ignore_index=True)
        assert rows["error"].isna().all(), rows["error"].dropna().iloc[0]
        assert not rows.duplicated(["movie", "frame"]).any()
        found = {movie: group["n_bright"].tolist() for movie, group in rows.groupby("movie")}
        assert found == self.archive.counts
        return rows

    def wait_until(self, program: subprocess.Popen[str], out: str, share: float) -> None:
        """Wait until this share of the movies is done."""
        folder, n = self.sites.state / out, share * len(self.archive.table)
        while program.poll() is None and len(list(folder.glob("done-*"))) < n:
            time.sleep(0.2)


def run_all(observatory: Observatory) -> None:
    """All runs, in order."""
    sites, n = observatory.sites, len(observatory.archive.table)
    observatory.survey("undisturbed", "undisturbed")
    observatory.tell_log(n)
    wanted = observatory.check("undisturbed")
    observatory.survey("again, nothing to do", "undisturbed")
    observatory.survey("another survey of the same frames", "second")
    observatory.tell_log(n)
    store = observatory.fill_store()
    observatory.tell_log(n)
    observatory.survey("with a store of indexes", "indexed", cache=False, indexes=store)
    observatory.tell_log(n)
    pd.testing.assert_frame_equal(observatory.check("indexed"), wanted)

    print("disturbed: a worker is killed, one is cut off for a minute, then the scheduler is killed")
    program = observatory.start("disturbed", cache=False)
    observatory.wait_until(program, "disturbed", 0.1)
    sites.kill(1)
    observatory.wait_until(program, "disturbed", 0.2)
    sites.cut(2)
    time.sleep(60)
    sites.mend(2)
    print(
        f"    {len(list((sites.state / 'disturbed').glob('done-*')))} done when the cable was back",
        flush=True,
    )
    observatory.wait_until(program, "disturbed", 0.8)
    sites.kill(100)
    begin = time.monotonic()
    try:
        program.communicate(timeout=120)
        print(
            f"    the client ended with {program.returncode}, "
            f"{time.monotonic() - begin:.0f} s after the scheduler"
        )
    except subprocess.TimeoutExpired:
        print("    THE CLIENT DID NOT END")
        program.kill()
    observatory.survey("started again", "disturbed", cache=False)
    observatory.tell_log()
    pd.testing.assert_frame_equal(observatory.check("disturbed"), wanted)
    print("    the rows are those of the undisturbed survey, none twice")


def run_growth(observatory: Observatory) -> None:
    """The rate with one, two and four workers of one thread, which share the cores of this machine.

    So the function pauses: what is shared (scheduler, limits, the folder of results) limits the rate, not the
    cores. Nothing is cached, so that each run reads all bytes from the archive.
    """
    running, rate = 0, 0.0
    for n_workers in (1, 2, 4):
        for node in range(running + 1, n_workers + 1):
            observatory.sites.start_worker(node, 1)
        running = n_workers
        told = observatory.survey(
            f"{n_workers} workers of one thread",
            f"grown-{n_workers}",
            n_workers=n_workers,
            function="count_after_pause",
            cache=False,
        )
        observatory.tell_log()
        observatory.check(f"grown-{n_workers}")
        rate = rate or told["done"] / told["seconds"]
        print(f"    {told['done'] / told['seconds'] / rate / n_workers:.2f} of linear growth", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.observatory", description=__doc__)
    parser.add_argument("catalog", type=Path, help="the catalogue of August 2018 (JSON lines)")
    parser.add_argument("--deployment", type=int, default=4)
    parser.add_argument("--movies", type=int, help="at most so many movies of the deployment")
    parser.add_argument("--growth", action="store_true", help="measure 1, 2 and 4 workers instead")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    archive = make_archive(FOLDER, options.catalog, options.deployment)
    if options.movies:
        table = archive.table[: options.movies]
        counts = {movie: archive.counts[movie] for movie in table.index}
        archive = Archive(archive.root, table, counts, archive.media_bytes)
    state = FOLDER / "state"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    with open_sites(state, N_WORKERS) as sites:
        url = sites.start_archive(archive.root)
        archive.table.assign(url=url + archive.table["path"]).to_parquet(state / "table.parquet")
        sites.start_scheduler()
        observatory = Observatory(sites, archive)
        if options.growth:
            run_growth(observatory)
            return
        for node in range(1, N_WORKERS + 1):
            sites.start_worker(node, N_THREADS)
        run_all(observatory)


if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        run_survey(Path(sys.argv[2]), json.loads(sys.argv[3]))
    elif sys.argv[1:2] == ["store"]:
        fill_store(Path(sys.argv[2]))
    else:
        main()
