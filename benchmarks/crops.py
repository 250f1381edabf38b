"""Crops and previews: decoding and fetching less than whole frames."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.harness import Budget, Case, Run, Sample, Way, timed
from benchmarks.material import FRAMES, Material
from benchmarks.servers import Origin

__all__ = ["bytes_case", "cases", "link_case"]

SMALL = {"y": slice(500, 660), "x": slice(700, 1084)}
ALIGNED = {"y": slice(512, 672), "x": slice(640, 1024)}
CORNER = {"y": slice(0, 1024), "x": slice(0, 1024)}
N_FRAMES = 64
SPREAD = FRAMES[:20]


def cases(material: Material) -> Iterator[Case]:
    path = str(material.short)
    whole = Way("camhd_access, whole frames", reading(path))
    for name, where, crop, share in (
        ("small", "off the grid of slices", SMALL, "4.7 % of the slices, where the picture is rich"),
        ("aligned", "on the grid of slices", ALIGNED, "2.9 % of the slices"),
    ):
        yield Case(
            name=f"crop-{name}",
            title=f"Crop of 384x160 of 1080i, {where}, local, gray10le",
            unit="ms/frame",
            limit=f"{share}; and 0.1 ms to cut them out",
            ways=[Way("camhd_access", reading(path, **crop)), whole],
        )
    yield Case(
        name="crop-corner",
        title="Corner of 1024x1024 of 1080i, local, gray10le",
        unit="ms/frame",
        limit="half of the slices, 64 of 68 rows",
        ways=[Way("camhd_access", reading(path, **CORNER)), whole],
    )
    yield Case(
        name="preview",
        title="Previews of 240x135, local, gray10le",
        unit="ms/frame",
        limit="the DC coefficients of all slices, in lockstep by numpy: 0.7 ms a frame, four at once",
        ways=[
            Way("camhd_access, reduce=8", reading(path, reduce=8)),
            Way("decode by camhd_access, mean of 8x8", shrinking(path)),
            Way("PyAV, shrunk by swscale", scaling(path)),
        ],
    )
    yield Case(
        name="field",
        title="Single fields, local, gray10le",
        unit="ms/field",
        limit="half of a frame's slices",
        ways=[Way("camhd_access, fields=True", reading(path, fields=True)), whole],
    )


def link_case(material: Material, origin: Origin) -> Case:
    url = f"{origin.http}/{material.long.name}"
    return Case(
        name=f"crop-{origin.mbit:g}",
        title=f"Crop of 384x160, gray10le, {origin.label}",
        unit="ms/frame",
        limit="the bytes of the slice rows touched, or those of the frame where requests cost more",
        ways=[
            Way("camhd_access", reading(url, SPREAD, **SMALL)),
            Way("camhd_access, whole frames", reading(url, SPREAD)),
        ],
        budget=Budget("never slower than the whole frame", min_speed=1),
    )


def bytes_case(material: Material, origin: Origin) -> Case:
    url = f"{origin.http}/{material.long.name}"
    return Case(
        name="crop-bytes",
        title=f"Crop of 384x160: bytes fetched, {origin.label}",
        unit="kB/frame",
        limit="slices are stored row by row: all rows that the crop touches, and the tables, 2 kB",
        ways=[
            Way("camhd_access", fetching(url, SPREAD)),
            Way("the slice rows touched", touching(str(material.long), SPREAD)),
        ],
        budget=Budget("bytes in proportion to the slice rows read (≤ 1.25 x)", min_speed=0.8),
    )


def reading(url: str, frames: Any = slice(0, N_FRAMES), **options: Any) -> Callable[[], Any]:
    """Read some frames at once."""

    @contextmanager
    def opened() -> Iterator[Run]:
        from camhd_access import MovieReader

        reader = MovieReader(url, cache=False)
        out = reader.read(frames, pix_fmt="gray10le", **options)
        yield timed(lambda: reader.read(frames, pix_fmt="gray10le", out=out, **options), n=len(out))

    return opened


@contextmanager
def _local_reader(path: str) -> Iterator[Any]:
    from camhd_access import MovieReader

    yield MovieReader(path)


def shrinking(path: str) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        with _local_reader(path) as reader:

            def shrink() -> None:
                for start in range(0, N_FRAMES, 8):
                    luma = reader.read(slice(start, start + 8), pix_fmt="gray10le")
                    rows = np.add.reduce(luma.reshape(8, 135, 8, 1920), axis=2, dtype=np.uint16)
                    np.add.reduce(rows.reshape(8, 135, 240, 8), axis=3, dtype=np.uint16)

            yield timed(shrink, n=N_FRAMES)

    return opened


def scaling(path: str) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        import av
        from av.video.reformatter import Interpolation, VideoReformatter

        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"
            scaler = VideoReformatter()

            def shrink() -> None:
                container.seek(0)
                for _, frame in zip(range(N_FRAMES), container.decode(stream), strict=False):
                    scaler.reformat(frame, 240, 135, "gray10le", interpolation=Interpolation.AREA)

            yield timed(shrink, n=N_FRAMES)

    return opened


def fetching(url: str, frames: Any) -> Callable[[], Any]:
    """Bytes fetched for a crop, as counted by the filesystem."""

    @contextmanager
    def opened() -> Iterator[Run]:
        from camhd_access import MovieReader
        from camhd_access.storage.lazyhttp import LazyHTTPFileSystem

        reader = MovieReader(url, cache=False)
        stats = LazyHTTPFileSystem()  # fsspec gives the reader's own

        def run() -> Sample:
            before = stats.stats
            reader.read(frames, pix_fmt="gray10le", **SMALL)
            return Sample((stats.stats - before).bytes / 1000 / len(frames))

        yield run

    return opened


def touching(path: str, frames: Any) -> Callable[[], Any]:
    """Bytes of the slice rows that a crop touches: 32 lines each, of two fields."""

    @contextmanager
    def opened() -> Iterator[Run]:
        with _local_reader(path) as reader:
            rows = slice(SMALL["y"].start // 32, -(-SMALL["y"].stop // 32))
            n_bytes = np.mean([_row_bytes(sample, rows) for sample in reader.read_encoded(frames)])
            yield lambda: Sample(float(n_bytes) / 1000)

    return opened


def _row_bytes(sample: bytes, rows: slice) -> int:
    from camhd_access.formats.prores import run_walk, walk_frame

    frame = run_walk(walk_frame(len(sample)), sample)
    return sum(int(picture.slice_size[rows].sum()) for picture in frame.pictures)
