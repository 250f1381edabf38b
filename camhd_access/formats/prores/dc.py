"""The DC coefficients of many slices at once.

In a slice, the DC coefficients of all blocks of a plane precede all others, each as a variable-length
code of its difference from the previous block. The codes of one slice must be read sequentially, but
slices do not depend on each other: so all of them are read in lockstep, with one array operation for the same
code of every slice.

Reading a code is one table look-up. The index is the state of the decoder (which of four codebooks is
next, and the sign of the last difference) and the next 16 bits; the entry packs the difference, the next
state and the length of the code. The few codes longer than 16 bits have no entry and are computed.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from camhd_access.errors import FrameDecodeError

__all__ = ["PADDING_BYTES", "decode_dc"]

MAX_CODE_BITS: Final = 32
PADDING_BYTES: Final = 32 * MAX_CODE_BITS // 8 + 8
"""Bytes that must follow the data: a damaged slice can overrun by this much in its 32 blocks."""

CODEBOOKS: Final = np.array([(0, 0, 1), (0, 1, 2), (1, 2, 3), (0, 3, 4), (0, 5, 6)])
"""Last quotient of the Rice codes, order of the Rice codes, order of the exp-Golomb codes. The last book is
for the first coefficient of a plane."""
GOLOMB_EXCESS_BITS: Final = CODEBOOKS[:, 2] - CODEBOOKS[:, 0]
GOLOMB_OFFSET: Final = (CODEBOOKS[:, 0] + 1 << CODEBOOKS[:, 1]) - (1 << CODEBOOKS[:, 2])
NEXT_BOOK: Final = np.array([0, 1, 1, 2, 2, 3, 3])
"""The codebook after a code of 0, 1, … 6 or more."""
FIRST_BOOK, SECOND_BOOK = 4, 3

INVALID_LENGTH: Final = 1 << 30
"""The length of a code of more than 31 bits: the position is far outside the slice then."""

LENGTH_MASK: Final = 31
STATE_MASK: Final = 7 << 16
DIFFERENCE_SHIFT: Final = 19
"""A table entry: length in bits 0 to 4, next state where it is added to 16 bits of data, difference above."""


def decode_dc(
    data: NDArray[np.uint8], start: NDArray[np.int64], stop: NDArray[np.int64], n_blocks: NDArray[np.int64]
) -> NDArray[np.int32]:
    """The DC coefficients of one plane of each of many slices, shape (most blocks, slices).

    Parameters
    ----------
    data
        Coded bytes, with `PADDING_BYTES` more after them.
    start, stop
        Where in `data` each slice's plane lies. Where it is empty, the coefficients are 0.
    n_blocks
        Blocks of each slice's plane, in descending order. Coefficients past these are undefined.

    Raises
    ------
    FrameDecodeError
        The coefficients run past the end of a plane.

    Notes
    -----
    SMPTE RDD 36, section 7.1.1. Takes some 15 array operations for each block of the largest slice, half as
    many again where codes are long.
    """
    words = np.ndarray(len(data) - 7, ">u8", data, strides=(1,))
    position = start * 8
    code, length = _read_codes((_next_bits(words, position) >> 32).view(np.int64), FIRST_BOOK)
    position += length
    differences = np.zeros((int(n_blocks[0]), len(start)), np.int32)
    differences[0] = code >> 1 ^ -(code & 1)
    entry = np.full(len(start), SECOND_BOOK << 17, np.int32)
    for block, n_active in enumerate(np.searchsorted(-n_blocks, -np.arange(1, n_blocks[0])), start=1):
        entry = _step(words, position[:n_active], entry[:n_active], differences[block, :n_active])
    if (position > stop * 8)[stop > start].any():
        raise FrameDecodeError("the DC coefficients of a slice run past its end")
    differences[:, stop == start] = 0
    return np.cumsum(differences, axis=0, dtype=np.int32)


def _step(
    words: NDArray[np.uint64], position: NDArray[np.int64], entry: NDArray[np.int32], out: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Read one code of each slice: move `position` past it, fill `out`, return the new table entries."""
    bits = _next_bits(words, position)
    state = entry & STATE_MASK
    entry = _table().take((bits >> 48).view(np.int64) | state)
    np.right_shift(entry, DIFFERENCE_SHIFT, out=out)
    length = entry & LENGTH_MASK
    if not length.all():
        long = np.flatnonzero(length == 0)
        old_state = state[long] >> 16
        code, length[long] = _read_golomb((bits[long] >> 32).view(np.int64), old_state >> 1)
        out[long], next_state = _follow(code, old_state)
        entry[long] = next_state << 16
    position += length
    return entry


def _next_bits(words: NDArray[np.uint64], position: NDArray[np.int64]) -> NDArray[np.uint64]:
    """At least the next 57 bits from each bit `position`, in the upper bits."""
    byte = np.minimum(position >> 3, len(words) - 1)
    bits: NDArray[np.uint64] = words[byte].astype(np.uint64)
    bits <<= position.view(np.uint64) & 7
    return bits


@cache
def _table() -> NDArray[np.int32]:
    """The entry for each state and the next 16 bits; 0 if the code is longer. 2 MiB, made in 20 ms."""
    state, bits = np.divmod(np.arange(8 << 16), 1 << 16)
    code, length = _read_codes(bits << 16, state >> 1)
    difference, next_state = _follow(code, state)
    entry = difference << DIFFERENCE_SHIFT | next_state << 16 | length
    return np.where(length <= 16, entry, 0).astype(np.int32)


def _follow(
    code: NDArray[np.int64], state: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The difference that `code` encodes in `state`, and the next state."""
    is_negative = np.where(code > 0, (state ^ code) & 1, 0)
    difference = (code + 1 >> 1) * (1 - 2 * is_negative)
    return difference, NEXT_BOOK[np.minimum(code, 6)] << 1 | is_negative


def _read_codes(
    window: NDArray[np.int64], book: NDArray[np.integer] | int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Value and length of the code at the top of `window`, 32 bits of data."""
    last_quotient, rice_order, _ = CODEBOOKS[book].T
    n_zeros = _count_zeros(window)
    n_bits = n_zeros + 1 + rice_order
    rest = window >> np.maximum(MAX_CODE_BITS - n_bits, 0) & ((1 << rice_order) - 1)
    rice = n_zeros << rice_order | rest
    golomb, n_golomb_bits = _read_golomb(window, book)
    is_rice = n_zeros <= last_quotient
    return np.where(is_rice, rice, golomb), np.where(is_rice, n_bits, n_golomb_bits)


def _read_golomb(
    window: NDArray[np.int64], book: NDArray[np.integer] | int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As `_read_codes`, for codes with more leading zeros than Rice codes have."""
    n_bits = 2 * _count_zeros(window) + GOLOMB_EXCESS_BITS[book]
    code = np.maximum((window >> np.maximum(MAX_CODE_BITS - n_bits, 0)) + GOLOMB_OFFSET[book], 0)
    return code, np.where(n_bits < MAX_CODE_BITS, n_bits, INVALID_LENGTH)


def _count_zeros(window: NDArray[np.int64]) -> NDArray[np.int64]:
    """Leading zeros of `window`, 32 bits of data."""
    n_zeros: NDArray[np.int64] = MAX_CODE_BITS - np.frexp(window)[1].astype(np.int64)
    return n_zeros
