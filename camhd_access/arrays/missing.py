"""What is damaged is missing: pixels in float32, and NaN where they could not be decoded.

NaN is xarray's own sign of what is missing, which `mean`, `std`, `weighted`, `resample` and plots leave out.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access.movie.series import Stack

__all__ = ["Marked", "mark_missing"]

Marked: TypeAlias = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Values, NaN where they are missing, and the share of each picture that is missing."""


def mark_missing(stack: Stack, *, parallel: bool) -> Marked:
    """The values of a stack in float32, NaN where they are damaged; and the damaged share of each picture.

    Raises
    ------
    RemoteFileError
        The bytes could not be had.
    """
    pixels, damaged = stack.read_marked(parallel=parallel)
    values = pixels.astype(np.float32)  # exact: no code has more than 16 bits
    shares = np.zeros(len(values), np.float32)
    for position, where in damaged.items():
        values[position][where] = np.nan
        shares[position] = where.mean()
    return values, shares
