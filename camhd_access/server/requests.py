"""What is known about a request: its client, what that accepts, by which address it came, its route, and the
stages of the work.

Behind a proxy the address is not that of the server's socket. The proxy passes on `Host`, and sends the path
below which it serves in `X-Forwarded-Prefix` and the scheme in `X-Forwarded-Proto`.
"""

import re
from ipaddress import IPv6Address, ip_address
from urllib.parse import unquote

from aiohttp import web

__all__ = [
    "ADDRESS_HEADERS",
    "ROUTE",
    "STAGES",
    "accepts_gzip",
    "address_of",
    "find_client",
    "parse_qualities",
    "path_below",
    "prefix_of",
    "target_of",
]

ROUTE: web.RequestKey[str] = web.RequestKey("camhd_route", str)
"""Route of the current request, for the metrics."""
STAGES: web.RequestKey[dict[str, float]] = web.RequestKey("camhd_stages", dict)
"""Seconds spent in each stage of the work."""

ADDRESS_HEADERS = "X-Forwarded-Prefix, X-Forwarded-Proto"
"""`Vary` of responses that contain complete URLs; caches distinguish hosts anyway."""

_PREFIX = re.compile(r"(/[\w.~%@+-]+)+", re.ASCII)
_ABSOLUTE = re.compile(r"https?://(?P<host>[^/?]*)(?P<target>.*)", re.IGNORECASE)
_HOST = re.compile(r"[\w.-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?", re.ASCII)
_IP_AND_PORT = re.compile(r"\[(?P<v6>[^\]]+)\](:[0-9]+)?|(?P<v4>[0-9.]+):[0-9]+")


def find_client(request: web.BaseRequest, *, trust_forwarded: bool) -> str:
    """The client of a request: an address, or the first 64 bits of an IPv6 address, which identify a site.

    Parameters
    ----------
    trust_forwarded
        Use the last address in `X-Forwarded-For`, which the proxy in front has added; some add a port.
    """
    told = request.remote or ""
    if trust_forwarded:
        told = ",".join(request.headers.getall("X-Forwarded-For", [])).rpartition(",")[2].strip() or told
    if with_port := _IP_AND_PORT.fullmatch(told):
        told = with_port["v6"] or with_port["v4"]
    try:
        address = ip_address(told)
    except ValueError:
        return told  # a name, or nothing on a Unix socket
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64)
    return str(address)


def prefix_of(request: web.BaseRequest, root_path: str) -> str:
    """The path prefix that clients see, without a trailing slash; `root_path` if no proxy sends one."""
    told = request.headers.get("X-Forwarded-Prefix", "").rstrip("/")
    return told if _PREFIX.fullmatch(told) and ".." not in told else root_path


def address_of(request: web.BaseRequest, root_path: str) -> str:
    """The URL of the server that clients see, without a trailing slash."""
    told = request.headers.get("X-Forwarded-Proto", "")
    scheme = told if told in {"http", "https"} else request.scheme
    absolute = _ABSOLUTE.fullmatch(request.raw_path)
    host = absolute["host"] if absolute else request.headers.get("Host", "")
    if not _HOST.fullmatch(host):
        host = "localhost"
    return f"{scheme}://{host}{prefix_of(request, root_path)}"


def target_of(request: web.BaseRequest) -> str:
    """The path and query of a request as sent, without the scheme and host that proxies may send before them.

    Notes
    -----
    RFC 9112, section 3.2.2: servers accept this absolute form, and its host counts instead of `Host`.
    """
    absolute = _ABSOLUTE.fullmatch(request.raw_path)
    return absolute["target"] if absolute else request.raw_path


def path_below(request: web.BaseRequest, root_path: str) -> str:
    """The path of a request as sent, without `root_path` where it begins with that, however it is encoded."""
    path = target_of(request).partition("?")[0]
    head = "/".join(path.split("/")[: root_path.count("/") + 1])
    return path[len(head) :] if unquote(head) == unquote(root_path) else path


def parse_qualities(text: str) -> dict[str, float]:
    """The choices of an `Accept` header, in lower case, with their quality values (RFC 9110, section 12.4.2).

    Notes
    -----
    A quality is from 0, which is not acceptable, to 1, the default; it is 0 if it is not a number.
    """
    return dict(map(_parse_choice, text.lower().split(",")))


def _parse_choice(text: str) -> tuple[str, float]:
    choice, *parameters = (part.strip() for part in text.split(";"))
    weights = [part[2:] for part in parameters if part.startswith("q=")]
    try:
        return choice, float(weights[0]) if weights else 1.0
    except ValueError:
        return choice, 0.0


def accepts_gzip(request: web.BaseRequest) -> bool:
    """Whether the client accepts gzip (RFC 9110, section 12.5.3)."""
    qualities = parse_qualities(",".join(request.headers.getall("Accept-Encoding", [])))
    return next((qualities[each] for each in ("gzip", "x-gzip", "*") if each in qualities), 0.0) > 0
