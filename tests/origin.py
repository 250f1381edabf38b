"""An HTTP/1.1 server that misbehaves on demand, at the level of bytes, and records its requests.

Files are put under paths; behaviours are played for a path, one a request, before it is honest again.
A behaviour is a function of an `Exchange`, which has the request, the file and the bare socket. One thread a
connection; everything stops at the end of the `with` block of `running_origin`.
"""

import contextlib
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

import numpy as np

PIECE = 16 << 10


class Pattern:
    """`size` bytes, the eight from each multiple of eight being that position (plus `seed`) as an integer."""

    def __init__(self, size, seed=0):
        self.size = size
        self.seed = seed

    def __len__(self):
        return self.size

    def __getitem__(self, key):
        start, stop, _ = key.indices(self.size)
        first = start // 8 * 8
        words = np.arange(first, max(stop, first), 8, dtype=np.int64) + self.seed
        return words.astype(">i8").tobytes()[start - first : stop - first]


class Padded:
    """Some bytes, and zeros behind them up to `size`."""

    def __init__(self, data, size):
        self.data = data
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, key):
        start, stop, _ = key.indices(self.size)
        return self.data[start:stop].ljust(stop - start, b"\0")


@dataclass
class RemoteFile:
    """The file at a path."""

    data: object
    etag: str | None = '"v1"'
    last_modified: str | None = "Mon, 23 Nov 2015 12:00:00 GMT"

    def headers(self):
        found = {"ETag": self.etag, "Last-Modified": self.last_modified, "Accept-Ranges": "bytes"}
        return {name: value for name, value in found.items() if value}


@dataclass
class Request:
    """One request that arrived."""

    method: str
    path: str
    headers: dict
    n_sent: int = 0
    """Bytes of the body that were handed to the socket."""

    @property
    def range(self):
        return self.headers.get("range")


@dataclass
class Origin:
    """The interface of the server for tests."""

    url: str
    files: dict = field(default_factory=dict)
    requests: list = field(default_factory=list)
    n_connections: int = 0
    n_open: int = 0
    """Connections that neither side has closed yet."""
    most_at_once: int = 0
    """The highest number of requests that were being answered at the same time."""
    n_at_work: int = 0
    script: dict = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path, data, **facts):
        """Serve a file (bytes, or a number of bytes of the `Pattern`) at `path`; returns its URL."""
        self.files[path] = RemoteFile(Pattern(data) if isinstance(data, int) else data, **facts)
        return self.url + path

    def play(self, path, *behaviours, always=False):
        """Behaviours for the next requests of `path`, one each; with `always`, the last one is repeated."""
        self.script[path] = [list(behaviours), behaviours[-1] if always else honest]

    def behaviour(self, path):
        with self.lock:
            ahead, ever = self.script.get(path, ([], honest))
            return ahead.pop(0) if ahead else ever

    @property
    def n_sent(self):
        """Bytes of all bodies so far."""
        return sum(request.n_sent for request in self.requests)

    @property
    def ranges(self):
        """The requests: ranges of GET requests (None without a range), and `HEAD`."""
        return [r.method if r.method != "GET" else r.range for r in self.requests]

    def wait_until(self, condition, seconds=120):
        """Whether `condition` of this origin becomes true in time."""
        end = time.monotonic() + seconds
        while not condition(self) and time.monotonic() < end:
            time.sleep(0.01)
        return condition(self)


class Exchange:
    """One request and the way to answer it."""

    def __init__(self, origin, sock, request):
        self.origin = origin
        self.sock = sock
        self.request = request
        self.file = origin.files.get(request.path)

    def head(self, status, headers=(), *, length=None):
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in dict(headers).items())]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode())

    def body(self, data, start=0, stop=None):
        """Send `data[start:stop]`, in pieces, for as long as the client takes them."""
        stop = len(data) if stop is None else stop
        for at in range(start, stop, PIECE):
            piece = data[at : min(at + PIECE, stop)]
            self.request.n_sent += len(piece)  # first: the client may be done before this thread goes on
            self.sock.sendall(piece)

    def answer(self, status, headers=(), data=b""):
        """A complete answer."""
        self.head(status, headers, length=len(data))
        if self.request.method != "HEAD":
            self.body(data)

    def wanted(self):
        """Start and stop of the range that was asked, or None."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.request.range or "")
        if not match:
            return None
        first, last = match.groups()
        size = len(self.file.data)
        if not first:
            return max(0, size - int(last)), size
        return int(first), min(size, int(last) + 1) if last else size

    def partial(self, *, offset=0, total=None, headers=(), send=True):
        """A 206 for the requested range, or one with a wrong range."""
        start, stop = self.wanted()
        told = f"bytes {start + offset}-{stop - 1 + offset}/{total or len(self.file.data)}"
        self.head(206, {**self.file.headers(), "Content-Range": told, **dict(headers)}, length=stop - start)
        if send:
            self.body(self.file.data, start, stop)

    def reset(self):
        """Break the connection off with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Done

    def stall(self):
        """Send nothing more; end when the client hangs up."""
        self.sock.settimeout(300)
        while self.sock.recv(4096):
            pass
        raise Done


class Done(Exception):  # noqa: N818 - no error
    """The connection is to be closed."""


# ---- behaviours


def honest(x):
    """The behaviour of a correct server."""
    if x.file is None:
        return x.answer(404, {}, b"no such file")
    size = len(x.file.data)
    span = x.wanted() if x.request.method == "GET" else None
    if span is None:
        x.head(200, x.file.headers(), length=size)
        return x.body(x.file.data) if x.request.method == "GET" else None
    if span[0] >= size or span[0] >= span[1]:
        return x.answer(416, {"Content-Range": f"bytes */{size}"}, b"")
    return x.partial()


