"""The cache key of a remote file: its address without secrets, and the login used.

Data that was fetched with credentials is found again only with the same ones: not by a colleague who shares
the folder, nor after a change of login. `lazyhttp` reports the credentials that it sends; for others
they are taken from the options. Only a slow hash of them is used, and only a hash of that names a folder.
"""

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import pbkdf2_hmac
from typing import Any

from fsspec.spec import AbstractFileSystem

from camhd_access.storage.rangecache.settings import default_permissions
from camhd_access.urls import identify_url, split_login

__all__ = ["Identity"]

_CREDENTIAL = re.compile(
    "key|secret|token|pass|user|login|auth|cookie|header|cred|session|profile|anon|sas|account|tenant"
    "|client|config|connection|endpoint",
    re.IGNORECASE,
)
"""Parts of the names of options that hold credentials, or name the server."""
_FROM_ENVIRONMENT = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl"}
"""Filesystems that find credentials in the user's environment."""
_ROUNDS = 50_000  # 20 ms, once per process and login; slows down guessing


class Identity:
    """Maps the addresses of one filesystem to cache keys."""

    def __init__(self, filesystem: AbstractFileSystem) -> None:
        self._tell = getattr(filesystem, "identify", None)
        options: Mapping[str, Any] = filesystem.storage_options
        self._options = sorted(
            (name, _describe(value))
            for name, value in options.items()
            if value is not None and _CREDENTIAL.search(name)
        )
        protocol = filesystem.protocol
        protocols = {protocol} if isinstance(protocol, str) else set(protocol)
        shared = bool(default_permissions().file & 0o070)
        if shared and protocols & _FROM_ENVIRONMENT and not options.get("anon"):
            self._options.append(("user", str(os.getuid())))

    def __call__(self, url: str) -> str:
        """The address without secrets, followed by a blank (never in URLs) and a hash of the credentials."""
        login = split_login(url)[1]
        told = [*self._options, *([("login", login)] if login else [])]
        address, secrets = self._tell(url) if self._tell else (identify_url(url), told)
        return f"{address} {_hash(repr(secrets))}" if secrets else str(address)


def _describe(value: object) -> str:
    """A value as text, the same in each process; objects without one get a text unique to this process."""
    if isinstance(value, Mapping):
        return repr(sorted((str(name), _describe(each)) for name, each in value.items()))
    if isinstance(value, list | tuple):
        return repr([_describe(each) for each in value])
    if isinstance(value, str | bytes | int | float | None):
        return repr(value)
    return f"{type(value).__qualname__} {id(value)} {os.getpid()}"


@lru_cache(maxsize=256)
def _hash(secrets: str) -> str:
    return pbkdf2_hmac("sha256", secrets.encode(), b"camhd_access cache", _ROUNDS).hex()
