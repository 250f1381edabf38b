"""Films from frames: H.264 or H.265 in MP4, GIF and WebP.

Frames come one after the other, are shrunk and given their caption, and go into the file, so a film of any
length takes little memory (of WebP, as much as the file). MP4 and GIF are written by libav, WebP by Pillow.
"""

import base64
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias, cast

import av
import numpy as np
import xarray as xr
from av import VideoStream
from av.video.reformatter import Colorspace, VideoReformatter
from PIL import Image, ImageDraw, ImageFont
from tqdm.auto import tqdm

from camhd_access.output.pictures import describe_time, iter_frames, sample_rate, time_of, to_image
from camhd_access.storage.output_files import open_target

__all__ = [
    "Animation",
    "Codec",
    "Images",
    "animate",
    "choose_rate",
    "choose_size",
    "find_film_writer",
    "resize",
]

MIN_OWN_FPS, APART_FPS = 5, 10
"""Frames filmed at less than the first are shown at the second: 30 a second would be a flicker."""

Codec: TypeAlias = Literal["h264", "h265"]

ENCODERS: dict[Codec, tuple[str, ...]] = {
    "h264": ("libx264", "libopenh264", "libvpx-vp9"),
    "h265": ("libx265",),
}
"""The first one that libav was built with; all of the first row play in browsers."""

ENCODER_OPTIONS: dict[Codec, dict[str, object]] = {
    "h264": {"crf": "20", "preset": "fast"},
    "h265": {"crf": "22", "preset": "fast", "x265-params": "log-level=error"},
}

BT709 = 1
"""ISO/IEC 23091-2: matrix, primaries and transfer characteristics of HD."""

VIDEO_RANGE = 1

MAX_GIF_FPS = 50
"""Players take what is faster, pauses of less than 0.02 s, for 10 a second."""

MAX_INLINE_BYTES = 64 * 1024 * 1024
"""A notebook keeps what it shows; larger films are named, not shown."""

Images: TypeAlias = Iterator[Image.Image]
FilmWriter: TypeAlias = Callable[[BinaryIO, Images, Fraction, tuple[int, int]], None]
"""Writes images to a file that can be sought: so many a second, of this width and height."""


@dataclass(frozen=True, slots=True, repr=False)
class Animation:
    """A film that plays in a notebook."""

    path: Path | None
    """Where it lies; None where it is in memory."""
    data: bytes
    """The film, where it is in memory."""
    n_frames: int
    """Frames."""
    fps: Fraction
    """Frames a second."""
    size: tuple[int, int]
    """Width and height."""

    def __repr__(self) -> str:
        where = self.path or f"{len(self.data):,} bytes in memory"
        width, height = self.size
        rate = f"{float(self.fps):.4g} a second"
        return f"<Animation: {self.n_frames} frames of {width}x{height}, {rate}, {where}>"

    def _repr_html_(self) -> str | None:
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
    target = None if path is None else Path(path)
    suffix = ".mp4" if target is None else target.suffix.lower()
    write = find_film_writer(suffix)
    rate = choose_rate(fps, own_fps=sample_rate(movie))
    size = choose_size(movie.sizes["x"], movie.sizes["y"] * (2 if "field" in movie.coords else 1), width)
    frames = tqdm(
        iter_frames(movie), desc="frames", total=movie.sizes["time"], unit=" frames", disable=not progress
    )
    images = (_image_of(frame, size, caption=caption, vmin=vmin, vmax=vmax) for frame in frames)
    n_frames = movie.sizes["time"]
    if target is None:
        memory = BytesIO()
        write(memory, images, rate, size)
        return Animation(None, memory.getvalue(), n_frames, rate, size)
    with open_target(target, seekable=True) as file:
        write(file, images, rate, size)
    return Animation(target, b"", n_frames, rate, size)


def find_film_writer(suffix: str, codec: Codec = "h264") -> FilmWriter:
    """What writes films to files whose names end so; only `.mp4` has a choice of codecs.

    Raises
    ------
    ValueError
        Nothing does.
    """
    if codec not in WRITERS:
        raise ValueError(f"films are coded by {' or '.join(WRITERS)}; not by {codec!r}")
    writers = WRITERS[codec]
    if suffix not in writers:
        raise ValueError(f"films ({codec}) are written as {', '.join(writers)}; not as '{suffix}'")
    return writers[suffix]


