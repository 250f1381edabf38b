"""The compiled decoder compared with libavcodec: one core each, the same samples, in turn."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.harness import Budget, Case, Run, Way, timed
from benchmarks.material import Material

__all__ = ["cases"]

N_SAMPLES = 8
SIZE = 1080, 1920
WHOLE = slice(0, 1080), slice(0, 1920)
SMALL = slice(460, 620), slice(768, 1152)
CORNER = slice(28, 1052), slice(448, 1472)
LIMIT = "the codes of a frame, read one after the other: 2.4 ns a pair of run and level"


def cases(material: Material, *, full: bool) -> Iterator[Case]:
    path = str(material.short)
    whole_by_libav = Way("libavcodec, thread_count 1, whole frame", by_libav(path, "gray10le", WHOLE))
    for name, title, pix_fmt, window, speed in (
        ("luma", "Luma of a frame, a core, in the caller's array", "gray10le", WHOLE, 3.0),
        ("rgb24", "rgb24 of a frame, a core, in the caller's array", "rgb24", WHOLE, 2.2),
        ("small", "Crop of 384x160, luma, a core", "gray10le", SMALL, 3.0),
        ("corner", "Crop of 1024x1024, luma, a core", "gray10le", CORNER, 3.5),
    ):
        peer = "and the exact conversion by numpy" if pix_fmt == "rgb24" else "thread_count 1"
        yield Case(
            name=f"decoder-{name}",
            title=title,
            unit="ms/frame",
            limit=LIMIT,
            ways=[
                Way("camhd_access numba", by_kernel(path, pix_fmt, window)),
                Way(f"libavcodec, {peer}", by_libav(path, pix_fmt, window)),
            ],
            budget=Budget(f"≥ {speed} x libavcodec", min_speed=speed),
        )
    yield Case(
        name="decoder-planes",
        title="4:2:2 planes of a frame, a core",
        unit="ms/frame",
        limit=LIMIT,
        ways=[Way("camhd_access numba", planes_by_kernel(path)), Way("libavcodec", planes_by_libav(path))],
        budget=Budget("≥ 2.5 x libavcodec", min_speed=2.5),
    )
    for name, title, window, reduce, speed in (
        ("small-of-whole", "Crop of 384x160, luma, compared with the whole frame", SMALL, 1, 30),
        ("half", "reduce=2, luma", (slice(0, 540), slice(0, 960)), 2, None),
        ("quarter", "reduce=4, luma", (slice(0, 270), slice(0, 480)), 4, 12),
    ):
        yield Case(
            name=f"decoder-{name}",
            title=f"{title}, a core",
            unit="ms/frame",
            limit="its share of the codes",
            ways=[Way("camhd_access numba", by_kernel(path, "gray10le", window, reduce)), whole_by_libav],
            budget=speed and Budget(f"≥ {speed} x libavcodec's whole frame", min_speed=speed),
        )
    yield Case(
        name="decoder-eighth",
        title="reduce=8, luma, a core",
        unit="ms/frame",
        limit="the DC coefficients: 8 of 100 codes",
        ways=[Way("camhd_access", previews(path)), whole_by_libav],
        budget=Budget("≥ 15 x libavcodec's whole frame", min_speed=15),
    )
    n = 200 if full else 96
    mean = Way("camhd_access, mean", reducing(path, material.n_short, n, "mean"))
    by_reading = Way("reading them by libav", reading(path, material.n_short, n))
    for name, budget, others in (
        ("mean", Budget("≥ 2.5 x reading them by libav", min_speed=2.5), [by_reading]),
        ("std", Budget("≤ 1.3 x the mean", min_speed=1 / 1.3), [mean, by_reading]),
    ):
        yield Case(
            name=f"decoder-{name}",
            title=f"{name} over time of {n} frames, gray10le, 2 threads",
            unit="ms/frame",
            limit="decoding; the sums pass through memory once per frame",
            ways=[Way("camhd_access", reducing(path, material.n_short, n, name)), *others],
            budget=budget,
        )


def _samples(path: str) -> Sequence[bytes]:
    from camhd_access import MovieReader

    return MovieReader(path).read_encoded(np.linspace(0, 90, N_SAMPLES).astype(int))


def by_kernel(path: str, pix_fmt: str, window: tuple[slice, slice], reduce: int = 1) -> Callable[[], Any]:
    return _decoding(path, pix_fmt, window, reduce, "numba")


def by_libav(path: str, pix_fmt: str, window: tuple[slice, slice]) -> Callable[[], Any]:
    return _decoding(path, pix_fmt, window, 1, "libav")


def _decoding(
    path: str, pix_fmt: str, window: tuple[slice, slice], reduce: int, which: str
) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        from camhd_access.decoding import libav, prores422
        from camhd_access.decoding.machine_code import find_kernel
        from camhd_access.decoding.pixels import find_pixel_format
        from camhd_access.decoding.windows import whole_window

        pixel_format = find_pixel_format(pix_fmt)
        out = np.zeros(pixel_format.shape(*(w.stop - w.start for w in window)), pixel_format.dtype)
        coded = [whole_window(s, size=SIZE, window=window, field=None) for s in _samples(path)]
        kernel = find_kernel(waits=True)
        options = {"pixel_format": pixel_format, "track_matrix": 1, "out": out}

        def decode() -> None:
            for each in coded:
                if which == "libav":
                    libav.decode_window(each, **options)
                else:
                    prores422.decode_window(kernel, each, reduce=reduce, **options)

        yield timed(decode, n=len(coded))

    return opened


def planes_by_kernel(path: str) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        from camhd_access.decoding.machine_code import find_kernel
        from camhd_access.decoding.prores422 import sample_planes

        samples, kernel = _samples(path), find_kernel(waits=True)
        out = sample_planes(kernel, samples[0])
        yield timed(lambda: [sample_planes(kernel, sample, out=out) for sample in samples], n=len(samples))

    return opened


def planes_by_libav(path: str) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        from camhd_access.decoding.libav import decode_planes

        samples = _samples(path)
        yield timed(lambda: [decode_planes(sample) for sample in samples], n=len(samples))

    return opened


def previews(path: str) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        from camhd_access.decoding.decoders import choose_decoder
        from camhd_access.decoding.machine_code import find_kernel

        find_kernel(waits=True)
        decoder = choose_decoder(SIZE, pix_fmt="gray10le", reduce=8)
        whole = slice(0, SIZE[0] // 8), slice(0, SIZE[1] // 8)
        coded = [decoder.take(sample, whole, None) for sample in _samples(path)]
        out = [np.empty(decoder.size, np.uint16) for _ in coded]
        yield timed(
            lambda: [decoder.decode(coded[i : i + 4], out=out[i : i + 4]) for i in (0, 4)], n=len(coded)
        )

    return opened


def reducing(path: str, n_short: int, n: int, name: str) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        import dask

        from camhd_access import open_movie
        from camhd_access.decoding.machine_code import find_kernel

        find_kernel(waits=True)
        movie = open_movie(path, frames=np.arange(n) % n_short, pix_fmt="gray10le")

        def reduce() -> None:
            with dask.config.set(scheduler="threads", num_workers=2):
                getattr(movie, name)("time").compute()

        yield timed(reduce, n=n)

    return opened


def reading(path: str, n_short: int, n: int) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Run]:
        import os

        from camhd_access import MovieReader

        reader, frames = MovieReader(path), np.arange(n) % n_short
        out = np.empty((32, *SIZE), np.uint16)

        def read() -> None:
            os.environ["CAMHD_DECODER"] = "libav"
            try:
                for start in range(0, n, 32):
                    part = frames[start : start + 32]
                    reader.read(part, pix_fmt="gray10le", out=out[: len(part)])
            finally:
                del os.environ["CAMHD_DECODER"]

        yield timed(read, n=n)

    return opened
