"""Films from arrays of frames, with captions of their times, also for notebooks."""

import base64
import os
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import chain, islice
from pathlib import Path, PurePath

import xarray as xr
from PIL import Image, ImageDraw, ImageFont
from tqdm.auto import tqdm

from camhd_access.output.array_provenance import describe_array, write_python
from camhd_access.output.film_writers import choose_rate, choose_size, find_film_writer, resize
from camhd_access.output.pictures import (
    describe_time,
    files_of,
    iter_frames,
    sample_rate,
    steady_range,
    time_of,
    to_image,
)
from camhd_access.output.small_images import reduced_to
from camhd_access.storage.output_files import open_target, suffix_of
from camhd_access.storage.same_file import check_not_source
from camhd_access.urls import redact_url, text_of

__all__ = ["Animation", "animate"]

MAX_INLINE_BYTES = 64 * 1024 * 1024
"""A notebook stores what it shows; larger films are not embedded."""


@dataclass(frozen=True, slots=True, repr=False)
class Animation:
    """A film that a notebook plays."""

    path: Path | str | None
    """Path of the file, or its URL; None if it is in memory."""
    data: bytes
    """The film, if it is in memory."""
    n_frames: int
    """Frames."""
    fps: Fraction
    """Frames per second."""
    size: tuple[int, int]
    """Width and height."""

    def __repr__(self) -> str:
        where = redact_url(str(self.path)) if self.path else f"{len(self.data):,} bytes in memory"
        width, height = self.size
        rate = f"{float(self.fps):.4g} a second"
        return f"<Animation: {self.n_frames} frames of {width}x{height}, {rate}, {where}>"

    def _repr_html_(self) -> str | None:
        if isinstance(self.path, str):
            return None
        n_bytes = self.path.stat().st_size if self.path else len(self.data)
        if n_bytes > MAX_INLINE_BYTES:
            return None
        encoded = base64.b64encode(self.path.read_bytes() if self.path else self.data).decode()
        width, height = self.size
        style = f'width="{width}" height="{height}" style="max-width: 100%; height: auto"'
        if self.path and self.path.suffix != ".mp4":
            return f'<img {style} src="data:image/{self.path.suffix[1:]};base64,{encoded}">'
        return f'<video {style} controls loop muted src="data:video/mp4;base64,{encoded}"></video>'


def animate(
    movie: xr.DataArray,
    path: str | os.PathLike[str] | None,
    *,
    fps: float | None,
    width: int | None,
    caption: bool,
    vmin: float | None,
    vmax: float | None,
    progress: bool,
) -> Animation:
    """The film of these frames: see `CamhdAccessor.animate`."""
    name = "" if path is None else text_of(path)
    if name:
        check_not_source(name, files_of(movie))
    suffix = suffix_of(name) if name else ".mp4"
    write = find_film_writer(suffix)
    rate = choose_rate(fps, own_fps=sample_rate(movie))
    size = choose_size(movie.sizes["x"], movie.sizes["y"] * (2 if "field" in movie.coords else 1), width)
    limits = vmin, vmax
    vmin, vmax = _steady_range(movie, vmin, vmax)
    small = reduced_to(movie, size[0])
    frames = tqdm(
        iter_frames(small), desc="frames", total=movie.sizes["time"], unit=" frames", disable=not progress
    )
    images = (_image_of(frame, size, caption=caption, vmin=vmin, vmax=vmax) for frame in frames)
    first = list(islice(images, 1))  # decoded before the record is made, which has its colour matrix
    n_frames = movie.sizes["time"]
    shown = repr(PurePath(redact_url(name)).name) if name else ""
    call = f"animate({shown}{_write_options(fps, width, caption, limits)})"
    record = describe_array(small, history=write_python(movie, call), width=size[0])
    if path is None:
        memory = BytesIO()
        write(memory, chain(first, images), rate, size, record)
        return Animation(None, memory.getvalue(), n_frames, rate, size)
    with open_target(path, seekable=True) as file:
        write(file, chain(first, images), rate, size, record)
    return Animation(name if "://" in name else Path(name), b"", n_frames, rate, size)


def _write_options(
    fps: float | None, width: int | None, caption: bool, limits: tuple[float | None, float | None]
) -> str:
    """The arguments of `animate` that differ from the defaults, as Python code."""
    given = {"fps": fps, "width": width, "caption": caption, "vmin": limits[0], "vmax": limits[1]}
    usual = {"fps": None, "width": 960, "caption": True, "vmin": None, "vmax": None}
    return "".join(f", {name}={value!r}" for name, value in given.items() if value != usual[name])


def _steady_range(
    movie: xr.DataArray, vmin: float | None, vmax: float | None
) -> tuple[float | None, float | None]:
    """Black and white for all frames, unless they are those of the pixel format."""
    if movie.dtype.kind == "u" or (vmin is not None and vmax is not None):
        return vmin, vmax
    low, high = steady_range(movie[:1].compute())
    return low if vmin is None else vmin, high if vmax is None else vmax


def _image_of(
    frame: xr.DataArray, size: tuple[int, int], *, caption: bool, vmin: float | None, vmax: float | None
) -> Image.Image:
    image = resize(Image.fromarray(to_image(frame, vmin, vmax)).convert("RGB"), size)
    if caption and "time" in frame.coords:
        _write_caption(image, describe_time(time_of(frame), "s"))
    return image


def _write_caption(image: Image.Image, text: str) -> None:
    """Write white text on a dark background, in the lower left corner."""
    font_size = max(10, image.height // 26)
    margin = font_size // 2
    draw = ImageDraw.Draw(image, "RGBA")
    font = ImageFont.load_default(font_size)
    place = (margin * 1.6, image.height - margin * 1.4)
    left, top, right, bottom = draw.textbbox(place, text, font=font, anchor="ls")
    draw.rectangle((left - margin, top - margin, right + margin, bottom + margin), fill=(0, 0, 0, 130))
    draw.text(place, text, font=font, anchor="ls", fill=(255, 255, 255, 255))
