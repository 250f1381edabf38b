"""The command `timelapse`: one frame of each movie of an archive, as a film or a contact sheet."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from camhd_access.cli.archives import find_archive
from camhd_access.cli.options import (
    AS_JSON,
    AT_LEAST_ONE,
    CROP,
    DEINTERLACE,
    FRAME,
    KEYFRAMES,
    KIND,
    NOT_NEGATIVE,
    PATH_OR_URL,
    POSITIVE,
    RECOVER,
    REDUCE,
    Crop,
    OutputFile,
    as_usage_error,
    check_moment,
)
from camhd_access.cli.pictures import write_sheet
from camhd_access.cli.printing import print_json, shows_progress
from camhd_access.errors import CamhdError

if TYPE_CHECKING:
    import xarray as xr

    from camhd_access.formats.names import Kind
    from camhd_access.movie.selection import Deinterlace

__all__ = ["timelapse"]

FILMS = (".mp4", ".gif", ".webp")
SHEET = ".png"
SHEET_COLUMNS = 6


@click.command
@click.argument("root", required=False, type=PATH_OR_URL)
@click.option(
    "--start", required=True, help="Start of the period (UTC), compared with the times in file names."
)
@click.option("--end", required=True, help="End of the period (exclusive).")
@KIND
@click.option("--at", type=NOT_NEGATIVE, help="Seconds from the start of each movie.")
@click.option("--frame", type=FRAME, help="Index of the frame in each movie, from 0; negative: from the end.")
@KEYFRAMES
@CROP
@REDUCE
@DEINTERLACE
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="skip: leave out damaged frames, and movies that cannot be read or have no such frame.",
)
@click.option("--fps", type=POSITIVE, help="Frames per second of a film.  [default: 10]")
@click.option(
    "--columns", type=AT_LEAST_ONE, help=f"Thumbnails per row of a contact sheet.  [default: {SHEET_COLUMNS}]"
)
@click.option(
    "-o",
    "--output",
    type=OutputFile(*FILMS, SHEET),
    default="timelapse.mp4",
    show_default=True,
    help="A film (.mp4, .gif, .webp) or a contact sheet (.png).",
)
@RECOVER
@AS_JSON
def timelapse(
    *,
    root: str | None,
    start: str,
    end: str,
    kind: "Kind",
    at: float | None,
    frame: int | None,
    keyframes: bool,
    crop: Crop | None,
    reduce: int,
    deinterlace: "Deinterlace",
    on_error: Literal["stop", "skip"],
    fps: float | None,
    columns: int | None,
    output: Path,
    recover: bool,
    as_json: bool,
) -> None:
    """Write one frame of each movie in ROOT (default: OOI's server) as a film or a contact sheet.

    This makes two requests per movie, for its index and for the frame.

    \b
    Examples:
      camhd timelapse --start 2016-11-01 --end 2016-12-01 --at 240 --reduce 8 -o november.mp4
      camhd timelapse --start 2016-11-13 --end 2016-11-14 --frame 7200 -o day.png /data/camhd
    """  # noqa: D301 - click looks for the backspace itself
    from camhd_access.times import parse_period

    check_moment(at, frame)
    with as_usage_error():
        period = parse_period(start, end)
    is_sheet = output.suffix.lower() == SHEET
    if (fps if is_sheet else columns) is not None:
        raise click.UsageError("--fps applies to films, --columns to contact sheets")
    urls = list(find_archive(root).catalog(*period, kind=kind, progress=shows_progress())["url"])
    if not urls:
        raise ValueError(f"no movies in {root or 'the archive'} from {start} to {end}")
    skips = on_error == "skip"
    chosen: dict[str, Any] = {"at": at, "frame": frame, "keyframes": keyframes}
    pictures = _open(urls, skips=skips, reduce=reduce, deinterlace=deinterlace, recover=recover, **chosen)
    if crop:
        size = pictures.sizes["y"] * reduce, pictures.sizes["x"] * reduce
        pictures = pictures.isel(crop.slices(size, reduce=reduce))
    if is_sheet:
        write_sheet(pictures, output, step=None, columns=columns or SHEET_COLUMNS)
    else:
        pictures.camhd.animate(output, fps=fps, progress=shows_progress())
    _report(pictures, output, n_movies=len(urls), as_json=as_json)


def _open(urls: list[str], *, skips: bool, **options: Any) -> "xr.DataArray":  # noqa: ANN401
    """The frames as a lazy array; with `skips`, without damaged ones."""
    from camhd_access.arrays.open_movies import open_timelapse

    open_pictures = partial(open_timelapse, urls, progress=shows_progress(), **options)
    if skips:
        return _without_damage(open_pictures(errors="mask", unreadable="skip"))
    try:
        return open_pictures()
    except (CamhdError, FileNotFoundError) as error:
        hint = "--on-error skip"  # unreadable='skip' in Python
        raise type(error)(str(error).replace("unreadable='skip'", hint)) from error


def _without_damage(pictures: "xr.DataArray") -> "xr.DataArray":
    """The undamaged frames, which are decoded again when used; prints a line for each damaged one."""
    damaged = pictures["damaged"].to_numpy() > 0
    if damaged.all():
        raise ValueError("all frames are damaged")
    for movie in pictures["movie"].to_numpy()[damaged]:
        click.echo(f"camhd: the frame of {movie} is damaged and left out", err=True)
    return pictures.drop_vars("damaged").isel(time=~damaged)


def _report(pictures: "xr.DataArray", output: Path, *, n_movies: int, as_json: bool) -> None:
    if not as_json:
        click.echo(f"{output}: {pictures.sizes['time']} frames of {n_movies} movies")
        return
    columns = (pictures[name].to_numpy() for name in ("movie", "frame", "time"))
    shown = [
        {"movie": str(movie), "frame": frame, "time": time}
        for movie, frame, time in zip(*columns, strict=True)
    ]
    print_json({"path": output, "n_movies": n_movies, "pictures": shown})
