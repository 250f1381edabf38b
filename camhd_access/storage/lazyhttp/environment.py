"""Network settings from the user's environment: proxies, logins, trusted certificates.

The same variables and files as in urllib, requests and curl. They are read for each request, so that
changes after the import count; derived objects are cached as long as they do not change.
"""

import ipaddress
import logging
import netrc
import os
import ssl
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from camhd_access.urls import redact_url

__all__ = ["Login", "Trust", "check_proxy", "find_login", "find_proxy", "make_ssl_context"]

Login: TypeAlias = tuple[str, str]
"""User and password."""

Trust: TypeAlias = bool | str | os.PathLike[str] | ssl.SSLContext
"""Trusted certificates: the default (True), any (False), those of a file or folder, or a context."""

logger = logging.getLogger("camhd_access.storage.lazyhttp")

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_PROXY_VARIABLES = (*_PROXIES, *map(str.upper, _PROXIES), "REQUEST_METHOD")  # the last one marks a CGI script
_CA_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_CA_DEFAULTS = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # OpenSSL reads these itself


def find_proxy(url: URL) -> str | None:
    """The proxy for `url`, from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.

    Raises
    ------
    ValueError
        The proxy is of an unsupported kind.
    """
    return _find_proxy(url.scheme, url.raw_host or "", url.port, _values(_PROXY_VARIABLES))


@lru_cache(maxsize=256)
def _find_proxy(scheme: str, host: str, port: int | None, _: tuple[str | None, ...]) -> str | None:
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if not proxy or any(map(proxy_bypass, (address, host))) or _is_within(host, proxies.get("no", "")):
        return None
    return check_proxy(proxy)


def _is_within(host: str, networks: str) -> bool:
    """Whether an IP address lies in one of the networks of NO_PROXY ("10.0.0.0/8")."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for network in networks.split(","):
        try:
            if address in ipaddress.ip_network(network.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False


def check_proxy(proxy: str) -> str:
    """The URL of a proxy, by default an http one; `ValueError` for other kinds."""
    url = proxy if "://" in proxy else f"http://{proxy}"
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(
            f"{redact_url(url)}: only http and https proxies are supported; set one with `proxy` or "
            "HTTP(S)_PROXY, or use none with trust_env=False"
        )
    return url


def find_login(host: str, *, may_guess: bool) -> Login | None:
    """The login for `host` in the file named by NETRC, or in ~/.netrc.

    Parameters
    ----------
    may_guess
        Whether the entry `default`, for any host, counts too.
    """
    path = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")  # noqa: PTH111 - never raises
    try:
        facts = os.stat(path)  # noqa: PTH116 - for each request
    except OSError:
        return None
    logins = _read_logins(path, facts.st_mtime_ns, facts.st_size)
    return logins.get(host) or (logins.get("default") if may_guess else None)


@lru_cache(maxsize=4)
def _read_logins(path: str, *_: int) -> dict[str, Login]:
    try:
        hosts = netrc.netrc(path).hosts
    except (OSError, ValueError, netrc.NetrcParseError) as error:
        logger.warning("%s is ignored: it cannot be read (%s)", path, type(error).__name__)
        return {}
    return {
        host: (login or account or "", password or "") for host, (login, account, password) in hosts.items()
    }


def make_ssl_context(trust: Trust, *, trust_env: bool) -> ssl.SSLContext | bool:
    """The SSL context for https; by default with the certificates of the system and the environment.

    Raises
    ------
    ValueError
        A file or folder of certificates does not exist, or has none.
    """
    if isinstance(trust, bool | ssl.SSLContext):
        if trust is not True:
            return trust
        bundles = [name for name in _CA_BUNDLES if trust_env and os.environ.get(name)]
        named = tuple((name, os.environ[name]) for name in bundles)
    else:
        named = (("ssl", os.fspath(trust)),)
    return _make_context(named, trust is True and trust_env, _values(_CA_DEFAULTS))


@lru_cache(maxsize=8)
def _make_context(
    named: tuple[tuple[str, str], ...], by_environment: bool, values: tuple[str | None, ...]
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    for name, path in named:
        try:
            context.load_verify_locations(**{"capath" if Path(path).is_dir() else "cafile": path})
        except OSError as error:
            raise ValueError(f"{name}={path}: no certificates could be read ({error})") from error
    if by_environment and (any(values) or not named):
        context.load_default_certs()
    elif not named:
        usual = ssl.get_default_verify_paths()
        if found := {
            kind: path
            for kind, path in (("cafile", usual.openssl_cafile), ("capath", usual.openssl_capath))
            if Path(path).exists()
        }:
            context.load_verify_locations(**found)
    return context


def _values(names: tuple[str, ...]) -> tuple[str | None, ...]:
    return tuple(map(os.environ.get, names))
