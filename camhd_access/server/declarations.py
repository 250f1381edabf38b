"""The parameters of the API, each declared once: name, meaning, bounds and default.

Requests are parsed with these declarations (`parameters`), and the OpenAPI document is generated from them
(`routes`), so the two cannot disagree.
"""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import Any

from camhd_access.server.encoding import FORMATS
from camhd_access.server.problems import Problem

__all__ = [
    "MAX_DIGITS",
    "MAX_SIDE",
    "PATH_PARAMETERS",
    "SEGMENT_NUMBER",
    "Choice",
    "Decimal",
    "Numbers",
    "Parameter",
    "Pattern",
    "Whole",
    "declare_parameters",
    "quote_text",
]

MAX_DIGITS = 9
MAX_NUMBER = 10**MAX_DIGITS - 1
MAX_SIDE = 16383
"""Limit of WebP."""
MIN_THUMBNAIL, MAX_THUMBNAIL = 16, 1920
"""Width of a thumbnail, or of an animation."""


@dataclass(frozen=True, slots=True)
class Parameter(ABC):
    """One parameter of a query, or of a path."""

    name: str
    """Its name."""
    text: str
    """Its meaning."""

    @property
    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """Its values as a JSON Schema."""

    @abstractmethod
    def parse(self, text: str) -> Any:  # noqa: ANN401 - a value of its kind
        """Its value; raises a `Problem` (400) for invalid text."""


@dataclass(frozen=True, slots=True)
class Whole(Parameter):
    """A whole number."""

    minimum: int
    """Its smallest value."""
    maximum: int
    """Its largest value."""
    default: int | None = None
    """Default value; None if that depends on other parameters."""

    @property
    def schema(self) -> dict[str, Any]:
        """Its values as a JSON Schema."""
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum} | _tell(self.default)

    def parse(self, text: str) -> int:
        """The number, from digits only."""
        if (
            not re.fullmatch(f"[0-9]{{1,{MAX_DIGITS}}}", text)
            or not self.minimum <= int(text) <= self.maximum
        ):
            bounds = f"from {self.minimum} to {self.maximum}"
            raise Problem(400, f"{self.name} must be a whole number {bounds}, not {quote_text(text)}.")
        return int(text)


@dataclass(frozen=True, slots=True)
class Decimal(Parameter):
    """A number, with or without decimals."""

    minimum: float
    """Its smallest value."""
    maximum: float
    """Its largest value."""
    default: float | None = None
    """Default value; None if that depends on other parameters."""

    @property
    def schema(self) -> dict[str, Any]:
        """Its values as a JSON Schema."""
        return {"type": "number", "minimum": self.minimum, "maximum": self.maximum} | _tell(self.default)

    def parse(self, text: str) -> float:
        """The number, in digits with at most one point."""
        is_number = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text)
        if not is_number or not self.minimum <= float(text) <= self.maximum:
            bounds = f"from {self.minimum} to {self.maximum}"
            raise Problem(400, f"{self.name} must be a number {bounds}, not {quote_text(text)}.")
        return float(text)


@dataclass(frozen=True, slots=True)
class Choice(Parameter):
    """One of a few values."""

    choices: tuple[int | str, ...]
    """All of them."""
    default: int | str | None = None
    """Default value; None if that depends on other parameters."""

    @property
    def schema(self) -> dict[str, Any]:
        """Its values as a JSON Schema."""
        return {"enum": list(self.choices)} | _tell(self.default)

    def parse(self, text: str) -> int | str:
        """The choice with this spelling."""
        for choice in self.choices:
            if text == str(choice):
                return choice
        raise Problem(
            400, f"{self.name} must be one of {', '.join(map(str, self.choices))}, not {quote_text(text)}."
        )


@dataclass(frozen=True, slots=True)
class Numbers(Parameter):
    """Several whole numbers, separated."""

    separator: str
    """Their separator."""
    names: tuple[str, ...]
    """Name of each number."""
    max_digits: int
    """Largest number of digits of each."""
    default: None = None
    """Default value."""

    @property
    def schema(self) -> dict[str, Any]:
        """Its values as a JSON Schema."""
        return {"type": "string", "pattern": f"^{self._pattern}$"}

    @property
    def _pattern(self) -> str:
        return self.separator.join([f"[0-9]{{1,{self.max_digits}}}"] * len(self.names))

    def parse(self, text: str) -> tuple[int, ...]:
        """The numbers."""
        if not re.fullmatch(self._pattern, text):
            raise Problem(
                400, f"{self.name} must be {self.separator.join(self.names)}, not {quote_text(text)}."
            )
        return tuple(map(int, text.split(self.separator)))


