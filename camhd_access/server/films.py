"""Several frames in one file: sheets and animations, which are encoded, and clips, which are copied.

A sheet or an animation is made in one thread, a few frames at a time. A clip, some frames as a separate
movie, is not stored: its bytes are fetched while they are sent, some megabytes at a time, so a long one needs
no more memory than a short one, and a range of it costs only that range.
"""

import io
from collections.abc import AsyncIterator, Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from camhd_access.movie.key_frames import nearest_key_frames
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.stack import FrameStack
from camhd_access.output.clip import ClipLayout, split_runs
from camhd_access.output.film_writers import choose_rate, choose_size, find_film_writer, resize
from camhd_access.ranges import ByteRange, plan_spans
from camhd_access.server.made_files import MadeFile
from camhd_access.server.movies import Movie
from camhd_access.server.parameters import FILM_TYPES, FilmParameters, SheetParameters
from camhd_access.server.provenance import describe_film, describe_sheet
from camhd_access.server.reductions import choose_film_reduction
from camhd_access.stopping import check_stopped

__all__ = [
    "CLIP_TYPE",
    "PIECE_BYTES",
    "choose_picture_size",
    "choose_sheet_size",
    "iter_clip",
    "make_film",
    "make_sheet",
]

N_FRAMES_AT_ONCE = 8
"""Frames in memory: 50 MB of 1080p."""
CLIP_TYPE = "video/quicktime"
PIECE_BYTES = 4 << 20
"""Bytes of a clip in memory per client."""
MAX_GAP_BYTES = 64 << 10
"""Sound between two frames that is read rather than skipped with another request."""


def choose_picture_size(reader: MovieReader, wanted: FilmParameters | SheetParameters) -> tuple[int, int]:
    """Width and height of a film's pictures, or of a sheet's thumbnails."""
    return choose_size(reader.index.width, reader.index.height, wanted.width)


def choose_sheet_size(reader: MovieReader, wanted: SheetParameters, n_thumbnails: int) -> tuple[int, int]:
    """Width and height of the sheet."""
    width, height = choose_picture_size(reader, wanted)
    columns = min(wanted.columns, n_thumbnails)
    return columns * width, -(-n_thumbnails // columns) * height


def make_sheet(reader: MovieReader, wanted: SheetParameters, n_thumbnails: int) -> MadeFile:
    """The sheet of thumbnails at regular intervals, each with its time from the start of the movie.

    Of key frames there may be fewer.
    """
    seconds = np.arange(n_thumbnails) * wanted.every
    elapsed = reader.elapsed() / np.timedelta64(1, "s")
    frames = np.minimum(np.searchsorted(elapsed, seconds), reader.n_frames - 1)
    if wanted.keyframes:
        keys = nearest_key_frames(reader.stack(slice(None)), frames, reader.elapsed())
        if not np.array_equal(keys, frames):
            frames = np.unique(keys)
            seconds = elapsed[frames]
    width, height = choose_picture_size(reader, wanted)
    sheet = Image.new("RGB", choose_sheet_size(reader, wanted, len(frames)))
    draw = ImageDraw.Draw(sheet, "RGBA")
    font = ImageFont.load_default(max(9, height // 9))
    stack = _select_frames(reader, frames.tolist(), wanted)
    for i, thumbnail in enumerate(_iter_images(stack, (width, height))):
        x, y = i % wanted.columns * width, i // wanted.columns * height
        sheet.paste(thumbnail, (x, y))
        minutes, rest = divmod(float(seconds[i]), 60)
        text, corner = f"{minutes:.0f}:{rest:04.1f}", (x + 3, y + 2)
        draw.rectangle(draw.textbbox(corner, text, font=font), fill=(0, 0, 0, 130))
        draw.text(corner, text, font=font, fill=(255, 255, 255, 255))
    record = describe_sheet(reader, stack, wanted)
    body = wanted.format.encode(sheet, wanted.quality, record)
    return MadeFile(body, wanted.format.content_type, sheet.size)


def make_film(reader: MovieReader, wanted: FilmParameters, frames: range) -> MadeFile:
    """The film of these frames."""
    apart_seconds = frames.step * reader.duration / reader.n_frames
    size = choose_picture_size(reader, wanted)
    rate = choose_rate(wanted.fps, own_fps=1 / apart_seconds if apart_seconds else None)
    stack = _select_frames(reader, frames, wanted)
    record = describe_film(reader, stack, wanted, size)
    file = io.BytesIO()
    find_film_writer(f".{wanted.format}")(file, _iter_images(stack, size), rate, size, record)
    return MadeFile(file.getvalue(), FILM_TYPES[wanted.format], size)


async def iter_clip(movie: Movie, layout: ClipLayout, part: ByteRange) -> AsyncIterator[bytes]:
    """The bytes of a part of a clip, in order.

    Raises
    ------
    RemoteFileError
        The movie's bytes could not be read.
    Problem
        503: too many requests to the mirror.
    """
    for start in range(part.start, part.stop, PIECE_BYTES):
        head, ranges = layout.pieces(start, min(start + PIECE_BYTES, part.stop))
        if head:
            yield head
        for run in split_runs(ranges):
            for span in plan_spans(run, max_gap_bytes=MAX_GAP_BYTES, max_span_bytes=2 * PIECE_BYTES):
                data = await movie.read(ByteRange(span.start, span.stop))
                for position in span.members:
                    yield data[run[position].start - span.start : run[position].stop - span.start]


def _select_frames(
    reader: MovieReader, frames: Sequence[int], wanted: FilmParameters | SheetParameters
) -> FrameStack:
    """The frames of a film or sheet, reduced as far as its size allows, not read yet."""
    reduce = choose_film_reduction(reader, wanted.width)
    return reader.stack(frames, deinterlace=wanted.deinterlace, reduce=reduce)


def _iter_images(stack: FrameStack, size: tuple[int, int]) -> Iterator[Image.Image]:
    """The frames, scaled to this size."""
    for i in range(0, len(stack.frames), N_FRAMES_AT_ONCE):
        check_stopped()
        for pixels in stack.select(slice(i, i + N_FRAMES_AT_ONCE)).read(parallel=False):
            check_stopped()
            yield resize(Image.fromarray(pixels), size)
