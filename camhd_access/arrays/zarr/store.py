"""`MovieStore`: a movie as a Zarr store, generated from its index on the fly.

Input: keys of Zarr. Output: for a chunk of `video`, the bytes of one sample, read from the
movie as usual (checked, cached, pinned to the version that was opened); for every other key, the value from
`hierarchy`. Nothing is copied, and nothing can be written.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import cached_property
from itertools import chain
from typing import Any, Never

import numpy as np
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from camhd_access.arrays.zarr.codec import ProResCodec
from camhd_access.arrays.zarr.hierarchy import VIDEO, chunk_key, describe_movies
from camhd_access.movie.index_cache import Recover
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.selection import FrameSelection
from camhd_access.movie.stack import FrameStack
from camhd_access.ranges import ByteRange
from camhd_access.storage.lazyhttp.tasks import in_thread

__all__ = ["MovieStore"]

_READ_ONLY = "a movie is read-only; copy frames to a writable store with write_samples"


class MovieStore(Store):
    """A movie as a read-only Zarr store: `xarray.open_zarr(MovieStore(urlpath))`.

    Parameters
    ----------
    urlpath
        Anything that fsspec opens: `https://…`, `s3://…`, a local path, `memory://…`.
    frames, pix_fmt, fields, reduce
        As for `open_movie`.
    recover
        As for `MovieReader`.
    cache
        Cache fetched bytes on disk, for this and other processes.
    storage_options
        Arguments for the filesystem's constructor.

    Raises
    ------
    CamhdError
        As raised by `MovieReader`.
    ValueError
        `fields` of a progressive movie, an unknown `pix_fmt` or `reduce`.

    Notes
    -----
    A group with the array `video`, whose chunks are the samples of the movie, and its coordinates.
    Opening costs the same as for `MovieReader`; a chunk costs one request for the whole sample. For formats
    that differ only in byte order (`rgb48le`, `rgb48be`) Zarr returns native numbers. Pickles as
    address and version of the movie.

    Examples
    --------
    >>> import xarray as xr
    >>> xr.open_zarr(MovieStore(url), chunks=None).video.dims
    ('time', 'y', 'x', 'channel')
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(
        self,
        urlpath: str | os.PathLike[str],
        *,
        frames: FrameSelection | None = None,
        pix_fmt: str = "rgb24",
        fields: bool = False,
        reduce: int = 1,
        recover: Recover = False,
        cache: bool = True,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(read_only=True)
        self._reader = MovieReader(urlpath, recover=recover, cache=cache, storage_options=storage_options)
        self._frames = slice(None) if frames is None else frames
        self._shown: dict[str, Any] = {"pix_fmt": pix_fmt, "fields": fields, "reduce": reduce}
        ProResCodec.of(self._stack)  # raises for wrong arguments and movies immediately

    @cached_property
    def _stack(self) -> FrameStack:
        return self._reader.stack(self._frames, **self._shown)

    @cached_property
    def _documents(self) -> dict[str, bytes]:
        return describe_movies([self._reader], [self._stack])

    def __getstate__(self) -> dict[str, Any]:
        derived = ("_stack", "_documents")
        return {name: value for name, value in self.__dict__.items() if name not in derived}

    def __str__(self) -> str:
        return self._reader.name

    def __repr__(self) -> str:
        return f"<MovieStore {self}: {VIDEO} {self._stack.shape} {self._shown['pix_fmt']}>"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, MovieStore)
            and (self._stack.source, self._stack.decoder) == (other._stack.source, other._stack.decoder)
            and np.array_equal(self._stack.frames, other._stack.frames)
        )

    def __hash__(self) -> int:
        return hash(self._stack.source.path)

    def __dask_tokenize__(self) -> tuple[object, ...]:
        return type(self).__name__, *self._stack.identity

    def with_read_only(self, read_only: bool = False) -> "MovieStore":
        """The store itself, which is always read-only."""
        if not read_only:
            raise ValueError(_READ_ONLY)
        return self

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The value of a key, or a part of it; None if the key does not exist."""
        data = await in_thread(self._read, key, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """The values of several keys, or parts of them."""
        return await asyncio.gather(*(self.get(key, prototype, wanted) for key, wanted in key_ranges))

    async def exists(self, key: str) -> bool:
        """Whether the key exists."""
        return await in_thread(lambda: self._find_sample(key) is not None or key in self._documents)

    async def list(self) -> AsyncIterator[str]:
        """All keys."""
        for key in await in_thread(self._list_keys):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """All keys that begin with `prefix`."""
        async for key in self.list():
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """The names directly below `prefix`."""
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        for name in {key.removeprefix(folder).split("/")[0]: key async for key in self.list_prefix(folder)}:
            yield name

    async def set(self, key: str, value: Buffer) -> Never:  # noqa: ARG002 - always refused
        """Raise: movies are read-only."""
        raise ValueError(_READ_ONLY)

    async def delete(self, key: str) -> Never:  # noqa: ARG002 - always refused
        """Raise: movies are read-only."""
        raise ValueError(_READ_ONLY)

    async def getsize(self, key: str) -> int:
        """Bytes of a value; for a sample, from the index."""
        sample = await in_thread(self._find_sample, key)
        return sample.n_bytes if sample else await super().getsize(key)

    def _read(self, key: str, wanted: ByteRequest | None) -> bytes | None:
        sample = self._find_sample(key)
        if sample is None:
            document = self._documents.get(key)
            return document and document[slice(*_bounds(wanted, len(document)))]
        start, stop = _bounds(wanted, sample.n_bytes)
        if start >= stop:
            return b""
        return self._stack.source.read(ByteRange(sample.start + start, sample.start + stop))

    def _find_sample(self, key: str) -> ByteRange | None:
        """Byte range of the sample with that key; None if it is not the key of a sample."""
        _, _, number = key.removesuffix("/0" * (self._stack.ndim - 1)).rpartition("/")
        if not number.isdecimal() or key != chunk_key(VIDEO, int(number), self._stack.ndim):
            return None
        first = int(number) * self._n_per_sample
        if first >= len(self._stack.frames):
            return None
        start = int(self._stack.sample_offset[first])
        return ByteRange(start, start + int(self._stack.sample_size[first]))

    @property
    def _n_per_sample(self) -> int:
        return self._stack.decoder.n_per_frame

    def _list_keys(self) -> Iterable[str]:
        n_samples = len(self._stack.frames) // self._n_per_sample
        samples = (chunk_key(VIDEO, i, self._stack.ndim) for i in range(n_samples))
        return chain(self._documents, samples)


def _bounds(wanted: ByteRequest | None, n_bytes: int) -> tuple[int, int]:
    """First byte, and one past the last, of the wanted part of `n_bytes`."""
    match wanted:
        case RangeByteRequest(start, end):
            return min(start, n_bytes), min(end, n_bytes)
        case OffsetByteRequest(offset):
            return min(offset, n_bytes), n_bytes
        case SuffixByteRequest(suffix):
            return max(0, n_bytes - suffix), n_bytes
    return 0, n_bytes
