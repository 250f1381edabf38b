"""The web page: static files for browsers.

The page is one HTML file with scripts, which use the same API as other clients. It is at `/`, where
programs get the mirrors as JSON: `Accept` decides between the two (RFC 9110, section 12.5.1). All
files are read when the server starts, and looked up by their full names. Browsers revalidate each file,
so that the parts of the page always have the same version. The page runs no other scripts
(Content Security Policy, level 3).
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import unquote

from aiohttp import web

from camhd_access.server.answers import answer_file, answer_kept
from camhd_access.server.imagestore import open_store
from camhd_access.server.requests import ROUTE, parse_qualities
from camhd_access.server.settings import ServerSettings

__all__ = ["add_page", "prefers_html"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

INDEX = "index.html"
CONTENT_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of the page."""

    body: bytes
    """Its content."""
    content_type: str
    """Its media type."""
    etag: str
    """Identifies its version."""


def add_page(app: web.Application, settings: ServerSettings) -> None:
    """Serve the page: its files under `/page/`, and the page at `/` for clients that prefer HTML to JSON."""
    page, root_path = _read_page(), unquote(settings.root_path)
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": _make_policy(_find_site(settings), is_framed=settings.cors),
        "Referrer-Policy": "no-referrer",
    }

    def answer(request: web.Request, name: str) -> web.Response:
        request[ROUTE] = "page"
        file = page[name]
        told = headers | {"Vary": "Accept"} if name == INDEX else headers
        response = answer_kept(request, file.etag, told) or answer_file(
            request, file.body, file.content_type, etag=file.etag, headers=told
        )
        if response.status != web.HTTPNotModified.status_code:
            response.charset = "utf-8"
        return response

    @web.middleware
    async def choose(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in ("/", f"{root_path}/"):
            return await handler(request)
        if prefers_html(",".join(request.headers.getall("Accept", []))):
            return answer(request, INDEX)
        response = await handler(request)
        response.headers["Vary"] = "Accept, X-Forwarded-Prefix"
        return response

    async def find(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in page:
            raise web.HTTPNotFound
        return answer(request, name)

    app.middlewares.append(choose)
    for below in dict.fromkeys(("", root_path)):
        app.router.add_get(below + "/page/{name}", find)


def prefers_html(accept: str) -> bool:
    """Whether a client with this `Accept` prefers HTML to JSON; browsers do, programs do not."""
    qualities = parse_qualities(accept)
    html, json = (
        next((qualities[each] for each in (f"{kind}/{name}", f"{kind}/*", "*/*") if each in qualities), 0.0)
        for kind, name in (("text", "html"), ("application", "json"))
    )
    return html > json


def _read_page() -> dict[str, PageFile]:
    """The files of the page, by name."""
    page = {}
    for entry in files("camhd_access.server").joinpath("page").iterdir():
        suffix = "." + entry.name.rpartition(".")[2]
        if suffix in CONTENT_TYPES:
            body = entry.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            page[entry.name] = PageFile(body, CONTENT_TYPES[suffix], etag)
    return page


def _find_site(settings: ServerSettings) -> str | None:
    """Scheme and host of the image store, if the page is redirected to it."""
    store = open_store(settings)
    return None if store is None else store.find_site()


def _make_policy(site: str | None, *, is_framed: bool) -> str:
    """Allow the page its own files and the films made of them, and images also from the image store.

    Parameters
    ----------
    site
        Scheme and host of the image store; None if it is not public.
    is_framed
        Whether pages of other sites may show it in a frame: notebooks do, from another port or application.
    """
    pictures = "'self'" if site is None else f"'self' {site}"
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src {pictures}",
            f"connect-src {pictures}",
            "media-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'none'",
            *([] if is_framed else ["frame-ancestors 'self'"]),
        )
    )
