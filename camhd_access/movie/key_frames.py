"""The nearest key frames, where any frame nearby will do: contact sheets, timelapses.

With inter-frame coding a key frame, which a sync sample shows, is decoded from this sample alone; any other
frame needs those before it in its group of pictures. Each ProRes frame is a key frame.
"""

import numpy as np
import numpy.typing as npt

from camhd_access.movie.group_stack import GroupStack
from camhd_access.movie.series import FrameSeries, Stack

__all__ = ["nearest_key_frames"]


def nearest_key_frames(
    stack: Stack, wanted: npt.NDArray[np.int64], times: npt.NDArray[np.datetime64 | np.timedelta64]
) -> npt.NDArray[np.int64]:
    """For each position the nearest one in time, in the same movie, of a key frame of the stack.

    Parameters
    ----------
    wanted
        Positions in the stack.
    times
        Time of each image of the stack.

    Notes
    -----
    Of two as near, the earlier. Positions in a movie of which the stack has no key frame stay as they are.
    """
    series = stack if isinstance(stack, FrameSeries) else FrameSeries.of([stack])
    nearest = wanted.copy()
    for part, start, stop in zip(series.stacks, series.edges[:-1], series.edges[1:], strict=True):
        is_here = (wanted >= start) & (wanted < stop)
        if isinstance(part, GroupStack) and is_here.any() and (keys := np.flatnonzero(part.is_key)).size:
            elapsed = (times[start:stop] - times[start]).astype("m8[ns]").astype(np.int64)
            keys = keys[np.argsort(elapsed[keys], kind="stable")]
            between = elapsed[keys[:-1]] + elapsed[keys[1:]]  # twice the time halfway
            nearest[is_here] = start + keys[np.searchsorted(between, 2 * elapsed[wanted[is_here] - start])]
    return nearest
