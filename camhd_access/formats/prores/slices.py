"""The positions of a frame's slices in its sample.

A frame is one picture, or two field pictures when interlaced. A picture is cut into slices, each one row of
macroblocks high (16 lines of the picture) and up to 8 macroblocks wide; a table at the picture's start gives
their sizes. The table of the second picture lies in the middle of the sample, so finding all slices is a
*walk*: a generator that yields the byte ranges it needs next and is sent their bytes. `run_walk` runs it
on a whole sample; a reader can supply the parts it has, and fetch the others.
"""

import struct
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from camhd_access.errors import FrameDecodeError, UnsupportedCodecError
from camhd_access.formats.prores.header import FrameHeader, parse_frame_header
from camhd_access.ranges import ByteData, Walk, run_walk

__all__ = [
    "Frame",
    "Picture",
    "SliceHeaders",
    "check_frame",
    "find_pictures",
    "parse_slice_headers",
    "slice_widths",
    "walk_frame",
]

HEAD_BYTES = 4096
"""First read of a sample: header and slice table take 2,204 bytes at 1080p, 1,184 at 1080i."""

MIN_SLICE_BYTES = 6


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """The layout of one picture: a progressive frame, or one field of an interlaced one."""

    start: int
    """First byte in the sample."""
    size: int
    """Bytes of header, slice table and slices."""
    log2_slice_width: int
    """Slices are 2 ** this macroblocks wide (0 to 3), narrower ones at the right edge."""
    slice_offset: NDArray[np.int64]
    """First byte of each slice in the sample, shape (rows, columns)."""
    slice_size: NDArray[np.int64]
    """Bytes of each slice, shape (rows, columns)."""

    @property
    def slice_stop(self) -> NDArray[np.int64]:
        """One past the last byte of each slice, shape (rows, columns)."""
        return self.slice_offset + self.slice_size

    @property
    def stop(self) -> int:
        """One past the last byte in the sample."""
        return self.start + self.size

    @property
    def n_rows(self) -> int:
        """Rows of slices."""
        return int(self.slice_size.shape[0])

    @property
    def n_columns(self) -> int:
        """Slices in a row."""
        return int(self.slice_size.shape[1])

    @property
    def head_size(self) -> int:
        """Bytes of the picture header and the slice table."""
        return int(self.slice_offset[0, 0]) - self.start


