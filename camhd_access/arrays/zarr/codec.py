"""`ProResCodec`: the codec `prores` of Zarr.

Input: the bytes of one sample, and a selection from its chunk. Output: the pixels; only
slices that the selected rows and columns touch are decoded. The chunk is the content of one sample: one
frame, or its two fields. Decoding runs in the package's threads, in parallel to the event loop.
A missing sample is an error, not an image of fill values.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
from zarr.abc.store import ByteGetter
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.registry import register_codec

from camhd_access.decoding.decoders import Decoder, choose_decoder
from camhd_access.decoding.groups import GroupDecoder
from camhd_access.decoding.threads import decode_pool
from camhd_access.decoding.windows import Field
from camhd_access.ending import submit
from camhd_access.errors import FrameDecodeError, UnsupportedCodecError
from camhd_access.memory import empty
from camhd_access.movie.outer_index import AxisIndex, split_positions
from camhd_access.movie.stack import FrameStack, Pixels

__all__ = ["ProResCodec"]


@dataclass(frozen=True)
class ProResCodec(ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin):
    """Decodes one ProRes sample to pixels. Cannot encode: samples are copied, not made from pixels."""

    name: ClassVar[str] = "prores"
    is_fixed_size = False

    frame_size: tuple[int, int]
    """Height and width of the frames."""
    pix_fmt: str
    """Pixel format, by FFmpeg's name."""
    color_matrix: int | None = None
    """Number of the colour matrix for frames without one (ITU-T H.273); None: by the frame's height."""
    fields: bool = False
    """Whether the chunk holds the two fields of the frame, in the order shown."""
    reduce: int = 1
    """Reduction of lines and columns, 8 for previews (see `MovieReader.read`)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame_size", tuple(self.frame_size))
        self.decoder  # noqa: B018 - raises for unknown values

    @classmethod
    def of(cls, stack: FrameStack) -> Self:
        """The codec of a stack, one chunk per sample.

        Raises
        ------
        ValueError
            The stack has only one field of each frame, or is deinterlaced.
        UnsupportedCodecError
            The movie is not ProRes: its samples depend on each other.
        """
        d = stack.decoder
        if isinstance(d, GroupDecoder):
            raise UnsupportedCodecError(
                f"{stack.source.name}: a Zarr chunk is one sample, and those of H.264 and HEVC do not decode "
                "one by one; write pixels with `open_movie(…).to_dataset().to_zarr(…)`"
            )
        if d.deinterlaces or (d.fields and len(stack.field) and not stack.field[1::2].all()):
            raise ValueError("a Zarr chunk contains a frame or both of its fields: use fields=True or False")
        return cls(d.frame_size, d.pixel_format.name, d.track_matrix, d.fields, d.reduction)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The codec described by an array's metadata."""
        return cls(**data["configuration"])

    def to_dict(self) -> dict[str, Any]:
        """Its description in an array's metadata."""
        return {"name": self.name, "configuration": asdict(self) | {"frame_size": list(self.frame_size)}}

    @property
    def decoder(self) -> Decoder:
        """The decoder of samples."""
        return choose_decoder(
            self.frame_size,
            pix_fmt=self.pix_fmt,
            track_matrix=self.color_matrix,
            fields=self.fields,
            reduce=self.reduce,
        )

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of the pixels of one sample: (picture, y, x[, channel])."""
        decoder = self.decoder
        return (decoder.n_per_frame, *decoder.pixel_format.shape(*decoder.size))

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:  # noqa: ANN401, ARG002 - Zarr's
        """Raise if the chunks or data type of the array do not match the decoded samples."""
        native, expected = dtype.to_native_dtype(), self.decoder.pixel_format.dtype
        if (native.kind, native.itemsize) != (expected.kind, expected.itemsize):
            raise ValueError(f"samples decode to {expected}, not to {native}")
        if chunk_grid.chunk_shape != self.chunk_shape:
            raise ValueError(f"samples decode to {self.chunk_shape}; chunks are {chunk_grid.chunk_shape}")

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Samples have any size."""
        raise NotImplementedError

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        raise NotImplementedError(
            "pixels cannot be written as ProRes without loss; copy samples with write_samples, or write "
            "decoded pixels with another codec (`drop_encoding()` in xarray)"
        )

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await self._decode(chunk_data, (slice(None),) * len(chunk_spec.shape), chunk_spec, "sample")

    async def _decode_partial_single(
        self,
        byte_getter: ByteGetter,
        selection: Any,  # noqa: ANN401 - a tuple, one item per axis; Zarr's type allows more
        chunk_spec: ArraySpec,
    ) -> NDBuffer:
        sample = await byte_getter.get(chunk_spec.prototype)
        if sample is None:
            raise FrameDecodeError(f"{byte_getter}: the sample is missing")
        return await self._decode(sample, selection, chunk_spec, str(byte_getter))

    async def _decode(
        self, sample: Buffer, selection: tuple[AxisIndex, ...], chunk_spec: ArraySpec, name: str
    ) -> NDBuffer:
        try:
            pixels = await asyncio.wrap_future(
                submit(decode_pool(), self.decode_part, sample.to_bytes(), selection)
            )
        except (FrameDecodeError, UnsupportedCodecError) as error:
            raise type(error)(f"{name}: {error}") from error
        return chunk_spec.prototype.nd_buffer.from_numpy_array(pixels)

    def decode_part(self, sample: bytes, selection: tuple[AxisIndex, ...]) -> npt.NDArray[Any]:
        """The pixels of a sample's chunk at `selection`, a numpy index.

        Raises
        ------
        FrameDecodeError, UnsupportedCodecError
            The sample is damaged, or does not match the array.
        """
        narrowed = [_narrow(*each) for each in zip(selection[:3], self.chunk_shape, strict=False)]
        pictures, rows, columns = (stretch for stretch, _ in narrowed)
        pixels = self._decode_window(sample, range(pictures.start, pictures.stop), rows, columns)
        return np.asarray(pixels[(*(inner for _, inner in narrowed), *selection[3:])])

    def _decode_window(self, sample: bytes, pictures: range, rows: slice, columns: slice) -> Pixels:
        decoder = self.decoder
        shape = decoder.pixel_format.shape(rows.stop - rows.start, columns.stop - columns.start)
        out = empty((len(pictures), *shape), decoder.pixel_format.dtype)
        fields = [self._field(picture) for picture in pictures]
        window = rows, columns
        decoder.decode([decoder.take(sample, window, field) for field in fields], out=list(out))
        return out

    def _field(self, picture: int) -> Field:
        return (0, 1)[picture] if self.fields else None


def _narrow(chosen: AxisIndex, length: int) -> tuple[slice, AxisIndex]:
    """The smallest stretch of an axis that contains `chosen`, and the same choice within it.

    Arrays stay arrays, so that they pair with those of other axes.
    """
    if isinstance(chosen, np.ndarray):
        start = int(chosen.min())
        return slice(start, int(chosen.max()) + 1), chosen - start
    return split_positions(np.arange(length)[chosen])


register_codec(ProResCodec.name, ProResCodec)
