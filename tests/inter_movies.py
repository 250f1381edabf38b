"""Movies with inter-frame coding in every structure, written and read by libav alone."""

from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

RATE = 30
SIZE = 64, 96
"""Height and width."""

X264 = {"codec": "libx264", "preset": "veryfast", "sc_threshold": "0"}
X265 = {"codec": "libx265", "preset": "ultrafast"}

STRUCTURES = {
    "closed groups": X264 | {"g": "12", "bf": "3"},
    "open groups": X264 | {"g": "12", "x264-params": "open-gop=1:bframes=3:b-adapt=0"},
    "open groups, pyramid": X264
    | {"g": "16", "x264-params": "open-gop=1:bframes=5:b-adapt=0:b-pyramid=normal:ref=4"},
    "strict pyramid": X264 | {"g": "20", "x264-params": "bframes=7:b-adapt=0:b-pyramid=strict:ref=5"},
    "sixteen between": X264 | {"g": "40", "x264-params": "bframes=16:b-adapt=0:b-pyramid=none:ref=2"},
    "intra only": X264 | {"g": "1"},
    "one group": X264 | {"g": "9999", "bf": "2"},
    "no reordering": X264 | {"g": "12", "bf": "0"},
    "slices": X264 | {"g": "12", "x264-params": "slices=3"},
    "fields": X264 | {"g": "12", "x264-params": "tff=1"},
    "gradual refresh": X264 | {"g": "12", "x264-params": "intra-refresh=1:bframes=0"},
    "full range": X264 | {"g": "12", "pix_fmt": "yuvj420p"},
    "4:2:2, 10 bit": X264 | {"g": "12", "pix_fmt": "yuv422p10le"},
    "HEVC, closed groups": X265 | {"x265-params": "log-level=0:keyint=12:open-gop=0:bframes=3"},
    "HEVC, open groups": X265
    | {"x265-params": "log-level=0:keyint=12:min-keyint=12:open-gop=1:bframes=4:b-adapt=0"},
    "HEVC, checksums": X265 | {"x265-params": "log-level=0:keyint=12:open-gop=1:bframes=3:hash=1"},
    "HEVC, leading pictures": X265 | {"x265-params": "log-level=0:keyint=12:open-gop=0:bframes=3:radl=2"},
    "HEVC, temporal layers": X265
    | {"x265-params": "log-level=0:keyint=20:bframes=7:b-adapt=0:rc-lookahead=12:temporal-layers=3"},
    "HEVC, 10 bit": X265
    | {"pix_fmt": "yuv420p10le", "x265-params": "log-level=0:keyint=12:open-gop=1:bframes=3"},
}
"""Options of the encoder."""


def paint(n_frames, seed=0, size=SIZE):
    """Frames in which a textured square moves over noise, as `rgb24`."""
    rng = np.random.default_rng(seed)
    height, width = size
    ground = rng.integers(0, 256, (height, width, 3), np.uint8) // 2
    square = rng.integers(0, 256, (24, 24, 3), np.uint8)
    for i in range(n_frames):
        picture = np.roll(ground, i // 3, axis=1)
        y, x = (5 * i) % (height - 24), (7 * i) % (width - 24)
        picture[y : y + 24, x : x + 24] = square
        yield picture


@cache
def encode(structure, n_frames=60, *, varies=False, suffix="mp4", size=SIZE, delay=0, **muxing):
    """The bytes of a movie; with `varies`, frames last 1, 2 or 3 ticks of the rate.

    The first frame is shown after `delay` ticks.
    """
    options = dict(STRUCTURES[structure])
    with TemporaryDirectory() as folder:
        path = f"{folder}/movie.{suffix}"
        _write(path, options, n_frames, varies=varies, muxing=muxing, size=size, delay=delay)
        return Path(path).read_bytes()


def _write(path, options, n_frames, *, varies, muxing, size, delay):
    with av.open(path, "w", options=dict(muxing)) as movie:
        stream = movie.add_stream(options.pop("codec"), rate=RATE)
        stream.height, stream.width = size
        stream.pix_fmt = options.pop("pix_fmt", "yuv420p")
        tag = options.pop("tag", "hvc1")
        if "tff" in options.get("x264-params", ""):
            stream.codec_context.flags |= 0x20040000  # interlaced in coding and motion
        stream.codec_context.thread_count = 1
        stream.options = options
        if stream.codec_context.name == "libx265":
            stream.codec_context.codec_tag = tag
        tick = delay
        for i, picture in enumerate(paint(n_frames, size=size)):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=stream.pix_fmt)
            frame.pts = tick
            tick += 1 + (i % 3 if varies else 0)
            movie.mux(stream.encode(frame))
        movie.mux(stream.encode(None))


