"""The command `camhd`."""

import sys
from pathlib import Path

import click
import numpy as np
from dask.utils import format_bytes
from matplotlib.image import imsave

from camhd_access import plotting  # noqa: F401 - registers the accessor
from camhd_access._version import __version__
from camhd_access.archive import OOI_ARCHIVE, open_archive
from camhd_access.arrays import CODECS, open_movie
from camhd_access.demo import run_demo
from camhd_access.errors import CamhdError
from camhd_access.rangecache import CacheFolder, RangeCacheFileSystem, parse_size
from camhd_access.reader import MovieReader
from camhd_access.source import open_source

__all__ = ["main"]

PICTURE = click.Path(dir_okay=False, path_type=Path)
AT_LEAST_ONE = click.IntRange(min=1)
POSITIVE = click.FloatRange(min=0, min_open=True)


class _OneLineErrors(click.Group):
    """A group of commands whose known errors end in one line and exit code 1, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (CamhdError, OSError, ValueError, ImportError) as error:
            # The last two: a URL of an unknown protocol, or of one whose filesystem is not installed.
            click.echo(f"camhd: {type(error).__name__}: {error}", err=True)
            sys.exit(1)


@click.group(cls=_OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="camhd")
def main() -> None:
    """Frames out of enormous ProRes movies on a plain web server, without downloading the movies."""


@main.command(short_help="Print the facts of a movie.")
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


@main.command(short_help="Do the main job once, from list to figure.")
@click.option("--url", help="Do it with this movie instead, say one of the real archive.")
@click.option(
    "-o", "--output", type=PICTURE, default="camhd-demo.png", show_default=True, help="PNG to write."
)
def demo(url: str | None, output: Path) -> None:
    """Do the main job once: list, open lazily, slice, average with dask, draw, and tell what it cost.

    Without --url a small archive is made in a temporary folder and served on loopback, so this needs no
    network.
    """
    run_demo(url, output=output, echo=click.echo)


@main.command(short_help="List the movies of an archive.")
@click.argument("root", default=OOI_ARCHIVE)
@click.option("--start", help="From this time on (UTC), by the times in the movies' names.")
@click.option("--end", help="Before this time.")
def ls(root: str, start: str | None, end: str | None) -> None:
    """List the movies below ROOT (by default OOI's server), in order of time, one URL a line.

    \b
    Example:
      camhd ls --start 2016-11-13 --end 2016-11-14
    """  # noqa: D301 - click looks for the backspace itself
    for url in open_archive(root).movies(start, end):
        click.echo(url)


@main.command(short_help="Write one frame as a picture.")
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


@main.command(short_help="Write a sheet of thumbnails of a movie.")
@click.argument("url")
@click.option("--every", type=POSITIVE, default=30, show_default=True, help="Seconds from one to the next.")
@click.option("--columns", type=AT_LEAST_ONE, default=6, show_default=True, help="Thumbnails in a row.")
@click.option("-o", "--output", type=PICTURE, default="sheet.png", show_default=True, help="PNG to write.")
def sheet(url: str, every: float, columns: int, output: Path) -> None:
    """Write thumbnails of the movie at URL, with their times, as one picture."""
    open_movie(url).camhd.contact_sheet(step=every, columns=columns).savefig(output, dpi=110, format="png")
    click.echo(output)


@main.command(short_help="Tell what reading frames would cost.")
@click.argument("url")
@click.option("--every", type=AT_LEAST_ONE, default=1, show_default=True, help="Only every so many-th frame.")
@click.option("--megabits", type=POSITIVE, default=100, show_default=True, help="Speed of the link, Mbit/s.")
def plan(url: str, every: int, megabits: float) -> None:
    """Tell requests, bytes and seconds of reading frames of the movie at URL. Reads its index alone."""
    click.echo(open_movie(url)[::every].camhd.plan(megabits_per_second=megabits))


@main.group()
def cache() -> None:
    """Look after the bytes that are kept on disk.

    They lie in the folder CAMHD_CACHE_DIR (by default in your cache folder) and take CAMHD_CACHE_SIZE at most
    (by default 10 GiB). It is safe to use these commands while other programs read movies.
    """


@cache.command("info", short_help="Print what is kept, and where.")
def cache_info() -> None:
    """Print where the cache lies, what it holds and what it may hold."""
    held = CacheFolder().info()
    click.echo(f"folder:    {held.path}")
    click.echo(
        f"holds:     {format_bytes(held.n_bytes)} of {held.n_files} files in {held.n_blocks} stretches"
    )
    click.echo(f"may hold:  {format_bytes(held.max_bytes)}")


@cache.command("clear", short_help="Remove everything.")
def cache_clear() -> None:
    """Remove all that is kept. Programs that read movies go on, from the network."""
    folder = CacheFolder()
    n_bytes = folder.info().n_bytes
    folder.clear()
    click.echo(f"removed {format_bytes(n_bytes)}")


@cache.command("verify", short_help="Check all that is kept.")
def cache_verify() -> None:
    """Read everything that is kept, and remove what is damaged (exit code 1 if there was such)."""
    report = CacheFolder().verify()
    click.echo(f"{report.n_blocks} stretches are right, {report.n_damaged} were damaged and are removed")
    sys.exit(1 if report.n_damaged else 0)


@cache.command("prune", short_help="Remove what was not used for long.")
@click.argument("size", required=False)
def cache_prune(size: str | None) -> None:
    """Remove what was not used for longest, until SIZE ("2 GiB") or less is kept; by default the quota."""
    folder = CacheFolder()
    try:
        max_bytes = None if size is None else parse_size(size)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    folder.prune(max_bytes)
    click.echo(f"{format_bytes(folder.info().n_bytes)} are kept")


if __name__ == "__main__":
    main()
