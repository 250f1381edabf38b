"""`MovieIndex`: one movie's frames as arrays, one item per frame.

Made once per movie by `parse_moov`, held by readers, sent to workers. Times are media times: the edit list
does not drop frames, but tells which ones a player would not show (`hidden`). Only its pauses (empty edits)
shift frames in time: `delay` is included in elapsed times. With inter-frame coding the edit list is part of
the coding: hidden samples are no frames, and times are those of players (see `coded_order`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from camhd_access.formats.quicktime.tracks import TrackKind

if TYPE_CHECKING:
    from camhd_access.formats.quicktime.coded_order import CodedSamples

__all__ = ["Edit", "MovieIndex", "find_delays"]

_LAST_TICK = np.iinfo(np.int64).max


class Edit(NamedTuple):
    """One entry of an edit list: the stretch of the media that is shown next."""

    segment_duration_ticks: int
    """Duration in ticks of the movie's time scale; 0: to the end of the media (ISO/IEC 14496-12, 8.6.6)."""
    media_time_ticks: int
    """Start in ticks of the media's time scale; -1: nothing is shown for this duration."""
    rate: float
    """Media time per movie time; 0: the frame at `media_time_ticks` stands still."""


def find_delays(edits: Sequence[Edit], movie_timescale: int, timescale: int) -> list[tuple[int, int]]:
    """Where each edit that shows something starts in the media, and the pauses before it, both in ticks.

    Notes
    -----
    QTFF, "Edit List Atoms"; ISO/IEC 14496-12, 8.6.6: an empty edit delays what follows. Pauses are rounded
    to ticks of the media, as in libav.
    """
    found, waiting = [], Fraction(0)
    for edit in edits:
        if edit.media_time_ticks < 0:
            waiting += Fraction(edit.segment_duration_ticks, movie_timescale)
        else:
            found.append((edit.media_time_ticks, round(waiting * timescale)))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class MovieIndex:
    """Position and time of each frame of a movie.

    Arrays are read-only, with one item per frame, in the order of presentation; for ProRes this is the order
    of the file's sample table. 33 bytes per frame; 58 with inter-frame coding.
    """

    offset: NDArray[np.int64]
    """First byte of each sample in the file."""
    size: NDArray[np.int64]
    """Bytes of each sample."""
    pts: NDArray[np.int64]
    """Presentation time of each frame in ticks, from the start of the media, edit list not applied; with
    inter-frame coding, from the start of the movie, edit list applied."""
    duration: NDArray[np.int64]
    """How long each frame is shown, in ticks."""
    is_sync: NDArray[np.bool_]
    """True if decoding can begin at a frame; all frames of a ProRes movie (intra-frame codec)."""
    timescale: int
    """Ticks per second of `pts` and `duration`."""
    codec: str
    """Four-character code of the codec, such as "apcn" (a ProRes profile) or "avc1" (H.264)."""
    width: int
    """Pixels per row, from the sample description."""
    height: int
    """Rows, both fields together."""
    interlaced: bool | None = None
    """True if a frame has two fields; None if unknown before the first frame is read."""
    creation_time: np.datetime64 | None = None
    """When the recorder began the movie (`mvhd`), in whole seconds UTC; None if not set."""
    color_matrix: int | None = None
    """Matrix number of the sample description's `colr` (ITU-T H.273); None if it has none."""
    edits: tuple[Edit, ...] = ()
    """The track's edit list; empty: all is shown."""
    movie_timescale: int = 1
    """Ticks per second of the edits' durations."""
    kind: TrackKind | None = None
    """Properties of the video track that a copy of frames preserves; None if the movie has no index."""
    timecode_track: bytes = b""
    """Payload of the timecode `trak`, unparsed (see `quicktime.timecode`); empty: none."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Text metadata by name (see `quicktime.metadata`)."""
    coded: "CodedSamples | None" = None
    """The samples in decoding order, if frames depend on each other (H.264, HEVC); None for ProRes."""

    def __post_init__(self) -> None:
        for name in ("offset", "size", "pts", "duration", "is_sync"):
            dtype = np.bool_ if name == "is_sync" else np.int64
            array: NDArray[Any] = np.ascontiguousarray(getattr(self, name), dtype).view()
            if array.shape != (self.n_frames,):
                raise ValueError(f"{name} has shape {array.shape}, offset has {self.n_frames} items")
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor, because pickled arrays are no longer read-only.
        return type(self), tuple(getattr(self, each.name) for each in fields(self))

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.offset)

    @property
    def total_seconds(self) -> float:
        """From the start of the first frame to the end of the last."""
        shown = self.pts + self.delay
        return float(shown[-1] + self.duration[-1] - shown[0]) / self.timescale

    @property
    def end_seconds(self) -> float:
        """From the start of the movie to the end of the last frame."""
        return float(self.pts[-1] + self.delay[-1] + self.duration[-1]) / self.timescale

    @property
    def delay(self) -> NDArray[np.int64]:
        """Ticks by which empty edits delay each frame; computed at each call."""
        found = find_delays(self.edits, self.movie_timescale, self.timescale)
        if not any(delay for _, delay in found):
            return np.broadcast_to(np.int64(0), self.n_frames)
        starts, delays = np.array(found, np.int64).T
        if (np.diff(starts) < 0).any():  # shown in another order than recorded
            return np.broadcast_to(delays[0], self.n_frames)
        of_frame: NDArray[np.int64] = delays[(np.searchsorted(starts, self.pts, "right") - 1).clip(0)]
        return of_frame

    def elapsed(self, frame: int, field: int = 0) -> np.timedelta64:
        """Presentation time of a frame, or of a field of it, from the start of the movie, in nanoseconds."""
        ticks = 2 * int(self.pts[frame] + self.delay[frame]) + field * int(self.duration[frame])
        timescale = 2 * self.timescale
        return np.timedelta64((ticks * 1_000_000_000 + timescale // 2) // timescale, "ns")

    def elapsed_all(self, *, fields: bool = False) -> NDArray[np.timedelta64]:
        """Presentation time of each frame (or field) from the start of the movie, in nanoseconds."""
        pts = self.pts + self.delay
        if not fields:
            return _to_nanoseconds(pts, self.timescale)
        return _to_nanoseconds(
            np.stack((2 * pts, 2 * pts + self.duration), axis=1).ravel(), 2 * self.timescale
        )

    def elapsed_of(
        self, frames: NDArray[np.int64], field: NDArray[np.int8] | int = 0
    ) -> NDArray[np.timedelta64]:
        """Presentation time of these frames, or of a field of each, likewise."""
        ticks = 2 * (self.pts[frames] + self.delay[frames]) + field * self.duration[frames]
        return _to_nanoseconds(ticks, 2 * self.timescale)

    @property
    def hidden(self) -> NDArray[np.bool_]:
        """True for the frames that the edit list does not show, not even in part; computed at each call."""
        if not self.edits:
            return np.zeros(self.n_frames, np.bool_)
        shown = [self._shown_ticks(edit) for edit in self.edits]
        starts, stops = np.sort(np.array([s for s in shown if s], np.int64).reshape(-1, 2), axis=0).T
        frame_stop = self.pts + np.maximum(self.duration, 1)
        # Stretches that begin before a frame ends, minus those that end before it begins, overlap it.
        n_begun = np.searchsorted(starts, frame_stop, "left")
        n_ended = np.searchsorted(stops, self.pts, "right")
        return np.equal(n_begun, n_ended)

    def _shown_ticks(self, edit: Edit) -> tuple[int, int] | None:
        """Half-open stretch of media time that one edit shows; None if it shows none."""
        start = edit.media_time_ticks
        if start < 0:
            return None
        if not edit.segment_duration_ticks:
            return start, _LAST_TICK
        seconds = Fraction(edit.segment_duration_ticks, self.movie_timescale)
        n_ticks = ceil(seconds * Fraction(edit.rate) * self.timescale)
        return start, min(start + max(n_ticks, 1), _LAST_TICK)


def _to_nanoseconds(ticks: NDArray[np.int64], timescale: int) -> NDArray[np.timedelta64]:
    """Ticks as times: whole seconds apart, so that nothing overflows, and nothing is rounded twice."""
    seconds, ticks = np.divmod(ticks, timescale)
    nanoseconds = seconds * 1_000_000_000 + (ticks * 1_000_000_000 + timescale // 2) // timescale
    elapsed: NDArray[np.timedelta64] = nanoseconds.astype("timedelta64[ns]")
    return elapsed
