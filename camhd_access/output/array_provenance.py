"""The provenance record (see `provenance`) of an array, from its coordinates and attributes."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from camhd_access.decoding.pixels import MATRIX_NAMES, PIXEL_FORMATS
from camhd_access.movie.origin import LICENSE, format_frames
from camhd_access.movie.stack import FrameStack
from camhd_access.output.pictures import movie_of, movies_of, unread
from camhd_access.output.provenance import CACHED, Provenance, format_time

__all__ = ["describe_array", "write_python"]

MAX_MOVIES_NAMED = 200
"""Maximum number of movies that a record lists by name."""

MAX_FRAMES_LISTED = 100
"""Maximum number of irregularly spaced frames that are listed individually."""


def describe_array(array: xr.DataArray, **known: Any) -> Provenance:  # noqa: ANN401 - fields of `Provenance`
    """The record of an array of frames, or of an array computed from them.

    Parameters
    ----------
    known
        More fields of the record.
    """
    names = movies_of(array)
    matrix = _matrix_of(array) or array.attrs.get("color_matrix")
    pix_fmt = array.attrs.get("pix_fmt")
    is_one_movie = len(names) < 2
    found: dict[str, Any] = {
        "movie": movie_of(array),
        "movies": None if is_one_movie else names[:MAX_MOVIES_NAMED],
        "source": (_first(array, "source", str) or "").removeprefix(CACHED) or None,
        "file_size": _first(array, "file_size", int) if is_one_movie else None,
        "etag": (_first(array, "etag", str) or None) if is_one_movie else None,
        "frames": _frames_of(array),
        **_times_of(array),
        "time_source": _first(array, "time_source", str) if is_one_movie else None,
        "time_disagreement_seconds": _worst(array, "time_disagreement_seconds"),
        "time_uncertainty_seconds": _worst(array, "time_uncertainty_seconds"),
        "field": _only_field(array),
        "deinterlace": "linear" if "interpolated" in array.coords else None,
        "crop": _crop_of(array),
        "reduce": _reduction_of(array),
        "operation": array.attrs.get("operation"),
        "pix_fmt": pix_fmt,
        "bit_depth": PIXEL_FORMATS[pix_fmt].bit_depth if pix_fmt in PIXEL_FORMATS else None,
        "color_matrix": matrix,
        "decoder": array.attrs.get("decoder"),
        "license": array.attrs.get("license", LICENSE if names else None),
    }
    if "software" in array.attrs:
        found["software"] = array.attrs["software"]
    return Provenance(**found | known)


def write_python(array: xr.DataArray, call: str) -> str | None:
    """Python code that opens the array again and calls a method of it; None if that is unknown."""
    data = unread(array)
    if data is None or data.shown is None or not isinstance(data.stack, FrameStack):
        return None
    if (data.stack.field == 1).any():  # an index would select both fields
        return None
    stack, (positions, y, x, *_) = data.stack, data.shown
    frames = _write_positions(np.atleast_1d(stack.frames[positions]))
    if frames is None:
        return None
    options = [repr(str(np.ravel(array["source"].values)[0])), f"frames={frames}"]
    if stack.pixel_format.name != "rgb24":
        options.append(f"pix_fmt={stack.pixel_format.name!r}")
    if stack.decoder.fields:
        options.append("fields='first'")
    if stack.decoder.deinterlaces:
        options.append("deinterlace='linear'")
    if stack.decoder.reduction > 1:
        options.append(f"reduce={stack.decoder.reduction}")
    index = ["0" if not positions.ndim else ":", *map(_write_slice, (y, x))]
    is_whole = all(
        np.array_equal(each, np.arange(n)) for each, n in zip((y, x), stack.shape[1:3], strict=True)
    )
    index = index[:1] if is_whole else index
    chosen = "" if index == [":"] else f"[{', '.join(index)}]"
    return f"open_movie({', '.join(options)}){chosen}.camhd.{call}"


def _write_positions(positions: npt.NDArray[Any]) -> str | None:
    """The numbers as Python code; None if they are many and irregularly spaced."""
    if len(positions) > 1 and len(set(np.diff(positions).tolist())) == 1 and positions[1] != positions[0]:
        step = int(positions[1] - positions[0])
        return f"range({positions[0]}, {positions[-1] + step}{f', {step}' if step != 1 else ''})"
    return str(positions.tolist()) if len(positions) <= MAX_FRAMES_LISTED else None


def _write_slice(positions: npt.NDArray[Any]) -> str:
    """The Python code of an index of lines or columns."""
    if not positions.ndim:
        return str(positions)
    step = int(positions[1] - positions[0]) if len(positions) > 1 else 1
    return f"{positions[0]}:{positions[-1] + 1}" + (f":{step}" if step != 1 else "")


def _first(array: xr.DataArray, name: str, kind: type) -> Any:  # noqa: ANN401 - of that kind
    """The value of a coordinate (the first one, if there are several); None if there is none."""
    if name not in array.coords or not array[name].size:
        return None
    return kind(np.ravel(array[name].values)[0])


def _worst(array: xr.DataArray, name: str) -> float | None:
    """The value farthest from 0; None if none is known."""
    if name not in array.coords:
        return None
    values = np.ravel(array[name].values).astype(float)
    values = values[np.isfinite(values)]
    return float(values[np.abs(values).argmax()]) if values.size else None


def _only_field(array: xr.DataArray) -> int | None:
    """The field of all images; None for whole frames, or for both fields."""
    fields = set(np.ravel(array["field"].values).tolist()) if "field" in array.coords else set()
    return int(fields.pop()) if len(fields) == 1 else None


def _frames_of(array: xr.DataArray) -> str | None:
    if "frame" not in array.coords or not array["frame"].size:
        return None
    frames = np.ravel(array["frame"].values)
    if "field" in array.coords and array["field"].dims:
        fields = np.ravel(array["field"].values)
        frames = frames[fields == fields[0]]
    return format_frames(frames)


def _times_of(array: xr.DataArray) -> dict[str, str | None]:
    if "time" not in array.coords or array["time"].dtype.kind != "M" or not array["time"].size:
        return {}
    times = np.ravel(array["time"].values)
    return {"time": format_time(times[0]), "time_end": format_time(times[-1]) if array["time"].dims else None}


def _reduction_of(array: xr.DataArray) -> int | None:
    """Columns of the frame per column of the array."""
    data = unread(array)
    if data is not None:
        return data.stack.decoder.reduction
    return int(array.attrs.get("reduce", 1)) if "pix_fmt" in array.attrs else None


def _crop_of(array: xr.DataArray) -> list[int] | None:
    """Left, top, width and height of the crop; None if the array has the whole frame."""
    if not {"y", "x"} <= set(array.coords) or not array["y"].size or not array["x"].size:
        return None
    data = unread(array)
    size = data.stack.decoder.frame_size if data is not None else None
    spans = []
    for dim in ("x", "y"):
        centres = np.atleast_1d(array[dim].values).astype(float)
        half = _half_step(array, dim)
        spans.append((round(centres.min() - half), round(centres.max() + half) + 1))
    (left, right), (top, bottom) = spans
    if size is not None and (left, top) == (0, 0) and (bottom, right) == size:
        return None
    return [left, top, right - left, bottom - top]


def _half_step(array: xr.DataArray, dim: str) -> float:
    """Distance from the centre of a block to the centre of its first pixel."""
    scale = _reduction_of(array) or 1
    if dim == "y" and "field" in array.coords:
        scale *= 2
    return (scale - 1) / 2


def _matrix_of(array: xr.DataArray) -> str | None:
    """Colour matrix of the first frame, if this process has decoded it recently."""
    data = unread(array)
    if data is None or data.shown is None or "channel" not in array.coords:
        return None
    stack = data.stack.select(np.atleast_1d(data.shown[0])[:1])
    stack = stack if isinstance(stack, FrameStack) else next(iter(stack.stacks), stack.empty)
    number = stack.find_matrix()
    return None if number is None else MATRIX_NAMES[number]
