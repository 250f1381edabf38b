"""From coefficients to the pixels of blocks: dequantisation and the inverse transform (RDD 36, 7.3 and 7.4).

Sixteen blocks go through every step side by side, one in each lane of a vector, so nothing is shuffled before
the pixels are stored. The arithmetic is that of libavcodec's 10-bit inverse transform, bit-exact; RDD 36
leaves the last bit undefined. Reduced frames use only the 4x4 or 2x2 low frequencies, with
an inverse transform of that size, or the DC coefficient, which is the mean of a block.

Memory, all of it int16: dequantised coefficients [position in the block][block], the same after the rows are
done, and lines of pixels [line][block][pixel].
"""

from collections.abc import Callable, Sequence
from typing import Any, Self

from llvmlite import ir

from camhd_access.decoding.kernels.machine import (
    Builder,
    Value,
    address_of,
    i64,
    kernel,
    load_i64,
    load_u8,
    load_u16,
    operation,
    store_i16,
    vector,
    void,
)
from camhd_access.decoding.kernels.parameters import PLANE_BYTES

__all__ = ["BLOCKS_AT_ONCE", "MAX_BLOCKS", "Lanes", "block_lines"]

BLOCKS_AT_ONCE = 16
MAX_BLOCKS = 32
"""Blocks of a plane of a slice: four in each of eight macroblocks."""

NARROW, WIDE, WORDS = (vector(bits, BLOCKS_AT_ONCE) for bits in (16, 32, 64))
WORD = ir.IntType(64)

C1, C2, C3, C4, C5, C6, C7 = 22725, 21407, 19265, 16384, 12873, 8867, 4520
"""sqrt(2) cos(k pi / 16) times 2 ** 14."""
H1, H2, H3 = 5352, 4096, 2217
"""sqrt(2) cos(k pi / 8) times 2 ** 12."""

LOWEST, HIGHEST = 4, 1019
"""Codes that pixels may have (RDD 36, 7.5.1)."""
ANY = -32768, 32767


class Lanes:
    """A vector of int32 with operators, so that arithmetic reads like arithmetic."""

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


def _place(b: Builder, base: Value, index: Value, n: int, kind: ir.Type) -> Value:
    """Pointer to the lanes at a position in the block, `n` positions after `index`, which counts int16."""
    return address_of(b, base, b.mul(b.add(index, WORD(n * MAX_BLOCKS)), WORD(2)), kind)


def _read(b: Builder, source: Value, index: Value, step: int, n: int) -> list[Lanes]:
    loads = (b.load(_place(b, source, index, k * step, NARROW), align=2) for k in range(n))
    return [Lanes(b, b.sext(value, WIDE)) for value in loads]


def _transform8(c: Sequence[Lanes]) -> list[Lanes]:
    """Eight pixels from eight coefficients."""
    even, odd = c[0] * C4 + c[4] * C4, c[0] * C4 - c[4] * C4
    g, h = c[2] * C2 + c[6] * C6, c[2] * C6 - c[6] * C2
    a = even + g, odd + h, odd - h, even - g
    e = (
        c[1] * C1 + c[3] * C3 + c[5] * C5 + c[7] * C7,
        c[1] * C3 - c[3] * C7 - c[5] * C1 - c[7] * C5,
        c[1] * C5 - c[3] * C1 + c[5] * C7 + c[7] * C3,
        c[1] * C7 - c[3] * C5 + c[5] * C3 - c[7] * C1,
    )
    return [x + y for x, y in zip(a, e, strict=True)] + [x - y for x, y in zip(a[::-1], e[::-1], strict=True)]


def _transform4(c: Sequence[Lanes]) -> list[Lanes]:
    """Four pixels from four coefficients."""
    a = (c[0] + c[2]) * H2, (c[0] - c[2]) * H2
    e = c[1] * H1 + c[3] * H3, c[1] * H3 - c[3] * H1
    return [a[0] + e[0], a[1] + e[1], a[1] - e[1], a[0] - e[0]]


def _make_pass(
    transform: Callable[[Sequence[Lanes]], list[Lanes]],
    size: int,
    step: int,
    bias: int,
    shift: int,
    bounds: tuple[int, int],
) -> Any:  # noqa: ANN401 - numba's
    """One row or one column of 16 blocks; `bias` is added to the constant term."""

    @operation(void, i64, i64, i64)
    def one_pass(b: Builder, source: Value, target: Value, index: Value) -> None:
        c = _read(b, source, index, step, size)
        c[0] += bias
        for k, value in enumerate(transform(c)):
            narrow = b.trunc((value >> shift).clip(*bounds).value, NARROW)
            b.store(narrow, _place(b, target, index, k * step, NARROW), align=2)

    return one_pass


HALF = 512
"""The code of a block of zeros: no signal."""
rows8 = _make_pass(_transform8, 8, 1, 1, 15, ANY)
columns8 = _make_pass(_transform8, 8, 8, (HALF << 4) + 8, 18, (LOWEST, HIGHEST))
rows4 = _make_pass(_transform4, 4, 1, 1, 13, ANY)
columns4 = _make_pass(_transform4, 4, 8, (HALF << 4) + 8, 16, (LOWEST, HIGHEST))


