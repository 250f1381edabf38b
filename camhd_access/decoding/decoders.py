"""Decoders: from the samples of a movie to the pixels returned.

A decoder is chosen once, when a stack of frames is made (`choose_decoder`). There are two: `FrameDecoder`
for whole frames or single fields, at full size or reduced to a half or a
quarter; and `PreviewDecoder`, for 1/8, from the DC coefficients. Both work in two steps. The first
finds what must be decoded for a window: in a whole sample (`take`), or by a walk (see
`formats.prores.slices`) that reads only some byte ranges of it. The second decodes that, one sample or
several at once: with the package's own decoder if it is compiled and supports the frame, else with libav, or,
if it is reduced, with numpy. The pixels are the same either way, and nothing waits for the compiler.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from camhd_access.decoding import libav, low_pass, machine_code, prores422, repair
from camhd_access.decoding.deinterlacing import field_rows, interpolate_lines
from camhd_access.decoding.pixels import PixelFormat, Planes, choose_matrix, convert_planes, find_pixel_format
from camhd_access.decoding.sums import Sums
from camhd_access.decoding.windows import CodedWindow, Field, Marks, Window, walk_window, whole_window
from camhd_access.errors import FrameDecodeError, UnsupportedCodecError
from camhd_access.formats.prores import decode_preview
from camhd_access.ranges import ByteData, Walk

__all__ = [
    "Decoder",
    "DeinterlacingDecoder",
    "FrameDecoder",
    "PreviewDecoder",
    "check_reduction",
    "choose_decoder",
]


@dataclass(frozen=True, slots=True)
class Decoder(ABC):
    """Strategy for turning the frames of a movie into pixels."""

    n_at_once: ClassVar[int] = 1
    """Best number of samples per call."""
    shows_parts: ClassVar[bool] = False
    """Whether a window needs fewer bytes than the whole frame."""
    deinterlaces: ClassVar[bool] = False
    """Whether the lines of the field that is shown second are interpolated."""

    frame_size: tuple[int, int]
    """Height and width of the frames."""
    fields: bool
    """Whether each field, rather than each frame, is one image."""
    track_matrix: int | None
    """Colour matrix of the movie's index; None if it has none."""
    pixel_format: PixelFormat
    """Format of the pixels."""
    reduction: int = 1
    """Factor by which lines and columns are reduced."""

    @property
    def n_per_frame(self) -> int:
        """Images per frame: 2 with fields, else 1."""
        return 2 if self.fields else 1

    def coded_field(self, field: int) -> Field:
        """The field of the sample from which an image is made; None for both."""
        return (0, 1)[field] if self.fields else None

    def coded_lines(self, rows: slice) -> slice:
        """The lines of the coded frame or field that are needed for some rows of an image."""
        return slice(rows.start * self.reduction, rows.stop * self.reduction)

    @property
    def name(self) -> str:
        """Name of the decoder; another one with the same results is used until it is compiled."""
        if machine_code.setting() != "libav" and machine_code.can_compile():
            return "camhd_access numba, bit-exact with libavcodec"
        return "camhd_access numpy" if self.reduction > 1 else f"libavcodec {libav.VERSION}"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image. A last line that only one of two fields has is left out."""
        height, width = self.frame_size
        return height // self.n_per_frame // self.reduction, width // self.reduction

    def take(self, sample: ByteData, window: Window, field: Field) -> CodedWindow:
        """The part of a whole sample to decode for a window.

        Raises
        ------
        FrameDecodeError, UnsupportedCodecError
            The sample has no frame header, or is of another size than the movie.
        """
        return whole_window(sample, size=self.frame_size, window=window, field=field)

    @abstractmethod
    def walk(self, sample_size: int, window: Window, field: Field) -> Walk[CodedWindow]:
        """Walk from a sample to the part to decode for a window.

        Raises
        ------
        FrameDecodeError, UnsupportedCodecError
            The sample is damaged, or does not match the movie.
        """

    @abstractmethod
    def decode(
        self,
        coded: Sequence[CodedWindow],
        *,
        out: Sequence[npt.NDArray[np.unsignedinteger]],
        n_threads: int = 1,
        masks: bool = False,
    ) -> list[Marks | None]:
        """Fill each of `out` with the pixels of a window; returns damage masks.

        Parameters
        ----------
        n_threads
            Threads that may share one frame.
        masks
            Set damaged pixels to 0 instead of raising.

        Returns
        -------
        For each image a mask of damaged pixels, shape (y, x); None if it is intact.

        Raises
        ------
        FrameDecodeError, UnsupportedCodecError
            One of them is damaged; the content of `out` is then undefined.
        ValueError
            They cannot be decoded together, only one by one.
        """

    def add_up(self, coded: CodedWindow, sums: Sums) -> None:
        """Add the pixels of a window to sums over time.

        Raises
        ------
        FrameDecodeError, UnsupportedCodecError
            The window is damaged; the sums are then undefined.
        """
        self.decode([coded], out=[sums.place()])
        sums.add()


@dataclass(frozen=True, slots=True)
class FrameDecoder(Decoder):
    """Frames or fields at full size, or reduced to a half or a quarter.

    Only the slices that the window touches are decoded. Reduced frames are made from the low frequencies
    of each block.
    """

    shows_parts = True

    def walk(self, sample_size: int, window: Window, field: Field) -> Walk[CodedWindow]:
        """Walk to the slices that the window touches."""
        return walk_window(
            sample_size,
            size=self.frame_size,
            window=window,
            field=field,
            reduce=self.reduction,
            in_color=self.pixel_format.is_color,
        )

    def decode(
        self,
        coded: Sequence[CodedWindow],
        *,
        out: Sequence[npt.NDArray[np.unsignedinteger]],
        n_threads: int = 1,
        masks: bool = False,
    ) -> list[Marks | None]:
        """Fill each of `out`, one by one."""
        return [
            self._decode(each, pixels, n_threads, masks=masks)
            for each, pixels in zip(coded, out, strict=True)
        ]

    def add_up(self, coded: CodedWindow, sums: Sums) -> None:
        """Add the pixels of a window to sums over time, while decoding if possible."""
        coded.check_length()
        kernel = machine_code.find_kernel() if prores422.is_supported(coded.header) else None
        if kernel is None or not self.pixel_format.dtype.isnative or sums.squares is not None:
            Decoder.add_up(self, coded, sums)
            return
        prores422.decode_window(
            kernel,
            coded,
            pixel_format=self.pixel_format,
            track_matrix=self.track_matrix,
            reduce=self.reduction,
            out=sums,
        )

    def _decode(
        self, coded: CodedWindow, out: npt.NDArray[np.unsignedinteger], n_threads: int, *, masks: bool
    ) -> Marks | None:
        is_supported = prores422.is_supported(coded.header)
        if self.reduction > 1 and not is_supported:
            raise UnsupportedCodecError(
                f"reduce={self.reduction} is only supported for ProRes 4:2:2 without alpha; use 1 or 8"
            )
        if not masks:
            coded.check_length()
        kernel = machine_code.find_kernel() if is_supported else None
        if kernel is not None:
            return prores422.decode_window(
                kernel,
                coded,
                pixel_format=self.pixel_format,
                track_matrix=self.track_matrix,
                reduce=self.reduction,
                n_threads=n_threads,
                masks=masks,
                out=out,
            )
        if self.reduction > 1:
            return low_pass.decode_window(
                coded,
                pixel_format=self.pixel_format,
                track_matrix=self.track_matrix,
                reduce=self.reduction,
                masks=masks,
                out=out,
            )
        try:
            libav.decode_window(
                coded,
                pixel_format=self.pixel_format,
                track_matrix=self.track_matrix,
                n_threads=n_threads,
                out=out,
            )
        except FrameDecodeError as error:
            if not masks:
                raise repair.explain(coded, error, luma_only=not self.pixel_format.is_color) from error
            return repair.decode_repaired(
                coded, pixel_format=self.pixel_format, track_matrix=self.track_matrix, out=out
            )
        return None


@dataclass(frozen=True, slots=True)
class PreviewDecoder(Decoder):
    """Means of 8x8 pixels, from the DC coefficients (see `prores.preview`): no libav, a quarter of the time.

    Chroma has half as many blocks, each the mean of two columns of pixels. Damage after the DC
    coefficients of a slice is not detected, because it is not read.
    """

    n_at_once = 4

    def walk(self, sample_size: int, window: Window, field: Field) -> Walk[CodedWindow]:
        """Walk to the whole sample: the coefficients are spread over all slices."""
        (sample,) = yield [(0, sample_size)]
        return self.take(sample, window, field)

    def decode(
        self,
        coded: Sequence[CodedWindow],
        *,
        out: Sequence[npt.NDArray[np.unsignedinteger]],
        n_threads: int = 1,  # noqa: ARG002 - numpy uses one
        masks: bool = False,
    ) -> list[Marks | None]:
        """Fill all of `out` at once."""
        for each in () if masks else coded:
            each.check_length()
        try:
            means = self._means(coded)
        except FrameDecodeError as error:
            if len(coded) > 1:
                raise
            luma_only = not self.pixel_format.is_color
            repaired, marks = repair.repair_preview(coded[0], luma_only=luma_only)
            if not masks and marks.any():
                raise repair.explain_preview(coded[0], error, luma_only=luma_only) from error
            if repaired is not None:
                self._fill([repaired], self._means([repaired]), out)
            out[0][marks] = 0
            return [marks if marks.any() else None]
        self._fill(coded, means, out)
        return [None] * len(coded)

    def _fill(
        self,
        coded: Sequence[CodedWindow],
        means: Sequence[Sequence[npt.NDArray[np.uint16]]],
        out: Sequence[npt.NDArray[np.unsignedinteger]],
    ) -> None:
        """Cut the windows from the means, and convert them."""
        for each, (luma, *chroma), pixels in zip(coded, means, out, strict=True):
            shown = [plane[each.window] for plane in (luma, *(_widen(c, luma) for c in chroma))]
            matrix = choose_matrix(each.header.matrix, self.track_matrix, height=each.header.height)
            convert_planes(
                Planes(*shown) if chroma else Planes(*shown * 3), self.pixel_format, matrix=matrix, out=pixels
            )

    def _means(self, coded: Sequence[CodedWindow]) -> Sequence[Sequence[npt.NDArray[np.uint16]]]:
        """The block means of each whole frame or field: Y, or Y, Cb and Cr."""
        luma_only = not self.pixel_format.is_color
        is_supported = all(prores422.is_supported(each.header) for each in coded)
        if is_supported and (kernel := machine_code.find_kernel()) is not None:
            return [prores422.sample_means(kernel, each, luma_only=luma_only) for each in coded]
        planes = decode_preview(
            [each.data for each in coded], planes="luma" if luma_only else "yuv", fields=self.fields
        )
        places = (i if each.field is None else (i, each.field) for i, each in enumerate(coded))
        return [[plane[place] for plane in planes] for place in places]


@dataclass(frozen=True, slots=True)
class DeinterlacingDecoder(Decoder):
    """Deinterlaced frames: the lines of the field shown first, and interpolated lines between them."""

    shows_parts = True
    deinterlaces = True

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image. A last line that only one of two fields has is left out."""
        height, width = self.frame_size
        return height // 2 * 2 // self.reduction, width // self.reduction

    @property
    def field_decoder(self) -> Decoder:
        """The decoder of the field."""
        return choose_decoder(
            self.frame_size,
            pix_fmt=self.pixel_format.name,
            track_matrix=self.track_matrix,
            fields=True,
            reduce=self.reduction,
        )

    def coded_field(self, field: int) -> Field:  # noqa: ARG002 - always the same
        """The field that is shown first: always 0."""
        return 0

    def coded_lines(self, rows: slice) -> slice:
        """The lines of the field."""
        return self.field_decoder.coded_lines(self._field_rows(rows))

    def _field_rows(self, rows: slice) -> slice:
        return field_rows(rows, self.field_decoder.size[0], reduce=self.reduction)

    def take(self, sample: ByteData, window: Window, field: Field) -> CodedWindow:
        """The part of the field to decode."""
        coded = self.field_decoder.take(sample, (self._field_rows(window[0]), window[1]), field)
        return replace(coded, shown_lines=window[0])

    def walk(self, sample_size: int, window: Window, field: Field) -> Walk[CodedWindow]:
        """Walk to the part of the field to decode."""
        inner = self._field_rows(window[0]), window[1]
        coded = yield from self.field_decoder.walk(sample_size, inner, field)
        return replace(coded, shown_lines=window[0])

    def decode(
        self,
        coded: Sequence[CodedWindow],
        *,
        out: Sequence[npt.NDArray[np.unsignedinteger]],
        n_threads: int = 1,
        masks: bool = False,
    ) -> list[Marks | None]:
        """Fill each of `out`; lines that are interpolated from damaged ones are damaged too."""
        decoder = self.field_decoder
        marks: list[Marks | None] = []
        for each, pixels in zip(coded, out, strict=True):
            rows, columns = each.window
            size = rows.stop - rows.start, columns.stop - columns.start
            field = np.empty(self.pixel_format.shape(*size), self.pixel_format.dtype)
            (damaged,) = decoder.decode([each], out=[field], n_threads=n_threads, masks=masks)
            self._interpolate(each, field, pixels)
            if damaged is not None:
                share = np.empty(pixels.shape[:2], np.uint8)
                self._interpolate(each, damaged.astype(np.uint8) * 255, share)
                damaged = share > 0
                pixels[damaged] = 0
            marks.append(damaged)
        return marks

    def _interpolate(
        self,
        coded: CodedWindow,
        field: npt.NDArray[np.unsignedinteger],
        out: npt.NDArray[np.unsignedinteger],
    ) -> None:
        assert coded.shown_lines is not None  # noqa: S101 - for mypy
        interpolate_lines(
            field,
            coded.window[0].start,
            coded.shown_lines,
            line_offset=int(coded.header.interlace == 2),
            reduce=self.reduction,
            out=out,
        )


