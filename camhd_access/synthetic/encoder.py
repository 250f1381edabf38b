"""Frames to ProRes 422, several at a time.

ProRes is intra-frame, so each thread has its own single-threaded encoder and takes
the next frame; results come back in order, and only a few are ever in memory. FFmpeg's `prores_aw`
is used: four times as fast as `prores_ks`, and it keeps the quantiser where Apple's encoders do. It
writes Apple's layout: two field pictures per frame, the top field first, matrix BT.709.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction

import av
import numpy as np
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

__all__ = ["Planes", "encode_frame", "iter_encoded", "open_encoder"]

Planes = tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint16]]
"""Planes Y (h, w), Cb and Cr (h, w / 2) of 10-bit code values."""

_BT709 = 1  # ISO/IEC 23091-2, matrix coefficients


def open_encoder(width: int, height: int, *, interlaced: bool) -> VideoCodecContext:
    """An encoder for ProRes 422 ("apcn"), for use in one thread."""
    encoder = av.CodecContext.create("prores_aw", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv422p10le"
    encoder.time_base = Fraction(1001, 30000)
    encoder.options = {"profile": "2"}
    encoder.thread_count = 1
    if interlaced:
        encoder.flags |= Flags.interlaced_dct
    return encoder


def encode_frame(encoder: VideoCodecContext, picture: Planes) -> bytes:
    """The sample of one frame."""
    frame = av.VideoFrame(encoder.width, encoder.height, "yuv422p10le")
    frame.colorspace = _BT709
    for plane, pixels in zip(frame.planes, picture, strict=True):
        lines = np.frombuffer(plane, "<u2").reshape(plane.height, -1)  # type: ignore[call-overload]
        lines[:, : plane.width] = pixels
    (packet,) = encoder.encode(frame)
    return bytes(packet)


def iter_encoded(
    draw: Callable[[int], Planes],
    frames: Iterable[int],
    open_own_encoder: Callable[[], VideoCodecContext],
    *,
    workers: int,
) -> Iterator[bytes]:
    """The samples of `draw(i)` for each i of `frames`, in order, drawn and encoded by `workers` threads."""
    own = threading.local()

    def encode(frame_index: int) -> bytes:
        if not hasattr(own, "encoder"):
            own.encoder = open_own_encoder()
        return encode_frame(own.encoder, draw(frame_index))

    pending: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="prores") as pool:
        for frame_index in frames:
            pending.append(pool.submit(encode, frame_index))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
