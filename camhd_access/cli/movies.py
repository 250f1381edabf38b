"""Commands about one movie: `info`, `frame`, `sheet`, `plan`."""

from pathlib import Path

import click
import numpy as np
from matplotlib.image import imsave

from camhd_access import plotting  # noqa: F401 - registers the accessor
from camhd_access.arrays import CODECS, open_movie
from camhd_access.cli.options import AT_LEAST_ONE, PICTURE, POSITIVE
from camhd_access.rangecache import RangeCacheFileSystem
from camhd_access.reader import MovieReader
from camhd_access.source import open_source

__all__ = ["frame", "info", "plan", "sheet"]


@click.command
@click.argument("url")
@click.option("--stats", is_flag=True, help="Tell what this cost, on standard error.")
def info(url: str, *, stats: bool) -> None:
    """Print the facts of the movie at URL: what it is, when it began, how large its frames are.

    URL is anything that fsspec opens, a local path included. Costs two requests, for the index and for
    the header of the first frame.

    \b
    Example:
      camhd info https://rawdata.oceanobservatories.org/files/RS03ASHS/PN03B/06-CAMHDA301/2016/11/13/CAMHDA301-20161113T000000Z.mov
    """  # noqa: D301 - click looks for the backspace itself
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
    if stats:
        _echo_stats(url)


def _echo_stats(url: str) -> None:
    """Tell what this process has transferred through the filesystem that `url` lies on."""
    filesystem = open_source(url).filesystem
    if isinstance(filesystem, RangeCacheFileSystem):
        cached = filesystem.stats
        click.echo(
            f"cache: {cached.hits} hits, {cached.misses} misses, {cached.bytes_from_cache:,} bytes", err=True
        )
        filesystem = filesystem.fs
    transferred = getattr(filesystem, "stats", None)
    if transferred is None:
        click.echo("network: not counted on this filesystem", err=True)
    else:
        click.echo(
            f"network: {transferred.requests} requests, {transferred.retries} retries, "
            f"{transferred.bytes:,} bytes, {transferred.seconds:.3f} s",
            err=True,
        )


@click.command
@click.argument("url")
@click.option("--at", type=float, help="Seconds from the start of the movie.")
@click.option("--frame", type=int, help="Index of the frame, from 0; negative from the end.")
@click.option("-o", "--output", type=PICTURE, default="frame.png", show_default=True, help="PNG to write.")
def frame(url: str, at: float | None, frame: int | None, output: Path) -> None:
    """Write one frame of the movie at URL, pixel by pixel.

    \b
    Example:
      camhd frame --at 240 -o vent.png CAMHDA301-20161113T000000Z.mov
    """  # noqa: D301 - click looks for the backspace itself
    if frame is not None and at is None:
        reader, index = MovieReader(url), frame
    elif at is not None and frame is None:
        reader = MovieReader(url)
        index = _frame_at(reader, at)
    else:
        raise click.UsageError("name the frame by --at or by --frame")
    imsave(output, reader.read([index])[0], format="png")
    click.echo(f"{output}: frame {index} of {reader.n_frames}")


def _frame_at(reader: MovieReader, seconds: float) -> int:
    """The frame that is nearest to a time from the start of the movie."""
    if not 0 <= seconds <= reader.duration:
        raise click.BadParameter(f"{seconds} s is not within the movie, which lasts {reader.duration:.3f} s")
    return int(np.abs(reader.elapsed() / np.timedelta64(1, "s") - seconds).argmin())


@click.command
@click.argument("url")
@click.option("--every", type=POSITIVE, default=30, show_default=True, help="Seconds from one to the next.")
@click.option("--columns", type=AT_LEAST_ONE, default=6, show_default=True, help="Thumbnails in a row.")
@click.option("-o", "--output", type=PICTURE, default="sheet.png", show_default=True, help="PNG to write.")
def sheet(url: str, every: float, columns: int, output: Path) -> None:
    """Write thumbnails of the movie at URL, with their times, as one picture."""
    open_movie(url).camhd.contact_sheet(step=every, columns=columns).savefig(output, dpi=110, format="png")
    click.echo(output)


@click.command
@click.argument("url")
@click.option("--every", type=AT_LEAST_ONE, default=1, show_default=True, help="Only every so many-th frame.")
@click.option("--megabits", type=POSITIVE, default=100, show_default=True, help="Speed of the link, Mbit/s.")
def plan(url: str, every: int, megabits: float) -> None:
    """Tell requests, bytes and seconds of reading frames of the movie at URL. Reads its index alone."""
    click.echo(open_movie(url)[::every].camhd.plan(megabits_per_second=megabits))
