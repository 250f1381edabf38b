"""From lines of blocks to pixels: lines in the output format, in the caller's array or added to sums.

The macroblocks of one row of slices make a *strip*: 16 lines of each plane, or 32 if both fields of an
interlaced frame are interleaved. It stays in the processor's cache until all of its slices are decoded, and
is output line by line: cut to the window, converted to the pixel format by the arithmetic of
`decoding.pixels`, bit-exact, and stored, or added to sums over time.
"""

from typing import Any

from llvmlite import ir

from camhd_access.decoding.kernels.machine import (
    FLOAT,
    Builder,
    Value,
    address_of,
    copy_bytes,
    i64,
    kernel,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    operation,
    store_i16,
    store_u32,
    vector,
    void,
)
from camhd_access.decoding.kernels.parameters import (
    BLACK,
    BYTES_OF_PIXEL,
    CHROMA_WIDTH,
    CODE,
    COLOR_FACTORS,
    GRAY,
    GRAY_FACTOR,
    GRAY_SHIFT,
    IS_BGR,
    IS_SWAPPED,
    ITEM_BYTES,
    LAYOUT,
    LINE_BYTES,
    N_ITEMS,
    OUT,
    PIXELS_AT_ONCE,
    PLANES,
    STORES,
    SUM_BYTES,
    WINDOW_WIDTH,
)
from camhd_access.decoding.kernels.transform import Lanes

__all__ = [
    "ALTERNATING",
    "INTS",
    "SHORTS",
    "WORD",
    "N",
    "convert_line",
    "load_vector",
    "rgb8",
    "rgb8_wide",
    "rgb16",
    "rgb16_swapped",
    "rgb16_swapped_wide",
    "rgb16_wide",
    "show_line",
    "spread",
    "store_vector",
]

