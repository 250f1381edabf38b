"""The command `verify`."""

import click

from camhd_access.cli.options import PATH_OR_URL
from camhd_access.cli.printing import shows_progress

__all__ = ["verify"]


@click.command
@click.argument("urls", nargs=-1, required=True, type=PATH_OR_URL)
def verify(urls: tuple[str, ...]) -> None:
    """Compare movies with the MD5 checksums beside them (`….md5`).

    Each movie is read completely, once, and not kept. The exit code is 1 if one of them differs.

    \b
    Example:
      camhd verify CAMHDA301-20161113T000000Z.mov
    """  # noqa: D301 - click looks for the backspace itself
    from tqdm.auto import tqdm

    from camhd_access.movie.checksum import ChecksumError, verify_checksum
    from camhd_access.urls import redact_url

    faults = []
    for url in urls:
        with tqdm(desc="verified", unit="B", unit_scale=True, disable=not shows_progress()) as bar:

            def show(n_bytes: int, file_size: int, bar: "tqdm[None]" = bar) -> None:
                bar.total = file_size
                bar.update(n_bytes)

            try:
                _, digest = verify_checksum(url, progress=show)
            except ChecksumError as error:
                faults.append(error)
                continue
        click.echo(f"{digest}  {redact_url(url)}: OK")
    if faults:
        raise ChecksumError("; ".join(map(str, faults)))
