"""Commands about an archive: `ls`."""

import click

from camhd_access.archive import OOI_ARCHIVE, open_archive

__all__ = ["ls"]


@click.command
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
