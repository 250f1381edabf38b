"""Images → a film: H.264 or H.265 in MP4, GIF and WebP.

A film of any length takes little memory (for WebP, the size of the file). MP4 and GIF are written by libav,
WebP by Pillow. This module also defines the size and rate of films, and the filter for resizing
images.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from math import isfinite
from typing import Any, BinaryIO, Literal, TypeAlias, cast

import av
import numpy as np
from av import VideoStream
from av.video.reformatter import Colorspace, VideoReformatter
from PIL import Image

from camhd_access.output.provenance import Provenance, exif_of, film_metadata

__all__ = [
    "ENCODERS",
    "Codec",
    "Images",
    "choose_rate",
    "choose_size",
    "find_film_writer",
    "read_texts",
    "resize",
]

MIN_OWN_FPS, APART_FPS = 5, 10
"""Frames recorded at less than the first rate are shown at the second: 30 per second would flicker."""

MIN_FPS = 0.002
"""A GIF cannot show a frame for longer than 655.35 s."""

Codec: TypeAlias = Literal["h264", "h265"]

ENCODERS: dict[Codec, tuple[str, ...]] = {
    "h264": ("libx264", "libopenh264", "libvpx-vp9"),
    "h265": ("libx265",),
}
"""The first one that libav was built with is used; all of the first row play in browsers."""

ENCODER_OPTIONS: dict[Codec, dict[str, object]] = {
    "h264": {"crf": "20", "preset": "fast"},
    "h265": {"crf": "22", "preset": "fast", "x265-params": "log-level=error"},
}

BT709 = 1
"""ISO/IEC 23091-2: matrix, primaries and transfer characteristics of HD."""

VIDEO_RANGE = 1

MAX_GIF_FPS = 50
"""Players slow down faster GIFs (pauses of less than 0.02 s) to 10 frames per second."""

Images: TypeAlias = Iterator[Image.Image]
FilmWriter: TypeAlias = Callable[[BinaryIO, Images, Fraction, tuple[int, int], Provenance], None]
"""Arguments: a seekable file, images, frames per second, width and height, and the provenance record."""


def find_film_writer(suffix: str, codec: Codec = "h264") -> FilmWriter:
    """The function that writes films with this suffix; only `.mp4` has a choice of codecs.

    Raises
    ------
    ValueError
        There is none.
    """
    if codec not in WRITERS:
        raise ValueError(f"the codec of films must be {' or '.join(WRITERS)}, not {codec!r}")
    writers = WRITERS[codec]
    if suffix not in writers:
        raise ValueError(f"the name of a film ({codec}) must end in {', '.join(writers)}")
    return writers[suffix]


def choose_rate(fps: float | None, *, own_fps: float | None) -> Fraction:
    """Frames per second: `fps`; if None, the recorded rate, or 10 if the frames are far apart."""
    if fps is None:
        fps = own_fps if own_fps is not None and own_fps >= MIN_OWN_FPS else APART_FPS
    if not (isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be a positive number, not {fps}")
    if fps < MIN_FPS:
        raise ValueError(f"fps must be at least {MIN_FPS}, not {fps}")
    rate = Fraction(fps)
    return rate.limit_denominator(1001) if rate >= 1 else 1 / (1 / rate).limit_denominator(1001)


def choose_size(columns: int, lines: int, width: int | None) -> tuple[int, int]:
    """Width, at most `width`, and height; both even, as H.264 requires."""
    shown = columns if width is None else min(columns, width)
    if shown < 1:
        raise ValueError(f"width must be at least 1, not {width}")
    return max(2, shown // 2 * 2), max(2, round(lines * shown / columns / 2) * 2)


def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image, scaled to this width and height.

    It shrinks by a triangle filter, which averages all pixels that become one: Lanczos takes more than twice
    as long in Pillow, longer than decoding. It grows by Lanczos.
    """
    if image.size == size:
        return image
    shrinks = size[0] <= image.width and size[1] <= image.height
    method = Image.Resampling.BILINEAR if shrinks else Image.Resampling.LANCZOS
    return image.resize(size, method, reducing_gap=3)