def answers(status, data=b"no", **headers):
    """A complete answer of this status; underscores in the names of headers become hyphens."""
    return lambda x: x.answer(status, {name.replace("_", "-"): v for name, v in headers.items()}, data)


def resets(x):
    """Reset before any byte of an answer."""
    x.reset()


def closes(x):
    """Close before any byte of an answer."""
    raise Done


def breaks_off(after_bytes, *, reset=False):
    """All headers, but only `after_bytes` of the body, then a close or a reset."""

    def behave(x):
        start, _ = x.wanted()
        x.partial(send=False)
        x.body(x.file.data, start, start + after_bytes)
        if reset:
            time.sleep(0.05)  # let the bytes arrive: a reset discards what lies in the buffers
            x.reset()
        raise Done

    return behave


def stalls(x):
    """Send nothing."""
    x.stall()


def stalls_in_body(x):
    """Headers, ten bytes, then nothing."""
    start, _ = x.wanted()
    x.partial(send=False)
    x.body(x.file.data, start, start + 10)
    x.stall()


def pauses_in_body(x):
    """Headers, ten bytes, and the others half a second later."""
    start, stop = x.wanted()
    x.partial(send=False)
    x.body(x.file.data, start, start + 10)
    time.sleep(0.5)
    x.body(x.file.data, start + 10, stop)


def drips(x):
    """A byte every 20 ms."""
    start, stop = x.wanted()
    x.partial(send=False)
    for at in range(start, stop):
        x.body(x.file.data, at, at + 1)
        time.sleep(0.02)


def ignores_range(x):
    """The whole file, always."""
    x.head(200, x.file.headers(), length=len(x.file.data))
    if x.request.method == "GET":
        x.body(x.file.data)


def chunked(x):
    """As honest, but with chunked transfer encoding and so without a length."""
    span = x.wanted()
    start, stop = span or (0, len(x.file.data))
    headers = {**x.file.headers(), "Transfer-Encoding": "chunked"}
    if span:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(x.file.data)}"
    x.head(206 if span else 200, headers)
    if x.request.method == "GET":
        for at in range(start, stop, PIECE):
            piece = x.file.data[at : min(at + PIECE, stop)]
            x.request.n_sent += len(piece)
            x.sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        x.sock.sendall(b"0\r\n\r\n")


def capped(n_bytes):
    """Correct, but no response has more than `n_bytes`; its headers give the actual range."""

    def behave(x):
        if x.request.method == "HEAD" or not x.wanted():
            return honest(x)
        start, stop = x.wanted()
        stop = min(stop, start + n_bytes)
        told = f"bytes {start}-{stop - 1}/{len(x.file.data)}"
        return x.answer(206, {**x.file.headers(), "Content-Range": told}, x.file.data[start:stop])

    return behave


def never_ends(*, close):
    """A chunked body with all its bytes, but without the last chunk."""

    def behave(x):
        start, stop = x.wanted()
        told = f"bytes {start}-{stop - 1}/{len(x.file.data)}"
        x.head(206, {**x.file.headers(), "Transfer-Encoding": "chunked", "Content-Range": told})
        x.request.n_sent += stop - start
        x.sock.sendall(b"%x\r\n%s\r\n" % (stop - start, x.file.data[start:stop]))
        if not close:
            x.stall()
        raise Done

    return behave


def replicas(*facts):
    """Alternate between replicas of the file: each a dict of `etag` and `last_modified`."""
    turn = iter(range(10**9))

    def behave(x):
        x.file = RemoteFile(x.file.data, **facts[next(turn) % len(facts)])
        honest(x)

    return behave


def refuses(*, method=None, suffix=False, status=405):
    """Correct except for this method, or for ranges from the end."""

    def behave(x):
        from_end = suffix and (x.request.range or "").startswith("bytes=-")
        return x.answer(status) if x.request.method == method or from_end else honest(x)

    return behave


def redirects(location, status=302):
    """A redirect, with the name of the file in place of `{path}`."""
    return lambda x: x.answer(status, {"Location": location.format(path=x.request.path)})


def then_closes(behave):
    """As `behave`, then close the connection silently a moment later."""

    def both(x):
        behave(x)
        raise Done

    return both


# ---- the server


@contextlib.contextmanager
def running_origin():
    """An `Origin` on a free port of the loopback interface."""
    listener = socket.create_server(("127.0.0.1", 0))
    origin = Origin(f"http://127.0.0.1:{listener.getsockname()[1]}")
    threads, sockets = [], []

    def accept():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIECE)  # what is sent is nearly what arrives
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sockets.append(sock)
            threads.append(threading.Thread(target=_serve, args=(origin, sock), daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield origin
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(10)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)


def _serve(origin, sock):
    with origin.lock:
        origin.n_connections += 1
        origin.n_open += 1
    try:
        with sock, contextlib.suppress(OSError, Done), sock.makefile("rb") as lines:
            while request := _read_request(lines):
                with origin.lock:
                    origin.requests.append(request)
                    origin.n_at_work += 1
                    origin.most_at_once = max(origin.most_at_once, origin.n_at_work)
                try:
                    origin.behaviour(request.path)(Exchange(origin, sock, request))
                finally:
                    with origin.lock:
                        origin.n_at_work -= 1
    finally:
        with origin.lock:
            origin.n_open -= 1


def _read_request(lines):
    words = lines.readline().decode().split()
    if len(words) != 3:
        return None
    headers = {}
    while line := lines.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Request(words[0], words[1], headers)
