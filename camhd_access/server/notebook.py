"""The server in a notebook: it runs in a thread of the kernel, and its page is shown in the output of a cell.

The browser of a notebook reaches the server by its port on the same machine, or, on a JupyterHub, through
jupyter-server-proxy, below the user's path. The same settings start one server, however often a cell runs.
"""

import asyncio
import atexit
import html
import os
import socket
import threading
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from camhd_access.server.application import make_app
from camhd_access.server.serving import listen, serve_app
from camhd_access.server.settings import ServerSettings

__all__ = ["NotebookServer", "serve"]

HUB_PREFIX = "JUPYTERHUB_SERVICE_PREFIX"
"""Environment variable with the path of a user's server on a JupyterHub."""
SHUTDOWN_SECONDS = 5
"""Time for requests in flight to finish."""
UNSUITABLE = {"workers": 1, "unix_socket": None}
"""Settings that a notebook cannot use, and their defaults."""


def serve(
    *mirrors: str,
    height: int = 800,
    browser_url: str | None = None,
    port: int = 0,
    **settings: Any,  # noqa: ANN401 - checked by `ServerSettings`
) -> "NotebookServer":
    """Start the server from a notebook, and show its page in the output of the cell.

    A call with the same arguments returns the server that runs already.

    Parameters
    ----------
    mirrors
        URLs of folders on web servers whose movies are served; by default OOI's archive.
    height
        Height of the page in the notebook, in pixels.
    browser_url
        URL of the server for the browser, with `{port}` in place of the port, such as `/proxy/{port}/` for a
        Jupyter server with jupyter-server-proxy. By default, the path of jupyter-server-proxy on a JupyterHub
        (environment variable `JUPYTERHUB_SERVICE_PREFIX`), else the port on this machine.
    port
        Port to listen on; 0 for any free one.
    settings
        Further settings of `camhd serve`, such as `cache_dir="/data/cache"` or `raw=False`.

    Returns
    -------
    server
        The running server, with the attribute `url` and the method `stop`. It also stops at the end of the
        `with` block, and with the kernel.

    Raises
    ------
    ImportError
        The extra `server` is not installed.
    OSError
        The port is in use.
    TypeError, ValueError
        An unknown or invalid setting.

    Examples
    --------
    The last line of a cell shows the page; `stop` ends the server.

    >>> server = serve()
    >>> server.is_running
    True
    >>> server.stop()
    >>> server
    <NotebookServer stopped>
    """
    if mirrors:
        settings["mirrors"] = mirrors
    wanted = ServerSettings(port=port, **settings)
    for name, default in UNSUITABLE.items():
        if getattr(wanted, name) != default:
            raise ValueError(f"{name}: not in a notebook; start `camhd serve` in a terminal")
    with _lock:
        running = _running.get(wanted)
        if running is None or not running.is_running:
            running = _running[wanted] = _Running(wanted)
    return NotebookServer(running, height, browser_url)


class NotebookServer:
    """A running server, which a notebook shows as its page. Made by `serve`."""

    def __init__(self, running: "_Running", height: int, browser_url: str | None) -> None:
        self._running = running
        self._height = height
        self._browser_url = browser_url

    @property
    def port(self) -> int:
        """Port on which the server listens."""
        return self._running.port

    @property
    def url(self) -> str:
        """URL of the server for programs on this machine, with a trailing slash."""
        return self._running.url

    @property
    def browser_url(self) -> str:
        """URL of the page for the browser that shows the notebook."""
        if self._browser_url is not None:
            return self._browser_url.replace("{port}", str(self.port))
        prefix = os.environ.get(HUB_PREFIX)
        return f"{prefix.rstrip('/')}/proxy/{self.port}/" if prefix else self.url

    @property
    def is_running(self) -> bool:
        """Whether it has not been stopped."""
        return self._running.is_running

    def stop(self) -> None:
        """Stop the server, after requests in flight have finished; nothing if it is stopped already."""
        self._running.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<NotebookServer {self.url if self.is_running else 'stopped'}>"

    def _repr_html_(self) -> str:
        """The page in a frame."""
        if not self.is_running:
            return "<p>The server is stopped.</p>"
        url = html.escape(self.browser_url)
        return (
            f'<iframe src="{url}" title="CamHD movies" width="100%" height="{self._height}" '
            'style="border: 1px solid #8888" allow="fullscreen; clipboard-write"></iframe>'
            f'<p><a href="{url}" target="_blank" rel="noopener">{url}</a></p>'
        )


class _Running:
    """A server in a thread of its own; several `NotebookServer` may show it."""

    def __init__(self, settings: ServerSettings) -> None:
        self._listening = listen(settings)
        self.port: int = self._listening.getsockname()[1]
        self._settings = replace(settings, port=self.port)
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._stop: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._thread = threading.Thread(target=self._run, name="camhd-server", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        atexit.register(self.stop)

    @property
    def url(self) -> str:
        host = self._settings.bind
        if host in {"0.0.0.0", "::"}:  # noqa: S104 - all addresses; this machine is one of them
            host = "127.0.0.1" if self._listening.family == socket.AF_INET else "::1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        if self._stop is not None and self.is_running:
            loop, told_to_stop = self._stop
            loop.call_soon_threadsafe(told_to_stop.set)
            self._thread.join()
        atexit.unregister(self.stop)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error
        finally:
            self._listening.close()
            self._started.set()

    async def _serve(self) -> None:
        told_to_stop = asyncio.Event()
        self._stop = asyncio.get_running_loop(), told_to_stop
        await serve_app(
            make_app(self._settings),
            self._listening,
            told_to_stop,
            shutdown_seconds=SHUTDOWN_SECONDS,
            started=self._started.set,
        )


_lock = threading.Lock()
_running: dict[ServerSettings, _Running] = {}
"""The servers of this process: a cell that is run again shows the same one."""


def _unlock_after_fork() -> None:
    global _lock  # noqa: PLW0603 - a thread of the parent may have held it
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_unlock_after_fork)
