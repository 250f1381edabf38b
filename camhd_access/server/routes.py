"""The routes of the API, as one table: what is served, and how it is described to programs.

The application takes a route's name for the method that answers it and for the label under which it is
counted. `declare_parameters` says which parameters the query of a route takes; `describe_api` writes both
down as an OpenAPI document, from which programs make clients and tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from camhd_access._version import __version__
from camhd_access.server.declarations import PATH_PARAMETERS, Choice, Parameter, declare_parameters
from camhd_access.server.encoding import FORMATS
from camhd_access.server.mirrors import Mirror
from camhd_access.server.parameters import FILM_TYPES
from camhd_access.server.settings import ServerSettings

__all__ = ["MIRROR_ROUTES", "ROUTES", "Route", "describe_api"]


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


MIRROR_ROUTES = (
    Route("folder", "{path}/", "The files and folders in a folder.", ("application/json",)),
    Route("file", "{path}", "A folder; a file that is no movie is elsewhere.", ("application/json",)),
    Route("movie", "{path}.mov", "Facts about a movie.", ("application/json",)),
    Route(
        "frame",
        "{path}.mov/frame/{number}.{extension}",
        "One frame as a picture; numbers begin with 1. Without an extension, PNG.",
        tuple(dict.fromkeys(each.content_type for each in FORMATS.values())),
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
    ),
    Route(
        "animation",
        "{path}.mov/animation",
        "Some frames as a film; .mp4, .gif or .webp, MP4 without an extension.",
        tuple(FILM_TYPES.values()),
    ),
)
"""Of what lies on a mirror."""

ROUTES = (
    Route("root", "/", "The mirrors, and where they are mounted.", ("application/json",)),
    Route("info", "/info/", "Versions of what runs.", ("application/json",)),
    Route("health", "/healthz", "ok, while the server runs.", ("text/plain",)),
    Route("health", "/_ah/health", "The same, where go-lazycache had it.", ("text/plain",)),
    Route("ready", "/readyz", "ok, while another request finds room; else 503.", ("text/plain",)),
    Route("openapi", "/openapi.json", "This description.", ("application/json",)),
)
"""Of the server itself."""

_PATH = {
    "in": "path",
    "required": True,
    "name": "path",
    "description": "Path on the mirror, which may hold slashes.",
    "schema": {"type": "string", "minLength": 1},
}

_FILES = {
    "206": "The part that was asked for by Range.",
    "304": "It has not changed.",
    "307": "It lies in the image store.",
}
"""Of routes whose answer is a file that was made."""

_PROBLEMS = {
    "400": "What was asked makes no sense, or is more than is allowed.",
    "404": "There is no such thing.",
    "414": "The path is too long.",
    "416": "There is no such range of bytes.",
    "422": "The movie or the frame is damaged.",
    "501": "Raw pixels are switched off.",
    "502": "The mirror failed.",
    "503": "Too much is asked at the same time; see Retry-After.",
    "504": "The mirror did not answer in time.",
}


def describe_api(mirrors: Sequence[Mirror], settings: ServerSettings) -> dict[str, Any]:
    """The table as an OpenAPI document (3.1.0), with these mirrors' paths and these settings' bounds."""
    paths = {route.path: _describe(route, settings, {}) for route in ROUTES}
    problems = {
        status: {"description": text, "content": {"application/problem+json": {}}}
        for status, text in _PROBLEMS.items()
    }
    files = {status: {"description": text} for status, text in _FILES.items()}
    elsewhere = {"302": {"description": "It is no movie, and lies on the mirror."}}
    for mirror in mirrors:
        for route in MIRROR_ROUTES:
            others = {"file": elsewhere, "folder": {}, "movie": {}, "activity": {}}.get(route.name, files)
            paths[mirror.mount_path + route.path] = _describe(route, settings, others | problems)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "camhd_access",
            "version": __version__,
            "description": "Frames of ProRes movies on a web server, without downloading the movies.",
        },
        "paths": paths,
    }


def _describe(route: Route, settings: ServerSettings, others: dict[str, Any]) -> dict[str, Any]:
    formats = tuple(name for name, each in FORMATS.items() if settings.raw or not each.is_raw)
    in_path = (*PATH_PARAMETERS, Choice("extension", "Format of the picture.", formats))
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
