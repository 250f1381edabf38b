"""The commands `cache …`, which manage the disk cache."""

import sys
from dataclasses import asdict

import click

from camhd_access.cli.options import AS_JSON
from camhd_access.cli.printing import print_json

__all__ = ["cache"]


@click.group()
def cache() -> None:
    """Manage the disk cache.

    The cache is in the folder CAMHD_CACHE_DIR (default: in your cache folder). Its maximum size is
    CAMHD_CACHE_SIZE (default: 10 GiB). These commands can be used while other programs read movies.

    \b
    Examples:
      camhd cache info
      camhd cache prune "2 GiB"
    """  # noqa: D301 - click looks for the backspace itself


@cache.command("info", short_help="Print the folder, contents and maximum size.")
@AS_JSON
def cache_info(*, as_json: bool) -> None:
    """Print the folder, the contents and the maximum size of the cache."""
    from dask.utils import format_bytes

    from camhd_access.storage.rangecache import CacheFolder

    held = CacheFolder().info()
    if as_json:
        print_json(asdict(held))
        return
    click.echo(f"folder:        {held.path}")
    click.echo(
        f"contents:      {format_bytes(held.n_bytes)} of {held.n_files} files in {held.n_blocks} blocks"
    )
    click.echo(f"maximum size:  {format_bytes(held.max_bytes)}")


@cache.command("clear", short_help="Delete all data.")
def cache_clear() -> None:
    """Delete all data in the cache. Programs that are reading movies continue, from the network."""
    from dask.utils import format_bytes

    from camhd_access.storage.rangecache import CacheFolder

    folder = CacheFolder()
    n_bytes = folder.info().n_bytes
    folder.clear()
    click.echo(f"deleted {format_bytes(n_bytes)}")


@cache.command("verify", short_help="Check the checksums of all data.")
@AS_JSON
def cache_verify(*, as_json: bool) -> None:
    """Check the checksums of all data, and delete damaged blocks (exit code 1 if there are any)."""
    from camhd_access.storage.rangecache import CacheFolder

    report = CacheFolder().verify()
    if as_json:
        print_json(asdict(report))
    else:
        click.echo(f"{report.n_blocks} blocks are intact, {report.n_damaged} damaged blocks were deleted")
    sys.exit(1 if report.n_damaged else 0)


@cache.command("prune", short_help="Delete the least recently used data.")
@click.argument("size", required=False)
def cache_prune(size: str | None) -> None:
    """Delete the least recently used data until at most SIZE ("2 GiB"; default: the maximum size) is left."""
    from dask.utils import format_bytes

    from camhd_access.storage.rangecache import CacheFolder, parse_size

    folder = CacheFolder()
    try:
        max_bytes = None if size is None else parse_size(size)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    folder.prune(max_bytes)
    click.echo(f"{format_bytes(folder.info().n_bytes)} left")
