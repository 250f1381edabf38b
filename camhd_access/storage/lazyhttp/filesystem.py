"""The fsspec interface over HTTP: slices, listings and files on top of the checked requests of `client`.

A range is clipped as Python clips a slice, split if it is longer than the request limit, and merged with
its neighbours if several are requested. All requests of one call use one version of the file. File facts
from responses are remembered, so the size needs no further request.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, cast

from fsspec.asyn import AsyncFileSystem
from fsspec.utils import stringify_path

from camhd_access.errors import RangeNotSupportedError, RemoteFileError, RemoteFileNotFoundError
from camhd_access.ranges import ByteRange, Span, plan_spans
from camhd_access.storage.lazyhttp.answers import clip_range
from camhd_access.storage.lazyhttp.client import Client
from camhd_access.storage.lazyhttp.connections import TransferStats
from camhd_access.storage.lazyhttp.environment import Login, Trust
from camhd_access.storage.lazyhttp.exchanges import parse_url
from camhd_access.storage.lazyhttp.files import LazyHTTPFile
from camhd_access.storage.lazyhttp.listings import parse_listing
from camhd_access.storage.lazyhttp.settings import Settings
from camhd_access.storage.lazyhttp.tasks import blocking, gather, in_thread, running, shared_loop
from camhd_access.storage.lazyhttp.versions import FileFacts, Version
from camhd_access.urls import identify_url, redact_url, split_login

__all__ = ["LazyHTTPFileSystem"]


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


class LazyHTTPFileSystem(AsyncFileSystem):  # type: ignore[misc]  # fsspec has no annotations
    """Read-only file system over HTTP(S) that fetches only what is requested, and checks each response.

    Paths are URLs, `http(s)://…` or `lazyhttp(s)://…`. Instances pickle, and work from any thread, and in
    forked and spawned processes. With `asynchronous=True` (your own event loop) finish with
    `await fs.aclose()`.

    Parameters
    ----------
    headers, cookies
        Sent with each request, such as `Authorization`; not sent to other hosts after a redirect.
    auth
        User and password, likewise. By default those of the URL, or of ~/.netrc (or the file NETRC names).
    proxy
        URL of the proxy for all requests. By default HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY decide.
    ssl
        Trusted certificates: a file or folder, an `ssl.SSLContext` (which does not pickle), or False to
        accept any. By default those of the system and of SSL_CERT_FILE, SSL_CERT_DIR, REQUESTS_CA_BUNDLE.
    trust_env
        Whether to use these variables and ~/.netrc. They are read for each request.
    version
        How versions of a file are compared. "etag": ETag, else Last-Modified, and size. "size": the size.
        "auto": as "etag", until replicas are seen to disagree; then size, and Last-Modified if it agrees.
    signature_parameters
        Query parameters that do not identify the object: URLs that differ only in these share a cache entry.
        By default those of signed URLs of S3, Azure and Google Cloud Storage.
    max_concurrency
        Concurrent requests to one host, over all calls.
    max_gap_bytes
        `cat_ranges` merges two ranges with no more unwanted bytes than this between them.
    max_request_bytes
        Longer ranges are split, and the parts fetched concurrently.
    tries
        Tries of one request, the first included.
    connect_timeout_seconds, stall_timeout_seconds
        Longest wait for a connection, and for the next bytes of a response.
    deadline_seconds, min_bytes_per_second
        All tries of one request together end after `deadline_seconds` plus the time that its bytes take at
        this rate, pauses included, waiting for one of the `max_concurrency` slots excluded.
    backoff_seconds
        Longest pause before the second try; doubles with each further one.
    long_link_seconds
        Round-trip time, as measured by Linux when connecting, from which connections are opened in advance
        and a single range is fetched in parts over four of them.
    redirects
        "any", "same-host" to refuse redirects to another host, or the URL of a folder (with its slash) to
        refuse redirects out of it. At most ten are followed, and never from https to http.
    permits
        Address of a server of permits, for one limit over several processes; `survey` starts one.
    """

    protocol = ("lazyhttp", "lazyhttps")
    checks_validator = True
    """Tells callers that `cat_file` and `cat_ranges` accept `validator`."""

    def __init__(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        auth: Login | None = None,
        cookies: Mapping[str, str] | None = None,
        proxy: str | None = None,
        ssl: Trust = True,
        trust_env: bool = True,
        version: Literal["auto", "etag", "size"] = "auto",
        signature_parameters: Sequence[str] | None = None,
        max_concurrency: int = 16,
        max_gap_bytes: int = 64 << 10,
        max_request_bytes: int = 8 << 20,
        tries: int = 5,
        connect_timeout_seconds: float = 8.0,
        stall_timeout_seconds: float = 8.0,
        deadline_seconds: float = 18.0,
        min_bytes_per_second: int = 64 << 10,
        backoff_seconds: float = 0.2,
        long_link_seconds: float = 0.01,
        redirects: str = "any",
        permits: str = "",
        asynchronous: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        batch_size: int | None = None,
    ) -> None:
        loop = loop if loop or asynchronous else shared_loop()
        super().__init__(asynchronous=asynchronous, loop=loop, batch_size=batch_size)
        self.max_gap_bytes, self.max_request_bytes = max_gap_bytes, max_request_bytes
        self._client = Client(
            Settings(
                headers=headers or {},
                auth=auth,
                cookies=cookies or {},
                proxy=proxy,
                ssl=ssl,
                trust_env=trust_env,
                version=version,
                max_concurrency=max_concurrency,
                max_request_bytes=max_request_bytes,
                tries=tries,
                connect_timeout_seconds=connect_timeout_seconds,
                stall_timeout_seconds=stall_timeout_seconds,
                deadline_seconds=deadline_seconds,
                min_bytes_per_second=min_bytes_per_second,
                backoff_seconds=backoff_seconds,
                long_link_seconds=long_link_seconds,
                redirects=redirects,
                permits=permits,
            )
        )
        self._signature_parameters = signature_parameters
        self._hosts_without_suffix: set[str] = set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop for blocking calls; a forked child gets its own."""
        if self._pid != os.getpid():
            self._loop = None if self.asynchronous else shared_loop()
            self._pid: int = os.getpid()  # last: it signals other threads that the loop exists
        return running(cast("asyncio.AbstractEventLoop", self._loop))

    @property
    def stats(self) -> TransferStats:
        """Transfers so far in this process; subtract two values to get the cost of a job."""
        return self._client.exchanges.stats

    def request_worth_bytes(self, path: str) -> float:
        """Bytes received in the time that one more request costs, as measured so far; 0 before that.

        The round-trip time times the highest rate so far, divided by `max_concurrency`. Planners read through
        gaps that are smaller.
        """
        return self._client.exchanges.request_worth_bytes(self._strip_protocol(path))

    async def aclose(self) -> None:
        """Close the connections of the running event loop; they open again when needed."""
        await self._client.exchanges.aclose()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:  # noqa: ANN401 - as in fsspec, a path or a list of them
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        url = stringify_path(path).removeprefix("lazy")
        return url if "?" in url else url.rstrip("/")  # a signature may end in a slash

    def unstrip_protocol(self, name: str) -> str:
        """The URL `name` with the protocol of this file system, for chaining."""
        return f"lazy{self._strip_protocol(name)}"

    def identify(self, path: str) -> tuple[str, list[tuple[str, str]]]:
        """The cache key of a file: its URL without a signature, and the credentials sent."""
        url = self._strip_protocol(path)
        host, login = parse_url(url).raw_host or "", split_login(url)[1]
        return identify_url(url, self._signature_parameters), self._client.settings.credentials(host, login)

    def known_validator(self, path: str) -> str | None:
        """The validator from the last response for a file; None if there was none. No request."""
        return facts.validator if (facts := self._client.facts.get(self._strip_protocol(path))) else None

    def vouch(self, path: str, validator: str, size: int) -> bool:
        """As `Client.vouch`."""
        return self._client.vouch(self._strip_protocol(path), FileFacts.of(validator, size))

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget the facts of `path`, or of all files."""
        if path is None:
            self._client.facts.clear()
        else:
            self._client.facts.pop(self._strip_protocol(path), None)
        super().invalidate_cache(path)

    async def _info(self, path: str) -> dict[str, Any]:
        """Facts of a file or folder: `name`, `size`, `type`, `etag`, `last_modified`, `validator`.

        Notes
        -----
        No request if an earlier response had them. Otherwise one `HEAD`, and a `GET` of one byte if the
        server refuses that or gives no length. `validator` is a short string that identifies this version:
        ETag and size, else Last-Modified and size, else size.
        """
        url = self._strip_protocol(path)
        return (await self._client.facts_of(url)).describe(url)

    def info(self, path: str, **_: object) -> dict[str, Any]:
        """The blocking version of `_info`; known facts do not use the event loop."""
        url = self._strip_protocol(path)
        facts = self._client.known_facts(url)
        return self._info_blocking(path) if facts is None else facts.describe(url)

    async def _ls(
        self,
        path: str,
        detail: bool = True,
        prefix: str | None = None,  # noqa: ARG002 - fsspec's glob passes it
    ) -> list[Any]:
        """Entries of a directory listing, or the file itself; sizes only if the listing has exact ones.

        Raises
        ------
        RemoteFileError
            The listing could not be read, or the page is not a listing.
        """
        url = self._strip_protocol(path)
        try:
            folder = self._client.version(f"{url}/", None)
            page = await self._client.fetch_page(f"{url}/", folder, content_type="text/html")
        except RemoteFileNotFoundError:
            entries = [await self._info(url)]
        else:
            if page is None:
                raise RemoteFileError(f"{redact_url(url)}: too long for a directory listing")
            text = page.body.decode(errors="replace")
            listed = await in_thread(parse_listing, text, page.url)  # seconds where it is very long
            entries = [
                {"name": f"{url}/{each.name}", "size": each.size, "type": each.type} for each in listed
            ]
        return entries if detail else [entry["name"] for entry in entries]

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, *, validator: str | None = None
    ) -> bytes:
        """The bytes `start` ≤ i < `end` of a file, as a slice: clipped to its size, negative from its end.

        Parameters
        ----------
        validator
            The required version (see `info`); by default the current one.

        Raises
        ------
        RemoteFileNotFoundError, RemoteFileChangedError, TruncatedResponseError, RemoteFileError
            No such file; another version; incomplete bodies at every try; anything else.
        RangeNotSupportedError
            The server responds with the whole file, which is not read.

        Notes
        -----
        One request for up to `max_request_bytes`, also for the last n bytes (`start=-n`). Servers that
        refuse such ranges are remembered, and the size is requested first.
        """
        url = self._strip_protocol(path)
        version = self._client.version(url, validator)
        if start is None and end is None:
            return await self._read_whole(url, version)
        if start is not None and start < 0 and end is None:
            return await self._read_suffix(url, -start, version)
        (wanted,) = await self._absolute(url, [(start, end)], version)
        return await self._read_range(url, wanted, version)

    async def _cat_ranges(  # noqa: PLR0917 - as in fsspec
        self,
        paths: list[str],
        starts: Sequence[int | None] | int | None,
        ends: Sequence[int | None] | int | None,
        max_gap: int | None = None,
        batch_size: int | None = None,  # noqa: ARG002 - `max_concurrency` limits the requests in flight
        on_error: Literal["return", "raise"] = "return",
        *,
        validator: str | None = None,
    ) -> list[Any]:
        """The bytes of many ranges, in the given order; nearby ones of a file are merged.

        Parameters
        ----------
        max_gap
            As `max_gap_bytes`, for this call.
        on_error
            "return" puts the error in place of each failed range; "raise" raises the first.
        validator
            As for `cat_file`. All ranges of one file come from one version in any case.
        """
        n = len(paths)
        starts = starts if isinstance(starts, Sequence) else [starts] * n
        ends = ends if isinstance(ends, Sequence) else [ends] * n
        if not len(starts) == len(ends) == n:
            raise ValueError(f"{n} paths, but {len(starts)} starts and {len(ends)} ends")
        max_gap_bytes = self.max_gap_bytes if max_gap is None else max_gap
        members: dict[str, list[int]] = {}
        for i, path in enumerate(paths):
            members.setdefault(self._strip_protocol(path), []).append(i)
        results: list[Any] = [b""] * n

        async def read_file(url: str, positions: list[int]) -> None:
            version = self._client.version(url, validator)
            bounds = [(starts[i], ends[i]) for i in positions]
            with _errors_into(results, positions, on_error):
                wanted = await self._absolute(url, bounds, version)
                spans = plan_spans(wanted, max_gap_bytes=max_gap_bytes, max_span_bytes=self.max_request_bytes)
                await gather(read_span(url, span, wanted, positions, version) for span in spans)

        async def read_span(
            url: str, span: Span, wanted: list[ByteRange], positions: list[int], version: Version
        ) -> None:
            with _errors_into(results, [positions[k] for k in span.members], on_error):
                data = await self._read_range(url, ByteRange(span.start, span.stop), version)
                for k in span.members:
                    results[positions[k]] = data[wanted[k].start - span.start : wanted[k].stop - span.start]

        await gather(read_file(url, positions) for url, positions in members.items())
        return results

    async def _read_whole(self, url: str, version: Version) -> bytes:
        """All of a file: in one response if it is short, in ranges if it is long."""
        if version.size is None:
            page = await self._client.fetch_page(url, version)
            if page is not None:
                return page.body
        return await self._read_range(url, ByteRange(0, await self._size_of(url, version)), version)

    async def _read_suffix(self, url: str, n_bytes: int, version: Version) -> bytes:
        """The last `n_bytes` of a file: by one request, or via its size if suffix ranges are refused."""
        host = str(parse_url(url).origin())
        too_long, is_refused = n_bytes > self.max_request_bytes, False
        if not too_long and version.size is None and host not in self._hosts_without_suffix:
            try:
                return b"".join(await self._client.fetch(url, ByteRange(-n_bytes, 0), version))
            except RangeNotSupportedError:
                is_refused = True
        (wanted,) = await self._absolute(url, [(-n_bytes, None)], version)
        data = await self._read_range(url, wanted, version)
        if is_refused:  # set only now: the refusal may have come from a login portal
            self._hosts_without_suffix.add(host)
        return data

    async def _read_range(self, url: str, wanted: ByteRange, version: Version) -> bytes:
        """The existing bytes of `wanted`, in as many requests as needed."""
        head: list[bytes] = []
        if wanted.n_bytes > 0 and version.size is None:  # the first response gives the size and the version
            first = ByteRange(wanted.start, min(wanted.stop, wanted.start + self.max_request_bytes))
            head = await self._client.fetch(url, first, version)
            wanted = ByteRange(first.stop, wanted.stop)
        if version.size is not None:
            wanted = clip_range(wanted, version.size)
        if wanted.n_bytes <= 0:
            return b"".join(head)
        return b"".join(chain(head, await self._client.fetch_parts(url, wanted, version)))

    async def _absolute(
        self, url: str, bounds: list[tuple[int | None, int | None]], version: Version
    ) -> list[ByteRange]:
        """Slices of a file as ranges; its size is requested only if one of them needs it."""
        needs_size = any(start is None or start < 0 or end is None or end < 0 for start, end in bounds)
        size = await self._size_of(url, version) if needs_size else sys.maxsize
        slices = (slice(*each).indices(size) for each in bounds)
        return [ByteRange(start, max(start, stop)) for start, stop, _ in slices]

    async def _size_of(self, url: str, version: Version) -> int:
        """Length in bytes of the file version of this call."""
        size = await self._client.size_of(url, version)
        if size is None:
            raise RemoteFileError(f"{redact_url(url)}: the server does not send the length of the file")
        return size

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        *,
        cache_type: str = "readahead",
        size: int | None = None,
        validator: str | None = None,
    ) -> "LazyHTTPFile":
        """A seekable file object over one version of a remote file; blocks of 1 MiB by default."""
        if mode != "rb":
            raise NotImplementedError("remote files are read-only")
        if size is None or validator is None:
            info = self.info(path)
            size, validator = info["size"], info["validator"]
        if size is None:
            raise RemoteFileError(f"{redact_url(path)}: its length is unknown; use cat_file")
        return LazyHTTPFile(
            self,
            path,
            mode,
            block_size or LazyHTTPFile.DEFAULT_BLOCK_SIZE,
            autocommit,
            cache_type,
            cache_options,
            size,
            validator=validator,
        )

    async def _walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: str | Callable[[OSError], None] = _raise_unless_missing,
        **kwargs: Any,  # noqa: ANN401 - for `_ls`
    ) -> AsyncIterator[Any]:
        # fsspec's default skips folders that fail: `find` and `glob` would find nothing on a dead server.
        async for step in super()._walk(path, maxdepth, topdown, on_error, **kwargs):
            yield step

    cat_file = blocking(_cat_file)
    cat_ranges = blocking(_cat_ranges)
    _info_blocking = blocking(_info)
    ls = blocking(_ls)


@contextlib.contextmanager
def _errors_into(results: list[Any], positions: Iterable[int], on_error: str) -> Iterator[None]:
    """Store an error of the block as the result of the ranges concerned."""
    try:
        yield
    except RemoteFileError as error:
        if on_error == "raise":
            raise
        for i in positions:
            results[i] = error