@dataclass(frozen=True, slots=True, eq=False)
class SliceHeaders:
    """The slice headers of one picture, as arrays of shape (rows, columns)."""

    scale: NDArray[np.int64]
    """Factor of the quantisation matrix."""
    plane_offset: NDArray[np.int64]
    """First byte in the sample of the coded Y, Cb and Cr, shape (3, rows, columns)."""
    plane_size: NDArray[np.int64]
    """Bytes of the coded Y, Cb and Cr, shape (3, rows, columns); alpha follows Cr where there is some."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The layout of one sample."""

    header: FrameHeader
    """The frame header."""
    pictures: tuple[Picture, ...]
    """One picture, or the two fields in the order in which they are shown."""

    @property
    def column_edges(self) -> NDArray[np.int64]:
        """Left edges of the slice columns and the right edge of the last, in macroblocks."""
        widths = slice_widths(-(-self.header.width // 16), self.pictures[0].log2_slice_width)
        return np.concatenate(([0], np.cumsum(widths)))


def slice_widths(n_macroblocks: int, log2_slice_width: int) -> list[int]:
    """Widths, in macroblocks, of the slices of one row.

    At the right edge the width is halved until it fits: 45 macroblocks are 8, 8, 8, 8, 8, 4 and 1.
    """
    full = 1 << log2_slice_width
    rest = [1 << bit for bit in reversed(range(log2_slice_width)) if n_macroblocks >> bit & 1]
    return [full] * (n_macroblocks >> log2_slice_width) + rest


def check_frame(
    data: ByteData, *, width: int | None = None, height: int | None = None, n_pictures: int = 2
) -> Frame:
    """The layout of a sample, after a check of its structure.

    Parameters
    ----------
    data
        The whole sample.
    width, height
        Frame size of the track. A decoder would use the frame's own size, and only log a message.
    n_pictures
        Number of pictures to check; 1 skips the second field of an interlaced frame.

    Raises
    ------
    FrameDecodeError
        Truncated or damaged; the message names the problem and the byte.
    UnsupportedCodecError
        An unknown version of the bitstream.

    Notes
    -----
    ProRes has no checksum: only the decoder can judge the content of slices after their headers. Takes 0.06
    to 0.1 ms at 1080p.
    """
    frame = run_walk(walk_frame(len(data), n_pictures=n_pictures), data)
    header = frame.header
    if (width or header.width, height or header.height) != (header.width, header.height):
        raise FrameDecodeError(
            f"frame of {header.width}x{header.height} pixels at byte 16 in a track of {width}x{height}"
        )
    for picture in frame.pictures:
        parse_slice_headers(data, picture)
    return frame


def parse_slice_headers(data: ByteData, picture: Picture) -> SliceHeaders:
    """The headers of all slices of one picture.

    Parameters
    ----------
    data
        The whole sample.
    picture
        Its layout, as `check_frame` found it.

    Raises
    ------
    FrameDecodeError
        The planes do not fit into a slice, or the quantiser is out of range.

    Notes
    -----
    SMPTE RDD 36, section 5.3 (slice header).
    """
    samples = np.frombuffer(data, np.uint8)
    head = samples.take(picture.slice_offset + np.arange(8).reshape(8, 1, 1), mode="clip").astype(np.int64)
    header_size, quantiser = head[0] >> 3, head[1]
    luma, cb, cr = head[2::2] << 8 | head[3::2]
    rest = picture.slice_size - header_size - luma - cb
    cr = np.where(header_size > 7, cr, rest)
    bad = (header_size < 6) | (quantiser < 1) | (quantiser > 224) | (rest < 0) | (cr > rest)
    if bad.any():
        damaged = int(bad.argmax())
        raise FrameDecodeError(
            f"slice {damaged} at byte {picture.slice_offset.flat[damaged]} contradicts itself: "
            f"{head.reshape(8, -1)[:, damaged].astype(np.uint8).tobytes().hex(' ')}"
        )
    sizes = np.stack((luma, cb, cr))
    return SliceHeaders(
        scale=np.where(quantiser > 128, (quantiser - 96) * 4, quantiser),
        plane_offset=picture.slice_offset + header_size + np.cumsum(sizes, axis=0) - sizes,
        plane_size=sizes,
    )


def walk_frame(sample_size: int, *, n_pictures: int = 2) -> Walk[Frame]:
    """Walk to the slice tables of a sample.

    Parameters
    ----------
    sample_size
        Bytes of the whole sample.
    n_pictures
        Number of pictures to read; 1 skips the second field of an interlaced frame.

    Notes
    -----
    One question for a progressive frame, two for an interlaced one, and one more for each unusually large
    slice table.
    """
    (head,) = yield [(0, min(HEAD_BYTES, sample_size))]
    header = parse_frame_header(head)
    if header.frame_size > sample_size:
        raise FrameDecodeError(f"truncated: {sample_size} bytes of a frame that says {header.frame_size}")
    first = yield from _walk_picture(head[header.picture_offset :], header, header.picture_offset)
    if min(n_pictures, header.n_pictures) == 1:
        return Frame(header, (first,))
    if first.stop == header.frame_size:
        raise FrameDecodeError(f"frame ends at byte {first.stop}, before its second field")
    (head,) = yield [(first.stop, min(first.stop + first.head_size, header.frame_size))]
    second = yield from _walk_picture(head, header, first.stop)
    if second.log2_slice_width != first.log2_slice_width:
        raise UnsupportedCodecError(f"slices of another width in the second field, at byte {second.start}")
    return Frame(header, (first, second))


def find_pictures(data: ByteData, header: FrameHeader, *, log2_slice_width: int) -> list[Picture | None]:
    """The layout of each picture of a damaged or truncated sample; None if it is inconsistent, or cut off.

    The slices of a picture may lie after the end of the data. If a picture's header is inconsistent, the ones
    after it cannot be found.
    """
    view, start = memoryview(data), header.picture_offset
    pictures: list[Picture | None] = [None] * header.n_pictures
    with suppress(FrameDecodeError):
        for number in range(header.n_pictures):
            head = view[start:]
            shape, log2_width = _parse_picture_header(head, header, start)
            if log2_width != log2_slice_width:
                break
            with suppress(FrameDecodeError):
                pictures[number] = _parse_slice_table(head, start, shape=shape, log2_slice_width=log2_width)
            if (head[0] >> 3) + 2 * shape[0] * shape[1] > min(len(head), int.from_bytes(head[1:5])):
                break
            start += int.from_bytes(head[1:5])
    return pictures


def _walk_picture(head: ByteData, header: FrameHeader, start: int) -> Walk[Picture]:
    """Walk to the end of the slice table of the picture at `start`, whose first bytes are `head`."""
    shape, log2_slice_width = _parse_picture_header(head, header, start)
    table_stop = min((head[0] >> 3) + 2 * shape[0] * shape[1], int.from_bytes(head[1:5]))
    if table_stop > len(head):
        (more,) = yield [(start + len(head), start + table_stop)]
        head = b"".join((head, more))
    return _parse_slice_table(head, start, shape=shape, log2_slice_width=log2_slice_width)


def _parse_picture_header(head: ByteData, header: FrameHeader, start: int) -> tuple[tuple[int, int], int]:
    """Rows and columns of slices in the picture at `start`, and the logarithm of their width."""
    if len(head) < 8:
        raise FrameDecodeError(f"frame ends at byte {start + len(head)}; a picture header is due at {start}")
    header_bits, size, n_slices, packing = struct.unpack_from(">BIHB", head)
    if header_bits >> 3 < 8:
        raise FrameDecodeError(f"picture header of {header_bits >> 3} bytes at byte {start}; least is 8")
    if start + size > header.frame_size:
        raise FrameDecodeError(
            f"picture of {size} bytes at byte {start} of a frame of {header.frame_size} bytes"
        )
    if packing >> 4 > 3 or packing & 15:
        raise FrameDecodeError(f"unknown slice dimensions {packing:#04x} at byte {start + 7}")
    n_rows = -(-header.height // (16 * header.n_pictures))
    n_columns = len(slice_widths(-(-header.width // 16), packing >> 4))
    if n_slices != n_rows * n_columns:
        raise FrameDecodeError(
            f"picture of {n_slices} slices at byte {start + 5}; "
            f"{header.width}x{header.height} pixels make {n_rows * n_columns}"
        )
    return (n_rows, n_columns), packing >> 4


def _parse_slice_table(
    head: ByteData, start: int, *, shape: tuple[int, int], log2_slice_width: int
) -> Picture:
    """The picture at `start`, from the bytes of its header and slice table."""
    header_size, size = head[0] >> 3, int.from_bytes(head[1:5])
    n_slices = shape[0] * shape[1]
    table_stop = header_size + 2 * n_slices
    if table_stop > min(size, len(head)):
        raise FrameDecodeError(
            f"slice table of {n_slices} slices at byte {start + header_size} runs past the picture's end"
        )
    sizes = np.frombuffer(head, ">u2", n_slices, header_size).astype(np.int64)
    stops = start + table_stop + np.cumsum(sizes)
    if sizes.min() < MIN_SLICE_BYTES:
        damaged = int(sizes.argmin())
        raise FrameDecodeError(
            f"slice {damaged} of {sizes[damaged]} bytes at byte {start + header_size + 2 * damaged}; "
            f"least is {MIN_SLICE_BYTES}"
        )
    if stops[-1] > start + size:
        raise FrameDecodeError(
            f"slices end at byte {stops[-1]}, after the end {start + size} of the picture at byte {start}"
        )
    layout = np.stack((stops - sizes, sizes)).reshape(2, *shape)
    layout.flags.writeable = False
    return Picture(
        start=start,
        size=size,
        log2_slice_width=log2_slice_width,
        slice_offset=layout[0],
        slice_size=layout[1],
    )
