"""ProRes samples of many kinds, and libav's decoded frames as the oracle."""

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

import av
import numpy as np
from shared_data import shared_data


@dataclass(frozen=True)
class Kind:
    """How one test sample is made."""

    width: int
    height: int
    pix_fmt: str = "yuv422p10le"
    encoder: str = "prores_ks"
    interlace: int = 0
    options: tuple[tuple[str, str], ...] = field(default=())

    def __str__(self):
        mode = ("p", "tff", "bff")[self.interlace]
        options = "".join(f"-{name}{value}" for name, value in self.options)
        return f"{self.width}x{self.height}{mode}-{self.pix_fmt[:-4]}-{self.encoder[7:]}{options}"


KINDS = (
    Kind(46, 34),
    Kind(130, 50, interlace=1),
    Kind(130, 50, interlace=2),
    *(Kind(183, 83, options=(("mbs_per_slice", str(n)),)) for n in (1, 2, 4, 8)),
    Kind(183, 83, interlace=2, options=(("mbs_per_slice", "4"),)),
    Kind(96, 486, interlace=2),
    Kind(210, 96, encoder="prores_aw"),
    Kind(210, 97, "yuv444p10le", interlace=1),
    Kind(210, 82, "yuva444p10le", options=(("alpha_bits", "8"),)),
    Kind(210, 82, "yuva444p10le", interlace=1, options=(("alpha_bits", "16"),)),
    Kind(96, 64, options=(("quant_mat", "default"),)),  # the header holds no matrices
    Kind(152, 60, options=(("flags", "+qscale"), ("global_quality", str(118 * 30)))),
    Kind(152, 60, options=(("profile", "3"), ("flags", "+qscale"), ("global_quality", "118"))),
    Kind(720, 486, interlace=2, options=(("profile", "0"),)),
)

HD_KINDS = tuple(Kind(1920, 1080, interlace=mode, options=(("profile", "2"),)) for mode in (0, 2))


def paint(kind, seed=0):
    """Planes with slopes, edges, texture and noise, differing between lines, so that no two places agree."""
    rng = np.random.default_rng(seed)
    planes = []
    halves = (1, 1, 1, 1) if "444" in kind.pix_fmt else (1, 2, 2)
    for n_shared in halves[: 4 if "yuva" in kind.pix_fmt else 3]:
        width = -(-kind.width // n_shared)
        y, x = np.mgrid[: kind.height, :width]
        plane = 300 + 300 * np.sin(x / 17 + seed) * np.cos(y / 23) + 200 * ((x // 24 + y // 20) % 2)
        plane += rng.normal(0, 12, plane.shape) + 30 * (y % 2) * (x > width // 2)
        planes.append(plane.clip(4, 1019).astype("<u2"))
    return planes


def encode(kind, planes):
    """One sample."""
    context = av.CodecContext.create(kind.encoder, "w")
    context.width, context.height, context.pix_fmt = kind.width, kind.height, kind.pix_fmt
    context.time_base = Fraction(1, 30)
    context.thread_count = 1
    options = dict(kind.options)
    if kind.interlace:
        options["flags"] = options.get("flags", "") + "+ildct"
    context.options = options
    frame = av.VideoFrame(kind.width, kind.height, kind.pix_fmt)
    frame.pts = 0
    for plane, pixels in zip(frame.planes, planes, strict=True):
        padded = np.zeros((plane.height, plane.line_size // 2), "<u2")
        padded[:, : pixels.shape[1]] = pixels
        plane.update(padded)
    (packet,) = [*context.encode(frame), *context.encode(None)]
    sample = bytearray(bytes(packet))
    if kind.interlace:
        assert sample[20] >> 2 & 3 == 2, "the encoder writes bottom field first when told nothing"
        sample[20] = sample[20] & ~12 | kind.interlace << 2
    return bytes(sample)


@cache
def sample_of(kind, seed=0):
    return encode(kind, paint(kind, seed))


def decode(sample, *, flawless=True):
    """All planes of the sample, alpha too, by libav."""
    context = av.CodecContext.create("prores", "r")
    context.thread_count, context.thread_type = 1, "NONE"
    packet = av.Packet(len(sample))
    packet.update(sample)
    (frame,) = context.decode(packet)
    assert not (flawless and frame.is_corrupt)
    return tuple(
        np.frombuffer(plane, "<u2").reshape(plane.height, -1)[:, : plane.width].copy()
        for plane in frame.planes
    )


@cache
def decoded(kind, seed=0):
    return decode(sample_of(kind, seed))


def apple_samples(n_frames=1):
    """The first samples of each movie written by Apple's encoders."""
    samples = []
    for path in sorted(shared_data("quicktime").glob("apple-prores-*.mov")):
        with av.open(path) as movie:
            packets = movie.demux(video=0)
            samples += [bytes(packet) for packet, _ in zip(packets, range(n_frames), strict=False)]
    assert samples
    return samples


def random_windows(rng, height, width, n):
    """Windows of all sizes, the corners among them."""
    yield slice(0, 1), slice(0, 1)
    yield slice(height - 1, height), slice(width - 1, width)
    for _ in range(n):
        y, x = (sorted(rng.choice(length + 1, 2, replace=False).tolist()) for length in (height, width))
        yield slice(*y), slice(*x)
