"""ProRes samples to pixels, by libav.

What comes in: the bytes of one frame. What goes out: its pixels, or the pixels of a rectangle in it, written
into the caller's array. Four habits keep libav harmless (each one was met the hard way):

* The sample's structure is checked first (`prores.check_frame`), so libav is never surprised.
* Bytes are copied into a packet that libav owns. Lending it a Python buffer crashes at the buffer's end,
  which lacks the padding that libav reads, and deadlocks when a context is freed.
* A codec context belongs to one thread, and to one kind of picture: a change of size would throw its
  buffers away, and two threads on one context crash. Frame threading is never used.
* Every decoded frame is asked whether it is corrupt. libav returns damaged frames as a success, and their
  damaged slices hold the pixels of an *earlier* frame.
"""

import os
import threading
from typing import TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags, ThreadType
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from camhd_access.errors import FrameDecodeError
from camhd_access.pixels import CHROMA_MARGIN, PixelFormat, Planes, choose_matrix, convert_planes
from camhd_access.prores import check_frame, crop_frame

__all__ = ["Window", "decode_frame", "decode_planes"]

Window: TypeAlias = tuple[slice, slice]
"""Rows and columns of a picture; both bounds given, no step."""

_thread = threading.local()


def decode_frame(
    sample: bytes | memoryview,
    *,
    size: tuple[int, int],
    window: Window,
    pixel_format: PixelFormat,
    track_matrix: int | None = None,
    n_threads: int = 1,
    out: npt.NDArray[np.unsignedinteger],
) -> None:
    """Fill `out` with the pixels that `window` shows of one frame.

    Parameters
    ----------
    sample
        The frame's bytes as they lie in the file.
    size
        Height and width that the movie's index states.
    window
        Rows and columns wanted, within `size`.
    pixel_format
        What `out` holds.
    track_matrix
        Number of the colour matrix that the movie's index states, for frames that state none.
    n_threads
        Threads that share the slices of this frame; one is the most economical.
    out
        Array of `pixel_format.shape(height, width)` of the window.

    Raises
    ------
    FrameDecodeError
        The sample is damaged; `out` then holds nothing of meaning.
    UnsupportedCodecError
        A version of ProRes that is not known.

    Notes
    -----
    Only the slices that the window touches are decoded. 1920x1080 takes 10 (luma) to 20 ms (colour) of one
    core, a window of 384x160 a twentieth of that.
    """
    height, width = size
    frame = check_frame(sample, height=height, width=width)
    matrix = choose_matrix(frame.header.matrix, track_matrix, height=height)
    luma_only = not pixel_format.is_color
    first_column = 0
    if window == (slice(0, height), slice(0, width)):
        planes = decode_planes(sample, luma_only=luma_only, n_threads=n_threads)
    else:
        rows, columns = window
        first_column = columns.start % 2
        margin = CHROMA_MARGIN if pixel_format.is_color else 0
        crop = crop_frame(sample, rows, (columns.start - first_column, min(columns.stop + margin, width)))
        planes = decode_planes(crop.data, is_crop=True, luma_only=luma_only, n_threads=n_threads)
        chroma_columns = crop.columns if frame.header.chroma == "444" else crop.chroma_columns
        planes = Planes(
            planes.y[crop.rows, crop.columns],
            planes.cb[crop.rows, chroma_columns],
            planes.cr[crop.rows, chroma_columns],
        )
    convert_planes(planes, pixel_format, matrix=matrix, first_column=first_column, out=out)


def decode_planes(
    sample: bytes | memoryview, *, luma_only: bool = False, is_crop: bool = False, n_threads: int = 1
) -> Planes:
    """The planes of one frame, 10 bits deep, as views of libav's own buffers.

    Parameters
    ----------
    sample
        A complete frame, whose structure has been checked.
    luma_only
        Leave the chroma planes out, which saves a quarter of the time.
    is_crop
        The frame is smaller than the others of its movie.
    n_threads
        Threads that share the slices of this frame.

    Raises
    ------
    FrameDecodeError
        libav refuses the bytes, or calls the frame corrupt.
    """
    packet = av.Packet(len(sample))
    packet.update(sample)  # type: ignore[arg-type]  # any buffer will do
    context = _find_context(luma_only, is_crop, n_threads)
    try:
        frames = context.decode(packet)
    except av.FFmpegError as error:
        raise FrameDecodeError(f"the decoder refuses it: {error}") from error
    if len(frames) != 1:
        raise FrameDecodeError(f"the decoder returns {len(frames)} frames for it")
    (frame,) = frames
    if frame.is_corrupt:
        raise FrameDecodeError("the decoder calls it corrupt")
    luma = _view_plane(frame, 0)
    if luma_only:
        nothing = luma[:, :0]
        return Planes(luma, nothing, nothing)
    return Planes(luma, _view_plane(frame, 1), _view_plane(frame, 2))


def _find_context(luma_only: bool, is_crop: bool, n_threads: int) -> VideoCodecContext:
    """The context of the current thread for this kind of picture; a forked process begins anew."""
    key = (os.getpid(), luma_only, is_crop, n_threads)
    contexts: dict[tuple[int, bool, bool, int], VideoCodecContext] = _thread.__dict__.setdefault(
        "contexts", {}
    )
    if key not in contexts:
        context = av.CodecContext.create("prores", "r")
        assert isinstance(context, VideoCodecContext)  # noqa: S101 - tells mypy what `create` cannot
        context.thread_type = ThreadType.NONE if n_threads == 1 else ThreadType.SLICE
        context.thread_count = n_threads
        if luma_only:
            context.flags |= Flags.gray
        contexts[key] = context
    return contexts[key]


def _view_plane(frame: VideoFrame, index: int) -> npt.NDArray[np.uint16]:
    plane = frame.planes[index]
    lines: npt.NDArray[np.uint16] = np.frombuffer(memoryview(plane), "<u2").reshape(plane.height, -1)
    return lines[:, : plane.width]
