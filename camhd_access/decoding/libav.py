"""ProRes samples to pixels, by libav.

What comes in: the bytes of one frame. What goes out: its pixels, or the pixels of a rectangle in it, written
into the caller's array. Four habits keep libav harmless (each one was met the hard way):

* The sample's structure is checked first (`walk_window`), so libav is never surprised.
* Bytes are copied into a packet that libav owns. Lending it a Python buffer crashes at the buffer's end,
  which lacks the padding that libav reads, and deadlocks when a context is freed.
* A codec context belongs to one thread, and to one kind of picture: a change of size would throw its
  buffers away, and two threads on one context crash. Frame threading is never used.
* Every decoded frame is asked whether it is corrupt. libav returns damaged frames as a success, and their
  damaged slices hold the pixels of an *earlier* frame.
"""

import os
import threading
from dataclasses import dataclass
from typing import Literal, TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags, ThreadType
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from camhd_access.decoding.pixels import CHROMA_MARGIN, PixelFormat, Planes, choose_matrix, convert_planes
from camhd_access.errors import FrameDecodeError
from camhd_access.formats.prores import FrameHeader, check_frame, parse_frame_header, walk_crop
from camhd_access.formats.prores.slices import HEAD_BYTES
from camhd_access.ranges import ByteData, Walk, run_walk

__all__ = [
    "CodedWindow",
    "Field",
    "Window",
    "check_size",
    "decode_frame",
    "decode_planes",
    "decode_window",
    "walk_window",
]

Field: TypeAlias = Literal[0, 1] | None
"""0 for the field of a frame that is shown first, 1 for the other, None for both."""
Window: TypeAlias = tuple[slice, slice]
"""Rows and columns of a picture; both bounds given, no step."""

_thread = threading.local()


@dataclass(frozen=True, slots=True)
class CodedWindow:
    """What there is to decode for a window, and where in the decoded planes it lies."""

    data: ByteData
    """A complete ProRes frame: the sample itself, or a smaller one made of some of its slices."""
    header: FrameHeader
    """The frame header of the sample."""
    rows: slice
    """The window's lines in the planes of `data`."""
    columns: slice
    """Its columns in the luma plane, and the ones beside it whose chroma it needs."""
    chroma_columns: slice
    """Likewise in the chroma planes."""
    is_crop: bool
    """`data` is a smaller frame than the others of its movie."""


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
    """Fill `out` with the pixels that `window` shows of one frame, or of one of its fields.

    Parameters
    ----------
    sample
        The frame's bytes as they lie in the file.
    size
        Height and width of the frame that the movie's index states.
    window
        Rows and columns wanted, of the frame or of the field.
    field
        Which field of an interlaced frame; None for the frame.
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
    core, a field half of that, a window of 384x160 a twentieth.
    """
    in_color = pixel_format.is_color
    walk = walk_window(len(sample), size=size, window=window, field=field, in_color=in_color)
    decode_window(
        run_walk(walk, sample),
        columns=window[1],
        pixel_format=pixel_format,
        track_matrix=track_matrix,
        n_threads=n_threads,
        out=out,
    )


def walk_window(
    sample_size: int, *, size: tuple[int, int], window: Window, field: Field, in_color: bool
) -> Walk[CodedWindow]:
    """Walk (see `prores.slices`) to what must be decoded for a window; parameters as for `decode_frame`.

    Raises
    ------
    FrameDecodeError, UnsupportedCodecError
        The frame is of another size, or its structure does not hold.

    Notes
    -----
    Of a whole frame, the headers of all slices are checked too; of a window, libav judges them.
    """
    height, width = size
    rows, columns = window
    if field is None and window == (slice(0, height), slice(0, width)):
        (sample,) = yield [(0, sample_size)]
        header = check_frame(sample, height=height, width=width).header
        chroma_columns = columns if header.chroma == "444" else slice(0, (width + 1) // 2)
        return CodedWindow(sample, header, rows, columns, chroma_columns, is_crop=False)
    (head,) = yield [(0, min(HEAD_BYTES, sample_size))]
    header = parse_frame_header(head)
    check_size(header, size)
    if field is not None and not header.interlaced:
        raise FrameDecodeError("a progressive frame in an interlaced movie: it has no fields")
    # From an even column on, so that the chroma of 4:2:2 begins with it.
    stop = min(columns.stop + CHROMA_MARGIN, width) if in_color else columns.stop
    crop = yield from walk_crop(sample_size, y=rows, x=(columns.start // 2 * 2, stop), field=field)
    chroma_columns = crop.columns if header.chroma == "444" else crop.chroma_columns
    return CodedWindow(crop.data, header, crop.rows, crop.columns, chroma_columns, is_crop=True)


def check_size(header: FrameHeader, size: tuple[int, int]) -> None:
    """Refuse a frame of another size than the movie's index states."""
    if (header.height, header.width) != size:
        raise FrameDecodeError(
            f"frame of {header.width}x{header.height} pixels in a movie of {size[1]}x{size[0]}"
        )


def decode_window(
    coded: CodedWindow,
    *,
    columns: slice,
    pixel_format: PixelFormat,
    track_matrix: int | None,
    n_threads: int = 1,
    out: npt.NDArray[np.unsignedinteger],
) -> None:
    """Fill `out` with the pixels of what `walk_window` found; `columns` are those of its window."""
    planes = decode_planes(
        coded.data,
        luma_only=not pixel_format.is_color,
        is_crop=coded.is_crop,
        n_threads=n_threads,
    )
    shown = Planes(
        planes.y[coded.rows, coded.columns],
        planes.cb[coded.rows, coded.chroma_columns],
        planes.cr[coded.rows, coded.chroma_columns],
    )
    matrix = choose_matrix(coded.header.matrix, track_matrix, height=coded.header.height)
    convert_planes(shown, pixel_format, matrix=matrix, first_column=columns.start % 2, out=out)


def decode_planes(
    sample: ByteData, *, luma_only: bool = False, is_crop: bool = False, n_threads: int = 1
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
