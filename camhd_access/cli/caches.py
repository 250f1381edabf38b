"""The commands `cache …`: looking after the bytes that are kept on disk."""

import sys
from dataclasses import asdict

import click

from camhd_access.cli.options import AS_JSON
from camhd_access.cli.printing import print_json

__all__ = ["cache"]


@click.group()
def cache() -> None:
    """Look after the bytes that are kept on disk.

    They lie in the folder CAMHD_CACHE_DIR (by default in your cache folder) and take CAMHD_CACHE_SIZE at most
    (by default 10 GiB). It is safe to use these commands while other programs read movies.

    \b
    Examples:
      camhd cache info
      camhd cache prune "2 GiB"
    """  # noqa: D301 - click looks for the backspace itself


@cache.command("info", short_help="Print what is kept, and where.")
@AS_JSON
def cache_info(*, as_json: bool) -> None:
    """Print where the cache lies, what it holds and what it may hold."""
    from dask.utils import format_bytes

    from camhd_access.storage.rangecache import CacheFolder

    held = CacheFolder().info()
    if as_json:
        print_json(asdict(held))
        return
    click.echo(f"folder:    {held.path}")
    click.echo(
        f"holds:     {format_bytes(held.n_bytes)} of {held.n_files} files in {held.n_blocks} stretches"
    )
    click.echo(f"may hold:  {format_bytes(held.max_bytes)}")


@cache.command("clear", short_help="Remove everything.")
def cache_clear() -> None:
    """Remove all that is kept. Programs that read movies go on, from the network."""
    from dask.utils import format_bytes

    from camhd_access.storage.rangecache import CacheFolder

    folder = CacheFolder()
    n_bytes = folder.info().n_bytes
    folder.clear()
    click.echo(f"removed {format_bytes(n_bytes)}")


@cache.command("verify", short_help="Check all that is kept.")
@AS_JSON
def cache_verify(*, as_json: bool) -> None:
    """Read everything that is kept, and remove what is damaged (exit code 1 if there was such)."""
    from camhd_access.storage.rangecache import CacheFolder

    report = CacheFolder().verify()
    if as_json:
        print_json(asdict(report))
    else:
        click.echo(f"{report.n_blocks} stretches are right, {report.n_damaged} were damaged and are removed")
    sys.exit(1 if report.n_damaged else 0)


@cache.command("prune", short_help="Remove what was not used for long.")
@click.argument("size", required=False)
def cache_prune(size: str | None) -> None:
    """Remove what was not used for longest, until SIZE ("2 GiB") or less is kept; by default the quota."""
    from dask.utils import format_bytes

    from camhd_access.storage.rangecache import CacheFolder, parse_size

    folder = CacheFolder()
    try:
        max_bytes = None if size is None else parse_size(size)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    folder.prune(max_bytes)
    click.echo(f"{format_bytes(folder.info().n_bytes)} are kept")
