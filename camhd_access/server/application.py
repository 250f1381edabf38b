"""The web application: routes wired to their answers, and what is true of every request.

Every request passes `attend`: it bounds its time, turns errors into problem details, counts and times it,
and allows pages of other sites to read the answer, which is public anyway. A client that reads slowly holds
memory and a connection, for a bounded time, but no worker: an answer is complete before it is sent, or is
copied from the mirror.

A connection takes a file descriptor, of which a process gets few unless it asks for more. Where none is left,
asyncio logs a traceback for each connection that waits, a thousand times a second, and aiohttp one for each
request that is not HTTP; here both are one line.
"""

import asyncio
import errno
import logging
import platform
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from camhd_access._version import __version__
from camhd_access.errors import CamhdError
from camhd_access.server.answers import SHORTLY, answer_json
from camhd_access.server.films import PIECE_BYTES
from camhd_access.server.limits import ByteBudget
from camhd_access.server.metrics import Metrics
from camhd_access.server.mirrors import split_path
from camhd_access.server.pages import add_page
from camhd_access.server.parameters import SIZE_HEADERS
from camhd_access.server.problems import Problem, problem_response
from camhd_access.server.routes import ROUTES, describe_api
from camhd_access.server.service import ROUTE, STAGES, Service
from camhd_access.server.settings import ServerSettings

__all__ = ["LIMITS", "make_app", "run_server"]

logger = logging.getLogger("camhd_access.server")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SHUTDOWN_SECONDS = 60
"""That requests in flight may take to finish."""
SEND_SECONDS, MIN_BYTES_PER_SECOND = 30.0, 64 << 10
"""That a client may take over an answer, and the slowest that is put up with beyond that."""
STALL_SECONDS = 10.0
"""That a client may take none of an answer, which waits in memory at the cost of others."""
MAX_BYTES_SENT_AT_ONCE, SMALL_BYTES = 512 << 20, 64 << 10
"""That may wait in memory for clients to read them; smaller answers are sent whatever waits."""
BACKLOG = 1024
"""Connections that wait to be accepted."""
MAX_TARGET_CHARACTERS = 4096
"""Of a path with its query."""
MAX_FILES = 65536
"""Open at the same time; an idle connection takes some 6 kB of memory."""
REPEAT_SECONDS = 10.0
"""Between two log lines that say that no file descriptor is left."""
LIMITS: dict[str, Any] = {
    "keepalive_timeout": 30.0,  # seconds for the headers of a request, and of silence before the next
    "lingering_time": 2.0,  # seconds for a body, which nobody reads
    "auto_decompress": False,  # nor inflates: zeros pack a thousand to one
    "max_line_size": 32 << 10,  # bytes of a request's first line: whom we tell that it is too long
    "max_field_size": 4096,  # and of a header
    "max_headers": 64,
}
"""What a connection is allowed."""

SERVICE: web.AppKey[Service] = web.AppKey("camhd_service", Service)
SENDING: web.AppKey[ByteBudget] = web.AppKey("camhd_sending", ByteBudget)
METRICS: web.AppKey[Metrics] = web.AppKey("camhd_metrics", Metrics)

