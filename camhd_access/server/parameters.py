"""Parsed requests, checked before any work: a frame, a sheet, an animation, a clip, a stream.

The end of a path, a query or a header becomes a frozen value here, or a `Problem` (400) that names
the parameter. A value's `key` identifies it: a file cached under a key is what was requested, size
included. Only what depends on the movie (its frames, its size) is checked later.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import ceil
from typing import Any
from urllib.parse import urlencode

from multidict import MultiMapping

from camhd_access.movie.selection import Deinterlace
from camhd_access.server.declarations import (
    MAX_DIGITS,
    MAX_SIDE,
    SEGMENT_NUMBER,
    declare_parameters,
    quote_text,
)
from camhd_access.server.encoding import FORMATS, SMALL_PNG, Format
from camhd_access.server.problems import Problem
from camhd_access.server.settings import ServerSettings

__all__ = [
    "FILM_TYPES",
    "SIZE_HEADERS",
    "ClipParameters",
    "FilmParameters",
    "FrameParameters",
    "HlsParameters",
    "SheetParameters",
    "check_pixels",
    "find_ignored",
    "parse_clip",
    "parse_film",
    "parse_frame",
    "parse_hls",
    "parse_interval",
    "parse_number",
    "parse_sheet",
]

FILM_TYPES = {"mp4": "video/mp4", "gif": "image/gif", "webp": "image/webp"}
SIZE_HEADERS = {"width": "X-lazycache-output-width", "height": "X-lazycache-output-height"}


class _Keyed:
    """Base of requests with a unique key."""

    __slots__ = ()

    @property
    def key(self) -> str:
        """The whole request as text."""
        values = ((each.name, getattr(self, each.name)) for each in fields(self))  # type: ignore[arg-type]
        return "&".join(f"{name}={getattr(value, 'name', value)}" for name, value in values)

    @property
    def splits_frames(self) -> str | None:
        """The name of the parameter that requires interlaced frames; None if there is none."""
        asked = (name for name in ("field", "deinterlace") if getattr(self, name, None) is not None)
        return next(asked, None)


@dataclass(frozen=True, slots=True)
class FrameParameters(_Keyed):
    """A request for one frame."""

    number: int
    """Number of the frame, from 1."""
    format: Format
    """File format."""
    pix_fmt: str
    """Pixel format."""
    width: int | None = None
    """Width to send; None for the full width, or derived from `height`."""
    height: int | None = None
    """Height to send; None for the full height, or derived from `width`."""
    crop: tuple[int, int, int, int] | None = None
    """Left, top, width and height of the part of the image."""
    reduce: int | None = None
    """1, 2, 4 or 8; None for the largest that suffices for the size."""
    field: int | None = None
    """0 for the field that is shown first, 1 for the other, None for the frame."""
    deinterlace: Deinterlace = None
    """How the lines of the second field are interpolated; None: interlaced frames as recorded."""
    quality: int = 0
    """1 to 100; 0 if the format has none."""

    def size_of(self, shown: tuple[int, int], max_pixels: int) -> tuple[int, int]:
        """Width and height to send for an image of the width and height `shown`.

        Raises
        ------
        Problem
            400: more pixels than allowed.
        """
        columns, lines = shown
        width = self.width or (columns if self.height is None else round(columns * self.height / lines))
        height = self.height or round(lines * width / columns)
        check_pixels(width, height, max_pixels)
        return max(1, width), max(1, height)


@dataclass(frozen=True, slots=True)
class SheetParameters(_Keyed):
    """A request for thumbnails of a whole movie as one image."""

    format: Format
    """File format."""
    every: float
    """Seconds between thumbnails."""
    columns: int
    """Thumbnails per row."""
    keyframes: int
    """1: the nearest key frames instead; 0: the frames at these times."""
    deinterlace: Deinterlace
    """How the lines of the second field are interpolated; None: interlaced frames as recorded."""
    width: int
    """Width of a thumbnail."""
    quality: int
    """1 to 100; 0 if the format has none."""

    def count(self, seconds: float, max_frames: int) -> int:
        """Number of thumbnails of a movie of that length; a `Problem` (400) if there are too many."""
        n = max(1, ceil(seconds / self.every))
        if n > max_frames:
            raise Problem(400, f"every: that makes {n} thumbnails; at most {max_frames} are allowed.")
        return n


@dataclass(frozen=True, slots=True)
class FilmParameters(_Keyed):
    """A request for some frames of a movie as a film."""

    format: str
    """Extension of the file."""
    start: int
    """Number of the first frame, from 1."""
    stop: int | None
    """Number of the last frame (included); None for the movie's last."""
    step: int
    """Difference between frame numbers."""
    width: int
    """Width; the height keeps the aspect ratio."""
    fps: float | None
    """Frames per second; None for those of the movie, or 10 if frames are left out."""
    deinterlace: Deinterlace
    """How the lines of the second field are interpolated; None: interlaced frames as recorded."""

    def frames(self, n_frames: int, max_frames: int) -> range:
        """The frames' indices, from 0; a `Problem` (400) if there are none, or too many."""
        stop = n_frames if self.stop is None else self.stop
        return _choose_frames(self.start, stop, self.step, n_frames, max_frames)


