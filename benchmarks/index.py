"""Opening a movie of 25,000 frames: time and memory beyond the network."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.harness import Budget, Case, Run, Sample, Way, in_child, peak_memory, reset_peak_memory
from benchmarks.material import Material

__all__ = ["cases"]


def cases(material: Material) -> Iterator[Case]:
    paths = str(material.short), str(material.long)
    yield Case(
        name="open-time",
        title="Open a movie of 25,000 frames, local",
        unit="ms",
        limit="parsing 134 KB of tables takes about 1 ms with numpy; reading 512 KiB from memory 0.1 ms",
        ways=[
            Way("camhd_access", _in_new_process(opening_ours, *paths, "ms")),
            Way("PyAV (libav's demuxer)", _in_new_process(opening_pyav, *paths, "ms")),
            Way("pycamhd 0.7.0", _in_new_process(opening_pycamhd, *paths, "ms")),
        ],
        budget=Budget("≤ 10 ms beyond the network", max_value=10),
        note="Each run in a new process, which has opened another movie before.",
    )
    yield Case(
        name="open-memory",
        title="Open a movie of 25,000 frames: memory that it takes at most",
        unit="MB",
        limit="four tables of 25,000 numbers of 8 bytes, 0.8 MB, and the 512 KiB that hold the index",
        ways=[
            Way("camhd_access", _in_new_process(opening_ours, *paths, "MB")),
            Way("PyAV (libav's demuxer)", _in_new_process(opening_pyav, *paths, "MB")),
            Way("pycamhd 0.7.0", _in_new_process(opening_pycamhd, *paths, "MB")),
        ],
        budget=Budget("≤ 30 MB", max_value=30),
    )
    yield Case(
        name="graph",
        title="open_movie: array of 25,000 frames, movie open",
        unit="ms",
        limit="coordinates of 25,000 times, and one layer of dask's graph",
        ways=[Way("camhd_access", _in_new_process(building_graph, *paths, "ms"))],
        budget=Budget("graph in well under 100 ms", max_value=50),
    )


def _in_new_process(opening: Callable[[str], Any], warm_path: str, path: str, unit: str) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        yield lambda: Sample(in_child(cost_of, opening, warm_path, path)[unit])

    return opened


def cost_of(opening: Callable[[str], Any], warm_path: str, path: str) -> dict[str, float]:
    """Milliseconds and MB that opening `path` takes, when `warm_path` is open already."""
    opening(warm_path)
    before = reset_peak_memory()
    start = time.perf_counter()
    opened = opening(path)
    cost = {"ms": 1e3 * (time.perf_counter() - start), "MB": peak_memory() - before}
    del opened
    return cost


def opening_ours(path: str) -> Any:
    from camhd_access import MovieReader

    return MovieReader(path)


def opening_pyav(path: str) -> Any:
    import av

    return av.open(path)


def opening_pycamhd(path: str) -> Any:
    import pycamhd

    moov = pycamhd.get_moov_atom(path)
    return pycamhd.get_frame_sizes(path, moov), pycamhd.get_frame_offsets(path, moov)


def building_graph(path: str) -> Any:
    from camhd_access import MovieReader, open_movie

    reader = MovieReader(path)  # opens it; what follows finds it open
    return reader, open_movie(path)
