"""Arrays as Datasets to be saved, with global attributes that describe the frames in the file.

xarray keeps attributes when frames are selected or concatenated, so a time range that was set when the movie
was opened would become wrong. It is therefore computed from the coordinates, before saving.

Source: Attribute Convention for Data Discovery 1-3; ISO 8601 for times and durations.
"""

from typing import Any

import numpy as np
import xarray as xr

from camhd_access.arrays.attributes import OF_PIXELS
from camhd_access.output.array_provenance import describe_array
from camhd_access.output.pictures import describe_frame, movie_of
from camhd_access.output.provenance import format_time

__all__ = ["to_dataset"]

OF_VARIABLE = (*OF_PIXELS, "operation")
"""Attributes that stay on the variable."""


def to_dataset(array: xr.DataArray) -> xr.Dataset:
    """The Dataset of an array: see `CamhdAccessor.to_dataset`."""
    variable = array.copy(deep=False)
    own = {name: value for name, value in array.attrs.items() if name in OF_VARIABLE}
    shared = {name: value for name, value in array.attrs.items() if name not in OF_VARIABLE}
    variable.attrs = own | {"coverage_content_type": "image"}
    dataset = variable.to_dataset(name=str(array.name or "video"), promote_attrs=False)
    # Not the matrix found in a frame that happens to be decoded: equal arrays have equal identifiers.
    record = describe_array(array, color_matrix=array.attrs.get("color_matrix"))
    attributes: dict[str, Any] = {
        "Conventions": "CF-1.11",  # not ACDD-1.3, which wants a standard name: CF has none for brightness
        "title": movie_of(array) if "time" in array.dims else describe_frame(array),
        "id": record.uuid,
        "naming_authority": "camhd_access",
        "source": record.source,
        **_find_period(array),
        **_find_place(shared),
    }
    dataset.attrs = shared | {name: value for name, value in attributes.items() if value is not None}
    return dataset


def _find_period(array: xr.DataArray) -> dict[str, str]:
    """First and last time, duration, and median step; empty if the times are unknown."""
    if "time" not in array.coords or array["time"].dtype.kind != "M" or not array["time"].size:
        return {}
    times = np.sort(np.atleast_1d(array["time"].values))
    period = {
        "time_coverage_start": format_time(times[0]),
        "time_coverage_end": format_time(times[-1]),
        "time_coverage_duration": _format_duration(times[-1] - times[0]),
    }
    if len(times) > 1:
        period["time_coverage_resolution"] = _format_duration(np.median(np.diff(times)))
    return period


def _find_place(attributes: dict[str, Any]) -> dict[str, Any]:
    """The bounding box of the camera's position, a point."""
    names = (("lat", "geospatial_lat"), ("lon", "geospatial_lon"), ("vertical", "geospatial_vertical_max"))
    return {
        f"geospatial_{axis}_{bound}": attributes[name]
        for axis, name in names
        if name in attributes
        for bound in ("min", "max")
    }


def _format_duration(duration: np.timedelta64) -> str:
    """A duration in ISO 8601, in seconds to the microsecond."""
    seconds = float(duration / np.timedelta64(1, "s"))
    return f"PT{seconds:.6f}".rstrip("0").rstrip(".") + "S"