_TIMINGS = ("handler", "metadata", "extraction", "encode")
_EXPOSED = (
    "Accept-Ranges",
    "Content-Range",
    "ETag",
    "Retry-After",
    "Server-Timing",
    *SIZE_HEADERS.values(),
    *(f"X-lazycache-timing-{stage}-ns" for stage in _TIMINGS),
)
_ALWAYS = {
    "Server": "camhd_access",
    "X-Content-Type-Options": "nosniff",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": ", ".join(_EXPOSED),
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_PREFLIGHT = {  # Fetch standard, section 3.3
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Headers": ", ".join(("Range", "If-None-Match", *SIZE_HEADERS.values())),
    "Access-Control-Max-Age": "86400",
}


def make_app(settings: ServerSettings) -> web.Application:
    """The application that serves these settings' mirrors; it asks nothing of them before it is asked."""
    app = web.Application(middlewares=[attend])
    handlers = {
        "root": root,
        "info": info,
        "metrics": metrics,
        "health": health,
        "openapi": openapi,
    }
    for route in ROUTES:
        for path in {route.path, route.path.rstrip("/") or "/"}:
            app.router.add_get(path, handlers[route.name])
    app.router.add_get("/v1/{place:.*}", visit)
    app[SENDING] = ByteBudget(MAX_BYTES_SENT_AT_ONCE)
    app.cleanup_ctx.append(_serving(settings))
    add_page(app, settings)
    return app


def run_server(settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight then finish, and new ones are not accepted."""
    _raise_file_limit()
    web.run_app(
        make_app(settings),
        host=settings.bind,
        port=settings.port,
        shutdown_timeout=SHUTDOWN_SECONDS,
        backlog=BACKLOG,
        print=lambda line: logger.info("%s", line),
        **LIMITS,
    )


def _raise_file_limit() -> None:
    """Let this process open as many files as the system allows, within reason."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _shorten_log(loop: asyncio.AbstractEventLoop) -> None:
    """Log one line for what strangers can cause as often as they like, in place of tracebacks."""
    logging.getLogger("aiohttp.server").addFilter(_drop_traceback)
    told_at = float("-inf")

    def tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal told_at
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}):
            loop.default_exception_handler(context)
        elif loop.time() - told_at > REPEAT_SECONDS:
            told_at = loop.time()
            logger.warning("connections wait: all file descriptors are taken")

    loop.set_exception_handler(tell)


def _drop_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.exc_info, record.levelno, record.levelname = None, logging.INFO, "INFO"
    return True


def _serving(settings: ServerSettings) -> Callable[[web.Application], AsyncIterator[None]]:
    """The service while the application runs, on its event loop."""

    async def serve(app: web.Application) -> AsyncIterator[None]:
        _shorten_log(asyncio.get_running_loop())
        service = app[SERVICE] = Service(settings)
        app[METRICS] = Metrics(
            mirrors=service.mirrors,
            memories=service.memories,
            gates=service.gates,
            store=service.made_files.store,
        )
        yield
        await service.aclose()

    return serve


