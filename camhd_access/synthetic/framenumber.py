"""A machine-readable number in each frame.

It proves that frame 7200 *is* frame 7200 after seeking, cropping, scaling or a lossy image format. The top
left 256x96 pixels hold three rows of 16 blocks, each block 16 pixels wide and 32 lines high, that is, whole
macroblocks in both fields: the binary digits from the highest to the lowest (white is 1), then their
complement, then the number in decimal digits. The blocks are uniform, so they survive ProRes, JPEG
and a reduction to an eighth; the complement tells a misread from a number.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_FRAME_NUMBER", "draw_frame_number", "read_frame_number"]

N_BITS = 16
MAX_FRAME_NUMBER = 2**N_BITS - 1
BLOCK_WIDTH = 16
BLOCK_LINES = 32
BLACK, WHITE = 64, 940  # 10-bit code values, ITU-R BT.709

# Blocks (lines, columns) as they arrive: whole frame, one field, and both at 1/2, 1/4 and 1/8.
_BLOCK_SHAPES = ((32, 16), (16, 16), (16, 8), (8, 8), (8, 4), (4, 4), (4, 2), (2, 2))

# Digits of 3x5 pixels, a row of three bits each.
_FONT = (0o75557, 0o26227, 0o71747, 0o71717, 0o55711, 0o74717, 0o74757, 0o71111, 0o75757, 0o75717)
_FONT_SCALE = 4


def draw_frame_number(luma: NDArray[np.uint16], number: int) -> None:
    """Write `number` into the top left of a 10-bit luma plane of at least 256x64 pixels, in place."""
    if not 0 <= number <= MAX_FRAME_NUMBER:
        raise ValueError(f"frame numbers must be from 0 to {MAX_FRAME_NUMBER}, not {number}")
    if luma.shape[0] < 2 * BLOCK_LINES or luma.shape[1] < N_BITS * BLOCK_WIDTH:
        raise ValueError(
            f"{luma.shape[1]}x{luma.shape[0]} is too small for a frame number; use at least 256x64"
        )
    bits = (number >> np.arange(N_BITS - 1, -1, -1)) & 1
    levels = np.where(np.stack([bits, 1 - bits]), WHITE, BLACK).astype(np.uint16)
    luma[: 2 * BLOCK_LINES, : N_BITS * BLOCK_WIDTH] = np.kron(
        levels, np.ones((BLOCK_LINES, BLOCK_WIDTH), np.uint16)
    )
    if luma.shape[0] >= 3 * BLOCK_LINES:
        _draw_digits(luma[2 * BLOCK_LINES :, :], f"{number:05d}")


def _draw_digits(luma: NDArray[np.uint16], digits: str) -> None:
    for position, digit in enumerate(digits):
        glyph = (_FONT[int(digit)] >> np.arange(14, -1, -1).reshape(5, 3)) & 1
        block = luma[:BLOCK_LINES, position * BLOCK_WIDTH : (position + 1) * BLOCK_WIDTH]
        block[:] = BLACK
        block[6:26, 2:14] = np.where(np.kron(glyph, np.ones((_FONT_SCALE, _FONT_SCALE), int)), WHITE, BLACK)


def read_frame_number(image: NDArray[Any]) -> int:
    """The number in a frame, in one of its fields, or in either at 1/2, 1/4 or 1/8 of its size.

    Parameters
    ----------
    image
        Pixels of shape (y, x) or (y, x, channel), of any dtype; for colour the second channel is read. It
        must contain the top left corner of the frame.

    Raises
    ------
    ValueError
        There is no number, or it is damaged.
    """
    plane = np.asarray(image)
    if plane.ndim == 3:
        plane = plane[..., 1]
    for block_lines, block_width in _BLOCK_SHAPES:
        strip = plane[: 2 * block_lines, : N_BITS * block_width]
        if strip.shape != (2 * block_lines, N_BITS * block_width):
            continue
        blocks = strip.reshape(2, block_lines, N_BITS, block_width).astype(np.float64)
        margin_lines, margin_columns = block_lines // 8, block_width // 8  # of blurred edges
        inner = blocks[
            :, margin_lines : block_lines - margin_lines, :, margin_columns : block_width - margin_columns
        ]
        number = _number_in_blocks(inner.mean(axis=(1, 3)))
        if number is not None:
            return number
    raise ValueError("the image has no frame number in its top left corner")


def _number_in_blocks(means: NDArray[np.float64]) -> int | None:
    """The number in the mean values (2, N_BITS) of bits and complement; None if they are not two-valued."""
    bits = means[0] > means[1]
    bright, dark = means.max(axis=0), means.min(axis=0)
    if bright.min() - dark.max() < 0.7 * (bright.max() - dark.min()) or bright.min() < 4 * dark.max() + 1e-9:
        return None
    return int(bits @ (1 << np.arange(N_BITS - 1, -1, -1)))
