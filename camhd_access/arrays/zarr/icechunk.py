"""Icechunk: movies as virtual chunks of a repository, pinned to their versions and appended along time.

Input: readers of movies, and a repository or one of its sessions. Output: the group of `hierarchy`. Samples
stay in the movies; each reference contains the movie's ETag or modification time, so that Icechunk rejects
another version. Coordinates are stored in the repository.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from camhd_access.arrays.concat import common_attributes
from camhd_access.arrays.zarr.hierarchy import ROOT, VIDEO, describe_movies
from camhd_access.arrays.zarr.references import check_movies, find_address, find_samples
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.selection import FrameSelection
from camhd_access.movie.stack import FrameStack
from camhd_access.urls import redact_url

if TYPE_CHECKING:
    from icechunk import IcechunkStore, Repository, Session

__all__ = ["write_icechunk"]

Node: TypeAlias = Any
"""A Zarr group or array; Zarr's types do not say which."""


def write_icechunk(
    readers: MovieReader | Sequence[MovieReader],
    target: "Repository | Session | IcechunkStore",
    *,
    append: bool = False,
    branch: str = "main",
    message: str | None = None,
    frames: FrameSelection = slice(None),
    pix_fmt: str = "rgb24",
    fields: bool = False,
    reduce: int = 1,
) -> str | None:
    """Write references to movies into an Icechunk repository, and return the snapshot that was committed.

    Parameters
    ----------
    readers
        The movies, in chronological order; of the same size, codec and colour matrix.
    target
        A repository, to whose `branch` one commit is made; or a writable session or its store, which the
        caller commits. The configuration of the repository must have a virtual chunk container for the
        movies' URLs.
    append
        Append to the existing movies along time.
    branch, message
        Branch and message of the commit to a repository.
    frames
        Frames of each movie.
    pix_fmt, fields, reduce
        As for `open_movie`.

    Returns
    -------
    str or None
        Id of the new snapshot; None if the caller commits.

    Raises
    ------
    ImportError
        icechunk is missing.
    FileExistsError
        The repository is not empty, and `append` is not set.
    ValueError
        The movies cannot be combined with each other or with the existing ones, or are not later than these,
        or the repository has no virtual chunk container for them. Nothing is committed then.

    Notes
    -----
    Makes no requests other than those of the readers. References contain the movie's modification time or, in
    buckets, its ETag: Icechunk raises an error if the movie has been replaced since. Read the result with
    `xarray.open_zarr(session.store, consolidated=False)` and the codec of this package.

    Examples
    --------
    >>> snapshot = write_icechunk(MovieReader(url, cache=False), repository, message="a first movie")
    """
    import icechunk  # noqa: PLC0415 - an extra

    movies = check_movies(readers)
    stacks = [reader.stack(frames, pix_fmt=pix_fmt, fields=fields, reduce=reduce) for reader in movies]
    session = target.writable_session(branch) if isinstance(target, icechunk.Repository) else target
    store = session.store if isinstance(session, icechunk.Session) else session
    is_empty = not sync(store.exists(ROOT))
    if not is_empty and not append:
        raise FileExistsError("the repository is not empty; append=True appends movies along time")
    values = describe_movies(movies, stacks, to_append=not is_empty)
    n_before = 0 if is_empty else _append_values(store, values)
    if is_empty:
        _write_values(store, values)
    _write_references(store, movies, stacks, first_sample=n_before)
    if not isinstance(target, icechunk.Repository):
        return None
    return str(session.commit(message or f"Add {', '.join(redact_url(reader.urlpath) for reader in movies)}"))


def _write_values(store: "IcechunkStore", values: dict[str, bytes]) -> None:
    """Write everything except samples; metadata documents before the chunks that depend on them."""
    buffer = default_buffer_prototype().buffer
    root = json.loads(values[ROOT])
    del root["consolidated_metadata"]  # Icechunk maintains its own
    values = {ROOT: json.dumps(root).encode()} | {key: value for key, value in values.items() if key != ROOT}
    for key in sorted(values, key=lambda key: not key.endswith(ROOT)):
        sync(store.set(key, buffer.from_bytes(values[key])))


