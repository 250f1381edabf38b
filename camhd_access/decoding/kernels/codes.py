"""The codebooks of ProRes 4:2:2, as tables (SMPTE RDD 36, section 7.1).

All coefficients use one kind of code: a Rice code of a few bits, which becomes an
exponential-Golomb code if the value is large. A *codebook* defines the switch-over and the orders of both;
it is chosen by the previous values. `CODES` decodes one code of any book, by its leading zeros. `PAIRS`
decodes a whole run, level and sign in one look-up if they fit into `LOOKUP_BITS` bits, as 19 of 20 do. Of the
others it decodes the run first, then level and sign; 1 of 80 has a code that is longer still.
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
    "LEVEL_STATES",
    "LOOKUP_BITS",
    "MAX_RUN",
    "MOVES",
    "N_STATES",
    "PAIRS",
    "PLACE_MASK",
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
"""Bits per look-up. With more, fewer codes are longer, but the table needs more of the cache."""
MOVES: Final = 1 << 6
"""Set in an entry of `PAIRS` if anything is read."""
STATE_MASK: Final = 127 << LOOKUP_BITS
PLACE_SHIFT, PLACE_MASK, LEVEL_SHIFT = 17, 126, 24
"""Other parts of an entry; the lowest bit of the places is always 0, and belongs to the state."""

N_STATES: Final = len(RUN_BOOKS) * len(LEVEL_BOOKS)
"""Before a pair, the state is given by the books of its run and its level. As many states follow a run that
was read without its level; they are given by the books of the next run and of this level."""
LEVEL_STATES: Final = N_STATES << LOOKUP_BITS
"""The first state after such a run."""
FIRST_STATE: Final = (2 * len(LEVEL_BOOKS) + 1) << LOOKUP_BITS
"""The state of a slice's first pair: that after a run of 4 and a level of 2."""
MAX_RUN: Final = PLACE_MASK // 2 - 1
"""The longest run in the table."""
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
    * 2
)
"""By state: start in `CODES` of its books of runs and of levels."""


def _read(bits: Ints, book: Book) -> tuple[Ints, Ints]:
    """Value and length of the code at the top of `LOOKUP_BITS` bits; both 0 if it is longer."""
    n_zeros = LOOKUP_BITS - np.frexp(bits)[1]
    length, offset = np.array([_code(book, n) for n in range(LOOKUP_BITS + 1)]).T[:, n_zeros]
    fits = (bits > 0) & (length <= LOOKUP_BITS)
    value = (bits >> np.maximum(LOOKUP_BITS - length, 0)) + offset
    return np.where(fits, value, 0), np.where(fits, length, 0)


def _entries(length: Ints, state: Ints, n_places: Ints | int, level: Ints | int) -> Ints:
    places = 2 * n_places << PLACE_SHIFT
    return length | MOVES | state << LOOKUP_BITS | places | level << LEVEL_SHIFT


def _levels(bits: Ints, book: Book, n_read: Ints | int, after_run: Ints | int, n_places: Ints | int) -> Ints:
    """Entries that end with a level, after `n_read` bits of a run; 0 if it does not fit."""
    value, n_bits = _read(bits << n_read & (1 << LOOKUP_BITS) - 1, book)
    level, length = value + 1, n_read + n_bits + 1
    is_negative = bits >> np.maximum(LOOKUP_BITS - length, 0) & 1
    state = after_run * len(LEVEL_BOOKS) + AFTER_LEVEL[np.minimum(level, 9)]
    entries = _entries(length, state, n_places, np.where(is_negative, -level, level))
    return np.where((n_bits > 0) & (length <= LOOKUP_BITS) & (level <= 127), entries, 0)


def _pairs() -> NDArray[np.int32]:
    bits, n_books = np.arange(1 << LOOKUP_BITS), len(LEVEL_BOOKS)
    table = np.zeros((2, N_STATES, 1 << LOOKUP_BITS), np.int64)
    for i, run_book in enumerate(RUN_BOOKS):
        run, n_bits = _read(bits, run_book)
        fits, after_run = (n_bits > 0) & (run <= MAX_RUN), AFTER_RUN[np.minimum(run, 15)]
        for j, level_book in enumerate(LEVEL_BOOKS):
            state = i * n_books + j
            pairs = _levels(bits, level_book, n_bits, after_run, run + 1)
            runs = _entries(n_bits, N_STATES + after_run * n_books + j, run + 1, 0)
            table[0, state] = fits * np.where(pairs, pairs, runs)
            table[1, state] = _levels(bits, level_book, 0, i, 0)
    states = np.arange(2 * N_STATES).reshape(2, N_STATES, 1)
    return np.where(table, table, states << LOOKUP_BITS).ravel().astype(np.int32)


PAIRS: Final = _pairs()
"""By state and the next `LOOKUP_BITS` bits: bits 0 to 5 are the length of what is read, then come `MOVES` and
the next state, from `PLACE_SHIFT` the bytes to advance, and from `LEVEL_SHIFT` the signed level, 0 for a run
without its level. If the next code does not fit, the entry only leads back to its own state. Made in 20 ms,
590 kB."""
