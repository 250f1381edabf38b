"""Samples to pixels, by libav.

ProRes: the bytes of one frame come in, and its pixels, or the pixels of a rectangle in it, are written
into the caller's array. H.264 and HEVC: samples come in, in decoding order, and frames go out
(`SequenceContext`). Four rules keep libav safe (each one learnt from a failure):

* The structure of a ProRes sample is checked first.
* Bytes are copied into a packet that libav owns. Passing a Python buffer crashes at the buffer's end,
  which lacks the padding that libav reads, and deadlocks when a context is freed.
* A codec context belongs to one thread, and to one frame size: changing the size would discard its
  buffers, and two threads on one context crash. Frame threading is never used.
* Every decoded frame is checked for libav's "corrupt" flag. libav returns damaged frames as a success, and
  their damaged slices hold the pixels of an *earlier* frame.
"""

import os
import threading
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags, ThreadType
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from camhd_access.decoding.pixels import CHROMA_MARGIN, PixelFormat, Planes, choose_matrix, convert_planes
from camhd_access.decoding.subsampled import CodedFrame
from camhd_access.decoding.windows import CodedWindow, Field, Window, whole_window
from camhd_access.errors import FrameDecodeError, UnsupportedCodecError
from camhd_access.formats.h26x import StreamFormat
from camhd_access.formats.prores import CroppedFrame, check_frame, walk_crop
from camhd_access.ranges import ByteData, run_walk
from camhd_access.stopping import check_stopped

__all__ = ["SequenceContext", "decode_frame", "decode_planes", "decode_window"]

VERSION = ".".join(map(str, av.library_versions["libavcodec"]))
"""Version of libavcodec."""

_thread = threading.local()


def decode_frame(
    sample: ByteData,
    *,
    size: tuple[int, int],
    window: Window,
    field: Field = None,
    pixel_format: PixelFormat,
    track_matrix: int | None = None,
    n_threads: int = 1,
    out: npt.NDArray[np.unsignedinteger],
) -> None:
    """Fill `out` with the pixels of `window` in one frame, or in one of its fields.

    Parameters
    ----------
    sample
        The frame's bytes as in the file.
    size
        Height and width of the frame in the movie's index.
    window
        Rows and columns wanted, of the frame or of the field.
    field
        Which field of an interlaced frame; None for the frame.
    pixel_format
        Format of `out`.
    track_matrix
        Number of the colour matrix in the movie's index, for frames without one.
    n_threads
        Threads that share the slices of this frame; one is the most efficient.
    out
        Array of `pixel_format.shape(height, width)` of the window.

    Raises
    ------
    FrameDecodeError
        The sample is damaged; the content of `out` is then undefined.
    UnsupportedCodecError
        An unknown version of ProRes.

    Notes
    -----
    Only the slices that the window touches are decoded. 1920x1080 takes 10 (luma) to 20 ms (colour) on one
    core, a field half of that, a window of 384x160 a twentieth.
    """
    decode_window(
        whole_window(sample, size=size, window=window, field=field),
        pixel_format=pixel_format,
        track_matrix=track_matrix,
        n_threads=n_threads,
        out=out,
    )


