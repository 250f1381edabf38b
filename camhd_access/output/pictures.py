"""8-bit images of arrays of frames, and their descriptions.

The arrays of `open_movie` and `open_timelapse` have the meaning of their values and the identity of each
frame in attributes and coordinates; nothing here depends on how they were made, so computed or loaded
arrays work too.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from camhd_access.arrays.dask_array import StackArray
from camhd_access.decoding.decoders import choose_decoder
from camhd_access.decoding.threads import n_cores
from camhd_access.formats.names import find_movie_name
from camhd_access.movie.stack import FrameStack

__all__ = [
    "Image",
    "check_frames",
    "deinterlaced",
    "describe_frame",
    "describe_time",
    "files_of",
    "is_timelapse",
    "iter_frames",
    "movie_of",
    "movies_of",
    "sample_rate",
    "steady_range",
    "time_of",
    "to_image",
    "unread",
    "value_range",
]

Image: TypeAlias = npt.NDArray[np.uint8]
"""Shape (y, x, 3), or (y, x) for shades of gray."""

MAX_FRAMES_AT_ONCE = 64
"""Frames computed at once, at most."""

MISSING_GREY = 128
"""Grey level of missing pixels."""

BLUE_TO_RED = np.array(
    [
        [5, 48, 97],
        [33, 102, 172],
        [67, 147, 195],
        [146, 197, 222],
        [209, 229, 240],
        [247, 247, 247],
        [253, 219, 199],
        [244, 165, 130],
        [214, 96, 77],
        [178, 24, 43],
        [103, 0, 31],
    ],
    np.float32,
)
"""Colours of signed values, at even steps: ColorBrewer's RdBu, as matplotlib's `RdBu_r`. Zero is not grey."""

CODED_BLACK, CODED_WHITE = 64, 940
"""Black and white of luma as coded (ITU-R BT.709, section 4)."""


def check_frames(array: xr.DataArray) -> None:
    """Raise a `ValueError` unless the array has at least one frame."""
    dims = [dim for dim in array.dims if dim != "channel"]
    if dims not in (["y", "x"], ["time", "y", "x"]):
        raise ValueError(f"frames have the dimensions time, y, x and channel; this array has {array.dims}")
    if not array.sizes.get("time", 1):
        raise ValueError("the selection contains no frames")
    if not array.sizes["y"] or not array.sizes["x"]:
        raise ValueError("the selection contains no pixels")


def to_image(frame: xr.DataArray, vmin: float | None = None, vmax: float | None = None) -> Image:
    """The frame as an image: R'G'B', or shades of gray from black at `vmin` to white at `vmax`.

    Notes
    -----
    Missing pixels are grey. A single plane of signed values is blue below zero and red above it, if the range
    is symmetric, which is the default.
    """
    if "channel" in frame.dims:
        order = ["R", "G", "B"] if "channel" in frame.coords else slice(None)
        frame = frame.transpose("y", "x", "channel").sel(channel=order)
    low, high = value_range(frame)
    low, high = low if vmin is None else vmin, high if vmax is None else vmax
    values = frame.values
    if values.dtype == np.uint8 and (low, high) == (0, 255):
        return values
    scaled = np.nan_to_num((values.astype(np.float32) - low) * (255 / (high - low))).clip(0, 255)
    if low == -high and "channel" not in frame.dims:
        steps = np.linspace(0, 255, len(BLUE_TO_RED))
        scaled = np.stack([np.interp(scaled, steps, channel) for channel in BLUE_TO_RED.T], axis=-1)
    picture: Image = scaled.round().astype(np.uint8)
    if values.dtype.kind == "f" and (missing := np.isnan(values)).any():
        picture[missing.any(axis=-1) if "channel" in frame.dims else missing] = MISSING_GREY
    return picture


def value_range(array: xr.DataArray) -> tuple[float, float]:
    """The values of black and white.

    Notes
    -----
    Pixels have those of their format. xarray keeps that attribute through arithmetic, so for computed values
    it only applies if they can be pixels: with negative values the range is symmetric around zero, fractions
    up to 1 use 0 to 1, and values outside the format's range use their minimum and maximum.
    """
    low, high = _range_of_pixels(array)
    if array.dtype.kind not in "if":
        return low, high
    known = array.values[np.isfinite(array.values)] if array.dtype.kind == "f" else array.values
    if not known.size:
        return low, high
    least, greatest = float(known.min()), float(known.max())
    if least < 0:
        reach = max(-least, greatest)
        return -reach, reach
    if greatest <= 1 < high:
        return 0.0, 1.0
    if "valid_range" not in array.attrs or greatest > array.attrs["valid_range"][1]:
        return (least, greatest) if least < greatest else (least, least + 1)
    return low, high


def _range_of_pixels(array: xr.DataArray) -> tuple[float, float]:
    """Black and white of the pixel format; if unknown, the range of the integer type, or 0 to 1."""
    if array.attrs.get("pix_fmt") == "gray10le":
        return CODED_BLACK, CODED_WHITE
    if "valid_range" in array.attrs:
        low, high = array.attrs["valid_range"]
        return float(low), float(high)
    return 0.0, float(np.iinfo(array.dtype).max) if array.dtype.kind in "iu" else 1.0


def steady_range(first: xr.DataArray) -> tuple[float, float]:
    """Black and white for all frames of a film, from the first; for signed values the possible range."""
    low, high = value_range(first)
    full = _range_of_pixels(first)[1]
    return (-max(full, high), max(full, high)) if low < 0 else (low, high)


def describe_time(time: np.datetime64 | np.timedelta64, unit: Literal["m", "s", "ms"] = "ms") -> str:
    """Time of a frame: in UTC, or from the start of the movie if that is unknown."""
    if isinstance(time, np.timedelta64):
        return f"{time / np.timedelta64(1, 's'):.3f} s from its start"
    return str(np.datetime_as_string(time, unit)).replace("T", " ") + " UTC"


def time_of(frame: xr.DataArray) -> np.datetime64 | np.timedelta64:
    """Time of the frame."""
    return cast("np.datetime64 | np.timedelta64", frame["time"].values[()])


def movies_of(array: xr.DataArray) -> list[str]:
    """Names of the movies of the frames, in order; empty if unknown."""
    if "movie" in array.coords:
        return list(dict.fromkeys(map(str, np.ravel(array["movie"].values))))
    if "source" in array.coords and not array["source"].dims:  # a mean over time keeps it
        source = str(array["source"].item())
        name = find_movie_name(source)
        return [name.basename if name else PurePath(source).name]
    return []


def is_timelapse(array: xr.DataArray) -> bool:
    """Whether each frame is from a different movie."""
    return 1 < array.sizes.get("time", 1) == len(movies_of(array))


def movie_of(array: xr.DataArray) -> str:
    """Name of the array's movie; for several, a common name."""
    names = movies_of(array)
    if len(names) == 1:
        return names[0]
    title = str(array.attrs.get("title", array.name or ""))
    return f"{len(names)} movies, {names[0]} to {names[-1]}" if names and "movies" not in title else title


