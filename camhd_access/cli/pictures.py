"""Commands that write images of one movie: `frame`, `sheet`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camhd_access.cli.options import (
    AS_JSON,
    AT_LEAST_ONE,
    CROP,
    DEINTERLACE,
    FRAME,
    KEYFRAMES,
    MOMENT,
    PATH_OR_URL,
    PICTURE,
    POSITIVE,
    RECOVER,
    REDUCE,
    Crop,
    as_usage_error,
    choose_moment,
)
from camhd_access.cli.printing import print_json, shows_progress

if TYPE_CHECKING:
    import xarray as xr

    from camhd_access.movie.reader import MovieReader
    from camhd_access.movie.selection import Deinterlace

__all__ = ["frame", "sheet", "write_sheet"]

DOTS_PER_INCH = 110


@click.command
@click.argument("url", type=PATH_OR_URL)
@click.option("--at", type=MOMENT, help="Seconds from the start of the movie, or a time (UTC).")
@click.option("--frame", type=FRAME, help="Index of the frame, from 0; negative: from the end.")
@CROP
@REDUCE
@click.option(
    "--pix-fmt",
    type=click.Choice(["rgb24", "gray", "gray16le", "gray10le"]),
    default="rgb24",
    show_default=True,
    help="gray: luma. gray16le: 16-bit luma. gray10le: luma as coded, black 64, white 940.",
)
@click.option(
    "--field",
    type=click.Choice(["0", "1"]),
    callback=lambda _ctx, _param, value: None if value is None else int(value),
    help="One field of the frame of an interlaced movie: 0 is shown first.",
)
@DEINTERLACE
@click.option("-o", "--output", type=PICTURE, default="frame.png", show_default=True, help="File to write.")
@RECOVER
@AS_JSON
def frame(
    *,
    url: str,
    at: float | str | None,
    frame: int | None,
    crop: Crop | None,
    reduce: int,
    pix_fmt: str,
    field: int | None,
    deinterlace: "Deinterlace",
    output: Path,
    recover: bool,
    as_json: bool,
) -> None:
    """Write one frame of the movie at URL, at full resolution, as PNG, TIFF or JPEG.

    URL may also be the base name of a movie, or a time (UTC), which are looked up in the archive
    (CAMHD_ARCHIVE, else OOI's server). For a time, the frame at that time is written by default.

    \b
    Examples:
      camhd frame 2016-11-13T00:04
      camhd frame --at 240 -o vent.png CAMHDA301-20161113T000000Z.mov
      camhd frame --frame 7200 --crop 448,28,1024,1024 -o vent.jpg CAMHDA301-20161113T000000Z.mov
      camhd frame --frame 7200 --pix-fmt gray10le -o luma.tif CAMHDA301-20161113T000000Z.mov
    """  # noqa: D301 - click looks for the backspace itself
    from PIL import Image

    from camhd_access.movie.reader import MovieReader
    from camhd_access.movie.selection import check_scan, crop_stack
    from camhd_access.output.clip.films import IMAGE_OPTIONS
    from camhd_access.output.provenance import colors_of, describe_stack, image_options, write_command
    from camhd_access.storage.output_files import open_target, suffix_of
    from camhd_access.storage.same_file import check_not_source

    at = choose_moment(url, at, frame)
    if output.suffix.lower() in (".jpg", ".jpeg") and pix_fmt in ("gray16le", "gray10le"):
        raise click.UsageError(f"JPEG cannot store {pix_fmt}, only 8 bits per channel: write PNG or TIFF")
    reader = MovieReader(url, recover=recover)
    check_not_source(output, [reader.urlpath])
    position = _find_frame(reader, at=at, frame=frame)
    has_fields = field is not None
    part = crop.slices(reader.shape[1:], reduce=reduce, fields=has_fields) if crop else {}
    with as_usage_error():
        check_scan(has_fields, deinterlace)
    stack = reader.stack(position, pix_fmt=pix_fmt, reduce=reduce, fields=has_fields, deinterlace=deinterlace)
    stack = crop_stack(stack.select(field or 0), part.get("y"), part.get("x"))
    pixels = stack.read()[0]
    record = describe_stack(reader, stack)
    record = replace(
        record,
        history=write_command(
            "frame", record, [("--frame", record.frames), ("--field", record.field)], output.name
        ),
    )
    text = image_options(suffix_of(output), record, colors_of(stack))
    with open_target(output) as file:
        Image.fromarray(pixels).save(file, **IMAGE_OPTIONS[suffix_of(output)], **text)
    if as_json:
        height, width, *_ = pixels.shape
        time = None if reader.start_time is None else reader.times()[position]
        facts = {"path": output, "url": reader.name, "frame": position, "time": time}
        print_json(facts | {"width": width, "height": height})
    else:
        click.echo(f"{output}: frame {position} of {reader.n_frames}")


def _find_frame(reader: "MovieReader", *, at: float | str | None, frame: int | None) -> int:
    """Index of the frame; for a time, of the nearest frame."""
    if frame is not None:
        return int(reader.stack(frame).frames[0])
    return reader.frame_at(0.0 if at is None else at)


@click.command
@click.argument("url", type=PATH_OR_URL)
@click.option("--every", type=POSITIVE, help="Seconds between thumbnails.  [default: 24 thumbnails]")
@click.option("--columns", type=AT_LEAST_ONE, default=6, show_default=True, help="Thumbnails per row.")
@KEYFRAMES
@CROP
@DEINTERLACE
@click.option("-o", "--output", type=PICTURE, default="sheet.png", show_default=True, help="File to write.")
@RECOVER
@AS_JSON
def sheet(
    *,
    url: str,
    every: float | None,
    columns: int,
    keyframes: bool,
    crop: Crop | None,
    deinterlace: "Deinterlace",
    output: Path,
    recover: bool,
    as_json: bool,
) -> None:
    """Write a contact sheet of the movie at URL: thumbnails with their times, as PNG, TIFF or JPEG.

    \b
    Example:
      camhd sheet --every 10 --columns 8 -o sheet.png CAMHDA301-20161113T000000Z.mov
    """  # noqa: D301 - click looks for the backspace itself
    from camhd_access.arrays.open_movie import open_movie

    movie = open_movie(url, deinterlace=deinterlace, recover=recover)
    part = crop.slices((movie.sizes["y"], movie.sizes["x"])) if crop else {}
    n_frames = write_sheet(movie.isel(part), output, step=every, columns=columns, keyframes=keyframes)
    if as_json:
        print_json({"path": output, "url": movie.encoding["source"], "n_frames": n_frames})
    else:
        click.echo(output)


def write_sheet(
    movie: "xr.DataArray", output: Path, *, step: float | None, columns: int, keyframes: bool = False
) -> int:
    """Write a contact sheet; returns the number of its thumbnails."""
    from camhd_access.output.pictures import files_of
    from camhd_access.storage.output_files import open_target
    from camhd_access.storage.same_file import check_not_source

    check_not_source(output, files_of(movie))
    figure = movie.camhd.contact_sheet(
        step=step, columns=columns, keyframes=keyframes, progress=shows_progress()
    )
    with open_target(output) as file:
        figure.savefig(file, format=output.suffix[1:], dpi=DOTS_PER_INCH)
    return len(figure.axes)
