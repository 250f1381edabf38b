"""Metadata of arrays (CF-1.11): dimensions, coordinates and attributes.

They are made from the movie's index and name, and are the same for arrays with dask, without dask, and from
Zarr. What applies to one movie only (its name, its source, the accuracy of its times) is a coordinate, so
that it stays correct for each frame when arrays are concatenated; attributes hold what movies share.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from camhd_access._version import __version__
from camhd_access.arrays.clocks import find_start
from camhd_access.decoding.decoders import Decoder
from camhd_access.decoding.deinterlacing import find_made_up
from camhd_access.decoding.pixels import MATRIX_NAMES, choose_matrix
from camhd_access.formats.names import find_movie_name
from camhd_access.formats.quicktime import CODEC_NAMES, MovieIndex
from camhd_access.movie.group_stack import GroupStack
from camhd_access.movie.origin import LICENSE
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
    "place_of",
]

ABOUT_DAMAGE = {"long_name": "share of the frame that is damaged, whose pixels are NaN", "units": "1"}
"""Attributes of the coordinate `damaged`."""

PLACE = {
    "title": "Seafloor video of the camera CamHD at a hydrothermal vent of Axial Seamount",
    "platform": "Axial Seamount, ASHES vent field, cabled seafloor node PN03B",
    "instrument": "RS03ASHS-PN03B-06-CAMHDA301",
    "geospatial_lat": 45.933636,
    "geospatial_lon": -130.013636,
    "geospatial_vertical_max": 1543.0,
    "geospatial_vertical_positive": "down",
    "institution": "Ocean Observatories Initiative",
    "summary": "Frames of HD video of the seafloor, of a hydrothermal vent and the animals on it",
    "keywords": "seafloor video, hydrothermal vent, Axial Seamount, CamHD, Ocean Observatories Initiative",
    "acknowledgement": "NSF Ocean Observatories Initiative, Regional Cabled Array",
    "license": LICENSE,
}
"""Attributes of every CamHD movie, by names of ACDD-1.3."""


OF_PIXELS = (
    "long_name",
    "units",
    "valid_range",
    "pix_fmt",
    "decoder",
    "color_range",
    "color_matrix",
    "cell_methods",
    "deinterlace",
    "reduce",
)
"""Attributes of the variable itself; all others belong to the dataset."""

Coordinate = tuple[Any, ...]
"""Dimension (none for a scalar), values, attributes."""


def dims_of(stack: Stack) -> tuple[str, ...]:
    """Names of the array's dimensions."""
    return ("time", "y", "x", "channel")[: stack.ndim]


def coordinates_of(reader: MovieReader, stack: FrameStack) -> dict[str, Coordinate]:
    """Coordinates of a movie's array: time, position and movie."""
    coordinates = _of_frames(reader, stack) | place_of(stack.decoder, *map(_positions, stack.window))
    if stack.pixel_format.is_color:
        coordinates["channel"] = ("channel", _as_objects(list(stack.pixel_format.channels)))
    if stack.decoder.deinterlaces:
        coordinates["interpolated"] = _interpolated(reader, stack)
    return coordinates | _of_movie(reader, len(stack.frames))


def _interpolated(reader: MovieReader, stack: FrameStack) -> Coordinate:
    """The coordinate `interpolated`."""
    lines = _positions(stack.window[0])
    is_odd = not reader.top_field_first
    made_up = find_made_up(lines, line_offset=int(is_odd), reduce=stack.decoder.reduction)
    return (
        "y",
        made_up,
        {"long_name": "whether the line is interpolated from those above and below", "units": "1"},
    )


def _positions(extent: slice) -> npt.NDArray[np.int64]:
    return np.arange(extent.start, extent.stop)


