"""Several images added to sums and to sums of squares.

Sums of squares have several times the bytes of an image, so they are added to once for up to four images.
"""

from typing import Any

from llvmlite import ir

from camhd_access.decoding.kernels import parameters as at
from camhd_access.decoding.kernels.machine import (
    Builder,
    Value,
    has_feature,
    i64,
    kernel,
    load_i64,
    load_u8,
    load_u16,
    load_u32,
    load_u64,
    operation,
    store_i16,
    store_i64,
    store_u32,
    vector,
    void,
)
from camhd_access.decoding.kernels.strips import SHORTS, WORD, N, load_vector, store_vector
from camhd_access.decoding.kernels.transform import multiply_add

__all__ = ["add_images"]


def _sum_of_squares(b: Builder, one: Value, other: Value, kind: ir.VectorType) -> Value:
    """The squares of two vectors of numbers, added."""
    x, y = b.zext(one, kind), b.zext(other, kind)
    if kind.element.width == 64 or not has_feature("avx2"):
        return b.add(b.mul(x, x), b.mul(y, y))
    both, halves = b.or_(x, b.shl(y, kind([16] * N))), []
    for first in (0, N // 2):
        order = vector(32, N // 2)(list(range(first, first + N // 2)))
        pairs = b.bitcast(b.shuffle_vector(both, both, order), SHORTS)
        halves.append(multiply_add(b, pairs, pairs))
    return b.shuffle_vector(*halves, vector(32, N)(list(range(N))))


def _make_add(n_images: int, n_bits: int, n_sum_bits: int, n_square_bits: int) -> Any:  # noqa: ANN401 - numba's
    """Add 16 numbers of each image to sums, and their squares to sums of squares."""
    kind, sum_kind, square_kind = (vector(n, N) for n in (n_bits, n_sum_bits, n_square_bits))

    @operation(void, i64, i64, i64, i64)
    def add(b: Builder, images: Value, first: Value, sums: Value, squares: Value) -> None:
        numbers = []
        for k in range(n_images):
            image = load_vector(b, images, WORD(8 * k), WORD)
            numbers.append(load_vector(b, image, b.mul(first, WORD(n_bits // 8)), kind))
        wide = [x if kind == sum_kind else b.zext(x, sum_kind) for x in numbers]
        pairs = zip(numbers[::2], [*numbers[1::2], kind(None)], strict=False)
        products = [_sum_of_squares(b, x, y, square_kind) for x, y in pairs]
        for base, values in ((sums, wide), (squares, products)):
            place = b.mul(first, WORD(values[0].type.element.width // 8))
            total = load_vector(b, base, place, values[0].type)
            for each in values:
                total = b.add(total, each)
            store_vector(b, total, base, place)

    return add


def _make_add_lines(n_images: int) -> Any:  # noqa: ANN401 - numba's
    """Add `n` numbers, a multiple of 16, of each image."""
    add8, add10, add16 = (_make_add(n_images, *bits) for bits in ((8, 16, 32), (16, 16, 32), (16, 32, 64)))

    @kernel
    def add_lines(images: int, n: int, item_bytes: int, sum_bytes: int, sums: int, squares: int) -> None:
        for i in range(0, n, N):
            if item_bytes == 1:
                add8(images, i, sums, squares)
            elif sum_bytes == 2:
                add10(images, i, sums, squares)
            else:
                add16(images, i, sums, squares)

    return add_lines


add_one, add_two, add_four = map(_make_add_lines, (1, 2, 4))


@kernel
def add_number(image: int, i: int, item_bytes: int, sum_bytes: int, sums: int, squares: int) -> None:
    """Add number `i` of an image."""
    value = load_u8(image, i) if item_bytes == 1 else load_u16(image, i)
    if sum_bytes == 2:
        store_i16(sums, i, load_u16(sums, i) + value)
        store_u32(squares, i, load_u32(squares, i) + value * value)
    else:
        store_u32(sums, i, load_u32(sums, i) + value)
        store_i64(squares, i, load_u64(squares, i) + value * value)


@kernel
def add_images(p: int) -> None:
    """Add the images of the parameters at `p`.

    Sums of 16-bit numbers have four bytes, and their squares eight; others have two, and their squares four.
    """
    n, images, n_images = load_i64(p, at.N_ITEMS), load_i64(p, at.IMAGES), load_i64(p, at.N_IMAGES)
    item_bytes, sum_bytes = load_i64(p, at.ITEM_BYTES), load_i64(p, at.SUM_BYTES)
    sums, squares = load_i64(p, at.OUT), load_i64(p, at.SQUARES)
    whole, k = n // N * N, 0
    while k < n_images:
        here, n_left = images + 8 * k, n_images - k
        if n_left >= 4:
            add_four(here, whole, item_bytes, sum_bytes, sums, squares)
            k += 4
        elif n_left >= 2:
            add_two(here, whole, item_bytes, sum_bytes, sums, squares)
            k += 2
        else:
            add_one(here, whole, item_bytes, sum_bytes, sums, squares)
            k += 1
    for j in range(n_images):
        for i in range(whole, n):
            add_number(load_i64(images, j), i, item_bytes, sum_bytes, sums, squares)
