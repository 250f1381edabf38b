"""The timecode track: the frame numbers given by the recorder's clock.

Each sample is the number of one frame, counted from midnight, and is valid until the next sample; recorders
write one for the whole movie. `MovieIndex` keeps the track unparsed; it is parsed when frames are copied or
the timecode is read: a part of the movie starts at a later number, which `Timecode.between` computes, and
`TimecodeLabel` is a number in its usual notation.

Source: QTFF, "Timecode Media"; SMPTE ST 12-1 for the numbers left out by drop-frame timecode.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from camhd_access.errors import InvalidMovieError
from camhd_access.formats.quicktime.atoms import Atom
from camhd_access.formats.quicktime.description import parse_track_kind
from camhd_access.formats.quicktime.index import Edit, MovieIndex
from camhd_access.formats.quicktime.moov import parse_clock, parse_edits
from camhd_access.formats.quicktime.tables import parse_sample_tables
from camhd_access.formats.quicktime.tracks import TrackKind
from camhd_access.ranges import ByteRange
from camhd_access.times import DAY_SECONDS, difference_of_day

__all__ = [
    "SAMPLE_BYTES",
    "Timecode",
    "TimecodeLabel",
    "TimecodeStretch",
    "find_timecode",
    "movie_seconds",
]

SAMPLE_BYTES = 4


_DROP_FRAME, _WRAPS_AT_MIDNIGHT = 1, 2  # flags of the sample description


@dataclass(frozen=True, slots=True)
class TimecodeLabel:
    """The timecode of one frame: hours, minutes, seconds and a frame of the second."""

    number: int
    """The frame's number, as a sample has it."""
    rate: int
    """Numbers per second of the label: 30 for 29.97 frames a second."""
    drops: bool
    """Whether labels are left out (drop-frame), so that they keep up with the clock."""

    @property
    def _position(self) -> int:
        """The number if no labels were left out."""
        if not self.drops:
            return self.number
        n_dropped = _dropped_per_minute(self.rate)
        tens, rest = divmod(self.number, 600 * self.rate - 9 * n_dropped)
        minutes = max(0, rest - n_dropped) // (60 * self.rate - n_dropped)
        return self.number + n_dropped * (9 * tens + minutes)

    @property
    def seconds_of_day(self) -> float:
        """The time of day that the label shows."""
        return self._position % (self.rate * DAY_SECONDS) / self.rate

    def __str__(self) -> str:
        seconds, frame = divmod(self._position, self.rate)
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours:02}:{minutes:02}:{seconds:02}{';' if self.drops else ':'}{frame:02}"

    def seconds_after(self, time: np.datetime64) -> int:
        """Whole seconds by which the label is later than a time (UTC), up to half a day either way.

        Notes
        -----
        Recorders store whole seconds, and labels without drops fall 0.9 s behind in a quarter of an hour.
        """
        midnight = time.astype("datetime64[D]")
        of_day = float((time - midnight) / np.timedelta64(1, "s"))
        return round(difference_of_day(self.seconds_of_day - of_day))


@dataclass(frozen=True, slots=True)
class TimecodeStretch:
    """The timecode of a part of a movie."""

    places: list[ByteRange]
    """Byte ranges of its samples in the file."""
    sample_ticks: NDArray[np.int64]
    """How long each number is valid, in the track's time scale."""
    n_frames_before: int
    """Frames from the frame of the first number to the start of the stretch."""
    n_numbers: int
    """Number at which the count restarts at 0."""

    def renumber(self, samples: list[bytes]) -> bytes:
        """The samples of the stretch, given those at `places`, with the first number advanced."""
        first = (int.from_bytes(samples[0], "big") + self.n_frames_before) % self.n_numbers
        return b"".join([first.to_bytes(SAMPLE_BYTES, "big"), *samples[1:]])


