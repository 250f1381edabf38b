"""The command `recover`."""

import click

from camhd_access.cli.options import PATH_OR_URL

__all__ = ["recover"]


@click.command
@click.argument("url", type=PATH_OR_URL)
@click.option("-o", "--output", type=PATH_OR_URL, help="Where to write the index as well: a path or URL.")
@click.option("--force", is_flag=True, help="Also where the movie has an index that seems to be right.")
def recover(url: str, output: str | None, *, force: bool) -> None:
    """Rebuild the index of the movie at URL, whose recording was cut off before it was written.

    So it does where the index that is there points to bytes that are no frames: the file was changed later.
    Walks from frame to frame, which reads a thirtieth of the movie. The index is kept in the cache folder,
    so that other commands find it there with --recover, and Python with recover=True; with -o it goes into a
    small file that serves elsewhere too.

    \b
    Example:
      camhd recover -o CAMHDA301-20160310T150000Z.npz CAMHDA301-20160310T150000Z.mov
    """  # noqa: D301 - click looks for the backspace itself
    from camhd_access.movie.index_cache import rebuild_index
    from camhd_access.movie.reader import MovieReader
    from camhd_access.movie.rescue import write_sidecar
    from camhd_access.storage.source import open_source

    recovery = rebuild_index(open_source(url)) if force else MovieReader(url, recover=True).recovery
    if recovery is None:
        click.echo("the movie has an index of its own: there is nothing to recover (but see --force)")
        return
    click.echo(recovery.summary)
    if output:
        write_sidecar(output, recovery)
        click.echo(output)