def describe_frame(frame: xr.DataArray) -> str:
    """Movie, frame and time of one frame, as far as known."""
    known = [name for name in ("frame", "field") if name in frame.coords and not frame[name].dims]
    operation = frame.attrs.get("operation", "")
    words = [movie_of(frame), operation, *(f"{name} {int(frame[name])}" for name in known)]
    if "time" in frame.coords and not frame["time"].dims:
        words.append(describe_time(time_of(frame)))
    return "  ·  ".join(filter(None, words))


def sample_rate(array: xr.DataArray) -> float | None:
    """Images per second, from the median of the time steps; None for one image."""
    if array.sizes["time"] < 2:
        return None
    steps = np.diff(array["time"].values) / np.timedelta64(1, "s")
    return 1 / max(float(np.median(np.abs(steps))), 1e-3)


def files_of(array: xr.DataArray) -> set[str]:
    """Paths or URLs of the files that the frames were read from, as far as they are known."""
    names = np.ravel(array["source"].values).tolist() if "source" in array.coords else []
    return {str(name) for name in (*names, array.encoding.get("source")) if name}


def unread(array: xr.DataArray) -> StackArray | None:
    """The unread frames of an array that is unchanged since it was opened, or a part of it; else None."""
    data = None if array.chunks is None else array.data
    return data if isinstance(data, StackArray) and data.shown is not None else None


def deinterlaced(array: xr.DataArray) -> xr.DataArray:
    """The same frames, deinterlaced, if they can be read so; else the array itself."""
    data = unread(array)
    if data is None or data.shown is None or type(data.stack) is not FrameStack:  # no `GroupStack`
        return array
    decoder = data.stack.decoder
    if decoder.fields or decoder.deinterlaces or decoder.size[0] != data.stack.shape[1]:
        return array
    other = choose_decoder(
        decoder.frame_size,
        pix_fmt=decoder.pixel_format.name,
        track_matrix=decoder.track_matrix,
        deinterlace=True,
        reduce=decoder.reduction,
    )
    if other.size != decoder.size:  # an odd number of lines
        return array
    stack = replace(data.stack, decoder=other)
    made_up = StackArray.cut(stack, data.chunks, data.shown, marks_damage=data.marks_damage)
    return array.copy(data=made_up)


def iter_frames(array: xr.DataArray) -> Iterator[xr.DataArray]:
    """The frames one by one, in memory; as many are computed at once as keep all cores busy."""
    in_task = 1 if array.chunks is None else max(array.chunks[array.get_axis_num("time")], default=1)
    n_at_once = min(in_task * n_cores(), MAX_FRAMES_AT_ONCE)
    for start in range(0, array.sizes["time"], n_at_once):
        yield from array.isel(time=slice(start, start + n_at_once)).compute()