def decode_window(
    coded: CodedWindow,
    *,
    pixel_format: PixelFormat,
    track_matrix: int | None,
    n_threads: int = 1,
    out: npt.NDArray[np.unsignedinteger],
) -> None:
    """Fill `out` with the pixels of a window; parameters and errors as for `decode_frame`.

    Notes
    -----
    The headers of the slices are checked first: libav accepts some that are inconsistent.
    """
    header, columns = coded.header, coded.window[1]
    is_422 = header.chroma == "422"
    if coded.crop is None and coded.shows_all:
        check_frame(coded.data)
        data, y, x = coded.data, *coded.window
        chroma_x = slice(0, (header.width + 1) // 2) if is_422 else x
    else:
        crop = coded.crop or _crop(coded, in_color=pixel_format.is_color)
        check_frame(crop.data, n_pictures=len(crop.pictures))
        data, y, x = crop.data, crop.rows, crop.columns
        chroma_x = crop.chroma_columns if is_422 else x
    planes = decode_planes(
        data, luma_only=not pixel_format.is_color, is_crop=not coded.shows_all, n_threads=n_threads
    )
    convert_planes(
        Planes(planes.y[y, x], planes.cb[y, chroma_x], planes.cr[y, chroma_x]),
        pixel_format,
        matrix=choose_matrix(header.matrix, track_matrix, height=header.height),
        first_column=columns.start % 2,
        n_threads=n_threads,
        out=out,
    )


def _crop(coded: CodedWindow, *, in_color: bool) -> CroppedFrame:
    """A smaller frame with the slices of a window of a whole sample."""
    rows, columns = coded.window
    # Start at an even column, so that 4:2:2 chroma begins there.
    stop = min(columns.stop + CHROMA_MARGIN, coded.header.width) if in_color else columns.stop
    walk = walk_crop(len(coded.data), y=rows, x=(columns.start // 2 * 2, stop), field=coded.field)
    return run_walk(walk, coded.data)


def decode_planes(
    sample: ByteData, *, luma_only: bool = False, is_crop: bool = False, n_threads: int = 1
) -> Planes:
    """The planes of one frame as 10-bit codes, as views of libav's own buffers.

    Parameters
    ----------
    sample
        A complete frame, whose structure has been checked.
    luma_only
        Skip the chroma planes, which saves a quarter of the time.
    is_crop
        The frame is smaller than the others of its movie.
    n_threads
        Threads that share the slices of this frame.

    Raises
    ------
    FrameDecodeError
        libav rejects the bytes, or flags the frame as corrupt.
    """
    packet = av.Packet(len(sample))
    packet.update(sample)  # type: ignore[arg-type]  # any buffer works
    context = _find_context(luma_only, is_crop, n_threads)
    try:
        frames = context.decode(packet)
    except av.FFmpegError as error:
        raise FrameDecodeError(f"the decoder rejects it: {error}") from error
    if len(frames) != 1:
        raise FrameDecodeError(f"the decoder returns {len(frames)} frames for it")
    (frame,) = frames
    if frame.is_corrupt:
        raise FrameDecodeError("the decoder flags it as corrupt")
    luma = _view_plane(frame, 0)
    if luma_only:
        nothing = luma[:, :0]
        return Planes(luma, nothing, nothing)
    return Planes(luma, _view_plane(frame, 1), _view_plane(frame, 2))


def _find_context(luma_only: bool, is_crop: bool, n_threads: int) -> VideoCodecContext:
    """The context of the current thread for this kind of frame; a forked process starts with new ones."""
    key = (os.getpid(), luma_only, is_crop, n_threads)
    contexts: dict[tuple[int, bool, bool, int], VideoCodecContext] = _thread.__dict__.setdefault(
        "contexts", {}
    )
    if key not in contexts:
        context = av.CodecContext.create("prores", "r")
        assert isinstance(context, VideoCodecContext)  # noqa: S101 - for mypy
        context.thread_type = ThreadType.NONE if n_threads == 1 else ThreadType.SLICE
        context.thread_count = n_threads
        if luma_only:
            context.flags |= Flags.gray
        contexts[key] = context
    return contexts[key]


class SequenceContext:
    """A context for the samples of a movie with inter-frame coding; for one thread at a time.

    libav notices damage in H.264 by its error concealment, which therefore stays on; frames that it has
    touched are flagged as corrupt, and none of them is returned.

    Parameters
    ----------
    stream
        The codec and its configuration.
    strict
        Errors stop the decoding of a sample. Not from an open group on, whose first samples refer to missing
        ones: those are decoded all the same, because later ones count them.
    n_late
        Greatest number of samples that are decoded before another one and shown after it, at most 16. Many
        cameras leave it out of the stream, and libav would lose frames until it has seen as many.
    """

    def __init__(self, stream: StreamFormat, *, strict: bool, n_late: int) -> None:
        context = av.CodecContext.create(stream.codec, "r")
        assert isinstance(context, VideoCodecContext)  # noqa: S101 - for mypy
        context.extradata = stream.configuration
        context.thread_type = ThreadType.NONE
        context.thread_count = 1
        context.flags |= Flags.unaligned  # or libav crops less at the left than the stream says
        context.options = {
            "err_detect": "crccheck+bitstream+buffer" + ("+explode" if strict else ""),
            "has_b_frames": str(n_late),
        }
        self._context = context

    def send(self, sample: ByteData, number: int) -> list[CodedFrame]:
        """The frames that are complete after this sample; `number` marks the frame that it becomes.

        Raises
        ------
        FrameDecodeError
            libav rejects the sample, or it is empty.
        StoppedError
            Nobody waits for the frames any more: one may need minutes of samples.
        """
        check_stopped()
        if not len(sample):
            raise FrameDecodeError("it is empty")
        packet = av.Packet(len(sample))
        packet.update(sample)  # type: ignore[arg-type]  # any buffer works
        packet.pts = number
        return self._decode(packet)

    def finish(self) -> list[CodedFrame]:
        """The frames that are left; the context takes no more samples."""
        return self._decode(None)

    def _decode(self, packet: "av.Packet[Any] | None") -> list[CodedFrame]:
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError as error:
            raise FrameDecodeError(f"the decoder rejects it: {error}") from error
        return [_view_frame(frame) for frame in frames]


_FULL_RANGE = 2  # AVCOL_RANGE_JPEG


def _view_frame(frame: VideoFrame) -> CodedFrame:
    """The planes of a frame, as views of libav's own buffers."""
    parts = frame.format.components
    depth = parts[0].bits
    is_planar = [part.plane for part in parts] == list(range(len(parts)))
    if frame.format.is_rgb or not is_planar or len(parts) not in (1, 3) or depth not in (8, 10):
        raise UnsupportedCodecError(
            f"its frames are {frame.format.name}; planes of Y'CbCr with 8 or 10 bits are supported"
        )
    return CodedFrame(
        number=-1 if frame.pts is None else int(frame.pts),
        is_corrupt=frame.is_corrupt,
        planes=tuple(_view_plane(frame, i, "u1" if depth == 8 else "<u2") for i in range(len(parts))),
        full_range=frame.format.name.startswith("yuvj") or frame.color_range == _FULL_RANGE,
        matrix=int(frame.colorspace),
        interlaced=frame.interlaced_frame,
    )


def _view_plane(frame: VideoFrame, index: int, dtype: str = "<u2") -> npt.NDArray[Any]:
    plane = frame.planes[index]
    lines = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
    return lines[:, : plane.width]
