"""Decoded frames of H.264 and HEVC to pixels: chroma of any subsampling, 8 or 10 bits, either range.

Codes of 8 bits become those of 10 bits times 4, which is exact, so that the arithmetic of `pixels` serves
all. What differs is chroma: with 4:2:0 it has half the lines, and lies where the stream says. It is
interpolated linearly between the samples above and below, in float32, where the weights (multiples of 1/8)
are exact; in interlaced frames within each field (ITU-T H.264, 6.2 and figures 6-1 to 6-3, E-1).
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.pixels import (
    CHROMA_MARGIN,
    NEUTRAL,
    VIDEO,
    Levels,
    PixelFormat,
    Planes,
    choose_matrix,
    convert_planes,
)
from camhd_access.decoding.windows import Window

__all__ = ["CENTERED_COLUMNS", "ChromaPlace", "CodedFrame", "average_blocks", "convert_frame"]

CENTERED_COLUMNS = {1, 3, 5}
"""Chroma locations (ITU-T H.273) between two columns; the others are at even columns."""
_LINE_OFFSETS = {2: 0.0, 3: 0.0, 4: 1.0, 5: 1.0}
"""Lines from the first of two to the chroma sample, by chroma location; 0.5 for the others."""

Plane: TypeAlias = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True, slots=True, eq=False)
class CodedFrame:
    """One decoded frame, as coded."""

    number: int
    """The sample of which it was made."""
    is_corrupt: bool
    """Whether the decoder noticed damage."""
    planes: tuple[Plane, ...]
    """Y, Cb and Cr, or Y alone: uint8, or uint16 with 10 bits."""
    full_range: bool
    """Whether black is 0 rather than 16 (or 64)."""
    matrix: int
    """Number of the colour matrix (ITU-T H.273); 2 if the stream does not tell."""
    interlaced: bool
    """Whether its lines are of two fields."""
    chroma_location: int = 0
    """Position of the chroma samples (ITU-T H.273)."""

    @property
    def bit_depth(self) -> int:
        """Bits of a code."""
        return 8 if self.planes[0].dtype.itemsize == 1 else 10

    @property
    def scale(self) -> int:
        """Codes of 10 bits for one of these."""
        return 4 if self.bit_depth == 8 else 1

    @property
    def levels(self) -> Levels:
        """Codes of black and white, and the span of chroma, at 10 bits."""
        if not self.full_range:
            return VIDEO
        white = 1020 if self.bit_depth == 8 else 1023
        return Levels(0, white, white)


def convert_frame(
    frame: CodedFrame,
    pixel_format: PixelFormat,
    *,
    window: Window,
    track_matrix: int | None,
    out: npt.NDArray[np.unsignedinteger],
) -> None:
    """Fill `out` with the pixels of a window of a frame.

    Parameters
    ----------
    window
        Lines and columns of the frame.
    track_matrix
        Colour matrix of the movie's index, for frames without one.
    """
    luma, *chroma = frame.planes
    height, width = luma.shape
    rows, columns = window
    # From an even column on, with one more chroma column, as `convert_planes` needs it.
    wide = slice(columns.start // 2 * 2, min(columns.stop + CHROMA_MARGIN, width))
    shown = luma[rows, wide].astype(np.uint16)
    shown *= frame.scale
    nothing = np.empty((len(shown), 0), np.float32)
    cb = cr = nothing
    if pixel_format.is_color and chroma:
        place = ChromaPlace(frame, rows, wide)
        cb, cr = (place.upsample(plane) for plane in chroma)
    elif pixel_format.is_color:  # a movie without colour
        cb = cr = np.full(shown.shape, NEUTRAL, np.float32)
    convert_planes(
        Planes(shown, cb, cr),
        pixel_format,
        matrix=choose_matrix(frame.matrix, track_matrix, height=height),
        first_column=columns.start - wide.start,
        levels=frame.levels,
        out=out,
    )


Blend: TypeAlias = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]
"""For each position of the output: the chroma samples before and after it, and the weight of the second."""


@dataclass(frozen=True, slots=True)
class ChromaPlace:
    """Where the chroma of a window is interpolated."""

    frame: CodedFrame
    rows: slice
    columns: slice
    """Lines and columns of luma; the first column is an even one."""

    def upsample(self, plane: Plane) -> npt.NDArray[np.float32]:
        """10-bit codes at each line; at each column, or at every even one if the samples lie there."""
        height, width = self.frame.planes[0].shape
        is_wide, is_centered = plane.shape[1] == width, self.frame.chroma_location in CENTERED_COLUMNS
        if is_wide:
            plane = plane[:, self.columns]
        elif not is_centered:
            plane = plane[:, self.columns.start // 2 : (self.columns.stop + 1) // 2]
        scale = self.frame.scale
        if plane.shape[0] == height:
            tall = plane[self.rows].astype(np.float32)
            tall *= scale
        else:
            tall = _blend(plane, self.lines(plane.shape[0]), scale)
        if is_wide or not is_centered:
            return tall
        return np.ascontiguousarray(_blend(tall.T, self._columns(plane.shape[1]), 1).T)

    def lines(self, n_lines: int) -> Blend:
        """The lines of chroma, of `n_lines`, around each line of the window."""
        line, location = np.arange(self.rows.start, self.rows.stop), self.frame.chroma_location
        n_fields = 2 if self.frame.interlaced else 1
        within, field = np.divmod(line, n_fields)
        offset: npt.NDArray[np.float64] = np.full(len(line), _LINE_OFFSETS.get(location, 0.5))
        if self.frame.interlaced and location not in _LINE_OFFSETS:
            offset += np.where(field, 0.25, -0.25)
        first, second, weight = _between((within - offset) / 2, (n_lines - 1 - field) // n_fields)
        return first * n_fields + field, second * n_fields + field, weight

    def _columns(self, n_columns: int) -> Blend:
        column = np.arange(self.columns.start, self.columns.stop)
        return _between((column - 0.5) / 2, np.full(len(column), n_columns - 1))


def _between(position: npt.NDArray[np.float64], last: npt.NDArray[np.int64]) -> Blend:
    """The samples around some positions, of which the first is 0 and the last `last`."""
    before = np.floor(position)
    first, second = ((before + k).clip(0, last).astype(np.int64) for k in (0, 1))
    return first, second, (position - before).astype(np.float32)


def _blend(plane: npt.NDArray[Any], lines: Blend, scale: int) -> npt.NDArray[np.float32]:
    first, second, weight = lines
    mixed = plane[first].astype(np.float32)
    mixed *= (scale * (1 - weight))[:, np.newaxis]
    mixed += plane[second] * (scale * weight)[:, np.newaxis]
    return mixed


def average_blocks(
    pixels: npt.NDArray[np.unsignedinteger], step: int, *, out: npt.NDArray[np.unsignedinteger]
) -> None:
    """Fill `out` with the means of blocks of `step` by `step` pixels, rounded half up."""
    height, width = out.shape[:2]
    whole = pixels[: height * step, : width * step]
    total = np.zeros((height, width * step, *pixels.shape[2:]), np.uint32)
    for k in range(step):
        total += whole[k::step]
    means = total.reshape(height, width, step, *pixels.shape[2:]).sum(axis=2, dtype=np.uint32)
    means += step * step // 2
    means //= step * step
    out[...] = means
