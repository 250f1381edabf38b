"""Quantiles over time in limited memory, and pairs of frames for optical flow.

A quantile needs all values of a pixel at the same time. So the frames are read band by band: a band is a few
lines of all frames, in whole rows of slices, so that each slice is decoded only once. The results have
attributes and coordinates that identify the frames, for titles and files.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from camhd_access.arrays.dask_array import StackArray
from camhd_access.output.pictures import describe_time, iter_frames, movies_of, unread

__all__ = ["describe_operation", "iter_pairs", "quantile_over_time", "with_operation"]

BAND_BYTES = 64 * 1024 * 1024
"""Size of a band of all frames, in one task; at least one row of slices."""

COPIED_BYTES = 4 * 1024 * 1024
"""Of the values of pixels whose quantiles are computed together."""

SLICE_LINES = 16
"""Lines of a row of slices, in a frame or in each field of it (SMPTE RDD 36, section 5.3)."""


def quantile_over_time(movie: xr.DataArray, q: float | Sequence[float]) -> xr.DataArray:
    """The quantiles over time, equal to numpy's: see `CamhdAccessor.quantile`."""
    levels = np.asarray(q, np.float64)
    if levels.ndim > 1 or not levels.size or not ((levels >= 0) & (levels <= 1)).all():
        raise ValueError(f"quantiles must be numbers from 0 to 1, not {q!r:.80}")
    bands = _in_bands(movie)
    rest = tuple(range(1, bands.ndim))
    result = da.blockwise(
        _quantile,
        (-1,) * levels.ndim + rest,
        bands,
        (0, *rest),
        levels=levels,
        new_axes={-1: levels.size} if levels.ndim else {},
        concatenate=False,  # would copy the band, although it is a single block
        dtype=np.float64,
        meta=np.empty((0,) * (bands.ndim - 1 + levels.ndim)),
    )
    kept = {name: c.variable for name, c in movie.coords.items() if "time" not in c.dims}
    dims = ("quantile",) * levels.ndim + movie.dims[1:]
    array = xr.DataArray(result, dims=dims, coords=kept, attrs=movie.attrs, name=movie.name)
    array = array.assign_coords(quantile=("quantile", levels) if levels.ndim else levels)
    return with_operation(array, movie, "median" if levels.ndim == 0 and levels == 0.5 else "quantile")


def _in_bands(movie: xr.DataArray) -> da.Array:
    """The frames in dask chunks that contain all times and a band of lines."""
    data = unread(movie)
    if data is None or data.shown is None or movie.dims[0] != "time":
        array = movie.transpose("time", ...)
        whole: da.Array = da.asarray(array.data).rechunk({0: -1})
        return whole
    cuts = (-1, _band_edges(data), *(-1,) * (data.ndim - 2))
    return StackArray.cut(data.stack, cuts, data.shown, marks_damage=data.marks_damage)


def _band_edges(data: StackArray) -> tuple[int, ...] | int:
    """Number of lines in each band."""
    assert data.shown is not None  # noqa: S101 - for mypy
    lines, decoder = data.shown[1], data.stack.decoder
    if not decoder.shows_parts or not lines.ndim:
        return -1
    line_bytes = data.nbytes // max(1, data.shape[1])
    step = SLICE_LINES * (1 if decoder.fields else 2)  # for a frame of two fields
    step = step // decoder.reduction * max(1, BAND_BYTES // max(1, line_bytes * step // decoder.reduction))
    band = lines // step
    starts = np.flatnonzero(np.diff(band, prepend=-1))
    return tuple(np.diff(starts, append=len(lines)).tolist())


def _quantile(blocks: list[npt.NDArray[Any]], *, levels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Quantiles along the first axis, computed for some pixels at a time: numpy copies what it partitions."""
    (values,) = blocks
    n_frames, *shape = values.shape
    pixels = values.reshape(n_frames, -1)
    found = np.empty((*levels.shape, pixels.shape[1]))
    n_together = max(1, COPIED_BYTES // max(1, n_frames * values.itemsize))
    for start in range(0, pixels.shape[1], n_together):
        some = slice(start, start + n_together)
        found[..., some] = _quantile_of_pixels(np.ascontiguousarray(pixels[:, some].T), levels)
    return found.reshape(*levels.shape, *shape)


def _quantile_of_pixels(values: npt.NDArray[Any], levels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Quantiles of each row, which may be overwritten; missing values (NaN) are left out."""
    if values.dtype.kind != "f":
        whole: npt.NDArray[np.float64] = np.quantile(values, levels, axis=1, overwrite_input=True)
        return whole
    values = values.astype(np.float64)
    has_gaps = np.isnan(values).any(axis=1)
    found = np.empty((*levels.shape, len(values)))
    found[..., ~has_gaps] = np.quantile(values[~has_gaps], levels, axis=1, overwrite_input=True)
    found[..., has_gaps] = _quantile_of_present(values[has_gaps].T, levels)
    return found


def _quantile_of_present(
    values: npt.NDArray[np.float64], levels: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """`np.nanquantile` along the first axis of a 2-d array, vectorised; NaN if all values are missing."""
    ordered = np.sort(values, axis=0)  # NaN last
    last = np.maximum(np.count_nonzero(~np.isnan(values), axis=0) - 1, 0)
    place = last * levels[..., np.newaxis]
    below = np.floor(place).astype(np.intp)
    columns = np.arange(values.shape[1])
    low, high = ordered[below, columns], ordered[np.minimum(below + 1, last), columns]
    share = place - below
    # The interpolation of numpy, so that rounding is the same.
    found: npt.NDArray[np.float64] = np.where(
        share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share)
    )
    return found


def with_operation(array: xr.DataArray, movie: xr.DataArray, name: str) -> xr.DataArray:
    """The array, with attributes and coordinates that describe it as a statistic of the frames of `movie`."""
    names = movies_of(movie)
    if len(names) == 1:
        array = array.assign_coords(movie=((), np.array(names[0], object)))
    methods = " ".join(filter(None, (movie.attrs.get("cell_methods"), f"time: {name}")))
    return array.assign_attrs(operation=describe_operation(movie, name), cell_methods=methods)


def describe_operation(movie: xr.DataArray, name: str) -> str:
    """Description of a statistic, its frames and times: `mean of 100 frames, 00:04:00 to 00:04:33`."""
    n = movie.sizes["time"]
    told = f"{name} of {n} {'frame' if n == 1 else 'frames'}"
    if not n:
        return told
    first, last = (movie["time"].values[i] for i in (0, -1))
    if isinstance(first, np.timedelta64):
        return f"{told}, {describe_time(first)} to {describe_time(last)}"
    days = [str(np.datetime_as_string(each, "s")).split("T") for each in (first, last)]
    if days[0][0] == days[1][0]:
        return f"{told}, {days[0][1]} to {days[1][1]}"
    return f"{told}, {' '.join(days[0])} to {' '.join(days[1])}"


def iter_pairs(movie: xr.DataArray, step: int) -> Iterator[tuple[xr.DataArray, xr.DataArray]]:
    """Pairs of frames in memory, `step` frames apart; each frame is decoded once."""
    earlier: deque[xr.DataArray] = deque(maxlen=step)
    for frame in iter_frames(movie):
        if len(earlier) == step:
            yield earlier[0], frame
        earlier.append(frame)
