"""`ClipLayout`: the bytes of a clip, not written yet.

A clip is a QuickTime movie of some frames of another one: a header made from the index, followed by the
unchanged samples. All sizes are known before a sample is read, so `moov` comes first, the length is known
in advance, and any range of the clip can be produced without the rest: a web server can serve byte ranges
of a clip that is not stored anywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from camhd_access.movie.reader import MovieReader
from camhd_access.movie.selection import Deinterlace, FrameSelection
from camhd_access.movie.stack import FrameStack
from camhd_access.output.clip.groups import carry_samples
from camhd_access.output.clip.header import build_header
from camhd_access.ranges import ByteRange
from camhd_access.storage.source import ByteSource

__all__ = ["ClipLayout", "plan_clip", "split_runs", "stack_frames"]


@dataclass(frozen=True, slots=True, eq=False)
class ClipLayout:
    """The origin of each byte of a clip."""

    source: ByteSource
    """The movie of the frames."""
    frames: NDArray[np.int64]
    """Index in that movie of each frame of the clip."""
    header: bytes
    """All bytes of the clip before the first sample."""
    sample_offset: NDArray[np.int64]
    """First byte of each sample in the movie."""
    sample_size: NDArray[np.int64]
    """Bytes of each sample; with inter-frame coding also of those that the frames need, which are hidden."""

    @property
    def size(self) -> int:
        """Bytes of the clip."""
        return len(self.header) + int(self.sample_size.sum())

    def pieces(self, start: int, stop: int) -> tuple[bytes, list[ByteRange]]:
        """The origin of the bytes `start` ≤ i < `stop` of the clip.

        Returns
        -------
        bytes
            Their part of the header.
        list of ByteRange
            The ranges of the movie that follow.
        """
        sample_start = len(self.header) + np.cumsum(self.sample_size) - self.sample_size
        low = (start - sample_start).clip(0)
        high = np.minimum(stop - sample_start, self.sample_size)
        wanted = low < high
        starts, stops = ((self.sample_offset + edge)[wanted].tolist() for edge in (low, high))
        return self.header[start:stop], [ByteRange(*both) for both in zip(starts, stops, strict=True)]

    def iter_bytes(self, start: int = 0, stop: int | None = None) -> Iterator[bytes | memoryview]:
        """The bytes `start` ≤ i < `stop` of the clip in pieces of at most one sample; None: to the end.

        Raises
        ------
        RemoteFileError
            The movie's bytes could not be read; `RemoteFileChangedError` if it was replaced.

        Notes
        -----
        One request for each run of neighbouring frames; the next ones are then in flight. Memory
        does not depend on the length.
        """
        stop = self.size if stop is None else min(stop, self.size)
        if not 0 <= start <= stop:
            raise ValueError(f"no bytes {start} to {stop}: the clip has {self.size}")
        head, ranges = self.pieces(start, stop)
        if head:
            yield head
        for run in split_runs(ranges):
            for span, data in self.source.fetch(run):
                for position in span.members:
                    wanted = run[position]
                    yield memoryview(data)[wanted.start - span.start : wanted.stop - span.start]

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes `start` ≤ i < `stop` of the clip; None: to the end."""
        return b"".join(self.iter_bytes(start, stop))


def split_runs(ranges: list[ByteRange]) -> Iterator[list[ByteRange]]:
    """The same ranges, split into runs of ascending offsets, whose order `ByteSource.fetch` preserves."""
    starts = np.array([wanted.start for wanted in ranges])
    edges = [0, *(np.flatnonzero(np.diff(starts) < 0) + 1).tolist(), len(ranges)]
    yield from (ranges[a:b] for a, b in pairwise(edges) if a < b)


def stack_frames(
    reader: MovieReader, frames: FrameSelection, *, deinterlace: Deinterlace = None
) -> FrameStack:
    """The stack of some frames of a movie, at least one."""
    stack = reader.stack(frames, deinterlace=deinterlace)
    if not len(stack.frames):
        raise ValueError(f"the selection contains no frames: the movie has frames 0 to {reader.n_frames - 1}")
    return stack


def plan_clip(reader: MovieReader, frames: FrameSelection) -> ClipLayout:
    """The clip of some frames of a movie.

    Parameters
    ----------
    frames
        Frames in the order of the movie, each once. Steps are allowed in ProRes movies.

    Raises
    ------
    FrameIndexError
        The movie has no such frame.
    ValueError
        No frames, or not in the order of the movie.
    UnsupportedCodecError
        Frames depend on each other, and are not successive.
    UnsupportedMovieError
        The clip would be longer than its header can store (39 hours at 30,000 ticks per second).
    FrameDecodeError
        A frame depends on frames before the start of the movie.
    InvalidMovieError
        The movie's timecode is damaged.

    Notes
    -----
    Costs one request of 4 bytes if the movie has timecode, and one for the first frame's header if its
    index was rebuilt, or for the first sample of H.264 and HEVC; otherwise none. The same frames of the same
    movie give the same bytes.

    With inter-frame coding a clip begins at a sync sample. The samples from there on that its frames need are
    part of it, and its edit list hides them.

    Examples
    --------
    >>> clip = plan_clip(MovieReader(url), slice(100, 200))
    >>> len(clip.sample_size)
    100
    """
    stack = stack_frames(reader, frames)
    if (np.diff(stack.frames) <= 0).any():
        raise ValueError("the frames of a clip must be in the order of the movie, each once")
    carried = carry_samples(reader, stack) if reader.index.coded else None
    return ClipLayout(
        source=stack.source,
        frames=stack.frames,
        header=build_header(reader, stack, carried),
        sample_offset=stack.sample_offset if carried is None else carried.offset,
        sample_size=stack.sample_size if carried is None else carried.size,
    )
