"""Ours and its peers, each used in its most efficient way, with one interface.

A peer is opened with a path or URL; `sequence(n)` gives the first n pictures, `pick(frames)` some others.
Both are generators, or lists; what they give is not kept. A peer that lacks something raises, and the reason
goes into the table.
"""

import itertools
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.harness import Run, Way, timed

__all__ = ["PEERS", "FFmpeg", "Ours", "Peer", "peer_ways", "to_pixels"]

FRAME_SECONDS = 1001 / 30000
BATCH = 96
"""Frames that ours reads at a time, into one array that is kept."""


class Peer:
    """A library or program, opened on one movie."""

    name: ClassVar[str]
    formats: ClassVar[dict[str, str]] = {"rgb24": "rgb24", "gray10le": "gray10le"}
    """Requested pixel formats, and the nearest ones of the peer."""
    remote: ClassVar[str] = "http"
    """Protocol for reading from servers; empty if unsupported."""

    def __init__(self, url: str, pix_fmt: str, stack: ExitStack) -> None:
        self.url, self.pix_fmt = url, self.formats[pix_fmt]
        self.open(stack)

    def open(self, stack: ExitStack) -> None:
        """Prepare; `stack` closes everything that has to be closed."""

    def sequence(self, n: int) -> Iterable[Any]:
        """The first n pictures."""
        return self.pick(range(n))

    def pick(self, frames: Sequence[int]) -> Iterable[Any]:
        """The pictures of `frames`."""
        raise NotImplementedError


class Ours(Peer):
    name = "camhd_access"

    def open(self, _: ExitStack) -> None:
        from camhd_access import MovieReader

        self.reader = MovieReader(self.url, cache=False)
        stack = self.reader.stack(slice(0, BATCH), pix_fmt=self.pix_fmt)
        self.out = np.empty(stack.shape, stack.dtype)

    def sequence(self, n: int) -> Iterator[Any]:
        for start in range(0, n, BATCH):
            stop = min(n, start + BATCH)
            yield self.reader.read(slice(start, stop), pix_fmt=self.pix_fmt, out=self.out[: stop - start])

    def pick(self, frames: Sequence[int]) -> Any:
        return self.reader.read(frames, pix_fmt=self.pix_fmt)


class FFmpeg(Peer):
    """The program. Luma is `-f null`: it decodes without writing the pixels."""

    name = "ffmpeg"
    formats: ClassVar[dict[str, str]] = {"rgb24": "rgb24", "gray10le": ""}

    def command(self, n: int, *, start: float = 0.0) -> list[str]:
        out = ["-f", "null", "-"]
        if self.pix_fmt:
            out = ["-pix_fmt", self.pix_fmt, "-f", "rawvideo", "-y", "/dev/null"]
        seek = ["-noaccurate_seek", "-ss", f"{start:.6f}"] if start else []
        threads = str(len(os.sched_getaffinity(0)))
        return [
            *("ffmpeg", "-v", "error", "-nostdin", "-threads", threads, *seek, "-i", self.url),
            *("-frames:v", str(n), "-an", "-sn", "-dn", *out),
        ]

    def sequence(self, n: int) -> Iterator[Any]:
        yield _run(self.command(n))

    def pick(self, frames: Sequence[int]) -> Iterator[Any]:
        for frame in frames:
            yield _run(self.command(1, start=(frame + 0.25) * FRAME_SECONDS))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode or done.stderr:
        raise OSError(done.stderr.strip())


def to_pixels(frame: Any, pix_fmt: str, scaler: Any) -> np.ndarray[Any, Any]:
    """A frame of PyAV as an array."""
    if pix_fmt == "rgb24":
        pixels: np.ndarray[Any, Any] = scaler.reformat(frame, format="rgb24").to_ndarray()
        return pixels
    plane = frame.planes[0]
    return np.frombuffer(plane, "<u2").reshape(plane.height, -1)[:, : plane.width].copy()


class PyAV(Peer):
    """One container, threads that share the slices of a frame, one scaler that is kept."""

    name = "PyAV"

    def file(self, stack: ExitStack) -> Any:  # noqa: ARG002
        return self.url

    def open(self, stack: ExitStack) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self.container = stack.enter_context(av.open(self.file(stack)))
        self.stream = self.container.streams.video[0]
        self.stream.thread_type = "SLICE"
        self.stream.thread_count = len(os.sched_getaffinity(0))
        self.scaler = VideoReformatter()

    def sequence(self, n: int) -> Iterator[Any]:
        self.container.seek(0)
        for frame in itertools.islice(self.container.decode(self.stream), n):
            yield to_pixels(frame, self.pix_fmt, self.scaler)

    def pick(self, frames: Sequence[int]) -> Iterator[Any]:
        for index in frames:
            pts = round(index * FRAME_SECONDS / self.stream.time_base)
            self.container.seek(pts, stream=self.stream)
            frame = next(f for f in self.container.decode(self.stream) if f.pts >= pts)
            yield to_pixels(frame, self.pix_fmt, self.scaler)


class PyAVOnFsspec(PyAV):
    """PyAV reading through fsspec's HTTP filesystem in blocks of 1 MiB: the best ready-made remote reader."""

    name = "PyAV on fsspec"

    def file(self, stack: ExitStack) -> Any:
        import fsspec

        return stack.enter_context(fsspec.open(self.url, "rb", block_size=1 << 20, cache_type="readahead"))


