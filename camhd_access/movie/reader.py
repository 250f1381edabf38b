"""`MovieReader`: one open movie.

Opening reads the index: one request if `moov` is at the end of the file. All reads are planned from the
index: bytes, requests and decoding. A reader is cheap, thread-safe and picklable; the pickle
contains the address and version of the movie, and reopens it on first use.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import PurePath
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from camhd_access.errors import FrameIndexError
from camhd_access.formats.names import (
    Clock,
    StartTime,
    check_clock,
    choose_start_time,
    describe_start,
    find_movie_name,
)
from camhd_access.formats.prores import FrameHeader
from camhd_access.formats.quicktime import MovieIndex
from camhd_access.formats.quicktime.timecode import TimecodeLabel
from camhd_access.movie.address import Address
from camhd_access.movie.index_cache import OpenMovie, Recover, find_header, open_index
from camhd_access.movie.index_store import IndexStore, find_store
from camhd_access.movie.opening import open_address
from camhd_access.movie.origin import Origin, parse_origin
from camhd_access.movie.plan import ReadPlan
from camhd_access.movie.rescue import Recovery
from camhd_access.movie.selection import (
    Deinterlace,
    Errors,
    Fields,
    FrameSelection,
    check_errors,
    check_scan,
    crop_stack,
    stack_frames,
)
from camhd_access.movie.stack import FrameStack, Pixels
from camhd_access.movie.timecodes import read_first_label
from camhd_access.storage.source import ByteSource  # noqa: TC001 - users may resolve the annotation
from camhd_access.tables import write_table
from camhd_access.times import Duration, Moment, parse_instant, to_seconds
from camhd_access.urls import options_of, redact_url

__all__ = ["MovieReader", "ReadPlan"]

N_ITERATED_TOGETHER = 16
"""Frames in memory during iteration: 100 MB of 1080p."""


class MovieReader:
    """One movie: its index, and its frames as numpy arrays.

    Parameters
    ----------
    urlpath
        Anything that fsspec opens: `https://…`, `s3://…`, a local path, `memory://…`; or the base name of a
        movie, or a time (UTC) during its recording, which are looked up in the archive (`open_archive`).
    recover
        True: rebuild a missing or damaged index from the frames' headers (minutes for 13 GB, once); of H.264
        and HEVC cut off at the end, keep whole groups. A path or URL: the index that `camhd recover` wrote.
    clock
        Source of the start time: "mvhd", the movie's own clock; "name", its name, corrected for its period;
        or "auto", the clock unless it is missing or differs from the name by more than a day.
    cache
        Cache fetched bytes on disk, for this and other processes.
    indexes
        Path or URL of a store of indexes, which `Archive.catalog(index=True)` fills; by default that of the
        environment variable `CAMHD_INDEXES`, if it is set. A movie on a web server that is in it opens
        without a request for the movie, unless it is to `recover`.
    storage_options
        Arguments for the filesystem's constructor.

    Raises
    ------
    InvalidMovieError
        Not a movie, or a damaged one; `MissingMoovError` for truncated recordings.
    UnsupportedMovieError
        Its media is in another file, or of another codec than ProRes, H.264 and HEVC.
    RemoteFileError
        The bytes could not be read.
    OSError
        Errors of other filesystems than http(s), such as `FileNotFoundError`.
    ValueError, ImportError
        A protocol that is unknown to fsspec, or whose filesystem is not installed.

    Notes
    -----
    Opening costs one request for the file's last 512 KiB if `moov` is there, at most three for other common
    layouts, two for `.mp4`, one a fragment, and none if the movie is open already. Safe for many threads.
    Pickles as address and version; the copy opens the movie on first use.
    """

    _header: FrameHeader | None = None

    def __init__(
        self,
        urlpath: Address,
        *,
        recover: Recover = False,
        clock: Clock = "auto",
        cache: bool = True,
        indexes: str | os.PathLike[str] | IndexStore | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        options, self._clock = options_of(urlpath, storage_options), check_clock(clock)
        address, movie = open_address(urlpath, recover, cache, options, find_store(indexes))
        self.urlpath: str = address
        self._movie: OpenMovie | None = movie
        self.source: ByteSource = movie.source
        """The pinned version of the file."""

    def __getstate__(self) -> dict[str, Any]:
        kept = self._movie if self._movie and self._movie.recovery else None
        return {"urlpath": self.urlpath, "source": self.source, "_movie": kept, "_clock": self._clock}

    def __repr__(self) -> str:
        if self._movie is None:
            return f"<MovieReader {self.name}: not opened in this process yet>"
        n, height, width = self.shape
        start = "unknown" if self.start_time is None else np.datetime_as_string(self.start_time, "s")
        return (
            f"<MovieReader {self.name}: {n} frames of {width}x{height} ({self.index.codec}), "
            f"{self.duration:.3f} s from {start}, {self.file_size:,} bytes>"
        )

    def _repr_html_(self) -> str:
        rows = {"file": self.name}
        if self._movie is not None:  # makes no request
            rows |= {"frames": repr(self), "start": describe_start(self.start)}
        return write_table(self.movie_name if self._movie else self.name, rows)

    def __len__(self) -> int:
        return self.n_frames

    def __getitem__(self, frames: Any) -> Pixels:  # noqa: ANN401 - a `FrameSelection`
        """Pixels in `rgb24`: shape (y, x, channel) for one frame, (frame, y, x, channel) for several."""
        pixels = self.read(frames)
        return pixels[0] if isinstance(frames, int | np.integer) else pixels

    def __iter__(self) -> Iterator[Pixels]:
        n = N_ITERATED_TOGETHER
        if self.n_frames > n:
            self.source.expect_sequence(int(self.index.offset[0]), int(self.index.size[:n].sum()))
        for start in range(0, self.n_frames, n):
            yield from self.read(slice(start, start + n))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing: connections and the index are shared with other readers."""

    @property
    def name(self) -> str:
        """The address for messages, without user, password and query."""
        return redact_url(self.urlpath)

    @property
    def index(self) -> MovieIndex:
        """Position and time of each frame."""
        return self._opened.index

    @property
    def recovery(self) -> Recovery | None:
        """How the index was rebuilt or shortened; None if it is the movie's own."""
        return self._opened.recovery

    @property
    def file_size(self) -> int:
        """Bytes of the file."""
        return self._opened.file_size

    @property
    def _opened(self) -> OpenMovie:
        """The open movie; an unpickled reader opens it on first use."""
        if self._movie is None:
            movie = open_index(replace(self.source, version=None))
            if movie.source != self.source:
                self.source.check()  # another replica may serve the same version
                movie = replace(movie, source=self.source)
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
        return self.index.total_seconds

    @cached_property
    def origin(self) -> Origin | None:
        """The movie from which this clip was cut; None if this is not a clip of this package."""
        return parse_origin(self.index.metadata, self.n_frames)

    @property
    def movie_name(self) -> str:
        """Base name of the movie; for a clip, of the original movie."""
        if self.origin is not None:
            return self.origin.movie
        name = find_movie_name(self.urlpath)
        return name.basename if name else PurePath(self.name).name

    @property
    def start(self) -> StartTime:
        """Start time and its source; for a clip, the source is that of the original movie."""
        if self.origin is not None:
            return self.origin.start(self.index.creation_time)
        name = find_movie_name(self.urlpath)
        return choose_start_time(
            name, self.index.creation_time, duration_seconds=self.duration, clock=self._clock
        )

    @property
    def start_time(self) -> np.datetime64 | None:
        """Start time, UTC, in nanoseconds; None if neither the name nor the header of the movie gives it."""
        return self.start.time

    @cached_property
    def timecode(self) -> TimecodeLabel | None:
        """Timecode of the first frame; None without a timecode track. The first call reads 4 bytes."""
        return read_first_label(self.source, self.index, file_size=self.file_size)

    @property
    def interlaced(self) -> bool:
        """Whether a frame holds two fields; the first call reads the header of the first frame.

        Raises
        ------
        FrameDecodeError
            The first frame and the three after it are damaged.
        """
        if self.index.interlaced is None:
            index = replace(self.index, interlaced=self.read_header().interlaced)
            self._movie = replace(self._opened, index=index)
        return bool(self.index.interlaced)

    @property
    def top_field_first(self) -> bool:
        """Whether the field shown first has the even lines; costs the same as `interlaced`."""
        return self.read_header().interlace != 2

    def read_header(self) -> FrameHeader:
        """The header of the first frame that has one; the first call reads it.

        Raises
        ------
        FrameDecodeError
            The first frames are damaged.
        """
        if self._header is None:
            self._header = find_header(self._opened)
        return self._header

    def original_frames(self, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Indices of a clip's frames in the original movie; for other movies, `frames` unchanged."""
        return frames if self.origin is None else self.origin.frames[frames]

    def times(self, *, fields: bool = False) -> npt.NDArray[np.datetime64]:
        """Time of each frame, UTC, in nanoseconds: the start of the movie plus the presentation time.

        Parameters
        ----------
        fields
            Both fields of each frame; the second is shown after half of the frame's duration.

        Raises
        ------
        ValueError
            The start time is unknown.
        """
        if self.start_time is None:
            raise ValueError(f"{self.name} has no start time")
        return self.start_time + self.elapsed(fields=fields)

    def elapsed(self, *, fields: bool = False) -> npt.NDArray[np.timedelta64]:
        """Presentation time of each frame (or field) from the start of the movie, in nanoseconds."""
        return self.index.elapsed_all(fields=fields)

    def frame_at(self, moment: Duration | Moment) -> int:
        """Index of the frame nearest to a duration from the movie's start, or to a time.

        Parameters
        ----------
        moment
            A number of seconds or a timedelta; or a time in UTC, as text or as a datetime.

        Raises
        ------
        FrameIndexError
            The movie is shorter, or the time is before its start.
        ValueError
            It is not a valid time, or the start time is unknown.
        """
        seconds = self.seconds_at(moment)
        end = self.index.end_seconds  # not `duration`: in clips the first frame may be shown after the start
        if not 0 <= seconds <= end:
            raise FrameIndexError(f"no frame at {seconds:g} s: the movie ends after {end:.3f} s")
        return int(np.abs(self.elapsed() / np.timedelta64(1, "s") - seconds).argmin())

    def seconds_at(self, moment: Duration | Moment) -> float:
        """Seconds from the start of the movie to a time, or in a duration; numbers are returned unchanged."""
        if not isinstance(moment, Moment):
            return to_seconds(moment)
        if self.start_time is None:
            raise ValueError(f"the start time of {self.name} is unknown: choose the frame by seconds")
        return float((parse_instant(moment, "moment") - self.start_time) / np.timedelta64(1, "s"))

    def stack(
        self,
        frames: FrameSelection = slice(None),
        *,
        pix_fmt: str = "rgb24",
        fields: Fields = False,
        deinterlace: Deinterlace = None,
        reduce: int = 1,
    ) -> FrameStack:
        """A stack of frames to be read later, of which arrays are made.

        Parameters
        ----------
        frames
            Frame indices, in any order.
        pix_fmt, fields, deinterlace, reduce
            As for `read`.

        Raises
        ------
        FrameIndexError
            The movie has no such frame.
        ValueError
            An unknown format or reduction, or fields of a progressive movie.
        """
        if check_scan(fields, deinterlace) and not self.interlaced:
            raise ValueError(f"{self.name} is progressive: its frames have no fields; read whole frames")
        shown: dict[str, Any] = {"pix_fmt": pix_fmt, "fields": fields, "deinterlace": deinterlace}
        return stack_frames(self._opened, frames, reduce=reduce, **shown)

    def read(
        self,
        frames: FrameSelection,
        *,
        y: slice | None = None,
        x: slice | None = None,
        pix_fmt: str = "rgb24",
        fields: Fields = False,
        deinterlace: Deinterlace = None,
        reduce: int = 1,
        errors: Errors = "raise",
        out: Pixels | None = None,
    ) -> Pixels:
        """Pixels of some frames: an array of shape (frame, y, x[, channel]).

        Parameters
        ----------
        frames
            Frame indices, in any order: a number, a slice, a sequence of numbers, or a boolean mask.
        y, x
            Lines and columns of the output, without step; None for all.
        pix_fmt
            `rgb24`, `bgr24`, `rgb48le`, …; single-plane formats are `gray`, `gray16le`, …, which stretch
            black to 0 and white to full scale, and `gray10le`, which is luma as coded: black is 64, white
            940.
        fields
            True: the two fields of each frame instead of the frame, each with half the lines, in the order in
            which they are shown; "first": only the field shown first. If only one field has a last line, it
            is left out.
        deinterlace
            "linear": whole frames made of the field shown first; each line of the other field is the mean of
            the lines above and below, rounded half up.
        reduce
            8: previews, the means of 8x8 pixels to within one 10-bit code value, except where pixels are
            clipped in decoding. Chroma has half that resolution horizontally. For interlaced frames, the mean
            of two preview lines has that accuracy; their difference is an estimate. 2 or 4: a half or a
            quarter, from the low frequencies of each block. This is a sharper low pass than an area mean: it
            differs by 4 to 10 10-bit code values (rms), up to 205 at hard edges, and is equal on average. Of
            ProRes, only 4:2:2 has it. Incomplete blocks at the edges are left out.
        errors
            "raise", or "mask" to continue after a damaged frame: returns a `numpy.ma.MaskedArray` in which
            the pixels of damaged slices are masked (zeros behind the mask). Errors while reading bytes
            always raise.
        out
            Array to fill and return.

        Raises
        ------
        FrameIndexError
            The movie has no such frame.
        FrameDecodeError
            A frame is damaged.
        RemoteFileError
            The bytes could not be read; `RemoteFileChangedError` if the file was replaced.
        ValueError
            `fields` or `deinterlace` of a progressive movie, or both; an empty window; an unknown option.

        Notes
        -----
        One request for each run of neighbouring frames, several in flight at once; decodes on all cores.
        Over a network, only the part of each frame that `y` selects is fetched, if it is less than about
        half. A preview fetches the bytes of whole frames, but takes a quarter of the time; damage in the fine
        structure of a frame does not affect it, and is not detected. H.264 and HEVC are decoded with the
        frames before (see `plan`); crops and means (`reduce`) are made of decoded frames.
        """
        check_errors(errors)
        shown = self.stack(frames, pix_fmt=pix_fmt, fields=fields, deinterlace=deinterlace, reduce=reduce)
        stack = crop_stack(shown, y, x)
        if errors == "raise":
            return stack.read(out=out)
        pixels, damaged = stack.read_marked(out=out)
        mask = np.zeros(pixels.shape, np.bool_)
        for position, where in damaged.items():
            mask[position] = where if mask.ndim == 3 else where[..., np.newaxis]
        return np.ma.MaskedArray(pixels, mask)

    def read_encoded(self, frames: FrameSelection) -> list[bytes]:
        """The samples of these frames, as stored in the file."""
        stack = self.stack(frames)
        samples = dict(stack.iter_samples())
        return [bytes(samples[position]) for position in range(len(stack.frames))]

    def plan(self, frames: FrameSelection, *, y: slice | None = None, x: slice | None = None) -> ReadPlan:
        """The cost of reading these frames. Makes no request.

        Notes
        -----
        Exact for whole frames (of H.264 and HEVC, with those that they depend on), unless the read follows
        another, with bytes fetched ahead. If `y` selects a part of each ProRes frame, and the file is remote,
        an estimate: from the share of the rows until this process has read a crop of the movie, then from the
        positions of the rows in the frame read last.
        """
        stack = crop_stack(self.stack(frames), y, x)
        return ReadPlan(*stack.plan(), stack.n_decoded)