def place_of(
    decoder: Decoder, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> dict[str, Coordinate]:
    """Coordinates `y` and `x` of some rows and columns of a decoder's output.

    Notes
    -----
    In pixels of the whole frame, counted from 0: for a preview the centres of its blocks, for a field
    the middle between its line and the adjacent line of the other field, so both fields have the same.
    """
    scales = {"y": decoder.reduction * decoder.n_per_frame, "x": decoder.reduction}
    names = {"y": "line", "x": "column"}
    coordinates: dict[str, Coordinate] = {}
    for (dim, scale), positions in zip(scales.items(), (rows, columns), strict=True):
        centres = positions if scale == 1 else positions * scale + (scale - 1) / 2
        about = {"long_name": f"{names[dim]} of the whole frame, from 0", "units": "1"}
        coordinates[dim] = (dim, centres, about, {"_FillValue": None})  # CF forbids it, xarray writes it
    return coordinates


def _of_frames(reader: MovieReader, stack: FrameStack) -> dict[str, Coordinate]:
    """Time, index and encoded size of each frame."""
    time: npt.NDArray[Any]
    fields = stack.decoder.fields
    if reader.start_time is None:
        time = reader.elapsed(fields=fields)
        about_time = {"long_name": "time since the start of the movie, which is unknown", "axis": "T"}
    else:
        time = reader.times(fields=fields)
        about_time = {"standard_name": "time", "long_name": "time when the frame is shown, UTC", "axis": "T"}
    about_frame = {"long_name": "index of the frame in the movie, from 0", "units": "1"}
    coordinates: dict[str, Coordinate] = {
        "time": ("time", time[stack.frames * stack.decoder.n_per_frame + stack.field], about_time),
        "frame": ("time", reader.original_frames(stack.frames), about_frame),
        "encoded_size": (
            "time",
            stack.sample_size,
            {"long_name": "size of the encoded frame", "units": "byte"},
        ),
        "hidden": (
            "time",
            reader.index.hidden[stack.frames].astype(np.int8),  # xarray loads no boolean in an event loop
            {
                "long_name": "whether the edit list of the movie hides the frame from players",
                "flag_values": np.array([0, 1], np.int8),
                "flag_meanings": "shown hidden",
            },
        ),
    }
    if fields:
        about_field = {"long_name": "field of the frame: 0 is shown first, 1 second", "units": "1"}
        about_lines = {
            "long_name": "lines of the field: 0 the even ones of the frame, 1 the odd ones",
            "units": "1",
        }
        field = stack.field.astype(np.int64)
        coordinates["field"] = ("time", field, about_field)
        coordinates["line_offset"] = ("time", field ^ (not reader.top_field_first), about_lines)
    return coordinates


def _of_movie(reader: MovieReader, n_pictures: int) -> dict[str, Coordinate]:
    """Coordinates that are the same for every frame of one movie.

    Notes
    -----
    The name is stored per frame, so that xarray keeps it however arrays are combined; all others are
    single values.
    """
    start, origin = find_start(reader), reader.origin
    source, file_size, etag = (
        (reader.name, reader.file_size, reader.source.etag)
        if origin is None
        else (origin.source, origin.file_size, origin.etag)
    )
    seconds = {"units": "s"}
    return {
        "movie": (
            "time",
            np.full(n_pictures, reader.movie_name, object),
            {"long_name": "base name of the movie"},
        ),
        "source": ((), _as_objects(source), {"long_name": "file of the frames"}),
        "file_size": ((), np.int64(file_size), {"long_name": "size of that file", "units": "byte"}),
        "etag": (
            (),
            _as_objects(etag),
            {"long_name": "ETag or Last-Modified of that file; empty if the server sends neither"},
        ),
        "time_source": (
            (),
            _as_objects(start.source),
            {"long_name": "source of the start time: the movie's own clock (mvhd), its name, or unknown"},
        ),
        "time_disagreement_seconds": (
            (),
            np.float64(np.nan if start.disagreement_seconds is None else start.disagreement_seconds),
            {"long_name": "time by the movie's clock minus time by its name"} | seconds,
        ),
        "time_uncertainty_seconds": (
            (),
            np.float64(np.nan if start.uncertainty_seconds is None else start.uncertainty_seconds),
            {"long_name": "uncertainty of the times; NaN if unknown"} | seconds,
        ),
        "timecode_disagreement_seconds": (
            (),
            np.float64(
                np.nan if start.timecode_disagreement_seconds is None else start.timecode_disagreement_seconds
            ),
            {"long_name": "time of day in the movie's timecode minus its start; NaN if it was not read"}
            | seconds,
        ),
    }


def _as_objects(text: str | list[str]) -> npt.NDArray[np.object_]:
    """Text as objects: fixed-length strings are not part of the Zarr 3 specification."""
    return np.array(text, object)


def pixel_attributes(stack: FrameStack, *, marks_damage: bool = False) -> dict[str, Any]:
    """Attributes of the pixel values; with `marks_damage` they are float32."""
    pixel_format = stack.pixel_format
    coded = pixel_format.layout == "code"
    dtype = np.dtype(np.float32) if marks_damage else pixel_format.dtype.newbyteorder("=")
    attributes: dict[str, Any] = {
        "long_name": {"code": "luma as coded", "gray": "luma"}.get(
            pixel_format.layout, "brightness of R'G'B'"
        ),
        "units": "1",
        "valid_range": np.array([4, 1019] if coded else [0, pixel_format.full_scale], dtype),
        "pix_fmt": pixel_format.name,
        "decoder": stack.decoder.name,
        "color_range": "video: black 64, white 940"
        if coded
        else f"full: black 0, white {pixel_format.full_scale}",
    }
    if stack.decoder.deinterlaces:
        attributes["deinterlace"] = (
            "linear: frames of the field shown first; lines of the other field are interpolated"
        )
    if stack.decoder.reduction > 1:
        attributes["reduce"] = stack.decoder.reduction
    if methods := _cell_methods(stack.decoder):
        attributes["cell_methods"] = methods
    if pixel_format.is_color:
        stated = choose_matrix(None, stack.decoder.track_matrix, height=stack.decoder.frame_size[0])
        attributes["color_matrix"] = (
            MATRIX_NAMES[stack.find_matrix()]
            if isinstance(stack, GroupStack)
            else f"from each ProRes frame header; if it has none, {MATRIX_NAMES[stated]}, "
            + ("from the movie's index" if stated == stack.decoder.track_matrix else "from the frame height")
        )
    return attributes


def _cell_methods(decoder: Decoder) -> str:
    """What values represent in space (CF-1.11, section 7.3); empty if each value is a pixel."""
    step = decoder.reduction
    of = f"{step} by {step} pixels" + (" of a field" if decoder.fields or decoder.deinterlaces else "")
    if 1 < step < 8:
        of = f"approximately of {of}, the {8 // step} by {8 // step} low frequencies of each block of 8 by 8"
    elif step > 1:
        of = f"of {of}"
    methods = [f"y: x: mean ({of})"] if step > 1 else []
    if decoder.fields:
        methods.append("y: point (the lines of one field, every other one)")
    if decoder.deinterlaces:
        methods.append("y: point (lines of the field shown second are interpolated linearly)")
    return " ".join(methods)


def movie_attributes(reader: MovieReader) -> dict[str, Any]:
    """Attributes of the movie that can be the same for other movies."""
    attributes: dict[str, Any] = {
        "codec": f"{CODEC_NAMES[reader.index.codec]} ({reader.index.codec})",
        "coding": _coding(reader.index),
        "software": f"camhd_access {__version__}",
        "history": f"frames decoded by camhd_access {__version__}",
    }
    if reader.recovery:
        attributes["comment"] = reader.recovery.summary
    return attributes | (PLACE if find_movie_name(reader.movie_name) else {})


def _coding(index: MovieIndex) -> str:
    """Whether frames depend on each other, and the bits of a code."""
    if index.coded is None:
        return f"lossy intra-frame, {12 if index.codec in ('ap4h', 'ap4x') else 10} bit"
    bit_depth = index.coded.stream.bit_depth
    return "lossy inter-frame" + (f", {bit_depth} bit" if bit_depth else "")
