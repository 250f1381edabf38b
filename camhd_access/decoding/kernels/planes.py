"""Decoded planes of any subsampling to R'G'B' or luma, line by line, bit-exact with `decoding.subsampled`.

Chroma is interpolated between two lines, and, if it lies between columns, between two columns. Its weights
are multiples of 1/8 and 1/4, so integers of 16 bits hold it exactly: codes of 8 or 10 bits times 8 or 32. The
caller divides the factors of colour by the same power of two, which leaves all products as they are.
Exactly the stated columns of a plane are read, and of the output written; whole vectors beyond them are read
from, and written to, buffers only.
"""

from typing import Any

from camhd_access.decoding.kernels import parameters as at
from camhd_access.decoding.kernels.machine import (
    Builder,
    Value,
    copy_bytes,
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
from camhd_access.decoding.kernels.strips import (
    ALTERNATING,
    SHORTS,
    WORD,
    N,
    convert_line,
    load_vector,
    rgb8,
    rgb8_wide,
    rgb16,
    rgb16_swapped,
    rgb16_swapped_wide,
    rgb16_wide,
    spread,
    store_vector,
)

__all__ = ["convert"]

BYTES = vector(8, N)
FEW = vector(16, N // 2)
SHORT = SHORTS.element
CODE8 = 4
"""Codes of 10 bits for one of 8."""


def _make_mix(n_bytes: int) -> Any:  # noqa: ANN401 - numba's
    """Sixteen weighted sums of codes of two lines."""
    kind = BYTES if n_bytes == 1 else SHORTS

    @operation(void, i64, i64, i64, i64, i64, i64)
    def mix(
        b: Builder, one: Value, other: Value, weight: Value, other_weight: Value, first: Value, target: Value
    ) -> None:
        def part(base: Value, times: Value) -> Value:
            codes = load_vector(b, base, b.mul(first, WORD(n_bytes)), kind)
            codes = b.zext(codes, SHORTS) if n_bytes == 1 else codes
            return b.mul(codes, spread(b, b.trunc(times, SHORT), SHORTS))

        total = b.add(part(one, weight), part(other, other_weight))
        store_vector(b, total, target, b.mul(first, WORD(2)))

    return mix


mix8, mix16 = map(_make_mix, (1, 2))


@kernel
def mix_lines(
    one: int, other: int, weight: int, other_weight: int, n: int, code_bytes: int, target: int
) -> None:
    """Weighted sums of `n` codes of two lines, as integers of 16 bits."""
    whole = n // N * N
    if code_bytes == 1:
        for i in range(0, whole, N):
            mix8(one, other, weight, other_weight, i, target)
        for i in range(whole, n):
            store_i16(target, i, load_u8(one, i) * weight + load_u8(other, i) * other_weight)
    else:
        for i in range(0, whole, N):
            mix16(one, other, weight, other_weight, i, target)
        for i in range(whole, n):
            store_i16(target, i, load_u16(one, i) * weight + load_u16(other, i) * other_weight)


@operation(void, i64, i64, i64)
def widen16(b: Builder, line: Value, first: Value, target: Value) -> None:
    """Four times chroma at 16 columns, if it lies between every two; `line` has one column more before."""
    before, here, after = (load_vector(b, line, b.add(first, WORD(2 * k)), FEW) for k in range(3))
    middle = b.mul(here, FEW([at.QUARTERS - 1] * (N // 2)))
    both = b.shuffle_vector(b.add(before, middle), b.add(after, middle), ALTERNATING)
    store_vector(b, both, target, b.mul(first, WORD(2)))


@kernel
def chroma_line(p: int, plane: int, line_bytes: int, lines: int, buffer: int) -> int:
    """One line of a chroma plane, in parts of a code; returns its address."""
    n, code_bytes, place = load_i64(p, at.N_CHROMA), load_i64(p, at.CODE_BYTES), load_i64(p, at.CHROMA_PLACE)
    n_before = load_i64(p, at.N_BEFORE)
    one, other = plane + load_i64(lines, 0) * line_bytes, plane + load_i64(lines, 1) * line_bytes
    first = 1 - n_before
    mix_lines(one, other, load_i64(lines, 2), load_i64(lines, 3), n, code_bytes, buffer + 2 * first)
    if first == 1:  # beyond the edges chroma is that of the edge
        store_i16(buffer, 0, load_u16(buffer, 1))
    store_i16(buffer, first + n, load_u16(buffer, first + n - 1))
    if place != at.BETWEEN:
        return buffer + 2
    wide = buffer + 2 * load_i64(p, at.BUFFER_BYTES)
    for i in range(0, load_i64(p, at.N_LUMA), N):
        widen16(buffer, i, wide)
    return wide


def _make_color_line(show8: Any, show16: Any, show16_swapped: Any) -> Any:  # noqa: ANN401 - numba's
    """`n` pixels and up to 15 more of a line, by the operation for the wanted format."""

    @kernel
    def color_line(
        luma: int, cb: int, cr: int, n: int, target: int, factors: int, item_bytes: int, is_swapped: int
    ) -> None:
        if item_bytes == 1:
            for i in range(0, n, N):
                show8(luma, cb, cr, i, target, factors)
        elif is_swapped:
            for i in range(0, n, N):
                show16_swapped(luma, cb, cr, i, target, factors)
        else:
            for i in range(0, n, N):
                show16(luma, cb, cr, i, target, factors)

    return color_line


color_line = _make_color_line(rgb8, rgb16, rgb16_swapped)
color_line_wide = _make_color_line(rgb8_wide, rgb16_wide, rgb16_swapped_wide)


@kernel
def show_line(p: int, row: int, luma: int, n: int, target: int) -> None:
    """`n` pixels and up to 15 more of a line whose luma is at `luma`, with buffers for chroma after it."""
    if load_i64(p, at.LAYOUT) == at.GRAY:
        convert_line(p, luma, 0, 0, n, target)
        return
    lines, buffer_bytes = load_i64(p, at.CHROMA_LINES) + 32 * row, load_i64(p, at.BUFFER_BYTES)
    cb = chroma_line(p, load_i64(p, at.CB_PLANE), load_i64(p, at.CB_LINE_BYTES), lines, luma + buffer_bytes)
    cr = chroma_line(
        p, load_i64(p, at.CR_PLANE), load_i64(p, at.CR_LINE_BYTES), lines, luma + 2 * buffer_bytes
    )
    factors, item_bytes = load_i64(p, at.COLOR_FACTORS), load_i64(p, at.ITEM_BYTES)
    if load_i64(p, at.CHROMA_PLACE) == at.EVEN:
        color_line(luma, cb, cr, n, target, factors, item_bytes, load_i64(p, at.IS_SWAPPED))
    else:
        color_line_wide(luma, cb, cr, n, target, factors, item_bytes, load_i64(p, at.IS_SWAPPED))


@kernel
def convert(p: int) -> None:
    """Fill the window with the pixels of decoded planes, according to the parameters at `p`."""
    luma, line, n = load_i64(p, at.BUFFERS), load_i64(p, at.LINE), load_i64(p, at.N_LUMA)
    first, code_bytes = load_i64(p, at.FIRST_COLUMN), load_i64(p, at.CODE_BYTES)
    source, n_bytes = line + first * load_i64(p, at.BYTES_OF_PIXEL), load_i64(p, at.N_ITEMS)
    n_bytes *= load_i64(p, at.ITEM_BYTES)
    scale = CODE8 if code_bytes == 1 and load_i64(p, at.LAYOUT) == at.GRAY else 1
    is_direct = first == 0 and n % N == 0  # whole vectors fill the line of the window
    for row in range(load_i64(p, at.N_LINES)):
        codes = load_i64(p, at.Y_PLANE) + row * load_i64(p, at.Y_LINE_BYTES)
        mix_lines(codes, codes, scale, 0, n, code_bytes, luma)
        target = load_i64(p, at.OUT) + row * load_i64(p, at.LINE_BYTES)
        show_line(p, row, luma, n, target if is_direct else line)
        if not is_direct:
            copy_bytes(target, source, n_bytes)
