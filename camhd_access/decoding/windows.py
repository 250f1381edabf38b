"""The data to decode for a window of a frame: a sample, or a smaller frame made of some of its slices.

If the whole sample is in memory, `whole_window` wraps it, and the decoder uses only the slices that the
window touches. If it must be fetched, `walk_window` (see `formats.prores.slices`) makes a smaller
frame, which needs only the bytes of those slices.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.pixels import CHROMA_MARGIN
from camhd_access.errors import FrameDecodeError, FrameSizeError
from camhd_access.formats.prores import CroppedFrame, FrameHeader, parse_frame_header, walk_crop
from camhd_access.formats.prores.slices import HEAD_BYTES
from camhd_access.ranges import ByteData, Walk

__all__ = ["CodedWindow", "Field", "Marks", "Window", "check_size", "walk_window", "whole_window"]

Field: TypeAlias = Literal[0, 1] | None
"""0 for the field of a frame that is shown first, 1 for the other, None for both."""
Window: TypeAlias = tuple[slice, slice]
"""Rows and columns of an image; both bounds given, no step."""
Marks: TypeAlias = npt.NDArray[np.bool_]
"""Mask of damaged pixels, shape (y, x)."""


@dataclass(frozen=True, slots=True)
class CodedWindow:
    """Coded bytes, and the wanted window."""

    data: ByteData
    """A complete ProRes frame: the sample itself, or a smaller one made of some of its slices."""
    header: FrameHeader
    """The frame header of the sample."""
    window: Window
    """Rows and columns of the sample's picture (the frame or the field)."""
    field: Field
    """Field of the picture; None for the frame."""
    crop: CroppedFrame | None = None
    """How the smaller frame was made; None for the sample itself."""
    shown_lines: slice | None = None
    """Lines of the frame to be interpolated from this window of a field; None without deinterlacing."""

    def check_length(self) -> None:
        """Raise a `FrameDecodeError` if the sample is shorter than its header says."""
        if self.crop is None and self.header.frame_size > len(self.data):
            raise FrameDecodeError(
                f"truncated: {len(self.data)} bytes of a frame that says {self.header.frame_size}"
            )

    @property
    def shows_all(self) -> bool:
        """Whether the window is the whole frame."""
        size = slice(0, self.header.height), slice(0, self.header.width)
        return self.field is None and self.window == size


def whole_window(sample: ByteData, *, size: tuple[int, int], window: Window, field: Field) -> CodedWindow:
    """The window of a whole sample.

    Parameters
    ----------
    size
        Height and width of the frame in the movie's index.
    window
        Rows and columns wanted, of the frame or of the field.

    Raises
    ------
    FrameDecodeError, UnsupportedCodecError
        The frame has another size, or no valid header.
    """
    return CodedWindow(sample, _check_header(sample, size, field), window, field)


def walk_window(
    sample_size: int,
    *,
    size: tuple[int, int],
    window: Window,
    field: Field,
    reduce: int = 1,
    in_color: bool,
) -> Walk[CodedWindow]:
    """Walk to a smaller frame with the slices of a window; parameters as for `whole_window`.

    With `reduce`, the window counts reduced lines and columns.

    Raises
    ------
    FrameDecodeError, UnsupportedCodecError
        The frame has another size, or an inconsistent structure.
    """
    rows, columns = (slice(extent.start * reduce, extent.stop * reduce) for extent in window)
    (head,) = yield [(0, min(HEAD_BYTES, sample_size))]
    header = _check_header(head, size, field)
    # Start at an even column, so that 4:2:2 chroma begins there.
    stop = min(columns.stop + CHROMA_MARGIN * reduce, size[1]) if in_color else columns.stop
    crop = yield from walk_crop(sample_size, y=rows, x=(columns.start // 2 * 2, stop), field=field)
    return CodedWindow(crop.data, header, window, field, crop)


def _check_header(head: ByteData, size: tuple[int, int], field: Field) -> FrameHeader:
    header = parse_frame_header(head)
    check_size(header, size)
    if field is not None and not header.interlaced:
        raise FrameDecodeError("a progressive frame in an interlaced movie has no fields")
    return header


def check_size(header: FrameHeader, size: tuple[int, int]) -> None:
    """Raise if the frame size differs from the movie's index."""
    if (header.height, header.width) != size:
        raise FrameSizeError(
            f"frame of {header.width}x{header.height} pixels in a movie of {size[1]}x{size[0]}"
        )