@dataclass(frozen=True, slots=True)
class Pattern(Parameter):
    """Text of a certain form."""

    pattern: str
    """A regular expression for the whole text."""

    @property
    def schema(self) -> dict[str, Any]:
        """Its values as a JSON Schema."""
        return {"type": "string", "pattern": f"^({self.pattern})$"}

    def parse(self, text: str) -> str:
        """The text."""
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise Problem(400, f"{self.name}: {quote_text(text)} is invalid. {self.text}")
        return text


_STEP = Whole("step", "Difference between frame numbers.", 1, MAX_NUMBER, 1)
_DEINTERLACE = Choice(
    "deinterlace",
    "Keep only the first field of each frame, without combing; every other line is interpolated.",
    ("linear",),
)
_QUALITY = Whole("quality", "Quality of JPEG and WebP.", 1, 100)


@cache
def declare_parameters(max_pixels: int) -> dict[str, tuple[Whole | Decimal | Choice | Numbers, ...]]:
    """The query parameters of each route, by route name; no image may have more than `max_pixels`."""
    most = min(MAX_SIDE, max_pixels)
    thumbnail = max(MIN_THUMBNAIL, min(MAX_THUMBNAIL, max_pixels // MIN_THUMBNAIL))

    def film_width(usual: int) -> Whole:
        text = "Width; the height keeps the aspect ratio."
        return Whole("width", text, MIN_THUMBNAIL, thumbnail, min(usual, thumbnail))

    played = (_STEP, film_width(960), _DEINTERLACE)
    return {
        "frame": (
            Whole("width", "Width of the image; alone, it keeps the aspect ratio.", 1, most),
            Whole("height", "Height of the image; alone, it keeps the aspect ratio.", 1, most),
            Numbers(
                "crop",
                "x,y,width,height: part of the image, in its pixels before resizing.",
                ",",
                ("x", "y", "width", "height"),
                5,
            ),
            Choice(
                "reduce",
                "Factor by which width and height are reduced while decoding; crop counts reduced pixels. "
                "Without it, the largest factor that suffices for width and height.",
                (1, 2, 4, 8),
            ),
            Choice("field", "One field of an interlaced frame; 0 is shown first.", (0, 1)),
            _DEINTERLACE,
            Choice(
                "pix_fmt",
                "Pixel format of .npy and .tif; .tif supports rgb48le and gray16le.",
                FORMATS["npy"].pix_fmts,
            ),
            _QUALITY,
        ),
        "clip": (_STEP,),
        "iiif_manifest": (Decimal("every", "Seconds between frames.", 0.01, 86400.0, 30.0),),
        "iiif_folder_manifest": (
            Decimal("every", "Seconds between frames of each movie.", 0.01, 86400.0, 300.0),
        ),
        "sheet": (
            Decimal("every", "Seconds between thumbnails.", 0.01, 86400.0, 30.0),
            Whole("columns", "Thumbnails per row.", 1, 40, 6),
            Whole("width", "Width of a thumbnail.", MIN_THUMBNAIL, thumbnail, min(240, thumbnail)),
            Choice(
                "keyframes",
                "1: the nearest key frames, each once, with their own times. Of H.264 and HEVC, each "
                "costs one sample instead of part of a group.",
                (0, 1),
                0,
            ),
            _DEINTERLACE,
            _QUALITY,
        ),
        "animation": (
            Whole("start", "Number of the first frame.", 1, MAX_NUMBER, 1),
            Whole("stop", "Number of the last frame.", 1, MAX_NUMBER),
            _STEP,
            film_width(480),
            Decimal("fps", "Frames per second.", 1.0, 60.0),
            _DEINTERLACE,
        ),
        "hls": played,
        "hls_segment": (
            *played,
            Decimal(
                "since",
                "Seconds from the start of the movie: frames shown before may be left out.",
                0.0,
                float(MAX_NUMBER),
                0.0,
            ),
        ),
    }


def _tell(default: object) -> dict[str, Any]:
    return {} if default is None else {"default": default}


SEGMENT_NUMBER = Whole("segment", "Number of the segment, from 1.", 1, MAX_NUMBER)
PATH_PARAMETERS = (
    Whole("number", "Number of the frame, from 1.", 1, MAX_NUMBER),
    Numbers("numbers", "Numbers of the first and the last frame, from 1.", "-", ("A", "B"), MAX_DIGITS),
    SEGMENT_NUMBER,
)
"""The placeholders in a route's path."""


def quote_text(text: str) -> str:
    """Text sent by a client, shortened, for messages to it."""
    return ascii(text[:40])