def _widen(chroma: npt.NDArray[np.uint16], luma: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Chroma for each column of `luma`; a last column without a whole chroma block copies the one before."""
    if chroma.shape == luma.shape:
        return chroma
    columns = np.arange(luma.shape[1]) // 2
    return chroma.take(columns, axis=1, mode="clip")


def choose_decoder(
    frame_size: tuple[int, int],
    *,
    pix_fmt: str,
    track_matrix: int | None = None,
    fields: bool = False,
    deinterlace: bool = False,
    reduce: int = 1,
) -> Decoder:
    """The decoder for frames or fields in this pixel format, at full size or reduced.

    With `deinterlace`, frames are made of the fields shown first.

    Raises
    ------
    TypeError
        `reduce` is not a whole number.
    ValueError
        An unknown pixel format or reduction.
    """
    reduction = check_reduction(reduce)
    kind = DeinterlacingDecoder if deinterlace else PreviewDecoder if reduction == 8 else FrameDecoder
    return kind(frame_size, fields, track_matrix, find_pixel_format(pix_fmt), reduction)


def check_reduction(reduce: int) -> int:
    """`reduce`, if it is a supported factor."""
    if not isinstance(reduce, int | np.integer) or isinstance(reduce, bool):
        raise TypeError(f"reduce must be 1, 2, 4 or 8, not {reduce!r:.80}")
    if reduce not in (1, 2, 4, 8):
        raise ValueError(f"reduce must be 1, 2, 4 or 8, not {reduce!r}")
    return int(reduce)
