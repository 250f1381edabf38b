"""Where pictures and films come from: the record in every file that leaves, and how it is written.

A record names movie, file, frames and times, what was done to them and by what; nothing of it depends on when
or by which user it was made, so that equal commands make equal bytes. It is written as one line for people
and as JSON for programs, in whatever place a format has for text: `png_options`, `exif_of`, `film_metadata`
and `figure_metadata` know these places. `provenance_files` reads it back.

Source: PNG, Third Edition (W3C, 2025), sections 11.3.2.6 (`cICP`) and 11.3.3; Exif 3.0, section 4.6; ISO/IEC
23091-2 for the numbers of colours.
"""

import json
import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

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
"""Keywords of PNG, which matplotlib has too."""

_IMAGE_DESCRIPTION, _SOFTWARE, _COPYRIGHT, _EXIF_DIRECTORY = 0x010E, 0x0131, 0x8298, 0x8769
_TIME_ORIGINAL, _OFFSET_ORIGINAL, _SUBSECONDS_ORIGINAL = 0x9003, 0x9011, 0x9291
"""Tags of Exif."""

CACHED = "lazy::"
"""What addresses begin with whose bytes are kept on disk; that is no matter of where they come from."""

UNSTATED = (0, 2)
"""Numbers of colours that state none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What is known of a picture, a film or an array. What is None is not known, or does not apply."""

    movie: str
    """Base name of the movie; of several, how they are called together."""
    movies: list[str] | None = None
    """Base names, where there are several."""
    source: str | None = None
    """Path or URL of the file that was read, without secrets."""
    file_size: int | None = None
    """Its bytes."""
    etag: str | None = None
    """ETag or Last-Modified of its version."""
    frames: str | None = None
    """Indices of the frames from 0, as in `2:8` or `3,4,20`."""
    time: str | None = None
    """When the first was shown, UTC."""
    time_end: str | None = None
    """When the last was, where there are several."""
    time_source: str | None = None
    """How the movie's start is known: its clock (mvhd), its name, or not at all."""
    time_disagreement_seconds: float | None = None
    """How much later its clock is than its name."""
    time_uncertainty_seconds: float | None = None
    """By how much the times may be wrong."""
    field: int | None = None
    """Which field of the frame: 0 is shown first."""
    deinterlace: str | None = None
    """How the lines of the field shown second were made up."""
    crop: list[int] | None = None
    """Left, top, width and height, in pixels of the whole frame."""
    reduce: int | None = None
    """Lines and columns of which one was made."""
    width: int | None = None
    """Columns to which pictures were shrunk afterwards."""
    operation: str | None = None
    """What was computed of the frames, and how lines were made up."""
    pix_fmt: str | None = None
    """What the pixels were given in."""
    bit_depth: int | None = None
    """Bits of a value."""
    color_matrix: str | None = None
    """By which the colours were converted."""
    decoder: str | None = None
    """What decoded the frames."""
    software: str = f"camhd_access {__version__}"
    """What wrote the file."""
    license: str | None = None
    """Under which the data are."""
    history: str | None = None
    """The command, or the Python, that makes it again."""

    @property
    def text(self) -> str:
        """One line for people: movie, frames and time."""
        frames = self.frames or ""
        kind = "frame" if frames.isdigit() else "frames"
        what = None if not frames or self.movies else f"{kind} {frames:.80}"
        when = f"{self.time} to {self.time_end}" if self.time_end else self.time
        return ", ".join(each for each in (self.movie, self.operation, what, when) if each)

    @property
    def json(self) -> str:
        """All of it for programs, in ASCII."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps({RECORD_KEY: __version__} | known)

    @classmethod
    def parse(cls, text: str) -> "Provenance | None":
        """The record in a text, which may hold more before it; None where there is none."""
        start = text.find(f'{{"{RECORD_KEY}"')
        if start < 0:
            return None
        try:
            record, _ = json.JSONDecoder().raw_decode(text, start)
            return cls(**{name: record[name] for name in cls.__slots__ if name in record})
        except (RecursionError, TypeError, ValueError):
            return None


def describe_stack(
    reader: MovieReader,
    stack: FrameStack,
    *,
    reads: bool = False,
    **known: Any,  # noqa: ANN401 - of `Provenance`
) -> Provenance:
    """The record of some pictures of a movie.

    Parameters
    ----------
    reads
        Read the header of the first frame where none was decoded yet; otherwise the matrix is left out then.
    known
        More fields of the record, which stand before those that are found.
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
    """Number of the matrix by which the first picture's colours are converted; None where it was not read."""
    header = stack.find_header() or (reader.read_header() if reads else None)
    if header is None:
        return None
    return choose_matrix(header.matrix, reader.index.color_matrix, height=header.height)


