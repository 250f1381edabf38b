"""What the server serves, where it listens and what it allows, gathered from four places.

Each setting stands once, as a field of `ServerSettings`. Its name makes its flag (`--image-store`), its
variable of the environment (`CAMHD_IMAGE_STORE`) and its key in a TOML file (`image_store`); its text is
what the command's help and the documentation say of it. A flag wins over the environment, that over the
file, that over the default. The variables of go-lazycache (`LAZYCACHE_*`) are understood too; ours win.

Wherever a value comes from, it passes the same check, and an error names that place.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints
from urllib.parse import urlsplit

from dask.utils import format_bytes

from camhd_access.decoding.threads import n_cores
from camhd_access.storage.rangecache import default_cache_dir, default_max_bytes, parse_size

__all__ = [
    "OOI_MIRROR",
    "ServerSettings",
    "Setting",
    "default_of",
    "flag_of",
    "list_settings",
    "read_settings",
    "variable_of",
]

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
        raise ValueError(f"{value!r} is no URL of a folder on a web server")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{value!r} holds more than a host and a folder")
    return value.rstrip("/") + "/"


def _urls(value: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    urls = tuple(dict.fromkeys(map(_url, value.split() if isinstance(value, str) else value)))
    if not urls:
        raise ValueError("none is given; at least one is needed")
    return urls


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
    request_seconds: Annotated[
        float, Setting(_seconds, "S", "Seconds after which a request is given up (504).")
    ] = 60.0

    def __post_init__(self) -> None:
        for name, setting in list_settings().items():
            object.__setattr__(self, name, _checked(setting, getattr(self, name), name))
        for name, other in (("file_overlay_flatten", "file_overlay"), ("image_store_url", "image_store")):
            if getattr(self, name) and not getattr(self, other):
                raise ValueError(f"{name} means nothing without {other}")


@cache
def list_settings() -> dict[str, Setting]:
    """All settings by their names, in the order in which people are told of them."""
    hints = get_type_hints(ServerSettings, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}


def flag_of(name: str) -> str:
    """The flag of a setting on the command line."""
    return "--" + ("mirror" if name == "mirrors" else name).replace("_", "-")


def variable_of(name: str) -> str:
    """The variable of a setting in the environment."""
    return f"CAMHD_{name.upper()}"


def default_of(name: str) -> str:
    """The default of a setting as people read it; empty where there is none, or where its text tells."""
    (value,) = (f.default for f in fields(ServerSettings) if f.name == name)
    if value is None or value is MISSING:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if list_settings()[name].metavar == "SIZE":
        return str(format_bytes(value))
    return " ".join(value) if isinstance(value, tuple) else str(value)


def read_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str], config: Path | None = None
) -> ServerSettings:
    """The settings that flags, environment and a file make together.

    Parameters
    ----------
    flags
        Values by the settings' names; those that are None or empty were not given.
    environment
        `os.environ`; empty variables count as not given.
    config
        A TOML file with settings' names as keys.

    Raises
    ------
    ValueError
        A value that is none for its setting, or a key in the file that is none; the message names the place.
    """
    places = (
        _read_file(config),
        _read_ancestor(environment),
        _read_environment(environment),
        _read_flags(flags),
    )
    found = {name: (place, value) for source in places for name, place, value in source}
    settings = list_settings()
    return ServerSettings(
        **{name: _checked(settings[name], value, place) for name, (place, value) in found.items()}
    )


Found = Iterator[tuple[str, str, Any]]
"""Settings' names, the places where values of theirs were found, and the values."""


def _checked(setting: Setting, value: Any, place: str) -> Any:  # noqa: ANN401 - values of all kinds
    try:
        return setting.check(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: {error}") from error


def _read_file(config: Path | None) -> Found:
    if config is None:
        return
    try:
        values = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{config}: {error}") from error
    for name, value in values.items():
        if name not in list_settings():
            raise ValueError(f"{config}: there is no setting {name!r}")
        yield name, f"{config}: {name}", value


def _read_environment(environment: Mapping[str, str]) -> Found:
    for name in list_settings():
        if value := environment.get(variable_of(name)):
            yield name, variable_of(name), value


def _read_flags(flags: Mapping[str, Any]) -> Found:
    for name, value in flags.items():
        if value is not None and value != ():
            yield name, flag_of(name), value


_ANCESTORS = {
    "bind": "BIND",
    "port": "PORT",
    "public": "PUBLIC",
    "raw": "ALLOW_RAW_OUTPUT",
    "file_overlay": "FILEOVERLAY",
    "file_overlay_flatten": "FILEOVERLAY_FLATTEN",
}


def _read_ancestor(environment: Mapping[str, str]) -> Found:
    """What go-lazycache's variables say; its image store was one of two kinds, with settings of its own."""
    for name, word in _ANCESTORS.items():
        if value := environment.get(f"LAZYCACHE_{word}"):
            yield name, f"LAZYCACHE_{word}", value
    place = "LAZYCACHE_IMAGESTORE"
    kind = environment.get(place, "none")
    if kind == "local":
        yield "image_store", f"{place}_ROOT", environment.get(f"{place}_ROOT", "")
    elif kind == "google":
        yield (
            "image_store",
            f"{place}_BUCKET",
            f"gs://{environment.get(f'{place}_BUCKET') or 'camhd-image-cache'}",
        )
    elif kind not in {"", "none"}:
        raise ValueError(f"{place}: {kind!r} is none of local, google, none")
    if kind in {"local", "google"} and (url := environment.get(f"{place}_URL")):
        yield "image_store_url", f"{place}_URL", url
