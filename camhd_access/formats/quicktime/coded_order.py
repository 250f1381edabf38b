"""Samples in the order in which they are decoded, and the frames that they become.

With inter-frame coding (H.264, HEVC) a sample depends on earlier ones, and the order of decoding differs
from that of display. Frames are counted in display order; the samples that the edit list hides at both ends
are no frames: they are decoded where others need them, and shown by no player. This module tells which
samples must be decoded, and from where.

Source: ISO/IEC 14496-12, 8.6.1.3 (composition times), 8.6.2 (sync samples), 8.6.6 (edit list).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from camhd_access.errors import InvalidMovieError, UnsupportedMovieError
from camhd_access.formats.h26x import MAX_LATE, StreamFormat
from camhd_access.formats.quicktime.index import Edit, MovieIndex, find_delays
from camhd_access.formats.quicktime.tables import SampleTables

__all__ = ["CodedSamples", "ShownFrames", "keep_whole_groups", "order_frames"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class CodedSamples:
    """The samples of a movie with inter-frame coding, in decoding order; 25 bytes per sample."""

    stream: StreamFormat
    """Codec, and the decoder configuration."""
    offset: Ints
    """First byte of each sample in the file."""
    size: Ints
    """Bytes of each sample."""
    rank: Ints
    """Position of each sample in display order, with the hidden ones."""
    is_sync: NDArray[np.bool_]
    """Samples from which decoding may begin, as the container has it (see `h26x.find_entry`)."""
    n_hidden: int
    """Number of samples shown before the first frame, by a player without edit list."""
    by_rank: Ints
    """Number of the sample at each position in display order."""
    may_be_out_of_order: bool = field(init=False)
    """Whether frames may be shown in another order than the container has it.

    It has the order of decoding if its writer knew no other: ffmpeg, of a stream without times.
    """
    n_late: int = field(init=False)
    """Greatest number of samples that may be decoded before another one and shown after it, at most 16."""

    def __post_init__(self) -> None:
        n_late = int((np.arange(len(self.rank)) - self.rank).max(initial=0))
        is_unknown = n_late == 0 and self.stream.may_reorder and not self.is_sync.all()
        object.__setattr__(self, "may_be_out_of_order", is_unknown)
        object.__setattr__(self, "n_late", MAX_LATE if is_unknown else min(n_late, MAX_LATE))

    def samples_of(self, frames: Ints) -> Ints:
        """The sample of each frame."""
        samples: Ints = self.by_rank[frames + self.n_hidden]
        return samples

    def find_starts(self, samples: Ints, refused: frozenset[int] = frozenset()) -> Ints:
        """For each sample the last sync sample from which it decodes; -1 if there is none.

        Parameters
        ----------
        refused
            Sync samples from which nothing decodes for certain.

        Notes
        -----
        A frame that is shown before the sync sample, but decoded after it, may need the group before (open
        group of pictures).
        """
        syncs = np.array([n for n in np.flatnonzero(self.is_sync).tolist() if n not in refused], np.int64)
        if not syncs.size:
            return np.full_like(samples, -1)
        place = np.searchsorted(syncs, samples, "right") - 1
        while (late := (place >= 0) & (self.rank[syncs[place]] > self.rank[samples])).any():
            place[late] -= 1
        starts: Ints = np.where(place >= 0, syncs[place], -1)
        return starts

    def find_stop(self, sample: int) -> int:
        """One past the last sample to be decoded for the frame of a sample.

        If the container may lack the order, it includes those after it in its group that may be shown before
        it. One of the next `MAX_LATE` is, if any.
        """
        if not self.may_be_out_of_order:
            return sample + 1
        stop = min(sample + 1 + MAX_LATE, len(self.rank))
        return sample + 1 + int(np.argmax(np.append(self.is_sync[sample + 1 : stop], True)))

    def starts(self) -> Ints:
        """Frames that a sync sample shows: groups of pictures begin there."""
        frames: Ints = np.sort(self.rank[self.is_sync]) - self.n_hidden
        return frames


class ShownFrames(NamedTuple):
    """The frames of a track, in display order."""

    samples: Ints
    """Number of each frame's sample."""
    pts: Ints
    """Presentation time in ticks, edit list applied: rises."""
    duration: Ints
    """Ticks until the next frame."""
    coded: CodedSamples


