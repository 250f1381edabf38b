"""Dask chunks of movies with inter-frame coding: whole groups of pictures, so that none is decoded twice."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from camhd_access.movie.group_stack import GroupStack
from camhd_access.movie.series import FrameSeries, Stack
from camhd_access.movie.stack import FrameStack

__all__ = ["MAX_GROUP_BYTES", "cut_between_groups", "cut_selection", "has_groups"]

MAX_GROUP_BYTES = 2 << 30
"""Pixels of the longest group that is kept together; a longer one is decoded again for each dask chunk."""


def has_groups(stack: Stack) -> bool:
    """Whether frames of one of its movies depend on each other."""
    return any(isinstance(part, GroupStack) for part in _parts_of(stack))


def cut_between_groups(stack: Stack, *, n_at_once: int, frame_bytes: int) -> int | tuple[int, ...]:
    """Lengths of the dask chunks along time.

    Parameters
    ----------
    n_at_once
        Smallest length, except for the last chunk; the result for movies whose frames stand alone.
    frame_bytes
        Bytes of one image.
    """
    if not has_groups(stack) or not stack.shape[0]:
        return n_at_once
    lengths: list[int] = []
    for start, stop in pairwise(_find_edges(stack)):
        n = stop - start
        if lengths and lengths[-1] < n_at_once and (lengths[-1] + n) * frame_bytes <= MAX_GROUP_BYTES:
            lengths[-1] += n
        elif n * frame_bytes <= MAX_GROUP_BYTES:
            lengths.append(n)
        else:
            lengths += _divide(n, n_at_once)
    return tuple(lengths)


def cut_selection(positions: npt.NDArray[np.int64], lengths: Sequence[int]) -> tuple[int, ...]:
    """Lengths of the dask chunks of a selection along time from an array whose chunks have these lengths.

    Chunks end where those of the array end, so between groups if those do. None is longer than the longest of
    the array; shorter ones are joined up to that.
    """
    longest = max(1, *lengths)
    owner = np.searchsorted(np.cumsum(lengths), positions, "right")
    chosen: list[int] = []
    for start, stop in pairwise([0, *_changes(owner), len(owner)]):
        n = stop - start
        if chosen and chosen[-1] + n <= longest:
            chosen[-1] += n
        else:
            chosen += _divide(n, longest)
    return tuple(chosen) or (0,)


def _parts_of(stack: Stack) -> tuple[FrameStack, ...]:
    return stack.stacks if isinstance(stack, FrameSeries) else (stack,)


def _find_edges(stack: Stack) -> list[int]:
    """Positions between groups, and both ends; frames that stand alone are groups of one."""
    edges = [0]
    for part in _parts_of(stack):
        stop = edges[-1] + len(part.frames)
        if isinstance(part, GroupStack):
            group = np.searchsorted(part.coded.starts(), part.frames, "right")
            edges += [edges[-1] + each for each in _changes(group)]
        else:
            edges += range(edges[-1] + 1, stop)
        edges.append(stop)
    return edges


def _changes(numbers: npt.NDArray[np.int64]) -> list[int]:
    """Positions of numbers that differ from the one before."""
    changes: list[int] = (np.flatnonzero(np.diff(numbers)) + 1).tolist()
    return changes


def _divide(n: int, length: int) -> list[int]:
    n_whole, rest = divmod(n, length)
    return [length] * n_whole + [rest] * bool(rest)
