"""Movies on servers: the first frame, random frames, and frames in sequence, near and far."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import Budget, Case, Run, Sample, Way, in_child, timed
from benchmarks.material import FEW, FRAMES, Material
from benchmarks.peers import (
    PEERS,
    FFmpeg,
    ImageIO,
    OpenCV,
    Ours,
    Peer,
    PyAV,
    PyAVOnFsspec,
    address_for,
    peer_ways,
)
from benchmarks.servers import Origin
from benchmarks.sockets import BareConnection, BareConnections

__all__ = ["cases"]

TAIL_BYTES = 512 * 1024
"""Bytes of our first request."""

BATCH = 30
"""Frames of a read in a stream."""


def cases(material: Material, origin: Origin, *, full: bool) -> Iterator[Case]:
    if origin.rtt_ms:
        yield _cold(material, origin)
        yield _fresh(material, origin)
        yield _stream(material, origin)
        yield _cold_stream(material, origin)
    yield _random(material, origin)
    yield _sequence(material, origin, full=full)


def _cold(material: Material, origin: Origin) -> Case:
    url, https = _urls(material.long.name, origin)
    frame = FEW[2]
    return Case(
        name=f"cold-{origin.mbit:g}",
        title=f"First frame of an unopened 13 GB movie, {origin.label}, gray10le",
        unit="ms",
        limit="bare sockets: connect, index, frame on one new connection, with the slow start of TCP",
        ways=[
            Way("camhd_access", _opening_cold(material, Ours, url, https, "pick", [frame])),
            Way("bare sockets, one connection", _fetching_cold(url, material, frame)),
            *(
                Way(kind.name, _opening_cold(material, kind, url, https, "pick", [frame]), max_rounds=3)
                for kind in PEERS
            ),
        ],
        budget=Budget("≤ 1.1 x the same bytes by bare sockets", min_speed=1 / 1.1),
        note="Each run in a new process that has decoded a local frame before.",
    )


def _opening_cold(
    material: Material, kind: type[Peer], url: str, https: str | None, *job: Any
) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        address = address_for(kind, url, https)
        yield lambda: Sample(in_child(first_frames, kind, str(material.short), address, *job))

    return opened


def first_frames(kind: type[Peer], warm_path: str, url: str, method: str, frames: Any) -> float:
    """Milliseconds to open a movie and to read frames, in a process that has read another movie."""
    if kind is not PyAVOnFsspec:
        with ExitStack() as stack:
            list(kind(warm_path, "gray10le", stack).pick([1]))
    start = time.perf_counter()
    with ExitStack() as stack:
        for _ in getattr(kind(url, "gray10le", stack), method)(frames):
            pass
        return 1e3 * (time.perf_counter() - start)


def _fetching_cold(url: str, material: Material, frame: int) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        (spec,) = _specs(material.long, [frame])

        def fetch() -> None:
            connection = BareConnection(url)
            connection.read(f"-{TAIL_BYTES}")
            connection.read(spec)
            connection.close()

        yield timed(fetch)

    return opened


def _fresh(material: Material, origin: Origin) -> Case:
    url, _ = _urls(material.long.name, origin)

    @contextmanager
    def ours() -> Iterator[Run]:
        yield lambda: Sample(in_child(first_random_frames, str(material.long), url) / len(FRAMES))

    @contextmanager
    def bare() -> Iterator[Run]:
        specs = _specs(material.long, FRAMES)

        def fetch() -> None:
            with BareConnections(url, 16) as connections:
                connections.read(specs)

        yield timed(fetch, n=len(FRAMES))

    return Case(
        name=f"fresh-{origin.mbit:g}",
        title=f"60 random frames, the first that are read of a movie, {origin.label}, gray10le",
        unit="ms/frame",
        limit="as the row below, but 15 or 16 connections are new: one round trip, and slow start on each",
        ways=[Way("camhd_access", ours), Way("bare sockets, 16 new connections", bare)],
        note="Each of our runs is in a new process, which has decoded these frames into the same array.",
    )


def first_random_frames(path: str, url: str) -> float:
    """Milliseconds to read `FRAMES` of a movie that has just been opened; `path` is a local copy of it."""
    from camhd_access import MovieReader
    from camhd_access.decoding.machine_code import find_kernel

    find_kernel(waits=True)
    out = MovieReader(path).read(FRAMES, pix_fmt="gray10le")
    reader = MovieReader(url, cache=False)
    start = time.perf_counter()
    reader.read(FRAMES, pix_fmt="gray10le", out=out)
    return 1e3 * (time.perf_counter() - start)


def _random(material: Material, origin: Origin) -> Case:
    url, https = _urls(material.long.name, origin)
    peers = peer_ways(url, https, "gray10le", lambda p: p.pick(FEW), FEW, kinds=PEERS, max_rounds=2)
    budget = None
    if origin.mbit == 1000:
        budget = Budget("≥ 0.95 x the wire", min_speed=0.95)
    return Case(
        name=f"random-{origin.mbit or 'loopback'}",
        title=f"60 random frames of a 13 GB movie, {origin.label}, movie open, gray10le",
        unit="ms/frame",
        limit="the wire: 4.9 ms a frame of 583 kB at 1 Gbit/s, 49 at 100 Mbit/s, and once a round trip",
        ways=[
            Way("camhd_access", _reading(url)),
            Way("bare sockets, 16 connections", _fetching(url, material, FRAMES)),
            *peers,
        ],
        budget=budget,
        note=f"Peers read {len(FEW)} of the frames, one after the other, because they cannot read several "
        "at once. "
        "Ours and bare sockets have read the same frames just before, so that their connections are quick.",
    )


def _at_once(run: Run) -> Run:
    """The second of two runs: connections that were idle begin with slow start again."""

    def again() -> Sample:
        run()
        return run()

    return again


def _reading(url: str) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        from camhd_access import MovieReader

        reader = MovieReader(url, cache=False)
        out = reader.read(FRAMES, pix_fmt="gray10le")
        read = timed(lambda: reader.read(FRAMES, pix_fmt="gray10le", out=out), n=len(FRAMES))
        yield _at_once(read)

    return opened


def _fetching(url: str, material: Material, frames: Sequence[int]) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        specs = _specs(material.long, frames)
        with BareConnections(url, 16) as connections:
            yield _at_once(timed(lambda: connections.read(specs), n=len(frames)))

    return opened


def _stream(material: Material, origin: Origin) -> Case:
    url, https = _urls(material.short.name, origin)
    n = material.n_short // BATCH * BATCH
    budget = None
    if origin.mbit == 1000:
        budget = Budget("≥ 0.85 x bare sockets, and ≥ 1.7 x PyAV", min_speed=0.85, also={"PyAV": 1.7})
    return Case(
        name=f"stream-{origin.mbit:g}",
        title=f"{n} frames in reads of {BATCH}, {origin.label}, gray10le",
        unit="ms/frame",
        limit="bare sockets: all frames at once, by 16 connections; the wire takes 5.2 ms a frame",
        ways=[
            Way("camhd_access", _reading_on(url, n)),
            Way("bare sockets, 16 connections", _fetching_all(url, material, n)),
            *peer_ways(
                url, https, "gray10le", lambda peer: peer.sequence(n), range(n), kinds=(PyAV,), max_rounds=3
            ),
        ],
        budget=budget,
        note="What is read after each other is requested in advance. Each run opens the movie again.",
    )


def _reading_on(url: str, n: int) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        from camhd_access import MovieReader

        out = MovieReader(url, cache=False).read(slice(0, BATCH), pix_fmt="gray10le")

        def read() -> None:
            reader = MovieReader(url, cache=False)
            for start in range(0, n, BATCH):
                reader.read(slice(start, start + BATCH), pix_fmt="gray10le", out=out)

        yield timed(read, n=n)

    return opened


def _cold_stream(material: Material, origin: Origin) -> Case:
    url, https = _urls(material.short.name, origin)
    n = 60
    return Case(
        name=f"cold-stream-{origin.mbit:g}",
        title=f"The first {n} frames of an unopened movie, {origin.label}, gray10le",
        unit="ms",
        limit="as the row above, and the slow start of new connections",
        ways=[
            Way(kind.name, _opening_cold(material, kind, url, https, "sequence", n), max_rounds=rounds)
            for kind, rounds in ((Ours, 1_000), (PyAV, 3))
        ],
        budget=Budget("≥ 1.4 x PyAV", min_speed=1.4) if origin.mbit == 1000 else None,
        note="Each run in a new process that has decoded a local frame before.",
    )


def _fetching_all(url: str, material: Material, n: int) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        specs = _specs(material.short, range(n))
        with BareConnections(url, 16) as connections:
            yield timed(lambda: connections.read(specs), n=n)

    return opened


def _sequence(material: Material, origin: Origin, *, full: bool) -> Case:
    url, https = _urls(material.short.name, origin)
    n = 144 if full else 48
    return Case(
        name=f"sequence-{origin.mbit or 'loopback'}",
        title=f"{n} frames in sequence, {origin.label}, gray10le",
        unit="ms/frame",
        limit="the slower of decode and wire: 5.2 ms a frame of 650 kB at 1 Gbit/s, 52 ms at 100 Mbit/s",
        ways=peer_ways(
            url,
            https,
            "gray10le",
            lambda peer: peer.sequence(n),
            range(n),
            kinds=(Ours, FFmpeg, PyAV, PyAVOnFsspec, ImageIO, OpenCV),
            max_rounds=3,
        ),
        note="pycamhd has no sequence beyond one frame after the other: see the random frames.",
    )


def _urls(name: str, origin: Origin) -> tuple[str, str | None]:
    return f"{origin.http}/{name}", origin.https and f"{origin.https}/{name}"


def _specs(movie: Path, frames: Sequence[int]) -> list[str]:
    """Ranges of frames as HTTP writes them."""
    from camhd_access import MovieReader

    index = MovieReader(movie).index
    return [f"{index.offset[i]}-{index.offset[i] + index.size[i] - 1}" for i in frames]
