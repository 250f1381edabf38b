"""The command `serve`: the web server, with an option for each of its settings.

The value of a setting is that of its option, or else of its environment variable (`CAMHD_PORT`), or else
of the variable of go-lazycache (`LAZYCACHE_PORT`), or else of the TOML file given by `--config` (`port`), or
else the default. click implements this; `ServerSettings` checks the values.
"""

import logging
import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.types import BoolParamType
from dask.utils import format_bytes

from camhd_access.server import run_server
from camhd_access.server.settings import ServerSettings, Setting, list_settings

__all__ = ["serve"]

ANCESTORS = {
    "bind": "BIND",
    "port": "PORT",
    "public": "PUBLIC",
    "raw": "ALLOW_RAW_OUTPUT",
    "file_overlay": "FILEOVERLAY",
    "file_overlay_flatten": "FILEOVERLAY_FLATTEN",
}
"""The environment variables of go-lazycache, without `LAZYCACHE_`; for its image store see below."""

DEFAULTS = {each.name: each.default for each in fields(ServerSettings)}


class _Checked(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A value that is checked by its setting; errors name the source of the value."""

    def __init__(self, setting: Setting, *, is_one_of_many: bool) -> None:
        self.name = setting.metavar
        self._setting = setting
        self._is_one_of_many = is_one_of_many

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - click's
        """The checked value."""
        try:
            if self._is_one_of_many:
                (checked,) = self._setting.check([value])
                return checked
            return self._setting.check(value)
        except (TypeError, ValueError) as error:
            raise click.UsageError(f"{_place_of(param, ctx)}: {error}", ctx) from error


class _Switch(_Checked, BoolParamType):
    """The same for an option that is on or off, which click recognises by the class."""


def _place_of(param: click.Parameter | None, ctx: click.Context | None) -> str:
    """The source of the value of an option."""
    if param is None or ctx is None or not param.name:
        return "a setting"
    match ctx.get_parameter_source(param.name):
        case ParameterSource.ENVIRONMENT:
            return next(name for name in param.envvar or () if os.environ.get(name))
        case ParameterSource.DEFAULT_MAP:
            return str(ctx.meta[PLACES][param.name])
        case _:
            return param.opts[0]


PLACES = "camhd_access.cli.serve.places"
"""Key of a click context for the sources of the values in its `default_map`."""


def _read_defaults(ctx: click.Context, _param: click.Parameter, config: Path | None) -> None:
    """Make the settings in the file, and go-lazycache's image store, the defaults of the context."""
    values, places = {}, {}
    for place, name, value in (*_read_file(config), *_read_ancestors_store(os.environ)):
        values[name] = value.split() if name == "mirrors" and isinstance(value, str) else value
        places[name] = place
    ctx.default_map, ctx.meta[PLACES] = values, places


def _read_file(config: Path | None) -> list[tuple[str, str, Any]]:
    """Place, name and value of each setting in a file."""
    if config is None:
        return []
    try:
        values = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{config}: {error}") from error
    for name in values:
        if name not in list_settings():
            raise click.UsageError(f"{config}: there is no setting {name!r}")
    if not isinstance(values.get("mirrors", ""), str | list) or values.get("mirrors") == []:
        raise click.UsageError(f"{config}: mirrors: {values['mirrors']!r} is not a list of URLs")
    return [(f"{config}: {name}", name, value) for name, value in values.items()]


def _read_ancestors_store(environment: Mapping[str, str]) -> list[tuple[str, str, Any]]:
    """Place, name and value of the settings of go-lazycache's image store, which has two kinds."""
    place = "LAZYCACHE_IMAGESTORE"
    kind = environment.get(place) or "none"
    if kind not in {"local", "google", "none"}:
        raise click.UsageError(f"{place}: {kind!r} is not one of local, google, none")
    if kind == "none":
        return []
    found = []
    if kind == "local":
        found.append((f"{place}_ROOT", "image_store", environment.get(f"{place}_ROOT", "")))
    else:
        bucket = environment.get(f"{place}_BUCKET") or "camhd-image-cache"
        found.append((f"{place}_BUCKET", "image_store", f"gs://{bucket}"))
    if url := environment.get(f"{place}_URL"):
        found.append((f"{place}_URL", "image_store_url", url))
    return found


def _default_of(name: str) -> str:
    """The default of a setting for the help text; empty if there is none, or if the text states it."""
    value = DEFAULTS[name]
    if value is None or value is MISSING:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if list_settings()[name].metavar == "SIZE":
        return str(format_bytes(value))
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _make_option(name: str, setting: Setting) -> click.Option:
    """The option of one setting."""
    flag = "--" + ("mirror" if name == "mirrors" else name).replace("_", "-")
    ancestors = (f"LAZYCACHE_{word}" for own, word in ANCESTORS.items() if own == name)
    envvar = [f"CAMHD_{name.upper()}", *ancestors]
    default = _default_of(name)
    about = "; ".join([f"default: {default}"] * bool(default) + envvar[:1])
    is_many, is_switch = name == "mirrors", not setting.metavar
    return click.Option(
        [f"{flag}/--no-{flag.removeprefix('--')}" if is_switch else flag, name],
        type=(_Switch if is_switch else _Checked)(setting, is_one_of_many=is_many),
        metavar=setting.metavar or None,
        multiple=is_many,
        is_flag=is_switch,
        default=None,
        envvar=envvar,
        help=f"{setting.text}  [{about}]",
    )


@click.command
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="CAMHD_CONFIG",
    is_eager=True,
    expose_value=False,
    callback=_read_defaults,
    help="TOML file with settings, such as `port = 8080`.  [CAMHD_CONFIG]",
)
def serve(**settings: Any) -> None:  # noqa: ANN401 - of many kinds, each checked
    """Serve frames of an archive's movies as images over HTTP, to browsers and programs.

    The value of a setting is that of its option, or else of its environment variable, or else of the file
    given by --config, or else the default. Ctrl-C stops the server after requests in flight are finished.

    \b
    Examples:
      camhd serve
      camhd serve --port 8000 --image-store ~/pictures --image-store-size '50 GiB'
      camhd serve --mirror http://localhost:9000/movies/ --mirror https://rawdata.oceanobservatories.org/files/
      camhd serve --bind 0.0.0.0 --public --no-raw
    """  # noqa: D301 - click looks for the backspace itself
    given = {name: value for name, value in settings.items() if value is not None and value != ()}
    try:
        checked = ServerSettings(**given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run_server(checked)


serve.params += [_make_option(name, setting) for name, setting in list_settings().items()]
