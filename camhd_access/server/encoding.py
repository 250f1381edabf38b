"""Image formats: names, supported pixel formats, and encoders.

Settings were chosen by measurement, for a frame of 1080p on one core: decoding takes 16 ms. PNG at level 1
takes 85 ms and is 4 % larger than at level 4 (138 ms), which is larger than at 3; level 6 takes 300 ms.
JPEG takes 3 ms, 7 with optimised tables that save 7 %. WebP takes 29 ms with its fastest method, 115 with the
default one, for a fifth fewer bytes. 16-bit TIFF is written here, since Pillow only writes it for greyscale:
baseline TIFF (Adobe, TIFF 6.0, sections 2 to 6), little-endian, one image in one strip, not compressed.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from camhd_access.movie.stack import Pixels
from camhd_access.output.provenance import Provenance, describe_in_ascii, image_options

__all__ = ["FORMATS", "SMALL_PNG", "Format"]

Picture: TypeAlias = Pixels | Image.Image
"""Pixels, as an array or in Pillow's memory: copies from one to the other take as long as a small JPEG."""

_ASCII, _SHORT, _LONG, _RATIONAL = 2, 3, 4, 5
_N_TAGS = 13
_HEADER_BYTES = 8
_DIRECTORY_BYTES = 2 + 12 * _N_TAGS + 4
_PIXELS_PER_INCH = 72


@dataclass(frozen=True, slots=True)
class Format:
    """One file format for images."""

    name: str
    """File name extension."""
    content_type: str
    """Media type (RFC 9110, section 8.3)."""
    encode: Callable[[Picture, int, Provenance], bytes]
    """Encodes a picture, with the quality (ignored by lossless formats) and the provenance record."""
    pix_fmts: tuple[str, ...] = ("rgb24",)
    """Supported pixel formats, the default first."""
    quality: int | None = None
    """Default quality; None if the format has none."""
    is_raw: bool = False
    """Uncompressed pixels, which can be switched off."""

    @property
    def is_picture(self) -> bool:
        """Whether it is an 8-bit image, which can be resized."""
        return self.pix_fmts == ("rgb24",)


def _by_pillow(
    picture: Picture,
    quality: int,
    record: Provenance,
    *,
    name: str,
    **options: Any,  # noqa: ANN401 - Pillow's
) -> bytes:
    file = io.BytesIO()
    if name != "BMP":  # BMP has no text fields
        options |= image_options(f".{name.lower()}", record)
    if quality:
        options["quality"] = quality
    _to_image(picture).save(file, name, **options)
    return file.getvalue()


def _encode_rgba(picture: Picture, _: int, __: Provenance) -> bytes:
    return _to_image(picture).convert("RGBA").tobytes()


def _to_image(picture: Picture) -> Image.Image:
    return picture if isinstance(picture, Image.Image) else Image.fromarray(picture)


def _encode_npy(picture: Picture, _: int, __: Provenance) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(picture), allow_pickle=False)
    return file.getvalue()


def _encode_tiff(picture: Picture, _: int, record: Provenance) -> bytes:
    """Encode an image of shape (y, x) or (y, x, 3), 16 bits per value."""
    pixels = np.asarray(picture)
    height, width = pixels.shape[:2]
    n_channels = pixels.shape[2] if pixels.ndim == 3 else 1
    strip = np.ascontiguousarray(pixels, "<u2").tobytes()
    text = describe_in_ascii(record).encode() + b"\0"
    # Values that do not fit a directory entry follow the directory, each at its own offset.
    depth_at = _HEADER_BYTES + _DIRECTORY_BYTES
    resolution_at = depth_at + 2 * 3
    text_at = resolution_at + 8
    strip_at = text_at + len(text) + len(text) % 2  # at an even offset
    tags = [
        (256, _LONG, 1, width),
        (257, _LONG, 1, height),
        (258, _SHORT, n_channels, depth_at if n_channels > 1 else 16),  # bits per sample
        (259, _SHORT, 1, 1),  # not compressed
        (262, _SHORT, 1, 2 if n_channels > 1 else 1),  # R'G'B', or black is 0
        (270, _ASCII, len(text), text_at),  # description
        (273, _LONG, 1, strip_at),
        (277, _SHORT, 1, n_channels),
        (278, _LONG, 1, height),  # rows in the strip
        (279, _LONG, 1, len(strip)),
        (282, _RATIONAL, 1, resolution_at),
        (283, _RATIONAL, 1, resolution_at),
        (296, _SHORT, 1, 2),  # inches
    ]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"".join(
        (
            struct.pack("<2sHI", b"II", 42, _HEADER_BYTES),
            struct.pack("<H", _N_TAGS) + directory + struct.pack("<I", 0),
            struct.pack("<3H", 16, 16, 16),
            struct.pack("<2I", _PIXELS_PER_INCH, 1),
            text.ljust(strip_at - text_at, b"\0"),
            strip,
        )
    )


_png = partial(_by_pillow, name="PNG", compress_level=1)
_small_png = partial(_by_pillow, name="PNG", compress_level=6)
_jpeg = partial(_by_pillow, name="JPEG")
_webp = partial(_by_pillow, name="WEBP", method=0)
_bmp = partial(_by_pillow, name="BMP")

_COLORS = ("rgb24", "bgr24", "rgb48le", "rgb48be", "bgr48le", "bgr48be")
_PLANES = ("gray", "gray16le", "gray16be", "gray10le")

FORMATS = {
    each.name: each
    for each in (
        Format("png", "image/png", _png),
        Format("jpg", "image/jpeg", _jpeg, quality=75),
        Format("jpeg", "image/jpeg", _jpeg, quality=75),
        Format("webp", "image/webp", _webp, quality=80),
        Format("bmp", "image/bmp", _bmp),
        Format("tif", "image/tiff", _encode_tiff, ("rgb48le", "gray16le")),
        Format("tiff", "image/tiff", _encode_tiff, ("rgb48le", "gray16le")),
        Format("npy", "application/octet-stream", _encode_npy, _COLORS + _PLANES, is_raw=True),
        Format("rgba", "application/octet-stream", _encode_rgba, is_raw=True),
        Format("raw", "application/octet-stream", _encode_rgba, is_raw=True),
    )
}
"""Formats by file name extension."""

SMALL_PNG = Format("png", "image/png", _small_png)
"""PNG for a server whose network is slower than its processor."""
