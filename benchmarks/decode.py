"""Pixels of local movies, in sequence and one by one."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import Budget, Case, Run, Way, timed
from benchmarks.material import FEW, FRAMES, Material
from benchmarks.peers import PEERS, Ours, peer_ways, to_pixels

__all__ = ["cases"]


def cases(material: Material, *, full: bool) -> Iterator[Case]:
    n = material.n_short
    path = str(material.short)
    for pix_fmt, budget, limit in (
        ("gray10le", Budget("≥ 3.5 x ffmpeg on as many cores", min_speed=3.5), "decode without chroma"),
        (
            "rgb24",
            Budget(
                "≥ 2.2 x ffmpeg on as many cores, and ≥ 1.8 x PyAV with slice threads",
                min_speed=2.2,
                also={"PyAV": 1.8},
            ),
            "decode with chroma, and the exact conversion of 2 M pixels",
        ),
    ):
        yield Case(
            name=f"sequence-{pix_fmt}",
            title=f"{n} frames in sequence, local, {pix_fmt}",
            unit="ms/frame",
            limit=f"{limit}, on all cores",
            ways=peer_ways(path, None, pix_fmt, lambda peer: peer.sequence(n), range(n), max_rounds=5),
            budget=budget,
            note="ffmpeg decodes to `-f null` for luma, and writes rgb24 rawvideo to /dev/null for colour.",
        )
    frames = FRAMES[: 60 if full else 20]
    path = str(material.long)
    for pix_fmt, speed in ("gray10le", 2.5), ("rgb24", 1.5):
        yield Case(
            name=f"random-{pix_fmt}",
            title=f"One random frame of a 13 GB movie, local, movie open, {pix_fmt}",
            unit="ms/frame",
            limit="decode and conversion of one frame, whose slices are shared by all cores",
            ways=random_ways(path, frames, pix_fmt),
            budget=Budget(f"≥ {speed} x bare PyAV with slice threads", min_speed=speed),
        )


def random_ways(path: str, frames: Sequence[int], pix_fmt: str) -> list[Way]:
    """One frame after the other."""
    (ours,) = peer_ways(
        path,
        None,
        pix_fmt,
        lambda peer: (picture for frame in frames for picture in peer.pick([frame])),
        frames,
        kinds=[Ours],
    )
    peers = peer_ways(path, None, pix_fmt, lambda peer: peer.pick(FEW), FEW, kinds=PEERS, max_rounds=3)
    return [ours, Way("bare PyAV, index known", bare_pyav(path, frames, pix_fmt)), *peers]


def bare_pyav(path: str, frames: Sequence[int], pix_fmt: str) -> Callable[[], Any]:
    """The samples' bytes, one kept context with slice threads, and for colour one kept scaler."""

    @contextmanager
    def opened() -> Iterator[Run]:
        import av
        from av.codec.context import Flags
        from av.video.reformatter import VideoReformatter

        from camhd_access import MovieReader

        index = MovieReader(path).index
        context = av.CodecContext.create("prores", "r")
        context.thread_type, context.thread_count = "SLICE", len(os.sched_getaffinity(0))
        if pix_fmt == "gray10le":
            context.flags |= Flags.gray
        scaler = VideoReformatter()

        def read() -> None:
            for frame in frames:
                sample = os.pread(file.fileno(), int(index.size[frame]), int(index.offset[frame]))
                (picture,) = context.decode(av.Packet(sample))
                to_pixels(picture, pix_fmt, scaler)

        with Path(path).open("rb") as file:
            yield timed(read, n=len(frames))

    return opened
