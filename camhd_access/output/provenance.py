"""Provenance: the record in every file that this package writes, and how it is stored.

A record contains the movie, the file, frames and times, the processing steps and the software. It contains
neither the time of writing nor the user, so the same command always writes the same bytes. It is stored as
one line of text for people and as JSON for programs, in the text fields of each format: see `png_options`,
`exif_of`, `film_metadata` and `figure_metadata`. `provenance_files` reads it.

The UUID of an image, computed from its record, is in the Exif tag ImageUniqueID, as iFDO requires.

Source: PNG, Third Edition (W3C, 2025), sections 11.3.2.6 (`cICP`) and 11.3.3; Exif 3.0, section 4.6; ISO/IEC
23091-2 for the codes of colour primaries and transfer characteristics.
"""

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any
from uuid import UUID

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from camhd_access._version import __version__
from camhd_access.decoding.pixels import MATRIX_NAMES, choose_matrix
from camhd_access.movie.origin import LICENSE, RECORD_KEY, format_frames
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.stack import FrameStack

__all__ = [
    "CACHED",
    "Provenance",
    "clip_metadata",
    "colors_of",
    "describe_in_ascii",
    "describe_stack",
    "exif_of",
    "figure_metadata",
    "film_metadata",
    "format_time",
    "image_options",
    "make_uuid",
    "png_options",
    "write_command",
]

TITLE, DESCRIPTION, SOFTWARE, COPYRIGHT, CREATED, SOURCE = (
    "Title",
    "Description",
    "Software",
    "Copyright",
    "Creation Time",
    "Source",
)
"""Keywords of PNG text chunks, also used by matplotlib."""

_IMAGE_DESCRIPTION, _SOFTWARE, _COPYRIGHT, _EXIF_DIRECTORY = 0x010E, 0x0131, 0x8298, 0x8769
_TIME_ORIGINAL, _OFFSET_ORIGINAL, _SUBSECONDS_ORIGINAL, _UNIQUE_ID = 0x9003, 0x9011, 0x9291, 0xA420
"""Exif tags."""

CACHED = "lazy::"
"""Prefix of URLs that are read through the disk cache; not part of the provenance."""

UNSTATED = (0, 2)
"""Codes of primaries and transfer characteristics that mean "unspecified"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Provenance of an image, a film or an array. None means unknown or not applicable."""

    movie: str
    """Base name of the movie, or a description of several movies."""
    movies: list[str] | None = None
    """Base names, if there are several movies."""
    source: str | None = None
    """Path or URL of the movie file, without secrets."""
    file_size: int | None = None
    """Size of the movie file in bytes."""
    etag: str | None = None
    """ETag or Last-Modified of the movie file."""
    frames: str | None = None
    """Frame indices from 0, such as `2:8` or `3,4,20`."""
    time: str | None = None
    """Presentation time of the first frame, UTC."""
    time_end: str | None = None
    """Presentation time of the last frame, UTC; None for a single frame."""
    time_source: str | None = None
    """Source of the start time of the movie: "mvhd", "name" or "unknown"."""
    time_disagreement_seconds: float | None = None
    """Start time by the clock of the movie minus the time in its name."""
    time_uncertainty_seconds: float | None = None
    """Uncertainty of the times."""
    field: int | None = None
    """Field of the frame: 0 is shown first."""
    deinterlace: str | None = None
    """Method of deinterlacing: "linear"."""
    crop: list[int] | None = None
    """Left, top, width and height of the crop, in pixels of the whole frame."""
    reduce: int | None = None
    """Reduction factor: 1, 2, 4 or 8."""
    width: int | None = None
    """Width in pixels to which the images were scaled down."""
    operation: str | None = None
    """Computation on the frames, including deinterlacing."""
    pix_fmt: str | None = None
    """Pixel format."""
    bit_depth: int | None = None
    """Bits per value."""
    color_matrix: str | None = None
    """Matrix of the conversion to RGB."""
    decoder: str | None = None
    """Decoder of the frames."""
    software: str = f"camhd_access {__version__}"
    """Software that wrote the file."""
    license: str | None = None
    """Licence of the data."""
    history: str | None = None
    """Command or Python code that reproduces the file."""

    @property
    def text(self) -> str:
        """The record as one line of text: movie, operation, frames and times."""
        frames = self.frames or ""
        kind = "frame" if frames.isdigit() else "frames"
        what = None if not frames or self.movies else f"{kind} {frames:.80}"
        when = f"{self.time} to {self.time_end}" if self.time_end else self.time
        return ", ".join(each for each in (self.movie, self.operation, what, when) if each)

    @property
    def json(self) -> str:
        """The complete record as JSON, in ASCII."""
        known = {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}
        return json.dumps({RECORD_KEY: __version__} | known)

    @property
    def uuid(self) -> str:
        """An identifier of the file, computed from the record."""
        return make_uuid(self.json)

    @classmethod
    def parse(cls, text: str) -> "Provenance | None":
        """The record in a text, which may begin with other text; None if there is no record."""
        start = text.find(f'{{"{RECORD_KEY}"')
        if start < 0:
            return None
        try:
            record, _ = json.JSONDecoder().raw_decode(text, start)
            return cls(**{name: record[name] for name in cls.__slots__ if name in record})
        except (RecursionError, TypeError, ValueError):
            return None


