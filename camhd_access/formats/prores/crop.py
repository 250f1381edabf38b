"""Smaller frames made of some of a frame's slices, without decoding.

Slices are coded independently of each other, and any run of slice columns has the widths that the encoder
would have chosen for a picture of just these columns. So a rectangle can be cut out as a smaller frame:
the old frame header with another size, and for each picture the wanted slices with their part of the table.
It decodes to exactly the pixels of the whole frame, in time proportional to its area; `CroppedFrame` gives
the position of the rectangle in it.

One field is an interlaced frame with one picture only: libav fills every second line and leaves the others
unchanged. A progressive frame of half the height would not work, as it would be decoded with another scan.

Cropping is one walk (see `slices`): the tables first, then for each picture one range, from the first to the
last wanted slice. The ranges requested for one frame, plus a margin, are a good guess for the next one.
"""

import struct
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from camhd_access.formats.prores.header import FrameHeader
from camhd_access.formats.prores.slices import Picture, slice_widths, walk_frame
from camhd_access.ranges import ByteData, Walk, run_walk

__all__ = ["CroppedFrame", "Interval", "crop_field", "crop_frame", "cut_slice", "walk_crop"]

Interval: TypeAlias = slice | tuple[int, int] | None
"""Lines or columns, half-open: a slice of step 1, a pair, or None for all."""


