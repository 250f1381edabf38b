"""Statistics over time of many frames, by dask on two threads: throughput, and peak of memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.harness import Budget, Case, Run, Sample, Way, in_child, peak_memory, timed
from benchmarks.material import Material

__all__ = ["cases"]

BATCH = 32


def cases(material: Material, *, full: bool) -> Iterator[Case]:
    n = 1000 if full else 192
    path, n_short = str(material.short), material.n_short
    yield Case(
        name="mean-time",
        title=f"Mean of {n} frames, rgb24, 2 threads",
        unit="ms/frame",
        limit="decode and conversion; the sum of 6 MB a frame takes another 3 to 4 ms",
        ways=[
            Way("camhd_access", running(mean_by_dask, path, n_short, n)),
            Way("camhd_access, reading them only", running(only_reading, path, n_short, n)),
            Way("PyAV, running sum", running(mean_by_pyav, path, n_short, n), max_rounds=3),
            Way("pycamhd 0.7.0, dask", running(mean_by_pycamhd, path, n_short, n), max_rounds=1),
        ],
        budget=Budget("≥ 1.0 x the throughput of reading them", min_speed=1.0),
        note=f"The movie has {n_short} frames, which are taken {-(-n // n_short)} times.",
    )
    for name, limit, ways in (
        (
            "mean",
            "imports and machine code, 240 MB; sums of 12 MB in each thread, and the result, 50 MB",
            {
                "camhd_access": mean_by_dask,
                "PyAV, running sum": mean_by_pyav,
                "pycamhd 0.7.0, dask": mean_by_pycamhd,
            },
        ),
        ("std", "as for the mean, with sums of 37 MB", {"camhd_access": std_by_dask}),
    ):
        yield Case(
            name=f"{name}-memory",
            title=f"{name} over time of {n} frames, rgb24, 2 threads: peak memory of the process",
            unit="MB",
            limit=limit,
            ways=[
                Way(way, peaking(function, path, n_short, n), max_rounds=1) for way, function in ways.items()
            ],
            budget=Budget("≤ 500 MB", max_value=500),
        )


def running(function: Callable[..., Any], path: str, n_short: int, n: int) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        yield timed(lambda: function(path, n_short, n), n=n)

    return opened


def peaking(function: Callable[..., Any], path: str, n_short: int, n: int) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        yield lambda: Sample(in_child(peak_of, function, path, n_short, n))

    return opened


def peak_of(function: Callable[..., Any], path: str, n_short: int, n: int) -> float:
    """MB that a process that does nothing else has at most."""
    function(path, n_short, n)
    return peak_memory()


def mean_by_dask(path: str, n_short: int, n: int) -> None:
    by_dask(path, n_short, n, "mean")


def std_by_dask(path: str, n_short: int, n: int) -> None:
    by_dask(path, n_short, n, "std")


def by_dask(path: str, n_short: int, n: int, name: str) -> None:
    import dask

    from camhd_access import open_movie

    movie = open_movie(path, frames=np.arange(n) % n_short)
    with dask.config.set(scheduler="threads", num_workers=2):
        getattr(movie, name)("time").compute()


def only_reading(path: str, n_short: int, n: int) -> None:
    from camhd_access import MovieReader

    reader = MovieReader(path)
    frames = np.arange(n) % n_short
    out = np.empty((BATCH, 1080, 1920, 3), np.uint8)
    for start in range(0, n, BATCH):
        part = frames[start : start + BATCH]
        reader.read(part, out=out[: len(part)])


def mean_by_pyav(path: str, n_short: int, n: int) -> None:
    import av

    total = np.zeros((1080, 1920, 3), np.uint32)
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"
        n_left = n
        while n_left:
            container.seek(0)
            for _, frame in zip(range(min(n_left, n_short)), container.decode(stream), strict=False):
                total += frame.to_ndarray(format="rgb24")
                n_left -= 1


def mean_by_pycamhd(path: str, n_short: int, n: int) -> None:
    import dask
    import dask.array as da
    import pycamhd

    moov = pycamhd.get_moov_atom(path)

    @dask.delayed
    def read(frame: int) -> Any:
        return pycamhd.decode_frame_data(pycamhd.get_frame_data(path, frame, moov), "rgb24")

    arrays = [da.from_delayed(read(i % n_short), (1080, 1920, 3), np.uint8) for i in range(n)]
    with dask.config.set(scheduler="threads", num_workers=2):
        da.stack(arrays).mean(axis=0).compute()
