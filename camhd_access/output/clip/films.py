"""Films and images from decoded frames, for viewing.

Films are written by `film_writers`, images by Pillow, several at once. Only a few frames are in memory.
The output has 8 bits per colour and no times; for measurements use `.mov`, or arrays.
"""

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from camhd_access.decoding.threads import n_cores, spreading
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.selection import Deinterlace, FrameSelection
from camhd_access.movie.stack import FrameStack
from camhd_access.output.clip.layout import stack_frames
from camhd_access.output.film_writers import Codec, choose_rate, choose_size, find_film_writer, resize
from camhd_access.output.provenance import (
    Provenance,
    colors_of,
    describe_stack,
    image_options,
    write_command,
)
from camhd_access.storage.output_files import open_target, suffix_of
from camhd_access.storage.same_file import check_not_source
from camhd_access.urls import redact_url

__all__ = ["IMAGE_OPTIONS", "write_film", "write_images"]

IMAGE_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG", "compress_level": 1},  # noise does not compress better at higher levels
    ".jpg": {"format": "JPEG", "quality": 92},
    ".jpeg": {"format": "JPEG", "quality": 92},
    ".tif": {"format": "TIFF"},
    ".tiff": {"format": "TIFF"},
}
"""Options for Pillow, by suffix."""

N_FRAMES_AT_ONCE = min(2 * n_cores(), 32)
"""Frames read together, so that all cores decode; at most 200 MB of 1080p."""


def write_film(
    reader: MovieReader,
    frames: FrameSelection,
    name: str,
    *,
    codec: Codec,
    fps: float | None,
    width: int | None,
    deinterlace: Deinterlace = None,
    progress: bool,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Write a film: see `write_clip`."""
    write = find_film_writer(suffix_of(name), codec)
    stack = stack_frames(reader, frames, deinterlace=deinterlace)
    chosen = stack.frames
    rate = choose_rate(fps, own_fps=_own_fps(reader, chosen))
    _, lines, columns = reader.shape
    size = choose_size(columns, lines, width)
    record = _record(reader, stack, name, codec=codec, fps=fps, width=width)
    images = (resize(image, size) for image in _iter_images(stack, progress=progress))
    with open_target(name, seekable=True, storage_options=storage_options) as file:
        write(file, images, rate, size, record)


def write_images(
    reader: MovieReader,
    frames: FrameSelection,
    pattern: str,
    *,
    width: int | None,
    deinterlace: Deinterlace = None,
    progress: bool,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Write an image of each frame: see `write_clip`."""
    stack = stack_frames(reader, frames, deinterlace=deinterlace)
    chosen = stack.frames
    names = _name_images(pattern, chosen)
    for name in names:
        check_not_source(name, [reader.urlpath])
    _, lines, columns = reader.shape
    is_shrunk = width is not None and width < columns
    size = choose_size(columns, lines, width) if is_shrunk else (columns, lines)
    images = _iter_images(stack, progress=progress)
    with closing(images), spreading(parallel=True) as submit:
        for position, (name, image) in enumerate(zip(names, images, strict=True)):
            one = stack.select(position)
            record = _record(reader, one, name, width=size[0] if is_shrunk else None)
            text = image_options(suffix_of(name), record, colors_of(one))
            submit(_write_image, image, size, name, storage_options, text)


def _own_fps(reader: MovieReader, frames: NDArray[np.int64]) -> float | None:
    """Frames per second, from the median of the time steps; None for one frame."""
    steps = np.abs(np.diff(reader.index.pts[frames]))
    return reader.index.timescale / max(float(np.median(steps)), 1) if steps.size else None


def _iter_images(stack: FrameStack, *, progress: bool) -> Generator[Image.Image, None, None]:
    n_frames = len(stack.frames)
    with tqdm(total=n_frames, desc="frames", unit=" frames", disable=not progress) as bar:
        for start in range(0, n_frames, N_FRAMES_AT_ONCE):
            for picture in stack.select(slice(start, start + N_FRAMES_AT_ONCE)).read():
                yield Image.fromarray(picture)
                bar.update()


def _name_images(pattern: str, frames: NDArray[np.int64]) -> list[str]:
    try:
        names = [pattern.format(frame=frame) for frame in frames.tolist()]
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"{redact_url(pattern)!r} needs a frame number, as in frame_{{frame:06d}}.png"
        ) from error
    if len(set(names)) < len(set(frames.tolist())):
        raise ValueError(
            f"{redact_url(pattern)!r} gives several frames the same name; number them, "
            "as in frame_{frame:06d}.png"
        )
    return names


def _write_image(
    image: Image.Image,
    size: tuple[int, int],
    name: str,
    storage_options: Mapping[str, Any] | None,
    text: dict[str, Any],
) -> None:
    with open_target(name, seekable=True, storage_options=storage_options) as file:
        resize(image, size).save(file, **IMAGE_OPTIONS[suffix_of(name)], **text)


def _record(
    reader: MovieReader,
    stack: FrameStack,
    name: str,
    *,
    codec: Codec | None = None,
    fps: float | None = None,
    width: int | None,
) -> Provenance:
    """Provenance of a film or an image, with the command that reproduces it."""
    record = describe_stack(reader, stack, reads=True, width=width)
    options = [
        ("--frames", record.frames),
        ("--codec", codec if codec != "h264" else None),
        ("--fps", None if fps is None else f"{fps:.15g}"),
        ("--width", width),
    ]
    return replace(record, history=write_command("clip", record, options, PurePath(redact_url(name)).name))
