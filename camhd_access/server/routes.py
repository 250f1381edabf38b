"""The routes of the API, as one table: what is served, which parameters it takes, how it is described.

The application takes a route's name for the method that answers it and for the label under which it is
counted; `openapi` writes the table down for programs.
"""

from dataclasses import dataclass

from camhd_access.server.encoding import FORMATS
from camhd_access.server.parameters import (
    FILM_TYPES,
    MAX_COLUMNS,
    MAX_FPS,
    MAX_NUMBER,
    MAX_SECONDS,
    MAX_SIDE,
    MIN_SECONDS,
)

__all__ = ["MIRROR_ROUTES", "ROUTES", "Parameter", "Route"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a query, or a part of the path."""

    name: str
    """As it is spelt."""
    text: str
    """What it means."""
    schema: tuple[tuple[str, object], ...]
    """Its JSON schema, as pairs."""


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request."""

    name: str
    """The method that answers it, and its label in the metrics."""
    path: str
    """Its path; of a mirror's, what follows that."""
    summary: str
    """What comes back."""
    content_types: tuple[str, ...]
    """Media types of the answer."""
    parameters: tuple[Parameter, ...] = ()
    """Of the query."""


def _whole(name: str, text: str, minimum: int, maximum: int) -> Parameter:
    return Parameter(name, text, (("type", "integer"), ("minimum", minimum), ("maximum", maximum)))


def _decimal(name: str, text: str, minimum: float, maximum: float) -> Parameter:
    return Parameter(name, text, (("type", "number"), ("minimum", minimum), ("maximum", maximum)))


def _one_of(name: str, text: str, *choices: object) -> Parameter:
    return Parameter(name, text, (("enum", list(choices)),))


_QUALITY = _whole("quality", "Of JPEG and WebP.", 1, 100)
_FRAME = (
    _whole("width", "Columns of the picture; alone, it keeps the shape.", 1, MAX_SIDE),
    _whole("height", "Lines of the picture; alone, it keeps the shape.", 1, MAX_SIDE),
    Parameter(
        "crop",
        "x,y,width,height: what is wanted of the picture that is shown, in its pixels.",
        (("type", "string"), ("pattern", r"^[0-9]{1,5}(,[0-9]{1,5}){3}$")),
    ),
    _one_of("reduce", "8 for a preview of an eighth of width and height, ten times faster.", 1, 8),
    _one_of("field", "One field of an interlaced frame: 0 is shown first.", 0, 1),
    _one_of(
        "pix_fmt",
        "What .npy and .tif hold; .tif takes rgb48le and gray16le.",
        *FORMATS["npy"].pix_fmts,
    ),
    _QUALITY,
)

MIRROR_ROUTES = (
    Route("folder", "{path}/", "The files and folders in a folder.", ("application/json",)),
    Route("file", "{path}", "A folder; a file that is no movie is elsewhere.", ("application/json",)),
    Route("movie", "{path}.mov", "Facts about a movie.", ("application/json",)),
    Route(
        "frame",
        "{path}.mov/frame/{number}.{extension}",
        "One frame as a picture; numbers begin with 1. Without an extension, PNG.",
        tuple(dict.fromkeys(each.content_type for each in FORMATS.values())),
        _FRAME,
    ),
    Route(
        "sample",
        "{path}.mov/sample/{number}",
        "One frame as it lies in the movie: ProRes.",
        ("application/octet-stream",),
    ),
    Route(
        "clip",
        "{path}.mov/clip/{numbers}.mov",
        "Some frames as a QuickTime movie of their own, as they lie in the movie.",
        ("video/quicktime",),
        (_whole("step", "From one frame's number to the next.", 1, MAX_NUMBER),),
    ),
    Route(
        "activity",
        "{path}.mov/activity",
        "Mean encoded size of stretches of frames, which tells where something moves.",
        ("application/json",),
    ),
    Route(
        "sheet",
        "{path}.mov/sheet",
        "Thumbnails of the whole movie as one picture; .jpg, .png or .webp, JPEG without an extension.",
        ("image/jpeg", "image/png", "image/webp"),
        (
            _decimal("every", "Seconds from one to the next.", MIN_SECONDS, MAX_SECONDS),
            _whole("columns", "Thumbnails in a row.", 1, MAX_COLUMNS),
            _whole("width", "Columns of a thumbnail.", 16, 1920),
            _QUALITY,
        ),
    ),
    Route(
        "animation",
        "{path}.mov/animation",
        "Some frames as a film; .mp4, .gif or .webp, MP4 without an extension.",
        tuple(FILM_TYPES.values()),
        (
            _whole("start", "Number of the first frame.", 1, MAX_NUMBER),
            _whole("stop", "Number of the last frame.", 1, MAX_NUMBER),
            _whole("step", "From one frame's number to the next.", 1, MAX_NUMBER),
            _whole("width", "Columns; the height follows.", 16, 1920),
            _decimal("fps", "Frames a second.", 1, MAX_FPS),
        ),
    ),
)
"""Of what lies on a mirror."""

ROUTES = (
    Route("root", "/", "The mirrors, and where they are mounted.", ("application/json",)),
    Route("info", "/info/", "Versions of what runs.", ("application/json",)),
    Route("metrics", "/metrics/", "Figures for Prometheus.", ("text/plain",)),
    Route("health", "/healthz", "ok, while the server runs.", ("text/plain",)),
    Route("health", "/_ah/health", "The same, where go-lazycache had it.", ("text/plain",)),
    Route("openapi", "/openapi.json", "This description.", ("application/json",)),
)
"""Of the server itself."""
