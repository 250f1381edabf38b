"""One request and its response: through proxy and redirects, with failures raised as `Fault`.

A URL is sent as it was given, byte for byte, and so is the `Location` of a redirect. Headers, login and
cookies for one host are not sent to others; a cookie is only returned to the host that set it, so that
logins by redirect work.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

import aiohttp
from yarl import URL

from camhd_access.ending import is_ending
from camhd_access.errors import RemoteFileError, TruncatedResponseError
from camhd_access.storage.lazyhttp.answers import Fault, status_fault
from camhd_access.storage.lazyhttp.connections import Connections, TransferStats
from camhd_access.storage.lazyhttp.environment import Login, find_proxy, make_ssl_context
from camhd_access.storage.lazyhttp.settings import Settings
from camhd_access.urls import escape_url, redact_url, resolve_location, split_login

__all__ = ["Budget", "Exchanges", "parse_url"]

logger = logging.getLogger("camhd_access.storage.lazyhttp")

_MAX_REDIRECTS = 10
_ABOUT_SSL = re.compile(r" ssl:(\w+|<[^>]*>)(?= \[)")  # aiohttp's option, not a reason


class Budget:
    """Seconds left for one task."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._timeout = asyncio.timeout(None)

    def extend(self, seconds: float) -> None:
        """Allow `seconds` more, within a `spend` block."""
        self.seconds += seconds
        self._timeout.reschedule((self._timeout.when() or 0.0) + seconds)

    @asynccontextmanager
    async def spend(self) -> AsyncIterator[None]:
        """Charge the time of the block to the budget; raises `TimeoutError` when it is used up."""
        begin = time.monotonic()
        try:
            self._timeout = asyncio.timeout(self.seconds)
            async with self._timeout:
                yield
        finally:
            self.seconds -= time.monotonic() - begin


