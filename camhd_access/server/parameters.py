"""What a request wants of a movie, read and bounded before any work: a frame, a sheet, an animation.

Everything that a path's end, a query or a header may say becomes a frozen value here, or a `Problem` (400)
that names the parameter. A value's `key` tells it from every other: what is kept under a key is what was
asked for, size and all. Only what depends on the movie (its frames, its size) is checked later, by `check`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import ceil

from multidict import MultiMapping

from camhd_access.server.encoding import FORMATS, SMALL_PNG, Format
from camhd_access.server.problems import Problem
from camhd_access.server.settings import ServerSettings

__all__ = [
    "FILM_TYPES",
    "MAX_COLUMNS",
    "MAX_FPS",
    "MAX_NUMBER",
    "MAX_SECONDS",
    "MAX_SIDE",
    "MIN_SECONDS",
    "SIZE_HEADERS",
    "ClipRendition",
    "FilmRendition",
    "FrameRendition",
    "SheetRendition",
    "check_pixels",
    "parse_clip",
    "parse_film",
    "parse_frame",
    "parse_number",
    "parse_sheet",
    "refuse_parameters",
]

FILM_TYPES = {"mp4": "video/mp4", "gif": "image/gif", "webp": "image/webp"}
FRAME_PARAMETERS = ("width", "height", "crop", "reduce", "field", "pix_fmt", "quality")
SIZE_HEADERS = {"width": "X-lazycache-output-width", "height": "X-lazycache-output-height"}
MAX_DIGITS = 9
MAX_NUMBER = 10**MAX_DIGITS - 1
MAX_SIDE = 16383
"""WebP has no more."""
MAX_COLUMNS = 40
MIN_SECONDS, MAX_SECONDS = 0.01, 86400.0
MAX_FPS = 60.0


class _Keyed:
    """What tells a rendition from others."""

    __slots__ = ()

    @property
    def key(self) -> str:
        """All that was asked for, as text."""
        values = ((each.name, getattr(self, each.name)) for each in fields(self))  # type: ignore[arg-type]
        return "&".join(f"{name}={getattr(value, 'name', value)}" for name, value in values)


@dataclass(frozen=True, slots=True)
class FrameRendition(_Keyed):
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
class SheetRendition(_Keyed):
    """Thumbnails of a whole movie as one picture."""

    format: Format
    """How it is sent."""
    every: float
    """Seconds from one to the next."""
    columns: int
    """Thumbnails in a row."""
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
class FilmRendition(_Keyed):
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

    def frames(self, n_frames: int, max_frames: int) -> range:
        """The frames' indices, from 0; a `Problem` (400) where there are no such, or too many."""
        stop = n_frames if self.stop is None else self.stop
        return _choose_frames(self.start, stop, self.step, n_frames, max_frames)


@dataclass(frozen=True, slots=True)
class ClipRendition(_Keyed):
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
) -> FrameRendition:
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
    asked = _single(query, FRAME_PARAMETERS)
    if not asked.keys() & SIZE_HEADERS.keys():
        asked |= {side: headers[header] for side, header in SIZE_HEADERS.items() if header in headers}
    width, height = (_parse_int(asked, side, 1, MAX_SIDE) for side in SIZE_HEADERS)
    if (width or height) and not kind.is_picture:
        raise Problem(400, f"width, height: .{kind.name} holds pixels as they were filmed, not resized.")
    check_pixels(width or 1, height or 1, settings.max_pixels)
    return FrameRendition(
        number=parse_number(number),
        format=kind,
        pix_fmt=_choose(asked, "pix_fmt", kind.pix_fmts),
        width=width,
        height=height,
        crop=_parse_crop(asked.get("crop")),
        reduce=int(_choose(asked, "reduce", ("1", "8"))),
        field=None if "field" not in asked else int(_choose(asked, "field", ("0", "1"))),
        quality=_parse_quality(asked, kind),
    )