def _span_of(reader: MovieReader, stack: FrameStack) -> tuple[str | None, str | None]:
    """When the first and the last picture were shown."""
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
    """The command that makes a file again; options without a value are left out.

    Parameters
    ----------
    command
        Of `camhd`.
    record
        Of which source, crop, reduction and pixel format are taken.
    options
        More options and their values.
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
        f"{name} {shlex.quote(str(value))}" if value != "" else name  # of a switch
        for name, value in (*options, *own)
        if value is not None
    ]
    return " ".join(["camhd", command, *given, "-o", shlex.quote(output), shlex.quote(record.source or "")])


# ---- the places for text


def image_options(suffix: str, record: Provenance, colors: tuple[int, int] | None = None) -> dict[str, Any]:
    """Options of Pillow for text in an image with this suffix; `colors` as for `png_options`."""
    return png_options(record, colors) if suffix == ".png" else {"exif": exif_of(record)}


def colors_of(stack: FrameStack) -> tuple[int, int] | None:
    """Numbers of primaries and transfer characteristics, by the first frame's header if it was decoded."""
    header = stack.find_header()
    return None if header is None else (header.primaries, header.transfer)


def png_options(record: Provenance, colors: tuple[int, int] | None = None) -> dict[str, Any]:
    """Options of Pillow for text in a PNG.

    Parameters
    ----------
    colors
        Numbers of primaries and transfer characteristics, where the frame states them.
    """
    info = PngInfo()
    if colors and not set(colors) & set(UNSTATED):
        info.add(b"cICP", bytes([*colors, 0, 1]))  # R'G'B', full range
    for name, text in figure_metadata(record).items():
        info.add_text(name, text)
    return {"pnginfo": info}


def figure_metadata(record: Provenance) -> dict[str, str]:
    """The record by keywords of PNG, as matplotlib takes it."""
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
    """The line and JSON, for formats that have one place for text, in ASCII."""
    return f"{ascii(record.text)[1:-1]}\n{record.json}"


def exif_of(record: Provenance) -> bytes:
    """The record as Exif: the line and JSON as the description, and the time with its fraction.

    Notes
    -----
    As bytes: of an `Image.Exif` Pillow writes only some directories into a TIFF.
    """
    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION] = describe_in_ascii(record)
    exif[_SOFTWARE] = record.software
    if record.license:
        exif[_COPYRIGHT] = record.license
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
    """The record by the names that libav has for MP4."""
    texts = {
        "title": record.movie,
        "description": record.text,
        "date": record.time,
        "copyright": record.license,
        "comment": record.json,
    }
    return {name: text for name, text in texts.items() if text}


def clip_metadata(record: Provenance) -> dict[str, str]:
    """The record by Apple's names for QuickTime, and its own."""
    texts = {
        "com.apple.quicktime.title": record.movie,
        "com.apple.quicktime.description": record.text,
        "com.apple.quicktime.creationdate": record.time,
        "com.apple.quicktime.software": record.software,
        "com.apple.quicktime.copyright": record.license,
        RECORD_KEY: record.json,
    }
    return {name: text for name, text in texts.items() if text}