class ImageIO(Peer):
    name = "imageio"
    formats: ClassVar[dict[str, str]] = {"rgb24": "rgb24", "gray10le": "gray16le"}

    def open(self, stack: ExitStack) -> None:
        import imageio.v3 as iio

        self.reopen = lambda: iio.imopen(self.url, "r", plugin="pyav")
        self.movie = stack.enter_context(self.reopen())
        self.movie.read(index=0, format=self.pix_fmt, thread_type="SLICE")  # may be said only once

    def sequence(self, n: int) -> Iterator[Any]:
        with self.reopen() as movie:  # can be iterated over only once, and only before all else
            yield from itertools.islice(movie.iter(format=self.pix_fmt, thread_type="SLICE"), n)

    def pick(self, frames: Sequence[int]) -> Iterator[Any]:
        for frame in frames:
            yield self.movie.read(index=frame, format=self.pix_fmt)


class OpenCV(Peer):
    name = "OpenCV"
    formats: ClassVar[dict[str, str]] = {"rgb24": "bgr24", "gray10le": "bgr24"}

    def open(self, stack: ExitStack) -> None:
        os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"  # it complains of interlaced frames, and converts them
        import cv2

        if tuple(map(int, cv2.__version__.split(".")[:2])) >= (4, 13):  # seen in 4.13 and 5.0
            raise OSError(f"frames of interlaced movies are uninitialised memory in {cv2.__version__}")
        self.position = cv2.CAP_PROP_POS_FRAMES
        self.movie = cv2.VideoCapture(self.url, cv2.CAP_FFMPEG)
        stack.callback(self.movie.release)
        if not self.movie.isOpened():
            raise OSError("cannot open it")

    def sequence(self, n: int) -> Iterator[Any]:
        return self.pick([0], n)

    def pick(self, frames: Sequence[int], n: int = 1) -> Iterator[Any]:
        for frame in frames:
            self.movie.set(self.position, frame)
            for _ in range(n):
                found, picture = self.movie.read()
                if not found:
                    raise OSError(f"it finds no frame {frame}")
                yield picture


class Decord(Peer):
    """Only for files that are whole: it reads all of one when it opens it."""

    name = "decord"
    formats: ClassVar[dict[str, str]] = {"rgb24": "rgb24", "gray10le": "rgb24"}
    remote = ""

    def open(self, stack: ExitStack) -> None:  # noqa: ARG002
        import decord

        if Path(self.url).stat().st_size > 1 << 30:
            raise OSError("it reads the whole file when it opens it: 13 GB")
        self.movie = decord.VideoReader(self.url, num_threads=len(os.sched_getaffinity(0)))

    def pick(self, frames: Sequence[int]) -> Iterator[Any]:
        for frame in frames:
            yield self.movie[frame].asnumpy()


class Pycamhd(Peer):
    """`get_frame` for remote files; for local ones its parts, as it needs an older PyAV there."""

    name = "pycamhd 0.7.0"
    formats: ClassVar[dict[str, str]] = {"rgb24": "rgb24", "gray10le": "gray16le"}
    remote = "https"

    def open(self, stack: ExitStack) -> None:  # noqa: ARG002
        import pycamhd

        self.module = pycamhd
        self.moov = pycamhd.get_moov_atom(self.url)

    def pick(self, frames: Sequence[int]) -> Iterator[Any]:
        for frame in frames:
            if self.url.startswith("https:"):
                yield self.module.get_frame(self.url, frame, self.pix_fmt, self.moov)
            else:
                sample = self.module.get_frame_data(self.url, frame, self.moov)
                yield self.module.decode_frame_data(sample, self.pix_fmt)


PEERS = (FFmpeg, PyAV, PyAVOnFsspec, ImageIO, OpenCV, Decord, Pycamhd)


def peer_ways(
    url: str,
    https: str | None,
    pix_fmt: str,
    job: Callable[[Peer], Iterable[Any]],
    frames: Sequence[int],
    *,
    kinds: Sequence[type[Peer]] = (Ours, *PEERS),
    max_rounds: int = 1_000,
) -> list[Way]:
    """A way for each of `kinds` to do `job`, which makes pictures of `frames`; the movie is open already."""

    def way(kind: type[Peer]) -> Way:
        @contextmanager
        def opened() -> Iterator[Run]:
            with ExitStack() as stack:
                peer = kind(address_for(kind, url, https), pix_fmt, stack)
                _check_pictures(job(peer), frames)
                yield timed(lambda: _consume(job(peer)), n=len(frames))

        return Way(kind.name, opened, 1_000 if kind is Ours else max_rounds)

    return [way(kind) for kind in kinds if "://" in url or kind is not PyAVOnFsspec]


def address_for(kind: type[Peer], url: str, https: str | None) -> str:
    """The address that a peer can read."""
    if "://" not in url or kind.remote == "http":
        return url
    if not kind.remote:
        raise OSError("it reads no URLs but by downloading the whole file")
    if https is None:
        raise OSError("it needs https, which this server does not speak (install nginx)")
    return https


def _check_pictures(pictures: Iterable[Any], frames: Sequence[int]) -> None:
    """Raise if one of the first two frames is not the requested one."""
    from camhd_access.synthetic import read_frame_number  # not needed where processes start

    for frame, picture in itertools.islice(zip(frames, pictures, strict=False), 2):
        if isinstance(picture, np.ndarray) and picture.shape[:2] == (1080, 1920):
            found = read_frame_number(picture)
            if found != frame:
                raise OSError(f"it gives frame {found} for frame {frame}")


def _consume(pictures: Iterable[Any]) -> None:
    for _ in pictures:
        pass
