"""The DC coefficients of many slices at once.

In a slice, the DC coefficients of all blocks of a plane stand before all others, each as a variable-length
code of its difference from the block before. The codes of one slice must be read one after the other, but
slices do not depend on each other: so all of them are read in lockstep, one array operation for the same code
of every slice.

Reading a code takes one look into a table. Its index is the state of the decoder (which of four codebooks is
due, and the sign of the last difference) and the next 16 bits; its entry packs the difference, the next state
and the length of the code. The few codes longer than 16 bits have no entry and are worked out.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from camhd_access.errors import FrameDecodeError

__all__ = ["PADDING_BYTES", "decode_dc"]

MAX_CODE_BITS: Final = 32
PADDING_BYTES: Final = 32 * MAX_CODE_BITS // 8 + 8
"""Bytes that must follow the data: so far astray can a damaged slice lead in its 32 blocks."""

CODEBOOKS: Final = np.array([(0, 0, 1), (0, 1, 2), (1, 2, 3), (0, 3, 4), (0, 5, 6)])
"""Last quotient of the Rice codes, order of the Rice codes, order of the exp-Golomb codes. The last book is
for the first coefficient of a plane."""
NEXT_BOOK: Final = np.array([0, 1, 1, 2, 2, 3, 3])
"""The codebook after a code of 0, 1, … 6 or more."""
FIRST_BOOK, SECOND_BOOK = 4, 3

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
    SMPTE RDD 36, sections 7.1.1 (variable-length codes) and 7.1.2 (DC coefficients). Costs some 12 array
    operations for each block of the largest slice.
    """
    words = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))
    position = start * 8
    code, length = _read_codes(_next_bits(words, position), FIRST_BOOK)
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
    entry = _table().take((bits >> 48).astype(np.int64) | state)
    np.right_shift(entry, DIFFERENCE_SHIFT, out=out)
    length = entry & LENGTH_MASK
    if not length.all():
        long = np.flatnonzero(length == 0)
        out[long], entry[long], length[long] = _read_differences(bits[long], state[long] >> 16)
    position += length
    return entry


def _next_bits(words: NDArray[np.uint64], position: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The next 57 bits and more from each bit `position`, in the upper bits."""
    bits: NDArray[np.uint64] = words[position >> 3].byteswap(inplace=True)
    bits <<= (position & 7).astype(np.uint64)
    return bits


@cache
def _table() -> NDArray[np.int32]:
    """What each state and the next 16 bits lead to; 0 where the code is longer. 2 MiB, made in 20 ms."""
    state, bits = np.divmod(np.arange(8 << 16), 1 << 16)
    difference, next_entry, length = _read_differences((bits << 48).astype(np.uint64), state)
    entry = difference << DIFFERENCE_SHIFT | next_entry | length
    return np.where(length <= 16, entry, 0).astype(np.int32)


def _read_differences(
    bits: NDArray[np.uint64], state: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Difference, table entry with the next state alone, and length of the code at the top of `bits`."""
    code, length = _read_codes(bits, state >> 1)
    is_negative = np.where(code > 0, (state ^ code) & 1, 0)
    difference = (code + 1 >> 1) * (1 - 2 * is_negative)
    return difference, NEXT_BOOK[np.minimum(code, 6)] << 17 | is_negative << 16, length


def _read_codes(
    bits: NDArray[np.uint64], book: NDArray[np.integer] | int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Value and length of the code at the top of `bits`, by the rule: leading zeros tell the kind."""
    last_quotient, rice_order, golomb_order = CODEBOOKS[book].T
    window = (bits >> MAX_CODE_BITS).astype(np.int64)
    n_zeros = np.minimum(MAX_CODE_BITS - np.frexp(window.astype(np.float64))[1], 15)
    is_rice = n_zeros <= last_quotient
    n_rice = n_zeros + 1 + rice_order
    n_golomb = np.minimum(2 * n_zeros + golomb_order - last_quotient, MAX_CODE_BITS)
    rice = n_zeros << rice_order | window >> (MAX_CODE_BITS - n_rice) & ((1 << rice_order) - 1)
    golomb = (window >> (MAX_CODE_BITS - n_golomb)) - (1 << golomb_order) + (last_quotient + 1 << rice_order)
    return np.maximum(np.where(is_rice, rice, golomb), 0), np.where(is_rice, n_rice, n_golomb)
