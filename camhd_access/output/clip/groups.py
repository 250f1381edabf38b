"""The samples that a clip of a movie with inter-frame coding carries, and when each is decoded and shown.

Frames depend on earlier ones: a clip begins at a sync sample, so that it decodes on its own. Samples that its
frames need, but that are shown before the first or after the last of them, are carried too, and hidden by
the clip's edit list: players and this package show the frames of the clip only.

Source: ISO/IEC 14496-12, 8.6.1 (times of decoding and composition), 8.6.2 (sync samples), 8.6.6 (edit list).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from camhd_access.errors import FrameDecodeError, UnsupportedCodecError
from camhd_access.formats.quicktime import INTER_CODECS, CodedSamples, MovieIndex
from camhd_access.movie.groups import GroupReader
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.stack import FrameStack

__all__ = ["CarriedSamples", "carry_samples"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class CarriedSamples:
    """Successive samples of a movie, in decoding order."""

    offset: Ints
    """First byte of each in the movie."""
    size: Ints
    """Bytes of each."""
    sync_samples: Ints
    """Numbers of the sync samples among them, from 0."""
    decoding_ticks: Ints
    """Ticks from the decoding of each to that of the next."""
    composition_ticks: Ints
    """Ticks from the decoding of each to its presentation."""
    start_ticks: int
    """Presentation time of the first frame of the clip, from the decoding of the first sample."""
    shown_ticks: int
    """Ticks from there to the end of the last frame."""


def carry_samples(reader: MovieReader, stack: FrameStack) -> CarriedSamples:
    """The samples that successive frames of a movie need; fetches the first of them.

    Raises
    ------
    UnsupportedCodecError
        The frames are not successive: those between cannot be left out, because others need them.
    FrameDecodeError
        No sync sample precedes one of the frames.
    """
    index = reader.index
    assert index.coded is not None  # noqa: S101 - for mypy
    if (np.diff(stack.frames) != 1).any():
        raise UnsupportedCodecError(
            f"{reader.name}: frames of {INTER_CODECS[index.codec]} depend on others; a clip without "
            "re-encoding has successive frames; choose a step of 1, or write .mp4, .gif or images"
        )
    start, refused = _find_start(reader, stack)
    stop = int(index.coded.samples_of(stack.frames).max()) + 1
    is_sync = index.coded.is_sync[start:stop].copy()
    is_sync[refused[refused < stop] - start] = False
    return _describe(index, index.coded, stack.frames, slice(start, stop), np.flatnonzero(is_sync))


def _find_start(reader: MovieReader, stack: FrameStack) -> tuple[int, Ints]:
    """The last sample from which all frames decode exactly, as it tells itself (see `find_entry`).

    The second value are the samples after it that the movie calls sync samples, but that are none.
    """
    coded = reader.index.coded
    assert coded is not None  # noqa: S101 - for mypy
    samples, groups = coded.samples_of(stack.frames), GroupReader(stack.source, coded)
    start = groups.find_start(samples)
    if start < 0:
        starts = coded.find_starts(samples, groups.refused)
        raise FrameDecodeError(
            f"{reader.name}: frame {stack.frames[np.argmin(starts)]} depends on frames before the start "
            "of the movie; begin the clip after it"
        )
    return start, np.array(sorted(n for n in groups.refused if n > start), np.int64)


def _describe(
    index: MovieIndex, coded: CodedSamples, frames: Ints, carried: slice, sync_samples: Ints
) -> CarriedSamples:
    """Their times: each is decoded when the one at the same place in display order would be shown."""
    rank = coded.rank[carried]
    position = np.argsort(np.argsort(rank))  # in display order
    n_early = int((rank - coded.n_hidden < frames[0]).sum())
    n_late = len(rank) - n_early - len(frames)
    first_ticks, last_ticks = (max(1, int(index.duration[frames[end]])) for end in (0, -1))
    begin, end = int(index.pts[frames[0]]), int(index.pts[frames[-1]]) + last_ticks
    shown = np.concatenate(
        [  # hidden samples follow closely: the movie may hide them too, and then does not tell their times
            begin + first_ticks * np.arange(-n_early, 0),
            index.pts[frames],
            end + last_ticks * np.arange(n_late + 1),
        ]
    )
    pts, ticks = shown[position], np.diff(shown).astype(np.int64)
    ticks[np.argmax(position)] = last_ticks  # a sample's own duration counts for the last one shown only
    dts = shown[0] + np.cumsum(ticks) - ticks
    dts += min(0, int((pts - dts).min()))  # none is shown before it is decoded
    return CarriedSamples(
        offset=coded.offset[carried],
        size=coded.size[carried],
        sync_samples=sync_samples,
        decoding_ticks=ticks,
        composition_ticks=pts - dts,
        start_ticks=begin - int(dts[0]),
        shown_ticks=end - begin,
    )
