"""Small images of an array: its frames, decoded at a half, a quarter or an eighth of their size."""

import numpy as np
import numpy.typing as npt
import xarray as xr

from camhd_access.arrays.dask_array import StackArray
from camhd_access.output.pictures import unread
from camhd_access.output.reductions import choose_reduction

__all__ = ["reduced_to"]

N_FRAMES_IN_TASK = 4
"""Images per task: few, so that all cores work."""


def reduced_to(array: xr.DataArray, width: int) -> xr.DataArray:
    """The same images, reduced as far as they are not narrower than `width`, if they can be read so.

    Coordinates of pixels and of damage are left out. Arrays that were changed since they were opened, or are
    reduced already, are returned as they are.
    """
    data = unread(array)
    codec = str(array.attrs.get("codec", "")).rpartition("(")[2].rstrip(")")
    if data is None or data.shown is None or data.stack.decoder.reduction != 1 or not codec:
        return array
    time, y, x, *channel = data.shown
    extents = [_extent(y), _extent(x)]
    if None in extents:
        return array
    starts = [window.start for window in data.stack.window]
    (top, n_lines), (left, n_columns) = (
        (extent[0] + start, extent[1]) for extent, start in zip(extents, starts, strict=True) if extent
    )
    reduce = choose_reduction(codec, (left, top, n_columns, n_lines), (width, width * n_lines / n_columns))
    if reduce == 1:
        return array
    stack = data.stack.reduced(reduce)
    rows, columns = (
        (positions[::reduce] + start) // reduce - start // reduce
        for positions, start in zip((y, x), starts, strict=True)
    )
    lengths = [{"time": N_FRAMES_IN_TASK}.get(str(dim), -1) for dim in array.dims]
    kept = {
        name: coordinate.variable
        for name, coordinate in array.coords.items()
        if name != "damaged" and not {"y", "x"} & set(coordinate.dims)
    }
    return xr.DataArray(
        StackArray.cut(stack, lengths, (time, rows, columns, *channel), marks_damage=data.marks_damage),
        dims=array.dims,
        coords=kept,
        attrs=array.attrs,
        name=array.name,
    )


def _extent(positions: npt.NDArray[np.int64]) -> tuple[int, int] | None:
    """Start and number of neighbouring positions; None if they are not neighbours."""
    if not positions.ndim or not positions.size or (np.diff(positions) != 1).any():
        return None
    return int(positions[0]), len(positions)
