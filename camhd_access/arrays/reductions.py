# mypy: disallow-untyped-calls=False
"""Sums, means and deviations over time, in integer accumulators.

dask's own mean creates two float64 images per dask chunk, the sum and the number of values (100 MB at 1080p),
and keeps several of them in memory. Here sums of pixels fit into four bytes, and their number is known in
advance. The results are bit-exact with numpy: neither sums of integers nor numpy's float64 sums of them are
rounded.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

__all__ = ["Moments", "finish_moments", "mean_over_time", "sum_over_time"]

Sums = npt.NDArray[np.unsignedinteger]


def sum_over_time(pictures: da.Array, *, keepdims: bool = False, split_every: int | None = None) -> da.Array:
    """Sum of unsigned images along their first axis, uint64 as in numpy."""
    return _reduce(pictures, _as_uint64, np.dtype(np.uint64), keepdims=keepdims, split_every=split_every)


def mean_over_time(pictures: da.Array, *, keepdims: bool = False, split_every: int | None = None) -> da.Array:
    """Mean of unsigned images along their first axis, float64 as in numpy."""
    divide = partial(_divide, n=pictures.shape[0])
    return _reduce(pictures, divide, np.dtype(np.float64), keepdims=keepdims, split_every=split_every)


def _reduce(
    pictures: da.Array,
    finish: Callable[[Sums], npt.NDArray[Any]],
    dtype: np.dtype[Any],
    *,
    keepdims: bool,
    split_every: int | None,
) -> da.Array:
    largest = int(np.iinfo(pictures.dtype).max) * pictures.shape[0]
    kind = np.uint32 if largest <= np.iinfo(np.uint32).max else np.uint64
    reduced: da.Array = da.reduction(
        pictures,
        chunk=partial(_sum_chunk, kind=kind),
        combine=_add,
        aggregate=partial(_finish, finish=finish),
        axis=0,
        dtype=dtype,
        keepdims=keepdims,
        split_every=split_every,
        concatenate=False,
        meta=np.empty((0,) * (pictures.ndim if keepdims else pictures.ndim - 1), dtype),
    )
    return reduced


def _sum_chunk(pictures: Sums, axis: tuple[int, ...], keepdims: bool, kind: type[np.unsignedinteger]) -> Sums:
    # The sum of a few frames fits into half the width, in a third of the time.
    narrow = np.min_scalar_type(int(np.iinfo(pictures.dtype).max) * len(pictures))
    total: Sums = pictures.sum(axis=axis, dtype=narrow, keepdims=keepdims).astype(kind, copy=False)
    return total


def _add(sums: list[Sums], axis: tuple[int, ...], keepdims: bool) -> Sums:  # noqa: ARG001 - as dask calls it
    first, *others = sums
    total = first.copy()
    for each in others:
        total += each
    return total


def _finish(
    sums: list[Sums], axis: tuple[int, ...], keepdims: bool, finish: Callable[[Sums], npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    result = finish(_add(sums, axis, keepdims))
    return result if keepdims else result[0]


def _as_uint64(total: Sums) -> npt.NDArray[Any]:
    return total.astype(np.uint64)


def _divide(total: Sums, n: int) -> npt.NDArray[Any]:
    mean: npt.NDArray[Any] = total / n
    return mean


Moments = tuple[Sums, Sums | None]
"""Sums of values and, if wanted, of their squares; with the shape of one image."""


def finish_moments(
    parts: da.Array,
    name: str,
    *,
    n: int,
    ddof: int = 0,
    keepdims: bool = False,
    split_every: int | None = None,
) -> da.Array:
    """The `sum`, `mean`, `var` or `std` over time, from the `Moments` in the dask chunks of `parts`.

    Parameters
    ----------
    parts
        Array whose chunks have length one on the first axis.
    n
        Number of images in the sums.
    ddof
        Subtracted from `n` in the divisor of a variance.

    Notes
    -----
    A variance is computed from integers up to the final division, so it is as exact as float64 allows,
    even if the mean is large and the deviation small.
    """
    dtype = np.dtype(np.uint64 if name == "sum" else np.float64)
    reduced: da.Array = da.reduction(
        parts,
        chunk=_take,
        combine=_add_moments,
        aggregate=partial(_finish_moments, name=name, n=n, ddof=ddof),
        axis=0,
        dtype=dtype,
        keepdims=keepdims,
        split_every=split_every,
        concatenate=False,
        meta=np.empty((0,) * (parts.ndim if keepdims else parts.ndim - 1), dtype),
    )
    return reduced


def _take(moments: Moments, axis: tuple[int, ...], keepdims: bool) -> Moments:  # noqa: ARG001 - as dask calls it
    return moments


def _add_moments(parts: list[Moments], axis: tuple[int, ...], keepdims: bool) -> Moments:  # noqa: ARG001
    values = _add_wide([values for values, _ in parts])
    squares = [squares for _, squares in parts if squares is not None]
    return values, _add_wide(squares) if squares else None


def _add_wide(sums: list[Sums]) -> Sums:
    total = np.zeros(sums[0].shape, np.uint64)
    for each in sums:
        total += each
    return total


def _finish_moments(
    parts: list[Moments], axis: tuple[int, ...], keepdims: bool, *, name: str, n: int, ddof: int
) -> npt.NDArray[Any]:
    values, squares = _add_moments(parts, axis, keepdims)
    result: npt.NDArray[Any]
    if name == "sum":
        result = values
    elif name == "mean":
        result = values / n
    else:
        assert squares is not None  # noqa: S101 - for mypy
        result = _variance(values, squares, n=n, ddof=ddof)
        result = np.sqrt(result) if name == "std" else result
    return result[np.newaxis] if keepdims else result


def _variance(values: Sums, squares: Sums, *, n: int, ddof: int) -> npt.NDArray[np.float64]:
    if n <= ddof:
        return np.full(values.shape, np.nan)
    values, squares = values.astype(np.uint64), squares.astype(np.uint64)
    if n < 1 << 16:  # n times the sum of 16-bit squares fits into 64 bits
        return (squares * np.uint64(n) - values * values) / (n * (n - ddof))
    mean = values / n
    return np.maximum(squares / n - mean * mean, 0) * (n / (n - ddof))