class Exchanges:
    """Sends requests over the connections of the running event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._connections: dict[tuple[int, asyncio.AbstractEventLoop], Connections] = {}

    @property
    def stats(self) -> TransferStats:
        """Sum over all event loops of this process."""
        return sum((each.stats for each in self._all_mine()), start=TransferStats())

    def request_worth_bytes(self, url: str) -> float:
        """See `Connections`; the maximum over all event loops of this process."""
        return max((each.request_worth_bytes(parse_url(url)) for each in self._all_mine()), default=0.0)

    def mine(self) -> Connections:
        """The connections of the running loop in this process."""
        key = (os.getpid(), asyncio.get_running_loop())
        if key not in self._connections or self._connections[key].session.closed:
            settings = self.settings
            self._connections[key] = Connections(
                max_concurrency=settings.max_concurrency,
                connect_timeout_seconds=settings.connect_timeout_seconds,
                stall_timeout_seconds=settings.stall_timeout_seconds,
                long_link_seconds=settings.long_link_seconds,
                permits=settings.permits,
            )
            self._connections[key].close_with(self)
        return self._connections[key]

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        if connections := self._connections.pop((os.getpid(), asyncio.get_running_loop()), None):
            await connections.aclose()

    @asynccontextmanager
    async def exchange(
        self, method: str, url: str, budget: Budget, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to a request after at most ten redirects; an unread body is never downloaded."""
        origin, target = parse_url(url), url
        for _ in range(_MAX_REDIRECTS + 1):
            async with self._hop(method, origin, target, budget, headers or {}) as response:
                if response.status not in (301, 302, 303, 307, 308):
                    yield response
                    return
                target = self._redirect_target(origin, target, response.headers.get("Location", ""))
        raise Fault(f"more than {_MAX_REDIRECTS} redirects, the last to {redact_url(target)}")

    def _redirect_target(self, origin: URL, source: str, location: str) -> str:
        try:
            target = resolve_location(source, location)
            parsed = parse_url(target)
        except ValueError:
            parsed = None
        if not location or parsed is None:
            raise Fault(f"invalid redirect ({redact_url(location)!r})")
        if source.lower().startswith("https:") and parsed.scheme == "http":
            raise Fault("redirect from https to http refused")
        allowed = self.settings.redirects
        if allowed != "any" and not _same_host(origin, parsed):
            raise Fault(f"redirect to another host refused ({parsed.host})")
        if allowed.endswith("/") and not _leads_into(parsed, parse_url(allowed)):
            raise Fault(f"redirect out of the folder refused ({parsed.raw_path})")
        return target

    @asynccontextmanager
    async def _hop(
        self, method: str, origin: URL, address: str, budget: Budget, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to one request; connection errors are raised as `Fault`."""
        target = parse_url(address)
        connections = self.mine()
        options = self._options(origin, target, split_login(address)[1], headers)
        response = None
        async with connections.admission(target):
            begin = time.monotonic()
            connections.requests += 1
            try:
                async with budget.spend():
                    response = await connections.session.request(
                        method, target, allow_redirects=False, **options
                    )
                    if logger.isEnabledFor(logging.DEBUG):
                        asked = headers.get("Range", "")
                        logger.debug("%s %s %s: %d", method, redact_url(address), asked, response.status)
                    if response.status in (429, 503):
                        connections.slow_down(status_fault(response.status, response.headers).wait_seconds)
                    yield response
                if response.status == 206:
                    connections.weigh(target, response.content_length or 0, time.monotonic() - begin)
            except RemoteFileError:
                raise
            except (aiohttp.ClientError, OSError, RuntimeError) as error:  # TimeoutError is an OSError
                if isinstance(error, RuntimeError) and not is_ending():
                    raise
                raise self._fault(error, budget, options["proxy"], has_begun=response is not None) from error
            finally:
                if response is not None:
                    response.release()  # closes the connection if the body was not read to its end
                connections.seconds += time.monotonic() - begin

    def _options(
        self, origin: URL, target: URL, login: Login | None, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        """Options for a request to `target`, and the proxy to use."""
        settings = self.settings
        is_own = _same_host(origin, target)
        told = settings.headers_for(target.raw_host or "", login, is_own=is_own)
        told.update(headers)
        try:
            proxy = settings.proxy or (find_proxy(target) if settings.trust_env else None)
            trust = target.scheme != "https" or make_ssl_context(settings.ssl, trust_env=settings.trust_env)
        except ValueError as error:
            raise Fault(str(error)) from error
        cookies = dict(settings.cookies) if is_own and settings.cookies else None
        options = {"headers": told, "proxy": proxy, "ssl": trust, "cookies": cookies}
        if proxy and (proxy_login := split_login(proxy)[1]):
            to_proxy = {"Proxy-Authorization": aiohttp.encode_basic_auth(*proxy_login)}
            options |= {"proxy": split_login(proxy)[0], "proxy_headers": to_proxy}
            if target.scheme == "http":  # there is no CONNECT request to carry it
                told.update(to_proxy)
        return options

    def _fault(self, error: Exception, budget: Budget, proxy: str | None, *, has_begun: bool) -> Fault:
        """The `Fault` for a connection error, naming the setting concerned."""
        settings = self.settings
        if isinstance(error, aiohttp.ClientHttpProxyError):
            fault = status_fault(error.status, error.headers or {})
            return Fault(f"the proxy responds: {fault}", retry=fault.retry, wait_seconds=fault.wait_seconds)
        if isinstance(error, aiohttp.ClientSSLError):
            return Fault(f"no trusted connection: {error} (set `ssl` or SSL_CERT_FILE to trust others)")
        if isinstance(error, RuntimeError):
            return Fault(f"the program is ending ({error})")
        broke_off = has_begun and not isinstance(error, TimeoutError)
        kind = TruncatedResponseError if broke_off else RemoteFileError
        if isinstance(error, TimeoutError) and budget.seconds <= 0:
            why = (
                f"timed out (deadline_seconds={settings.deadline_seconds:g}, "
                f"min_bytes_per_second={settings.min_bytes_per_second})"
            )
        elif isinstance(error, aiohttp.ConnectionTimeoutError):
            why = f"connecting timed out (connect_timeout_seconds={settings.connect_timeout_seconds:g})"
        elif isinstance(error, TimeoutError):
            why = f"no data received in time (stall_timeout_seconds={settings.stall_timeout_seconds:g})"
        else:
            told = error.message if isinstance(error, aiohttp.ClientResponseError) else error  # no URL
            problem = "connection lost" if has_begun else "connection failed"
            why = _ABOUT_SSL.sub("", f"{problem}: {told}")
        by_proxy = f" through the proxy {redact_url(proxy)}" if proxy and not has_begun else ""
        return Fault(f"{why}{by_proxy}", kind=kind, retry=True)

    def _all_mine(self) -> list[Connections]:
        pid = os.getpid()
        return [each for (owner, _), each in list(self._connections.items()) if owner == pid]


@lru_cache(maxsize=256)  # called several times a request
def parse_url(url: str) -> URL:
    """`url` parsed, its path and query as given; `ValueError` unless it is http or https."""
    address, _ = split_login(url)
    scheme, _, rest = address.partition("://")
    end = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    if scheme.lower() not in ("http", "https") or not rest[:end]:
        raise ValueError(f"not an http or https URL: {redact_url(url)!r}")
    host = URL(f"{scheme}://{rest[:end]}").host_port_subcomponent
    path = escape_url(rest[end:].partition("#")[0])
    return URL(f"{scheme.lower()}://{host}{path}", encoded=True)


def _leads_into(url: URL, folder: URL) -> bool:
    """Whether `url` is also within `folder` for a server that resolves ".." or "%2e%2e"."""
    return url.path.startswith(folder.path) and ".." not in url.path.split("/")


def _same_host(a: URL, b: URL) -> bool:
    """Whether headers for `a` may go to `b`: same name and port, or both on their default ports."""
    return a.host == b.host and (a.port == b.port or (a.is_default_port() and b.is_default_port()))
