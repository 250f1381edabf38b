# mypy: disallow-untyped-calls=False
"""Statistics over time of frames that are added up while they are decoded (see `decoding.sums`).

For arrays without missing values. Each dask chunk holds the sums of its frames and, if wanted, of their
squares, so no frame is kept. They are integers up to the final division: sums and means are bit-exact with
numpy. Arrays whose damaged slices are NaN (`errors="mask"`) have `statistics` instead.
"""

from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

__all__ = ["Moments", "finish_moments"]

Sums = npt.NDArray[np.unsignedinteger]


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
