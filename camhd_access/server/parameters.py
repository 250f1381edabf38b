"""What a request wants of a movie, read and bounded before any work: a frame, a sheet, an animation, a clip.

Each parameter is declared once, by `declare_parameters`: its name, its meaning, its bounds. Requests are
parsed by that declaration, and the OpenAPI document is written from it. What a path's end, a query or a
header asks for becomes a frozen value here, or a `Problem` (400) that names the parameter. A value's `key`
tells it from every other: what is kept under a key is what was asked for, size and all. Only what depends on
the movie (its frames, its size) is checked later.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from math import ceil
from typing import Any

from multidict import MultiMapping

from camhd_access.server.encoding import FORMATS, SMALL_PNG, Format
from camhd_access.server.problems import Problem
from camhd_access.server.settings import ServerSettings

__all__ = [
    "FILM_TYPES",
    "SIZE_HEADERS",
    "ClipParameters",
    "FilmParameters",
    "FrameParameters",
    "Parameter",
    "SheetParameters",
    "check_pixels",
    "declare_parameters",
    "parse_clip",
    "parse_film",
    "parse_frame",
    "parse_number",
    "parse_sheet",
    "refuse_parameters",
]

FILM_TYPES = {"mp4": "video/mp4", "gif": "image/gif", "webp": "image/webp"}
SIZE_HEADERS = {"width": "X-lazycache-output-width", "height": "X-lazycache-output-height"}
MAX_DIGITS = 9
MAX_NUMBER = 10**MAX_DIGITS - 1
MAX_SIDE = 16383
"""WebP has no more."""
MIN_THUMBNAIL, MAX_THUMBNAIL = 16, 1920
"""Columns of a thumbnail, or of an animation."""


@dataclass(frozen=True, slots=True)
class Parameter(ABC):
    """One parameter of a query, or of a path."""

    name: str
    """As it is spelt."""
    text: str
    """What it means."""

    @property
    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Its values as JSON Schema has them."""

    @abstractmethod
    def parse(self, text: str) -> Any:  # noqa: ANN401 - a value of its kind
        """Its value; a `Problem` (400) for any other text."""


@dataclass(frozen=True, slots=True)
class Whole(Parameter):
    """A whole number."""

    minimum: int
    """Its smallest value."""
    maximum: int
    """Its largest value."""
    default: int | None = None
    """Where it is not given; None where that depends on others."""

    @property
    def schema(self) -> dict[str, Any]:
        """Its values as JSON Schema has them."""
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum} | _tell(self.default)

    def parse(self, text: str) -> int:
        """The number, in digits alone."""
        if (
            not re.fullmatch(f"[0-9]{{1,{MAX_DIGITS}}}", text)
            or not self.minimum <= int(text) <= self.maximum
        ):
            bounds = f"from {self.minimum} to {self.maximum}"
            raise Problem(400, f"{self.name} is a whole number {bounds}, not {_quote(text)}.")
        return int(text)


@dataclass(frozen=True, slots=True)
class Decimal(Parameter):
    """A number, with or without decimals."""

    minimum: float
    """Its smallest value."""
    maximum: float
    """Its largest value."""
    default: float | None = None
    """Where it is not given; None where that depends on others."""

    @property
    def schema(self) -> dict[str, Any]:
        """Its values as JSON Schema has them."""
        return {"type": "number", "minimum": self.minimum, "maximum": self.maximum} | _tell(self.default)

    def parse(self, text: str) -> float:
        """The number, in digits with at most one point."""
        is_number = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text)
        if not is_number or not self.minimum <= float(text) <= self.maximum:
            bounds = f"from {self.minimum} to {self.maximum}"
            raise Problem(400, f"{self.name} is a number {bounds}, not {_quote(text)}.")
        return float(text)


@dataclass(frozen=True, slots=True)
class Choice(Parameter):
    """One of a few values."""

    choices: tuple[int | str, ...]
    """All of them."""
    default: int | str | None = None
    """Where it is not given; None where that depends on others."""

    @property
    def schema(self) -> dict[str, Any]:
        """Its values as JSON Schema has them."""
        return {"enum": list(self.choices)} | _tell(self.default)

    def parse(self, text: str) -> int | str:
        """The one that is spelt like that."""
        for choice in self.choices:
            if text == str(choice):
                return choice
        raise Problem(400, f"{self.name} is one of {', '.join(map(str, self.choices))}, not {_quote(text)}.")


@dataclass(frozen=True, slots=True)
class Numbers(Parameter):
    """Several whole numbers, separated."""

    separator: str
    """What stands between them."""
    names: tuple[str, ...]
    """What each is called."""
    max_digits: int
    """Of each."""
    default: None = None
    """Where it is not given."""

    @property
    def schema(self) -> dict[str, Any]:
        """Its values as JSON Schema has them."""
        return {"type": "string", "pattern": f"^{self._pattern}$"}

    @property
    def _pattern(self) -> str:
        return self.separator.join([f"[0-9]{{1,{self.max_digits}}}"] * len(self.names))

    def parse(self, text: str) -> tuple[int, ...]:
        """The numbers."""
        if not re.fullmatch(self._pattern, text):
            raise Problem(400, f"{self.name} is {self.separator.join(self.names)}, not {_quote(text)}.")
        return tuple(map(int, text.split(self.separator)))


_STEP = Whole("step", "From one frame's number to the next.", 1, MAX_NUMBER, 1)
_QUALITY = Whole("quality", "Of JPEG and WebP.", 1, 100)


