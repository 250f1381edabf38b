"""The web application: routes wired to handlers, and what applies to every request.

Every request passes `attend`: it limits its time, turns errors into problem details, counts, times and logs
it, and allows pages of other sites to read the (public) response. A client that reads slowly
occupies memory and a connection for a limited time, but no worker: a response is complete before it is sent,
or is copied from the mirror. If the client disconnects, its request is cancelled; one that takes too long
gets a 504, and its work continues for as long again, since the client was told to retry.

The application may be below a path of another host: behind a proxy that strips the path and sends it
in `X-Forwarded-Prefix`, or at `root_path`. Its page has relative URLs; other paths are complete.
"""

import asyncio
import json
import logging
import platform
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from importlib.metadata import version
from urllib.parse import unquote

from aiohttp import web
from aiohttp.web_response import ContentCoding

from camhd_access._version import __version__
from camhd_access.errors import CamhdError
from camhd_access.server.answers import SHORTLY, answer_json
from camhd_access.server.films import PIECE_BYTES
from camhd_access.server.limits import CLIENT, ByteBudget
from camhd_access.server.metrics import Metrics
from camhd_access.server.mirrors import split_path
from camhd_access.server.pages import add_page
from camhd_access.server.parameters import SIZE_HEADERS
from camhd_access.server.problems import Problem, problem_response
from camhd_access.server.requests import accepts_gzip, find_client, path_below, prefix_of, target_of
from camhd_access.server.routes import ROUTES, describe_api
from camhd_access.server.service import IGNORED_HEADER, ROUTE, STAGES, Service
from camhd_access.server.settings import ServerSettings

__all__ = ["ACCESS_LOG", "METRICS", "SETTINGS", "add_common_headers", "make_app"]

ACCESS_LOG = "camhd_access.access"
"""Logger of requests."""
logger = logging.getLogger("camhd_access.server")
access_logger = logging.getLogger(ACCESS_LOG)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SEND_SECONDS, MIN_BYTES_PER_SECOND = 30.0, 64 << 10
"""Time for a client to receive a response, and the slowest accepted rate beyond that."""
STALL_SECONDS = 10.0
"""Longest pause of a client in receiving a response, which occupies memory meanwhile."""
SMALL_BYTES = 64 << 10
"""Smaller responses are sent even if the memory budget for responses is used up."""
MAX_TARGET_CHARACTERS = 4096
"""Limit for a path with its query."""
MIN_COMPRESSED_BYTES = 1024
"""Shorter texts are sent uncompressed."""

SETTINGS: web.AppKey[ServerSettings] = web.AppKey("camhd_settings", ServerSettings)
SERVICE: web.AppKey[Service] = web.AppKey("camhd_service", Service)
SENDING: web.AppKey[ByteBudget] = web.AppKey("camhd_sending", ByteBudget)
METRICS: web.AppKey[Metrics] = web.AppKey("camhd_metrics", Metrics)
LATE: web.AppKey[set[asyncio.Task[web.StreamResponse]]] = web.AppKey("camhd_late", set)
"""Timed-out requests whose work still continues."""

_TIMINGS = ("handler", "metadata", "extraction", "encode")
_EXPOSED = (
    "Accept-Ranges",
    "Content-Range",
    "ETag",
    "Link",
    "Retry-After",
    "Server-Timing",
    IGNORED_HEADER,
    *SIZE_HEADERS.values(),
    *(f"X-lazycache-timing-{stage}-ns" for stage in _TIMINGS),
)
_ALWAYS = {"Server": "camhd_access", "X-Content-Type-Options": "nosniff"}
_FOR_OTHER_SITES = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": ", ".join(_EXPOSED),
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_PREFLIGHT = {  # Fetch standard, section 3.3
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": ", ".join(("Range", "If-None-Match", *SIZE_HEADERS.values())),
    "Access-Control-Max-Age": "86400",
}
_TEXTS = {
    "application/json",
    "application/ld+json",
    "application/problem+json",
    "application/vnd.apple.mpegurl",
    "text/html",
    "text/javascript",
    "text/css",
    "image/svg+xml",
}
_PROBES = {"health", "ready"}
_REPEATED_SLASHES = re.compile("/{2,}")