def make_uuid(*parts: str) -> str:
    """A UUID in the format of version 4, as iFDO requires, computed from what it identifies."""
    return str(UUID(bytes=sha256("\n".join(parts).encode()).digest()[:16], version=4))


def describe_stack(
    reader: MovieReader,
    stack: FrameStack,
    *,
    reads: bool = False,
    **known: Any,  # noqa: ANN401 - fields of `Provenance`
) -> Provenance:
    """The record of the frames in a stack.

    Parameters
    ----------
    reads
        If no frame has been decoded yet, read the header of the first one. Otherwise the matrix is omitted.
    known
        More fields of the record, which take precedence.
    """
    decoder, start, origin = stack.decoder, reader.start, reader.origin
    frames, (y, x) = reader.original_frames(stack.frames), stack.window
    time, time_end = _span_of(reader, stack)
    is_whole = (y, x) == tuple(slice(0, length) for length in decoder.size)
    lines, columns = decoder.reduction * decoder.n_per_frame, decoder.reduction
    matrix = find_matrix(reader, stack, reads=reads) if decoder.pixel_format.is_color else None
    record = Provenance(
        movie=reader.movie_name,
        source=(origin.source if origin else reader.name).removeprefix(CACHED),
        file_size=origin.file_size if origin else reader.file_size,
        etag=(origin.etag if origin else reader.source.etag) or None,
        frames=format_frames(frames[stack.field == stack.field[:1]]),
        time=time,
        time_end=time_end,
        time_source=start.source,
        time_disagreement_seconds=start.disagreement_seconds,
        time_uncertainty_seconds=start.uncertainty_seconds,
        field=int(stack.field[0]) if decoder.fields and len(set(stack.field.tolist())) == 1 else None,
        deinterlace="linear" if decoder.deinterlaces else None,
        crop=None
        if is_whole
        else [x.start * columns, y.start * lines, (x.stop - x.start) * columns, (y.stop - y.start) * lines],
        reduce=decoder.reduction,
        pix_fmt=decoder.pixel_format.name,
        bit_depth=decoder.pixel_format.bit_depth,
        color_matrix=None if matrix is None else MATRIX_NAMES[matrix],
        decoder=decoder.name,
        license=LICENSE,
    )
    return replace(record, **known)


def find_matrix(reader: MovieReader, stack: FrameStack, *, reads: bool = False) -> int | None:
    """Code of the colour matrix of the first frame; None if its header was not read."""
    found = stack.find_matrix()
    if found is not None or not reads:
        return found
    header = reader.read_header()
    return choose_matrix(header.matrix, reader.index.color_matrix, height=header.height)


def _span_of(reader: MovieReader, stack: FrameStack) -> tuple[str | None, str | None]:
    """Presentation times of the first and the last frame."""
    start, index = reader.start.time, reader.index
    if start is None or not len(stack.frames):
        return None, None
    first, last = (
        format_time(start + index.elapsed(int(stack.frames[i]), int(stack.field[i]))) for i in (0, -1)
    )
    return first, last if len(stack.frames) > 1 else None


def format_time(time: np.datetime64) -> str:
    """A time in ISO 8601, UTC, to the microsecond."""
    return f"{np.datetime_as_string(time, 'us')}Z"