N = PIXELS_AT_ONCE
WORD = ir.IntType(64)
INTS, FLOATS, SHORTS = vector(32, N), vector(FLOAT, N), vector(16, N)
ALTERNATING = INTS([k // 2 + k % 2 * (N // 2) for k in range(N)])
"""The order that takes turns between two halves of a vector."""


# ---- pixel formats: sixteen pixels of a line, from `first` on


def load_vector(b: Builder, base: Value, n_bytes: Value, kind: ir.Type) -> Value:
    """A value of this type at an offset from an address, not necessarily aligned."""
    return b.load(address_of(b, base, n_bytes, kind), align=1)


def store_vector(b: Builder, value: Value, base: Value, n_bytes: Value) -> None:
    """Store a value there."""
    b.store(value, address_of(b, base, n_bytes, value.type), align=1)


def _finish(b: Builder, value: Value, n_bits: int, is_swapped: bool) -> Value:
    """Integers of 32 bits to pixels of `n_bits`, in the byte order of this machine or the other one."""
    narrow = b.trunc(value, vector(n_bits, value.type.count))
    if not is_swapped:
        return narrow
    eight = narrow.type([8] * narrow.type.count)
    return b.or_(b.shl(narrow, eight), b.lshr(narrow, eight))


def _make_gray(n_bits: int, is_swapped: bool) -> Any:  # noqa: ANN401 - numba's
    """Luma stretched to full range, rounded half up."""

    @operation(void, i64, i64, i64, i64, i64)
    def gray(b: Builder, luma: Value, first: Value, target: Value, factor: Value, shift: Value) -> None:
        codes = b.zext(load_vector(b, luma, b.mul(first, WORD(2)), SHORTS), INTS)
        above = (Lanes(b, codes) - BLACK).clip(0, 940 - BLACK).value
        many = spread(b, b.trunc(factor, ir.IntType(32)), INTS)
        shifts = spread(b, b.trunc(shift, ir.IntType(32)), INTS)
        half = b.lshr(b.shl(INTS([1] * N), shifts), INTS([1] * N))
        stretched = b.lshr(b.add(b.mul(above, many), half), shifts)
        pixels = _finish(b, stretched, n_bits, is_swapped)
        store_vector(b, pixels, target, b.mul(first, WORD(n_bits // 8)))

    return gray


def spread(b: Builder, value: Value, kind: ir.VectorType) -> Value:
    """A vector of equal numbers."""
    one = b.insert_element(kind(ir.Undefined), value, ir.IntType(32)(0))
    return b.shuffle_vector(one, kind(ir.Undefined), vector(32, kind.count)([0] * kind.count))


def _make_color(n_bits: int, is_swapped: bool, is_bgr: bool = False, is_wide: bool = False) -> Any:  # noqa: ANN401 - numba's
    """R'G'B' from Y'CbCr; chroma is given at even columns, and interpolated at odd ones.

    With `is_wide` it is given at every column. `factors` holds eight float32: factor and offset of luma;
    factors of Cr in red, Cr in green, Cb in green and Cb in blue; half of one; the code of neutral chroma.
    """
    n_chroma = N if is_wide else N // 2
    few, floats = vector(16, n_chroma), vector(FLOAT, n_chroma)

    @operation(void, i64, i64, i64, i64, i64, i64)
    def color(
        b: Builder, luma: Value, cb: Value, cr: Value, first: Value, target: Value, factors: Value
    ) -> None:
        def factor(k: int, kind: ir.VectorType) -> Value:
            return spread(b, load_vector(b, factors, WORD(4 * k), FLOAT), kind)

        def chroma(base: Value, n_after: int) -> Value:
            start = b.mul(first, WORD(2)) if is_wide else first
            codes = load_vector(b, base, b.add(start, WORD(2 * n_after)), few)
            return b.fsub(b.uitofp(codes, floats), factor(7, floats))

        codes = b.uitofp(load_vector(b, luma, b.mul(first, WORD(2)), SHORTS), FLOATS)
        y = b.fadd(b.fmul(codes, factor(0, FLOATS)), factor(1, FLOATS))
        here, after = (
            _chroma_parts(b, chroma(cb, k), chroma(cr, k), [factor(j, floats) for j in range(2, 6)])
            for k in (0, 1)
        )
        channels = []
        for left, right in zip(here, after, strict=True):
            if is_wide:
                both = left
            else:
                between = b.fmul(b.fadd(left, right), factor(6, floats))
                both = b.shuffle_vector(left, between, ALTERNATING)
            value = Lanes(b, b.fptosi(b.fadd(y, both), INTS)).clip(0, (1 << n_bits) - 1).value
            channels.append(_finish(b, value, n_bits, is_swapped))
        store_vector(
            b,
            _interleave(b, *(channels[::-1] if is_bgr else channels)),
            target,
            b.mul(first, WORD(3 * n_bits // 8)),
        )

    return color


def _chroma_parts(b: Builder, cb: Value, cr: Value, factors: list[Value]) -> list[Value]:
    """The chroma terms of red, green and blue."""
    red_cr, green_cr, green_cb, blue_cb = factors
    green = b.fadd(b.fmul(cr, green_cr), b.fmul(cb, green_cb))
    return [b.fmul(cr, red_cr), green, b.fmul(cb, blue_cb)]


def _interleave(b: Builder, x: Value, y: Value, z: Value) -> Value:
    """x0 y0 z0 x1 y1 z1 …"""
    wide = list(range(2 * N))
    xy = b.shuffle_vector(x, y, vector(32, 2 * N)(wide))
    z_wide = b.shuffle_vector(z, z.type(ir.Undefined), vector(32, 2 * N)([k % N for k in wide]))
    order = [k // 3 + (k % 3) * N for k in range(3 * N)]
    return b.shuffle_vector(xy, z_wide, vector(32, 3 * N)(order))


gray8, gray16, gray16_swapped = _make_gray(8, False), _make_gray(16, False), _make_gray(16, True)
rgb8, bgr8 = _make_color(8, False), _make_color(8, False, is_bgr=True)
rgb16, bgr16 = _make_color(16, False), _make_color(16, False, is_bgr=True)
rgb16_swapped, bgr16_swapped = _make_color(16, True), _make_color(16, True, is_bgr=True)
rgb8_wide, rgb16_wide, rgb16_swapped_wide = (
    _make_color(*kind, is_wide=True) for kind in ((8, False), (16, False), (16, True))
)


@kernel
def convert_line(p: int, luma: int, cb: int, cr: int, n: int, target: int) -> None:
    """`n` pixels and up to 15 more of a line, from its first column on."""
    is_wide, is_swapped, is_bgr = load_i64(p, ITEM_BYTES) == 2, load_i64(p, IS_SWAPPED), load_i64(p, IS_BGR)
    factors = load_i64(p, COLOR_FACTORS)
    if load_i64(p, LAYOUT) == GRAY:
        factor, shift = load_i64(p, GRAY_FACTOR), load_i64(p, GRAY_SHIFT)
        for i in range(0, n, N):
            if not is_wide:
                gray8(luma, i, target, factor, shift)
            elif is_swapped:
                gray16_swapped(luma, i, target, factor, shift)
            else:
                gray16(luma, i, target, factor, shift)
    elif not is_wide:
        if is_bgr:
            for i in range(0, n, N):
                bgr8(luma, cb, cr, i, target, factors)
        else:
            for i in range(0, n, N):
                rgb8(luma, cb, cr, i, target, factors)
    else:
        for i in range(0, n, N):
            if is_swapped:
                if is_bgr:
                    bgr16_swapped(luma, cb, cr, i, target, factors)
                else:
                    rgb16_swapped(luma, cb, cr, i, target, factors)
            elif is_bgr:
                bgr16(luma, cb, cr, i, target, factors)
            else:
                rgb16(luma, cb, cr, i, target, factors)


# ---- sums over time


def _make_add(n_bits: int, n_sum_bits: int) -> Any:  # noqa: ANN401 - numba's
    """Add 16 numbers to sums."""
    kind, total = vector(n_bits, N), vector(n_sum_bits, N)

    @operation(void, i64, i64, i64)
    def add(b: Builder, source: Value, first: Value, sums: Value) -> None:
        value = load_vector(b, source, b.mul(first, WORD(n_bits // 8)), kind)
        value = value if kind == total else b.zext(value, total)
        place = b.mul(first, WORD(n_sum_bits // 8))
        store_vector(b, b.add(load_vector(b, sums, place, total), value), sums, place)

    return add


add8, add10, add16 = (_make_add(*bits) for bits in ((8, 16), (16, 16), (16, 32)))


@kernel
def add_line(source: int, n: int, item_bytes: int, sums: int, sum_bytes: int) -> None:
    """Add `n` numbers of one or two bytes to sums: of four bytes if numbers have 16 bits, else of two."""
    whole = n // N * N
    for i in range(0, whole, N):
        if item_bytes == 1:
            add8(source, i, sums)
        elif sum_bytes == 2:
            add10(source, i, sums)
        else:
            add16(source, i, sums)
    for i in range(whole, n):
        value = load_u8(source, i) if item_bytes == 1 else load_u16(source, i)
        if sum_bytes == 2:
            store_i16(sums, i, load_u16(sums, i) + value)
        else:
            store_u32(sums, i, load_u32(sums, i) + value)


# ---- a line


@kernel
def show_line(p: int, line: int, row: int, luma: int, cb: int, cr: int, first: int) -> None:
    """Write one line of a strip to row `row` of the caller's arrays.

    Parameters
    ----------
    p
        The parameters of `frame.decode`.
    line
        Memory for a line of pixels.
    luma, cb, cr
        The line in the planes of the strip, starting at the even column at or before the window's first.
    first
        0 or 1: offset of the window's first column from there.
    """
    layout, width = load_i64(p, LAYOUT), load_i64(p, WINDOW_WIDTH)
    target = load_i64(p, OUT) + row * load_i64(p, LINE_BYTES)
    if layout == PLANES:
        copy_bytes(target, luma + 2 * first, 2 * width)
        half = load_i64(p, CHROMA_WIDTH)
        for plane in range(1, 3):
            to = load_i64(p, OUT + 2 * plane) + row * load_i64(p, LINE_BYTES + 2 * plane)
            copy_bytes(to, cb if plane == 1 else cr, 2 * half)
        return
    if layout == CODE:
        source = luma + 2 * first
    else:
        convert_line(p, luma, cb, cr, first + width, line)
        source = line + first * load_i64(p, BYTES_OF_PIXEL)
    n = load_i64(p, N_ITEMS)
    item_bytes = load_i64(p, ITEM_BYTES)
    if load_i64(p, STORES):
        copy_bytes(target, source, n * item_bytes)
    else:
        add_line(source, n, item_bytes, target, load_i64(p, SUM_BYTES))
