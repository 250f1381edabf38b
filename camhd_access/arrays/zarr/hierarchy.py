"""The Zarr hierarchy of a movie except its samples: metadata documents, and the values of coordinates.

Input: readers of movies, and stacks of the wanted frames. Output: keys and values, as bytes, of a group with
the array `video` and its coordinates, as xarray reads them (Zarr core specification, version 3). There is no
I/O here, and nothing runs in Zarr's event loop, so a store may call it from anywhere.
"""

import gzip
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from camhd_access.arrays.attributes import coordinates_of, dims_of, movie_attributes, pixel_attributes
from camhd_access.arrays.concat import common_attributes, concat_coordinates
from camhd_access.arrays.zarr.codec import ProResCodec
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.stack import FrameStack

__all__ = ["ROOT", "VIDEO", "chunk_key", "describe_movies"]

ROOT = "zarr.json"
"""Key of the group's document, which includes those of its arrays (consolidated metadata)."""

VIDEO = "video"
"""Name of the array whose chunks are samples."""

TIME_UNITS = "nanoseconds since 1970-01-01"
"""Units of the stored times: exact, and the same for all movies."""

MAX_VALUES_PER_CHUNK = 1 << 18
"""Values per chunk of a coordinate: 2 MiB, ten movies."""


def chunk_key(name: str, position: int, ndim: int, *, dotted: bool = False) -> str:
    """Key of the chunk at `position` along the first axis of an array that has one chunk along all others.

    Parameters
    ----------
    name
        Name of the array.
    position
        Index of the chunk, from 0.
    ndim
        Number of axes of the array.
    dotted
        Use the form of references ("video/7.0.0"; the encoding "v2" of the specification), instead of
        "video/c/7/0/0".
    """
    if not ndim:
        return f"{name}/{'0' if dotted else 'c'}"
    indices = (str(position), *["0"] * (ndim - 1))
    return f"{name}/{'.'.join(indices)}" if dotted else f"{name}/c/{'/'.join(indices)}"


def describe_movies(
    readers: Sequence[MovieReader],
    stacks: Sequence[FrameStack],
    *,
    dotted: bool = False,
    to_append: bool = False,
) -> dict[str, bytes]:
    """All keys except those of the samples, with their values.

    Parameters
    ----------
    readers, stacks
        For each movie, in chronological order.
    dotted
        Form of the chunk keys (see `chunk_key`).
    to_append
        Store values that are one per movie once per frame, even for a single movie.

    Raises
    ------
    ValueError
        The movies cannot be combined: another size, ProRes profile or colour matrix, or an unknown
        start time.
    """
    codec = _common_codec(readers, stacks)
    first, n_pictures = stacks[0], sum(len(stack.frames) for stack in stacks)
    attributes = common_attributes([movie_attributes(reader) for reader in readers])
    coordinates = _coordinates(readers, stacks, joins=to_append or len(readers) > 1)
    others = [name for name, variable in coordinates.items() if variable.dims != (name,)]
    arrays = {
        VIDEO: _document(
            (n_pictures, *first.shape[1:]),
            codec.chunk_shape,
            first.dtype.name,
            codecs=[codec.to_dict()],
            dims=dims_of(first),
            attributes=pixel_attributes(first) | attributes | {"coordinates": " ".join(others)},
            dotted=dotted,
        )
    }
    values: dict[str, bytes] = {}
    for name, variable in coordinates.items():
        arrays[name], chunks = _store_variable(variable, dotted=dotted)
        values |= {chunk_key(name, i, variable.ndim, dotted=dotted): chunk for i, chunk in enumerate(chunks)}
    group = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"Conventions": "CF-1.11"} | attributes,
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": arrays},
    }
    documents = {f"{name}/{ROOT}": array for name, array in arrays.items()} | {ROOT: group}
    return values | {
        key: json.dumps(document, default=np.ndarray.tolist).encode() for key, document in documents.items()
    }


