"""A slow web server whose requests are watched: when each of them began and ended, and of which file."""

import select
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

import pytest

from camhd_access.synthetic import serve_folder
from camhd_access.synthetic.httpd import _Handler


@dataclass(frozen=True)
class WatchedRequest:
    """A request whose client has waited for its end."""

    path: str
    start: float
    end: float


@dataclass
class Watch:
    """What a server was asked."""

    url: str = ""
    n_refusals: int = 0
    """The first requests, which are answered by 503."""
    starts: list = field(default_factory=list)
    """When requests began."""
    requests: list = field(default_factory=list)
    """Those whose client has not gone away meanwhile."""
    lock: Lock = field(default_factory=Lock)

    def clear(self):
        """Forget the requests until now."""
        self.starts.clear()
        self.requests.clear()

    @property
    def most(self):
        """Requests in flight, at most."""
        steps = [step for each in self.requests for step in ((each.start, 1), (each.end, -1))]
        in_flight = most = 0
        for _, step in sorted(steps):
            in_flight += step
            most = max(most, in_flight)
        return most


@contextmanager
def watching(folder, seconds):
    """The files of a folder on a server, each request of which takes `seconds(path)`."""
    watch = Watch()

    def do_get(self):
        with watch.lock:
            watch.starts.append(start := time.monotonic())
            is_refused = len(watch.starts) <= watch.n_refusals
        time.sleep(seconds(self.path))  # the client cannot be done before this has ended
        end = time.monotonic()
        if is_open(self.connection):
            watch.requests.append(WatchedRequest(self.path, start, end))
        if is_refused:
            self.send_response(503)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            answer(self)

    answer = _Handler.do_GET
    with pytest.MonkeyPatch.context() as patch, serve_folder(folder) as server:
        patch.setattr(_Handler, "do_GET", do_get)
        patch.setattr(_Handler, "do_HEAD", do_get)
        watch.url = server.url
        yield watch


def is_open(connection):
    """Whether the other end of a connection has not closed it."""
    try:
        has_ended = select.select([connection], [], [], 0)[0] and not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return False
    return not has_ended
