"""Running the application: sockets, signals, worker processes, the metrics port, and the log.

One process listens, or several on the same socket: the parent binds it, forks the workers before any thread
starts, replaces workers that die, and forwards SIGTERM and SIGINT. A worker that is told to stop accepts
no more connections and finishes the requests in flight. Metrics for Prometheus are on a separate port,
which the proxy in front does not expose; worker i has the i-th port from there.

A connection takes a file descriptor, and a process has few unless it asks for more. When none is left,
asyncio logs a traceback for each waiting connection, a thousand times a second; here that is one line.
"""

import asyncio
import errno
import logging
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from PIL import Image

from camhd_access.decoding.machine_code import (
    N_FRAMES_WORTH_COMPILING,
    N_FRAMES_WORTH_LOADING,
    announce,
)
from camhd_access.server.application import ACCESS_LOG, METRICS, SETTINGS, add_common_headers, make_app
from camhd_access.server.problems import Problem, problem_response
from camhd_access.server.settings import ServerSettings

try:
    import resource
except ImportError:
    resource = None  # type: ignore[assignment]

__all__ = ["LIMITS", "Runner", "listen", "run_server", "serve_app"]

logger = logging.getLogger("camhd_access.server")

STOPPING = signal.SIGTERM, signal.SIGINT
SHUTDOWN_SECONDS = 60
"""Time for requests in flight to finish."""
BACKLOG = 1024
"""Connections waiting to be accepted."""
MAX_FILES = 65536
"""Limit for open connections; an idle one takes some 6 kB of memory."""
REPEAT_SECONDS = 10.0
"""Interval between log messages that no file descriptor is left."""
RESTART_SECONDS = 1.0
"""Delay before a worker that died is replaced."""
PARENT_SECONDS = 1.0
"""Interval between a worker's checks whether its parent is running."""
N_BLOCKS_KEPT = 2
"""Blocks of memory, of at most 16 MiB, that Pillow keeps for each image that may be made at the same time."""
WORKERS_STORE_BYTES = 1 << 30
"""Size of the image store that workers share by default."""
LIMITS: dict[str, Any] = {
    "handler_cancellation": True,  # cancel the work of clients that have disconnected
    "keepalive_timeout": 30.0,  # seconds for the headers of a request, and between requests
    "lingering_time": 2.0,  # seconds for a request body, which is not read
    "auto_decompress": False,  # no decompression: zeros compress a thousand to one
    "max_line_size": 32 << 10,  # bytes of a request's first line; longer ones get a 414
    "max_field_size": 4096,  # bytes of a header
    "max_headers": 64,
}
"""Options of a connection."""


class _Connection(RequestHandler):
    """A connection that also answers invalid HTTP with problem details."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature
    ) -> web.StreamResponse:
        """The response to an unreadable request, or to one whose handler failed."""
        if status < 500:  # anybody can cause these, as often as they like
            logger.info("%s: not an HTTP request: %s", request.remote, type(exc).__name__)
            problem = Problem(status, "This is not a valid HTTP request.")
        else:
            logger.error("a request failed", exc_info=exc)
            problem = Problem(status, "The server failed; see its log.")
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response was sent already")
        response = problem_response(problem)
        if isinstance(self._manager, _Server):
            add_common_headers(response, self._manager.settings)
        response.force_close()
        return response


class _Server(web.Server):
    settings: ServerSettings

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """aiohttp's runner, with our connection class."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = _Server  # aiohttp has no other way to choose the class of connections
        server.settings = self.app[SETTINGS]  # type: ignore[attr-defined]
        return server


