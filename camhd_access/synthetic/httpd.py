"""A web server on loopback that imitates the archive's Apache: listings and byte ranges of a folder.

For demo, tests and notebooks only: it is small, not hardened, and only reachable from this machine. One
thread per connection; files are sent by `sendfile`. Requests and bytes are counted, so that the cost of a
read can be shown.
"""

import html
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from os import PathLike, fstat
from pathlib import Path
from socket import SHUT_RDWR, socket
from time import gmtime, strftime
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urlsplit

from camhd_access.ranges import ByteRange, parse_range_header

__all__ = ["FolderServer", "serve_folder"]


@contextmanager
def serve_folder(folder: str | PathLike[str]) -> Iterator["FolderServer"]:
    """Serve `folder` on a free port of the loopback interface until the `with` block ends.

    For demo, tests and notebooks. HTTP/1.1 with keep-alive, single byte ranges, `ETag` and
    `Last-Modified`, and listings in Apache's FancyIndexing format.

    Examples
    --------
    >>> with serve_folder("archive") as server:  # doctest: +SKIP
    ...     archive = open_archive(server.url)
    ...     print(server.n_requests, server.n_bytes_sent)
    """
    server = FolderServer(Path(folder))
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="serve_folder"
    )
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.close_connections()
        server.server_close()