def _write_mp4(
    file: BinaryIO, images: Images, fps: Fraction, size: tuple[int, int], record: Provenance, *, codec: Codec
) -> None:
    encoder = next((name for name in ENCODERS[codec] if name in av.codecs_available), None)
    if encoder is None:
        raise ValueError(f"libav was built without an encoder for {codec}")
    with av.open(file, "w", format="mp4") as film:
        film.metadata.update(film_metadata(record))
        stream = cast("VideoStream", film.add_stream(encoder, rate=fps))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = ENCODER_OPTIONS[codec]
        context = stream.codec_context
        if codec == "h265":
            context.codec_tag = "hvc1"  # Apple's players need it
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = VIDEO_RANGE
        reformatter = VideoReformatter()
        for image in images:
            picture = av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")
            coded = reformatter.reformat(picture, format="yuv420p", dst_colorspace=Colorspace.ITU709)
            film.mux(stream.encode(coded))
        film.mux(stream.encode(None))


def read_texts(file: BinaryIO) -> list[str]:
    """The text fields of a film's metadata.

    Raises
    ------
    ValueError
        The file is not a film.
    """
    try:
        with av.open(file) as film:
            return list(film.metadata.values())
    except av.FFmpegError as error:
        raise ValueError(f"not a film: {error}") from error


class _CommentedGif:
    """A file that inserts a comment after the header of a GIF, which is written sequentially.

    Source: GIF89a, sections 17, 18 and 24.
    """

    def __init__(self, file: BinaryIO, comment: str) -> None:
        self._file = file
        self._comment = comment.encode("ascii", "replace")
        self._head: bytes | None = b""

    def write(self, data: bytes) -> int:
        if self._head is None:
            return self._file.write(data)
        self._head += data
        if len(self._head) > _GIF_HEADER_BYTES:
            flags = self._head[10]
            n_bytes = _GIF_HEADER_BYTES + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
            if len(self._head) >= n_bytes:
                self._file.write(self._head[:n_bytes] + self._block() + self._head[n_bytes:])
                self._head = None
        return len(data)

    def _block(self) -> bytes:
        parts = [self._comment[i : i + 255] for i in range(0, len(self._comment), 255)]
        return b"!\xfe" + b"".join(bytes([len(part)]) + part for part in parts) + b"\x00"


_GIF_HEADER_BYTES = 13
"""Signature and screen descriptor; a palette may follow."""


def _write_gif(
    file: BinaryIO, images: Images, fps: Fraction, size: tuple[int, int], record: Provenance
) -> None:
    # Not with Pillow, which keeps all frames in memory, and turns 30 fps into 33.3.
    commented = _CommentedGif(file, record.json)
    with av.open(commented, "w", format="gif", options={"loop": "0"}) as film:
        stream = film.add_stream("gif", rate=min(fps, Fraction(MAX_GIF_FPS)))
        stream.width, stream.height = size
        stream.pix_fmt = "pal8"
        for image in images:
            film.mux(stream.encode(_reduce_colors(image)))
        film.mux(stream.encode(None))


def _reduce_colors(image: Image.Image) -> av.VideoFrame:
    """The image in the best 256 colours."""
    reduced = image.quantize(256, Image.Quantize.MEDIANCUT)
    colors = np.array(reduced.getpalette("RGB"), np.uint8).reshape(-1, 3)
    palette = np.full((256, 4), 255, np.uint8)  # alpha, red, green, blue
    palette[: len(colors), 1:] = colors
    both: Any = (np.asarray(reduced), palette)  # missing in PyAV's types
    return av.VideoFrame.from_ndarray(both, format="pal8")


def _write_webp(
    file: BinaryIO,
    images: Images,
    fps: Fraction,
    size: tuple[int, int],  # noqa: ARG001 - as all
    record: Provenance,
) -> None:
    first = next(images)
    milliseconds = round(1000 / fps)
    first.save(
        file,
        "WEBP",
        save_all=True,
        append_images=images,
        duration=milliseconds,
        loop=0,
        quality=80,
        method=4,
        exif=exif_of(record),
    )


WRITERS: dict[Codec, dict[str, FilmWriter]] = {
    "h264": {".mp4": partial(_write_mp4, codec="h264"), ".gif": _write_gif, ".webp": _write_webp},
    "h265": {".mp4": partial(_write_mp4, codec="h265")},
}