def write_command(
    command: str, record: Provenance, options: Iterable[tuple[str, object]], output: str
) -> str:
    """The command that reproduces a file.

    Parameters
    ----------
    command
        Subcommand of `camhd`.
    record
        Gives the source, crop, reduction and pixel format.
    options
        More options and their values; those whose value is None are omitted.
    output
        Name of the file.
    """
    crop = ",".join(map(str, record.crop)) if record.crop else None
    own = [
        ("--deinterlace", "" if record.deinterlace else None),
        ("--crop", crop),
        ("--reduce", record.reduce if record.reduce not in (None, 1) else None),
        ("--pix-fmt", record.pix_fmt if record.pix_fmt not in (None, "rgb24") else None),
    ]
    given = [
        f"{name} {shlex.quote(str(value))}" if value != "" else name  # a switch
        for name, value in (*options, *own)
        if value is not None
    ]
    return " ".join(["camhd", command, *given, "-o", shlex.quote(output), shlex.quote(record.source or "")])


# ---- text fields of the formats


def image_options(suffix: str, record: Provenance, colors: tuple[int, int] | None = None) -> dict[str, Any]:
    """Options of Pillow that store the record in an image with this suffix; `colors` as in `png_options`."""
    return png_options(record, colors) if suffix == ".png" else {"exif": exif_of(record)}


def colors_of(stack: FrameStack) -> tuple[int, int] | None:
    """Codes of primaries and transfer characteristics of the first frame; None if it was not decoded."""
    header = stack.find_header()
    return None if header is None else (header.primaries, header.transfer)


def png_options(record: Provenance, colors: tuple[int, int] | None = None) -> dict[str, Any]:
    """Options of Pillow that store the record in a PNG.

    Parameters
    ----------
    colors
        Codes of primaries and transfer characteristics, if the frame states them.
    """
    info = PngInfo()
    if colors and not set(colors) & set(UNSTATED):
        info.add(b"cICP", bytes([*colors, 0, 1]))  # R'G'B', full range
    for name, text in figure_metadata(record).items():
        info.add_text(name, text)
    exif = Image.Exif()
    exif.get_ifd(_EXIF_DIRECTORY)[_UNIQUE_ID] = record.uuid
    return {"pnginfo": info, "exif": exif.tobytes()}


def figure_metadata(record: Provenance) -> dict[str, str]:
    """The record by PNG keywords, as `savefig` of matplotlib accepts it."""
    texts = {
        TITLE: record.movie,
        DESCRIPTION: record.text,
        SOURCE: record.source,
        CREATED: record.time,
        SOFTWARE: record.software,
        COPYRIGHT: record.license,
        RECORD_KEY: record.json,
    }
    return {name: text for name, text in texts.items() if text}


def describe_in_ascii(record: Provenance) -> str:
    """Text and JSON in one ASCII string, for formats with a single text field."""
    return f"{ascii(record.text)[1:-1]}\n{record.json}"


def exif_of(record: Provenance) -> bytes:
    """The record as Exif: text and JSON as the description, the time with its fraction, and the UUID.

    Notes
    -----
    Returns bytes, because Pillow writes only some directories of an `Image.Exif` into a TIFF.
    """
    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION] = describe_in_ascii(record)
    exif[_SOFTWARE] = record.software
    if record.license:
        exif[_COPYRIGHT] = record.license
    exif.get_ifd(_EXIF_DIRECTORY)[_UNIQUE_ID] = record.uuid
    if record.time:
        date, _, clock = record.time.rstrip("Z").partition("T")
        clock, _, fraction = clock.partition(".")
        exif.get_ifd(_EXIF_DIRECTORY).update(
            {
                _TIME_ORIGINAL: f"{date.replace('-', ':')} {clock}",
                _OFFSET_ORIGINAL: "+00:00",
                _SUBSECONDS_ORIGINAL: fraction or "0",
            }
        )
    return exif.tobytes()


def film_metadata(record: Provenance) -> dict[str, str]:
    """The record by libav's metadata keys for MP4."""
    texts = {
        "title": record.movie,
        "description": record.text,
        "date": record.time,
        "copyright": record.license,
        "comment": record.json,
    }
    return {name: text for name, text in texts.items() if text}


def clip_metadata(record: Provenance) -> dict[str, str]:
    """The record by Apple's metadata keys for QuickTime, and the complete record by `RECORD_KEY`."""
    texts = {
        "com.apple.quicktime.title": record.movie,
        "com.apple.quicktime.description": record.text,
        "com.apple.quicktime.creationdate": record.time,
        "com.apple.quicktime.software": record.software,
        "com.apple.quicktime.copyright": record.license,
        RECORD_KEY: record.json,
    }
    return {name: text for name, text in texts.items() if text}