@web.middleware
async def attend(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The answer to a request, whatever happens, counted and timed, and sent in bounded time and memory."""
    begin = time.perf_counter()
    request[ROUTE], request[STAGES] = "other", {}
    response = await _answer(request, handler)
    request[STAGES]["handler"] = time.perf_counter() - begin
    n_bytes = _count_held(response)
    try:
        with request.app[SENDING].hold(n_bytes if n_bytes > SMALL_BYTES else 0):
            await _send(request, response)
    except Problem as problem:
        response = problem_response(problem)
        await _send(request, response)
    return response


def _count_held(response: web.StreamResponse) -> int:
    """Bytes of the answer that are in memory while it is sent."""
    n_bytes = response.content_length or 0
    is_whole = isinstance(getattr(response, "body", None), bytes)
    return n_bytes if is_whole else min(n_bytes, PIECE_BYTES)


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        _check_target(request.raw_path)
        async with asyncio.timeout(request.app[SERVICE].settings.request_seconds):
            is_preflight = request.method == "OPTIONS"
            return web.Response(status=204, headers=_PREFLIGHT) if is_preflight else await handler(request)
    except Problem as problem:
        return problem_response(problem)
    except web.HTTPException as error:
        headers = {"Allow": "GET, HEAD, OPTIONS"} if error.status == 405 else {}
        return problem_response(Problem(error.status, error.reason, headers=headers))
    except TimeoutError:
        return problem_response(Problem(504, "This took too long; it may be there when you ask again."))
    except Exception:  # whatever it is, the client learns nothing of it, and the log all
        logger.exception("%s", request.raw_path)
        return problem_response(Problem(500, "The server failed; its log tells why."))


def _check_target(target: str) -> None:
    """Raise a `Problem` (400, 414) for a path with its query that no route takes."""
    if len(target) > MAX_TARGET_CHARACTERS:
        raise Problem(414, f"The path and its query are longer than {MAX_TARGET_CHARACTERS} characters.")
    split_path(target.partition("?")[0])


async def _send(request: web.Request, response: web.StreamResponse) -> None:
    """Send and count the answer; close the connection of a client that is too slow to take it."""
    stages, n_bytes = request[STAGES], response.content_length or 0
    response.headers.update(_ALWAYS | _tell_stages(stages))
    if request.app[SERVICE].settings.public:
        response.headers["X-lazycache-public"] = "1"
    request.app[METRICS].count(request[ROUTE], response.status, stages["handler"], n_bytes)
    watching = asyncio.create_task(_watch_client(request))
    try:
        async with asyncio.timeout(SEND_SECONDS + n_bytes / MIN_BYTES_PER_SECOND):
            await response.prepare(request)
            await response.write_eof()
    except ConnectionError:
        logger.info("%s: the client has left", request.raw_path)
    except (CamhdError, Problem) as error:  # of a clip, of which a part was sent
        logger.info("%s: %s: %s", request.raw_path, type(error).__name__, error)
        _hang_up(request)
    except TimeoutError:
        logger.info("%s: the client was too slow", request.raw_path)
        _hang_up(request)
    finally:
        watching.cancel()


async def _watch_client(request: web.Request) -> None:
    """Hang up once the client takes nothing any more of what waits for it."""
    n_taken = -1
    while (transport := request.transport) is not None:
        await asyncio.sleep(STALL_SECONDS)
        n_waiting = transport.get_write_buffer_size()
        n_before, n_taken = n_taken, request.writer.output_size - n_waiting
        if n_waiting and n_taken == n_before:
            logger.info("%s: the client takes no more", request.raw_path)
            _hang_up(request)


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _tell_stages(stages: dict[str, float]) -> dict[str, str]:
    """What took how long: as go-lazycache told it, and as browsers show it (W3C, Server Timing)."""
    told = {f"X-lazycache-timing-{stage}-ns": str(round(seconds * 1e9)) for stage, seconds in stages.items()}
    told["Server-Timing"] = ", ".join(
        f"{stage};dur={seconds * 1000:.3f}" for stage, seconds in stages.items()
    )
    return told


async def visit(request: web.Request) -> web.StreamResponse:
    """What lies on a mirror, or is made of it."""
    return await request.app[SERVICE].visit(request)


async def root(request: web.Request) -> web.StreamResponse:
    """Where the mirrors are mounted."""
    request[ROUTE] = "root"
    mounts = {each.url: {"APIPath": {"V1": each.mount_path}} for each in request.app[SERVICE].mirrors}
    return answer_json(mounts, cache_control=SHORTLY)


async def info(request: web.Request) -> web.Response:
    """Versions of what runs."""
    request[ROUTE] = "info"
    versions = {
        "camhd_access": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("aiohttp", "av", "numpy", "pillow")},
    }
    return answer_json(versions, cache_control=SHORTLY)


async def metrics(request: web.Request) -> web.Response:
    """Figures for Prometheus."""
    request[ROUTE] = "metrics"
    headers = {"Cache-Control": "no-store", "Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    return web.Response(body=request.app[METRICS].tell(), headers=headers)


async def health(request: web.Request) -> web.Response:
    """Ok, while the event loop turns."""
    request[ROUTE] = "health"
    return web.Response(text="ok", headers={"Cache-Control": "no-store"})


async def openapi(request: web.Request) -> web.Response:
    """The API, described for programs."""
    request[ROUTE] = "openapi"
    return answer_json(
        describe_api(request.app[SERVICE].mirrors, request.app[SERVICE].settings), cache_control=SHORTLY
    )
