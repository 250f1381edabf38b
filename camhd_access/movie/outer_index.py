"""Outer indexing: the parts of `array[5, ..., :64]`, and the shortest stretch of an axis that contains them.

Each axis is indexed independently: index arrays of different axes are not paired. Pure.
"""

from collections.abc import Sequence
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "AxisIndex",
    "Index",
    "choose_positions",
    "expand_index",
    "shorten_index",
    "split_positions",
    "take_outer",
]

AxisIndex: TypeAlias = int | np.integer[Any] | slice | npt.NDArray[Any]
"""Index along one axis: a number, which drops the axis, a slice, or an array of numbers."""
Index: TypeAlias = AxisIndex | EllipsisType | tuple[AxisIndex | EllipsisType, ...]
"""An index like those of numpy; see `movie.stack.FrameStack.__getitem__`."""


def take_outer(pixels: npt.NDArray[Any], indices: Sequence[AxisIndex]) -> npt.NDArray[Any]:
    """The pixels at one index per axis (outer indexing)."""
    for axis, index in reversed(list(enumerate(indices))):
        pixels = pixels[(slice(None),) * axis + (index,)]
    return pixels


def choose_positions(index: AxisIndex, length: int) -> npt.NDArray[np.int64]:
    """The positions at `index` of an axis of this length; of slices in time that depends on theirs only."""
    if isinstance(index, slice):
        return np.arange(*index.indices(length))
    return np.atleast_1d(np.arange(length)[index])


def expand_index(index: Index, ndim: int) -> tuple[AxisIndex, ...]:
    """One index per axis, with `...` and missing ones written out."""
    indices = index if isinstance(index, tuple) else (index,)
    position = next((i for i, item in enumerate(indices) if item is Ellipsis), len(indices))
    before: Any = indices[:position]
    after: Any = indices[position + 1 :]
    n_missing = ndim - len(before) - len(after)
    if n_missing < 0:
        raise IndexError(f"too many indices: {ndim - n_missing} for {ndim} axes")
    return (*before, *[slice(None)] * n_missing, *after)


def split_positions(positions: npt.NDArray[np.int64]) -> tuple[slice, AxisIndex]:
    """The shortest stretch of an axis that contains `positions`, and their index within it."""
    if not positions.size:
        return slice(0, 0), slice(0, 0)
    start, stop = int(positions.min()), int(positions.max()) + 1
    return slice(start, stop), shorten_index(positions - start)


def shorten_index(positions: npt.NDArray[np.int64]) -> AxisIndex:
    """The simplest equivalent of `positions`: a number for a 0-d array, a slice for equal steps."""
    if not positions.ndim:
        return int(positions)
    if not positions.size:
        return slice(0, 0)
    steps = np.diff(positions)
    step = int(steps[0]) if steps.size else 1
    if not step or (steps != step).any():
        return positions
    stop = int(positions[-1]) + step
    return slice(int(positions[0]), stop if stop >= 0 else None, step)
