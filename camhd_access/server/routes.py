"""The routes of the API, as one table: what is served, and its description for programs.

The application uses a route's name as the name of its handler and as its label in the
metrics. `declare_parameters` lists the query parameters of each route; `describe_api` generates an
OpenAPI document, from which clients and tests can be generated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from camhd_access._version import __version__
from camhd_access.server.declarations import PATH_PARAMETERS, Choice, Parameter, declare_parameters
from camhd_access.server.encoding import FORMATS
from camhd_access.server.hls import HLS_TYPES
from camhd_access.server.iiif import IIIF_PARAMETERS, IMAGE_FORMATS
from camhd_access.server.mirrors import Mirror
from camhd_access.server.parameters import FILM_TYPES
from camhd_access.server.settings import ServerSettings

__all__ = ["MIRROR_ROUTES", "ROUTES", "TWIN_ROUTES", "Route", "describe_api"]


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request."""

    name: str
    """Name of its handler, and its label in the metrics."""
    path: str
    """Its path; for a mirror's, the part that follows the mount path."""
    summary: str
    """What it returns."""
    content_types: tuple[str, ...]
    """Media types of the response."""


JSON_LD = ("application/ld+json", "application/json")

MIRROR_ROUTES = (
    Route("folder", "{path}/", "The files and folders in a folder.", ("application/json",)),
    Route(
        "file",
        "{path}",
        "A folder; other files than `.mov` movies are redirected to the mirror.",
        ("application/json",),
    ),
    Route("movie", "{path}.mov", "Properties of a movie.", ("application/json",)),
    Route("movie", "{path}.mov/info.json", "The same; of a twin, only here.", ("application/json",)),
    Route(
        "frame",
        "{path}.mov/frame/{number}.{extension}",
        "One frame as an image; numbers start at 1. Without an extension, PNG.",
        tuple(dict.fromkeys(each.content_type for each in FORMATS.values())),
    ),
    Route(
        "sample",
        "{path}.mov/sample/{number}",
        "One encoded frame as in the movie: ProRes; of a twin, H.264 or HEVC.",
        ("application/octet-stream",),
    ),
    Route(
        "clip",
        "{path}.mov/clip/{numbers}.mov",
        "Some frames as a QuickTime movie, without re-encoding.",
        ("video/quicktime",),
    ),
    Route(
        "activity",
        "{path}.mov/activity",
        "Mean encoded frame size over time, which shows scene changes and motion.",
        ("application/json",),
    ),
    Route(
        "sheet",
        "{path}.mov/sheet",
        "Thumbnails of the whole movie as one image; .jpg, .png or .webp, JPEG without an extension.",
        ("image/jpeg", "image/png", "image/webp"),
    ),
    Route(
        "animation",
        "{path}.mov/animation",
        "Some frames as a film; .mp4, .gif or .webp, MP4 without an extension.",
        tuple(FILM_TYPES.values()),
    ),
    Route(
        "hls",
        "{path}.mov/hls/index.m3u8",
        "The movie as a playlist of HTTP Live Streaming, for players: H.264, about a second per segment.",
        (HLS_TYPES["m3u8"],),
    ),
    Route(
        "hls", "{path}.mov/hls/init.mp4", "The start of each segment: fragmented MP4.", (HLS_TYPES["mp4"],)
    ),
    Route(
        "hls_segment", "{path}.mov/hls/{segment}.m4s", "A segment, encoded on demand.", (HLS_TYPES["m4s"],)
    ),
    Route(
        "iiif_image",
        "{path}.mov/iiif/{number}/{region}/{size}/{rotation}/{quality}.{format}",
        "A frame, or a part of it, as an image: IIIF Image API 3.0, level 2.",
        tuple(dict.fromkeys(each.content_type for each in IMAGE_FORMATS.values())),
    ),
    Route("iiif_info", "{path}.mov/iiif/{number}/info.json", "The description of this image.", JSON_LD),
    Route("iiif", "{path}.mov/iiif/{number}", "A redirect (303) to this description.", JSON_LD),
    Route(
        "iiif_manifest",
        "{path}.mov/iiif/manifest.json",
        "Frames of the movie at regular intervals: IIIF Presentation 3.0.",
        JSON_LD,
    ),
    Route("iiif_folder_manifest", "{path}/iiif/manifest.json", "Frames of all movies in a folder.", JSON_LD),
)
"""Routes below a mirror."""

