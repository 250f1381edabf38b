"""The command `recover`."""

import click

from camhd_access.cli.options import PATH_OR_URL, as_usage_error

__all__ = ["recover"]


@click.command
@click.argument("url", type=PATH_OR_URL)
@click.option("-o", "--output", type=PATH_OR_URL, help="Also write the index to this path or URL.")
@click.option("--force", is_flag=True, help="Rebuild the index even if the movie has one that seems correct.")
def recover(url: str, output: str | None, *, force: bool) -> None:
    """Rebuild the index of the truncated recording at URL (a movie without a moov index).

    This also works if the index of the movie points to bytes that are not frames, because the file was
    changed later. It walks from frame to frame and reads a thirtieth of the movie. The index is kept in the
    cache folder, where other commands find it with --recover, and Python with recover=True; -o also writes it
    to a small sidecar file, which works on other machines too. Of an H.264 or HEVC movie whose end is
    missing, it tells how many frames are left; --recover and recover=True read them, without a sidecar.

    \b
    Example:
      camhd recover -o CAMHDA301-20160310T150000Z.npz CAMHDA301-20160310T150000Z.mov
    """  # noqa: D301 - click looks for the backspace itself
    from camhd_access.movie.address import find_address
    from camhd_access.movie.index_cache import rebuild_index
    from camhd_access.movie.reader import MovieReader
    from camhd_access.movie.rescue import write_sidecar
    from camhd_access.movie.rescue.sidecar import check_sidecar_name
    from camhd_access.storage.same_file import check_not_source
    from camhd_access.storage.source import open_source
    from camhd_access.urls import redact_url

    address = find_address(url)
    if output:
        with as_usage_error():
            check_sidecar_name(output)
        check_not_source(output, [address])
    recovery = rebuild_index(open_source(address)) if force else MovieReader(address, recover=True).recovery
    if recovery is None:
        click.echo("the movie has an index: there is nothing to recover (--force rebuilds it)")
        return
    click.echo(recovery.summary)
    if output:
        write_sidecar(output, recovery)
        click.echo(redact_url(output))
