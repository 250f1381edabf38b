"""What an array says of itself (CF-1.11, ACDD-1.3): its dimensions, coordinates and attributes.

They come from the movie's index and name, and are the same whether the pixels come by dask, without, or by
Zarr.
"""

from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.pixels import choose_matrix
from camhd_access.formats.names import find_movie_name
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.series import Stack
from camhd_access.movie.stack import FrameStack

__all__ = [
    "ABOUT_DAMAGE",
    "OF_PIXELS",
    "coordinates_of",
    "dims_of",
    "movie_attributes",
    "pixel_attributes",
]

ABOUT_DAMAGE = {"long_name": "frame is damaged, its pixels are set to 0"}
"""Attributes of the coordinate `damaged`."""

PLACE = {
    "platform": "Axial Seamount, ASHES vent field, cabled seafloor node PN03B",
    "instrument": "RS03ASHS-PN03B-06-CAMHDA301",
    "geospatial_lat": 45.933636,
    "geospatial_lon": -130.013636,
    "acknowledgement": "NSF Ocean Observatories Initiative, Regional Cabled Array",
}
"""What is known of every CamHD movie (ACDD-1.3)."""

CODECS = {
    "apco": "Apple ProRes 422 Proxy",
    "apcs": "Apple ProRes 422 LT",
    "apcn": "Apple ProRes 422",
    "apch": "Apple ProRes 422 HQ",
    "ap4h": "Apple ProRes 4444",
    "ap4x": "Apple ProRes 4444 XQ",
}

MATRIX_NAMES = {1: "ITU-R BT.709", 5: "ITU-R BT.601", 6: "ITU-R BT.601", 7: "SMPTE 240M", 9: "ITU-R BT.2020"}

OF_PIXELS = (
    "long_name",
    "units",
    "valid_range",
    "pix_fmt",
    "decoder",
    "color_range",
    "color_matrix",
    "cell_methods",
)
"""Attributes of the values, which stay with the variable; the others are the dataset's."""


def dims_of(stack: Stack) -> tuple[str, ...]:
    """Names of the array's dimensions."""
    return ("time", "y", "x", "channel")[: stack.ndim]


def coordinates_of(reader: MovieReader, stack: FrameStack) -> dict[str, Any]:
    """Coordinates of a movie's array: when its frames are shown, which they are, and how large."""
    time: npt.NDArray[Any]
    fields = stack.decoder.fields
    if reader.start_time is None:
        time = reader.elapsed(fields=fields)
        about_time = {"long_name": "time since the start of the movie, which is not known", "axis": "T"}
    else:
        time = reader.times(fields=fields)
        about_time = {"standard_name": "time", "long_name": "time when the frame is shown, UTC", "axis": "T"}
    coordinates: dict[str, Any] = {
        "time": ("time", time[stack.frames * stack.decoder.n_per_frame + stack.field], about_time),
        "frame": (
            "time",
            stack.frames,
            {"long_name": "index of the frame in the movie, from 0", "units": "1"},
        ),
        "encoded_size": (
            "time",
            stack.sample_size,
            {"long_name": "size of the encoded frame", "units": "byte"},
        ),
    }
    if fields:
        about_field = {"long_name": "field of the frame: 0 is shown first, 1 second", "units": "1"}
        coordinates["field"] = ("time", stack.field.astype(np.int64), about_field)
    if stack.pixel_format.is_color:
        # Objects, because strings of fixed length have no place in the specification of Zarr 3.
        coordinates["channel"] = ("channel", np.array(list(stack.pixel_format.channels), object))
    return coordinates


def pixel_attributes(stack: FrameStack) -> dict[str, Any]:
    """What the values of the array mean."""
    pixel_format = stack.pixel_format
    coded = pixel_format.layout == "code"
    attributes = {
        "long_name": {"code": "luma as coded", "gray": "luma"}.get(
            pixel_format.layout, "brightness of R'G'B'"
        ),
        "units": "1",
        "valid_range": [4, 1019] if coded else [0, pixel_format.full_scale],
        "pix_fmt": pixel_format.name,
        "decoder": stack.decoder.name,
        "color_range": "video: black 64, white 940"
        if coded
        else f"full: black 0, white {pixel_format.full_scale}",
    }
    if (step := stack.decoder.reduction) > 1:
        of = f"of {step} by {step} pixels"
        if step < 8:
            of = (
                f"approximately, {of}: the {8 // step} by {8 // step} low frequencies of each block of 8 by 8"
            )
        attributes["cell_methods"] = f"y: x: mean ({of})"
    if pixel_format.is_color:
        stated = choose_matrix(None, stack.decoder.track_matrix, height=stack.decoder.frame_size[0])
        attributes["color_matrix"] = (
            f"that of each ProRes frame header; where it has none {MATRIX_NAMES[stated]}, "
            + (
                "by the movie's index"
                if stated == stack.decoder.track_matrix
                else "by the height of the frame"
            )
        )
    return attributes


def movie_attributes(reader: MovieReader) -> dict[str, Any]:
    """Where the movie comes from, and how its times are known."""
    name = find_movie_name(reader.urlpath)
    start = reader.start
    attributes: dict[str, Any] = {
        "title": name.basename if name else PurePath(reader.urlpath.partition("?")[0]).name,
        "source": reader.name,
        "codec": f"{CODECS[reader.index.codec]} ({reader.index.codec})",
        "time_source": start.source,
    }
    if start.disagreement_seconds is not None:
        attributes["time_disagreement_seconds"] = start.disagreement_seconds
    if reader.recovery:
        attributes["comment"] = reader.recovery.summary
    return attributes | (PLACE if name else {})
