"""Commands for an archive: `ls`, `catalog`."""

from typing import TYPE_CHECKING, Any

import click

from camhd_access.cli.options import AS_JSON, KIND, PATH_OR_URL, as_usage_error
from camhd_access.cli.printing import print_json, shows_progress

if TYPE_CHECKING:
    import pandas as pd

    from camhd_access.archive import Archive
    from camhd_access.formats.names import Kind

__all__ = ["catalog", "find_archive", "ls"]


@click.command
@click.argument("root", required=False, type=PATH_OR_URL)
@click.option("--start", help="Start of the period (UTC), compared with the times in file names.")
@click.option("--end", help="End of the period (exclusive).")
@KIND
@AS_JSON
def ls(root: str | None, start: str | None, end: str | None, *, kind: "Kind", as_json: bool) -> None:
    """List the movies in ROOT in chronological order, one URL per line.

    ROOT is by default the archive given by the environment variable CAMHD_ARCHIVE, else that on OOI's server.

    \b
    Examples:
      camhd ls --start 2016-11-13 --end 2016-11-14
      camhd ls --json /data/camhd | jq -r '.[].basename'
    """  # noqa: D301 - click looks for the backspace itself
    from camhd_access.times import parse_period

    with as_usage_error():
        period = parse_period(start, end)
    movies = find_archive(root).catalog(*period, kind=kind, progress=shows_progress())
    if as_json:
        times = movies["time_from_name"].to_numpy()
        print_json(
            [
                {"basename": basename, "url": url, "time_from_name": time}
                for basename, url, time in zip(movies.index, movies["url"], times, strict=True)
            ]
        )
    else:
        for url in movies["url"]:
            click.echo(url)


@click.command
@click.argument("root", required=False, type=PATH_OR_URL)
@click.option("--start", help="Start of the period (UTC), compared with the times in file names.")
@click.option("--end", help="End of the period (exclusive).")
@KIND
@click.option("--index", is_flag=True, help="Also read the index of each movie: frames, size, quality.")
@click.option(
    "-o",
    "--output",
    type=PATH_OR_URL,
    help="File of the catalogue, a path or URL: .parquet, .jsonl or .jsonl.gz.",
)
@AS_JSON
def catalog(
    root: str | None,
    start: str | None,
    end: str | None,
    *,
    kind: "Kind",
    index: bool,
    output: str | None,
    as_json: bool,
) -> None:
    """Make or update a catalogue of the movies in ROOT, and print a summary.

    ROOT is by default the archive given by the environment variable CAMHD_ARCHIVE, else that on OOI's server.

    Movies already in the file at --output are not queried again, so the same command updates the catalogue or
    resumes an interrupted crawl. --index makes one request of 512 KiB for each new movie.

    \b
    Examples:
      camhd catalog --start 2016-11-01 --end 2016-12-01
      camhd catalog --index -o camhd.parquet
    """  # noqa: D301 - click looks for the backspace itself
    from camhd_access.archive.catalog import check_catalog_name
    from camhd_access.times import parse_period

    with as_usage_error():
        period = parse_period(start, end)
        if output:
            check_catalog_name(output)
    found = find_archive(root).catalog(
        *period, kind=kind, index=index, progress=shows_progress(), file=output
    )
    summary = _sum_up(found) | {"path": output}
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary)


def find_archive(root: str | None) -> "Archive":
    """The archive at `root`; by default that of CAMHD_ARCHIVE, else OOI's."""
    from camhd_access.archive import open_archive

    return open_archive(root or None)


def _sum_up(catalog: "pd.DataFrame") -> dict[str, Any]:
    """Totals of the rows; `quality` has the number of movies of each quality ("unknown": index not read)."""
    times = catalog["start_time"].dropna().to_numpy()
    quality = catalog["quality"].fillna("unknown").value_counts()
    return {
        "n_movies": len(catalog),
        "first_start_time": times.min() if len(times) else None,
        "last_start_time": times.max() if len(times) else None,
        "file_size": int(catalog["file_size"].sum()),
        "n_frames": int(catalog["n_frames"].sum()),
        "quality": {str(name): int(number) for name, number in quality.items()},
    }


def _print_summary(summary: dict[str, Any]) -> None:
    import numpy as np
    from dask.utils import format_bytes

    click.echo(f"{summary['n_movies']:,} movies")
    if summary["n_movies"]:
        first, last = (
            np.datetime_as_string(summary[name], "m").replace("T", " ")
            for name in ("first_start_time", "last_start_time")
        )
        click.echo(f"  start times from {first} to {last} UTC")
    if summary["file_size"]:
        click.echo(f"  {format_bytes(summary['file_size'])} in movies of known size")
    if summary["n_frames"]:
        click.echo(f"  {summary['n_frames']:,} frames in movies whose index was read")
    for name, number in summary["quality"].items():
        click.echo(f"  {number:,} {'unknown (use --index)' if name == 'unknown' else name}")
    if summary["path"]:
        click.echo(f"catalogue written to {summary['path']}")