def copy(data, *, skip_seconds=0.0, suffix="mp4", **muxing):
    """A copy without re-encoding, as `ffmpeg -ss … -c copy` makes it: earlier samples of the group hidden."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/copy.{suffix}"
        with av.open(BytesIO(data)) as movie, av.open(path, "w", options=dict(muxing)) as other:
            _copy_packets(movie, other, skip_seconds)
        return Path(path).read_bytes()


def _copy_packets(movie, other, skip_seconds):
    (stream,) = movie.streams.video
    target = other.add_stream_from_template(stream)
    skip = round(skip_seconds / stream.time_base)
    packets = [packet for packet in movie.demux(stream) if packet.size]
    first = max(i for i, packet in enumerate(packets) if packet.is_keyframe and packet.pts <= skip)
    for packet in packets[first:]:
        packet.pts -= skip
        packet.dts -= skip
        packet.stream = target
        other.mux(packet)


def forget_times(data, *, suffix="mp4", **muxing):
    """A copy in which samples are shown when they are decoded, as ffmpeg copies streams without times."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/copy.{suffix}"
        with av.open(BytesIO(data)) as movie, av.open(path, "w", options=dict(muxing)) as other:
            (stream,) = movie.streams.video
            target = other.add_stream_from_template(stream)
            for packet in movie.demux(stream):
                if packet.size:
                    packet.pts = packet.dts
                    packet.stream = target
                    other.mux(packet)
        return Path(path).read_bytes()


def concat(*movies, overlap_frames=0):
    """The samples of some movies one after the other, described as those of the first.

    Each begins before the one before it ends, by some frames.
    """
    with TemporaryDirectory() as folder:
        path, target, end, last = f"{folder}/joined.mp4", None, 0, None
        with av.open(path, "w") as joined:
            for data in movies:
                with av.open(BytesIO(data)) as movie:
                    (stream,) = movie.streams.video
                    target = target or joined.add_stream_from_template(stream)
                    packets = [packet for packet in movie.demux(stream) if packet.size]
                    for packet in packets:
                        packet.pts += end
                        last = packet.dts = (
                            packet.dts + end if last is None else max(packet.dts + end, last + 1)
                        )
                        packet.stream = target
                    end = max(packet.pts + packet.duration for packet in packets)
                    end -= round(overlap_frames * packets[0].duration)
                    joined.mux(packets)
        return Path(path).read_bytes()


@cache
def demux(data):
    """Offset, size, time and key flag of each shown sample in display order; and the time base."""
    with av.open(BytesIO(data)) as movie:
        (stream,) = movie.streams.video
        packets = [p for p in movie.demux(stream) if p.size and not p.is_discard]
        rows = sorted((p.pts, p.pos, p.size, p.is_keyframe) for p in packets)
        return np.array(rows), stream.time_base


@cache
def decode(data):
    """The planes of all frames, by libav from the first sample to the last."""
    with av.open(BytesIO(data)) as movie:
        (stream,) = movie.streams.video
        stream.thread_type = "NONE"
        return [planes_of(frame) for frame in movie.decode(stream)]


def strip_usability(data):
    """The H.264 movie as many cameras write it: nothing tells how many frames are decoded early."""
    place = data.index(b"avcC") + 12
    n_bytes = int.from_bytes(data[place - 2 : place], "big")
    payload = data[place + 1 : place + n_bytes].replace(b"\0\0\3", b"\0\0")
    bits = "".join(f"{byte:08b}" for byte in payload)
    position = 24

    def read_code():
        nonlocal position
        n_zeros = bits.index("1", position) - position
        start, position = position + n_zeros, position + 2 * n_zeros + 1
        return int(bits[start:position], 2) - 1

    read_code()
    if payload[0] >= 100:  # profiles with a chroma format
        for _ in range(3):
            read_code()
        position += 2
    read_code()
    if read_code() == 0:
        read_code()
    read_code()
    position += 1
    for _ in range(2):
        read_code()
    position += 1 if bits[position] == "1" else 2  # frame_mbs_only_flag
    position += 1
    position += 1
    if bits[position - 1] == "1":
        for _ in range(4):
            read_code()
    assert bits[position] == "1"
    bits = bits[:position] + "01"
    short = int(bits.ljust(8 * -(-len(bits) // 8), "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    assert b"\0\0" not in short
    return data[: place + 1] + short.ljust(n_bytes - 1, b"\0") + data[place + n_bytes :]


def find_references(data):
    """Whether others may refer to the picture of each sample, in the order of decoding."""
    with av.open(BytesIO(data)) as movie:
        (stream,) = movie.streams.video
        samples = [bytes(packet) for packet in movie.demux(stream) if packet.size]
        is_h264 = stream.codec_context.name == "h264"
        highest = 1 if is_h264 else stream.codec_context.extradata[21] >> 3 & 7
    flags = []
    for sample in samples:
        units, position = [], 0
        while position < len(sample):
            n_bytes = int.from_bytes(sample[position : position + 4], "big")
            units.append(sample[position + 4 : position + 4 + n_bytes])
            position += 4 + n_bytes
        if is_h264:
            (flag,) = {unit[0] >> 5 > 0 for unit in units if unit[0] & 31 <= 5}
        else:
            (kind,) = {unit[0] >> 1 for unit in units if unit[0] >> 1 < 32}
            flag = kind > 15 or kind % 2 == 1 or {unit[1] for unit in units} != {highest}
        flags.append(flag)
    return np.array(flags)


def planes_of(frame):
    dtype = "<u2" if "10" in frame.format.name else "u1"
    return [
        np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width].copy()
        for plane in frame.planes
    ]


def expected_gray16(planes, *, full_range=False):
    """Luma of some frames as `gray16le`, by definition."""
    luma = np.stack([each[0] for each in planes])
    codes = luma.astype(float) * (1 if luma.dtype == np.uint16 else 4)
    black, white = (0, 1020) if full_range else (64, 940)
    return np.floor((codes - black).clip(0, white - black) * 65535 / (white - black) + 0.5).astype(np.uint16)