@dataclass(frozen=True, slots=True)
class CroppedFrame:
    """A small frame, and the position of the wanted rectangle in it."""

    data: bytes
    """A complete ProRes frame."""
    coded_height: int
    """Lines of its decoded picture, a multiple of 16, or of 32 when interlaced."""
    coded_width: int
    """Columns of its decoded picture, a multiple of 16."""
    y_offset: int
    """Line of the decoded picture where the rectangle begins."""
    x_offset: int
    """Column of the decoded picture where the rectangle begins; odd when the wanted one is odd."""
    height: int
    """Lines of the rectangle."""
    width: int
    """Columns of the rectangle."""
    y_step: int
    """Distance in lines between two lines of the rectangle: 2 for a single field, else 1."""
    first_slice: tuple[int, int]
    """Row and column in the frame of its first slice."""
    pictures: tuple[Picture, ...] = field(compare=False, repr=False)
    """The whole pictures that it was made from."""

    @property
    def rows(self) -> slice:
        """The rectangle's lines in every decoded plane; all others are undefined."""
        return slice(self.y_offset, self.y_offset + self.height * self.y_step, self.y_step)

    @property
    def columns(self) -> slice:
        """The rectangle's columns in the luma plane, and in all planes of 4:4:4."""
        return slice(self.x_offset, self.x_offset + self.width)

    @property
    def chroma_columns(self) -> slice:
        """The columns of a 4:2:2 chroma plane that the rectangle touches."""
        return slice(self.x_offset // 2, (self.x_offset + self.width + 1) // 2)


def crop_frame(data: ByteData, y: Interval = None, x: Interval = None) -> CroppedFrame:
    """A smaller frame that shows the rectangle `y`, `x` of the frame in `data`.

    Parameters
    ----------
    data
        The whole sample.
    y, x
        Lines and columns, half-open, within the frame.

    Raises
    ------
    FrameDecodeError, UnsupportedCodecError
        As `check_frame`.
    ValueError
        The rectangle is empty or exceeds the frame.

    Notes
    -----
    Takes 0.03 ms for 384x160 of 1080p; decoding it, 0.3 ms instead of 10.
    """
    return run_walk(walk_crop(len(data), y=y, x=x), data)


def crop_field(data: ByteData, field: Literal[0, 1], y: Interval = None, x: Interval = None) -> CroppedFrame:
    """A frame that shows one field of the interlaced frame in `data`, at half the cost of decoding both.

    Parameters
    ----------
    data
        The whole sample.
    field
        0 for the field that is shown first, 1 for the second. The frame header says which of them has the
        even lines.
    y, x
        Lines of the field (half as many as the frame's) and columns, half-open.

    Raises
    ------
    FrameDecodeError, UnsupportedCodecError
        As `check_frame`.
    ValueError
        The rectangle is empty or exceeds the field, or the frame is progressive.
    """
    return run_walk(walk_crop(len(data), y=y, x=x, field=field), data)


def walk_crop(
    sample_size: int, *, y: Interval = None, x: Interval = None, field: Literal[0, 1] | None = None
) -> Walk[CroppedFrame]:
    """Walk to the result of `crop_frame` and `crop_field`, reading only the bytes that the crop needs.

    Notes
    -----
    A progressive frame takes two questions (head; slices), an interlaced one three (head; table of the
    second picture; slices of both); the first field alone takes two.
    """
    frame = yield from walk_frame(sample_size, n_pictures=2 if field is None else field + 1)
    header = frame.header
    y0, y1 = _bounds(y, _n_lines(header, field), name="y")
    x0, x1 = _bounds(x, header.width, name="x")
    lines_per_row = 32 if header.interlaced and field is None else 16
    rows = slice(y0 // lines_per_row, -(-y1 // lines_per_row))
    edges = frame.column_edges * 16
    columns = slice(int(np.searchsorted(edges, x0, "right")) - 1, int(np.searchsorted(edges, x1)))
    left, right = int(edges[columns.start]), int(edges[columns.stop])
    pictures = frame.pictures if field is None else frame.pictures[field:]
    runs = yield [_byte_range(picture, rows, columns) for picture in pictures]
    y_step = 1 if field is None else 2
    coded_height = (rows.stop - rows.start) * 16 * header.n_pictures
    return CroppedFrame(
        data=_assemble(
            _resize(header, height=coded_height, width=right - left, top_first=field is not None),
            [_crop_picture(p, run, rows, columns) for p, run in zip(pictures, runs, strict=True)],
        ),
        coded_height=coded_height,
        coded_width=right - left,
        y_offset=(y0 - rows.start * lines_per_row) * y_step,
        x_offset=x0 - left,
        height=y1 - y0,
        width=x1 - x0,
        y_step=y_step,
        first_slice=(rows.start, columns.start),
        pictures=pictures,
    )


def cut_slice(data: ByteData, header: FrameHeader, picture: Picture, place: tuple[int, int]) -> bytes:
    """A frame made of one slice, by its row and column; of an interlaced frame, one of its fields.

    Parameters
    ----------
    data
        The sample, which has at least the bytes of this slice.
    """
    rows, columns = (slice(each, each + 1) for each in place)
    start, stop = _byte_range(picture, rows, columns)
    width = slice_widths(-(-header.width // 16), picture.log2_slice_width)[place[1]]
    return _assemble(
        _resize(header, height=16 * header.n_pictures, width=16 * width, top_first=header.interlaced),
        [_crop_picture(picture, data[start:stop], rows, columns)],
    )


def _n_lines(header: FrameHeader, field: Literal[0, 1] | None) -> int:
    """Lines of the frame, or of one of its fields; if odd, the extra line belongs to the top field."""
    if field is None:
        return header.height
    if not header.interlaced:
        raise ValueError("a progressive frame has no fields")
    is_bottom = (header.interlace == 2) != (field == 1)
    return (header.height + (not is_bottom)) // 2


def _bounds(interval: Interval, length: int, *, name: str) -> tuple[int, int]:
    """Start and stop of `interval`, which must lie within 0 to `length`."""
    wanted = interval if isinstance(interval, slice) else slice(*(interval or (0, length)))
    start = 0 if wanted.start is None else wanted.start
    stop = length if wanted.stop is None else wanted.stop
    if wanted.step not in (None, 1) or not 0 <= start < stop <= length:
        raise ValueError(f"{name}={interval} must be a non-empty part of 0 to {length}, of step 1")
    return start, stop


def _byte_range(picture: Picture, rows: slice, columns: slice) -> tuple[int, int]:
    """Where the wanted slices of a picture lie in the sample, from the first to the last."""
    last = rows.stop - 1, columns.stop - 1
    start = picture.slice_offset[rows.start, columns.start]
    return int(start), int(picture.slice_offset[last] + picture.slice_size[last])


def _crop_picture(picture: Picture, run: ByteData, rows: slice, columns: slice) -> bytes:
    """A picture made of the wanted slices; `run` holds the bytes of `_byte_range`."""
    sizes = picture.slice_size[rows, columns]
    starts = picture.slice_offset[rows, columns.start] - picture.slice_offset[rows.start, columns.start]
    stops = starts + sizes.sum(axis=1)
    table = sizes.astype(">u2").tobytes()
    slices = [run[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
    size = 8 + len(table) + int(sizes.sum())
    head = struct.pack(">BIHB", 8 << 3, size, sizes.size, picture.log2_slice_width << 4)
    return b"".join((head, table, *slices))


def _resize(header: FrameHeader, *, height: int, width: int, top_first: bool) -> bytes:
    """The bytes of `header` with another size; with `top_first`, the first picture has the even lines."""
    raw = bytearray(header.raw)
    # The largest size that the field holds has as many macroblocks as the multiple of 16 above it.
    struct.pack_into(">HH", raw, 8, min(width, 0xFFFF), min(height, 0xFFFF))
    if top_first:
        raw[12] = raw[12] & ~(3 << 2) | 1 << 2
    return bytes(raw)


def _assemble(frame_header: bytes, pictures: list[bytes]) -> bytes:
    """A whole sample."""
    size = 8 + len(frame_header) + sum(map(len, pictures))
    return b"".join((struct.pack(">I4s", size, b"icpf"), frame_header, *pictures))