def order_frames(
    tables: SampleTables,
    edits: Sequence[Edit],
    *,
    stream: StreamFormat,
    timescale: int,
    movie_timescale: int,
    hides: bool = True,
) -> ShownFrames:
    """The frames that the edit list shows.

    Parameters
    ----------
    hides
        False: the edit list moves all frames in time and hides none.

    Raises
    ------
    UnsupportedMovieError
        The edit list shows several stretches, or at another speed; two samples have the same time; or a sync
        sample is shown before one that is decoded earlier.

    Notes
    -----
    As libav applies it: a frame is shown if it begins within the edit, and the first of them at its start.
    """
    by_rank = np.argsort(tables.pts, kind="stable").astype(np.int64)
    pts = tables.pts[by_rank]
    if (np.diff(pts) <= 0).any():
        raise UnsupportedMovieError("two frames are shown at the same time (ctts)")
    rank = np.empty_like(by_rank)
    rank[by_rank] = np.arange(len(by_rank))
    _check_groups(rank, tables.is_sync)
    duration = np.append(np.diff(pts), tables.duration[by_rank[-1]])
    first, stop = 0, len(pts)
    if edits and not hides:
        start_ticks, _, delay = _only_stretch(edits, timescale, movie_timescale)
        pts = pts - start_ticks + delay
    elif edits:
        start_ticks, n_ticks, delay = _only_stretch(edits, timescale, movie_timescale)
        first = int(np.searchsorted(pts, start_ticks))
        if n_ticks:
            stop = int(np.searchsorted(pts, start_ticks + n_ticks))
        if first < stop:
            pts = pts - pts[first] + delay
    if first >= stop:
        raise UnsupportedMovieError("its edit list shows no frame")
    coded = CodedSamples(
        stream=stream,
        offset=tables.offset,
        size=tables.size,
        rank=rank,
        is_sync=tables.is_sync,
        n_hidden=first,
        by_rank=by_rank,
    )
    return ShownFrames(by_rank[first:stop], pts[first:stop], duration[first:stop], coded)


def _check_groups(rank: Ints, is_sync: NDArray[np.bool_]) -> None:
    """Raise if groups overlap in time: a decoder returns all pictures before a sync sample first.

    Where all samples are marked as such, some are wrongly (see `h26x.find_entry`): that tells nothing.
    """
    is_late = is_sync[1:] & (np.maximum.accumulate(rank)[:-1] > rank[1:])
    if is_late.any() and not is_sync.all():
        raise UnsupportedMovieError(
            f"groups of pictures overlap in time, as in movies joined with a wrong duration: sync sample "
            f"{1 + int(np.argmax(is_late))} is shown before samples that are decoded earlier"
        )


def _only_stretch(edits: Sequence[Edit], timescale: int, movie_timescale: int) -> tuple[int, int, int]:
    """Media time and length of the only stretch shown (0: to the end), and the pause before it, in ticks."""
    shown = [edit for edit in edits if edit.media_time_ticks >= 0]
    if len(shown) != 1 or shown[0].rate != 1 or edits[-1] is not shown[0]:
        raise UnsupportedMovieError(
            f"its edit list shows {len(shown)} stretches, or one at another speed; with inter-frame coding, "
            "one at normal speed is supported. Encode the movie anew"
        )
    ((start_ticks, delay),) = find_delays(edits, movie_timescale, timescale)
    n_ticks = (2 * shown[0].segment_duration_ticks * timescale + movie_timescale) // (2 * movie_timescale)
    return start_ticks, n_ticks, delay


def keep_whole_groups(index: MovieIndex, file_size: int) -> MovieIndex:
    """The index of the groups of pictures before the first sample that the end of the file cuts off.

    Parameters
    ----------
    index
        Index of the whole movie, with inter-frame coding.
    file_size
        Bytes of the file that are left.

    Raises
    ------
    InvalidMovieError
        No group is whole.

    Notes
    -----
    Frames keep the times that they have in the whole movie. A group ends before the next sync sample in
    decoding order; frames decoded after this one and shown before it (open group) are lost with it.
    """
    coded = index.coded
    if coded is None:
        raise ValueError(f"{index.codec} has no groups of pictures")
    missing = np.flatnonzero(coded.offset + coded.size > file_size)
    if not missing.size:
        return index
    starts = np.flatnonzero(coded.is_sync[: missing[0] + 1])
    n_kept = int(starts[-1]) if starts.size else 0
    is_kept = coded.by_rank < n_kept
    n_hidden = int(is_kept[: coded.n_hidden].sum())
    shown = is_kept[coded.n_hidden : coded.n_hidden + index.n_frames]
    if not shown.any():
        raise InvalidMovieError(
            f"no group of pictures is whole: sample {missing[0]} is cut off by the end of the file at byte "
            f"{file_size}, and no frame is shown before its group"
        )
    by_rank = coded.by_rank[is_kept]
    rank = np.empty_like(by_rank)
    rank[by_rank] = np.arange(n_kept)
    return replace(
        index,
        **{name: getattr(index, name)[shown] for name in ("offset", "size", "pts", "duration", "is_sync")},
        coded=replace(
            coded,
            offset=coded.offset[:n_kept],
            size=coded.size[:n_kept],
            rank=rank,
            is_sync=coded.is_sync[:n_kept],
            n_hidden=n_hidden,
            by_rank=by_rank,
        ),
    )
