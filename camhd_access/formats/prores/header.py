"""A sample's frame header: what the frame is, and where its first picture begins.

Input: the first few hundred bytes of a sample (148 + 8 are enough in all known files). Output:
a `FrameHeader`, or an error that names the byte. The header's own bytes are kept, because a crop copies
the unparsed ones. All numbers are big-endian.
"""

import struct
from dataclasses import dataclass
from typing import Literal

from camhd_access.errors import FrameDecodeError, NoFrameError, UnsupportedCodecError
from camhd_access.ranges import ByteData

__all__ = ["FrameHeader", "max_sample_bytes", "min_sample_bytes", "parse_frame_header"]

MIN_FRAME_BYTES = 28
"""Frame size, the letters `icpf`, and a frame header without quantisation matrices."""

MATRIX_BYTES = 64
FLAT_MATRIX = bytes([4]) * MATRIX_BYTES
"""Default luma matrix, used if the header has none."""


MAX_SAMPLE_BYTES = 64 << 20
"""Limit for all movies: eight times the size of an 8K frame at the highest rate."""

MAX_MACROBLOCK_BYTES = 4096 + 16
"""768 coefficients of at most 33 bits (a code of 31, the run before it, the sign), 256 values of alpha, and
the headers of a slice that holds no other macroblock."""

MAX_EXTRA_BYTES = 1 << 20
"""Limit for the frame header (its length is a 16-bit number) and anything that writers append."""

MAX_SLICE_MACROBLOCKS = 8
MIN_SLICE_BYTES = 8
"""The entry of a slice in the table, and the slice's own header."""


def max_sample_bytes(width: int, height: int) -> int:
    """Upper limit for the bytes of a sample of frames of this size (SMPTE RDD 36, sections 5.2 and 5.3)."""
    n_macroblocks = -(-width // 16) * 2 * -(-height // 32)  # each of two fields is padded to whole ones
    return min(MAX_SAMPLE_BYTES, MAX_EXTRA_BYTES + MAX_MACROBLOCK_BYTES * n_macroblocks)


def min_sample_bytes(width: int, height: int) -> int:
    """Lower limit for the bytes of a complete frame of this size, with any content."""
    n_slices = width // (16 * MAX_SLICE_MACROBLOCKS) * (height // 16)
    return MIN_FRAME_BYTES + MIN_SLICE_BYTES * n_slices


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """Contents of the frame header."""

    frame_size: int
    """Size of the sample in bytes according to the frame itself, padding included."""
    version: int
    """Bitstream version: 0 (4:2:2 without alpha) or 1."""
    encoder: bytes
    """Four bytes that name the encoder's maker, `b"apl0"` for Apple's."""
    width: int
    """Luma columns."""
    height: int
    """Luma lines of the frame, both fields together."""
    chroma: Literal["422", "444"]
    """Chroma sampling: half as many columns as luma, or as many."""
    interlace: int
    """0 progressive, 1 top field (even lines) first, 2 bottom field first."""
    primaries: int
    """Colour primaries as ITU-T H.273 numbers them; 0 and 2 mean unspecified."""
    transfer: int
    """Transfer characteristics, likewise."""
    matrix: int
    """Matrix coefficients, likewise: 1 is BT.709, 6 BT.601, 9 BT.2020."""
    alpha_bits: int
    """0 (no alpha plane), 8 or 16."""
    raw: bytes
    """The header's own bytes, from byte 8 of the sample to the first picture."""

    @property
    def header_size(self) -> int:
        """Bytes of the frame header, without the 8 bytes before it."""
        return len(self.raw)

    @property
    def picture_offset(self) -> int:
        """Byte of the sample where the first picture begins."""
        return 8 + len(self.raw)

    @property
    def interlaced(self) -> bool:
        """Whether the frame is two field pictures."""
        return self.interlace != 0

    @property
    def n_pictures(self) -> int:
        """2 for an interlaced frame, else 1."""
        return 2 if self.interlace else 1

    @property
    def luma_matrix(self) -> bytes:
        """The 64 luma quantisation weights, row by row."""
        return self.raw[20 : 20 + MATRIX_BYTES] if self.raw[19] & 2 else FLAT_MATRIX

    @property
    def chroma_matrix(self) -> bytes:
        """The 64 chroma quantisation weights, row by row; the luma ones where the header gives none."""
        if not self.raw[19] & 1:
            return self.luma_matrix
        start = 20 + MATRIX_BYTES * (self.raw[19] >> 1 & 1)
        return self.raw[start : start + MATRIX_BYTES]


def parse_frame_header(data: ByteData) -> FrameHeader:
    """The frame header at the start of a sample.

    Parameters
    ----------
    data
        The sample, or enough of its beginning to hold the header.

    Raises
    ------
    FrameDecodeError
        The bytes are not a ProRes frame header, are inconsistent, or end within the header.
    UnsupportedCodecError
        The bitstream version is not 0 or 1.

    Notes
    -----
    SMPTE RDD 36, section 5.1.1 (frame header). Takes some microseconds.
    """
    if len(data) < MIN_FRAME_BYTES:
        raise FrameDecodeError(f"frame of {len(data)} bytes; a ProRes frame has at least {MIN_FRAME_BYTES}")
    frame_size, tag, header_size, version, encoder, width, height = struct.unpack_from(">I4sHH4sHH", data)
    if tag != b"icpf":
        raise NoFrameError(f"not a ProRes frame: {tag!r} instead of b'icpf' at byte 4")
    if version > 1:
        raise UnsupportedCodecError(f"ProRes bitstream version {version} at byte 10; known are 0 and 1")
    _check_header_size(header_size, matrices=data[27] & 3, n_bytes=min(len(data), frame_size))
    if not (width and height):
        raise FrameDecodeError(f"frame of {width}x{height} pixels at byte 16")
    chroma, interlace, alpha = data[20] >> 6, data[20] >> 2 & 3, data[25] & 15
    if chroma not in (2, 3):
        raise FrameDecodeError(f"unknown chroma format {chroma} at byte 20; known are 2 and 3")
    if interlace == 3:
        raise FrameDecodeError("unknown interlace mode 3 at byte 20; known are 0, 1 and 2")
    if alpha > 2:
        raise FrameDecodeError(f"unknown alpha format {alpha} at byte 25; known are 0, 1 and 2")
    return FrameHeader(
        frame_size=frame_size,
        version=version,
        encoder=encoder,
        width=width,
        height=height,
        chroma="422" if chroma == 2 else "444",
        interlace=interlace,
        primaries=data[22],
        transfer=data[23],
        matrix=data[24],
        alpha_bits=8 * alpha,
        raw=bytes(data[8 : 8 + header_size]),
    )


def _check_header_size(header_size: int, *, matrices: int, n_bytes: int) -> None:
    """Raise if the header has no room for its own matrices, or is longer than the data."""
    least = 20 + MATRIX_BYTES * matrices.bit_count()
    if header_size < least:
        raise FrameDecodeError(f"header of {header_size} bytes at byte 8; its content needs {least} bytes")
    if 8 + header_size > n_bytes:
        raise FrameDecodeError(f"header of {header_size} bytes at byte 8; only {n_bytes - 8} bytes are left")
