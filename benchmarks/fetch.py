"""Bytes: transfer rate over loopback on one core, and savings by the cache."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.harness import Budget, Case, Run, Sample, Way, in_child
from benchmarks.material import FRAMES, Material
from benchmarks.servers import Origin
from benchmarks.sockets import BareConnection

__all__ = ["cache_cases", "cases", "transport_cases"]

N_RANGES, RANGE_BYTES, STRIDE_BYTES = 64, 4 << 20, 16 << 20
"""Ranges with gaps, so that they are not merged: 268 MB."""

CLIENT_CORE = 1
"""The server runs on core 0."""


def cases(material: Material, origin: Origin) -> Iterator[Case]:
    url = f"{origin.http}/{material.long.name}"
    n_mb = N_RANGES * RANGE_BYTES / 1e6
    n_ranges = f"{N_RANGES} ranges of {RANGE_BYTES >> 20} MiB"

    def way(name: str, fetch: Callable[[str], float]) -> Way:
        @contextmanager
        def opened() -> Iterator[Run]:
            yield lambda: Sample(in_child(fetch, url, core=CLIENT_CORE) / n_mb)

        return Way(name, opened)

    yield Case(
        name="fetch",
        title=f"{n_ranges} over loopback, client on one core, {origin.kind} on another",
        unit="ms/MB",
        limit="bare sockets into one buffer: what the kernel takes to copy them",
        ways=[
            way("camhd_access", by_ours),
            way("obstore", by_obstore),
            way("curl, one connection", by_curl),
            way("bare socket, one connection", by_socket),
        ],
        budget=Budget("≥ 0.8 x obstore", min_speed=0.8),
    )


def cache_cases(material: Material, origin: Origin) -> Iterator[Case]:
    """Reading encoded frames without a cache, into an empty one, and from a full one."""
    url = f"{origin.http}/{material.long.name}"
    folder = material.scratch / "full"

    def way(name: str, cache_dir: Any) -> Way:
        @contextmanager
        def opened() -> Iterator[Run]:
            def run() -> Sample:
                with tempfile.TemporaryDirectory(dir=material.scratch) as empty:
                    where = {"CAMHD_CACHE_DIR": str(cache_dir or empty)}
                    return Sample(in_child(read_samples, url, cache_dir != "none", **where))

            yield run

        return Way(name, opened)

    shutil.rmtree(folder, ignore_errors=True)
    yield Case(
        name=f"cache-{origin.mbit or 'loopback'}",
        title=f"Open a movie and read 60 encoded frames (35 MB), {origin.label}",
        unit="ms",
        limit="from the cache: one request to confirm the version, then reading and checksums from memory",
        ways=[
            way("camhd_access, cache full", folder),
            way("camhd_access, cache=False", "none"),
            way("camhd_access, cache empty", None),
        ],
    )


def transport_cases(material: Material, origin: Origin) -> Iterator[Case]:
    """Reading encoded frames by our HTTP client and by obstore, through the same reader."""
    url = f"{origin.http}/{material.long.name}"

    def way(name: str, options: dict[str, str]) -> Way:
        @contextmanager
        def opened() -> Iterator[Run]:
            yield lambda: Sample(in_child(read_samples, url, False, options))

        return Way(name, opened)

    yield Case(
        name=f"transport-{origin.mbit or 'loopback'}",
        title=f"Open a movie and read 60 encoded frames (35 MB) without cache, {origin.label}",
        unit="ms",
        limit="two round trips, and the time that the bytes take",
        ways=[way("camhd_access", {}), way("transport obstore", {"transport": "obstore"})],
        note="obstore needs a request more to open.",
    )


def by_ours(url: str) -> float:
    from camhd_access.storage.lazyhttp import LazyHTTPFileSystem

    fs = LazyHTTPFileSystem()
    fs.cat_file(url, 0, 1)
    starts = [i * STRIDE_BYTES for i in range(N_RANGES)]
    begin = time.perf_counter()
    parts = fs.cat_ranges([url] * N_RANGES, starts, [s + RANGE_BYTES for s in starts], on_error="raise")
    seconds = time.perf_counter() - begin
    assert sum(map(len, parts)) == N_RANGES * RANGE_BYTES
    return 1e3 * seconds


def by_obstore(url: str) -> float:
    import obstore
    from obstore.store import HTTPStore

    root, _, name = url.rpartition("/")
    store = HTTPStore.from_url(root, client_options={"allow_http": True})
    obstore.get_range(store, name, start=0, end=1)
    starts = [i * STRIDE_BYTES for i in range(N_RANGES)]
    begin = time.perf_counter()
    parts = obstore.get_ranges(store, name, starts=starts, lengths=[RANGE_BYTES] * N_RANGES)
    seconds = time.perf_counter() - begin
    assert sum(map(len, parts)) == N_RANGES * RANGE_BYTES
    return 1e3 * seconds


def by_curl(url: str) -> float:
    command: list[str] = ["curl", "--silent", "--fail"]
    for i in range(N_RANGES):
        spec = f"{i * STRIDE_BYTES}-{i * STRIDE_BYTES + RANGE_BYTES - 1}"
        command += [
            *(["--next", "--silent", "--fail"] if i else []),
            "--range",
            spec,
            "--output",
            os.devnull,
            url,
        ]
    begin = time.perf_counter()
    subprocess.run(command, check=True)
    return 1e3 * (time.perf_counter() - begin)


def by_socket(url: str) -> float:
    connection = BareConnection(url)
    begin = time.perf_counter()
    for i in range(N_RANGES):
        connection.read(f"{i * STRIDE_BYTES}-{i * STRIDE_BYTES + RANGE_BYTES - 1}")
    seconds = time.perf_counter() - begin
    connection.close()
    return 1e3 * seconds


def read_samples(url: str, cache: bool, options: dict[str, str] | None = None) -> float:
    """Milliseconds to open a movie and to read the samples of all frames that are there."""
    from camhd_access import MovieReader

    begin = time.perf_counter()
    samples = MovieReader(url, cache=cache, storage_options=options).read_encoded(FRAMES)
    seconds = time.perf_counter() - begin
    assert len(samples) == len(FRAMES)
    return 1e3 * seconds
