"""`Recovery`: what is left of a truncated movie; for ProRes an index rebuilt from its frames.

The file is cut into segments, which are walked in parallel (see `walk`); if a segment does not end at the
start of the next one, that one is walked again from there, so that the frames form one chain. Only if
the chain breaks, because frames are damaged or missing, is a segment's own search used.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from camhd_access.errors import InvalidMovieError
from camhd_access.formats.prores import FrameHeader
from camhd_access.formats.quicktime import MovieIndex
from camhd_access.movie.rescue.walk import MAX_GAP_BYTES, Segment, walk_first, walk_segment
from camhd_access.ranges import ByteRange, Walk, drive_walk
from camhd_access.storage.source import ByteSource, T

__all__ = ["Recovery", "build_index", "recover_index"]

SEGMENT_BYTES = 64 * 1024 * 1024
"""A hundred frames: enough that the search for the first of them takes little of the time."""

NOTHING = "no complete ProRes frame begins within the first 20 MB; nothing to recover"

TIMESCALE, FRAME_TICKS = 30_000, 1001
"""CamHD's frame rate. The frames do not contain it."""


@dataclass(frozen=True, slots=True, eq=False)
class Recovery:
    """The frames found in a file without an index, or without its end."""

    index: MovieIndex
    """Positions of the complete frames. Durations and the ProRes profile are assumed to be CamHD's; with
    H.264 and HEVC all is as in the movie's own index."""
    file_size: int
    """Bytes of the file."""
    cut: ByteRange | None
    """The incomplete frame at the end, which is not in the index; None if there is none."""
    holes: tuple[ByteRange, ...]
    """Stretches where frames seem to be missing. Frames after one are dated too early by as many frames."""

    n_lost: int | None = None
    """Frames that the movie's own index lists, and that are left out with their groups of pictures (H.264 and
    HEVC); None if the index was rebuilt."""

    @property
    def summary(self) -> str:
        """Summary in one sentence."""
        if self.n_lost == 0:
            return f"the end of the file is missing: the {self.index.n_frames:,} frames before it are whole"
        if self.n_lost is not None:
            return (
                f"the end of the file is missing: of {self.index.n_frames + self.n_lost:,} frames in its "
                f"index the last {self.n_lost:,} are left out, whose groups of pictures are not whole"
            )
        cut = f"; the last one is truncated after {self.cut.n_bytes:,} bytes" if self.cut else ""
        holes = ", ".join(f"{hole.start} to {hole.stop}" for hole in self.holes)
        return (
            f"index rebuilt from {self.index.n_frames:,} frame headers, their rate assumed 30000/1001{cut}"
            + (f"; no frames in bytes {holes}" if holes else "")
        )


def recover_index(source: ByteSource, *, segment_bytes: int = SEGMENT_BYTES) -> Recovery:
    """Rebuild the index of a movie by walking its frames.

    Parameters
    ----------
    source
        The file. Use one without a cache, which would store thousands of small stretches.
    segment_bytes
        Size of a segment; segments are walked in parallel.

    Raises
    ------
    InvalidMovieError
        No frame begins within the first 20 MB.
    RemoteFileError
        The bytes could not be read.

    Notes
    -----
    Takes 1.2 requests and 20 kB per CamHD frame, with 16 concurrent requests: two minutes for 25,000 frames
    over a link of 50 ms. Shows a progress bar on terminals and in notebooks.
    """
    file_size = source.size
    first = _run(walk_first(file_size), source)
    if first is None:
        raise InvalidMovieError(NOTHING)
    segments = []
    with tqdm(desc="frames searched", total=file_size, unit="B", unit_scale=True, disable=None) as bar:
        for segment in _walk_all(source, first, _cut(file_size, segment_bytes), file_size):
            segments.append(segment)
            bar.update((segment.next_offset or file_size) - bar.n)
        bar.update(file_size - bar.n)
    offset = np.concatenate([np.array(segment.offsets, np.int64) for segment in segments])
    size = np.concatenate([np.array(segment.sizes, np.int64) for segment in segments])
    if not offset.size:
        raise InvalidMovieError(NOTHING)
    index = build_index(
        offset,
        size,
        width=first.width,
        height=first.height,
        codec="ap4h" if first.chroma == "444" else "apcn",
        interlaced=first.interlaced,
    )
    cut = segments[-1].cut
    return Recovery(index, file_size, cut, _find_holes(offset, size, cut.start if cut else file_size))


def build_index(
    offset: NDArray[np.int64],
    size: NDArray[np.int64],
    *,
    width: int,
    height: int,
    codec: str,
    interlaced: bool,
) -> MovieIndex:
    """The index of frames at these positions, at CamHD's frame rate."""
    return MovieIndex(
        offset=offset,
        size=size,
        pts=np.arange(len(offset), dtype=np.int64) * FRAME_TICKS,
        duration=np.full(len(offset), FRAME_TICKS, np.int64),
        is_sync=np.ones(len(offset), np.bool_),
        timescale=TIMESCALE,
        codec=codec,
        width=width,
        height=height,
        interlaced=interlaced,
    )


def _cut(file_size: int, segment_bytes: int) -> list[ByteRange]:
    starts = range(0, file_size, segment_bytes)
    return [ByteRange(start, min(start + segment_bytes, file_size)) for start in starts]


def _walk_all(
    source: ByteSource, first: FrameHeader, bounds: list[ByteRange], file_size: int
) -> Iterator[Segment]:
    """The segments within `bounds`, each starting where the previous one ended, if known."""
    expected: int | None = None
    walks = [walk_segment(bound, first, file_size=file_size) for bound in bounds]
    with closing(_answer(source, walks)) as segments:
        for bound, own in zip(bounds, segments, strict=True):
            segment = own
            if expected is not None:
                if expected >= bound.stop:
                    continue
                if expected in own.offsets:
                    segment = own.since(expected)
                else:
                    rest = ByteRange(expected, bound.stop)
                    walk = walk_segment(rest, first, file_size=file_size, starts_at_frame=True)
                    segment = _run(walk, source)
            yield segment
            if segment.cut:
                return
            expected = segment.next_offset


def _answer(source: ByteSource, walks: Sequence[Walk[T]]) -> Generator[T, None, None]:
    """The result of each walk, in order; over a network several are in flight at once."""
    if source.is_far:
        for future in source.answer(((0, walk) for walk in walks), n_walks=len(walks)):
            yield future.result()
    else:
        for walk in walks:
            yield _run(walk, source)


def _run(walk: Walk[T], source: ByteSource) -> T:
    """The result of a walk, answering its questions one by one."""
    return drive_walk(walk, lambda ranges: [source.read(ByteRange(*wanted)) for wanted in ranges])


def _find_holes(offset: NDArray[np.int64], size: NDArray[np.int64], stop: int) -> tuple[ByteRange, ...]:
    """Stretches before `stop` that are longer than the usual gap between two frames."""
    starts, stops = np.append(offset, stop), np.insert(offset + size, 0, 0)
    gaps = starts - stops
    longest = np.full(len(gaps), MAX_GAP_BYTES, np.float64)
    if len(gaps) > 2:
        sound = np.quantile(gaps[1:-1], 0.98, method="lower")  # once a second or more often
        longest[1:-1] = min(MAX_GAP_BYTES, max(2 * sound, np.median(size) / 2))
    is_hole = gaps > longest
    return tuple(map(ByteRange, stops[is_hole].tolist(), starts[is_hole].tolist()))
