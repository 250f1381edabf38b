"""Kinds of values, and options, that several commands take."""

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
    "FRAME",
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
]

LARGEST = 1_000_000
"""Of seconds, rates and frames a second: what is more is a slip of the keyboard."""

MAX_FRAMES = 2**31
"""Of a movie that QuickTime can hold."""


class _UsualRange(click.FloatRange):
    """Numbers within bounds, and none that only Python takes for one: neither "nan" nor 1e300."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - click's
        """The number; click's error where it is none."""
        number = float(super().convert(value, param, ctx))
        if not number <= LARGEST:
            self.fail(f"{value!r} is no number up to {LARGEST:,}", param, ctx)
        return number


AT_LEAST_ONE = click.IntRange(min=1)
FRAME = click.IntRange(-MAX_FRAMES, MAX_FRAMES)
POSITIVE = _UsualRange(min=0, min_open=True)
NOT_NEGATIVE = _UsualRange(min=0)
PATH_OR_URL = click.Path()
"""Taken as it is; shells complete it as a path."""


class OutputFile(click.Path):
    """A file to write, in a folder that is there, and whose suffix tells the format."""

    def __init__(self, *suffixes: str) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ANN401 - click's
        """The path; click's error where it cannot be written."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.suffix.lower() not in self.suffixes:
            self.fail(f"'{path}': the name ends in {', '.join(self.suffixes)}", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"'{path}': there is no folder '{path.parent}'", param, ctx)
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
        """Lines and columns of the pictures that show this part of frames of that `size` (height, width).

        Parameters
        ----------
        reduce, fields
            How the pictures were made of the frames: reduced by so much, split into fields.

        Raises
        ------
        click.BadParameter
            The part lies outside.
        """
        height, width = size
        if self.x + self.width > width or self.y + self.height > height:
            raise click.BadParameter(f"the movie's frames are {width}x{height}", param_hint="'--crop'")
        return {
            "y": _cover(self.y, self.height, 2 * reduce if fields else reduce),
            "x": _cover(self.x, self.width, reduce),
        }


def _cover(start: int, length: int, scale: int) -> slice:
    """The positions, each of `scale` pixels, that cover some pixels."""
    return slice(start // scale, -(-(start + length) // scale))


def _parse_crop(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Crop | None:
    if text is None:
        return None
    try:
        x, y, width, height = map(int, text.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r}: four whole numbers are wanted, as in 448,28,1024,1024"
        ) from error
    if min(x, y) < 0 or min(width, height) < 1:
        raise click.BadParameter(f"{text!r} holds no pixels, or begins outside the frame")
    return Crop(x, y, width, height)


Decorator = Callable[[Callable[..., None]], Callable[..., None]]

CROP: Decorator = click.option(
    "--crop",
    metavar="X,Y,WIDTH,HEIGHT",
    callback=_parse_crop,
    help="Only this part, in pixels of whole frames.",
)

REDUCE: Decorator = click.option(
    "--reduce",
    type=click.Choice(["1", "2", "4", "8"]),
    callback=lambda _ctx, _param, value: int(value),
    default="1",
    show_default=True,
    help="2, 4 or 8: that part of the lines and columns; 8 is ten times as fast as 1.",
)

RECOVER: Decorator = click.option(
    "--recover",
    is_flag=True,
    help="Find the frames of a recording that was cut off; looks up what was found before.",
)

AS_JSON: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def check_moment(at: float | None, frame: int | None) -> None:
    """Raise a usage error unless a frame is named, and in one way."""
    if (at is None) == (frame is None):
        raise click.UsageError("name the frame by --at or by --frame, not both")


@contextmanager
def as_usage_error() -> Iterator[None]:
    """Have a `ValueError` of what is checked within end as wrong options do."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error
