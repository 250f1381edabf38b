"""The command `clip`."""

import os
from typing import TYPE_CHECKING, Any

import click

from camhd_access.cli.options import (
    AS_JSON,
    AT_LEAST_ONE,
    DEINTERLACE,
    FRAME,
    MOMENT,
    PATH_OR_URL,
    POSITIVE,
    RECOVER,
    as_usage_error,
)
from camhd_access.cli.printing import print_json, shows_progress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from camhd_access.movie.reader import MovieReader
    from camhd_access.movie.selection import Deinterlace, FrameSelection
    from camhd_access.output.film_writers import Codec

__all__ = ["clip"]


def _parse_frames(ctx: click.Context, param: click.Parameter, text: str | None) -> "FrameSelection | None":
    from camhd_access.movie.origin import parse_frames

    if text is None:
        return None
    try:
        if "," in text and ":" in text:
            return parse_frames(text)
        if ":" not in text:
            return [FRAME.convert(int(number), param, ctx) for number in text.split(",")]
        bounds = [int(part) if part else None for part in text.split(":")]
        return slice(bounds[0], *bounds[1:])
    except (TypeError, ValueError) as error:
        raise click.BadParameter(f"{text!r}: write START:STOP, START:STOP:STEP or A,B,C") from error


@click.command
@click.argument("url", type=PATH_OR_URL)
@click.option(
    "--frames",
    metavar="START:STOP:STEP",
    callback=_parse_frames,
    help="Frame indices from 0, STOP excluded; or a list, such as 3,4,20:30.",
)
@click.option(
    "--from", "begin", type=MOMENT, help="Start of the clip: seconds of the movie, or a time (UTC)."
)
@click.option("--to", "end", type=MOMENT, help="End of the clip (exclusive), likewise.")
@click.option(
    "--at", type=MOMENT, multiple=True, help="The frame nearest to this second or time; can be repeated."
)
@click.option("--codec", type=click.Choice(["h264", "h265"]), help="Codec of an MP4 film.  [default: h264]")
@click.option(
    "--fps",
    type=POSITIVE,
    help="Frames per second of a film.  [default: original rate, or 10 if frames are skipped]",
)
@click.option("--width", type=AT_LEAST_ONE, help="Maximum width of a film or of images.")
@DEINTERLACE
@click.option("-o", "--output", type=PATH_OR_URL, required=True, help="File or URL to write.")
@RECOVER
@AS_JSON
def clip(
    *,
    url: str,
    frames: "FrameSelection | None",
    begin: float | str | None,
    end: float | str | None,
    at: tuple[float | str, ...],
    codec: "Codec | None",
    fps: float | None,
    width: int | None,
    deinterlace: "Deinterlace",
    output: str,
    recover: bool,
    as_json: bool,
) -> None:
    """Write selected frames of the movie at URL to a new file.

    The suffix of OUTPUT sets the format. A .mov is a clip without re-encoding, with times and timecode; only
    the bytes of these frames are read. A .mp4, .gif or .webp is a film for viewing. A name such as
    frame_{frame:06d}.png (or .tif, .jpg) writes an image of each frame. None of them has sound.

    \b
    Examples:
      camhd clip --from 240 --to 260 -o vent.mov CAMHDA301-20161113T000000Z.mov
      camhd clip --frames 7200:7800:2 --codec h265 -o vent.mp4 CAMHDA301-20161113T000000Z.mov
      camhd clip --at 30 --at 60 -o 'frame_{frame:06d}.png' CAMHDA301-20161113T000000Z.mov
    """  # noqa: D301 - click looks for the backspace itself
    from camhd_access.movie.reader import MovieReader
    from camhd_access.output.clip import write_clip
    from camhd_access.output.clip.writing import check_clip
    from camhd_access.urls import redact_url

    has_times = begin is not None or end is not None
    if (frames is not None) + has_times + bool(at) != 1:
        raise click.UsageError("choose frames with --frames, with --from and --to, or with --at")
    with as_usage_error():
        check_clip(output, codec=codec, fps=fps, width=width, deinterlace=deinterlace)
    reader = MovieReader(url, recover=recover)
    chosen = _find_frames(reader, begin, end, at) if frames is None else reader.stack(frames).frames
    options: dict[str, Any] = {"codec": codec, "fps": fps, "width": width, "deinterlace": deinterlace}
    write_clip(reader, chosen, output, progress=shows_progress(), **options)
    path = redact_url(os.fsdecode(output))
    if as_json:
        print_json({"path": path, "url": reader.name, "frames": chosen.tolist()})
    else:
        click.echo(f"{path}: {len(chosen)} of {reader.n_frames} frames")


def _find_frames(
    reader: "MovieReader",
    begin: "float | str | None",
    end: "float | str | None",
    at: "tuple[float | str, ...]",
) -> "npt.NDArray[np.int64]":
    """Indices of the frames shown from `begin` to before `end`, or of those nearest to each of `at`."""
    import numpy as np

    if at:
        return np.unique([reader.frame_at(moment) for moment in at])
    first, stop = (None if each is None else reader.seconds_at(each) for each in (begin, end))
    seconds = reader.elapsed() / np.timedelta64(1, "s")
    found = np.flatnonzero((seconds >= (first or 0)) & (seconds < (np.inf if stop is None else stop)))
    if not found.size:
        raise click.UsageError(f"the selection contains no frames: the movie lasts {reader.duration:.3f} s")
    return found
