"""The table of routes as an OpenAPI document, for programs that make clients and tests from it."""

from collections.abc import Sequence
from typing import Any

from camhd_access._version import __version__
from camhd_access.server.encoding import FORMATS
from camhd_access.server.mirrors import Mirror
from camhd_access.server.parameters import MAX_NUMBER
from camhd_access.server.routes import MIRROR_ROUTES, ROUTES, Parameter, Route

__all__ = ["describe_api"]

_PLACES = {
    "path": Parameter(
        "path", "Path on the mirror, which may hold slashes.", (("type", "string"), ("minLength", 1))
    ),
    "number": Parameter(
        "number",
        "Number of the frame, from 1.",
        (("type", "integer"), ("minimum", 1), ("maximum", MAX_NUMBER)),
    ),
    "numbers": Parameter(
        "numbers",
        "Numbers of the first and the last frame, from 1.",
        (("type", "string"), ("pattern", r"^[0-9]{1,9}-[0-9]{1,9}$")),
    ),
    "extension": Parameter("extension", "Format of the picture.", (("enum", list(FORMATS)),)),
}
"""What the braces in a path stand for."""

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


def describe_api(mirrors: Sequence[Mirror]) -> dict[str, Any]:
    """The document (OpenAPI 3.1.0), with the paths of these mirrors."""
    paths = {route.path: _describe(route, {}) for route in ROUTES}
    problems = {
        status: {"description": text, "content": {"application/problem+json": {}}}
        for status, text in _PROBLEMS.items()
    }
    files = {status: {"description": text} for status, text in _FILES.items()}
    elsewhere = {"302": {"description": "It is no movie, and lies on the mirror."}}
    for mirror in mirrors:
        for route in MIRROR_ROUTES:
            others = {"file": elsewhere, "folder": {}, "movie": {}, "activity": {}}.get(route.name, files)
            paths[mirror.mount_path + route.path] = _describe(route, others | problems)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "camhd_access",
            "version": __version__,
            "description": "Frames of ProRes movies on a web server, without downloading the movies.",
        },
        "paths": paths,
    }


def _describe(route: Route, others: dict[str, Any]) -> dict[str, Any]:
    places = [
        {"in": "path", "required": True} | _describe_parameter(place)
        for name, place in _PLACES.items()
        if f"{{{name}}}" in route.path
    ]
    content: dict[str, Any] = {content_type: {} for content_type in route.content_types}
    return {
        "get": {
            "summary": route.summary,
            "parameters": places + [{"in": "query"} | _describe_parameter(each) for each in route.parameters],
            "responses": {"200": {"description": route.summary, "content": content}} | others,
        }
    }


def _describe_parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "description": parameter.text,
        "schema": dict(parameter.schema),
    }
