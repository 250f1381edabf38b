"""How to deal with servers: limits, patience, and what they are told of who asks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from aiohttp import encode_basic_auth
from multidict import CIMultiDict

from camhd_access.storage.lazyhttp.environment import Login, Trust, check_proxy, find_login

__all__ = ["Settings"]

_NO_CREDENTIALS = {"accept", "accept-language", "from", "referer", "user-agent"}


@dataclass(frozen=True)
class Settings:
    """How to deal with servers; see `LazyHTTPFileSystem` for each."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with each request, but not to other hosts."""
    auth: Login | None = field(default=None, repr=False)
    """User and password, for the host of the URL alone."""
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with each request, but not to other hosts."""
    proxy: str | None = field(default=None, repr=False)
    """Where all requests go; None leaves it to the environment."""
    ssl: Trust = True
    """Whom to trust."""
    trust_env: bool = True
    """Whether variables of the environment and ~/.netrc count."""
    version: Literal["auto", "etag", "size"] = "auto"
    """What tells versions of a file apart."""
    max_concurrency: int = 16
    """Requests at once to one host."""
    max_request_bytes: int = 8 << 20
    """Longest body asked for at once."""
    tries: int = 5
    """Tries of one request, the first included."""
    connect_timeout_seconds: float = 8.0
    """Longest wait for a connection."""
    stall_timeout_seconds: float = 8.0
    """Longest wait for the next bytes."""
    deadline_seconds: float = 18.0
    """Longest time for all tries of one request, beyond that of its bytes."""
    min_bytes_per_second: int = 64 << 10
    """Slowest transfer that is put up with."""
    backoff_seconds: float = 0.2
    """Longest pause before the second try; doubles with each further one."""
    long_link_seconds: float = 0.01
    """Round trip from which a range that is alone is fetched in parts."""
    redirects: str = "any"
    """Where redirects may lead: "any", "same-host", or the URL of a folder, which they must not leave."""

    def __post_init__(self) -> None:
        if min(self.max_concurrency, self.max_request_bytes, self.tries, self.min_bytes_per_second) < 1:
            raise ValueError("max_concurrency, max_request_bytes, tries, min_bytes_per_second: at least 1")
        if min(self.connect_timeout_seconds, self.stall_timeout_seconds, self.deadline_seconds) <= 0:
            raise ValueError("time-outs must be above 0 s")
        if self.redirects not in ("any", "same-host") and not self.redirects.endswith("/"):
            raise ValueError(f"redirects: 'any', 'same-host' or the URL of a folder, not {self.redirects!r}")
        if self.version not in ("auto", "etag", "size"):
            raise ValueError(f"version: 'auto', 'etag' or 'size', not {self.version!r}")
        if self.auth is not None and (isinstance(self.auth, str) or len(self.auth) < 2):
            raise ValueError("auth: user and password, as ('me', 'secret')")
        if self.proxy is not None:
            check_proxy(self.proxy)

    @cached_property
    def own_headers(self) -> CIMultiDict[str]:
        """`headers`, with `auth` among them."""
        headers = CIMultiDict(self.headers)
        if self.auth is not None:
            headers.setdefault("Authorization", encode_basic_auth(*self.auth[:2]))
        return headers

    def headers_for(self, host: str, login: Login | None, *, is_own: bool) -> CIMultiDict[str]:
        """What a request to `host` says of who asks.

        Parameters
        ----------
        login
            That of the URL, if it has one.
        is_own
            Whether it is the host that the user named: no other one gets what was meant for that.
        """
        headers = CIMultiDict(self.own_headers if is_own else {})
        if login is None and self.trust_env and "Authorization" not in headers:
            login = find_login(host, may_guess=is_own)
        if login is not None:
            headers["Authorization"] = encode_basic_auth(*login)
        return headers

    def credentials(self, host: str, login: Login | None) -> list[tuple[str, str]]:
        """All that `host` is told of who asks, in an order that does not matter."""
        told = self.headers_for(host, login, is_own=True)
        secrets = sorted((name.lower(), value) for name, value in told.items())
        return [each for each in secrets if each[0] not in _NO_CREDENTIALS] + sorted(self.cookies.items())
