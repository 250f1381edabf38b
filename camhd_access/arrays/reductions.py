# mypy: disallow-untyped-calls=False
"""Statistics over time of frames that are added up while they are decoded (see `decoding.sums`).

For arrays without missing values. Each task holds the sums of its frames and, if wanted, of their squares, so
no frame is kept. Sums take several times the memory of an image: so a movie has few tasks, each of many
frames, whose sums are added in pairs. They are integers up to the final division: sums and means are
bit-exact with numpy. Arrays whose damaged slices are NaN (`errors="mask"`) have `statistics` instead.
"""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from camhd_access.decoding.threads import n_cores
from camhd_access.memory import empty

__all__ = ["Moments", "divide_frames", "finish_moments"]

Sums = npt.NDArray[np.unsignedinteger]

Moments = tuple[Sums, Sums | None]
"""Sums of values and, if wanted, of their squares; with the shape of one image."""

TASKS_PER_CORE = 2
"""Fewer would leave cores idle at the end; the sums of more take longer to add and finish."""

MIN_FRAMES, MAX_FRAMES = 8, 256
"""Frames of a task: few would not be worth their sums; a cluster has more cores than this machine."""

VALUES_AT_ONCE = 1 << 16
"""Numbers whose sums are finished together: few enough for the cache of a core."""

EXACT_FLOATS = 1 << 53
"""Integers up to this are exact in float64."""


def divide_frames(lengths: tuple[int, ...], *, max_frames: int) -> tuple[int, ...]:
    """Number of frames that each task adds up.

    Parameters
    ----------
    lengths
        Numbers of frames that are not cut: those of the dask chunks, or ones.
    max_frames
        Frames whose sums fit into the fewest bytes.
    """
    n_together = max(1, min(MAX_FRAMES, max_frames) // max(lengths))
    n_tasks = max(TASKS_PER_CORE * n_cores(), -(-len(lengths) // n_together))
    n_tasks = min(n_tasks, len(lengths), max(1, sum(lengths) // MIN_FRAMES))
    edges = [len(lengths) * k // n_tasks for k in range(n_tasks + 1)]
    return tuple(sum(lengths[start:stop]) for start, stop in pairwise(edges))


def finish_moments(
    parts: da.Array,
    name: str,
    *,
    n: int,
    max_value: int,
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
    max_value
        The largest value of a pixel.
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
        combine=partial(_add_moments, largest=n * max_value, largest_square=n * max_value**2),
        aggregate=partial(_finish_moments, name=name, n=n, max_value=max_value, ddof=ddof),
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


def _add_moments(
    parts: list[Moments],
    axis: tuple[int, ...],  # noqa: ARG001 - as dask calls it
    keepdims: bool,  # noqa: ARG001
    *,
    largest: int,
    largest_square: int,
) -> Moments:
    """The sums of several parts, in no more bytes than the sums of all images need."""
    shape = parts[0][0].shape
    values, squares = _flat(parts)
    total = empty((values[0].size,), np.min_scalar_type(largest))
    of_squares = empty((total.size if squares else 0,), np.min_scalar_type(largest_square))
    for some in _pieces(total.size):
        _add(values, some, total[some])
        if squares:
            _add(squares, some, of_squares[some])
    return total.reshape(shape), of_squares.reshape(shape) if squares else None


def _flat(parts: list[Moments]) -> tuple[list[Sums], list[Sums]]:
    """Their sums of values, and their sums of squares."""
    values = [values.ravel() for values, _ in parts]
    return values, [squares.ravel() for _, squares in parts if squares is not None]


def _pieces(n: int) -> Iterator[slice]:
    return (slice(start, start + VALUES_AT_ONCE) for start in range(0, n, VALUES_AT_ONCE))


def _add(sums: list[Sums], some: slice, out: Sums) -> Sums:
    """Add this piece of all sums."""
    first, *others = sums
    out[...] = first[some]
    for each in others:
        out += each[some]
    return out


def _finish_moments(
    parts: list[Moments],
    axis: tuple[int, ...],  # noqa: ARG001 - as dask calls it
    keepdims: bool,
    *,
    name: str,
    n: int,
    max_value: int,
    ddof: int,
) -> npt.NDArray[Any]:
    shape = parts[0][0].shape
    values, squares = _flat(parts)
    result = empty((values[0].size,), np.uint64 if name == "sum" else np.float64)
    kind, kind_of_squares = np.min_scalar_type(n * max_value), np.min_scalar_type(n * max_value**2)
    for some in _pieces(result.size):
        out = result[some]
        total = _add(values, some, np.empty(out.size, kind))
        if name == "sum":
            out[...] = total
        elif name == "mean":
            np.divide(total, n, out=out)
        else:
            of_squares = _add(squares, some, np.empty(out.size, kind_of_squares))
            _variance(total, of_squares, n=n, max_value=max_value, ddof=ddof, out=out)
            if name == "std":
                np.sqrt(out, out=out)
    return result.reshape((1, *shape) if keepdims else shape)


def _variance(
    values: Sums, squares: Sums, *, n: int, max_value: int, ddof: int, out: npt.NDArray[np.float64]
) -> None:
    """Fill `out` from sums."""
    largest = (n * max_value) ** 2
    if n <= ddof:
        out[...] = np.nan
    elif largest < 1 << 64:
        exact = np.float64 if largest < EXACT_FLOATS else np.uint64  # floats are faster
        difference = np.multiply(squares, n, dtype=exact)
        difference -= np.square(values, dtype=exact)
        np.divide(difference, n * (n - ddof), out=out)
    else:
        mean = values / n
        np.multiply(np.maximum(squares / n - mean * mean, 0), n / (n - ddof), out=out)
