"""Dask chunks of movies with inter-frame coding: whole groups of pictures, so that none is decoded twice."""

from itertools import pairwise

import numpy as np

from camhd_access.movie.group_stack import GroupStack
from camhd_access.movie.series import Stack

__all__ = ["MAX_GROUP_BYTES", "cut_between_groups"]

MAX_GROUP_BYTES = 2 << 30
"""Pixels of the longest group that is kept together; a longer one is decoded again for each dask chunk."""


def cut_between_groups(stack: Stack, *, n_at_once: int, frame_bytes: int) -> int | tuple[int, ...]:
    """Lengths of the dask chunks along time.

    Parameters
    ----------
    n_at_once
        Smallest length, except for the last chunk; the result for movies whose frames stand alone.
    frame_bytes
        Bytes of one image.
    """
    if not isinstance(stack, GroupStack) or not len(stack.frames):
        return n_at_once
    groups = np.searchsorted(stack.coded.starts(), stack.frames, "right")
    edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(groups)]
    lengths: list[int] = []
    for start, stop in pairwise(edges):
        n = stop - start
        if lengths and lengths[-1] < n_at_once and (lengths[-1] + n) * frame_bytes <= MAX_GROUP_BYTES:
            lengths[-1] += n
        elif n * frame_bytes <= MAX_GROUP_BYTES:
            lengths.append(n)
        else:
            n_whole, rest = divmod(n, n_at_once)
            lengths += [n_at_once] * n_whole + [rest] * bool(rest)
    return tuple(lengths)
