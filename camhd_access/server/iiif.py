"""IIIF Image API 3.0: the part of a frame that a path requests, and the description of a frame.

Input: the four parts of a path after the identifier (region, size, rotation, quality and format), and the
width and height of the frame. Output: an `ImageRequest` in pixels, or a `Problem` (400). A request knows its
canonical path, so that all spellings of the same image share one file, and the cheapest reduction of the
decoder (1/2, 1/4 or 1/8) from which the image can be made; the scale factors of the tiles are the same.

Source: IIIF Image API 3.0 (https://iiif.io/api/image/3.0/), sections 4, 5 and 6, and its compliance levels.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from typing import Any

from camhd_access.server.declarations import MAX_DIGITS, MAX_SIDE, Choice, Parameter, Pattern
from camhd_access.server.encoding import FORMATS, SMALL_PNG, Format
from camhd_access.server.parameters import check_pixels
from camhd_access.server.problems import Problem

__all__ = [
    "COMPLIANCE",
    "IIIF_PARAMETERS",
    "IMAGE_CONTEXT",
    "IMAGE_FORMATS",
    "ImageRequest",
    "Size",
    "describe_image",
    "parse_image",
]

IMAGE_CONTEXT = "http://iiif.io/api/image/3/context.json"
COMPLIANCE = "http://iiif.io/api/image/3/level2.json"
"""The level, as the target of a link."""

TILE_SIDE = 512
"""Width and height of a tile."""
REDUCTIONS = (8, 4, 2, 1)
"""Reductions of the decoder, which are the scale factors of tiles and sizes."""
QUALITIES = ("default", "color", "gray", "bitonal")
IMAGE_FORMATS = {name: FORMATS[name] for name in ("jpg", "png", "webp")}

Size = tuple[int, int]
"""Width and height in pixels."""

_NUMBER = f"[0-9]{{1,{MAX_DIGITS}}}"
_DECIMAL = rf"({_NUMBER}(\.{_NUMBER})?|\.{_NUMBER})"

_REGION = Pattern(
    "region",
    "Part of the frame: full, square, x,y,w,h in pixels, or pct:x,y,w,h.",
    rf"full|square|{_NUMBER}(,{_NUMBER}){{3}}|pct:{_DECIMAL}(,{_DECIMAL}){{3}}",
)
_SIZE = Pattern(
    "size",
    "Size of the image: max, w,h or w, or ,h or !w,h (within w,h), or pct:n; ^ in front allows enlarging.",
    rf"\^?(max|{_NUMBER},|,{_NUMBER}|!?{_NUMBER},{_NUMBER}|pct:{_DECIMAL})",
)
_ROTATION = Pattern(
    "rotation",
    "Degrees clockwise: 0, 90, 180 or 270; ! in front mirrors.",
    r"!?(0|90|180|270|360)(\.0{1,9})?",
)
_QUALITY = Choice("quality", "Colours, shades of grey, or black and white.", QUALITIES)
_FORMAT = Choice("format", "Format of the image.", tuple(IMAGE_FORMATS))

IIIF_PARAMETERS: tuple[Parameter, ...] = (_REGION, _SIZE, _ROTATION, _QUALITY, _FORMAT)
"""The placeholders in the paths of images."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A part of a frame, in the requested size, orientation, colours and format."""

    frame_size: Size
    """Width and height of the frame."""
    reductions: tuple[int, ...]
    """Reductions that the decoder offers for this movie."""
    region: tuple[int, int, int, int]
    """Left, top, width and height of the part, in pixels of the frame."""
    size: Size
    """Width and height to which it is scaled, before it is rotated."""
    is_mirrored: bool
    """Whether left and right are exchanged, before it is rotated."""
    rotation: int
    """Degrees clockwise: 0, 90, 180 or 270."""
    quality: str
    """"default" (colours), "gray" or "bitonal"."""
    format: Format
    """File format."""
    canonical: str
    """The canonical path of the image, after the identifier."""

    @property
    def reduction(self) -> int:
        """The largest reduction whose pixels cover the region and are at least as many as requested."""
        left, top, width, height = self.region
        for step in sorted(self.reductions, reverse=True):
            reaches = (length // step * step for length in self.frame_size)
            is_covered = all(
                end <= reach for end, reach in zip((left + width, top + height), reaches, strict=True)
            )
            if is_covered and self.size[0] * step <= width and self.size[1] * step <= height:
                return step
        return 1

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns that contain the region, in pixels of the reduced frame."""
        left, top, width, height = self.region
        rows, columns = (
            slice(start // self.reduction, -(-(start + length) // self.reduction))
            for start, length in ((top, height), (left, width))
        )
        return rows, columns

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the region within the window, in pixels of the reduced frame."""
        left, top, width, height = self.region
        rows, columns = self.window
        return (
            left / self.reduction - columns.start,
            top / self.reduction - rows.start,
            (left + width) / self.reduction - columns.start,
            (top + height) / self.reduction - rows.start,
        )


def parse_image(
    parts: list[str],
    frame_size: Size,
    *,
    max_pixels: int,
    is_public: bool,
    reductions: tuple[int, ...] = REDUCTIONS,
) -> ImageRequest:
    """Parse the four parts of a path that follow the identifier.

    Parameters
    ----------
    parts
        Region, size, rotation, and quality with format.
    is_public
        Make PNG files smaller, which takes longer.

    Raises
    ------
    Problem
        400: one of them is invalid, or its result is empty or too large.
    """
    region = _find_region(_REGION.parse(parts[0]), frame_size)
    size, size_text = _find_size(_SIZE.parse(parts[1]), region[2:], max_pixels)
    turn = _ROTATION.parse(parts[2])
    quality, _, extension = parts[3].partition(".")
    _QUALITY.parse(quality)
    _FORMAT.parse(extension)
    tone = "default" if quality == "color" else quality
    rotation = int(Fraction(turn.removeprefix("!"))) % 360
    is_mirrored = turn.startswith("!")
    region_text = "full" if region == (0, 0, *frame_size) else ",".join(map(str, region))
    return ImageRequest(
        frame_size,
        reductions,
        region,
        size,
        is_mirrored,
        rotation,
        tone,
        SMALL_PNG if extension == "png" and is_public else IMAGE_FORMATS[extension],
        f"{region_text}/{size_text}/{'!' * is_mirrored}{rotation}/{tone}.{extension}",
    )


def _find_region(text: str, frame_size: Size) -> tuple[int, int, int, int]:
    """Left, top, width and height of the region, cut off at the edges of the frame."""
    width, height = frame_size
    if text == "full":
        return 0, 0, width, height
    if text == "square":
        side = min(frame_size)
        return (width - side) // 2, (height - side) // 2, side, side
    if text.startswith("pct:"):
        shares = map(Fraction, text.removeprefix("pct:").split(","))
        x, y, w, h = (
            _round(share * length / 100) for share, length in zip(shares, frame_size * 2, strict=True)
        )
    else:
        x, y, w, h = map(int, text.split(","))
    if not (w and h and x < width and y < height):
        raise Problem(400, f"region: it must contain some of the {width}x{height} pixels of the frame.")
    return x, y, min(w, width - x), min(h, height - y)


def _find_size(text: str, region: Size, max_pixels: int) -> tuple[Size, str]:
    """Width and height of the image of a region, and their canonical text."""
    may_enlarge, wanted = text.startswith("^"), text.removeprefix("^")
    largest = _fit(region, max_pixels)
    most = region if _is_allowed(region, max_pixels) else largest
    if wanted == "max":
        size = largest if may_enlarge else most
    elif wanted.startswith("!"):
        box = wanted.removeprefix("!").split(",")
        factor = min(Fraction(int(side), length) for side, length in zip(box, region, strict=True))
        size = _scale(region, factor if may_enlarge else min(factor, Fraction(1)))
        size = size if _is_allowed(size, max_pixels) else largest
    else:
        size = _find_exact_size(wanted, region)
    width, height = size
    if min(size) < 1:
        raise Problem(400, "size: an image must have at least one pixel.")
    is_enlarged = width > region[0] or height > region[1]
    if is_enlarged and not may_enlarge:
        raise Problem(
            400, f"size: the region has {region[0]}x{region[1]} pixels; ^ in front allows enlarging."
        )
    check_pixels(width, height, max_pixels)
    if size == most:
        return size, "max"
    return size, "^" * is_enlarged + ("max" if is_enlarged and size == largest else f"{width},{height}")


def _find_exact_size(wanted: str, region: Size) -> Size:
    """Width and height for `pct:n`, `w,`, `,h` or `w,h`."""
    if wanted.startswith("pct:"):
        return _scale(region, Fraction(wanted.removeprefix("pct:")) / 100)
    width, height = wanted.split(",")
    if not height:
        return int(width), _round(Fraction(region[1] * int(width), region[0]))
    if not width:
        return _round(Fraction(region[0] * int(height), region[1])), int(height)
    return int(width), int(height)


def _is_allowed(size: Size, max_pixels: int) -> bool:
    return max(size) <= MAX_SIDE and size[0] * size[1] <= max_pixels


def _fit(region: Size, max_pixels: int) -> Size:
    """The largest size of a region within the limits, enlarged if they allow it."""
    width, height = region
    factor = min(MAX_SIDE / max(region), sqrt(max_pixels / (width * height)))
    fitted = max(1, int(width * factor))
    return fitted, max(1, min(int(height * factor), max_pixels // fitted))


def _scale(region: Size, factor: Fraction) -> Size:
    return _round(region[0] * factor), _round(region[1] * factor)


def _round(value: Fraction) -> int:
    """The nearest whole number; halves up."""
    return int(value + Fraction(1, 2))


def describe_image(url: str, frame_size: Size, max_pixels: int) -> dict[str, Any]:
    """The description (`info.json`) of the image at `url`, without links to other resources."""
    width, height = frame_size
    return {
        "@context": IMAGE_CONTEXT,
        "id": url,
        "type": "ImageService3",
        "protocol": "http://iiif.io/api/image",
        "profile": "level2",
        "width": width,
        "height": height,
        "maxWidth": min(MAX_SIDE, max_pixels),
        "maxHeight": min(MAX_SIDE, max_pixels),
        "maxArea": max_pixels,
        "sizes": [
            {"width": width // step, "height": height // step}
            for step in REDUCTIONS
            if min(width, height) >= step and width * height <= max_pixels * step**2
        ],
        "tiles": [{"width": TILE_SIDE, "height": TILE_SIDE, "scaleFactors": sorted(REDUCTIONS)}],
        "extraQualities": [quality for quality in QUALITIES if quality != "default"],
        "extraFormats": ["webp"],
        "extraFeatures": ["canonicalLinkHeader", "mirroring", "profileLinkHeader", "sizeUpscaling"],
    }
