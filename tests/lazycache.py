"""A running server over a mirror, and plain HTTP requests as sent by clients of go-lazycache."""

import asyncio
import http.client
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from camhd_access.server import ServerSettings, make_app
from camhd_access.server.application import METRICS
from camhd_access.server.serving import LIMITS, Runner
from camhd_access.synthetic import serve_folder

DAY = "RS03ASHS/PN03B/06-CAMHDA301/2016/11/13"
MOVIE = f"{DAY}/CAMHDA301-20161113T000000Z.mov"
"""A good movie of the synthetic archive."""


@dataclass
class Answer:
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    def json(self):
        return json.loads(self.content)


class Client:
    """A client of the server; each request uses a new connection."""

    def __init__(self, port, mirror_url, tell_figures=None):
        self.port = port
        self.tell_figures = tell_figures
        parts = urlsplit(mirror_url)
        self.mount = "/v1/" + "/".join(reversed(parts.netloc.split("."))) + parts.path

    def ask(self, method, path, headers=None):
        """An answer to a request for an absolute path, or for one on the mirror."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, self.at(path), headers=headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path, headers=None):
        return self.ask("GET", path, headers)

    def at(self, path):
        return path if path.startswith("/") else self.mount + path

    def figure(self, name):
        """One figure of the metrics, by its name with labels."""
        lines = self.tell_figures().decode().splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


@contextmanager
def running_server(*mirror_urls, cache_dir, limits=LIMITS, **settings):
    """A server over mirrors, on a free port, in a thread of its own; the client is for the first mirror."""
    app = make_app(ServerSettings(mirrors=mirror_urls, cache_dir=cache_dir, **settings))
    started, found = threading.Event(), []

    async def serve():
        runner = Runner(app, access_log=None, shutdown_timeout=10, **limits)
        done = asyncio.Event()
        try:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
            await site.start()
            loop = asyncio.get_running_loop()
            found.extend((runner.addresses[0][1], lambda: loop.call_soon_threadsafe(done.set)))
            started.set()
            await done.wait()
        finally:
            started.set()
            await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait()
    port, stop = found
    try:
        yield Client(port, mirror_urls[0], lambda: app[METRICS].tell())  # noqa: PLW0108 - once it is there
    finally:
        stop()
        thread.join()


@contextmanager
def serving(folder, cache_dir, **options):
    """A client of a server whose mirror is a web server for that folder."""
    with serve_folder(folder) as mirror, running_server(mirror.url, cache_dir=cache_dir, **options) as client:
        yield client
