"""Pixels of local movies, in sequence and one by one."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Budget, Case, Run, Way, timed
from benchmarks.material import FEW, FRAMES, Material
from benchmarks.peers import PEERS, Ours, peer_ways

__all__ = ["cases"]


def cases(material: Material, *, full: bool) -> Iterator[Case]:
    n = material.n_short
    path = str(material.short)
    for pix_fmt, speed, limit in (
        ("gray10le", 1.15, "decode without chroma, 10.5 ms of CPU a frame of 650 kB, on all cores"),
        ("rgb24", 0.9, "decode with chroma (14.3 ms) and the exact conversion of 2 M pixels (5 to 8 ms)"),
    ):
        yield Case(
            name=f"sequence-{pix_fmt}",
            title=f"{n} frames in sequence, local, {pix_fmt}",
            unit="ms/frame",
            limit=limit,
            ways=peer_ways(path, None, pix_fmt, lambda peer: peer.sequence(n), range(n), max_rounds=5),
            budget=Budget(f"≥ {speed} x ffmpeg on as many cores", min_speed=speed),
            note="ffmpeg decodes to `-f null` for luma, and writes rgb24 rawvideo to /dev/null for colour.",
        )
    frames = FRAMES[: 60 if full else 20]
    path = str(material.long)
    for pix_fmt in ("gray10le", "rgb24"):
        yield Case(
            name=f"random-{pix_fmt}",
            title=f"One random frame of a 13 GB movie, local, movie open, {pix_fmt}",
            unit="ms/frame",
            limit="decode of one frame by slice threads on all cores, then the conversion",
            ways=random_ways(path, frames, pix_fmt),
            budget=Budget("≤ 1.15 x bare PyAV decode + the same conversion", min_speed=1 / 1.15),
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
    """The samples' bytes, one kept context, the library's own conversion: the minimum."""

    @contextmanager
    def opened() -> Iterator[Run]:
        import av
        from av.codec.context import Flags

        from camhd_access import MovieReader
        from camhd_access.decoding.pixels import Planes, convert_planes, find_pixel_format

        index = MovieReader(path).index
        pixel_format = find_pixel_format(pix_fmt)
        context = av.CodecContext.create("prores", "r")
        context.thread_type, context.thread_count = "SLICE", len(os.sched_getaffinity(0))
        if not pixel_format.is_color:
            context.flags |= Flags.gray
        out = np.empty(pixel_format.shape(1080, 1920), pixel_format.dtype)

        def read() -> None:
            for frame in frames:
                sample = os.pread(file.fileno(), int(index.size[frame]), int(index.offset[frame]))
                (picture,) = context.decode(av.Packet(sample))
                planes = [np.frombuffer(p, "<u2").reshape(p.height, -1)[:, : p.width] for p in picture.planes]
                convert_planes(Planes(*planes), pixel_format, matrix=1, out=out)

        with Path(path).open("rb") as file:
            yield timed(read, n=len(frames))

    return opened