@operation(void, i64, i64, i64)
def transform2(b: Builder, source: Value, target: Value, index: Value) -> None:
    """Two lines of two pixels of 16 blocks: sums and differences of four coefficients."""
    c = _read(b, source, index, 1, 2)
    d = _read(b, source, b.add(index, WORD(8 * MAX_BLOCKS)), 1, 2)
    middle = (HALF << 5) + 16
    upper, lower = (c[0] + c[1] + middle, c[0] - c[1] + middle), (d[0] + d[1], d[0] - d[1])
    for k, line in enumerate(([u + v for u, v in zip(upper, lower, strict=True)],
                              [u - v for u, v in zip(upper, lower, strict=True)])):  # fmt: skip
        left, right = ((value >> 5).clip(LOWEST, HIGHEST).value for value in line)
        both = b.or_(left, b.shl(right, WIDE([16] * BLOCKS_AT_ONCE)))
        b.store(
            both, address_of(b, target, b.mul(b.add(index, WORD(k * MAX_BLOCKS)), WORD(4)), WIDE), align=2
        )


def _make_gather(n_words: int) -> Any:  # noqa: ANN401 - numba's
    """Transpose one line of 4 or 8 pixels of 16 blocks: from a vector per pixel to a row per block."""

    @operation(void, i64, i64, i64, i64)
    def gather(b: Builder, source: Value, index: Value, target: Value, n_words_before: Value) -> None:
        parts = []
        for word in range(n_words):
            loads = (b.load(_place(b, source, index, 4 * word + k, NARROW), align=2) for k in range(4))
            pixels = [b.zext(value, WORDS) for value in loads]
            pixels = [
                p if k == 0 else b.shl(p, WORDS([16 * k] * BLOCKS_AT_ONCE)) for k, p in enumerate(pixels)
            ]
            parts.append(b.or_(b.or_(pixels[0], pixels[1]), b.or_(pixels[2], pixels[3])))
        line = parts[0]
        if n_words == 2:
            order = [k // 2 + BLOCKS_AT_ONCE * (k % 2) for k in range(2 * BLOCKS_AT_ONCE)]
            line = b.shuffle_vector(*parts, vector(32, 2 * BLOCKS_AT_ONCE)(order))
        b.store(line, address_of(b, target, b.mul(n_words_before, WORD(8)), line.type), align=2)

    return gather


gather8, gather4 = _make_gather(2), _make_gather(1)


def _make_take(n: int) -> Any:  # noqa: ANN401 - numba's
    """Move `n` coefficients, times a factor, and leave zeros behind; positions count int16."""
    kind = vector(16, n)

    @operation(void, i64, i64, i64, i64, i64)
    def take(b: Builder, target: Value, i: Value, source: Value, j: Value, factor: Value) -> None:
        place = address_of(b, source, b.mul(j, WORD(2)), kind)
        one = b.insert_element(kind(ir.Undefined), b.trunc(factor, ir.IntType(16)), ir.IntType(32)(0))
        all_ = b.shuffle_vector(one, kind(ir.Undefined), vector(32, n)([0] * n))
        product = b.mul(b.load(place, align=2), all_)
        b.store(product, address_of(b, target, b.mul(i, WORD(2)), kind), align=2)
        b.store(kind(None), place, align=2)

    return take


take32, take16, take1 = map(_make_take, (32, 16, 1))


@kernel
def block_means(coefficients: int, target: int, factor: int, n_blocks: int) -> None:
    """One pixel of each block: its DC coefficient times a factor, in 32 bits. Zeros are left behind."""
    for block in range(n_blocks):
        dc = (load_u16(coefficients, block) << 48) >> 48
        value = (dc * factor + (HALF << 5) + 16) >> 5
        store_i16(target, block, min(max(value, LOWEST), HIGHEST))
        store_i16(coefficients, block, 0)


@kernel
def block_lines(
    coefficients: int, memory: int, scan: int, weights: int, scale: int, n_blocks: int, reduce: int
) -> int:
    """The pixels of a plane of a slice: address of uint16 [line][block of `MAX_BLOCKS`][pixel].

    Parameters
    ----------
    coefficients
        int16 [position in the scan][block]; set to 0.
    memory
        Three times `PLANE_BYTES`; the last holds the lines.
    scan, weights
        int64 [64], the position in the block of each coefficient; uint8 [64], the quantisation matrix.
    scale
        Factor of all weights.
    reduce
        1, 2, 4 or 8: blocks of 8, 4, 2 or 1 lines and pixels.
    """
    done, lines = memory + PLANE_BYTES, memory + 2 * PLANE_BYTES
    if reduce == 8:
        block_means(coefficients, lines, load_u8(weights, 0) * scale, n_blocks)
        return lines
    for position in range(64 // (reduce * reduce)):
        place = load_i64(scan, position)
        factor, target, source = load_u8(weights, place) * scale, MAX_BLOCKS * place, position * n_blocks
        if n_blocks == 32:
            take32(memory, target, coefficients, source, factor)
        elif n_blocks == 16:
            take16(memory, target, coefficients, source, factor)
        else:
            for block in range(n_blocks):
                take1(memory, target + block, coefficients, source + block, factor)
    for block in range(0, n_blocks, BLOCKS_AT_ONCE):
        if reduce == 1:
            for y in range(8):
                rows8(memory, done, y * 8 * MAX_BLOCKS + block)
            for x in range(8):
                columns8(done, memory, x * MAX_BLOCKS + block)
            for y in range(8):
                gather8(memory, y * 8 * MAX_BLOCKS + block, lines, (y * MAX_BLOCKS + block) * 2)
        elif reduce == 2:
            for y in range(4):
                rows4(memory, done, y * 8 * MAX_BLOCKS + block)
            for x in range(4):
                columns4(done, memory, x * MAX_BLOCKS + block)
            for y in range(4):
                gather4(memory, y * 8 * MAX_BLOCKS + block, lines, y * MAX_BLOCKS + block)
        else:
            transform2(memory, lines, block)
    return lines
