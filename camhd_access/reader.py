"""`MovieReader`: one movie, opened.

Opening finds the index: one request, where `moov` ends the file. Everything after that is planned from the
index: which bytes, in which requests, decoded how. A reader is cheap, thread-safe and picklable; pickled, it
carries the address and the version of its movie, and opens it again when it is first used.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access.errors import (
    FrameIndexError,
    InvalidMovieError,
    RemoteFileChangedError,
    UnsupportedMovieError,
)
from camhd_access.frames import FrameStack, Pixels
from camhd_access.names import StartTime, choose_start_time, find_movie_name
from camhd_access.pixels import find_pixel_format
from camhd_access.prores import parse_frame_header
from camhd_access.quicktime import Answer, MovieIndex, Request, Tail, parse_moov, read_moov
from camhd_access.ranges import ByteRange
from camhd_access.source import ByteSource, open_source

__all__ = ["FrameSelection", "MovieReader", "ReadPlan"]

FrameSelection: TypeAlias = int | slice | Sequence[float] | npt.NDArray[np.number[Any]]
"""Frames of a movie, counted from 0, negative from its end. Numbers with a fraction are rounded."""

MAX_INDEXES_KEPT = 32
"""Indexes that stay in memory, so that opening a movie again costs nothing. One takes 0.8 MB."""

FRAME_HEAD_BYTES = 512
"""What is read of a frame to see its header (156 bytes in all known files)."""


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What a read would cost."""

    n_requests: int
    """Requests for byte ranges, from a filesystem that makes one a range."""
    n_bytes: int
    """Bytes fetched."""
    n_frames: int
    """Frames decoded."""


@dataclass(frozen=True, slots=True, eq=False)
class _OpenMovie:
    """What opening a movie found."""

    source: ByteSource
    """The file, held to its version."""
    index: MovieIndex
    """Where its frames lie."""
    file_size: int
    """Bytes of the file."""


