"""The command `serve`: the web server, each of its settings an option."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

try:
    from camhd_access.server import run_server
    from camhd_access.server.settings import default_of, flag_of, list_settings, read_settings, variable_of
except ModuleNotFoundError as error:
    if error.name != "prometheus_client":
        raise
    raise ImportError("the server needs one more package: pip install 'camhd_access[server]'") from error

__all__ = ["serve"]


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with an option for each setting, in their order."""
    for name in reversed(list_settings()):
        command = _option(name)(command)
    return command


def _option(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option of one setting. Its value is checked by the setting, as one from elsewhere is."""
    setting, flag, default = list_settings()[name], flag_of(name), default_of(name)
    about = [f"default: {default}"] if default else []
    text = f"{setting.text}  [{'; '.join([*about, variable_of(name)])}]"
    if not setting.metavar:
        return click.option(f"{flag}/--no-{flag.removeprefix('--')}", name, default=None, help=text)
    return click.option(flag, name, metavar=setting.metavar, multiple=name == "mirrors", help=text)


@click.command
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="CAMHD_CONFIG",
    help="TOML file with settings, such as `port = 8080`.  [CAMHD_CONFIG]",
)
@_with_settings
def serve(config: Path | None, **flags: Any) -> None:  # noqa: ANN401 - text, flags and lists
    """Serve frames of an archive's movies over HTTP, as pictures, to programs and browsers.

    Each setting is taken from its option, else from the environment, else from the file of --config, else
    it has its default. Stop with Ctrl-C: requests under way are finished.

    \b
    Examples:
      camhd serve
      camhd serve --port 8000 --image-store ~/pictures --image-store-size '50 GiB'
      camhd serve --mirror http://localhost:9000/movies/ --mirror https://rawdata.oceanobservatories.org/files/
      camhd serve --bind 0.0.0.0 --public --no-raw --config /etc/camhd.toml
    """  # noqa: D301 - click looks for the backspace itself
    try:
        settings = read_settings(flags, os.environ, config)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run_server(settings)
