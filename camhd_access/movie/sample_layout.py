"""Byte ranges of a sample to request when only some of its slices are wanted.

A walk (see `prores.slices`) from a sample to a crop needs the tables before it knows where the slices are:
two rounds of questions, three if interlaced. Samples of one movie resemble each other, so the positions of
the rows of slices in one of them (`Layout`) predict those in the next to within some hundred bytes, and one
round is enough: tables and expected rows together. If the prediction is wrong, the missing bytes take
one more. Nothing is fetched here: `walk_pieces` is a walk itself, whose questions the caller answers.
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
"""Typical shift of slice rows from one frame to the next in a still scene."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Positions of the rows of slices in the samples of a movie, as fractions of the sample, 0 to 1."""

    pictures: tuple[npt.NDArray[np.float64], ...]
    """For each picture: its start, the start of each of its rows, and the end of the last row."""
    row_margin: float
    """Tolerance for the positions of rows."""
    start_margin: float
    """Tolerance for the start of pictures."""

    @classmethod
    def of(cls, frame: Frame) -> "Layout":
        """The layout of one frame, as a prediction for others of its movie."""
        size = frame.header.frame_size
        pictures = tuple(
            np.array([p.start, *p.slice_offset[:, 0], p.slice_offset[-1, -1] + p.slice_size[-1, -1]]) / size
            for p in frame.pictures
        )
        return cls(pictures, row_margin=0.01, start_margin=0.01)

    def doubled(self, picture_size: float) -> "Layout":
        """The layout of an interlaced frame whose second field is like the first, which this describes."""
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
    """The prediction for a movie without any frame read: all rows have the same size.

    Notes
    -----
    In frames that are dark at the edges, rows are up to a sixth of the picture away from that. Hence the wide
    margins, which cover most rows; the others take a second round.
    """
    n_rows = -(-height // (16 * n_pictures))
    rows = np.linspace(0, 1, n_rows + 1)
    pictures = (np.array([k, *(k + rows)]) / n_pictures for k in range(n_pictures))
    return Layout(tuple(pictures), row_margin=1 / 16, start_margin=1 / 64)


class SamplePieces:
    """The bytes of one sample that are in memory."""

    def __init__(self, sample_size: int) -> None:
        self._data = bytearray(sample_size)
        self._held: list[ByteRange] = []

    def missing(self, wanted: Sequence[tuple[int, int]]) -> list[ByteRange]:
        """The missing parts of `wanted`."""
        return [gap for each in wanted for gap in missing_ranges(ByteRange(*each), self._held)]

    def add(self, wanted: tuple[int, int], data: ByteData) -> None:
        """Store the bytes of one range."""
        start, stop = wanted
        if len(data) != stop - start:
            raise FrameDecodeError(f"the file ends within it, at byte {start + len(data)}")
        self._data[start:stop] = data
        apart = [held for held in self._held if held.stop < start or held.start > stop]
        joined = [held for held in self._held if held not in apart]
        start, stop = min([start, *(h.start for h in joined)]), max([stop, *(h.stop for h in joined)])
        self._held = sorted([*apart, ByteRange(start, stop)])

    def load(self, wanted: Sequence[tuple[int, int]]) -> Walk[None]:
        """Walk that requests the missing parts of `wanted`, if any."""
        gaps = self.missing(wanted)
        if gaps:
            for gap, data in zip(gaps, (yield gaps), strict=True):
                self.add(gap, data)

    def answer(self, walk: Walk[T]) -> Walk[T]:
        """The same walk, requesting only missing bytes."""
        return (yield from nest_walk(walk, self._read))

    def _read(self, wanted: Sequence[tuple[int, int]]) -> Walk[list[ByteData]]:
        yield from self.load(wanted)
        view = memoryview(self._data)
        return [view[start:stop] for start, stop in wanted]


def walk_pieces(
    walk: Walk[T], sample_size: int, *, layout: Layout, lines: slice, field: Field
) -> Walk[tuple[T, Layout]]:
    """The result of `walk`, and the prediction for the next sample, in as few rounds as possible.

    Parameters
    ----------
    walk
        To a crop of one sample.
    sample_size
        Bytes of the sample.
    layout
        The prediction for it.
    lines, field
        Lines of the crop, and the field in which they are counted.

    Notes
    -----
    One round if the prediction is right, two if not. If it is wrong for an interlaced frame, the second field
    is predicted to be like the first.
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