class FolderServer(ThreadingHTTPServer):
    """The running server, and its counters."""

    daemon_threads = False  # all are joined at the end of the `with` block
    request_queue_size = 128

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder: Path = folder.resolve()
        self.url: str = f"http://127.0.0.1:{self.server_port}/"
        """URL of the folder, with a slash at the end."""
        self.n_requests: int = 0
        """Requests answered, with any status."""
        self.n_bytes_sent: int = 0
        """Bytes of bodies sent, including listings, excluding headers."""
        self._count_lock = threading.Lock()
        self._connections: set[socket] = set()

    def count(self, *, n_requests: int = 0, n_bytes: int = 0) -> None:
        """Add to the counters."""
        with self._count_lock:
            self.n_requests += n_requests
            self.n_bytes_sent += n_bytes

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 -- as inherited
        """Remember the connection, so that it can be closed while a client keeps it alive."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 -- as inherited
        """Forget the connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Close the connections that clients keep alive."""
        for connection in list(self._connections):
            try:
                connection.shutdown(SHUT_RDWR)
            except OSError:
                continue  # it was closed by the other side

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 -- as inherited
        """Ignore errors."""


class _Handler(BaseHTTPRequestHandler):
    server: FolderServer
    server_version, sys_version = "Apache", ""
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.server.count(n_requests=1)
        self._answer()

    def do_HEAD(self) -> None:
        self.server.count(n_requests=1)
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- as inherited
        pass

    def _answer(self) -> None:
        url_path = urlsplit(self.path).path
        path = self._find(unquote(url_path))
        if path is None:
            self._send_page(HTTPStatus.NOT_FOUND, "<h1>Not Found</h1>")
        elif not path.is_dir():
            with path.open("rb") as file:
                self._send_file(file)
        elif url_path.endswith("/"):
            self._send_page(HTTPStatus.OK, _listing(path, unquote(url_path)))
        else:
            self._send_page(
                HTTPStatus.MOVED_PERMANENTLY,
                "<h1>Moved</h1>",
                {"Location": f"{self.server.url}{url_path.lstrip('/')}/"},
            )

    def _find(self, url_path: str) -> Path | None:
        """The file or folder with that name below the served folder; None if there is none."""
        if "\0" in url_path:
            return None
        path = (self.server.folder / url_path.lstrip("/")).resolve()
        return path if path.is_relative_to(self.server.folder) and path.exists() else None

    def _send_page(self, status: HTTPStatus, page: str, headers: dict[str, str] | None = None) -> None:
        body = page.encode()
        self._send_headers(status, len(body), {"Content-Type": "text/html;charset=UTF-8", **(headers or {})})
        if self.command == "GET":
            self.server.count(n_bytes=len(body))
            self.wfile.write(body)

    def _send_headers(self, status: HTTPStatus, n_bytes: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if n_bytes or self.command == "GET":  # Apache sends no length for empty files in response to HEAD
            self.send_header("Content-Length", str(n_bytes))
        self.end_headers()

    def _send_file(self, file: BinaryIO) -> None:
        status = fstat(file.fileno())
        size = status.st_size
        headers = {
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
            "ETag": f'"{size:x}-{status.st_mtime_ns // 1000:x}"',
            "Accept-Ranges": "bytes",
            "Content-Type": "video/quicktime" if file.name.endswith(".mov") else "application/octet-stream",
        }
        wanted = None
        if self.headers.get("If-Range", headers["ETag"]) in {headers["ETag"], headers["Last-Modified"]}:
            wanted = _parse_range(self.headers.get("Range", ""), size)
        start, stop = wanted or (0, size)
        if wanted is None:
            self._send_headers(HTTPStatus.OK, size, headers)
        elif start >= stop:
            unsatisfied = {"Content-Range": f"bytes */{size}"}
            self._send_page(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "<h1>No such range</h1>", unsatisfied)
            return
        else:
            content_range = f"bytes {start}-{stop - 1}/{size}"
            self._send_headers(
                HTTPStatus.PARTIAL_CONTENT, stop - start, {**headers, "Content-Range": content_range}
            )
        if self.command == "GET" and start < stop:
            self._send_bytes(file, start, stop)

    def _send_bytes(self, file: BinaryIO, start: int, stop: int) -> None:
        self.server.count(n_bytes=stop - start)  # before the client can receive them and read the counter
        try:
            self.connection.sendfile(file, start, stop - start)
        except OSError:
            self.close_connection = True  # the client has disconnected
            self.server.count(n_bytes=file.tell() - stop)


def _parse_range(header: str, size: int) -> ByteRange | None:
    """The requested range, empty if it is beyond the end of the file; None for the whole file.

    Notes
    -----
    Like Apache, ignores a suffix of 0 bytes, and any range of an empty file.
    """
    wanted = parse_range_header(header, size)
    is_empty_suffix = wanted == (size, size) and "=-" in header
    return None if is_empty_suffix or not size else wanted


def _listing(folder: Path, url_path: str) -> str:
    """A page like those of Apache's mod_autoindex with FancyIndexing and NameWidth=*: sizes are rounded."""
    parent = url_path.rstrip("/").rpartition("/")[0] + "/"
    rows = [("back.gif", "[PARENTDIR]", quote(parent), "Parent Directory", " " * 17, "  - ")]
    if url_path == "/":
        rows = []
    for entry in sorted(folder.iterdir()):
        status = entry.stat()
        date = strftime("%Y-%m-%d %H:%M", gmtime(status.st_mtime))
        if entry.is_dir():
            rows.append(("folder.gif", "[DIR]", quote(entry.name + "/"), entry.name + "/", date, "  - "))
        else:
            size = _rounded_size(status.st_size)
            rows.append(("unknown.gif", "[   ]", quote(entry.name), entry.name, date, size))
    width = max(23, len(parent), *(len(name) for _, _, _, name, _, _ in rows))
    lines = [
        f'<img src="/icons/{icon}" alt="{alternative}"> <a href="{href}">{html.escape(name)}</a>'
        f"{' ' * (width - len(name))} {date}  {size}  \n"
        for icon, alternative, href, name, date, size in rows
    ]
    title = f"Index of {html.escape(url_path.rstrip('/') or '/')}"
    return (
        '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n'
        f"<html>\n <head>\n  <title>{title}</title>\n </head>\n <body>\n<h1>{title}</h1>\n"
        '<pre><img src="/icons/blank.gif" alt="Icon "> '
        f'<a href="?C=N;O=D">Name</a>{" " * (width - 3)}'
        '<a href="?C=M;O=A">Last modified</a>      <a href="?C=S;O=A">Size</a>  '
        f'<a href="?C=D;O=A">Description</a><hr>{"".join(lines)}<hr></pre>\n</body></html>\n'
    )


def _rounded_size(n_bytes: int) -> str:
    """Four characters, as from the Apache Portable Runtime's `apr_strfsize`: ` 13G`, `1.2M`, `512 `."""
    if n_bytes < 973:
        return f"{n_bytes:3d} "
    units = iter("KMGTPE")
    while n_bytes >= 973:
        n_bytes, rest = divmod(n_bytes, 1024)
        unit = next(units)
    if n_bytes < 9 or (n_bytes == 9 and rest < 973):
        tenths = 10 * n_bytes + (rest * 5 + 256) // 512
        return f"{tenths // 10}.{tenths % 10}{unit}"
    return f"{n_bytes + (rest >= 512):3d}{unit}"
