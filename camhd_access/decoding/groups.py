"""Groups of pictures: frames that decode only after others (H.264, HEVC).

Samples are decoded in the order in which they lie in the file, from one that needs no earlier ones; frames
come out in display order, some samples later. `RunDecoder` follows both: samples go in, frames go out once
it is certain that they are intact. libav tells of damage only in the frame that has it, and not in those
made from that frame, which may come out before. So a frame is held back until all samples before its own
are accounted for, and after damage no frame is returned before the next sample at which decoding can begin.
`GroupDecoder` turns the frames into pixels.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Never, TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.colors import convert_colors, is_supported
from camhd_access.decoding.decoders import Decoder, check_reduction
from camhd_access.decoding.libav import VERSION, SequenceContext
from camhd_access.decoding.machine_code import find_kernel
from camhd_access.decoding.pixels import find_pixel_format
from camhd_access.decoding.subsampled import CodedFrame, average_blocks, convert_frame
from camhd_access.decoding.windows import Window
from camhd_access.errors import FrameDecodeError, FrameSizeError, UnsupportedCodecError
from camhd_access.formats.h26x import (
    MAX_LATE,
    Entry,
    StreamFormat,
    find_entry,
    is_disposable,
    read_parameters,
    shows_fields,
)
from camhd_access.formats.quicktime import CodedSamples
from camhd_access.memory import empty
from camhd_access.ranges import ByteData

__all__ = [
    "Decoded",
    "GroupDecoder",
    "NoEntryError",
    "RunDecoder",
    "choose_group_decoder",
    "decodes_in_order",
    "find_begin",
]

CODEC_NAMES = {"h264": "H.264", "hevc": "HEVC"}

Decoded: TypeAlias = CodedFrame | FrameDecodeError
"""The frame of a sample, or why there is none."""


@dataclass(frozen=True, slots=True)
class GroupDecoder(Decoder):
    """Whole frames, decoded one after the other; reduced ones are means of areas of decoded frames."""

    @property
    def name(self) -> str:
        """Name of the decoder."""
        return f"libavcodec {VERSION}"

    def walk(self, *_: object, **__: object) -> Never:
        """Samples do not decode one by one: raises."""
        raise _refuse_single()

    def take(self, *_: object, **__: object) -> Never:
        """Samples do not decode one by one: raises."""
        raise _refuse_single()

    def decode(self, *_: object, **__: object) -> Never:
        """Samples do not decode one by one: raises."""
        raise _refuse_single()

    def convert(self, frame: CodedFrame, window: Window, out: npt.NDArray[np.unsignedinteger]) -> None:
        """Fill `out` with the pixels of a window of a decoded frame.

        Raises
        ------
        FrameSizeError
            The frame has another size than the movie.
        """
        height, width = frame.planes[0].shape
        if (height, width) != self.frame_size:
            raise FrameSizeError(
                f"frame of {width}x{height} pixels in a movie of {self.frame_size[1]}x{self.frame_size[0]}"
            )
        if self.pixel_format.layout == "code" and frame.bit_depth != self.pixel_format.bit_depth:
            raise _refuse_code(frame.bit_depth)
        step = self.reduction
        y, x = (slice(extent.start * step, extent.stop * step) for extent in window)
        size = y.stop - y.start, x.stop - x.start
        pixels = out if step == 1 else empty(self.pixel_format.shape(*size), self.pixel_format.dtype)
        kernel = find_kernel() if is_supported(frame, self.pixel_format, (y, x), pixels) else None
        convert = convert_frame if kernel is None else partial(convert_colors, kernel)
        convert(
            frame,
            self.pixel_format,
            window=(y, x),
            track_matrix=self.track_matrix,
            out=pixels,
        )
        if step > 1:
            average_blocks(pixels, step, out=out)


def choose_group_decoder(
    stream: StreamFormat,
    frame_size: tuple[int, int],
    *,
    pix_fmt: str,
    track_matrix: int | None = None,
    fields: bool = False,
    deinterlace: bool = False,
    reduce: int = 1,
) -> GroupDecoder:
    """The decoder for a movie with inter-frame coding; parameters as for `choose_decoder`.

    Raises
    ------
    ValueError
        An unknown pixel format or reduction; fields; 10-bit codes of an 8-bit movie.
    """
    if fields or deinterlace:
        raise ValueError(
            f"{'fields' if fields else 'deinterlace'}: fields are only read from ProRes, where each is coded "
            f"on its own; this movie is {CODEC_NAMES[stream.codec]}"
        )
    pixel_format = find_pixel_format(pix_fmt)
    if pixel_format.layout == "code" and stream.bit_depth not in (None, pixel_format.bit_depth):
        raise _refuse_code(stream.bit_depth)
    return GroupDecoder(frame_size, False, track_matrix, pixel_format, check_reduction(reduce))


def _refuse_single() -> UnsupportedCodecError:
    return UnsupportedCodecError("a sample of H.264 or HEVC does not decode without those before it")


def _refuse_code(bit_depth: int | None) -> ValueError:
    return ValueError(f"pix_fmt gray10le: luma is coded with {bit_depth} bits in this movie; use gray")


def decodes_in_order(stream: StreamFormat, samples: Iterable[ByteData]) -> bool:
    """Whether the frames of samples are shown in the order of decoding; damaged ones do not count."""
    context = SequenceContext(stream, strict=False, n_late=MAX_LATE)
    frames: list[CodedFrame] = []
    with suppress(FrameDecodeError, UnsupportedCodecError):
        for number, sample in enumerate(samples):
            frames += context.send(sample, number)
        frames += context.finish()
    return all(a.number < b.number for a, b in pairwise(frames))


def find_begin(coded: CodedSamples, number: int, sample: ByteData, stream: StreamFormat) -> Entry:
    """What decodes exactly from a sample on; `NONE` too where frames could be missing unnoticed."""
    entry = find_entry(sample, stream) if coded.is_sync[number] else Entry.NONE
    if coded.may_be_out_of_order and entry is Entry.OPEN and coded.is_sync[:number].any():
        return Entry.NONE  # libav would silently leave out those that are shown before it
    return entry


class NoEntryError(Exception):
    """Decoding cannot begin at the sample that the container calls a sync sample."""


class _Told(NamedTuple):
    """What a sample and the parameter sets say of its frame, and libav does not."""

    in_fields: bool
    """Interlaced, whatever libav concludes from the pictures before."""
    chroma_location: int


class RunDecoder:
    """Decodes samples one after the other, from a sync sample on; for one thread at a time.

    Parameters
    ----------
    coded
        The samples of the movie.
    start
        The sample to begin with.
    """

    def __init__(self, coded: CodedSamples, start: int) -> None:
        self.start = self.next = start
        """The first sample, and the one to send next."""
        self.is_intact = True
        """Whether no damage has been noticed since it began."""
        self.is_finished = False
        """Whether it takes no more samples."""
        self._coded, self._stream, self._rank = coded, coded.stream, coded.rank
        self._context: SequenceContext | None = None
        self._waiting: dict[int, Decoded | None] = {}  # None: not returned yet
        self._told: dict[int, _Told] = {}
        self._entries: set[int] = set()
        self._last_rank = self._exact_from = -1
        self._fault: FrameDecodeError | None = None

    def awaits(self, sample: int) -> bool:
        """Whether the frame of a sample that was sent has not been returned."""
        return sample in self._waiting

    def send(self, sample: ByteData, *, is_wanted: bool = True) -> Iterator[tuple[int, Decoded]]:
        """Decode the next sample; the frames that are certain now, in decoding order.

        A sample that is not wanted is left out if no other needs it, not even to tell the order.

        Raises
        ------
        NoEntryError
            It is the first one, and decoding cannot begin there.
        """
        number = self.next
        if self._coded.is_sync[number]:
            self._stream = read_parameters(sample, self._stream)
        entry = find_begin(self._coded, number, sample, self._stream)
        if self._context is None and entry is Entry.NONE:
            raise NoEntryError
        if not (is_wanted or self._is_needed(number, sample)):
            self.next += 1
            return
        if entry is not Entry.NONE and not self.is_intact:
            yield from self.finish()
            self.start, self.is_finished, self._context = number, False, None
        elif entry is not Entry.NONE:
            self._entries.add(number)
        context = self._context = self._context or self._begin(entry)
        self.next += 1
        self._waiting[number] = None
        self._told[number] = _Told(shows_fields(sample, self._stream), self._stream.chroma_location)
        try:
            self._receive(context.send(sample, number))
        except FrameDecodeError as error:
            self._reject(number, error)
        yield from self._release()

    def _is_needed(self, number: int, sample: ByteData) -> bool:
        if self._coded.is_sync[number] or self._coded.may_be_out_of_order:
            return True
        return not is_disposable(sample, self._stream)

    def _begin(self, entry: Entry) -> SequenceContext:
        """Start anew at the next sample."""
        self._fault, self._last_rank, self.is_intact = None, -1, True
        self._exact_from = int(self._rank[self.next])
        # HEVC marks the pictures that cannot be decoded from here, and libav leaves them out.
        strict = entry is Entry.CLOSED or self._stream.codec == "hevc"
        return SequenceContext(self._stream, strict=strict, n_late=self._coded.n_late)

    def finish(self) -> Iterator[tuple[int, Decoded]]:
        """The frames that are left; no more samples can be sent."""
        self.is_finished = True
        if self._context is not None:
            try:
                self._receive(self._context.finish())
            except FrameDecodeError as error:
                self._fault = self._fault or error
        for number, frame in self._waiting.items():
            if frame is None:
                self._waiting[number] = FrameDecodeError("the decoder returns no frame for it")
        yield from self._release()

    def _receive(self, frames: Sequence[CodedFrame]) -> None:
        for frame in frames:
            number = frame.number
            if number not in self._waiting:
                continue  # taken for lost, because a later one was shown
            if frame.is_corrupt:
                self._reject(number, FrameDecodeError("the decoder flags it as corrupt"))
            elif self._rank[number] < self._last_rank:
                self._reject(number, FrameDecodeError("the decoder shows it after later ones"))
            elif self._waiting[number] is None:
                told = self._told[number]
                self._waiting[number] = replace(
                    frame,
                    interlaced=frame.interlaced or told.in_fields,
                    chroma_location=told.chroma_location,
                )
            self._last_rank = max(self._last_rank, int(self._rank[number]))

    def _reject(self, number: int, error: FrameDecodeError) -> None:
        self._waiting[number] = error
        self.is_intact &= self._rank[number] < self._rank[self.start]

    def _release(self) -> Iterator[tuple[int, Decoded]]:
        """Frames in decoding order, as far as the fate of every sample is known."""
        for number in list(self._waiting):
            frame, rank = self._waiting[number], int(self._rank[number])
            is_usable = rank >= int(self._rank[self.start])
            if frame is None and is_usable:
                if rank > self._last_rank:
                    return  # not its turn yet
                frame = FrameDecodeError("the decoder returns no frame for it")
            del self._waiting[number]
            del self._told[number]
            if number in self._entries:
                self._entries.remove(number)
                self._exact_from = rank if self._fault else self._exact_from
                self._fault = None
            if not is_usable:
                frame = FrameDecodeError("the group before it is damaged, or was not decoded")
            elif isinstance(frame, FrameDecodeError):
                self._fault, self.is_intact = frame, False
            elif self._fault or rank < self._exact_from:
                frame = FrameDecodeError(f"it depends on a damaged frame: {self._fault or 'of its group'}")
            assert frame is not None  # noqa: S101 - for mypy
            yield number, frame
