# mypy: disallow-untyped-calls=False
"""Statistics over time of frames whose damaged slices are NaN (`errors="mask"`), without these.

Frames are decoded whole and then added up; without missing values, `reductions` adds them up while decoding.
dask's own mean creates two float64 images per dask chunk, the sum and the number of values (100 MB at 1080p),
and keeps several of them in memory. Here pixels are integers, whose sums and sums of squares fit into four or
eight bytes, and their number is known in advance, unless some are missing. Neither sums of integers nor
numpy's float64 sums of them are rounded, so sums and means are bit-exact with numpy. Variances are rounded
only once, whereas numpy's two passes round at every step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import dask.array as da
import numpy as np
import numpy.typing as npt

__all__ = ["Statistic", "has_exact_squares", "reduce_over_time"]

Statistic: TypeAlias = Literal["sum", "mean", "var", "std"]

Sums: TypeAlias = npt.NDArray[np.unsignedinteger]

MAX_CODE = int(np.iinfo(np.uint16).max)
"""Largest value of float32 arrays, whose values are pixels of at most 16 bits."""


@dataclass(frozen=True, slots=True)
class _Moments:
    """Sums of images."""

    total: Sums
    """Sum of the values."""
    squares: Sums | None
    """Sum of their squares; None if not wanted."""
    count: int | npt.NDArray[np.int32]
    """Number of values: a single number if none is missing."""

    def __add__(self, other: "_Moments") -> "_Moments":
        squares = None if self.squares is None or other.squares is None else self.squares + other.squares
        return _Moments(self.total + other.total, squares, self.count + other.count)


def has_exact_squares(pictures: da.Array) -> bool:
    """Whether the variance of this many images can be computed in 64-bit integers."""
    return bool(_largest(pictures.dtype) * max(1, pictures.shape[0]) < 1 << 32)


def reduce_over_time(
    pictures: da.Array,
    statistic: Statistic,
    *,
    ddof: float = 0,
    keepdims: bool = False,
    split_every: int | None = None,
) -> da.Array:
    """A statistic along the first axis of images of unsigned integers, or of such values in float32 with NaN.

    Parameters
    ----------
    ddof
        Subtracted from the number of images in the divisor of a variance.
    """
    largest = _largest(pictures.dtype) * pictures.shape[0]
    kind = np.uint32 if largest <= np.iinfo(np.uint32).max else np.uint64
    dtype = np.dtype(np.uint64 if statistic == "sum" else np.float64)
    reduced: da.Array = da.reduction(
        pictures,
        chunk=partial(_sum_chunk, kind=kind, squares=statistic in ("var", "std")),
        combine=_add,
        aggregate=partial(_finish, statistic=statistic, ddof=ddof),
        axis=0,
        dtype=dtype,
        keepdims=keepdims,
        split_every=split_every,
        concatenate=False,
        meta=np.empty((0,) * (pictures.ndim if keepdims else pictures.ndim - 1), dtype),
    )
    return reduced


def _largest(dtype: np.dtype[Any]) -> int:
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else MAX_CODE


def _sum_chunk(
    pictures: npt.NDArray[Any],
    *,
    axis: tuple[int, ...],
    keepdims: bool,
    kind: type[np.unsignedinteger],
    squares: bool,
    computing_meta: bool = False,
) -> _Moments | npt.NDArray[Any]:
    if computing_meta:  # dask asks for the result's dtype
        empty: npt.NDArray[Any] = pictures.sum(axis=axis, keepdims=keepdims)
        return empty
    count: int | npt.NDArray[np.int32] = len(pictures)
    if pictures.dtype.kind == "f":
        missing = np.isnan(pictures)
        pictures = np.where(missing, np.float32(0), pictures).astype(np.uint16)
        if missing.any():
            count = count - missing.sum(axis=axis, keepdims=keepdims, dtype=np.int32)
    # The sum of a few frames fits into half the width, in a third of the time.
    narrow = np.min_scalar_type(_largest(pictures.dtype) * len(pictures))
    total = pictures.sum(axis=axis, dtype=narrow, keepdims=keepdims).astype(kind, copy=False)
    return _Moments(total, _sum_squares(pictures) if squares else None, count)


def _sum_squares(pictures: npt.NDArray[Any]) -> Sums:
    """Sum of the squares, with the first axis kept; one image at a time, in memory for two."""
    total = np.zeros((1, *pictures.shape[1:]), np.uint64)
    square = np.empty(pictures.shape[1:], np.uint32)
    for picture in pictures:
        np.multiply(picture, picture, out=square, dtype=np.uint32, casting="unsafe")
        total[0] += square
    return total


def _add(moments: Sequence[_Moments], axis: tuple[int, ...], keepdims: bool) -> _Moments:  # noqa: ARG001 - as dask calls it
    first, *others = moments
    for each in others:
        first = first + each
    return first


def _finish(
    moments: Sequence[_Moments], axis: tuple[int, ...], keepdims: bool, statistic: Statistic, ddof: float
) -> npt.NDArray[Any]:
    summed = _add(moments, axis, keepdims)
    result = _compute(summed, statistic, ddof)
    return result if keepdims else result[0]


def _compute(summed: _Moments, statistic: Statistic, ddof: float) -> npt.NDArray[Any]:
    if statistic == "sum":
        return summed.total.astype(np.uint64)
    with np.errstate(divide="ignore", invalid="ignore"):  # all values missing: NaN, as in numpy
        if statistic == "mean" or summed.squares is None:
            mean: npt.NDArray[Any] = summed.total / summed.count
            return mean
        count = np.asarray(summed.count, np.uint64)
        total = summed.total.astype(np.uint64, copy=False)
        deviations = count * summed.squares - total * total  # n² times the variance, exact
        n = count.astype(np.float64)
        variance: npt.NDArray[Any] = deviations / np.where(n > ddof, n * (n - ddof), np.nan)
    return np.sqrt(variance) if statistic == "std" else variance
