"""What a request wants of a movie, read and bounded before any work: a frame, a sheet, an animation, a clip.

What a path's end, a query or a header asks for becomes a frozen value here, or a `Problem` (400) that names
the parameter. A value's `key` tells it from every other: what is kept under a key is what was asked for, size
and all. Only what depends on the movie (its frames, its size) is checked later.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import ceil
from typing import Any

from multidict import MultiMapping

from camhd_access.movie.selection import Deinterlace
from camhd_access.server.declarations import MAX_DIGITS, MAX_SIDE, declare_parameters, quote_text
from camhd_access.server.encoding import FORMATS, SMALL_PNG, Format
from camhd_access.server.problems import Problem
from camhd_access.server.settings import ServerSettings

__all__ = [
    "FILM_TYPES",
    "SIZE_HEADERS",
    "ClipParameters",
    "FilmParameters",
    "FrameParameters",
    "SheetParameters",
    "check_pixels",
    "find_ignored",
    "parse_clip",
    "parse_film",
    "parse_frame",
    "parse_number",
    "parse_sheet",
]

FILM_TYPES = {"mp4": "video/mp4", "gif": "image/gif", "webp": "image/webp"}
SIZE_HEADERS = {"width": "X-lazycache-output-width", "height": "X-lazycache-output-height"}


class _Keyed:
    """What tells what is asked for from all else."""

    __slots__ = ()

    @property
    def key(self) -> str:
        """All that was asked for, as text."""
        values = ((each.name, getattr(self, each.name)) for each in fields(self))  # type: ignore[arg-type]
        return "&".join(f"{name}={getattr(value, 'name', value)}" for name, value in values)

    @property
    def splits_frames(self) -> str | None:
        """The parameter that asks for fields of frames; None where none does."""
        asked = (name for name in ("field", "deinterlace") if getattr(self, name, None) is not None)
        return next(asked, None)


@dataclass(frozen=True, slots=True)
class FrameParameters(_Keyed):
    """One frame, as it is wanted."""

    number: int
    """Number of the frame, from 1."""
    format: Format
    """How it is sent."""
    pix_fmt: str
    """What its pixels are given in."""
    width: int | None = None
    """Columns sent; None for all, or as `height` has it."""
    height: int | None = None
    """Lines sent; None for all, or as `width` has it."""
    crop: tuple[int, int, int, int] | None = None
    """Left, top, width and height of what is wanted of the picture."""
    reduce: int = 1
    """1, or 8 for a preview."""
    field: int | None = None
    """0 for the field that is shown first, 1 for the other, None for the frame."""
    deinterlace: Deinterlace = None
    """How the lines of the field that is shown second are made up; None: as they were filmed."""
    quality: int = 0
    """1 to 100; 0 where the format has none."""

    def size_of(self, shown: tuple[int, int], max_pixels: int) -> tuple[int, int]:
        """Width and height to send of a picture of the width and height `shown`.

        Raises
        ------
        Problem
            400: more pixels than are allowed.
        """
        columns, lines = shown
        width = self.width or (columns if self.height is None else round(columns * self.height / lines))
        height = self.height or round(lines * width / columns)
        check_pixels(width, height, max_pixels)
        return max(1, width), max(1, height)


@dataclass(frozen=True, slots=True)
class SheetParameters(_Keyed):
    """Thumbnails of a whole movie as one picture."""

    format: Format
    """How it is sent."""
    every: float
    """Seconds from one to the next."""
    columns: int
    """Thumbnails in a row."""
    deinterlace: Deinterlace
    """How the lines of the field that is shown second are made up; None: as they were filmed."""
    width: int
    """Columns of a thumbnail."""
    quality: int
    """1 to 100; 0 where the format has none."""

    def count(self, seconds: float, max_frames: int) -> int:
        """Thumbnails of a movie of that length; a `Problem` (400) where they are too many."""
        n = max(1, ceil(seconds / self.every))
        if n > max_frames:
            raise Problem(400, f"every: that makes {n} thumbnails; at most {max_frames} are allowed.")
        return n


@dataclass(frozen=True, slots=True)
class FilmParameters(_Keyed):
    """Some frames of a movie as a film."""

    format: str
    """Extension of the file."""
    start: int
    """Number of the first frame, from 1."""
    stop: int | None
    """Number of the last frame, which is part of it; None for the movie's last."""
    step: int
    """From one frame's number to the next."""
    width: int
    """Columns; the height follows."""
    fps: float | None
    """Frames a second; None for those of the movie, or 10 where frames are left out."""
    deinterlace: Deinterlace
    """How the lines of the field that is shown second are made up; None: as they were filmed."""

    def frames(self, n_frames: int, max_frames: int) -> range:
        """The frames' indices, from 0; a `Problem` (400) where there are no such, or too many."""
        stop = n_frames if self.stop is None else self.stop
        return _choose_frames(self.start, stop, self.step, n_frames, max_frames)


@dataclass(frozen=True, slots=True)
class ClipParameters(_Keyed):
    """Some frames of a movie as a movie of their own."""

    start: int
    """Number of the first frame, from 1."""
    stop: int
    """Number of the last frame, which is part of it."""
    step: int
    """From one frame's number to the next."""

    def frames(self, n_frames: int, max_frames: int) -> range:
        """The frames' indices, from 0; a `Problem` (400) where there are no such, or too many."""
        return _choose_frames(self.start, self.stop, self.step, n_frames, max_frames)


