"""Pixels of 16 bits as a TIFF file, which Pillow writes for shades of gray only.

Baseline TIFF (Adobe, TIFF 6.0, sections 2 to 6): little-endian, one image in one strip, not compressed.
"""

import struct

import numpy as np

from camhd_access.movie.stack import Pixels

__all__ = ["encode_tiff"]

SHORT, LONG, RATIONAL = 3, 4, 5
N_TAGS = 12
HEADER_BYTES = 8
DIRECTORY_BYTES = 2 + 12 * N_TAGS + 4
PIXELS_PER_INCH = 72


def encode_tiff(pixels: Pixels) -> bytes:
    """The file of a picture of shape (y, x) or (y, x, 3), 16 bits a value."""
    height, width = pixels.shape[:2]
    n_channels = pixels.shape[2] if pixels.ndim == 3 else 1
    strip = np.ascontiguousarray(pixels, "<u2").tobytes()
    # Values that do not fit a directory entry follow the directory, each at a place of its own.
    depth_at = HEADER_BYTES + DIRECTORY_BYTES
    resolution_at = depth_at + 2 * 3
    strip_at = resolution_at + 8
    tags = [
        (256, LONG, 1, width),
        (257, LONG, 1, height),
        (258, SHORT, n_channels, depth_at if n_channels > 1 else 16),  # bits per sample
        (259, SHORT, 1, 1),  # not compressed
        (262, SHORT, 1, 2 if n_channels > 1 else 1),  # R'G'B', or black is 0
        (273, LONG, 1, strip_at),
        (277, SHORT, 1, n_channels),
        (278, LONG, 1, height),  # rows in the strip
        (279, LONG, 1, len(strip)),
        (282, RATIONAL, 1, resolution_at),
        (283, RATIONAL, 1, resolution_at),
        (296, SHORT, 1, 2),  # inches
    ]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"".join(
        (
            struct.pack("<2sHI", b"II", 42, HEADER_BYTES),
            struct.pack("<H", N_TAGS) + directory + struct.pack("<I", 0),
            struct.pack("<3H", 16, 16, 16),
            struct.pack("<2I", PIXELS_PER_INCH, 1),
            strip,
        )
    )