def _append_values(store: "IcechunkStore", values: dict[str, bytes]) -> int:
    """Append to the existing arrays and coordinates; returns the previous number of samples."""
    buffer = default_buffer_prototype().buffer
    added: Node = zarr.open_group(
        MemoryStore({key: buffer.from_bytes(value) for key, value in values.items()}), mode="r"
    )
    group: Node = zarr.open_group(store, mode="r+")
    _check_fit(group, added)
    n_before = group[VIDEO].shape[0]
    for name, new in added.arrays():
        old = group[name]
        if name == VIDEO:
            old.resize((n_before + new.shape[0], *new.shape[1:]))
        elif not old.ndim:
            _repeat(store, group, name, new, n_before)
        elif new.metadata.dimension_names == ("time",):
            old.append(new[...])
    for old, new in ((group, added), (group[VIDEO], added[VIDEO])):
        old.attrs.put(common_attributes([dict(old.attrs), dict(new.attrs)]))
    return int(n_before // added[VIDEO].chunks[0])


def _repeat(store: "IcechunkStore", group: Node, name: str, new: Node, n_before: int) -> None:
    """Replace a scalar by one value per frame, followed by those of `new`."""
    value = group[name][...]
    document = json.loads(sync(new.store.get(f"{name}/{ROOT}", default_buffer_prototype())).to_bytes())
    document["shape"] = [n_before + new.shape[0]]
    del group[name]
    sync(
        store.set(
            f"{name}/{ROOT}", default_buffer_prototype().buffer.from_bytes(json.dumps(document).encode())
        )
    )
    array = group[name]
    array[:n_before] = np.full(n_before, value, array.dtype)
    array[n_before:] = new[...]


def _check_fit(group: Node, added: Node) -> None:
    """Raise `ValueError` unless `added` continues `group`."""
    if VIDEO not in group:
        raise ValueError(f"the repository contains no movies, but {', '.join(sorted(group)) or 'nothing'}")
    old, new = group[VIDEO], added[VIDEO]
    for what in ("codecs", "chunk_grid", "data_type", "dimension_names"):
        of_old, of_new = getattr(old.metadata, what), getattr(new.metadata, what)
        if of_old != of_new:
            raise ValueError(f"{what} differs: {of_old} in the repository, {of_new} in the new movies")
    if set(group.array_keys()) != set(added.array_keys()):
        raise ValueError(
            f"the movies in the repository have other coordinates: {', '.join(sorted(group.array_keys()))}"
        )
    for name, array in added.arrays():
        if "time" not in array.metadata.dimension_names and not np.array_equal(group[name][...], array[...]):
            raise ValueError(f"the movies in the repository have a different {name}")
    if group["time"].attrs.get("units") != added["time"].attrs["units"]:
        raise ValueError(
            "the start times of the movies in the repository are unknown, so there is no common time axis"
        )
    if group["time"].shape[0] and added["time"][0] <= group["time"][-1]:
        last = np.datetime64(int(group["time"][-1]), "ns")
        raise ValueError(
            f"the repository has frames until {last}; movies must be appended in chronological order"
        )


def _write_references(
    store: "IcechunkStore", movies: Sequence[MovieReader], stacks: Sequence[FrameStack], *, first_sample: int
) -> None:
    for reader, stack in zip(movies, stacks, strict=True):
        samples = find_samples([reader], [stack])
        location = _find_location(reader)
        refused = store.set_virtual_refs_arr(
            f"/{VIDEO}",
            (len(samples), *[1] * (stack.ndim - 1)),
            [location if size else "" for size in samples["size"]],  # a sample without bytes is missing
            samples["offset"].to_numpy(np.uint64),
            samples["size"].to_numpy(np.uint64),
            arr_offset=(first_sample, *[0] * (stack.ndim - 1)),
            checksum=_find_checksum(reader),
        )
        if refused:
            raise ValueError(
                f"the repository has no virtual chunk container for {redact_url(location)}: add one to its "
                "configuration (config.set_virtual_chunk_container)"
            )
        first_sample += len(samples)


def _find_location(reader: MovieReader) -> str:
    """The movie's URL in the form that Icechunk needs."""
    address = find_address(reader)
    if address.startswith("http") and "?" in address:
        raise ValueError(f"{redact_url(address)}: Icechunk supports only URLs without a query")
    path = address.removeprefix("file://")
    return address if path == address else f"file://{quote(path)}"


def _find_checksum(reader: MovieReader) -> str | datetime | None:
    """The version of the reader's movie: its ETag in buckets, else its modification time.

    Icechunk sends ETags without quotes, which buckets accept, but Apache and nginx do not.
    """
    info = reader.source.filesystem.info(reader.source.path)
    if not reader.urlpath.lower().startswith("http"):
        for name in ("ETag", "etag", "e_tag"):
            if (tag := info.get(name)) and not tag.startswith("W/"):
                return str(tag)
    for name in ("last_modified", "LastModified", "mtime"):
        if (when := info.get(name)) is not None:
            return _to_datetime(when)
    return None


def _to_datetime(when: float | str | datetime) -> datetime:
    if isinstance(when, str):
        return parsedate_to_datetime(when)
    moment = when if isinstance(when, datetime) else datetime.fromtimestamp(when, UTC)
    return moment + timedelta(microseconds=-moment.microsecond % 1_000_000)  # Icechunk compares whole seconds
