"""What the server serves, where it listens and what it allows.

Each setting is declared once, as a field of `ServerSettings`: its annotation holds its check and its text,
from which the command line makes an option, with variables of the environment and a key in a TOML file
(`cli.serve`). Wherever a value comes from, it passes the same check.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints
from urllib.parse import urlsplit

from camhd_access.decoding.threads import n_cores
from camhd_access.storage.rangecache import default_cache_dir, default_max_bytes, parse_size
from camhd_access.urls import redact_url

__all__ = ["OOI_MIRROR", "ServerSettings", "Setting", "list_settings"]

OOI_MIRROR = "https://rawdata.oceanobservatories.org/files/"
"""The observatory's server, from the folder on that go-lazycache's clients name."""

_BIG = 1 << 30

Check = Callable[[Any], Any]


class Setting(NamedTuple):
    """What is to be known of a setting beside its name, type and default."""

    check: Check
    """From text, or from a value of the right kind, to the value; a ValueError says what is wrong."""
    metavar: str
    """What stands for a value in help texts; empty for a setting that is on or off."""
    text: str
    """What it means, with its unit."""


def _switch(value: bool | str) -> bool:
    word = str(value).lower()
    if word not in {"1", "0", "true", "false", "yes", "no", "on", "off"}:
        raise ValueError(f"{value!r} is neither true nor false")
    return word in {"1", "true", "yes", "on"}


def _text(value: str) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"{value!r} is no text")
    return value


def _folder(value: str | Path) -> Path:
    return Path(_text(str(value))).expanduser()


def _store(value: str | None) -> str | None:
    return None if value in (None, "none") else _text(value)


def _size(value: int | str) -> int:
    if type(value) not in {int, str}:
        raise ValueError(f"{value!r} is no size; try '2 GiB'")
    return parse_size(value)


def _whole(minimum: int, maximum: int) -> Check:
    def check(value: int | str) -> int:
        text = str(value)
        if not (text.isascii() and text.isdigit()) or not minimum <= int(text) <= maximum:
            raise ValueError(f"{value!r} is no whole number from {minimum} to {maximum}")
        return int(text)

    return check


def _seconds(value: float | str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if isinstance(value, bool) or not 0 < seconds < float("inf"):
        raise ValueError(f"{value!r} is no number of seconds above 0")
    return seconds


def _url(value: str) -> str:
    """The URL of a folder on a web server, with its last slash."""
    parts = urlsplit(_text(value))
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0 or "\\" in value:
        raise ValueError(f"{redact_url(value)!r} is no URL of a folder on a web server")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(
            f"{redact_url(value)!r} holds more than a host and a folder, such as a login or a query"
        )
    return value.rstrip("/") + "/"


def _urls(value: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    urls = tuple(dict.fromkeys(map(_url, value.split() if isinstance(value, str) else value)))
    if not urls:
        raise ValueError("none is given; at least one is needed")
    return urls


def _path(value: str) -> str:
    """A path without a slash at its end; empty for the root."""
    if not isinstance(value, str) or not re.fullmatch(r"/?|(/[\w.~-]+)+/?", value, re.ASCII) or ".." in value:
        raise ValueError(f"{value!r} is no path such as /camhd")
    return value.rstrip("/")


def _one_of(*choices: str) -> Check:
    def check(value: str) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is none of {', '.join(choices)}")
        return value

    return check


def _or_none(check: Check) -> Check:
    return lambda value: value if value is None else check(value)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """All settings of a server, checked when made; each field's annotation says what it means, with unit.

    Raises
    ------
    ValueError
        A value that is none for its setting, or a setting that means nothing without another one.
    """

    mirrors: Annotated[
        tuple[str, ...],
        Setting(
            _urls,
            "URL",
            "Folder on a web server whose movies are served; no other host is reached. May be given several "
            "times (in the environment with spaces between).",
        ),
    ] = (OOI_MIRROR,)
    bind: Annotated[
        str, Setting(_text, "ADDRESS", "Address to listen on; 0.0.0.0 or :: for all of this machine's.")
    ] = "127.0.0.1"
    port: Annotated[
        int, Setting(_whole(0, 65535), "PORT", "Port to listen on; 0 takes one that is free.")
    ] = 8080
    unix_socket: Annotated[
        Path | None, Setting(_or_none(_folder), "PATH", "Unix socket to listen on, in place of a port.")
    ] = None
    root_path: Annotated[
        str,
        Setting(
            _path,
            "PATH",
            "Path below which clients see the server, such as /camhd; a proxy's X-Forwarded-Prefix wins.",
        ),
    ] = ""
    trust_forwarded: Annotated[
        bool,
        Setting(_switch, "", "Tell clients apart by X-Forwarded-For, which a proxy in front sets."),
    ] = False
    workers: Annotated[
        int, Setting(_whole(1, 256), "N", "Processes that share the port, the cache and the image store.")
    ] = 1
    metrics_bind: Annotated[
        str, Setting(_text, "ADDRESS", "Address of the figures for Prometheus, which are not on the port.")
    ] = "127.0.0.1"
    metrics_port: Annotated[
        int,
        Setting(
            _whole(0, 65535),
            "PORT",
            "Port of the figures (/metrics), of the first worker; 0 takes a free one.",
        ),
    ] = 9464
    access_log: Annotated[
        str,
        Setting(
            _one_of("common", "json", "off"),
            "FORMAT",
            "A line a request on standard output: common, json, or off.",
        ),
    ] = "common"
    log_level: Annotated[
        str,
        Setting(
            _one_of("debug", "info", "warning", "error"),
            "LEVEL",
            "What is logged on standard error: from debug, info, warning or error on.",
        ),
    ] = "info"
    cors: Annotated[bool, Setting(_switch, "", "Let pages of other sites read the answers.")] = True
    public: Annotated[
        bool,
        Setting(_switch, "", "Serve the public: smaller PNG, and a header that says so."),
    ] = False
    raw: Annotated[
        bool, Setting(_switch, "", "Serve uncompressed pixels (.rgba, .raw, .npy), which are large.")
    ] = True
    file_overlay: Annotated[
        Path | None,
        Setting(_or_none(_folder), "DIR", "Folder of local movies that are read in place of the mirrors'."),
    ] = None
    file_overlay_flatten: Annotated[
        bool, Setting(_switch, "", "The overlay holds movies by their bare names, without folders.")
    ] = False
    image_store: Annotated[
        str | None,
        Setting(
            _store,
            "URL",
            "Folder or bucket where pictures are kept that were made once: a path, s3://…, gs://…",
        ),
    ] = None
    image_store_url: Annotated[
        str | None,
        Setting(
            _or_none(_url),
            "URL",
            "Where everybody finds the image store; answers are then redirects to the pictures in it.",
        ),
    ] = None
    image_store_size: Annotated[
        int,
        Setting(
            _size, "SIZE", "Bytes that the image store may hold; what was not used for longest goes first."
        ),
    ] = 10 << 30
    cache_dir: Annotated[
        Path,
        Setting(
            _folder,
            "DIR",
            "Folder where bytes of movies are kept once fetched; by default in your cache folder.",
        ),
    ] = field(default_factory=default_cache_dir)
    cache_size: Annotated[
        int, Setting(_size, "SIZE", "Bytes that it may hold, such as 50 GiB; by default 10 GiB.")
    ] = field(default_factory=default_max_bytes)
    max_concurrency: Annotated[
        int, Setting(_whole(1, _BIG), "N", "Pictures that are made at the same time; by default one a core.")
    ] = field(default_factory=n_cores)
    max_queue: Annotated[
        int,
        Setting(
            _whole(0, _BIG), "N", "Pictures that may wait for their turn; who asks for more is answered 503."
        ),
    ] = 128
    max_pixels: Annotated[int, Setting(_whole(1, _BIG), "N", "Pixels that one picture may have.")] = (
        4096 * 4096
    )
    max_frames: Annotated[
        int, Setting(_whole(1, _BIG), "N", "Frames that one sheet or animation may have.")
    ] = 300
    memory: Annotated[
        int,
        Setting(
            _size,
            "SIZE",
            "Memory for answers: half of it for those being sent, an eighth for files made lately.",
        ),
    ] = 1 << 30
    request_seconds: Annotated[
        float, Setting(_seconds, "S", "Seconds after which a request is given up (504).")
    ] = 60.0

    def __post_init__(self) -> None:
        for name, setting in list_settings().items():
            try:
                object.__setattr__(self, name, setting.check(getattr(self, name)))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}: {error}") from error
        for name, other in (("file_overlay_flatten", "file_overlay"), ("image_store_url", "image_store")):
            if getattr(self, name) and not getattr(self, other):
                raise ValueError(f"{name} means nothing without {other}")


@cache
def list_settings() -> dict[str, Setting]:
    """All settings by their names, in the order in which people are told of them."""
    hints = get_type_hints(ServerSettings, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}
