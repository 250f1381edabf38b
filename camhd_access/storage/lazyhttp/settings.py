"""Client settings: limits, time-outs, retries and credentials."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ssl import SSLContext
from typing import Literal

from aiohttp import encode_basic_auth
from multidict import CIMultiDict

from camhd_access.storage.lazyhttp.environment import Login, Trust, check_proxy, find_login
from camhd_access.storage.lazyhttp.permits import check_address

__all__ = ["Settings"]

_MAX_STEP_BYTES = 64 << 10  # more saves little
_NO_CREDENTIALS = {"accept", "accept-language", "from", "referer", "user-agent"}


@dataclass(frozen=True)
class Settings:
    """Client settings; see `LazyHTTPFileSystem` for each."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with each request, not to other hosts."""
    auth: Login | None = field(default=None, repr=False)
    """User and password, only for the host of the URL."""
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with each request, not to other hosts."""
    proxy: str | None = field(default=None, repr=False)
    """Proxy for all requests; None uses the environment."""
    ssl: Trust = True
    """Trusted certificates."""
    trust_env: bool = True
    """Whether to use environment variables and ~/.netrc."""
    version: Literal["auto", "etag", "size"] = "auto"
    """How versions of a file are compared."""
    max_concurrency: int = 16
    """Concurrent requests to one host."""
    max_request_bytes: int = 8 << 20
    """Longest body to request at once."""
    tries: int = 5
    """Tries of one request, the first included."""
    connect_timeout_seconds: float = 8.0
    """Longest wait for a connection."""
    stall_timeout_seconds: float = 8.0
    """Longest wait for the next bytes."""
    deadline_seconds: float = 18.0
    """Longest time for all tries of one request, beyond that of its bytes."""
    min_bytes_per_second: int = 64 << 10
    """Slowest acceptable transfer rate."""
    backoff_seconds: float = 0.2
    """Longest pause before the second try; doubles with each further one."""
    long_link_seconds: float = 0.01
    """Round-trip time from which a single range is fetched in parts."""
    permits: str = field(default="", repr=False)
    """Address of a server that grants permits for requests; empty for none."""
    redirects: str = "any"
    """Allowed targets of redirects: "any", "same-host", or the URL of a folder."""

    def __post_init__(self) -> None:
        if min(self.max_concurrency, self.max_request_bytes, self.tries, self.min_bytes_per_second) < 1:
            raise ValueError(
                "max_concurrency, max_request_bytes, tries, min_bytes_per_second must be at least 1"
            )
        if min(self.connect_timeout_seconds, self.stall_timeout_seconds, self.deadline_seconds) <= 0:
            raise ValueError("time-outs must be positive")
        if self.redirects not in ("any", "same-host") and not self.redirects.endswith("/"):
            raise ValueError(
                f"redirects must be 'any', 'same-host' or a folder's URL, not {self.redirects!r}"
            )
        if self.permits:
            check_address(self.permits)
        if self.version not in ("auto", "etag", "size"):
            raise ValueError(f"version must be 'auto', 'etag' or 'size', not {self.version!r}")
        if self.auth is not None and (isinstance(self.auth, str) or len(self.auth) < 2):
            raise ValueError("auth must be user and password: ('me', 'secret')")
        if self.proxy is not None:
            if not isinstance(self.proxy, str):
                raise TypeError(f"proxy must be a URL, not {self.proxy!r:.80}")
            check_proxy(self.proxy)
        if not isinstance(self.ssl, bool | str | os.PathLike | SSLContext):
            raise TypeError(
                "ssl must be True, False, a file or folder of certificates, or an ssl.SSLContext, "
                f"not {self.ssl!r:.80}"
            )

    @property
    def step_bytes(self) -> int:
        """Bytes to wait for at once: the slowest acceptable server sends them well before a time-out."""
        return max(1, min(_MAX_STEP_BYTES, int(self.stall_timeout_seconds * self.min_bytes_per_second / 4)))

    @cached_property
    def own_headers(self) -> CIMultiDict[str]:
        """`headers`, including `auth`."""
        headers = CIMultiDict(self.headers)
        if self.auth is not None:
            headers.setdefault("Authorization", encode_basic_auth(*self.auth[:2]))
        return headers

    def headers_for(self, host: str, login: Login | None, *, is_own: bool) -> CIMultiDict[str]:
        """Headers, with credentials, for a request to `host`.

        Parameters
        ----------
        login
            That of the URL, if any.
        is_own
            Whether it is the host that the user named: others get no headers of the user.
        """
        headers = CIMultiDict(self.own_headers if is_own else {})
        if login is None and self.trust_env and "Authorization" not in headers:
            login = find_login(host, may_guess=is_own)
        if login is not None:
            headers["Authorization"] = encode_basic_auth(*login)
        return headers

    def credentials(self, host: str, login: Login | None) -> list[tuple[str, str]]:
        """All credentials sent to `host`, in any order."""
        told = self.headers_for(host, login, is_own=True)
        secrets = sorted((name.lower(), value) for name, value in told.items())
        return [each for each in secrets if each[0] not in _NO_CREDENTIALS] + sorted(self.cookies.items())