@dataclass(frozen=True, slots=True, eq=False)
class Timecode:
    """A timecode track; its samples are not read."""

    kind: TrackKind
    """Properties of the track that a copy preserves."""
    start: NDArray[np.int64]
    """Start of each sample's validity, from the start of the movie, in ticks of the track."""
    offset: NDArray[np.int64]
    """First byte of each sample in the file."""
    frame_seconds: Fraction
    """Ticks from one number to the next."""
    n_numbers: int
    """Numbers per day if the count restarts at midnight, else the largest possible count."""
    rate: int
    """Numbers per second of a label."""
    drops: bool
    """Whether labels are left out (drop-frame)."""

    def between(self, start: Fraction, stop: Fraction) -> TimecodeStretch:
        """The timecode from `start` to `stop`, seconds of the movie."""
        timescale = self.kind.timescale
        first_tick, last_tick = round(start * timescale), round(stop * timescale)
        first = max(0, int(np.searchsorted(self.start, first_tick, "right")) - 1)
        after = max(first + 1, int(np.searchsorted(self.start, last_tick)))
        edges = np.array([first_tick, *self.start[first + 1 : after], last_tick])
        begun = Fraction(first_tick - int(self.start[first]), timescale)
        return TimecodeStretch(
            places=[ByteRange(a, a + SAMPLE_BYTES) for a in self.offset[first:after].tolist()],
            sample_ticks=np.diff(edges),
            n_frames_before=round(begun / self.frame_seconds),
            n_numbers=self.n_numbers,
        )


def find_timecode(index: MovieIndex) -> Timecode | None:
    """The movie's timecode; None if it has none, or not as 32-bit numbers (`tmcd`).

    Raises
    ------
    InvalidMovieError
        The track is damaged.
    """
    if not index.timecode_track:
        return None
    track = Atom("trak", memoryview(index.timecode_track), 0, 0)
    mdia = track.need("mdia")
    stbl = mdia.need("minf", "stbl")
    _, timescale = parse_clock(mdia.need("mdhd"))
    kind = parse_track_kind(track, timescale)
    (entry,) = Atom("stsd", memoryview(kind.sample_description), 0, 0).children()
    if entry.type != "tmcd":
        return None
    flags, ticks_per_second, frame_ticks, rate = entry.unpack("IIIB", 12)
    tables = parse_sample_tables(stbl)
    if not (ticks_per_second and frame_ticks and rate and (tables.size == SAMPLE_BYTES).all()):
        raise InvalidMovieError("the timecode track has no frame rate, or its samples are not numbers")
    shift = _shown_from(parse_edits(track), index.movie_timescale, timescale)
    drops = bool(flags & _DROP_FRAME) and rate % 30 == 0  # drop-frame exists only for these rates
    return Timecode(
        kind=kind,
        start=tables.pts - round(shift * timescale),
        offset=tables.offset,
        frame_seconds=Fraction(frame_ticks, ticks_per_second),
        n_numbers=_numbers_of_day(rate, drops=drops) if flags & _WRAPS_AT_MIDNIGHT else 1 << 8 * SAMPLE_BYTES,
        rate=rate,
        drops=drops,
    )


def movie_seconds(index: MovieIndex, ticks: int) -> Fraction:
    """Time from the start of the movie at which this media time of the video is shown."""
    shift = _shown_from(index.edits, index.movie_timescale, index.timescale)
    return Fraction(ticks, index.timescale) - shift


def _shown_from(edits: tuple[Edit, ...], movie_timescale: int, timescale: int) -> Fraction:
    """The media time, in seconds, at which the movie starts, from the first edit that shows anything."""
    waiting = Fraction(0)
    for edit in edits:
        if edit.media_time_ticks >= 0:
            return Fraction(edit.media_time_ticks, timescale) - waiting
        waiting += Fraction(edit.segment_duration_ticks, movie_timescale)
    return -waiting


def _numbers_of_day(rate: int, *, drops: bool) -> int:
    """Numbers in 24 hours; drop-frame skips two in 30 at each minute except every tenth."""
    n_dropped = 9 * _dropped_per_minute(rate) if drops else 0
    return 24 * 6 * (600 * rate - n_dropped)


def _dropped_per_minute(rate: int) -> int:
    """Labels that drop-frame leaves out at the start of each minute except every tenth."""
    return 2 * (rate // 30)