def parse_sheet(extension: str, query: MultiMapping[str], settings: ServerSettings) -> SheetRendition:
    """What `…/sheet` asks for: JPEG unless the extension says otherwise."""
    kind = _parse_format(extension or "jpg", {name: FORMATS[name] for name in ("jpg", "png", "webp")})
    asked = _single(query, ("every", "columns", "width", "quality"))
    return SheetRendition(
        format=kind,
        every=_parse_float(asked, "every", MIN_SECONDS, MAX_SECONDS) or 30.0,
        columns=_parse_int(asked, "columns", 1, MAX_COLUMNS) or 6,
        width=_parse_int(asked, "width", 16, min(1920, settings.max_pixels // 16)) or 240,
        quality=_parse_quality(asked, kind),
    )


def parse_film(extension: str, query: MultiMapping[str]) -> FilmRendition:
    """What `…/animation` asks for: MP4 unless the extension says otherwise."""
    if (extension or "mp4") not in FILM_TYPES:
        raise Problem(400, f"Animations are {', '.join(FILM_TYPES)}, not {_quote(extension)}.")
    asked = _single(query, ("start", "stop", "step", "width", "fps"))
    return FilmRendition(
        format=extension or "mp4",
        start=_parse_int(asked, "start", 1, MAX_NUMBER) or 1,
        stop=_parse_int(asked, "stop", 1, MAX_NUMBER),
        step=_parse_int(asked, "step", 1, MAX_NUMBER) or 1,
        width=_parse_int(asked, "width", 16, 1920) or 480,
        fps=_parse_float(asked, "fps", 1.0, MAX_FPS),
    )


def parse_clip(name: str, query: MultiMapping[str]) -> ClipRendition:
    """What `…/clip/<name>` asks for: `A-B.mov`, the numbers of the first and the last frame."""
    first, dash, last = name.removesuffix(".mov").partition("-")
    if not (dash and name.endswith(".mov")):
        raise Problem(400, f"Clips are A-B.mov, from frame A to frame B, not {_quote(name)}.")
    asked = _single(query, ("step",))
    return ClipRendition(
        start=parse_number(first),
        stop=parse_number(last),
        step=_parse_int(asked, "step", 1, 10**MAX_DIGITS - 1) or 1,
    )


def parse_number(text: str) -> int:
    """The number of a frame, from 1 in digits alone."""
    if not re.fullmatch(f"[0-9]{{1,{MAX_DIGITS}}}", text):
        raise Problem(400, f"{_quote(text)} is no number of a frame.")
    if int(text) < 1:
        raise Problem(400, "Quicktime movies start with frame 1")
    return int(text)


def refuse_parameters(query: MultiMapping[str]) -> None:
    """Raise a `Problem` (400) where a query has anything: what nobody reads was meant for something."""
    _single(query, ())


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise a `Problem` (400) for a picture of more pixels than are allowed, in all or in a row."""
    if max(width, height) > MAX_SIDE:
        raise Problem(400, f"{width}x{height} is more than {MAX_SIDE} pixels in a row or column.")
    if width * height > max_pixels:
        raise Problem(400, f"{width}x{height} is more than the {max_pixels} pixels that are allowed.")


def _single(query: MultiMapping[str], known: tuple[str, ...]) -> dict[str, str]:
    """The parameters of a query, each known and given once."""
    for name in query:
        if name not in known:
            raise Problem(400, f"{_quote(name)} is none of the parameters {', '.join(known) or '(none)'}.")
        if len(query.getall(name)) > 1:
            raise Problem(400, f"{name} is given more than once.")
    return dict(query)


def _parse_format(extension: str, known: Mapping[str, Format]) -> Format:
    if (extension or "png") not in known:
        raise Problem(400, f"Pictures are {', '.join(known)}, not {_quote(extension)}.")
    return known[extension or "png"]


def _parse_int(asked: Mapping[str, str], name: str, lowest: int, highest: int) -> int | None:
    text = asked.get(name)
    if text is None:
        return None
    if not re.fullmatch(f"[0-9]{{1,{MAX_DIGITS}}}", text) or not lowest <= int(text) <= highest:
        raise Problem(400, f"{name} is a whole number from {lowest} to {highest}, not {_quote(text)}.")
    return int(text)


def _parse_float(asked: Mapping[str, str], name: str, lowest: float, highest: float) -> float | None:
    text = asked.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not lowest <= float(text) <= highest:
        raise Problem(400, f"{name} is a number from {lowest} to {highest}, not {_quote(text)}.")
    return float(text)


def _parse_quality(asked: Mapping[str, str], kind: Format) -> int:
    quality = _parse_int(asked, "quality", 1, 100)
    if quality is not None and kind.quality is None:
        raise Problem(400, f"quality: .{kind.name} is exact, and has none.")
    return quality or kind.quality or 0


def _parse_crop(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,5}(,[0-9]{1,5}){3}", text):
        raise Problem(400, f"crop is x,y,width,height in pixels, not {_quote(text)}.")
    x, y, width, height = map(int, text.split(","))
    if not width or not height:
        raise Problem(400, "crop: a picture has at least one pixel.")
    return x, y, width, height


def _choose(asked: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    text = asked.get(name, choices[0])
    if text not in choices:
        raise Problem(400, f"{name} is one of {', '.join(choices)} here, not {_quote(text)}.")
    return text


def _quote(text: str) -> str:
    """What a client sent, shortened, as it may be repeated to it."""
    return ascii(text[:40])