def _common_codec(readers: Sequence[MovieReader], stacks: Sequence[FrameStack]) -> ProResCodec:
    kinds = {
        (ProResCodec.of(stack), reader.index.codec) for reader, stack in zip(readers, stacks, strict=True)
    }
    if len(kinds) != 1:
        raise ValueError(
            "the movies differ in size, codec or colour matrix: "
            + "; ".join(sorted(f"{name} {codec.to_dict()['configuration']}" for codec, name in kinds))
        )
    ((codec, _),) = kinds
    return codec


def _coordinates(
    readers: Sequence[MovieReader], stacks: Sequence[FrameStack], *, joins: bool
) -> dict[str, xr.Variable]:
    """The coordinates of all movies, concatenated."""
    if joins and any(reader.start_time is None for reader in readers):
        raise ValueError("the start time of some movies is unknown, so they have no common time axis")
    each_movie = [coordinates_of(*both) for both in zip(readers, stacks, strict=True)]
    joined = concat_coordinates(each_movie) if joins else each_movie[0]
    return {name: xr.Variable(*each) for name, each in joined.items()}


def _store_variable(variable: xr.Variable, *, dotted: bool) -> tuple[dict[str, Any], list[bytes]]:
    """Document and chunks of a coordinate with at most one axis."""
    if variable.dtype.kind == "M":
        variable.encoding = {"units": TIME_UNITS, "calendar": "proleptic_gregorian", "dtype": "int64"}
    variable.encoding["_FillValue"] = None  # NaN is a normal value
    encoded = xr.conventions.encode_cf_variable(variable)
    is_text = encoded.dtype.kind in "OUT"
    length = max(1, min(encoded.size, MAX_VALUES_PER_CHUNK))
    flat = encoded.values.ravel()
    parts = [flat[start : start + length] for start in range(0, encoded.size, length)]
    as_bytes = _LITTLE_ENDIAN if encoded.dtype.itemsize > 1 else {"name": "bytes"}
    document = _document(
        encoded.shape,
        (length,) * encoded.ndim,
        "string" if is_text else encoded.dtype.name,
        codecs=[{"name": "vlen-utf8"} if is_text else as_bytes, _GZIP],
        dims=tuple(map(str, encoded.dims)),
        attributes=encoded.attrs,
        dotted=dotted,
    )
    return document, [(_pack_text if is_text else _pack_numbers)(part, length) for part in parts]


_LITTLE_ENDIAN = {"name": "bytes", "configuration": {"endian": "little"}}
_GZIP = {"name": "gzip", "configuration": {"level": 5}}


def _pack_numbers(values: npt.NDArray[Any], length: int) -> bytes:
    """A chunk of numbers, padded to its length."""
    whole = np.zeros(length, values.dtype.newbyteorder("<"))
    whole[: len(values)] = values
    return _compress(whole.tobytes())


def _pack_text(values: npt.NDArray[Any], length: int) -> bytes:
    """A padded chunk of strings: their number, then each with its length in bytes (`vlen-utf8`)."""
    texts = [str(value).encode() for value in values] + [b""] * (length - len(values))
    return _compress(
        struct.pack("<I", len(texts)) + b"".join(struct.pack("<I", len(text)) + text for text in texts)
    )


def _compress(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=5, mtime=0)


def _document(
    shape: tuple[int, ...],
    chunk_shape: tuple[int, ...],
    data_type: str,
    *,
    codecs: list[dict[str, Any]],
    dims: tuple[str, ...],
    attributes: Mapping[str, Any],
    dotted: bool,
) -> dict[str, Any]:
    """The metadata document of one array."""
    keys = ("v2", ".") if dotted else ("default", "/")
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk_shape)}},
        "chunk_key_encoding": {"name": keys[0], "configuration": {"separator": keys[1]}},
        "fill_value": "" if data_type == "string" else 0,
        "codecs": codecs,
        "attributes": dict(attributes),
        "dimension_names": list(dims),
        "storage_transformers": [],
    }