def choose_rate(fps: float | None, *, own_fps: float | None) -> Fraction:
    """Frames a second: `fps`; where None, as fast as they were filmed, or 10 where they lie apart."""
    if fps is None:
        fps = own_fps if own_fps is not None and own_fps >= MIN_OWN_FPS else APART_FPS
    rate = Fraction(fps).limit_denominator(1001) if isfinite(fps) else Fraction(0)
    if rate <= 0:
        raise ValueError(f"fps={fps}: a film has more than no frames a second, and a number of them")
    return rate


def choose_size(columns: int, lines: int, width: int | None) -> tuple[int, int]:
    """Width, no more than `width`, and height, even, as H.264 wants them."""
    shown = columns if width is None else min(columns, width)
    if shown < 1:
        raise ValueError(f"width={width}: pictures are one pixel wide at least")
    return max(2, shown // 2 * 2), max(2, round(lines * shown / columns / 2) * 2)


def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image in this width and height."""
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)


def _image_of(
    frame: xr.DataArray, size: tuple[int, int], *, caption: bool, vmin: float | None, vmax: float | None
) -> Image.Image:
    image = resize(Image.fromarray(to_image(frame, vmin, vmax)).convert("RGB"), size)
    if caption and "time" in frame.coords:
        _write_caption(image, describe_time(time_of(frame), "s"))
    return image


def _write_caption(image: Image.Image, text: str) -> None:
    """White on a dark ground, in the lower left corner."""
    font_size = max(10, image.height // 26)
    margin = font_size // 2
    draw = ImageDraw.Draw(image, "RGBA")
    font = ImageFont.load_default(font_size)
    place = (margin * 1.6, image.height - margin * 1.4)
    left, top, right, bottom = draw.textbbox(place, text, font=font, anchor="ls")
    draw.rectangle((left - margin, top - margin, right + margin, bottom + margin), fill=(0, 0, 0, 130))
    draw.text(place, text, font=font, anchor="ls", fill=(255, 255, 255, 255))


def _write_mp4(file: BinaryIO, images: Images, fps: Fraction, size: tuple[int, int], *, codec: Codec) -> None:
    encoder = next((name for name in ENCODERS[codec] if name in av.codecs_available), None)
    if encoder is None:
        raise ValueError(f"libav was built without an encoder of {codec}")
    with av.open(file, "w", format="mp4") as film:
        stream = cast("VideoStream", film.add_stream(encoder, rate=fps))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = ENCODER_OPTIONS[codec]
        context = stream.codec_context
        if codec == "h265":
            context.codec_tag = "hvc1"  # Apple's players know no other
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = VIDEO_RANGE
        reformatter = VideoReformatter()
        for image in images:
            picture = av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")
            coded = reformatter.reformat(picture, format="yuv420p", dst_colorspace=Colorspace.ITU709)
            film.mux(stream.encode(coded))
        film.mux(stream.encode(None))


def _write_gif(file: BinaryIO, images: Images, fps: Fraction, size: tuple[int, int]) -> None:
    # Not by Pillow, which keeps all frames in memory, and makes 33.3 of 30 a second.
    with av.open(file, "w", format="gif", options={"loop": "0"}) as film:
        stream = film.add_stream("gif", rate=min(fps, Fraction(MAX_GIF_FPS)))
        stream.width, stream.height = size
        stream.pix_fmt = "pal8"
        for image in images:
            film.mux(stream.encode(_reduce_colors(image)))
        film.mux(stream.encode(None))


def _reduce_colors(image: Image.Image) -> av.VideoFrame:
    """The image in the 256 colours that suit it best."""
    reduced = image.quantize(256, Image.Quantize.MEDIANCUT)
    colors = np.array(reduced.getpalette("RGB"), np.uint8).reshape(-1, 3)
    palette = np.full((256, 4), 255, np.uint8)  # alpha, red, green, blue
    palette[: len(colors), 1:] = colors
    both: Any = (np.asarray(reduced), palette)  # which PyAV's types do not know of
    return av.VideoFrame.from_ndarray(both, format="pal8")


def _write_webp(file: BinaryIO, images: Images, fps: Fraction, size: tuple[int, int]) -> None:  # noqa: ARG001 - as all
    first = next(images)
    milliseconds = round(1000 / fps)
    first.save(
        file, "WEBP", save_all=True, append_images=images, duration=milliseconds, loop=0, quality=80, method=4
    )


WRITERS: dict[Codec, dict[str, FilmWriter]] = {
    "h264": {".mp4": partial(_write_mp4, codec="h264"), ".gif": _write_gif, ".webp": _write_webp},
    "h265": {".mp4": partial(_write_mp4, codec="h265")},
}