@cache
def declare_parameters(max_pixels: int) -> dict[str, tuple[Whole | Decimal | Choice | Numbers, ...]]:
    """The parameters of each route's query, by the route's name; no picture has more than `max_pixels`."""
    most = min(MAX_SIDE, max_pixels)
    thumbnail = max(MIN_THUMBNAIL, min(MAX_THUMBNAIL, max_pixels // MIN_THUMBNAIL))
    return {
        "frame": (
            Whole("width", "Columns of the picture; alone, it keeps the shape.", 1, most),
            Whole("height", "Lines of the picture; alone, it keeps the shape.", 1, most),
            Numbers(
                "crop",
                "x,y,width,height: what is wanted of the picture that is shown, in its pixels.",
                ",",
                ("x", "y", "width", "height"),
                5,
            ),
            Choice(
                "reduce", "8 for a preview of an eighth of width and height, ten times faster.", (1, 8), 1
            ),
            Choice("field", "One field of an interlaced frame: 0 is shown first.", (0, 1)),
            Choice(
                "pix_fmt",
                "What .npy and .tif hold; .tif takes rgb48le and gray16le.",
                FORMATS["npy"].pix_fmts,
            ),
            _QUALITY,
        ),
        "clip": (_STEP,),
        "sheet": (
            Decimal("every", "Seconds from one to the next.", 0.01, 86400.0, 30.0),
            Whole("columns", "Thumbnails in a row.", 1, 40, 6),
            Whole("width", "Columns of a thumbnail.", MIN_THUMBNAIL, thumbnail, min(240, thumbnail)),
            _QUALITY,
        ),
        "animation": (
            Whole("start", "Number of the first frame.", 1, MAX_NUMBER, 1),
            Whole("stop", "Number of the last frame.", 1, MAX_NUMBER),
            _STEP,
            Whole("width", "Columns; the height follows.", MIN_THUMBNAIL, thumbnail, min(480, thumbnail)),
            Decimal("fps", "Frames a second.", 1.0, 60.0),
        ),
    }


def _tell(default: object) -> dict[str, Any]:
    return {} if default is None else {"default": default}


PATH_PARAMETERS = (
    Whole("number", "Number of the frame, from 1.", 1, MAX_NUMBER),
    Numbers("numbers", "Numbers of the first and the last frame, from 1.", "-", ("A", "B"), MAX_DIGITS),
)
"""What the braces in a route's path stand for."""


class _Keyed:
    """What tells what is asked for from all else."""

    __slots__ = ()

    @property
    def key(self) -> str:
        """All that was asked for, as text."""
        values = ((each.name, getattr(self, each.name)) for each in fields(self))  # type: ignore[arg-type]
        return "&".join(f"{name}={getattr(value, 'name', value)}" for name, value in values)


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
        raise Problem(400, f"Animations are {', '.join(FILM_TYPES)}, not {_quote(extension)}.")
    return FilmParameters(format=extension or "mp4", **_read("animation", query, settings.max_pixels))


def parse_clip(name: str, query: MultiMapping[str], settings: ServerSettings) -> ClipParameters:
    """What `…/clip/<name>` asks for: `A-B.mov`, the numbers of the first and the last frame."""
    first, dash, last = name.removesuffix(".mov").partition("-")
    if not (dash and name.endswith(".mov")):
        raise Problem(400, f"Clips are A-B.mov, from frame A to frame B, not {_quote(name)}.")
    asked = _read("clip", query, settings.max_pixels)
    return ClipParameters(start=parse_number(first), stop=parse_number(last), **asked)


def parse_number(text: str) -> int:
    """The number of a frame, from 1 in digits alone."""
    if not re.fullmatch(f"[0-9]{{1,{MAX_DIGITS}}}", text):
        raise Problem(400, f"{_quote(text)} is no number of a frame.")
    if int(text) < 1:
        raise Problem(400, "Quicktime movies start with frame 1")
    return int(text)


def refuse_parameters(query: MultiMapping[str]) -> None:
    """Raise a `Problem` (400) where a query has anything: what nobody reads was meant for something."""
    _check_names(query, ())


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
    declared = declare_parameters(max_pixels)[route]
    _check_names(query, tuple(each.name for each in declared))
    asked = dict(query)
    if others and not asked.keys() & SIZE_HEADERS.keys():
        asked |= others
    return {e.name: e.parse(asked[e.name]) if e.name in asked else e.default for e in declared}


def _check_names(query: MultiMapping[str], known: tuple[str, ...]) -> None:
    """Raise a `Problem` (400) unless all names of a query are known, and each is given once."""
    for name in query:
        if name not in known:
            raise Problem(400, f"{_quote(name)} is none of the parameters {', '.join(known) or '(none)'}.")
        if len(query.getall(name)) > 1:
            raise Problem(400, f"{name} is given more than once.")


def _parse_format(extension: str, known: Mapping[str, Format]) -> Format:
    if (extension or "png") not in known:
        raise Problem(400, f"Pictures are {', '.join(known)}, not {_quote(extension)}.")
    return known[extension or "png"]


def _choose_quality(asked: Mapping[str, Any], kind: Format) -> int:
    if asked["quality"] is not None and kind.quality is None:
        raise Problem(400, f"quality: .{kind.name} is exact, and has none.")
    return asked["quality"] or kind.quality or 0


def _quote(text: str) -> str:
    """What a client sent, shortened, as it may be repeated to it."""
    return ascii(text[:40])
