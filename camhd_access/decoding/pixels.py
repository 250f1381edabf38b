"""Pixel formats, and the exact arithmetic from coded Y'CbCr planes to them.

Input: the planes of a decoded frame, 10-bit codes in video range (black 64, white 940, chroma
64 … 960 around 512). Output: pixels in one of FFmpeg's formats, correctly rounded. Colour is computed
here, in float32, and not by swscale: its fast paths are off by up to 2 of 255 levels, its 16-bit output
is low by 0.1 %, and it places the chroma samples of 4:2:2 between the luma samples, where ProRes has them on
every even one (SMPTE RDD 36; ITU-R BT.709, section 3). A crop gives the same pixels as the crop of a whole
frame if it includes one more chroma column on its right (`CHROMA_MARGIN`).
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.threads import spreading

__all__ = [
    "CHROMA_MARGIN",
    "LUMA_WEIGHTS",
    "MATRIX_NAMES",
    "NEUTRAL",
    "PIXEL_FORMATS",
    "VIDEO",
    "Levels",
    "PixelFormat",
    "Planes",
    "choose_matrix",
    "color_scales",
    "convert_planes",
    "find_pixel_format",
]

BLACK, WHITE, NEUTRAL, CHROMA_SPAN = 64, 940, 512, 896
"""Video range at 10 bits (ITU-R BT.709, section 4)."""


class Levels(NamedTuple):
    """Codes at 10 bits between which a frame is coded."""

    black: int
    white: int
    chroma_span: int
    """Codes from the least to the greatest chroma."""


VIDEO = Levels(BLACK, WHITE, CHROMA_SPAN)
"""The levels of ProRes, and of most other movies."""

CHROMA_MARGIN = 2
"""Luma columns to the right of a crop that its last colour pixels depend on."""

ROWS_AT_ONCE = 128
"""Rows converted per numpy call: few enough for the cache and for parallel threads."""

LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),  # ITU-R BT.709
    5: (0.299, 0.114),  # ITU-R BT.601, 625 lines
    6: (0.299, 0.114),  # ITU-R BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # ITU-R BT.2020
}
"""Weights of red and blue in luma, by matrix number (ISO/IEC 23091-2, table 4)."""

MATRIX_NAMES = {1: "ITU-R BT.709", 5: "ITU-R BT.601", 6: "ITU-R BT.601", 7: "SMPTE 240M", 9: "ITU-R BT.2020"}
"""Names of these matrices."""


class Planes(NamedTuple):
    """The planes of one decoded frame, or of a crop of one: uint16 codes of 10 bits.

    Chroma that was not decoded has no columns; chroma that is interpolated between lines is float32.
    """

    y: npt.NDArray[np.uint16]
    cb: npt.NDArray[Any]
    cr: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """One of the supported pixel formats."""

    name: str
    """FFmpeg's name."""
    dtype: np.dtype[np.unsignedinteger]
    """Type of one value, with byte order."""
    layout: Literal["rgb", "bgr", "gray", "code"]
    """Order of the channels; "gray" is luma stretched to full range, "code" is luma as coded."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in order; empty for single-plane formats."""
        return tuple({"rgb": "RGB", "bgr": "BGR"}.get(self.layout, ""))

    @property
    def is_color(self) -> bool:
        """Whether the chroma planes are needed."""
        return bool(self.channels)

    @property
    def full_scale(self) -> int:
        """The value of white: 255, 65535, or 940 for luma as coded."""
        return WHITE if self.layout == "code" else int(np.iinfo(self.dtype).max)

    @property
    def bit_depth(self) -> int:
        """Significant bits of a value."""
        return 10 if self.layout == "code" else 8 * self.dtype.itemsize

    @property
    def max_value(self) -> int:
        """The largest value of these bits."""
        return (1 << self.bit_depth) - 1

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Shape of one image: (height, width[, channel])."""
        return (height, width, len(self.channels)) if self.is_color else (height, width)


PIXEL_FORMATS = {
    known.name: known
    for known in (
        PixelFormat("rgb24", np.dtype("u1"), "rgb"),
        PixelFormat("bgr24", np.dtype("u1"), "bgr"),
        PixelFormat("rgb48le", np.dtype("<u2"), "rgb"),
        PixelFormat("rgb48be", np.dtype(">u2"), "rgb"),
        PixelFormat("bgr48le", np.dtype("<u2"), "bgr"),
        PixelFormat("bgr48be", np.dtype(">u2"), "bgr"),
        PixelFormat("gray", np.dtype("u1"), "gray"),
        PixelFormat("gray16le", np.dtype("<u2"), "gray"),
        PixelFormat("gray16be", np.dtype(">u2"), "gray"),
        PixelFormat("gray10le", np.dtype("<u2"), "code"),
    )
}


def find_pixel_format(name: str) -> PixelFormat:
    """The format with this name; a `ValueError` lists the known ones."""
    if name not in PIXEL_FORMATS:
        raise ValueError(f"unknown pix_fmt {name!r}; known are {', '.join(PIXEL_FORMATS)}")
    return PIXEL_FORMATS[name]


def choose_matrix(frame_matrix: int | None, track_matrix: int | None, *, height: int) -> int:
    """Number of the matrix to convert with: the frame's, else the track's, else the default for its height.

    Parameters
    ----------
    frame_matrix
        Value in the ProRes frame header (SMPTE RDD 36, `matrix_coefficients`); 2 and 0 mean unspecified.
    track_matrix
        Value in the sample description's `colr` atom.
    height
        Lines of the frame: from 720 on BT.709 is assumed, below BT.601.
    """
    for stated in (frame_matrix, track_matrix):
        if stated in LUMA_WEIGHTS:
            return stated
    return 1 if height >= 720 else 6


def convert_planes(
    planes: Planes,
    pixel_format: PixelFormat,
    *,
    matrix: int,
    first_column: int = 0,
    levels: Levels = VIDEO,
    n_threads: int = 1,
    out: npt.NDArray[np.unsignedinteger],
) -> None:
    """Fill `out` with the pixels of `planes`.

    Parameters
    ----------
    planes
        Luma of shape (height, width), or wider than `out` by margins that are only used for their chroma;
        chroma at half or full width. Formats without colour only use luma. The first column must be an
        even one of the frame if chroma has half width.
    pixel_format
        Format of `out`.
    matrix
        Number of the colour matrix, a key of `LUMA_WEIGHTS`; not used for luma.
    first_column
        Column of `planes` that is the first column of `out`.
    levels
        Codes of black and white.
    n_threads
        With more than one, rows are converted to colours on the threads that decode; numpy releases the GIL.
    out
        Array of shape `pixel_format.shape(height, width)`.

    Notes
    -----
    R'G'B' = Y' + weights * chroma (ITU-R BT.709, section 3.3); chroma of odd columns is the mean of its
    two neighbours; everything is rounded half up and clipped to the full range, where 0 is black and
    `full_scale` is white.
    """
    height, width = out.shape[:2]
    columns = slice(first_column, first_column + width)
    luma = planes.y[:height, columns]
    if pixel_format.layout == "code":
        out[...] = luma
    elif pixel_format.layout == "gray":
        np.take(_gray_table(pixel_format, levels), luma, out=out, mode="clip")
    else:
        ordered = out if pixel_format.layout == "rgb" else out[..., ::-1]
        scales = color_scales(matrix, pixel_format.full_scale, levels)
        with spreading(parallel=n_threads > 1) as submit:
            for start in range(0, height, ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                part = Planes(planes.y[rows], planes.cb[rows], planes.cr[rows])
                submit(_convert_rows, part, scales, pixel_format.full_scale, columns, ordered[rows])


def _gray_table(pixel_format: PixelFormat, levels: Levels) -> npt.NDArray[np.unsignedinteger]:
    codes = np.arange(1024)
    stretched = (codes - levels.black) * pixel_format.full_scale / (levels.white - levels.black)
    return np.floor(stretched.clip(0, pixel_format.full_scale) + 0.5).astype(pixel_format.dtype)


Scales: TypeAlias = tuple[
    tuple[np.float32, np.float32], tuple[np.float32, np.float32, np.float32, np.float32]
]


def color_scales(matrix: int, full_scale: int, levels: Levels = VIDEO) -> Scales:
    """Factor and offset of luma; factors of Cr in red, Cr in green, Cb in green and Cb in blue."""
    red, blue = LUMA_WEIGHTS[matrix]
    green = 1 - red - blue
    per_code = full_scale / (levels.white - levels.black)
    from_cb, from_cr = (2 * (1 - weight) * full_scale / levels.chroma_span for weight in (blue, red))
    luma = per_code, 0.5 - levels.black * per_code  # truncation to integers then rounds half up
    chroma = from_cr, -from_cr * red / green, -from_cb * blue / green, from_cb
    factor, offset = map(np.float32, luma)
    red_cr, green_cr, green_cb, blue_cb = map(np.float32, chroma)
    return (factor, offset), (red_cr, green_cr, green_cb, blue_cb)


def _convert_rows(
    planes: Planes, scales: Scales, full_scale: int, columns: slice, rgb: npt.NDArray[np.unsignedinteger]
) -> None:
    (per_code, offset), (red_cr, green_cr, green_cb, blue_cb) = scales
    luma = planes.y.astype(np.float32)
    luma *= per_code
    luma += offset
    cb = planes.cb.astype(np.float32)
    cb -= NEUTRAL
    cr = planes.cr.astype(np.float32)
    cr -= NEUTRAL
    for channel, chroma in enumerate((cr * red_cr, cr * green_cr + cb * green_cb, cb * blue_cb)):
        pixels = _add_chroma(luma, chroma)[:, columns]
        np.clip(pixels, 0, full_scale, out=pixels)
        rgb[..., channel] = pixels


def _add_chroma(luma: npt.NDArray[np.float32], chroma: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    if chroma.shape == luma.shape:
        return luma + chroma
    total = np.empty_like(luma)
    np.add(luma[:, ::2], chroma, out=total[:, ::2])
    between = chroma.copy()
    between[:, :-1] += chroma[:, 1:]
    between[:, :-1] *= np.float32(0.5)
    n_odd = luma.shape[1] // 2
    np.add(luma[:, 1::2], between[:, :n_odd], out=total[:, 1::2])
    return total
