"""Errors as responses: a status, and problem details as JSON (RFC 9457).

Errors of the library and of a mirror are mapped to a status here. A response says what is wrong with the
request and what to do; it reveals nothing about the machine, its folders and its libraries, so messages of
the library, which contain paths and addresses, are not passed on.
"""

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from camhd_access.errors import (
    CamhdError,
    FrameDecodeError,
    FrameIndexError,
    InvalidMovieError,
    MissingMoovError,
    RemoteFileError,
    RemoteFileNotFoundError,
    UnsupportedMovieError,
)

__all__ = ["Problem", "problem_of", "problem_response"]

RETRY_AFTER_SECONDS = 2


class Problem(Exception):  # noqa: N818 - becomes a response, not a traceback
    """An error response."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = dict(members or {})


def problem_response(problem: Problem) -> web.Response:
    """The response for `problem`."""
    told = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        **problem.members,
    }
    headers = {"Cache-Control": "no-store", **problem.headers}
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    return web.Response(
        status=problem.status,
        text=json.dumps(told, indent=2),
        content_type="application/problem+json",
        headers=headers,
    )


def problem_of(error: CamhdError, path: str) -> Problem:  # noqa: PLR0911 - one for each kind of error
    """The response for an `error` of the file at `path` of a mirror.

    Notes
    -----
    go-lazycache responded to a movie that cannot be parsed with status 200 and the members `URL` and `Error`,
    which its clients took for metadata; the members are kept. The status is one that they do not retry.
    """
    legacy = {"URL": path}
    match error:
        case MissingMoovError():
            detail = "This recording is truncated: the file has no index."
            return Problem(422, detail, members=legacy | {"Error": detail})
        case InvalidMovieError() | UnsupportedMovieError():
            detail = "This file is damaged, or not a movie in ProRes, H.264 or HEVC."
            return Problem(422, detail, members=legacy | {"Error": detail})
        case FrameDecodeError():
            return Problem(422, "This frame is damaged in the movie; others can be read.", members=legacy)
        case FrameIndexError():
            return Problem(400, "The movie has no such frame.", members=legacy)
        case RemoteFileNotFoundError():
            return Problem(404, "The mirror has no such file.", members=legacy)
        case RemoteFileError() if any(isinstance(each, TimeoutError) for each in _causes(error)):
            return Problem(504, "The mirror did not respond in time.", members=legacy)
        case RemoteFileError():
            return Problem(502, "The mirror could not be reached, or failed.", members=legacy)
        case _:
            raise error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what caused it, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
