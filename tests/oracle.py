"""libav's own demuxer and decoder, as the oracle for reads.

Nothing here goes through the package: movies are written by libav's muxer, demuxed by its demuxer, and
decoded from the first frame to the last.
"""

import pickle
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from exact_colors import exact_rgb
from prores_samples import Kind, decode, paint

from camhd_access.decoding.pixels import PIXEL_FORMATS, Planes


@dataclass(frozen=True)
class LibavMovie:
    """A movie as read by libav."""

    packets: list
    """The samples' bytes."""
    offsets: list
    """Their first bytes in the file."""
    pts: list
    """Ticks of `time_base`."""
    time_base: Fraction
    planes: list
    """The planes of each frame, alpha too, as coded: 10 bits (12 of 4444)."""

    def luma(self, frames=slice(None)):
        """Array of shape (frame, y, x)."""
        return np.stack([self.planes[i][0] for i in np.arange(len(self.planes))[frames]])


def read_by_libav(path):
    """The movie at `path`, read by libav."""
    found = LibavMovie([], [], [], None, [])
    with av.open(path) as movie:
        (stream,) = movie.streams.video
        stream.thread_type = "NONE"
        object.__setattr__(found, "time_base", stream.time_base)
        for packet in movie.demux(stream):
            if packet.size:
                found.packets.append(bytes(packet))
                found.offsets.append(packet.pos)
                found.pts.append(packet.pts)
            for frame in packet.decode():
                assert not frame.is_corrupt
                found.planes.append([plane_of(frame, i) for i in range(len(frame.planes))])
    return found


def decode_ten_bits(movie):
    """The planes of each frame of a `LibavMovie`, 10 bits deep also where libav has 12 (4444)."""
    return movie.planes if movie.planes[0][0].max() < 1024 else [decode(sample) for sample in movie.packets]


def plane_of(frame, index):
    plane = frame.planes[index]
    return np.frombuffer(plane, "<u2").reshape(plane.height, -1)[:, : plane.width].copy()


def expected_pixels(planes, pix_fmt, matrix):
    """Pixels of one frame in float64, before rounding, by definition."""
    pixel_format = PIXEL_FORMATS[pix_fmt]
    luma = planes[0].astype(float)
    if pixel_format.layout == "code":
        return luma
    if pixel_format.layout == "gray":
        return ((luma - 64) / 876).clip(0, 1) * pixel_format.full_scale
    rgb = exact_rgb(Planes(*planes[:3]), matrix, pixel_format.full_scale)
    return rgb if pixel_format.layout == "rgb" else rgb[..., ::-1]


def write_by_libav(path, kind: Kind, n_frames=3):
    """A movie of painted frames of this kind."""
    with av.open(path, "w", format="mov") as movie:
        stream = movie.add_stream(kind.encoder, rate=Fraction(30000, 1001))
        stream.width, stream.height, stream.pix_fmt = kind.width, kind.height, kind.pix_fmt
        stream.thread_count = 1
        options = dict(kind.options)
        if kind.interlace:
            options["flags"] = options.get("flags", "") + "+ildct"
        stream.options = options
        for i in range(n_frames):
            frame = av.VideoFrame(kind.width, kind.height, kind.pix_fmt)
            frame.pts = i
            for plane, pixels in zip(frame.planes, paint(kind, seed=i), strict=True):
                padded = np.zeros((plane.height, plane.line_size // 2), "<u2")
                padded[:, : pixels.shape[1]] = pixels
                plane.update(padded)
            movie.mux(stream.encode(frame))
        movie.mux(stream.encode(None))
    return path


def unpickle(data):
    """The unpickled object of the test itself."""
    return pickle.loads(data)  # noqa: S301 - our own
