"""Samples copied into a Zarr store: lossless frames, of the same size as in the movie.

Input: a reader and the frames to keep. Output: a hierarchy (see `hierarchy`) on any store,
with the samples as in the movie. They are written while the next ones are fetched, the group's
document last; previous content is deleted first, starting with that document: an interrupted copy cannot be
opened, so it never looks like a movie with missing or foreign frames.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, TypeAlias

import fsspec
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.local import LocalFileSystem
from tqdm.auto import tqdm
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, StorePath

from camhd_access.arrays.zarr.hierarchy import ROOT, VIDEO, chunk_key, describe_movies
from camhd_access.movie.checks import check_reader
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.selection import FrameSelection
from camhd_access.movie.stack import FrameStack
from camhd_access.urls import options_of, text_of

__all__ = ["write_samples"]

MAX_SAMPLES_AT_ONCE = 16
"""Samples written concurrently: some 9 MB of 1080p."""

Target: TypeAlias = str | os.PathLike[str] | Store


def write_samples(
    reader: MovieReader,
    frames: FrameSelection,
    target: Target,
    *,
    pix_fmt: str = "rgb24",
    fields: bool = False,
    reduce: int = 1,
    overwrite: bool = False,
    progress: bool = True,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Copy the encoded samples of some frames into a new Zarr group, lossless.

    Parameters
    ----------
    reader
        The movie.
    frames
        Frame indices, in the order of the copies.
    target
        A path, a URL that fsspec writes to, or a Zarr store.
    pix_fmt, fields, reduce
        Format that the samples are decoded to when they are read, as for `open_movie`.
    overwrite
        Delete all existing content.
    progress
        Show a progress bar.
    storage_options
        Arguments for the filesystem of `target`.

    Raises
    ------
    FrameIndexError
        The movie has no such frame.
    RemoteFileError
        The bytes could not be read.
    ValueError
        An unknown format, or fields of a progressive movie.
    FileExistsError
        `target` is not empty, and `overwrite` is not set.

    Notes
    -----
    Fetches each sample once, as in `MovieReader.read_encoded`, and decodes nothing; keeps a few at a
    time in memory. Needs a tenth of the size of pixels. `xarray.open_zarr(target)` reads it, with the codec
    of this package.

    Examples
    --------
    >>> import xarray as xr
    >>> write_samples(MovieReader(url), slice(100, 110), "kept.zarr", progress=False)
    >>> xr.open_zarr("kept.zarr").sizes["time"]
    10
    """
    stack = check_reader(reader).stack(frames, pix_fmt=pix_fmt, fields=fields, reduce=reduce)
    documents = describe_movies([reader], [stack])
    root = documents.pop(ROOT)
    place = sync(_open_empty(_open_store(target, storage_options), target, overwrite=overwrite))
    chosen = reader.stack(frames)
    samples = _iter_samples(chosen, ndim=stack.ndim)
    with tqdm(total=len(chosen.frames), desc="samples", unit=" samples", disable=not progress) as bar:
        while batch := dict(islice(samples, MAX_SAMPLES_AT_ONCE)):
            sync(_write(place, batch))
            bar.update(len(batch))
    sync(_write(place, documents))
    sync(_write(place, {ROOT: root}))


def _open_store(target: Target, storage_options: Mapping[str, Any] | None) -> Store:
    if isinstance(target, Store):
        return target
    filesystem, path = fsspec.core.url_to_fs(text_of(target), **(options_of(target, storage_options) or {}))
    if isinstance(filesystem, LocalFileSystem):
        return LocalStore(path)
    # Not in Zarr's event loop: nobody would close its connections.
    return FsspecStore(AsyncFileSystemWrapper(filesystem, asynchronous=True), path=path)


async def _open_empty(store: Store, target: Target, *, overwrite: bool) -> StorePath:
    """The root of an empty store: existing content is deleted, the group's document first.

    Zarr's mode "w" does not help: since 3.2 existing content stays until it is replaced.
    """
    place = await StorePath.open(store, "", mode="a")
    if not await place.is_empty():
        if not overwrite:
            raise FileExistsError(f"{target} is not empty; use overwrite=True to delete its content")
        if store.supports_deletes:
            await store.delete(ROOT)
            await store.delete_dir("")
        else:  # a ZIP file is recreated
            await store.clear()
    return place


def _iter_samples(stack: FrameStack, *, ndim: int) -> Iterator[tuple[str, bytes]]:
    for position, sample in stack.iter_samples():
        yield chunk_key(VIDEO, position, ndim), bytes(sample)


async def _write(place: StorePath, values: Mapping[str, bytes]) -> None:
    buffer = default_buffer_prototype().buffer
    await asyncio.gather(*((place / key).set(buffer.from_bytes(value)) for key, value in values.items()))
