"""Pieces of a sample: which bytes to ask for, when only some of its slices are wanted.

A walk (see `prores.slices`) from a sample to a crop needs the tables before it knows where the slices lie:
two rounds of questions, three when interlaced. Samples of one movie resemble each other, so where the rows
of slices lay in one of them (`Layout`) tells within some hundred bytes where they lie in the next, and one
round is enough: tables and expected rows together. Where the expectation fails, what is missing is asked in
one more. Nothing is fetched here: `walk_pieces` is a walk itself, whose questions somebody else answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.windows import Field
from camhd_access.errors import FrameDecodeError
from camhd_access.formats.prores import Frame, walk_frame
from camhd_access.formats.prores.slices import HEAD_BYTES
from camhd_access.ranges import ByteData, ByteRange, Walk, missing_ranges, nest_walk

__all__ = ["Layout", "SamplePieces", "flat_layout", "walk_pieces"]

T = TypeVar("T")

MIN_MARGIN_BYTES = 2048
"""Rows of slices move by so much from one frame to the next when nothing moves in the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where the rows of slices lie in the samples of a movie; all places in parts of the sample, 0 to 1."""

    pictures: tuple[npt.NDArray[np.float64], ...]
    """For each picture where it begins, where each of its rows begins, and where the last row ends."""
    row_margin: float
    """By how much the places of rows may differ from sample to sample."""
    start_margin: float
    """By how much the places may differ where pictures begin."""

    @classmethod
    def of(cls, frame: Frame) -> "Layout":
        """The layout of one frame, as an expectation of others of its movie."""
        size = frame.header.frame_size
        pictures = tuple(
            np.array([p.start, *p.slice_offset[:, 0], p.slice_offset[-1, -1] + p.slice_size[-1, -1]]) / size
            for p in frame.pictures
        )
        return cls(pictures, row_margin=0.01, start_margin=0.01)

    def doubled(self, picture_size: float) -> "Layout":
        """The layout of an interlaced frame whose second field is like the first, of which this is."""
        (first,) = self.pictures
        return replace(self, pictures=(first, first + picture_size))

    def expect(self, sample_size: int, lines: slice, field: Field) -> list[ByteRange]:
        """The bytes that a crop of these lines is likely to need, of the frame or of one field."""
        step = 16 * (len(self.pictures) if field is None else 1)
        first, stop = lines.start // step, -(-lines.stop // step)
        wanted = [(0.0, HEAD_BYTES)]
        start_margin, row_margin = (
            max(MIN_MARGIN_BYTES, margin * sample_size) for margin in (self.start_margin, self.row_margin)
        )
        for index, picture in enumerate(self.pictures):
            if field in {None, index}:
                places = picture * sample_size
                if index:
                    wanted.append((places[0] - start_margin, places[1] + start_margin))
                wanted.append((places[1 + first] - row_margin, places[1 + stop] + row_margin))
        return [ByteRange(max(0, int(a)), min(sample_size, int(b))) for a, b in wanted]


def flat_layout(height: int, *, n_pictures: int) -> Layout:
    """What to expect of a movie of which no frame was seen: all rows take the same number of bytes.

    Notes
    -----
    Where pictures are dark at the edges, rows lie up to a sixth of the picture away from that. Hence the wide
    margins, which most rows stay within; those that do not take a second round.
    """
    n_rows = -(-height // (16 * n_pictures))
    rows = np.linspace(0, 1, n_rows + 1)
    pictures = (np.array([k, *(k + rows)]) / n_pictures for k in range(n_pictures))
    return Layout(tuple(pictures), row_margin=1 / 16, start_margin=1 / 64)


class SamplePieces:
    """The bytes of one sample, as far as they are there."""

    def __init__(self, sample_size: int) -> None:
        self._data = bytearray(sample_size)
        self._held: list[ByteRange] = []

    def missing(self, wanted: Sequence[tuple[int, int]]) -> list[ByteRange]:
        """What of `wanted` is not there yet."""
        return [gap for each in wanted for gap in missing_ranges(ByteRange(*each), self._held)]

    def add(self, wanted: tuple[int, int], data: ByteData) -> None:
        """Keep the bytes of one range."""
        start, stop = wanted
        if len(data) != stop - start:
            raise FrameDecodeError(f"the file ends within it, at byte {start + len(data)}")
        self._data[start:stop] = data
        apart = [held for held in self._held if held.stop < start or held.start > stop]
        joined = [held for held in self._held if held not in apart]
        start, stop = min([start, *(h.start for h in joined)]), max([stop, *(h.stop for h in joined)])
        self._held = sorted([*apart, ByteRange(start, stop)])

    def load(self, wanted: Sequence[tuple[int, int]]) -> Walk[None]:
        """Walk that asks for what of `wanted` is missing, and for nothing where nothing is."""
        gaps = self.missing(wanted)
        if gaps:
            for gap, data in zip(gaps, (yield gaps), strict=True):
                self.add(gap, data)

    def answer(self, walk: Walk[T]) -> Walk[T]:
        """The same walk, asking only for what is missing."""
        return (yield from nest_walk(walk, self._read))

    def _read(self, wanted: Sequence[tuple[int, int]]) -> Walk[list[ByteData]]:
        yield from self.load(wanted)
        view = memoryview(self._data)
        return [view[start:stop] for start, stop in wanted]


def walk_pieces(
    walk: Walk[T], sample_size: int, *, layout: Layout, lines: slice, field: Field
) -> Walk[tuple[T, Layout]]:
    """What `walk` returns, and what to expect of the next sample, in as few rounds as can be.

    Parameters
    ----------
    walk
        To a crop of one sample.
    sample_size
        Bytes of the sample.
    layout
        What to expect of it.
    lines, field
        Those of the crop, and the field that they count in.

    Notes
    -----
    One round where all comes as expected, two where rows lie elsewhere. Of an interlaced frame that is
    not as expected, the second field is expected to be like the first.
    """
    parts = SamplePieces(sample_size)
    yield from parts.load(layout.expect(sample_size, lines, field))
    frame = yield from parts.answer(walk_frame(sample_size, n_pictures=1))
    seen = Layout.of(frame)
    if frame.header.interlaced:
        (first,) = frame.pictures
        seen = seen.doubled(first.size / frame.header.frame_size)
        table = (first.stop, min(first.stop + first.head_size, sample_size))
        if field != 0:
            if parts.missing([table]):
                yield from parts.load([table, *seen.expect(sample_size, lines, field)])
            seen = Layout.of((yield from parts.answer(walk_frame(sample_size))))
    return (yield from parts.answer(walk)), seen
