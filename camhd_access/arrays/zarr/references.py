"""References: a small file that lets Zarr read movies in place.

Input: readers of movies. Output: a file in one of kerchunk's formats (specification of
fsspec's reference filesystem, version 1), in which the key of each sample points to a byte range of a movie,
and all other keys include their values. JSON is read completely when it is opened; Parquet, a folder, in
pieces of 10,000 frames, as needed.
"""

import base64
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import pandas as pd
from fsspec.implementations.local import LocalFileSystem

from camhd_access.arrays.zarr.hierarchy import ROOT, VIDEO, chunk_key, describe_movies
from camhd_access.movie.checks import check_reader
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.selection import FrameSelection
from camhd_access.movie.stack import FrameStack
from camhd_access.storage.output_files import check_parquet, open_target, replace_folder
from camhd_access.storage.same_file import check_not_source
from camhd_access.urls import options_of, redact_url, text_of

__all__ = ["check_movies", "find_address", "find_samples", "write_references"]

PARQUET_SUFFIXES = (".parquet", ".parq")

METADATA = ".zmetadata"

RECORD_SIZE = 10_000
"""References per Parquet file."""


def write_references(
    readers: MovieReader | Sequence[MovieReader],
    target: str | os.PathLike[str],
    *,
    frames: FrameSelection = slice(None),
    pix_fmt: str = "rgb24",
    fields: bool = False,
    reduce: int = 1,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Write a file of references, with which Zarr reads frames of one or several movies along time.

    Parameters
    ----------
    readers
        The movies, in chronological order; of the same size, codec and colour matrix.
    target
        Path or URL of the output, which is replaced: a file `….json`, or a folder `….parquet`, on any
        filesystem that fsspec can write to.
    frames
        Frames of each movie.
    pix_fmt, fields, reduce
        As for `open_movie`.
    storage_options
        Arguments for the filesystem of `target`.

    Raises
    ------
    ValueError
        The movies cannot be combined, or `target` has another suffix.
    FileExistsError
        `target` is Parquet, and a folder of something else.
    ImportError
        `target` is Parquet, and pyarrow is missing.
    FrameIndexError
        One of the movies has no such frame.

    Notes
    -----
    Makes no requests other than those of the readers. The references contain the movies' addresses as given
    to the readers, including any query string; local paths are made absolute. They do not contain the
    versions of the movies.

    JSON takes 60 bytes per frame plus the length of the address, Parquet 22 bytes.

    Examples
    --------
    >>> import xarray as xr
    >>> write_references(MovieReader(url), "movie.json", frames=slice(0, 9000, 900))
    >>> options = {"fo": "movie.json", "remote_options": {"asynchronous": True}}
    >>> xr.open_zarr("reference://", storage_options=options).sizes["time"]
    10
    """
    path = text_of(target).rstrip("/")
    storage_options = options_of(target, storage_options)
    is_folder = path.endswith(PARQUET_SUFFIXES)
    if is_folder:
        check_parquet()
    elif not path.endswith(".json"):
        raise ValueError(f"references are written as ….json or ….parquet, not {redact_url(path)}")
    movies = check_movies(readers)
    check_not_source(path, [reader.urlpath for reader in movies])
    stacks = [
        reader.stack(frames, pix_fmt=pix_fmt, fields=fields, reduce=reduce)  # noqa: PD013 - not of pandas
        for reader in movies
    ]
    values = describe_movies(movies, stacks, dotted=is_folder)
    samples = find_samples(movies, stacks)
    if is_folder:
        replace_folder(path, _pack_parquet(values, samples), marker=METADATA, storage_options=storage_options)
        return
    with open_target(path, storage_options=storage_options) as file:
        file.write(_pack_json(values, samples, ndim=stacks[0].ndim))


def check_movies(readers: MovieReader | Sequence[MovieReader]) -> list[MovieReader]:
    """The readers, at least one, whether one or several were given."""
    are_several = isinstance(readers, Iterable) and not isinstance(readers, MovieReader)
    given = cast("Iterable[MovieReader]", readers if are_several else [readers])
    movies = [check_reader(each) for each in given]
    if not movies:
        raise ValueError("no movies: give at least one reader")
    return movies


def find_samples(readers: Sequence[MovieReader], stacks: Sequence[FrameStack]) -> pd.DataFrame:
    """Address, first byte and size of every sample."""
    parts = []
    for reader, stack in zip(readers, stacks, strict=True):
        step = stack.decoder.n_per_frame
        offset, size = stack.sample_offset[::step], stack.sample_size[::step]
        parts.append(pd.DataFrame({"path": find_address(reader), "offset": offset, "size": size}))
    return pd.concat(parts, ignore_index=True)


def find_address(reader: MovieReader) -> str:
    """The movie's URL; that of a local file is absolute."""
    if "::" in reader.urlpath:
        raise ValueError(f"{redact_url(reader.urlpath)}: references need plain addresses, not URL chains")
    path: str = LocalFileSystem().unstrip_protocol(reader.urlpath)
    return reader.urlpath if "://" in reader.urlpath else path


def _pack_json(values: Mapping[str, bytes], samples: pd.DataFrame, *, ndim: int) -> bytes:
    """All references as JSON, without templates, which other readers do not support."""
    references: dict[str, Any] = {key: _pack_value(value) for key, value in values.items()}
    for i, (path, offset, size) in enumerate(samples.itertuples(index=False)):
        references[chunk_key(VIDEO, i, ndim)] = (
            [path, offset, size] if size else ""
        )  # a reference of size 0 would be the whole file
    return json.dumps({"version": 1, "refs": references}).encode()


def _pack_value(value: bytes) -> str:
    return value.decode() if value.isascii() else f"base64:{base64.b64encode(value).decode()}"


def _pack_parquet(values: Mapping[str, bytes], samples: pd.DataFrame) -> dict[str, bytes]:
    """All references as files of a folder: metadata, and one table for 10,000 chunks of an array."""
    documents = {key: json.loads(value) for key, value in values.items() if key.endswith(ROOT)}
    arrays = {key.removesuffix(f"/{ROOT}"): document for key, document in documents.items() if key != ROOT}
    # fsspec gets the number of chunks from the older metadata.
    counts = {
        f"{name}/.zarray": {
            "shape": document["shape"],
            "chunks": document["chunk_grid"]["configuration"]["chunk_shape"],
        }
        for name, document in arrays.items()
    }
    tables = {
        name: pd.DataFrame({"raw": [value for key, value in values.items() if _is_chunk(key, name)]})
        for name in arrays
    }
    tables[VIDEO] = samples.assign(raw=samples["size"].map(lambda size: None if size else b""))
    files = {
        f"{name}/refs.{i}.parq": _pack_table(table[start : start + RECORD_SIZE])
        for name, table in tables.items()
        for i, start in enumerate(range(0, len(table), RECORD_SIZE))
    }
    metadata = {"metadata": documents | counts, "record_size": RECORD_SIZE}
    return files | {METADATA: json.dumps(metadata).encode()}


def _is_chunk(key: str, name: str) -> bool:
    return key.startswith(f"{name}/") and not key.endswith(ROOT)


def _pack_table(table: pd.DataFrame) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    kinds = {"path": pa.string(), "offset": pa.int64(), "size": pa.int64(), "raw": pa.binary()}
    file = io.BytesIO()
    # Explicit types: otherwise pyarrow makes unreadable columns if all values are missing.
    schema = pa.schema([(name, kind) for name, kind in kinds.items() if name in table])
    table.to_parquet(file, engine="pyarrow", index=False, schema=schema)
    return file.getvalue()
