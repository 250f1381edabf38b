"""`MovieParser`: a parser for VirtualiZarr, which combines arrays of references before they are stored.

Input: the URL of a movie. Output: VirtualiZarr's manifests. The chunks of `video` are byte ranges of the
movie; coordinates are stored as values. `MovieReader` reads the index, and VirtualiZarr reads the samples
with the stores of its registry.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from zarr.core.metadata import ArrayV3Metadata

from camhd_access.arrays.zarr.hierarchy import ROOT, VIDEO, describe_movies
from camhd_access.arrays.zarr.references import find_samples
from camhd_access.movie.index_cache import Recover
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.selection import FrameSelection
from camhd_access.movie.stack import FrameStack

if TYPE_CHECKING:
    from obspec_utils.registry import ObjectStoreRegistry
    from virtualizarr.manifests import ChunkManifest, ManifestStore

__all__ = ["MovieParser"]


@dataclass(frozen=True, kw_only=True)
class MovieParser:
    """A parser for VirtualiZarr: `open_virtual_dataset(url, registry=registry, parser=MovieParser())`.

    Notes
    -----
    Calling it raises the errors of `MovieReader` and its `read`, and `ValueError` for empty samples, to
    which VirtualiZarr cannot refer. Its references do not contain the version of the movie: with
    `to_icechunk(last_updated_at=…)`, Icechunk checks that the movie has not been modified since then.
    `write_icechunk` stores the version.
    """

    frames: FrameSelection | None = None
    """Selected frames, as in `open_movie`."""
    pix_fmt: str = "rgb24"
    """Pixel format, as in `open_movie`."""
    fields: bool = False
    """Single fields of an interlaced movie."""
    reduce: int = 1
    """2, 4 or 8: previews, as in `open_movie`."""
    recover: Recover = False
    """Rebuild the index of a truncated recording, as in `MovieReader`."""
    cache: bool = True
    """Cache the index on disk."""
    storage_options: Mapping[str, Any] | None = None
    """Options of the filesystem that reads the index."""
    skip_variables: Iterable[str] = ()
    """Names of coordinates to leave out."""

    def __call__(self, url: str, registry: "ObjectStoreRegistry") -> "ManifestStore":
        """The manifests of the movie at `url`; the stores of `registry` read its samples."""
        from virtualizarr.manifests import ManifestArray, ManifestGroup, ManifestStore  # noqa: PLC0415 - an extra

        reader = MovieReader(
            url, recover=self.recover, cache=self.cache, storage_options=self.storage_options
        )
        frames = slice(None) if self.frames is None else self.frames
        stack = reader.stack(frames, pix_fmt=self.pix_fmt, fields=self.fields, reduce=self.reduce)
        values = describe_movies([reader], [stack])
        group = json.loads(values.pop(ROOT))
        arrays = {}
        for name, document in group["consolidated_metadata"]["metadata"].items():
            if name not in self.skip_variables:
                metadata = ArrayV3Metadata.from_dict(document)
                manifest = _refer_to(url, reader, stack) if name == VIDEO else _hold(values, metadata, name)
                arrays[name] = ManifestArray(metadata=metadata, chunkmanifest=manifest)
        return ManifestStore(ManifestGroup(arrays, attributes=group["attributes"]), registry=registry)


def _refer_to(url: str, reader: MovieReader, stack: FrameStack) -> "ChunkManifest":
    """The manifest of the samples, as references."""
    from virtualizarr.manifests import ChunkManifest  # noqa: PLC0415

    samples = find_samples([reader], [stack])
    grid = (len(samples), *[1] * (stack.ndim - 1))
    return ChunkManifest.from_arrays(
        paths=np.full(grid, url, np.dtypes.StringDType()),
        offsets=samples["offset"].to_numpy(np.uint64).reshape(grid),
        lengths=samples["size"].to_numpy(np.uint64).reshape(grid),
    )


def _hold(values: Mapping[str, bytes], metadata: ArrayV3Metadata, name: str) -> "ChunkManifest":
    """The manifest of a coordinate, with inlined chunks."""
    from virtualizarr.manifests import ChunkManifest  # noqa: PLC0415
    from virtualizarr.manifests.manifest import INLINED_CHUNK_PATH  # noqa: PLC0415

    lengths = zip(metadata.shape, metadata.chunks, strict=True)
    grid = tuple(-(-length // chunk_length) for length, chunk_length in lengths)
    chunks = {index: values[f"{name}/{metadata.encode_chunk_key(index)}"] for index in np.ndindex(grid)}
    sizes = np.array([len(chunk) for chunk in chunks.values()], np.uint64)
    return ChunkManifest.from_arrays(
        paths=np.full(grid, INLINED_CHUNK_PATH, np.dtypes.StringDType()),
        offsets=np.zeros(grid, np.uint64),
        lengths=sizes.reshape(grid),
        inlined=chunks,
    )
