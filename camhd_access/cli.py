"""The command `camhd`."""

import sys
from pathlib import Path

import click
import numpy as np

from camhd_access._version import __version__
from camhd_access.arrays import CODECS
from camhd_access.demo import run_demo
from camhd_access.errors import CamhdError
from camhd_access.reader import MovieReader

__all__ = ["main"]


class _OneLineErrors(click.Group):
    """A group of commands whose known errors end in one line and exit code 1, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (CamhdError, OSError) as error:
            click.echo(f"camhd: {type(error).__name__}: {error}", err=True)
            sys.exit(1)


@click.group(cls=_OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="camhd")
def main() -> None:
    """Frames out of enormous ProRes movies on a plain web server, without downloading the movies."""


@main.command(short_help="Print the facts of a movie.")
@click.argument("url")
def info(url: str) -> None:
    r"""Print the facts of the movie at URL: what it is, when it began, how large its frames are.

    URL is anything that fsspec opens, a local path included. Costs two requests, for the index and for
    the header of the first frame.

    \b
    Example:
      camhd info https://rawdata.oceanobservatories.org/files/RS03ASHS/PN03B/06-CAMHDA301/2016/11/13/CAMHDA301-20161113T000000Z.mov
    """
    reader = MovieReader(url)
    index, start = reader.index, reader.start
    rate = index.timescale / float(np.median(index.duration))
    begins = "unknown" if start.time is None else f"{np.datetime_as_string(start.time, 'ms')} UTC"
    source = {
        "mvhd": "by the movie's own header",
        "name": "by its name",
        "unknown": "neither name nor header tells",
    }
    apart = start.disagreement_seconds
    facts = {
        "movie": reader.urlpath,
        "codec": f"{CODECS[index.codec]} ({index.codec})",
        "picture": f"{index.width}x{index.height}, {'interlaced' if reader.interlaced else 'progressive'}",
        "frames": f"{reader.n_frames:,} at {rate:.5g} a second",
        "duration": f"{reader.duration:.3f} s",
        "begins": f"{begins} ({source[start.source]})",
        "name says": None if apart is None else f"{abs(apart):.0f} s {'earlier' if apart > 0 else 'later'}",
        "file": f"{reader.file_size:,} bytes",
        "a frame": f"{index.size.mean():,.0f} bytes (from {index.size.min():,} to {index.size.max():,})",
        "hidden": f"{index.hidden.sum():,} frames are not shown by players" if index.hidden.any() else None,
    }
    for name, fact in facts.items():
        if fact is not None:
            click.echo(f"{name + ':':<11}{fact}")


@main.command(short_help="Do the main job once, from list to figure.")
@click.option("--url", help="Do it with this movie instead, say one of the real archive.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="camhd-demo.png",
    show_default=True, help="PNG to write.",
)  # fmt: skip
def demo(url: str | None, output: Path) -> None:
    """Do the main job once: list, open lazily, slice, average with dask, draw, and tell what it cost.

    Without --url a small archive is made in a temporary folder and served on loopback, so this needs no
    network.
    """
    run_demo(url, output=output, echo=click.echo)


if __name__ == "__main__":
    main()
