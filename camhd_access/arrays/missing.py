"""Damaged pixels as missing values: float32 pixels, with NaN where they could not be decoded.

NaN is xarray's marker for missing values, which `mean`, `std`, `weighted`, `resample` and plots skip.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access.movie.series import Stack

__all__ = ["Marked", "mark_missing"]

Marked: TypeAlias = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Values, NaN where missing, and the missing share of each image."""


def mark_missing(stack: Stack, *, parallel: bool) -> Marked:
    """The values of a stack in float32, NaN where damaged; and the damaged share of each image.

    Raises
    ------
    RemoteFileError
        The bytes could not be read.
    """
    pixels, damaged = stack.read_marked(parallel=parallel)
    values = pixels.astype(np.float32)  # exact: codes have at most 16 bits
    shares = np.zeros(len(values), np.float32)
    for position, where in damaged.items():
        values[position][where] = np.nan
        shares[position] = where.mean()
    return values, shares
