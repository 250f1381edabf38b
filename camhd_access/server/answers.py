"""HTTP responses: a whole file, a range of it, or "not modified".

Sources: RFC 9110, sections 13 (conditional requests) and 14 (ranges); RFC 8246 (`immutable`). A response that
is identified by a movie's version, a frame and its options never changes, so it has a strong ETag and may be
cached indefinitely.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from aiohttp import web

from camhd_access.ranges import ByteRange, parse_range_header
from camhd_access.server.problems import Problem

__all__ = ["SHORTLY", "answer_file", "answer_json", "answer_kept", "answer_stream", "answer_unchanged"]

FOREVER = "public, max-age=31536000, immutable"
SHORTLY = "public, max-age=300"


def answer_file(
    request: web.Request, body: bytes, content_type: str, *, etag: str, headers: Mapping[str, str]
) -> web.Response:
    """The response with `body`, or with the requested range of it.

    Raises
    ------
    Problem
        416: the range begins beyond the end.
    """
    status, part, told = _choose_part(request, etag, len(body))
    told |= headers
    return web.Response(
        status=status, body=body[part.start : part.stop], content_type=content_type, headers=told
    )


def answer_stream(
    request: web.Request,
    size: int,
    content_type: str,
    read: Callable[[ByteRange], AsyncIterator[bytes]],
    *,
    etag: str,
) -> web.Response:
    """As `answer_file`, for a body of `size` bytes, which is read while it is sent."""
    status, part, told = _choose_part(request, etag, size)
    told["Content-Length"] = str(part.n_bytes)
    body = None if request.method == "HEAD" else read(part)
    return web.Response(status=status, body=body, content_type=content_type, headers=told)


def answer_unchanged(
    request: web.Request, etag: str, content_type: str, headers: Mapping[str, str]
) -> web.Response | None:
    """The response without a body, if the client has the file (304) or asks for headers only; else None."""
    if (kept := answer_kept(request, etag, headers)) is not None:
        return kept
    told = _tell(etag, headers)
    return web.Response(content_type=content_type, headers=told) if request.method == "HEAD" else None


def answer_kept(request: web.Request, etag: str, headers: Mapping[str, str]) -> web.Response | None:
    """The 304 response if the client has the file; else None."""
    return web.Response(status=304, headers=_tell(etag, headers)) if _has(request, etag) else None


def answer_json(
    value: Mapping[str, Any],
    *,
    cache_control: str,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> web.Response:
    """The response with `value` as JSON, indented for readability."""
    return web.Response(
        text=json.dumps(value, indent=2),
        content_type=content_type,
        headers={"Cache-Control": cache_control, **(headers or {})},
    )


def _tell(etag: str, headers: Mapping[str, str]) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": FOREVER, "Accept-Ranges": "bytes", **headers}


def _choose_part(request: web.Request, etag: str, size: int) -> tuple[int, ByteRange, dict[str, str]]:
    """Status of the response, its byte range, and the headers that describe it."""
    told = _tell(etag, {})
    wanted = _find_range(request, etag, size)
    if wanted is None:
        return 200, ByteRange(0, size), told
    if wanted.n_bytes <= 0:
        raise Problem(
            416, "The requested range is not within the file.", headers={"Content-Range": f"bytes */{size}"}
        )
    return 206, wanted, told | {"Content-Range": f"bytes {wanted.start}-{wanted.stop - 1}/{size}"}


def _has(request: web.Request, etag: str) -> bool:
    """Whether the client has the version `etag` (RFC 9110, section 13.1.2)."""
    told = request.headers.get("If-None-Match", "")
    return told.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in told.split(",")}


def _find_range(request: web.Request, etag: str, size: int) -> ByteRange | None:
    """The requested range, empty if unsatisfiable; None for the whole file."""
    if request.method != "GET" or request.headers.get("If-Range", etag) != etag:
        return None
    return parse_range_header(request.headers.get("Range", ""), size)