def _choose_frames(start: int, stop: int, step: int, n_frames: int, max_frames: int) -> range:
    if not 1 <= start <= stop <= n_frames:
        raise Problem(400, f"There are no frames {start} to {stop} in a movie of {n_frames}.")
    chosen = range(start - 1, stop, step)
    if len(chosen) > max_frames:
        raise Problem(400, f"That is {len(chosen)} frames; at most {max_frames}: ask with a step.")
    return chosen


def parse_frame(
    name: str, query: MultiMapping[str], headers: Mapping[str, str], settings: ServerSettings
) -> FrameParameters:
    """What `…/frame/<name>` asks for.

    Raises
    ------
    Problem
        400, or 501 for raw pixels where they are switched off.
    """
    number, _, extension = name.partition(".")
    kind = _parse_format(extension, FORMATS)
    if kind.is_raw and not settings.raw:
        raise Problem(501, "This server is not configured to produce raw output.")
    if kind.name == "png" and settings.public:
        kind = SMALL_PNG
    sides = {side: headers[header] for side, header in SIZE_HEADERS.items() if header in headers}
    asked = _read("frame", query, settings.max_pixels, others=sides)
    if (asked["width"] or asked["height"]) and not kind.is_picture:
        raise Problem(400, f"width, height: .{kind.name} holds pixels as they were filmed, not resized.")
    check_pixels(asked["width"] or 1, asked["height"] or 1, settings.max_pixels)
    if asked["crop"] and not all(asked["crop"][2:]):
        raise Problem(400, "crop: a picture has at least one pixel.")
    if asked["field"] is not None and asked["deinterlace"]:
        raise Problem(400, "field, deinterlace: one excludes the other.")
    pix_fmt = asked["pix_fmt"] or kind.pix_fmts[0]
    if pix_fmt not in kind.pix_fmts:
        raise Problem(400, f"pix_fmt of .{kind.name} is one of {', '.join(kind.pix_fmts)}, not {pix_fmt}.")
    asked |= {"pix_fmt": pix_fmt, "quality": _choose_quality(asked, kind)}
    return FrameParameters(number=parse_number(number), format=kind, **asked)


def parse_sheet(extension: str, query: MultiMapping[str], settings: ServerSettings) -> SheetParameters:
    """What `…/sheet` asks for: JPEG unless the extension says otherwise."""
    kind = _parse_format(extension or "jpg", {name: FORMATS[name] for name in ("jpg", "png", "webp")})
    asked = _read("sheet", query, settings.max_pixels)
    return SheetParameters(format=kind, **asked | {"quality": _choose_quality(asked, kind)})


def parse_film(extension: str, query: MultiMapping[str], settings: ServerSettings) -> FilmParameters:
    """What `…/animation` asks for: MP4 unless the extension says otherwise."""
    if (extension or "mp4") not in FILM_TYPES:
        raise Problem(400, f"Animations are {', '.join(FILM_TYPES)}, not {quote_text(extension)}.")
    return FilmParameters(format=extension or "mp4", **_read("animation", query, settings.max_pixels))


def parse_clip(name: str, query: MultiMapping[str], settings: ServerSettings) -> ClipParameters:
    """What `…/clip/<name>` asks for: `A-B.mov`, the numbers of the first and the last frame."""
    first, dash, last = name.removesuffix(".mov").partition("-")
    if not (dash and name.endswith(".mov")):
        raise Problem(400, f"Clips are A-B.mov, from frame A to frame B, not {quote_text(name)}.")
    asked = _read("clip", query, settings.max_pixels)
    return ClipParameters(start=parse_number(first), stop=parse_number(last), **asked)


def parse_number(text: str) -> int:
    """The number of a frame, from 1: the digits with which the text begins, as go-lazycache read it."""
    match = re.match(f"[0-9]{{1,{MAX_DIGITS}}}(?![0-9])", text)
    if match is None:
        raise Problem(400, f"{quote_text(text)} is no number of a frame.")
    if int(match[0]) < 1:
        raise Problem(400, "Quicktime movies start with frame 1")
    return int(match[0])


def find_ignored(route: str, query: MultiMapping[str]) -> list[str]:
    """The names in a query that are none of the route's parameters, each once; nothing is done about them."""
    known = {each.name for each in declare_parameters(1).get(route, ())}
    return [name for name in dict.fromkeys(query) if name not in known]


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise a `Problem` (400) for a picture of more pixels than are allowed, in all or in a row."""
    if max(width, height) > MAX_SIDE:
        raise Problem(400, f"{width}x{height} is more than {MAX_SIDE} pixels in a row or column.")
    if width * height > max_pixels:
        raise Problem(400, f"{width}x{height} is more than the {max_pixels} pixels that are allowed.")


def _read(
    route: str, query: MultiMapping[str], max_pixels: int, *, others: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The values of all parameters of a route by name; `others` are read where the query has none of them."""
    asked: dict[str, str] = {}
    for each in (declared := declare_parameters(max_pixels)[route]):
        values = query.getall(each.name, [])
        if len(values) > 1:
            raise Problem(400, f"{each.name} is given more than once.")
        if values:
            asked[each.name] = values[0]
    if others and not asked.keys() & SIZE_HEADERS.keys():
        asked |= others
    return {e.name: e.parse(asked[e.name]) if e.name in asked else e.default for e in declared}


def _parse_format(extension: str, known: Mapping[str, Format]) -> Format:
    if (extension or "png") not in known:
        raise Problem(400, f"Pictures are {', '.join(known)}, not {quote_text(extension)}.")
    return known[extension or "png"]


def _choose_quality(asked: Mapping[str, Any], kind: Format) -> int:
    if asked["quality"] is not None and kind.quality is None:
        raise Problem(400, f"quality: .{kind.name} is exact, and has none.")
    return asked["quality"] or kind.quality or 0
