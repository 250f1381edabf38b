"""Frames of an H.264 twin: one at random, and all in sequence, near and far, beside its peers."""

import random
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import Budget, Case, Run, Way, timed
from benchmarks.material import Material
from benchmarks.servers import Origin

__all__ = ["cases", "link_case"]

N_FRAMES, GROUP = 192, 48
N_COPIES = 19
"""How often the movie is repeated for the link: two minutes, 120 MB."""


def cases(material: Material) -> Iterator[Case]:
    path = make_twin(material.folder)
    frames = random.Random(0).sample(range(N_FRAMES), 12)
    yield Case(
        name="twin-random",
        title=f"One random frame of an H.264 movie (groups of {GROUP} frames), local, movie open, gray",
        unit="ms/frame",
        limit="decoding of the frames from the sync sample before, on one core",
        ways=[
            Way("camhd_access", ours(path, [[f] for f in frames])),
            Way("bare PyAV", pyav(path, frames)),
            Way("torchcodec, exact seeks", torchcodec(path, frames)),
        ],
        budget=Budget("≤ 1.1 x bare PyAV", min_speed=1 / 1.1),
    )
    pairs = [range(k, k + 2 * GROUP) for k in range(0, N_FRAMES, 2 * GROUP)]
    for pix_fmt, name in ("gray", "twin-sequence"), ("rgb24", "twin-sequence-rgb"):
        yield Case(
            name=name,
            title=f"{N_FRAMES} frames of an H.264 movie in sequence, local, {pix_fmt}, two groups a read",
            unit="ms/frame",
            limit="decoding on all cores",
            ways=[
                Way("camhd_access", ours(path, pairs, pix_fmt, reuses=True)),
                Way("ffmpeg, 2 threads", ffmpeg(path, pix_fmt)),
            ],
            budget=Budget("≥ 1.0 x ffmpeg with as many threads", min_speed=1.0),
        )


def link_case(material: Material, origin: Origin) -> Case:
    path = make_long_twin(material.folder)
    url = f"{origin.http}/{path.name}"
    frames = sorted(random.Random(0).sample(range(N_FRAMES * N_COPIES), 60))
    torchcodec_way = "torchcodec, after a download of the movie"
    budget = None
    if origin.mbit == 1000:  # over slower links the bytes of the groups take most of the time
        text = "≥ 5 x PyAV on fsspec, and ≥ 2 x torchcodec"
        budget = Budget(text, min_speed=5.0, also={torchcodec_way: 2.0})
    return Case(
        name=f"twin-link-{origin.mbit:g}",
        title=f"60 random frames of an H.264 movie (groups of {GROUP}), {origin.label}, movie open, gray",
        unit="ms/frame",
        limit="decoding of the frames from the sync samples before on all cores",
        ways=[
            Way("camhd_access", ours(url, [frames])),
            Way("PyAV on fsspec", pyav_on_fsspec(url, frames), max_rounds=3),
            Way(torchcodec_way, torchcodec_after_download(url, frames), max_rounds=3),
            Way("camhd_access, from a local file", ours(path, [frames])),
        ],
        budget=budget,
        note="PyAV on fsspec reads blocks of 1 MiB. torchcodec is asked for all frames together, after a "
        "download of the whole movie.",
    )


def make_long_twin(folder: Path) -> Path:
    """The same movie again and again, with the index at its beginning."""
    path, twin = folder / f"twin-{N_FRAMES}-long.mp4", make_twin(folder)
    if not path.exists():
        command = ["ffmpeg", "-v", "error", "-y", "-stream_loop", str(N_COPIES - 1), "-i", str(twin)]
        subprocess.run([*command, "-c", "copy", "-movflags", "+faststart", str(path)], check=True)
    return path


def make_twin(folder: Path) -> Path:
    """A movie of 1920x1080, with closed groups."""
    path = folder / f"twin-{N_FRAMES}.mp4"
    if not path.exists():
        scene = "testsrc2=size=1920x1080:rate=30000/1001,noise=alls=8:allf=t"
        command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", scene, "-frames:v", str(N_FRAMES)]
        options = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-b:v", "8M", "-g", str(GROUP)]
        subprocess.run([*command, *options, str(path)], check=True)
    return path


def ours(
    path: Path | str, reads: Sequence[Sequence[int]], pix_fmt: str = "gray", *, reuses: bool = False
) -> Callable[[], Any]:
    """Reads one after the other; with `reuses`, of equally many frames into the same array."""

    @contextmanager
    def opened() -> Iterator[Run]:
        from camhd_access import MovieReader
        from camhd_access.decoding.machine_code import find_kernel

        find_kernel(waits=True)
        reader = MovieReader(path, cache=False)
        out = reader.read(list(reads[0]), pix_fmt=pix_fmt) if reuses else None

        def read() -> None:
            for frames in reads:
                reader.read(list(frames), pix_fmt=pix_fmt, out=out)

        yield timed(read, n=sum(map(len, reads)))

    return opened


def pyav_on_fsspec(url: str, frames: Sequence[int]) -> Callable[[], Any]:
    """The same, with threads, from a file of fsspec's HTTP filesystem."""

    @contextmanager
    def opened() -> Iterator[Run]:
        import fsspec

        with (
            fsspec.open(url, "rb", block_size=1 << 20, cache_type="readahead") as file,
            pyav(file, frames, thread_type="AUTO")() as run,
        ):
            yield run

    return opened


def torchcodec(path: Path, frames: Sequence[int]) -> Callable[[], Any]:
    """One frame after the other by its index, exactly, on one core."""

    @contextmanager
    def opened() -> Iterator[Run]:
        from torchcodec.decoders import VideoDecoder

        decoder = VideoDecoder(str(path), seek_mode="exact", num_ffmpeg_threads=1)
        yield timed(lambda: [decoder.get_frame_at(frame) for frame in frames], n=len(frames))

    return opened


def torchcodec_after_download(url: str, frames: Sequence[int]) -> Callable[[], Any]:
    """All frames together, on all cores, of a movie that is downloaded first."""

    @contextmanager
    def opened() -> Iterator[Run]:
        import fsspec
        from torchcodec.decoders import VideoDecoder

        def read() -> None:
            movie = fsspec.filesystem("http").cat_file(url)
            VideoDecoder(movie, seek_mode="exact", num_ffmpeg_threads=0).get_frames_at(list(frames))

        yield timed(read, n=len(frames))

    return opened


def pyav(path: Any, frames: Sequence[int], *, thread_type: str = "NONE") -> Callable[[], Any]:
    """Seek to the sync sample before, decode up to the frame, and take its luma."""

    @contextmanager
    def opened() -> Iterator[Run]:
        import av

        with av.open(path) as movie:
            (stream,) = movie.streams.video
            stream.thread_type = thread_type
            ticks = round(1 / (stream.average_rate * stream.time_base))

            def read() -> None:
                for wanted in frames:
                    movie.seek(wanted * ticks, stream=stream)
                    for frame in movie.decode(stream):
                        if frame.pts >= wanted * ticks:
                            frame.to_ndarray(format="gray")
                            break

            yield timed(read, n=len(frames))

    return opened


def ffmpeg(path: Path, pix_fmt: str) -> Callable[[], Any]:
    """The command, without output."""

    @contextmanager
    def opened() -> Iterator[Run]:
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-threads",
            "2",
            "-i",
            str(path),
            "-pix_fmt",
            pix_fmt,
            "-f",
            "null",
            "-",
        ]
        yield timed(lambda: subprocess.run(command, check=True), n=N_FRAMES)

    return opened