@dataclass(frozen=True, slots=True)
class ClipParameters(_Keyed):
    """A request for some frames of a movie as a separate movie."""

    start: int
    """Number of the first frame, from 1."""
    stop: int
    """Number of the last frame (included)."""
    step: int
    """Difference between frame numbers."""

    def frames(self, n_frames: int, max_frames: int) -> range:
        """The frames' indices, from 0; a `Problem` (400) if there are none, or too many."""
        return _choose_frames(self.start, self.stop, self.step, n_frames, max_frames)


@dataclass(frozen=True, slots=True)
class HlsParameters(_Keyed):
    """A request for a movie to be played."""

    step: int
    """Difference between frame numbers."""
    width: int
    """Width; the height keeps the aspect ratio."""
    deinterlace: Deinterlace
    """How the lines of the second field are interpolated; None: interlaced frames as recorded."""
    since: float = 0.0
    """A segment may begin with the frame that is shown at this time, in seconds from the first frame."""

    @property
    def query(self) -> str:
        """The parameters as a query, for the URLs in the playlist."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return "?" + urlencode({name: value for name, value in given.items() if value})


def _choose_frames(start: int, stop: int, step: int, n_frames: int, max_frames: int) -> range:
    if not 1 <= start <= stop <= n_frames:
        raise Problem(400, f"There are no frames {start} to {stop} in a movie of {n_frames}.")
    chosen = range(start - 1, stop, step)
    if len(chosen) > max_frames:
        raise Problem(
            400, f"That is {len(chosen)} frames; at most {max_frames} are allowed: use a larger step."
        )
    return chosen


def parse_frame(
    name: str, query: MultiMapping[str], headers: Mapping[str, str], settings: ServerSettings
) -> FrameParameters:
    """Parse a request for `…/frame/<name>`.

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
        raise Problem(400, f"width, height: .{kind.name} cannot be resized.")
    check_pixels(asked["width"] or 1, asked["height"] or 1, settings.max_pixels)
    if asked["crop"] and not all(asked["crop"][2:]):
        raise Problem(400, "crop: width and height must be at least 1.")
    if asked["field"] is not None and asked["deinterlace"]:
        raise Problem(400, "field and deinterlace cannot be combined.")
    pix_fmt = asked["pix_fmt"] or kind.pix_fmts[0]
    if pix_fmt not in kind.pix_fmts:
        raise Problem(
            400, f"pix_fmt of .{kind.name} must be one of {', '.join(kind.pix_fmts)}, not {pix_fmt}."
        )
    if asked["reduce"] is None and not (asked["width"] or asked["height"]):
        asked["reduce"] = 1
    asked |= {"pix_fmt": pix_fmt, "quality": _choose_quality(asked, kind)}
    return FrameParameters(number=parse_number(number), format=kind, **asked)


