"""`FrameStack`: some frames of one movie, not read yet.

A stack has the positions of its samples and the wanted part of their pixels, and nothing else of the movie;
the part for one task is a few hundred bytes. It has a shape and a dtype like an array, and can be narrowed
to some of its frames, rows and columns without reading. Input: an index. Output: the pixels,
after fetching and decoding only the frames, and within them only the slices, that the index selects. Decoding
is left to its decoder; this module decides which bytes are fetched: whole samples,
neighbours together, or parts of them if that costs less (see `sample_layout`).
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from camhd_access.caching import LRUCache
from camhd_access.decoding.decoders import Decoder, choose_decoder
from camhd_access.decoding.machine_code import announce
from camhd_access.decoding.pixels import PixelFormat, choose_matrix
from camhd_access.decoding.sums import Sums
from camhd_access.decoding.threads import n_cores, spreading
from camhd_access.decoding.windows import CodedWindow, Field, Marks
from camhd_access.errors import (
    CamhdError,
    FrameDecodeError,
    FrameSizeError,
    NoFrameError,
    UnsupportedCodecError,
)
from camhd_access.formats.prores import FrameHeader, walk_frame
from camhd_access.memory import empty
from camhd_access.movie.filesystem_identity import identify_filesystem
from camhd_access.movie.fresh_bytes import read_again
from camhd_access.movie.index_cache import HINT
from camhd_access.movie.outer_index import AxisIndex, Index, expand_index, split_positions, take_outer
from camhd_access.movie.packed_frames import reduce_stack
from camhd_access.movie.sample_layout import Layout, flat_layout, walk_pieces
from camhd_access.ranges import ByteRange, Span, Walk, run_walk
from camhd_access.storage.source import ByteSource

__all__ = ["Damage", "FrameStack", "Pixels"]

Pixels: TypeAlias = npt.NDArray[np.unsignedinteger]
MAX_SLICE_THREADS = 8
"""Threads that share one frame, if only one is read."""

Damage: TypeAlias = dict[int, Marks]
"""Position in the stack of each damaged image, and its mask."""

Coded: TypeAlias = tuple[int, Callable[[], CodedWindow]]
"""Position in the stack, and a function that returns (or fails to return) the bytes to decode."""

MAX_LAYOUTS_KEPT = 1024
"""Movies whose layout is remembered; one takes less than a kilobyte."""

_layouts: LRUCache[ByteSource, Layout] = LRUCache(MAX_LAYOUTS_KEPT)
"""The last known sample layout of each movie."""

MAX_HEADERS_KEPT = 4096
"""Frames whose header is remembered; one takes 0.5 kB."""

_headers: LRUCache[tuple[ByteSource, int], FrameHeader] = LRUCache(MAX_HEADERS_KEPT)
"""Headers of the frames decoded last, by the offset of their samples."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameStack:
    """Images of a movie as an array of shape (picture, y, x[, channel]) that is read when indexed."""

    source: ByteSource
    """The movie's bytes."""
    frames: npt.NDArray[np.int64]
    """Index in the movie of each image's frame; may repeat, in any order."""
    field: npt.NDArray[np.int8]
    """Field of each image: 0 the one shown first, 1 the other; 0 for whole frames."""
    sample_offset: npt.NDArray[np.int64]
    """First byte of each sample in the file."""
    sample_size: npt.NDArray[np.int64]
    """Bytes of each sample."""
    decoder: Decoder
    """The decoder."""
    window: tuple[slice, slice]
    """Rows and columns of the images in the stack; both bounds given, no step."""

    def __reduce__(self) -> tuple[Any, ...]:
        tables = (self.frames, self.field, self.sample_offset, self.sample_size)
        return reduce_stack(type(self), self.source, tables, self.decoder, self.window)

    @property
    def pixel_format(self) -> PixelFormat:
        """Format of the pixels."""
        return self.decoder.pixel_format

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array: (picture, y, x), plus 3 channels for colour."""
        height, width = (extent.stop - extent.start for extent in self.window)
        return (len(self.frames), *self.pixel_format.shape(height, width))

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger]:
        """Type of one value."""
        return self.pixel_format.dtype

    @property
    def ndim(self) -> int:
        """Number of axes: 3, or 4 with colour."""
        return len(self.shape)

    @property
    def byte_ranges(self) -> list[ByteRange]:
        """Byte ranges of the samples in the file."""
        stops = self.sample_offset + self.sample_size
        return [ByteRange(*both) for both in zip(self.sample_offset.tolist(), stops.tolist(), strict=True)]

    @property
    def identity(self) -> tuple[object, ...]:
        """Identifies its pixels among all stacks; small, even if the pixels are not."""
        source = self.source
        file = identify_filesystem(source.filesystem), source.path, source.version
        return *file, self.frames, self.field, self.decoder, self.window

    def select(self, positions: AxisIndex) -> "FrameStack":
        """The stack of some of these images; `positions` count within this stack."""
        chosen = np.atleast_1d(np.arange(len(self.frames))[positions])
        return replace(
            self,
            frames=self.frames[chosen],
            field=self.field[chosen],
            sample_offset=self.sample_offset[chosen],
            sample_size=self.sample_size[chosen],
        )

    def crop(self, rows: slice, columns: slice) -> "FrameStack":
        """The same images, cropped to rows and columns of this window; slices have bounds and no step."""
        y, x = self.window
        return replace(
            self,
            window=(
                slice(y.start + rows.start, y.start + rows.stop),
                slice(x.start + columns.start, x.start + columns.stop),
            ),
        )

    def reduced(self, reduce: int) -> "FrameStack":
        """The same images at a half, a quarter or an eighth, of all blocks that the window touches."""
        decoder = self._choose_decoder(reduce)
        step = decoder.reduction // self.decoder.reduction
        y, x = (
            slice(extent.start // step, min(-(-extent.stop // step), length))
            for extent, length in zip(self.window, decoder.size, strict=True)
        )
        return replace(self, decoder=decoder, window=(y, x))

    def _choose_decoder(self, reduce: int) -> Decoder:
        """The decoder for the same images, reduced."""
        return choose_decoder(
            self.decoder.frame_size,
            pix_fmt=self.pixel_format.name,
            track_matrix=self.decoder.track_matrix,
            fields=self.decoder.fields,
            deinterlace=self.decoder.deinterlaces,
            reduce=reduce,
        )

    def __getitem__(self, index: Index) -> Pixels:
        """The pixels at `index`, decoded in the caller's thread, because tasks run in parallel already.

        Indexing is outer: index arrays of different axes are not paired.
        """
        return self.read_part(index, parallel=False)

    def read_part(self, index: Index, *, parallel: bool = True) -> Pixels:
        """The pixels at `index`; decodes the smallest rectangle that contains them."""
        stack, inner = self.narrow(index)
        return take_outer(stack.read(parallel=parallel), inner)

    def narrow(self, index: Index) -> tuple["FrameStack", tuple[AxisIndex, ...]]:
        """The smallest stack that contains `index`, and the index of the same pixels within it."""
        positions, y, x, *channel = expand_index(index, self.ndim)
        rows, inner_y = split_positions(np.arange(self.shape[1])[y])
        columns, inner_x = split_positions(np.arange(self.shape[2])[x])
        inner_time = 0 if isinstance(positions, int | np.integer) else slice(None)
        return self.select(positions).crop(rows, columns), (inner_time, inner_y, inner_x, *channel)

    def read(self, *, parallel: bool = True, out: Pixels | None = None) -> Pixels:
        """All pixels of the stack: an array of its shape and dtype.

        Parameters
        ----------
        parallel
            Decode on all cores, rather than in the caller's thread.
        out
            Array to fill and return; created if None.

        Raises
        ------
        FrameDecodeError
            A frame is damaged; the message names movie and frame.
        RemoteFileError
            The bytes could not be read.
        ValueError
            `out` has another shape or dtype, or is read-only.
        """
        return self._read(parallel=parallel, out=out, damaged=None)

    def read_marked(self, *, parallel: bool = True, out: Pixels | None = None) -> tuple[Pixels, Damage]:
        """All pixels of the stack, 0 where slices are damaged; and the mask of each damaged image.

        Raises
        ------
        RemoteFileError, ValueError
            As `read`.
        """
        damaged: Damage = {}
        return self._read(parallel=parallel, out=out, damaged=damaged), damaged

    def _read(self, *, parallel: bool, out: Pixels | None, damaged: Damage | None) -> Pixels:
        if out is None:
            out = empty(self.shape, self.dtype)
        elif not isinstance(out, np.ndarray):
            raise TypeError(f"out must be a numpy array, not {type(out).__name__}")
        elif (out.shape, out.dtype) != (self.shape, self.dtype):
            raise ValueError(f"out is {out.dtype}{out.shape}; it must be {self.dtype}{self.shape}")
        elif not out.flags.writeable:
            raise ValueError("out is read-only")
        if out.size:
            self._fill(out, parallel=parallel, damaged=damaged)
        return out

    def _fill(self, out: Pixels, *, parallel: bool, damaged: Damage | None) -> None:
        """Fill an array of the right shape."""
        announce(len(self.frames), waits=not self.source.is_far)
        is_single = len(self.frames) == 1
        n_slice_threads = self._n_slice_threads if parallel and is_single else 1
        # Closed at once if a read fails: the error keeps no bytes alive, and no more is fetched.
        with (
            closing(self._iter_parts() if self._plan_parts() else self._iter_whole()) as pictures,
            spreading(parallel=parallel and not is_single) as submit,
        ):
            while batch := tuple(islice(pictures, self.decoder.n_at_once)):
                submit(self._decode, batch, n_slice_threads, out, damaged)

    def add_up(self, *, squares: bool = False) -> Sums:
        """Sums over time of all images, and of their squares, decoded in the caller's thread.

        Keeps no image in memory, only the sums and the samples in flight. Raises as `read` does.
        """
        announce(len(self.frames), waits=not self.source.is_far)
        refreshed: set[int] = set()
        while True:
            sums = Sums.zeros(self.shape[1:], self.pixel_format, squares=squares)
            try:
                with closing(self._iter_parts() if self._plan_parts() else self._iter_whole()) as pictures:
                    for position, find_window in pictures:
                        current = position
                        self.decoder.add_up(find_window(), sums)
            except (FrameDecodeError, UnsupportedCodecError) as error:
                if current in refreshed or self._read_again(current) is None:
                    raise self._name(error, current) from error
                refreshed.add(current)  # once more from the beginning: the partial sums are invalid
            else:
                return sums

    @property
    def _n_slice_threads(self) -> int:
        """Number of threads for one image: small windows are not worth several."""
        is_large = 4 * prod(self.shape[1:3]) >= prod(self.decoder.size)
        return min(n_cores(), MAX_SLICE_THREADS) if is_large else 1

    def decode(self, sample: bytes, *, parallel: bool) -> Pixels:
        """The first image of the stack, from a `sample` that the caller has fetched; as in `read`.

        Raises
        ------
        FrameDecodeError
            It is damaged.
        """
        announce(1)
        out = empty(self.shape, self.dtype)
        coded = (0, partial(self._find_window, 0, memoryview(sample)))
        self._decode([coded], self._n_slice_threads if parallel else 1, out, None)
        picture: Pixels = out[0]
        return picture

    def find_header(self) -> FrameHeader | None:
        """The header of the first frame; None if this process has not decoded it recently."""
        return _headers.find((self.source, int(self.sample_offset[0]))) if len(self.frames) else None

    def find_matrix(self) -> int | None:
        """Number of the colour matrix of the first frame; None if its header is not known."""
        header, decoder = self.find_header(), self.decoder
        return choose_matrix(header.matrix, decoder.track_matrix, height=header.height) if header else None

    @property
    def n_decoded(self) -> int:
        """Frames that a read decodes."""
        return len(self.frames)

    def plan(self) -> tuple[int, int]:
        """Requests and bytes of a read; an estimate if parts of samples are read.

        Notes
        -----
        Parts are estimated for samples of mean size, with the layout of the one read last of this movie;
        before any was read, as if all rows had the same size, with wide margins (see `sample_layout`).
        """
        return self._plan_parts() or _count(self.source.plan(self.byte_ranges))

    def _plan_parts(self) -> tuple[int, int] | None:
        """Requests and bytes expected if parts of samples are read; None if whole ones cost less.

        Parts must save a request's worth of bytes per sample, as some will take one more than expected.
        Neighbouring samples count as one request: their spans arrive at the same time.
        """
        n = len(self.frames)
        if not (n and self.source.is_far and self.decoder.shows_parts):
            return None
        mean_size = int(self.sample_size.mean())
        ranges = self._layout.expect(mean_size, self._coded_lines, self._field(0))
        spans = self.source.plan(ranges, n_times=n)
        n_requests, n_bytes = (n * count for count in _count(spans))
        whole_cost = self.source.estimate_cost(*_count(self.source.plan(self.byte_ranges, split=False)))
        is_cheaper = self.source.estimate_cost(n_requests + n, n_bytes) < whole_cost
        return (n_requests, n_bytes) if is_cheaper else None

    def iter_samples(self) -> Iterator[tuple[int, memoryview]]:
        """Position in the stack and bytes of every sample, as they arrive: empty ones, then by offset."""
        ranges = self.byte_ranges
        yield from (
            (position, memoryview(b"")) for position, wanted in enumerate(ranges) if not wanted.n_bytes
        )
        for span, data in self.source.fetch(ranges):
            view = memoryview(data)
            for position in span.members:
                start, stop = ranges[position]
                yield position, view[start - span.start : stop - span.start]

    def _iter_whole(self) -> Generator[Coded, None, None]:
        for position, sample in self.iter_samples():
            yield position, partial(self._find_window, position, sample)

    def _find_window(self, position: int, sample: memoryview) -> CodedWindow:
        coded = self.decoder.take(sample, self.window, self._field(position))
        if self.source.is_far and _layouts.find(self.source) is None:
            with suppress(FrameDecodeError, UnsupportedCodecError):  # damage outside the window
                _layouts.keep(self.source, Layout.of(run_walk(walk_frame(len(sample)), sample)))
        return coded

    def _iter_parts(self) -> Generator[Coded, None, None]:
        walks = ((int(self.sample_offset[i]), self._walk_parts(i)) for i in range(len(self.frames)))
        for position, future in enumerate(self.source.answer(walks, n_walks=len(self.frames))):
            yield position, future.result

    def _walk_parts(self, position: int) -> Walk[CodedWindow]:
        size, field = int(self.sample_size[position]), self._field(position)
        walk = self.decoder.walk(size, self.window, field)
        coded, layout = yield from walk_pieces(
            walk, size, layout=self._layout, lines=self._coded_lines, field=field
        )
        _layouts.keep(self.source, layout)
        return coded

    @property
    def _layout(self) -> Layout:
        """The expected layout of a sample; for a new movie, interlaced as CamHD's movies are."""
        return _layouts.find(self.source) or flat_layout(self.decoder.frame_size[0], n_pictures=2)

    @property
    def _coded_lines(self) -> slice:
        """The window's lines in coded frames or fields."""
        return self.decoder.coded_lines(self.window[0])

    def _field(self, position: int) -> Field:
        return self.decoder.coded_field(int(self.field[position]))

    def _decode(
        self,
        batch: Sequence[Coded],
        n_threads: int,
        out: Pixels,
        damaged: Damage | None,
        *,
        again: bool = False,
    ) -> None:
        """Decode some images at once; if one is damaged, one by one; it is read `again` once."""
        try:
            windows = [find_window() for _, find_window in batch]
            for (position, _), window in zip(batch, windows, strict=True):
                _headers.keep((self.source, int(self.sample_offset[position])), window.header)
            marks = self.decoder.decode(
                windows,
                out=[out[position] for position, _ in batch],
                n_threads=n_threads,
                masks=damaged is not None,
            )
        except (FrameDecodeError, UnsupportedCodecError, ValueError) as error:
            if len(batch) > 1:
                for each in batch:
                    self._decode([each], n_threads, out, damaged)
                return
            if not isinstance(error, CamhdError):
                raise
            position = batch[0][0]
            if not again and (fresh := self._read_again(position)):
                self._decode([fresh], n_threads, out, damaged, again=True)
                return
            if damaged is None:
                raise self._name(error, position) from error
            out[position] = 0
            damaged[position] = np.ones(self.shape[1:3], np.bool_)
            return
        for (position, _), where in zip(batch, marks, strict=True):
            if where is None or damaged is None:
                continue
            if not again and (fresh := self._read_again(position)):
                self._decode([fresh], n_threads, out, damaged, again=True)
            else:
                damaged[position] = where

    def _read_again(self, position: int) -> Coded | None:
        """A damaged sample as its server has it; None if that was decoded already."""
        (wanted,) = self.select(position).byte_ranges
        sample = read_again(self.source, wanted)
        if sample is None:
            return None
        return position, partial(self._find_window, position, memoryview(sample))

    def _name(self, error: CamhdError, position: int) -> CamhdError:
        """The same error, with movie and frame in its message."""
        start = self.sample_offset[position]
        # If there is no frame, or one of another size, the index may belong to another file.
        is_curable = isinstance(error, NoFrameError | FrameSizeError)
        hint = f"; if others are too, {HINT}" if is_curable else ""
        return type(error)(
            f"frame {self.frames[position]} of {self.source.name} "
            f"(bytes {start} to {start + self.sample_size[position]}) is damaged: {error}{hint}"
        )


def _count(spans: Sequence[Span]) -> tuple[int, int]:
    """Requests and bytes."""
    return len(spans), sum(span.n_bytes for span in spans)
