"""Parameter types and options that several commands share."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

__all__ = [
    "AS_JSON",
    "AT_LEAST_ONE",
    "CROP",
    "DEINTERLACE",
    "FRAME",
    "KEYFRAMES",
    "KIND",
    "MOMENT",
    "NOT_NEGATIVE",
    "PATH_OR_URL",
    "PICTURE",
    "POSITIVE",
    "RECOVER",
    "REDUCE",
    "Crop",
    "OutputFile",
    "as_usage_error",
    "check_moment",
    "choose_moment",
]

LARGEST = 1_000_000
"""Upper bound of seconds, rates and frames per second; larger values are typing errors."""

MAX_FRAMES = 2**31
"""The largest number of frames in a QuickTime movie."""


class _UsualRange(click.FloatRange):
    """Numbers within bounds; rejects values such as "nan" and 1e300, which Python accepts."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - click's
        """The number; raises click's error for other text."""
        number = float(super().convert(value, param, ctx))
        if not number <= LARGEST:
            self.fail(f"{value!r} is not a number up to {LARGEST:,}", param, ctx)
        return number


class _Moment(_UsualRange):
    """A number of seconds, or a time in UTC (ISO 8601)."""

    name = "seconds or time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - click's
        """The number, or the text of a time."""
        if isinstance(value, str) and "-" in value.lstrip("-"):
            from camhd_access.times import is_moment

            if not is_moment(value):
                self.fail(
                    f"{value!r} is not a valid time; try 2016-11-13T00:04 (UTC), or seconds", param, ctx
                )
            return value
        return super().convert(value, param, ctx)


AT_LEAST_ONE = click.IntRange(min=1)
FRAME = click.IntRange(-MAX_FRAMES, MAX_FRAMES)
POSITIVE = _UsualRange(min=0, min_open=True)
NOT_NEGATIVE = _UsualRange(min=0)
MOMENT = _Moment(min=0)
PATH_OR_URL = click.Path()
"""Any text; shells complete it as a path."""


class OutputFile(click.Path):
    """A file to write, in an existing folder, with a suffix that sets the format."""

    def __init__(self, *suffixes: str) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ANN401 - click's
        """The path; raises click's error if it cannot be written."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.suffix.lower() not in self.suffixes:
            self.fail(f"'{path}': the file name must end in {', '.join(self.suffixes)}", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"'{path}': the folder '{path.parent}' does not exist", param, ctx)
        return path


PICTURE = OutputFile(".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of a frame, in pixels of the whole frame."""

    x: int
    """First column."""
    y: int
    """First line."""
    width: int
    """Columns."""
    height: int
    """Lines."""

    def slices(self, size: tuple[int, int], *, reduce: int = 1, fields: bool = False) -> dict[str, slice]:
        """Lines and columns of this part in images of frames of that `size` (height, width).

        Parameters
        ----------
        reduce, fields
            How the images were made from the frames: the factor of reduction; whether split into fields.

        Raises
        ------
        click.BadParameter
            The part exceeds the frame.
        """
        height, width = size
        if self.x + self.width > width or self.y + self.height > height:
            raise click.BadParameter(
                f"crop {self.x},{self.y},{self.width},{self.height} exceeds the frame ({width}x{height})",
                param_hint="'--crop'",
            )
        return {
            "y": _cover(self.y, self.height, 2 * reduce if fields else reduce),
            "x": _cover(self.x, self.width, reduce),
        }


def _cover(start: int, length: int, scale: int) -> slice:
    """The positions, each of `scale` pixels, that cover a range of pixels."""
    return slice(start // scale, -(-(start + length) // scale))


def _parse_crop(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Crop | None:
    if text is None:
        return None
    try:
        x, y, width, height = map(int, text.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r}: write four integers X,Y,WIDTH,HEIGHT, such as 448,28,1024,1024"
        ) from error
    if min(x, y) < 0 or min(width, height) < 1:
        raise click.BadParameter(f"{text!r}: X and Y must be at least 0, WIDTH and HEIGHT at least 1")
    return Crop(x, y, width, height)


Decorator = Callable[[Callable[..., None]], Callable[..., None]]

CROP: Decorator = click.option(
    "--crop",
    metavar="X,Y,WIDTH,HEIGHT",
    callback=_parse_crop,
    help="Part of the frame to read, in pixels of the whole frame.",
)

REDUCE: Decorator = click.option(
    "--reduce",
    type=click.Choice(["1", "2", "4", "8"]),
    callback=lambda _ctx, _param, value: int(value),
    default="1",
    show_default=True,
    help="2, 4 or 8: that part of the lines and columns; 8 is four times as fast as 1.",
)

DEINTERLACE: Decorator = click.option(
    "--deinterlace",
    is_flag=True,
    callback=lambda _ctx, _param, value: "linear" if value else None,
    help="Keep only the first field of each frame, without combing; every other line is interpolated.",
)

KIND: Decorator = click.option(
    "--kind",
    type=click.Choice(["mov", "mp4", "best"]),
    default="mov",
    show_default=True,
    help="Masters, their twins in H.264, or the better of the two.",
)

KEYFRAMES: Decorator = click.option(
    "--keyframes",
    is_flag=True,
    help="Show the nearest key frames: for H.264 and HEVC, each costs one sample instead of part of a group.",
)

RECOVER: Decorator = click.option(
    "--recover",
    is_flag=True,
    help="Rebuild the index of a truncated recording, or use the rebuilt index in the cache.",
)

AS_JSON: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def check_moment(at: "float | str | None", frame: int | None) -> None:
    """Raise a usage error unless exactly one of the two options is given."""
    if (at is None) == (frame is None):
        raise click.UsageError("choose a frame: --at SECONDS or --frame INDEX")


def choose_moment(url: str, at: "float | str | None", frame: int | None) -> "float | str | None":
    """The value of `--at`; if no frame is chosen and the movie is given by a time, that time."""
    from camhd_access.times import is_moment

    if at is None and frame is None and is_moment(url):
        return url
    check_moment(at, frame)
    return at


@contextmanager
def as_usage_error() -> Iterator[None]:
    """Turn a `ValueError` raised within into a usage error."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error