class _OpenMovies:
    """The movies opened last by this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._movies: OrderedDict[ByteSource, _OpenMovie] = OrderedDict()

    def open(self, address: ByteSource) -> _OpenMovie:
        """The movie at `address`: the one that is open, unless its file has changed since."""
        with self._lock:
            movie = self._movies.get(address)
        if movie is None or movie.source != address.pinned():
            movie = _read_index(address)
        with self._lock:
            self._movies[address] = movie
            self._movies.move_to_end(address)
            while len(self._movies) > MAX_INDEXES_KEPT:
                self._movies.popitem(last=False)
        return movie


_open_movies = _OpenMovies()


def _read_index(address: ByteSource) -> _OpenMovie:
    """The movie at `address`, its index read."""
    source = address

    def answer(request: Request) -> Answer:
        nonlocal source
        if isinstance(request, Tail):
            data = source.read_tail(request.n_bytes)
            source = source.pinned()
            return Answer(data, source.size - len(data), source.size)
        return Answer(source.read(request), request.start, source.size)

    try:
        moov, offset, file_size = read_moov(answer)
        return _OpenMovie(source, parse_moov(moov, offset=offset, file_size=file_size), file_size)
    except (InvalidMovieError, UnsupportedMovieError) as error:
        raise type(error)(f"{address.path}: {error}") from error


class MovieReader:
    """One movie: its index, and its frames as numpy arrays.

    Parameters
    ----------
    urlpath
        Anything that fsspec opens: `https://…`, `s3://…`, a local path, `memory://…`.
    cache
        Keep fetched bytes on disk, for this and other processes.
    storage_options
        For the constructor of the filesystem.

    Raises
    ------
    InvalidMovieError
        Not a movie, or a damaged one; `MissingMoovError` where the recording was cut off.
    UnsupportedMovieError
        Fragmented, its media in another file, or not ProRes.
    RemoteFileError
        The bytes could not be had.

    Notes
    -----
    Opening costs one request for the file's last 512 KiB where `moov` lies there, three at most in other
    common layouts, and none while this process has the movie open already. Safe to use from many threads.
    Pickles as address and version; the copy opens the movie when it is first used.
    """

    def __init__(
        self,
        urlpath: str | os.PathLike[str],
        *,
        cache: bool = True,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.urlpath = os.fspath(urlpath)
        source = open_source(self.urlpath, cache=cache, storage_options=storage_options)
        self._movie: _OpenMovie | None = _open_movies.open(source)
        self._source = self._movie.source

    def __getstate__(self) -> dict[str, Any]:
        return {"urlpath": self.urlpath, "_source": self._source, "_movie": None}

    def __repr__(self) -> str:
        if self._movie is None:
            return f"<MovieReader {self.urlpath}: not opened in this process yet>"
        n, height, width = self.shape
        start = "unknown" if self.start_time is None else np.datetime_as_string(self.start_time, "s")
        return (
            f"<MovieReader {self.urlpath}: {n} frames of {width}x{height} ({self.index.codec}), "
            f"{self.duration:.3f} s from {start}, {self.file_size:,} bytes>"
        )

    @property
    def index(self) -> MovieIndex:
        """Where each sample lies and when it is shown."""
        return self._opened.index

    @property
    def file_size(self) -> int:
        """Bytes of the file."""
        return self._opened.file_size

    @property
    def _opened(self) -> _OpenMovie:
        """What opening the movie found; a reader that was pickled opens it when it is first used."""
        if self._movie is None:
            movie = _open_movies.open(replace(self._source, version=None))
            if movie.source != self._source:
                raise RemoteFileChangedError(
                    f"{self.urlpath} was replaced since it was opened elsewhere; open it again"
                )
            self._movie = movie
        return self._movie

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.index.n_frames

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, lines and columns."""
        return self.n_frames, self.index.height, self.index.width

    @property
    def duration(self) -> float:
        """Seconds from the start of the first frame to the end of the last."""
        index = self.index
        return float(index.pts[-1] + index.duration[-1] - index.pts[0]) / index.timescale

    @property
    def start(self) -> StartTime:
        """When the movie began, and how that is known."""
        return choose_start_time(
            find_movie_name(self.urlpath), self.index.creation_time, duration_seconds=self.duration
        )

    @property
    def start_time(self) -> np.datetime64 | None:
        """When the movie began, UTC, in nanoseconds; None where neither its name nor its header tells it."""
        return self.start.time

    @property
    def interlaced(self) -> bool:
        """Whether a frame holds two fields; the first call reads the header of the first frame."""
        if self.index.interlaced is None:
            first = ByteRange(int(self.index.offset[0]), int(self.index.offset[0] + self.index.size[0]))
            head = self._source.read(ByteRange(first.start, min(first.start + FRAME_HEAD_BYTES, first.stop)))
            index = replace(self.index, interlaced=parse_frame_header(head).interlaced)
            self._movie = replace(self._opened, index=index)
        return bool(self.index.interlaced)

    def times(self) -> npt.NDArray[np.datetime64]:
        """When each frame is shown, UTC, in nanoseconds: the start of the movie plus its presentation time.

        Raises
        ------
        ValueError
            Nothing tells when the movie began.
        """
        if self.start_time is None:
            raise ValueError(f"{self.urlpath} does not tell when it began")
        return self.start_time + self.elapsed()

    def elapsed(self) -> npt.NDArray[np.timedelta64]:
        """Presentation time of each frame from the start of the movie, in nanoseconds."""
        pts, timescale = self.index.pts, self.index.timescale
        # Whole seconds apart, so that ticks of a long movie do not overflow, and nothing is rounded twice.
        seconds, ticks = np.divmod(pts, timescale)
        nanoseconds = seconds * 1_000_000_000 + (ticks * 1_000_000_000 + timescale // 2) // timescale
        elapsed: npt.NDArray[np.timedelta64] = nanoseconds.astype("timedelta64[ns]")
        return elapsed

    def stack(self, frames: FrameSelection = slice(None), *, pix_fmt: str = "rgb24") -> FrameStack:
        """The stack of some frames, to be read later: what arrays are made of.

        Parameters
        ----------
        frames
            Which ones, in which order.
        pix_fmt
            Pixel format, as for `read`.

        Raises
        ------
        FrameIndexError
            The movie has no such frame.
        """
        chosen = _choose_frames(frames, self.n_frames)
        return FrameStack(
            source=self._source,
            frames=chosen,
            sample_offset=self.index.offset[chosen],
            sample_size=self.index.size[chosen],
            frame_size=(self.index.height, self.index.width),
            window=(slice(0, self.index.height), slice(0, self.index.width)),
            track_matrix=self.index.color_matrix,
            pixel_format=find_pixel_format(pix_fmt),
        )

    def read(
        self,
        frames: FrameSelection,
        *,
        y: slice | None = None,
        x: slice | None = None,
        pix_fmt: str = "rgb24",
        out: Pixels | None = None,
    ) -> Pixels:
        """Pixels of some frames: an array of shape (frame, y, x[, channel]).

        Parameters
        ----------
        frames
            Which ones, in which order: a number, a slice, or a sequence of numbers.
        y, x
            Lines and columns, without step; None for all.
        pix_fmt
            `rgb24`, `bgr24`, `rgb48le`, …; of one plane `gray`, `gray16le`, …, which stretch black to 0 and
            white to full scale, and `gray10le`, which is luma as coded: black is 64, white 940.
        out
            Array to fill and return.

        Raises
        ------
        FrameIndexError
            The movie has no such frame.
        FrameDecodeError
            A frame is damaged.
        RemoteFileError
            The bytes could not be had; `RemoteFileChangedError` where the file was replaced.

        Notes
        -----
        One request for each stretch of neighbouring frames, several under way at once; decodes on all cores.
        """
        rows, columns = _check_slice(y, self.index.height, "y"), _check_slice(x, self.index.width, "x")
        return self.stack(frames, pix_fmt=pix_fmt).crop(rows, columns).read(out=out)

    def read_encoded(self, frames: FrameSelection) -> list[bytes]:
        """The samples of some frames as they lie in the file."""
        stack = self.stack(frames)
        samples = dict(stack.iter_samples())
        return [bytes(samples[position]) for position in range(len(stack.frames))]

    def plan(self, frames: FrameSelection, *, y: slice | None = None, x: slice | None = None) -> ReadPlan:
        """What reading these frames would cost. Asks for nothing."""
        _check_slice(y, self.index.height, "y")
        _check_slice(x, self.index.width, "x")
        stack = self.stack(frames)
        spans = self._source.plan(stack.byte_ranges)
        return ReadPlan(len(spans), sum(span.n_bytes for span in spans), len(stack.frames))


def _choose_frames(frames: FrameSelection, n_frames: int) -> npt.NDArray[np.int64]:
    """The frames' indices, none of them negative."""
    if isinstance(frames, slice):
        return np.arange(*frames.indices(n_frames), dtype=np.int64)
    numbers = np.atleast_1d(np.asarray(frames))
    if numbers.ndim != 1 or not (numbers.dtype.kind in "iuf" or numbers.size == 0):
        raise TypeError(f"frames are numbers, a sequence of numbers, or a slice; not {frames!r:.80}")
    chosen = np.rint(numbers)
    wrong = ~((chosen >= -n_frames) & (chosen < n_frames))
    if wrong.any():
        raise FrameIndexError(f"no frame {numbers[wrong][0]}: the movie has frames 0 to {n_frames - 1}")
    indices: npt.NDArray[np.int64] = chosen.astype(np.int64)
    indices[indices < 0] += n_frames
    return indices


def _check_slice(wanted: slice | None, length: int, name: str) -> slice:
    if wanted is None:
        return slice(0, length)
    if not isinstance(wanted, slice) or wanted.step not in (None, 1):
        raise TypeError(f"{name} is a slice without step; not {wanted!r}")
    start, stop, _ = wanted.indices(length)
    if start >= stop:
        raise ValueError(f"{name}={wanted.start}:{wanted.stop} is empty: there are {length}")
    return slice(start, stop)