def run_server(settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight then finish, and new ones are not accepted."""
    _raise_file_limit()
    _set_up_log(settings)
    if settings.workers > 1 and settings.image_store is None:
        store = settings.cache_dir.with_name(f"{settings.cache_dir.name}-pictures")
        settings = replace(settings, image_store=str(store), image_store_size=WORKERS_STORE_BYTES)
    listening = listen(settings)
    try:
        logger.info("======== Running on %s ========", _address_of(listening, settings))
        if settings.workers == 1:
            asyncio.run(_serve(settings, listening))
        else:
            _run_workers(settings, listening)
    finally:
        listening.close()
        if settings.unix_socket:
            settings.unix_socket.unlink(missing_ok=True)


def listen(settings: ServerSettings) -> socket.socket:
    """The socket on which all workers accept connections."""
    if settings.unix_socket:
        return _listen_unix(settings.unix_socket)
    family, *_, address = socket.getaddrinfo(
        settings.bind, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise OSError(
            error.errno, f"cannot listen on {settings.bind}:{settings.port}: {error.strerror}"
        ) from None
    listening.listen(BACKLOG)
    return listening


def _listen_unix(path: Path) -> socket.socket:
    """A Unix socket, replacing one left behind by a server that has ended, but nothing else."""
    if os.path.lexists(path) and not stat.S_ISSOCK(path.lstat().st_mode):
        raise OSError(errno.EEXIST, f"cannot listen on {path}: it exists and is not a socket")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            pass
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        else:
            raise OSError(errno.EADDRINUSE, f"another server is listening on {path}")
    listening.bind(str(path))
    path.chmod(0o660)  # for the proxy, which is in the server's group
    listening.listen(BACKLOG)
    return listening


def _address_of(listening: socket.socket, settings: ServerSettings) -> str:
    if settings.unix_socket:
        return f"unix:{settings.unix_socket}"
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def _serve(
    settings: ServerSettings, listening: socket.socket, worker: int = 0, parent: int | None = None
) -> None:
    """Serve on a socket until this process is told to stop, or its parent has ended."""
    loop, told_to_stop = asyncio.get_running_loop(), asyncio.Event()
    for number in STOPPING:
        loop.add_signal_handler(number, told_to_stop.set)
    _shorten_log(loop)
    # A server decodes many frames: the decoder is compiled now, if it never was on this machine.
    announce(N_FRAMES_WORTH_LOADING if worker else N_FRAMES_WORTH_COMPILING)
    # The system clears each page of new memory, which takes a sixth of the time of a JPEG of 640 pixels.
    pillow: Any = Image.core  # type: ignore[attr-defined]  # documented, but not declared
    pillow.set_blocks_max(max(N_BLOCKS_KEPT * settings.max_concurrency, pillow.get_blocks_max()))
    app = make_app(settings)
    app.cleanup_ctx.append(_serving_figures(settings, worker))
    watching = asyncio.create_task(_watch_parent(parent, told_to_stop))
    await serve_app(app, listening, told_to_stop)
    watching.cancel()


async def _watch_parent(pid: int | None, told_to_stop: asyncio.Event) -> None:
    """Stop a worker whose parent was killed: nobody else would."""
    while pid == os.getppid():  # noqa: ASYNC110 - the system tells it no other way
        await asyncio.sleep(PARENT_SECONDS)
    if pid is not None:
        told_to_stop.set()


async def serve_app(
    app: web.Application,
    listening: socket.socket,
    told_to_stop: asyncio.Event,
    *,
    shutdown_seconds: float = SHUTDOWN_SECONDS,
    started: Callable[[], object] = lambda: None,
) -> None:
    """Serve on a socket until `told_to_stop` is set, and until requests in flight have finished."""
    runner = Runner(app, access_log=None, shutdown_timeout=shutdown_seconds, **LIMITS)
    try:
        await runner.setup()
        await web.SockSite(runner, listening, backlog=BACKLOG).start()
        started()
        await told_to_stop.wait()
    finally:
        await runner.cleanup()


def _serving_figures(
    settings: ServerSettings, worker: int
) -> Callable[[web.Application], AsyncIterator[None]]:
    """The metrics server while the application runs; if its port is taken, there is none."""

    async def serve(app: web.Application) -> AsyncIterator[None]:
        figures = web.Application()
        figures.router.add_get("/metrics", lambda _: _tell_figures(app))
        figures.router.add_get("/metrics/", lambda _: _tell_figures(app))
        runner = web.AppRunner(figures, access_log=None)
        await runner.setup()
        port = settings.metrics_port and settings.metrics_port + worker
        try:
            await web.TCPSite(runner, settings.metrics_bind, port).start()
            logger.info("metrics are on http://%s:%d/metrics", *runner.addresses[0][:2])
        except OSError as error:
            logger.warning("no metrics: %s; choose another port with --metrics-port", error.strerror)
        yield
        await runner.cleanup()

    return serve


async def _tell_figures(app: web.Application) -> web.Response:
    """Metrics for Prometheus."""
    headers = {"Cache-Control": "no-store", "Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    return web.Response(body=app[METRICS].tell(), headers=headers)


# ---- several processes


def _run_workers(settings: ServerSettings, listening: socket.socket) -> None:
    """Keep the workers running until this process is told to stop; return when all of them have ended."""
    share = max(1, settings.max_concurrency // settings.workers)
    each = replace(settings, max_concurrency=share, memory=settings.memory // settings.workers)
    workers: dict[int, int] = {}
    is_stopping = False

    def stop(number: int, _frame: object) -> None:
        nonlocal is_stopping
        is_stopping = True
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if number == signal.SIGINT else number)

    def start(worker: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # until they can be forwarded to the worker
        try:
            if not is_stopping:
                workers[_fork(each, listening, worker)] = worker
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)

    handlers = {number: signal.signal(number, stop) for number in STOPPING}
    try:
        for worker in range(settings.workers):
            start(worker)
        while workers:
            pid, status = os.wait()
            worker = workers.pop(pid)
            if not is_stopping:
                code = os.waitstatus_to_exitcode(status)
                logger.error("worker %d ended (%d); starting another", worker, code)
                time.sleep(RESTART_SECONDS)
            start(worker)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _fork(settings: ServerSettings, listening: socket.socket, worker: int) -> int:
    """Fork a worker and return its process id. A signal that comes before the worker serves ends it."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for number in STOPPING:  # not by the handlers of its parent
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        asyncio.run(_serve(settings, listening, worker, parent))
        code = 0
    except Exception:
        logger.exception("worker %d", worker)
    finally:
        os._exit(code)


# ---- the machine


def _raise_file_limit() -> None:
    """Raise the limit of open files to what the system allows, within reason."""
    if resource is None:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _set_up_log(settings: ServerSettings) -> None:
    """Log from the chosen level on, and requests as separate lines."""
    logging.getLogger("camhd_access").setLevel(settings.log_level.upper())
    access = logging.getLogger(ACCESS_LOG)
    access.setLevel(logging.INFO if settings.access_log != "off" else logging.CRITICAL)
    access.propagate = False
    if not access.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        access.addHandler(handler)


def _shorten_log(loop: asyncio.AbstractEventLoop) -> None:
    """Log one line instead of tracebacks for errors that anybody can cause."""
    told_at = float("-inf")

    def tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal told_at
        error = context.get("exception")
        if isinstance(error, ValueError) and str(error) == "Invalid file descriptor: -1":
            return  # asyncio accepts again a second after descriptors ran out; the server has stopped since
        if not (isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}):
            loop.default_exception_handler(context)
        elif loop.time() - told_at > REPEAT_SECONDS:
            told_at = loop.time()
            logger.warning("connections are waiting: all file descriptors are in use")

    loop.set_exception_handler(tell)