TWIN_ROUTES = tuple(
    replace(route, path=route.path.replace(".mov/", ".mp4/", 1))
    for route in MIRROR_ROUTES
    if route.path.startswith("{path}.mov/")
)
"""The same for twins: all that lies below a movie. The twin itself is redirected to, as other files are."""

ROUTES = (
    Route("root", "/", "The mirrors and their paths.", ("application/json",)),
    Route("info", "/info/", "Versions of the software.", ("application/json",)),
    Route("health", "/healthz", "ok, while the server runs.", ("text/plain",)),
    Route("health", "/_ah/health", "The same, at go-lazycache's path.", ("text/plain",)),
    Route("ready", "/readyz", "ok while there is room for another request; else 503.", ("text/plain",)),
    Route("openapi", "/openapi.json", "This description.", ("application/json",)),
)
"""Routes of the server itself."""

_PATH = {
    "in": "path",
    "required": True,
    "name": "path",
    "description": "Path on the mirror, which may contain slashes.",
    "schema": {"type": "string", "minLength": 1},
}

_FILES = {
    "206": "The range requested by Range.",
    "304": "Not modified.",
    "307": "It is in the image store.",
}
"""Status codes of routes that return made files."""

_PROBLEMS = {
    "400": "The request is invalid, or exceeds a limit.",
    "404": "Not found.",
    "414": "The path is too long.",
    "416": "The byte range is not within the file.",
    "422": "The movie or the frame is damaged.",
    "501": "Raw pixels are switched off.",
    "502": "The mirror failed.",
    "503": "Too many concurrent requests; see Retry-After.",
    "504": "The mirror did not respond in time.",
}


def describe_api(mirrors: Sequence[Mirror], settings: ServerSettings) -> dict[str, Any]:
    """The table as an OpenAPI document (3.1.0), with the mirrors' paths and the bounds of the settings."""
    paths = {route.path: _describe(route, settings, {}) for route in ROUTES}
    problems = {
        status: {"description": text, "content": {"application/problem+json": {}}}
        for status, text in _PROBLEMS.items()
    }
    files = {status: {"description": text} for status, text in _FILES.items()}
    others: dict[str, dict[str, Any]] = {
        route.name: {} for route in MIRROR_ROUTES if route.content_types[-1] == "application/json"
    }
    others["file"] = {"302": {"description": "It is not a `.mov` movie; redirect to the mirror."}}
    others["iiif"] = {"303": {"description": "Redirect to the description."}}
    for mirror in mirrors:
        for route in MIRROR_ROUTES + TWIN_ROUTES:
            told = others.get(route.name, files) | problems
            paths[mirror.mount_path + route.path] = _describe(route, settings, told)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "camhd_access",
            "version": __version__,
            "description": "Frames of movies on a web server (ProRes, H.264, HEVC), without downloads.",
        },
        "paths": paths,
    }


def _describe(route: Route, settings: ServerSettings, others: dict[str, Any]) -> dict[str, Any]:
    formats = tuple(name for name, each in FORMATS.items() if settings.raw or not each.is_raw)
    in_path = (*PATH_PARAMETERS, *IIIF_PARAMETERS, Choice("extension", "Format of the image.", formats))
    in_query = declare_parameters(settings.max_pixels).get(route.name, ())
    return {
        "get": {
            "summary": route.summary,
            "parameters": [_PATH] * ("{path}" in route.path)
            + [
                {"in": "path", "required": True} | _describe_parameter(each)
                for each in in_path
                if f"{{{each.name}}}" in route.path
            ]
            + [{"in": "query"} | _describe_parameter(each) for each in in_query],
            "responses": {
                "200": {
                    "description": route.summary,
                    "content": {content_type: {} for content_type in route.content_types},
                }
            }
            | others,
        }
    }


def _describe_parameter(parameter: Parameter) -> dict[str, Any]:
    return {"name": parameter.name, "description": parameter.text, "schema": parameter.schema}
