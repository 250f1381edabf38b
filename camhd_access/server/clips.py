"""Clips: some frames of a movie as a movie of their own, which exists nowhere.

Its bytes are fetched while they are sent, some megabytes at a time, so a long one takes no more memory than a
short one, and any range of it costs just that range.
"""

from collections.abc import AsyncIterator

from camhd_access.output.clip import ClipLayout, split_runs
from camhd_access.ranges import ByteRange, plan_spans
from camhd_access.server.movies import Movie

__all__ = ["CLIP_TYPE", "PIECE_BYTES", "iter_clip"]

CLIP_TYPE = "video/quicktime"
PIECE_BYTES = 4 << 20
"""Of a clip, in memory for one client."""
MAX_GAP_BYTES = 64 << 10
"""Sound between two frames that is read rather than asked around."""


async def iter_clip(movie: Movie, layout: ClipLayout, part: ByteRange) -> AsyncIterator[bytes]:
    """The bytes of a part of a clip, in order.

    Raises
    ------
    RemoteFileError
        The movie's bytes could not be had.
    Problem
        503: too much is asked of the mirror.
    """
    for start in range(part.start, part.stop, PIECE_BYTES):
        head, ranges = layout.pieces(start, min(start + PIECE_BYTES, part.stop))
        if head:
            yield head
        for run in split_runs(ranges):
            for span in plan_spans(run, max_gap_bytes=MAX_GAP_BYTES, max_span_bytes=2 * PIECE_BYTES):
                data = await movie.read(ByteRange(span.start, span.stop))
                for position in span.members:
                    yield data[run[position].start - span.start : run[position].stop - span.start]
