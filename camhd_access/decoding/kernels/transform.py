"""From coefficients to the pixels of blocks: dequantisation and the inverse transform (RDD 36, 7.3 and 7.4).

Sixteen blocks go through every step side by side, one in each lane of a vector; only the last step
transposes them, and writes their pixels where they belong. The arithmetic is that of libavcodec's 10-bit
inverse transform, bit-exact; RDD 36 leaves the last bit undefined. Reduced frames use only the 4x4 or 2x2 low
frequencies, with an inverse transform of that size, or the DC coefficient, which is the mean of a block.

Coefficients and pixels are int16; sums of two products are int32, for which processors have an instruction.
Rows of a block after the last coefficient of a slice are zeros, and cost nothing.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Self

from llvmlite import ir

from camhd_access.decoding.kernels.machine import (
    Builder,
    Value,
    address_of,
    clear_bytes,
    copy_bytes,
    has_feature,
    i64,
    kernel,
    load_i64,
    load_u8,
    operation,
    vector,
    void,
)
from camhd_access.decoding.kernels.parameters import H1, H2, H3, HALF, HIGHEST, LOWEST

__all__ = ["BLOCKS_AT_ONCE", "Lanes", "multiply_add", "show_blocks"]

BLOCKS_AT_ONCE = 16
VECTOR_BYTES = 2 * BLOCKS_AT_ONCE

BYTES, NARROW, WIDE, HALF_WIDE = (vector(8, 64), vector(16, 16), vector(32, 16), vector(32, 8))
SHORT, WORD, INT = ir.IntType(16), ir.IntType(64), ir.IntType(32)

C1, C2, C3, C4, C5, C6, C7 = 22725, 21407, 19265, 16384, 12873, 8867, 4520
"""sqrt(2) cos(k pi / 16) times 2 ** 14."""
ANY = -32768, 32767

PIXELS, FACTORS, ASIDE = 64 * VECTOR_BYTES, 128 * VECTOR_BYTES, 132 * VECTOR_BYTES
"""Working memory: [place in the block][block] after the rows and after the columns, the factors of
coefficients [place], and lines of pixels of a narrow slice."""
ASIDE_BYTES = 8 * BLOCKS_AT_ONCE
"""Bytes from line to line of these."""


class Lanes:
    """A vector of integers with operators, so that arithmetic reads like arithmetic."""

    def __init__(self, b: Builder, value: Value) -> None:
        self.b, self.value = b, value

    def _with(self, emit: Callable[..., Value], other: Self | int) -> "Lanes":
        n = self.value.type.count
        value = self.value.type([other] * n) if isinstance(other, int) else other.value
        return Lanes(self.b, emit(self.value, value))

    def __add__(self, other: Self | int) -> "Lanes":
        return self._with(self.b.add, other)

    def __sub__(self, other: Self | int) -> "Lanes":
        return self._with(self.b.sub, other)

    def __mul__(self, other: Self | int) -> "Lanes":
        return self._with(self.b.mul, other)

    def __rshift__(self, n: int) -> "Lanes":
        return self._with(self.b.ashr, n)

    def clip(self, low: int, high: int) -> "Lanes":
        """Each number, clipped to these bounds."""
        return self.at_least(low).at_most(high)

    def at_least(self, low: int) -> "Lanes":
        """Each number, or `low` if it is less."""
        return self._with(lambda x, y: self.b.select(self.b.icmp_signed("<", x, y), y, x), low)

    def at_most(self, high: int) -> "Lanes":
        """Each number, or `high` if it is more."""
        return self._with(lambda x, y: self.b.select(self.b.icmp_signed(">", x, y), y, x), high)


def _shuffle(b: Builder, v: Value, w: Value, order: Sequence[int]) -> Value:
    return b.shuffle_vector(v, w, vector(32, len(order))(list(order)))


def _interleave(b: Builder, v: Value, w: Value) -> list[Value]:
    """Blocks of two vectors in turns: 0 to 3 and 8 to 11 of both, and the others."""
    return [
        _shuffle(b, v, w, [k + half + 16 * which for k in (0, 1, 2, 3, 8, 9, 10, 11) for which in (0, 1)])
        for half in (0, 4)
    ]


def multiply_add(b: Builder, pairs: Value, others: Value) -> Value:
    """The products of 16 int16 with 16 others, each two of them added: one instruction of AVX2."""
    kind = ir.FunctionType(HALF_WIDE, [NARROW, NARROW])
    return b.call(b.module.declare_intrinsic("llvm.x86.avx2.pmadd.wd", (), kind), [pairs, others])


def _sum_of_products(b: Builder, pairs: Value, factors: tuple[int, int]) -> Lanes:
    """Each pair of int16, times these factors, and added."""
    if has_feature("avx2"):
        return Lanes(b, multiply_add(b, pairs, NARROW(list(factors) * 8)))
    first, second = (
        Lanes(b, b.sext(_shuffle(b, pairs, pairs, range(which, 16, 2)), HALF_WIDE)) for which in (0, 1)
    )
    return first * factors[0] + second * factors[1]


def _load(b: Builder, base: Value, n: int = 0) -> Value:
    return b.load(address_of(b, base, WORD(n * VECTOR_BYTES), NARROW), align=2)


def _store(b: Builder, value: Value, base: Value, n: int = 0) -> None:
    b.store(value, address_of(b, base, WORD(n * VECTOR_BYTES), value.type), align=2)


def _transform8(pair: Callable[[int, int, int, int], Lanes], bias: int) -> list[Lanes]:
    """Eight numbers from eight; `pair(i, j, f, g)` is number i times f and number j times g, added."""
    even, odd = pair(0, 4, C4, C4) + bias * C4, pair(0, 4, C4, -C4) + bias * C4
    g, h = pair(2, 6, C2, C6), pair(2, 6, C6, -C2)
    a = even + g, odd + h, odd - h, even - g
    e = (
        pair(1, 3, C1, C3) + pair(5, 7, C5, C7),
        pair(1, 3, C3, -C7) + pair(5, 7, -C1, -C5),
        pair(1, 3, C5, -C1) + pair(5, 7, C7, C3),
        pair(1, 3, C7, -C5) + pair(5, 7, C3, -C1),
    )
    return [x + y for x, y in zip(a, e, strict=True)] + [x - y for x, y in zip(a[::-1], e[::-1], strict=True)]


def _transform4(pair: Callable[[int, int, int, int], Lanes], bias: int) -> list[Lanes]:
    """Four numbers from four."""
    a = pair(0, 2, H2, H2) + bias * H2, pair(0, 2, H2, -H2) + bias * H2
    e = pair(1, 3, H1, H3), pair(1, 3, H3, -H1)
    return [a[0] + e[0], a[1] + e[1], a[1] - e[1], a[0] - e[0]]


def _transform(
    b: Builder, c: Sequence[Value], transform: Callable[..., list[Lanes]], bias: int, shift: int
) -> list[Lanes]:
    """One row or one column of 16 blocks, as int16; `bias` is added to the first coefficient."""
    interleaved: dict[tuple[int, int], list[Value]] = {}

    def half(which: int) -> list[Lanes]:
        def pair(i: int, j: int, f: int, g: int) -> Lanes:
            if (i, j) not in interleaved:
                interleaved[i, j] = _interleave(b, c[i], c[j])
            return _sum_of_products(b, interleaved[i, j][which], (f, g))

        return [value >> shift for value in transform(pair, bias)]

    joined = (
        _shuffle(b, x.value, y.value, [k + n for k in (0, 4) for n in (0, 1, 2, 3, 8, 9, 10, 11)])
        for x, y in zip(half(0), half(1), strict=True)
    )
    return [Lanes(b, b.trunc(Lanes(b, value).clip(*ANY).value, NARROW)) for value in joined]


def _splat(b: Builder, number: Value, kind: ir.VectorType) -> Value:
    one = b.insert_element(kind(ir.Undefined), number, INT(0))
    return b.shuffle_vector(one, kind(ir.Undefined), vector(32, kind.count)([0] * kind.count))


def _read_row(
    b: Builder, memory: Value, source: Value, stride: Value, scan: Value, y: Value, n: int
) -> list[Value]:
    """The first `n` coefficients of row `y` of 16 blocks, times their factors."""
    found = []
    for x in range(n):
        place = b.add(b.mul(y, WORD(8)), WORD(x))
        position = b.load(address_of(b, scan, b.mul(place, WORD(8)), WORD), align=8)
        coefficients = b.load(address_of(b, source, b.mul(position, stride), NARROW), align=2)
        factor = b.load(address_of(b, memory, b.add(b.mul(place, WORD(2)), WORD(FACTORS)), SHORT), align=2)
        found.append(b.mul(coefficients, _splat(b, factor, NARROW)))
    return found


def _make_rows(size: int, transform: Callable[..., list[Lanes]], shift: int) -> Any:  # noqa: ANN401 - numba's
    """Row `y` of 16 blocks; `source` has a position of the scan every `stride` bytes."""

    @operation(void, i64, i64, i64, i64, i64)
    def rows(b: Builder, memory: Value, source: Value, stride: Value, scan: Value, y: Value) -> None:
        c = _read_row(b, memory, source, stride, scan, y, size)
        target = b.add(memory, b.mul(y, WORD(8 * VECTOR_BYTES)))
        for x, value in enumerate(_transform(b, c, transform, 1, shift)):
            _store(b, value.value, target, x)

    return rows


def _make_columns(size: int, transform: Callable[..., list[Lanes]], shift: int) -> Any:  # noqa: ANN401 - numba's
    """Column `x` of 16 blocks."""

    @operation(void, i64, i64)
    def columns(b: Builder, memory: Value, x: Value) -> None:
        column = b.add(memory, b.mul(x, WORD(VECTOR_BYTES)))
        c = [_load(b, column, 8 * y) for y in range(size)]
        for y, value in enumerate(_transform(b, c, transform, (HALF << 4) + 8, shift)):
            _store(b, value.clip(LOWEST, HIGHEST).value, column, PIXELS // VECTOR_BYTES + 8 * y)

    return columns


rows8, columns8 = _make_rows(8, _transform8, 15), _make_columns(8, _transform8, 18)
rows4, columns4 = _make_rows(4, _transform4, 13), _make_columns(4, _transform4, 16)


@operation(void, i64, i64)
def empty_row(b: Builder, memory: Value, y: Value) -> None:
    """A row without coefficients, before the columns."""
    for x in range(8):
        _store(b, NARROW(None), b.add(memory, b.mul(y, WORD(8 * VECTOR_BYTES))), x)


@operation(void, i64, i64, i64, i64)
def transform2(b: Builder, memory: Value, source: Value, stride: Value, scan: Value) -> None:
    """Two lines of two pixels of 16 blocks: sums and differences of four coefficients."""
    c, d = (
        [Lanes(b, b.sext(v, WIDE)) for v in _read_row(b, memory, source, stride, scan, WORD(y), 2)]
        for y in (0, 1)
    )
    middle = (HALF << 5) + 16
    upper, lower = (c[0] + c[1] + middle, c[0] - c[1] + middle), (d[0] + d[1], d[0] - d[1])
    for x, (u, v) in enumerate(zip(upper, lower, strict=True)):
        for y, value in enumerate((u + v, u - v)):
            pixels = b.trunc((value >> 5).clip(LOWEST, HIGHEST).value, NARROW)
            _store(b, pixels, memory, PIXELS // VECTOR_BYTES + 8 * y + x)


@operation(void, i64, i64, i64)
def transform1(b: Builder, memory: Value, source: Value, factor: Value) -> None:
    """One pixel of 16 blocks: the DC coefficient."""
    c = Lanes(b, b.sext(_load(b, source), WIDE)) * Lanes(b, _splat(b, b.trunc(factor, INT), WIDE))
    pixels = b.trunc(((c + ((HALF << 5) + 16)) >> 5).clip(LOWEST, HIGHEST).value, NARROW)
    _store(b, pixels, memory, PIXELS // VECTOR_BYTES)


@operation(void, i64, i64, i64)
def make_factors(b: Builder, memory: Value, weights: Value, scale: Value) -> None:
    """The factors of all coefficients of a block, by place: uint8 [64] times `scale`, in 16 bits."""
    wide = vector(16, 64)
    factors = b.mul(
        b.zext(b.load(address_of(b, weights, WORD(0), BYTES), align=1), wide),
        _splat(b, b.trunc(scale, SHORT), wide),
    )
    b.store(factors, address_of(b, memory, WORD(FACTORS), wide), align=2)


def _write(b: Builder, pixels: Value, to: Value) -> None:
    """Write eight pixels."""
    b.store(pixels, address_of(b, to, WORD(0), pixels.type), align=2)


def _add(b: Builder, pixels: Value, to: Value) -> None:
    """Add eight pixels to sums of 16 bits."""
    sums = address_of(b, to, WORD(0), pixels.type)
    b.store(b.add(b.load(sums, align=2), pixels), sums, align=2)


def _make_place(side: int, across: int, put: Callable[[Builder, Value, Value], None] = _write) -> Any:  # noqa: ANN401 - numba's
    """Put line `y` of 16 blocks of `side` x `side` pixels into two lines of their macroblocks."""

    @operation(void, i64, i64, i64, i64)
    def place(b: Builder, memory: Value, y: Value, upper: Value, lower: Value) -> None:
        line = b.add(memory, b.mul(y, WORD(8 * VECTOR_BYTES)))
        v = [_load(b, line, PIXELS // VECTOR_BYTES + x) for x in range(side)]
        n, middle = 1, side // 2
        while n < side:  # transpose: eight pixels, of one or several blocks, get next to each other
            v = [each for k in range(middle) for each in _interleave(b, v[k], v[k + middle])]
            n *= 2
        in_vector = 8 // side  # blocks, twice
        for half, to in enumerate((upper, lower)):
            blocks = [k for k in range(BLOCKS_AT_ONCE) if k // across % 2 == half]
            pixels = [
                (k % 8 // in_vector, k // 8 * 8 + k % in_vector * side + p)
                for k, p in product(blocks, range(side))
            ]
            for chunk in range(side):
                sources = pixels[8 * chunk : 8 * chunk + 8]
                first, last = sources[0][0], sources[-1][0]
                order = [lane + (0 if which == first else BLOCKS_AT_ONCE) for which, lane in sources]
                put(b, _shuffle(b, v[first], v[last], order), b.add(to, WORD(16 * chunk)))

    return place


places = {(side, across): _make_place(side, across) for side in (8, 4, 2, 1) for across in (2, 1)}
luma8, luma4, luma2, luma1 = (places[side, 2] for side in (8, 4, 2, 1))
chroma8, chroma4, chroma2, chroma1 = (places[side, 1] for side in (8, 4, 2, 1))
luma8_sums = _make_place(8, 2, _add)


@kernel
def show_blocks(
    coefficients: int, n_set: int, memory: int, scan: int, weights: int, scale: int, n_blocks: int,
    reduce: int, across: int, target: int, line_bytes: int, adds: bool,
) -> None:  # fmt: skip
    """Write the pixels of a plane of a slice, and set its coefficients to 0.

    Parameters
    ----------
    coefficients
        int16 [position in the scan][block].
    n_set
        Number of the last that may not be 0, and 1 more.
    memory
        `BLOCKS_BYTES`.
    scan
        int64 [64], the position in the scan of each place in a block, and [8], the first in each row.
    weights, scale
        uint8 [64], the quantisation matrix, and the factor of all weights.
    n_blocks
        Blocks, 32 at most.
    reduce
        1, 2, 4 or 8: blocks of 8, 4, 2 or 1 lines and pixels.
    across
        Blocks of a macroblock side by side: 2 of luma, 1 of chroma. There are always 2, one above the other.
    target, line_bytes
        Address of the first pixel, and bytes from line to line.
    adds
        Add the pixels of whole blocks, 16 or more, to sums of 16 bits there, instead of writing them.
    """
    is_narrow = n_blocks < BLOCKS_AT_ONCE
    if is_narrow:
        shown, shown_bytes = memory + ASIDE, ASIDE_BYTES
    else:
        shown, shown_bytes = target, line_bytes
    side, n_used, stride = 8 // reduce, -(-n_set // n_blocks), 2 * n_blocks
    make_factors(memory, weights, scale)
    for block in range(0, n_blocks, BLOCKS_AT_ONCE):
        source = coefficients + 2 * block
        if reduce == 1:
            for y in range(8):
                if load_i64(scan, 64 + y) < n_used:
                    rows8(memory, source, stride, scan, y)
                else:
                    empty_row(memory, y)
            for x in range(8):
                columns8(memory, x)
        elif reduce == 2:
            for y in range(4):
                rows4(memory, source, stride, scan, y)
            for x in range(4):
                columns4(memory, x)
        elif reduce == 4:
            transform2(memory, source, stride, scan)
        else:
            transform1(memory, source, load_u8(weights, 0) * scale)
        for y in range(side):
            upper = shown + block * side + y * shown_bytes
            lower = upper + side * shown_bytes
            if across == 2:
                if adds:
                    luma8_sums(memory, y, upper, lower)
                elif reduce == 1:
                    luma8(memory, y, upper, lower)
                elif reduce == 2:
                    luma4(memory, y, upper, lower)
                elif reduce == 4:
                    luma2(memory, y, upper, lower)
                else:
                    luma1(memory, y, upper, lower)
            elif reduce == 1:
                chroma8(memory, y, upper, lower)
            elif reduce == 2:
                chroma4(memory, y, upper, lower)
            elif reduce == 4:
                chroma2(memory, y, upper, lower)
            else:
                chroma1(memory, y, upper, lower)
    if is_narrow:
        for line in range(2 * side):
            copy_bytes(target + line * line_bytes, shown + line * ASIDE_BYTES, n_blocks * side)
    clear_bytes(coefficients, 2 * n_set)