def parse_sheet(extension: str, query: MultiMapping[str], settings: ServerSettings) -> SheetParameters:
    """Parse a request for `…/sheet`; JPEG unless the extension says otherwise."""
    kind = _parse_format(extension or "jpg", {name: FORMATS[name] for name in ("jpg", "png", "webp")})
    asked = _read("sheet", query, settings.max_pixels)
    return SheetParameters(format=kind, **asked | {"quality": _choose_quality(asked, kind)})


def parse_film(extension: str, query: MultiMapping[str], settings: ServerSettings) -> FilmParameters:
    """Parse a request for `…/animation`; MP4 unless the extension says otherwise."""
    if (extension or "mp4") not in FILM_TYPES:
        raise Problem(400, f"Animations must be {', '.join(FILM_TYPES)}, not {quote_text(extension)}.")
    return FilmParameters(format=extension or "mp4", **_read("animation", query, settings.max_pixels))


def parse_clip(name: str, query: MultiMapping[str], settings: ServerSettings) -> ClipParameters:
    """Parse a request for `…/clip/<name>`: `A-B.mov`, the numbers of the first and the last frame."""
    first, dash, last = name.removesuffix(".mov").partition("-")
    if not (dash and name.endswith(".mov")):
        raise Problem(400, f"Clips must be A-B.mov, from frame A to frame B, not {quote_text(name)}.")
    asked = _read("clip", query, settings.max_pixels)
    return ClipParameters(start=parse_number(first), stop=parse_number(last), **asked)


def parse_hls(name: str, query: MultiMapping[str], settings: ServerSettings) -> tuple[int, HlsParameters]:
    """Parse a request for `…/hls/<name>`: the number of a segment, 0 for `init.mp4`, -1 for `index.m3u8`."""
    number = {"index.m3u8": -1, "init.mp4": 0}.get(name)
    if number is None:
        segment, _, extension = name.partition(".")
        if extension != "m4s":
            raise Problem(404, "A movie to be played has hls/index.m3u8, hls/init.mp4 and hls/N.m4s.")
        number = SEGMENT_NUMBER.parse(segment)
    route = "hls_segment" if number > 0 else "hls"
    return number, HlsParameters(**_read(route, query, settings.max_pixels))


def parse_interval(route: str, query: MultiMapping[str], settings: ServerSettings) -> float:
    """Seconds between the frames that a manifest lists."""
    every: float = _read(route, query, settings.max_pixels)["every"]
    return every


def parse_number(text: str) -> int:
    """The number of a frame, from 1: the leading digits of the text, as in go-lazycache."""
    match = re.match(f"[0-9]{{1,{MAX_DIGITS}}}(?![0-9])", text)
    if match is None:
        raise Problem(400, f"{quote_text(text)} is not a frame number.")
    if int(match[0]) < 1:
        raise Problem(400, "Quicktime movies start with frame 1")
    return int(match[0])


def find_ignored(route: str, query: MultiMapping[str]) -> list[str]:
    """The unknown parameter names in a query, each once; they are ignored."""
    known = {each.name for each in declare_parameters(1).get(route, ())}
    return [name for name in dict.fromkeys(query) if name not in known]


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise a `Problem` (400) for an image with too many pixels, in total or per row."""
    if max(width, height) > MAX_SIDE:
        raise Problem(400, f"{width}x{height} is more than {MAX_SIDE} pixels in a row or column.")
    if width * height > max_pixels:
        raise Problem(400, f"{width}x{height} is more than the {max_pixels} pixels that are allowed.")


def _read(
    route: str, query: MultiMapping[str], max_pixels: int, *, others: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The values of all parameters of a route by name; `others` are used if the query has none of them."""
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
        raise Problem(400, f"Images must be {', '.join(known)}, not {quote_text(extension)}.")
    return known[extension or "png"]


def _choose_quality(asked: Mapping[str, Any], kind: Format) -> int:
    if asked["quality"] is not None and kind.quality is None:
        raise Problem(400, f"quality: .{kind.name} is lossless and has no quality.")
    return asked["quality"] or kind.quality or 0
