"""Damaged slices: their positions, descriptions, and affected pixels.

Slices are coded independently, so damage that is detected in one leaves all others exact. A *damage map* has
an entry for each slice of the frames or fields shown. It becomes an error that names the first damaged
slice or, with `errors="mask"`, a mask of pixels, which are set to 0.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.kernels import parameters as at
from camhd_access.decoding.windows import CodedWindow, Marks, Window
from camhd_access.errors import FrameDecodeError
from camhd_access.formats.prores import FrameHeader, Picture, parse_frame_header, walk_frame
from camhd_access.formats.prores.slices import find_pictures, slice_widths
from camhd_access.ranges import ByteData, run_walk

__all__ = ["IS_SOMEWHERE", "CodedSlices", "Coding", "DamageMap", "blank", "describe_damage", "preview_marks"]

Ints: TypeAlias = npt.NDArray[np.int64]

DamageMap: TypeAlias = npt.NDArray[np.uint8]
"""Damaged parts of each slice, shape (pictures shown, rows of slices, slices); 0 is intact."""

PART_NAMES = {
    at.IS_HEADER: "header",
    at.IS_LUMA: "luma",
    at.IS_CB: "Cb",
    at.IS_CR: "Cr",
    at.IS_MISSING: "end",
}
IS_SOMEWHERE = 32
"""A slice that libav rejects: it does not say which part."""


@dataclass(frozen=True, slots=True, eq=False)
class Coding:
    """Position of a window in the coded picture."""

    data: ByteData
    """The sample, or the smaller frame."""
    header: FrameHeader
    """Frame header of `data`."""
    window: Window
    """Lines and columns of the picture in `data`."""
    field: int
    """The picture of `data` that is shown; -1 for the whole frame."""
    reduce: int
    """Factor by which lines and columns are reduced."""
    width: int
    """Columns of the picture in `data` that are also columns of the movie's picture."""
    edges: tuple[int, ...]
    """Left edges of slices and the right edge of the last, in macroblocks."""
    log2_slice_width: int
    """Slices are 2 ** this macroblocks wide."""

    @classmethod
    def of(cls, coded: CodedWindow, reduce: int) -> "Coding":
        """The position of `coded`."""
        header, window, field = coded.header, coded.window, -1 if coded.field is None else coded.field
        data, width, crop = coded.data, coded.header.width // reduce, coded.crop
        if crop is not None:
            data, header, field = crop.data, parse_frame_header(crop.data), min(field, 0)
            rows, columns = window
            top = crop.y_offset // crop.y_step // reduce
            left = (crop.x_offset + columns.start * reduce % 2) // reduce
            window = (
                slice(top, top + rows.stop - rows.start),
                slice(left, left + columns.stop - columns.start),
            )
            width += left - columns.start
        log2_width = _slice_width(data, header)
        edges = _slice_edges(-(-header.width // 16), log2_width)
        return cls(data, header, window, field, reduce, width, edges, log2_width)

    @property
    def n_shown(self) -> int:
        """Number of interleaved pictures."""
        return self.header.n_pictures if self.field < 0 else 1

    @property
    def n_walked(self) -> int:
        """Pictures of `data` to the last one shown."""
        return max(self.field, 0) + self.n_shown

    @property
    def lines_per_row(self) -> int:
        """Lines of output per row of slices."""
        return 16 // self.reduce * self.n_shown

    @property
    def n_rows(self) -> int:
        """Rows of slices in each picture."""
        return -(-self.header.height // (16 * self.header.n_pictures))

    def find_pictures(self) -> list[Picture | None]:
        """The layout of each picture to the last one shown, as `slices.find_pictures` returns it."""
        pictures = find_pictures(self.data, self.header, log2_slice_width=self.log2_slice_width)
        return pictures[: self.n_walked]

    def wanted_slices(self, margin: int) -> tuple[slice, slice]:
        """Rows and columns of the slices that the window touches, with this many columns to its right."""
        rows, columns = self.window
        last = min(min(columns.stop + margin, self.width) * self.reduce, self.header.width) - 1
        first = bisect_right(self.edges, columns.start * self.reduce // 16) - 1
        wanted_rows = slice(rows.start // self.lines_per_row, -(-rows.stop // self.lines_per_row))
        return wanted_rows, slice(first, bisect_right(self.edges, last // 16))

    def no_damage(self) -> DamageMap:
        """The map of an intact frame."""
        return np.zeros((self.n_shown, self.n_rows, len(self.edges) - 1), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class CodedSlices:
    """Wanted slices; arrays of shape ([plane,] picture, row, column)."""

    data: npt.NDArray[np.uint8]
    """The sample, with some more bytes."""
    start: Ints
    """First byte of each plane of each slice in `data`."""
    stop: Ints
    """One past the last; where a slice is damaged, the first."""
    scale: Ints
    """Factor of the quantisation matrix."""
    width: Ints
    """Macroblocks of the slices of each column."""

    @classmethod
    def of(
        cls,
        coding: Coding,
        pictures: Sequence[Picture | None],
        wanted: tuple[slice, slice],
        n_planes: int,
        damage: DamageMap,
    ) -> "CodedSlices":
        """Find the planes of all slices; those that cannot be found are marked in `damage`."""
        data = np.frombuffer(bytes(coding.data) + bytes(8), np.uint8)
        n_bytes = len(coding.data)
        start, stop = np.full((2, *damage.shape), n_bytes + 1)
        for number, picture in enumerate(pictures):
            if picture is not None:
                start[number], stop[number] = picture.slice_offset[wanted], picture.slice_stop[wanted]
        is_missing = stop > n_bytes
        damage[is_missing] = at.IS_MISSING
        head = data.take(np.where(is_missing, 0, start) + np.arange(8).reshape(8, 1, 1, 1)).astype(np.int64)
        n_head, quantiser = head[0] >> 3, head[1]
        first = start + n_head
        cb = first + (head[2] << 8 | head[3])
        cr = cb + (head[4] << 8 | head[5])
        end = np.where(n_head > 7, cr + (head[6] << 8 | head[7]), stop)
        holds = (n_head >= 6) & (quantiser >= 1) & (quantiser <= 224)
        holds &= (cb > first) & (cr <= stop) & (end <= stop)
        if n_planes == 3:  # only both may be empty
            holds &= (cr > cb) == (end > cr)
        damage[~is_missing & ~holds] = at.IS_HEADER
        edges = np.stack((first, cb, cr, end))
        edges[:, damage > 0] = 0
        return cls(
            data=data,
            start=edges[:n_planes],
            stop=edges[1 : n_planes + 1],
            scale=np.where(quantiser > 128, (quantiser - 96) * 4, quantiser),
            width=np.diff(coding.edges)[wanted[1]],
        )


@lru_cache(maxsize=64)
def _slice_edges(mb_width: int, log2_width: int) -> tuple[int, ...]:
    """Left edges of the slices of a row and the right edge of the last, in macroblocks."""
    return 0, *accumulate(slice_widths(mb_width, log2_width))


def _slice_width(sample: ByteData, header: FrameHeader) -> int:
    """Logarithm of the slices' width, in macroblocks."""
    place = header.picture_offset + 7
    if place >= len(sample):
        raise FrameDecodeError(f"frame ends at byte {len(sample)}, in its first picture's header")
    packing = sample[place]
    if packing not in (0x00, 0x10, 0x20, 0x30):
        raise FrameDecodeError(f"unknown slice dimensions {packing:#04x} at byte {place}")
    return packing >> 4


def describe_damage(coded: CodedWindow, coding: Coding, fault: int, damage: DamageMap) -> FrameDecodeError:
    """An error that names the structural fault, or the first damaged slice."""
    if coded.crop is None:
        try:
            frame = run_walk(walk_frame(len(coding.data), n_pictures=coding.n_walked), coding.data)
        except FrameDecodeError as error:
            return error
        pictures, first_slice = frame.pictures[max(coding.field, 0) :], (0, 0)
    else:
        pictures, first_slice = coded.crop.pictures, coded.crop.first_slice
    if fault:
        return FrameDecodeError(f"its structure is inconsistent at byte {-1 - fault}")
    shown, row, column = map(int, np.argwhere(damage)[0])
    parts = damage[shown, row, column]
    row, column = row + first_slice[0], column + first_slice[1]
    place = f"slice row {row}, column {column}, at byte {pictures[shown].slice_offset[row, column]}"
    if coding.header.interlaced:
        place += f", of the {('first', 'second')[shown if coded.field is None else coded.field]} field"
    names = " and ".join(name for bit, name in PART_NAMES.items() if parts & bit)
    n_damaged = np.count_nonzero(damage)
    return FrameDecodeError(
        f"{place}: {f'its {names}' if names else 'it'} cannot be decoded"
        + (f"; {n_damaged} slices in all" if n_damaged > 1 else "")
    )


def blank(
    coding: Coding, damage: DamageMap, out: npt.NDArray[np.unsignedinteger], *, in_color: bool
) -> Marks | None:
    """Set the pixels of damaged slices to 0; returns their mask, None if the window has none.

    With colour, the last column before a damaged slice is included: half of its chroma comes from there.
    """
    marks = np.zeros(out.shape[:2], np.bool_)
    rows, columns = coding.window
    parities = (0,) if coding.n_shown == 1 else ((1, 0) if coding.header.interlace == 2 else (0, 1))
    for shown, row, column in np.argwhere(damage):
        top = int(row) * coding.lines_per_row + parities[shown] - rows.start
        left, right = (
            edge * 16 // coding.reduce - columns.start for edge in coding.edges[column : column + 2]
        )
        lines = np.arange(top, top + coding.lines_per_row - parities[shown], coding.n_shown)
        lines = lines[(lines >= 0) & (lines < len(marks))]
        marks[lines, max(0, left - in_color) : max(0, right)] = True
    out[marks] = 0
    return marks if marks.any() else None


def preview_marks(coding: Coding, damage: DamageMap, *, in_color: bool) -> Marks:
    """Mask of the block means that damaged slices affect, of a whole frame or field.

    In a frame of two fields, both of them make each row, and so do the rows above and below.
    """
    rows = np.repeat(damage > 0, 2, axis=1).any(axis=0)
    if coding.n_shown == 2:
        padded = np.pad(rows, ((1, 1), (0, 0)))
        rows = np.repeat(padded[:-2] | rows | padded[2:], 2, axis=0)
    marks: Marks = np.repeat(rows, 2 * np.diff(coding.edges), axis=1)
    n_chroma = coding.header.width // 2 + coding.header.width % 2
    if in_color:  # columns without chroma of their own have that of the one before
        last = 2 * (n_chroma // 8)
        marks[:, last:] |= marks[:, last - 1 : last]
    return marks
