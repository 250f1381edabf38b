"""The server's settings: mirrors, addresses and limits.

Each setting is declared once, as a field of `ServerSettings`: its annotation has its check and description,
from which the command line makes an option, environment variables and a key in a TOML file
(`cli.serve`). Values from all sources pass the same check.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints
from urllib.parse import unquote, urlsplit

from camhd_access.decoding.threads import n_cores
from camhd_access.storage.rangecache import default_cache_dir, default_max_bytes, parse_size
from camhd_access.urls import redact_url

__all__ = ["OOI_MIRROR", "ServerSettings", "Setting", "list_settings"]

OOI_MIRROR = "https://rawdata.oceanobservatories.org/files/"
"""The observatory's server, from the folder where paths of go-lazycache's clients start."""

_BIG = 1 << 30
_MAX_PORT = 65535
MAX_SIGNED_SECONDS = 7 * 86400
"""Limit of S3 for the validity of a signed URL."""

Check = Callable[[Any], Any]


class Setting(NamedTuple):
    """Properties of a setting besides its name, type and default."""

    check: Check
    """Converts text, or a value of the right type, to the value; raises ValueError if it is invalid."""
    metavar: str
    """Placeholder for the value in help texts; empty for on/off settings."""
    text: str
    """Its meaning, with the unit."""


def _switch(value: bool | str) -> bool:
    word = str(value).lower()
    if word not in {"1", "0", "true", "false", "yes", "no", "on", "off"}:
        raise ValueError(f"{value!r} is neither true nor false")
    return word in {"1", "true", "yes", "on"}


def _text(value: str) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"{value!r} is not a text")
    return value


def _folder(value: str | Path) -> Path:
    return Path(_text(str(value))).expanduser()


def _store(value: str | None) -> str | None:
    return None if value in (None, "none") else _text(value)


def _size(value: int | str) -> int:
    if type(value) not in {int, str}:
        raise ValueError(f"{value!r} is not a valid size; try '2 GiB'")
    return parse_size(value)


def _whole(minimum: int, maximum: int) -> Check:
    def check(value: int | str) -> int:
        text = str(value)
        if not (text.isascii() and text.isdigit()) or not minimum <= int(text) <= maximum:
            raise ValueError(f"{value!r} is not a whole number from {minimum} to {maximum}")
        return int(text)

    return check


def _seconds(value: float | str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if isinstance(value, bool) or not 0 < seconds < float("inf"):
        raise ValueError(f"{value!r} is not a positive number of seconds")
    return seconds


def _url(value: str) -> str:
    """The URL of a folder on a web server, with a trailing slash."""
    parts = urlsplit(_text(value))
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0 or "\\" in value:
        raise ValueError(f"{redact_url(value)!r} is not the URL of a folder on a web server")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(
            f"{redact_url(value)!r} contains more than a host and a folder, such as a login or a query"
        )
    return value.rstrip("/") + "/"


def _urls(value: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    urls = tuple(dict.fromkeys(map(_url, value.split() if isinstance(value, str) else value)))
    if not urls:
        raise ValueError("give at least one")
    return urls


def _path(value: str) -> str:
    """A path, percent-encoded, without a trailing slash; empty for the root."""
    is_path = isinstance(value, str) and re.fullmatch(r"/?|(/[\w.~@+%-]+)+/?", value, re.ASCII)
    plain = unquote(value) if is_path else ""
    is_plain = re.fullmatch(r"(/[\w.~@+ -]+)*/?", plain, re.ASCII) and plain.count("/") == value.count("/")
    if not is_path or not is_plain or ".." in plain:
        raise ValueError(f"{value!r} is not a path such as /camhd")
    return value.rstrip("/")


def _one_of(*choices: str) -> Check:
    def check(value: str) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is not one of {', '.join(choices)}")
        return value

    return check


def _or_none(check: Check) -> Check:
    return lambda value: value if value is None else check(value)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """All settings of a server, checked on creation; each field's annotation has its meaning and unit.

    Raises
    ------
    ValueError
        An invalid value, or a setting that requires another one.
    """

    mirrors: Annotated[
        tuple[str, ...],
        Setting(
            _urls,
            "URL",
            "Folder on a web server whose movies are served; no other host can be reached. May be given "
            "several times (in the environment separated by spaces).",
        ),
    ] = (OOI_MIRROR,)
    bind: Annotated[
        str, Setting(_text, "ADDRESS", "Address to listen on; 0.0.0.0 or :: for all addresses.")
    ] = "127.0.0.1"
    port: Annotated[int, Setting(_whole(0, _MAX_PORT), "PORT", "Port to listen on; 0 for any free one.")] = (
        8080
    )
    unix_socket: Annotated[
        Path | None, Setting(_or_none(_folder), "PATH", "Unix socket to listen on, instead of a port.")
    ] = None
    root_path: Annotated[
        str,
        Setting(
            _path,
            "PATH",
            "Path prefix that clients see, such as /camhd; a proxy's X-Forwarded-Prefix takes precedence.",
        ),
    ] = ""
    trust_forwarded: Annotated[
        bool,
        Setting(_switch, "", "Identify clients by X-Forwarded-For, which a proxy in front must set."),
    ] = False
    workers: Annotated[
        int, Setting(_whole(1, 256), "N", "Processes that share the port, the cache and the image store.")
    ] = 1
    metrics_bind: Annotated[str, Setting(_text, "ADDRESS", "Address of the metrics for Prometheus.")] = (
        "127.0.0.1"
    )
    metrics_port: Annotated[
        int,
        Setting(
            _whole(0, _MAX_PORT),
            "PORT",
            "Port of the metrics (/metrics) of the first worker; 0 for any free one.",
        ),
    ] = 9464
    access_log: Annotated[
        str,
        Setting(
            _one_of("common", "json", "off"),
            "FORMAT",
            "Access log on standard output: common, json, or off.",
        ),
    ] = "common"
    log_level: Annotated[
        str,
        Setting(
            _one_of("debug", "info", "warning", "error"),
            "LEVEL",
            "Lowest level logged to standard error: debug, info, warning or error.",
        ),
    ] = "info"
    cors: Annotated[bool, Setting(_switch, "", "Allow pages of other sites to read responses.")] = True
    public: Annotated[
        bool,
        Setting(_switch, "", "Public server: smaller PNG, and a header that says so."),
    ] = False
    raw: Annotated[
        bool, Setting(_switch, "", "Serve uncompressed pixels (.rgba, .raw, .npy), which are large.")
    ] = True
    file_overlay: Annotated[
        Path | None,
        Setting(_or_none(_folder), "DIR", "Folder of local movies that are read instead of the mirrors'."),
    ] = None
    file_overlay_flatten: Annotated[
        bool, Setting(_switch, "", "The overlay has all movies in one folder.")
    ] = False
    image_store: Annotated[
        str | None,
        Setting(
            _store,
            "URL",
            "Folder or bucket for finished images: a path, s3://…, gs://…",
        ),
    ] = None
    image_store_url: Annotated[
        str | None,
        Setting(
            _or_none(_url),
            "URL",
            "Public URL of the image store; responses then redirect to it.",
        ),
    ] = None
    image_store_sign: Annotated[
        int | None,
        Setting(
            _or_none(_whole(60, MAX_SIGNED_SECONDS)),
            "SECONDS",
            "Redirect to signed URLs of a private bucket, valid for this time.",
        ),
    ] = None
    image_store_size: Annotated[
        int,
        Setting(_size, "SIZE", "Size of the image store; the least recently used images are deleted first."),
    ] = 10 << 30
    cache_dir: Annotated[
        Path,
        Setting(
            _folder,
            "DIR",
            "Folder of the disk cache for movies; by default in your cache folder.",
        ),
    ] = field(default_factory=default_cache_dir)
    cache_size: Annotated[
        int, Setting(_size, "SIZE", "Size of the disk cache, such as 50 GiB; by default 10 GiB.")
    ] = field(default_factory=default_max_bytes)
    max_concurrency: Annotated[
        int, Setting(_whole(1, _BIG), "N", "Images made at the same time; by default one per core.")
    ] = field(default_factory=n_cores)
    max_queue: Annotated[
        int,
        Setting(_whole(0, _BIG), "N", "Images that may wait in the queue; further requests get a 503."),
    ] = 128
    max_pixels: Annotated[int, Setting(_whole(1, _BIG), "N", "Largest number of pixels of an image.")] = (
        4096 * 4096
    )
    max_frames: Annotated[
        int, Setting(_whole(1, _BIG), "N", "Largest number of frames of a sheet or animation.")
    ] = 300
    memory: Annotated[
        int,
        Setting(
            _size,
            "SIZE",
            "Memory for responses: half for those being sent, an eighth for recently made files.",
        ),
    ] = 1 << 30
    request_seconds: Annotated[
        float, Setting(_seconds, "S", "Time limit for a request, in seconds (504).")
    ] = 60.0

    def __post_init__(self) -> None:
        for name, setting in list_settings().items():
            try:
                object.__setattr__(self, name, setting.check(getattr(self, name)))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}: {error}") from error
        for name, other in (
            ("file_overlay_flatten", "file_overlay"),
            ("image_store_url", "image_store"),
            ("image_store_sign", "image_store"),
        ):
            if getattr(self, name) and not getattr(self, other):
                raise ValueError(f"{name} needs {other}")
        if self.image_store_sign and self.image_store_url:
            raise ValueError("image_store_sign and image_store_url exclude each other")
        if self.metrics_port and self.metrics_port + self.workers - 1 > _MAX_PORT:
            raise ValueError(
                f"metrics_port: {self.workers} workers need as many ports from {self.metrics_port} on; "
                f"the last one is {_MAX_PORT}"
            )


@cache
def list_settings() -> dict[str, Setting]:
    """All settings by name, in the order of the documentation."""
    hints = get_type_hints(ServerSettings, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}
