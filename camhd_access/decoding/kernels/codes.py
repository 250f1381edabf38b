"""The codebooks of ProRes 4:2:2, as tables (SMPTE RDD 36, section 7.1).

All coefficients use one kind of code: a Rice code of a few bits, which becomes an
exponential-Golomb code if the value is large. A *codebook* defines the switch-over and the orders of both;
it is chosen by the previous values. `CODES` decodes one code of any book, by its leading zeros. `PAIRS`
decodes a whole run, level and sign in one look-up if they fit into `LOOKUP_BITS` bits, as nine of ten do.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AFTER_DC",
    "AFTER_LEVEL",
    "AFTER_RUN",
    "CODES",
    "FIRST_DC",
    "FIRST_STATE",
    "INVALID",
    "LEVEL_SHIFT",
    "LOOKUP_BITS",
    "MAX_RUN",
    "N_STATES",
    "PAIRS",
    "PARKED",
    "PLACE_SHIFT",
    "SECOND_DC",
    "STATE_BOOKS",
    "STATE_MASK",
]

Ints = NDArray[np.integer]
Book = tuple[int, int, int]
"""Last quotient of the Rice codes, order of the Rice codes, order of the exponential-Golomb codes."""

RUN_BOOKS: Final[list[Book]] = [(2, 0, 1), (1, 0, 1), (0, 0, 1), (1, 1, 2), (0, 1, 2), (0, 2, 3)]
LEVEL_BOOKS: Final[list[Book]] = [(2, 0, 2), (1, 0, 1), (2, 0, 1), (0, 0, 1), (0, 1, 2), (0, 2, 3)]
DC_BOOKS: Final[list[Book]] = [(0, 5, 6), (0, 0, 1), (0, 1, 2), (1, 2, 3), (0, 3, 4)]
"""The first is for the first DC coefficient of a slice, the others are for the differences after it."""
BOOKS: Final = RUN_BOOKS + LEVEL_BOOKS + DC_BOOKS
N_ZEROS: Final = 64
"""Leading zeros that are distinguished."""

AFTER_RUN: Final = np.array([0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 5])
"""The run book after a run of 0, 1, … 15 or more."""
AFTER_LEVEL: Final = np.array([0, 0, 1, 2, 3, 4, 4, 4, 4, 5])
"""The level book after an absolute level of 0, 1, … 9 or more."""
AFTER_DC: Final = np.array([13, 14, 14, 15, 15, 16, 16]) * N_ZEROS
"""Start in `CODES` of the book after a DC code of 0, 1, … 6 or more."""
FIRST_DC: Final = 12 * N_ZEROS
SECOND_DC: Final = int(AFTER_DC[5])

LOOKUP_BITS: Final = 11
"""Bits per look-up. With 10, twice as many pairs are longer, but the table needs half the cache."""
PLACE_SHIFT, LEVEL_SHIFT, STATE_MASK = 16, 24, 63 << LOOKUP_BITS
"""Position of the parts of an entry of `PAIRS`."""
N_STATES: Final = len(RUN_BOOKS) * len(LEVEL_BOOKS)
FIRST_STATE: Final = (2 * len(LEVEL_BOOKS) + 1) << LOOKUP_BITS
"""The state of a slice's first pair: that after a run of 4 and a level of 2."""
PARKED: Final = N_STATES << LOOKUP_BITS
"""A state whose entries are all 0: nothing is read in it."""
MAX_RUN: Final = 64
"""Limit for the number of coefficients that one look-up advances."""
MAX_CODE_BITS: Final = 31
INVALID: Final = 1 << 52
"""Added to the value of a code that is too long, so that the position is far outside the slice."""


def _code(book: Book, n_zeros: int) -> tuple[int, int]:
    """Length of the code with this many leading zeros, and the offset from its bits to its value."""
    last, rice, golomb = book
    if n_zeros <= last:
        return n_zeros + 1 + rice, (n_zeros << rice) - (1 << rice)
    length = 2 * n_zeros + golomb - last
    if length > MAX_CODE_BITS:
        return MAX_CODE_BITS, INVALID
    return length, (last + 1 << rice) - (1 << golomb)


CODES: Final = np.array(
    [
        64 - length | offset << 6
        for book in BOOKS
        for length, offset in (_code(book, n_zeros) for n_zeros in range(N_ZEROS))
    ]
)
"""By book and leading zeros: 64 - length in bits 0 to 5, above them the offset from bits to value."""

STATE_BOOKS: Final = np.array(
    [
        (run * N_ZEROS, (len(RUN_BOOKS) + level) * N_ZEROS)
        for run in range(len(RUN_BOOKS))
        for level in range(len(LEVEL_BOOKS))
    ]
)
"""By state: start in `CODES` of its books of runs and of levels."""


def _read(bits: Ints, book: Book) -> tuple[Ints, Ints]:
    """Value and length of the code at the top of `LOOKUP_BITS` bits; both 0 if it is longer."""
    n_zeros = LOOKUP_BITS - np.frexp(bits)[1]
    length, offset = np.array([_code(book, n) for n in range(LOOKUP_BITS + 1)]).T[:, n_zeros]
    fits = (bits > 0) & (length <= LOOKUP_BITS)
    value = (bits >> np.maximum(LOOKUP_BITS - length, 0)) + offset
    return np.where(fits, value, 0), np.where(fits, length, 0)


def _pairs() -> NDArray[np.uint32]:
    bits = np.arange(1 << LOOKUP_BITS)
    table = np.zeros((N_STATES + 1, 1 << LOOKUP_BITS), np.uint32)
    for i, run_book in enumerate(RUN_BOOKS):
        run, run_length = _read(bits, run_book)
        for j, level_book in enumerate(LEVEL_BOOKS):
            level, level_length = _read(bits << run_length & (1 << LOOKUP_BITS) - 1, level_book)
            level, length = level + 1, run_length + level_length + 1
            fits = (run_length > 0) & (level_length > 0) & (length <= LOOKUP_BITS) & (level <= 127)
            state = AFTER_RUN[np.minimum(run, 15)] * len(LEVEL_BOOKS) + AFTER_LEVEL[np.minimum(level, 9)]
            is_negative = bits >> np.maximum(LOOKUP_BITS - length, 0) & 1
            signed = np.where(is_negative, -level, level) & 255
            entry = length | state << LOOKUP_BITS | 2 * (run + 1) << PLACE_SHIFT | signed << LEVEL_SHIFT
            table[i * len(LEVEL_BOOKS) + j] = np.where(fits, entry, 0)
    return table.ravel()


PAIRS: Final = _pairs()
"""By state and the next `LOOKUP_BITS` bits: length in bits 0 to 5 (0 if it is longer), the next state,
bytes to advance from `PLACE_SHIFT`, the signed level from `LEVEL_SHIFT`. Made in 20 ms, 303 kB."""
