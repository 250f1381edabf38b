"""Sheets and animations: many frames of a movie in one file, made in one thread, a few frames at a time."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from camhd_access.movie.reader import MovieReader
from camhd_access.output.films import choose_rate, choose_size, find_film_writer, resize
from camhd_access.server.made_files import Rendering
from camhd_access.server.parameters import FILM_TYPES, FilmRendition, SheetRendition

__all__ = ["choose_sheet_size", "make_film", "make_sheet"]

N_FRAMES_AT_ONCE = 8
"""Frames in memory: 50 MB of 1080p."""


def choose_sheet_size(reader: MovieReader, wanted: SheetRendition, n_thumbnails: int) -> tuple[int, int]:
    """Width and height of the sheet."""
    width, height = _thumbnail_size(reader, wanted)
    columns = min(wanted.columns, n_thumbnails)
    return columns * width, -(-n_thumbnails // columns) * height


def make_sheet(reader: MovieReader, wanted: SheetRendition, n_thumbnails: int) -> Rendering:
    """The sheet of thumbnails, one every so many seconds, each with its time from the start of the movie."""
    seconds = np.arange(n_thumbnails) * wanted.every
    elapsed = reader.elapsed() / np.timedelta64(1, "s")
    frames = np.minimum(np.searchsorted(elapsed, seconds), reader.n_frames - 1)
    width, height = _thumbnail_size(reader, wanted)
    sheet = Image.new("RGB", choose_sheet_size(reader, wanted, n_thumbnails))
    draw = ImageDraw.Draw(sheet, "RGBA")
    font = ImageFont.load_default(max(9, height // 9))
    for i, thumbnail in enumerate(_iter_images(reader, frames.tolist(), (width, height))):
        x, y = i % wanted.columns * width, i // wanted.columns * height
        sheet.paste(thumbnail, (x, y))
        minutes, rest = divmod(float(seconds[i]), 60)
        text, corner = f"{minutes:.0f}:{rest:04.1f}", (x + 3, y + 2)
        draw.rectangle(draw.textbbox(corner, text, font=font), fill=(0, 0, 0, 130))
        draw.text(corner, text, font=font, fill=(255, 255, 255, 255))
    body = wanted.format.encode(np.asarray(sheet), wanted.quality)
    return Rendering(body, wanted.format.content_type, sheet.size)


def make_film(reader: MovieReader, wanted: FilmRendition, frames: range) -> Rendering:
    """The film of these frames."""
    apart_seconds = frames.step * reader.duration / reader.n_frames
    size = choose_size(reader.index.width, reader.index.height, wanted.width)
    rate = choose_rate(wanted.fps, own_fps=1 / apart_seconds if apart_seconds else None)
    file = io.BytesIO()
    find_film_writer(f".{wanted.format}")(file, _iter_images(reader, frames, size), rate, size)
    return Rendering(file.getvalue(), FILM_TYPES[wanted.format], size)


def _thumbnail_size(reader: MovieReader, wanted: SheetRendition) -> tuple[int, int]:
    return choose_size(reader.index.width, reader.index.height, wanted.width)


def _iter_images(reader: MovieReader, frames: Sequence[int], size: tuple[int, int]) -> Iterator[Image.Image]:
    """The frames in that width and height; from previews where those are large enough."""
    reduce = 8 if size[0] <= reader.index.width // 8 else 1
    for i in range(0, len(frames), N_FRAMES_AT_ONCE):
        stack = reader.stack(list(frames[i : i + N_FRAMES_AT_ONCE]), reduce=reduce)
        for pixels in stack.read(parallel=False):
            yield resize(Image.fromarray(pixels), size)