def make_app(settings: ServerSettings) -> web.Application:
    """The application for the mirrors in these settings; makes no requests by itself."""
    app = web.Application(middlewares=[attend])
    handlers = {"root": root, "info": info, "health": health, "ready": ready, "openapi": openapi}
    for below in dict.fromkeys(("", unquote(settings.root_path))):
        for route in ROUTES:
            for path in {route.path, route.path.rstrip("/") or "/"}:
                app.router.add_get(below + path, handlers[route.name])
        app.router.add_get(below + "/v1/{place:.*}", visit)
    app[SETTINGS] = settings
    app[SENDING] = ByteBudget(settings.memory // 2)
    app[LATE] = set()
    app.cleanup_ctx.append(_serving(settings))
    add_page(app, settings)
    return app


def _serving(settings: ServerSettings) -> Callable[[web.Application], AsyncIterator[None]]:
    """The service while the application runs, on its event loop."""

    async def serve(app: web.Application) -> AsyncIterator[None]:
        service = app[SERVICE] = Service(settings)
        app[METRICS] = Metrics(
            mirrors=service.mirrors,
            memories=service.memories,
            gates=service.gates,
            store=service.made_files.store,
        )
        yield
        for task in app[LATE]:
            task.cancel()
        await service.aclose()

    return serve


@web.middleware
async def attend(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The response to a request in any case, counted and timed, sent within limits of time and memory."""
    begin = time.perf_counter()
    request[ROUTE], request[STAGES] = "other", {}
    CLIENT.set(find_client(request, trust_forwarded=request.app[SERVICE].settings.trust_forwarded))
    response = await _answer(request, handler)
    request[STAGES]["handler"] = time.perf_counter() - begin
    n_bytes = _count_held(response)
    try:
        with request.app[SENDING].hold(n_bytes if n_bytes > SMALL_BYTES else 0):
            await _send(request, response)
    except Problem as problem:
        response = problem_response(problem)
        await _send(request, response)
    finally:
        _log_access(request, response, time.perf_counter() - begin)
    return response


def _count_held(response: web.StreamResponse) -> int:
    """Bytes of the response that are in memory while it is sent."""
    n_bytes = response.content_length or 0
    is_whole = isinstance(getattr(response, "body", None), bytes)
    return n_bytes if is_whole else min(n_bytes, PIECE_BYTES)


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        if request.method == "OPTIONS":  # also of *, the server as a whole
            return web.Response(status=204, headers=_PREFLIGHT)
        _check_target(target_of(request))
        return await _answer_in_time(request, handler)
    except Problem as problem:
        return problem_response(problem)
    except web.HTTPException as error:
        if error.status == 404 and "//" in request.path:
            root_path = request.app[SERVICE].settings.root_path
            clean = prefix_of(request, root_path) + _REPEATED_SLASHES.sub("/", path_below(request, root_path))
            _, mark, query = target_of(request).partition("?")
            return web.Response(status=301, headers={"Location": clean + mark + query})
        headers = {"Allow": "GET, HEAD, OPTIONS"} if error.status == 405 else {}
        return problem_response(Problem(error.status, error.reason, headers=headers))
    except Exception:  # details go to the log, not to the client
        logger.exception("%s", request.raw_path)
        return problem_response(Problem(500, "The server failed; see its log."))


async def _answer_in_time(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The handler's response; a `Problem` (504) if it takes too long."""
    seconds, late = request.app[SERVICE].settings.request_seconds, request.app[LATE]
    task = asyncio.ensure_future(handler(request))
    try:
        done, _ = await asyncio.wait([task], timeout=seconds)
    except asyncio.CancelledError:  # the client has disconnected
        task.cancel()
        raise
    if done:
        return task.result()
    late.add(task)
    task.add_done_callback(lambda _: late.discard(task))
    task.add_done_callback(lambda _: task.cancelled() or task.exception())  # marks the exception as retrieved
    asyncio.get_running_loop().call_later(seconds, task.cancel)
    raise Problem(504, "This took too long; try again in a moment.")


def _check_target(target: str) -> None:
    """Raise a `Problem` (400, 414) for an invalid or overlong path and query."""
    if len(target) > MAX_TARGET_CHARACTERS:
        raise Problem(414, f"The path and its query are longer than {MAX_TARGET_CHARACTERS} characters.")
    split_path(target.partition("?")[0])


async def _send(request: web.Request, response: web.StreamResponse) -> None:
    """Send and count the response; close the connection if the client is too slow."""
    stages, n_bytes, settings = request[STAGES], response.content_length or 0, request.app[SERVICE].settings
    add_common_headers(response, settings)
    response.headers.update(_tell_stages(stages))
    _compress(request, response)
    request.app[METRICS].count(request[ROUTE], response.status, stages["handler"], n_bytes)
    watching = asyncio.create_task(_watch_client(request))
    try:
        async with asyncio.timeout(SEND_SECONDS + n_bytes / MIN_BYTES_PER_SECOND):
            await response.prepare(request)
            await response.write_eof()
    except ConnectionError:
        logger.info("%s: the client has disconnected", request.raw_path)
    except (CamhdError, Problem) as error:  # in the middle of a clip
        logger.info("%s: %s: %s", request.raw_path, type(error).__name__, error)
        _hang_up(request)
    except TimeoutError:
        logger.info("%s: the client was too slow", request.raw_path)
        _hang_up(request)
    finally:
        watching.cancel()


def add_common_headers(response: web.StreamResponse, settings: ServerSettings) -> None:
    """Add the headers of every response, including errors."""
    response.headers.update(_ALWAYS | _FOR_OTHER_SITES if settings.cors else _ALWAYS)
    if settings.public:
        response.headers["X-lazycache-public"] = "1"


def _compress(request: web.Request, response: web.StreamResponse) -> None:
    """Compress a text if the client accepts it; its ETag then becomes a weak one."""
    n_bytes = response.content_length or 0
    if response.content_type not in _TEXTS or response.status in (206, 304) or n_bytes < MIN_COMPRESSED_BYTES:
        return
    vary = response.headers.get("Vary")
    response.headers["Vary"] = f"{vary}, Accept-Encoding" if vary else "Accept-Encoding"
    if not accepts_gzip(request):
        return
    if etag := response.headers.get("ETag"):
        response.headers["ETag"] = f"W/{etag}"
    response.enable_compression(ContentCoding.gzip)


async def _watch_client(request: web.Request) -> None:
    """Close the connection when the client stops receiving."""
    n_taken = -1
    while (transport := request.transport) is not None:
        await asyncio.sleep(STALL_SECONDS)
        n_waiting = transport.get_write_buffer_size()
        n_before, n_taken = n_taken, request.writer.output_size - n_waiting
        if n_waiting and n_taken == n_before:
            logger.info("%s: the client stopped receiving", request.raw_path)
            _hang_up(request)


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _tell_stages(stages: dict[str, float]) -> dict[str, str]:
    """Duration of each stage, as in go-lazycache, and for browsers (W3C, Server Timing)."""
    told = {f"X-lazycache-timing-{stage}-ns": str(round(seconds * 1e9)) for stage, seconds in stages.items()}
    told["Server-Timing"] = ", ".join(
        f"{stage};dur={seconds * 1000:.3f}" for stage, seconds in stages.items()
    )
    return told


def _log_access(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
    """Write one line to the access log, in the common format or as JSON; health probes are not logged."""
    if request[ROUTE] in _PROBES or not access_logger.isEnabledFor(logging.INFO):
        return
    now, n_bytes = datetime.now(UTC), response.body_length if response.prepared else 0
    target = f"{request.method} {request.raw_path}"
    if request.app[SERVICE].settings.access_log == "json":
        line = json.dumps(
            {
                "time": now.isoformat(timespec="milliseconds"),
                "client": CLIENT.get(),
                "method": request.method,
                "target": request.raw_path,
                "route": request[ROUTE],
                "status": response.status,
                "bytes": n_bytes,
                "seconds": round(seconds, 6),
            }
        )
    else:  # https://httpd.apache.org/docs/2.4/logs.html#common
        version_ = f"HTTP/{request.version.major}.{request.version.minor}"
        quoted = f"{target} {version_}".replace("\\", "\\\\").replace('"', '\\"')
        line = f'{CLIENT.get()} - - [{now:%d/%b/%Y:%H:%M:%S %z}] "{quoted}" {response.status} {n_bytes}'
    access_logger.info("%s", line)


async def visit(request: web.Request) -> web.StreamResponse:
    """Serve a path on a mirror."""
    return await request.app[SERVICE].visit(request)


async def root(request: web.Request) -> web.StreamResponse:
    """List the mirrors and their paths."""
    request[ROUTE] = "root"
    prefix = prefix_of(request, request.app[SERVICE].settings.root_path)
    mounts = {
        each.url: {"APIPath": {"V1": prefix + each.mount_path}} for each in request.app[SERVICE].mirrors
    }
    return answer_json(mounts, cache_control=SHORTLY, headers={"Vary": "X-Forwarded-Prefix"})


async def info(request: web.Request) -> web.Response:
    """Versions of the software."""
    request[ROUTE] = "info"
    versions = {
        "camhd_access": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("aiohttp", "av", "numpy", "pillow")},
    }
    return answer_json(versions, cache_control=SHORTLY)


async def health(request: web.Request) -> web.Response:
    """Return ok while the event loop runs."""
    request[ROUTE] = "health"
    return web.Response(text="ok", headers={"Cache-Control": "no-store"})


async def ready(request: web.Request) -> web.Response:
    """Return ok if another request can be accepted; else a `Problem` (503), for load balancers."""
    request[ROUTE] = "ready"
    if not request.app[SERVICE].is_ready:
        raise Problem(503, "The queue is full.")
    return web.Response(text="ok", headers={"Cache-Control": "no-store"})


async def openapi(request: web.Request) -> web.Response:
    """The OpenAPI description."""
    request[ROUTE] = "openapi"
    service = request.app[SERVICE]
    described = describe_api(service.mirrors, service.settings) | {
        "servers": [{"url": prefix_of(request, request.app[SERVICE].settings.root_path) or "/"}]
    }
    return answer_json(described, cache_control=SHORTLY, headers={"Vary": "X-Forwarded-Prefix"})
