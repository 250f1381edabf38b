"""The command `demo`."""

from pathlib import Path

import click

from camhd_access.cli.options import PICTURE
from camhd_access.demo import run_demo

__all__ = ["demo"]


@click.command
@click.option("--url", help="Do it with this movie instead, say one of the real archive.")
@click.option(
    "-o", "--output", type=PICTURE, default="camhd-demo.png", show_default=True, help="File to write."
)
def demo(url: str | None, output: Path) -> None:
    """Do the main job once: list, open lazily, slice, average with dask, draw, and tell what it cost.

    Without --url a small archive is made in a temporary folder and served on loopback, so this needs no
    network.

    \b
    Example:
      camhd demo -o demo.png
    """  # noqa: D301 - click looks for the backspace itself
    run_demo(url, output=output, echo=click.echo)
