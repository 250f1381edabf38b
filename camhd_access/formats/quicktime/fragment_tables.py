"""Where the fragments of a movie begin, as its own tables tell: `mfra` at its end, `sidx` before fragments.

What they tell is a hint only: they say which bytes to fetch together, and the walk from atom to atom (see
`fragment_walk`) then finds the fragments in those bytes. A table that is damaged, incomplete or wrong costs
requests, and changes no index. So nothing here raises: what cannot be read is no hint.

Source: ISO/IEC 14496-12, 8.8.9 to 8.8.11 (`mfra`, `tfra`, `mfro`), 8.16.3 (`sidx`).
"""

import struct

import numpy as np
from numpy.typing import NDArray

from camhd_access.errors import InvalidMovieError
from camhd_access.formats.quicktime.atoms import Atom, parse_header

__all__ = ["MAX_TABLE_BYTES", "find_last_table", "parse_mfra", "parse_sidx"]

MAX_TABLE_BYTES = 4 << 20
"""Limit for a table: 100,000 fragments of two tracks."""

_MFRO_BYTES = 16
_MAX_PLACE = 1 << 62

Places = NDArray[np.int64]


def find_last_table(tail: bytes) -> int:
    """Bytes of the table `mfra` that ends a file whose last bytes these are; 0: there is none."""
    if len(tail) < _MFRO_BYTES or tail[-_MFRO_BYTES + 4 : -_MFRO_BYTES + 8] != b"mfro":
        return 0
    (n_bytes,) = struct.unpack(">I", tail[-4:])
    return int(n_bytes) if n_bytes <= MAX_TABLE_BYTES else 0


def parse_mfra(data: bytes) -> Places:
    """First byte of each fragment that the table `mfra` lists, in any order."""
    header = parse_header(data)
    if header is None or header.type != "mfra" or header.size != len(data):
        return _no_places()
    try:
        tables = Atom("mfra", memoryview(data)[header.n_bytes :], 0, header.n_bytes).children()
        found = [_parse_tfra(each) for each in tables if each.type == "tfra"]
    except InvalidMovieError:
        return _no_places()
    return np.concatenate([*found, _no_places()])


def parse_sidx(data: bytes, offset: int) -> Places:
    """First byte of each part of the movie to which the table `sidx` at byte `offset` refers."""
    header = parse_header(data)
    if header is None or header.type != "sidx" or header.size != len(data):
        return _no_places()
    sidx = Atom("sidx", memoryview(data)[header.n_bytes :], offset, offset + header.n_bytes)
    try:
        (version,) = sidx.unpack("B", 0)
        first, n = sidx.unpack("Q2xH" if version else "I2xH", 20 if version else 16)
    except InvalidMovieError:
        return _no_places()
    start = 32 if version else 24
    row = np.dtype([("size", ">u4"), ("others", "V8")])
    rows = np.frombuffer(sidx.payload, row, min(n, (len(sidx.payload) - start) // row.itemsize), start)
    sizes = rows["size"].astype(np.int64) & 0x7FFF_FFFF  # the first bit: it refers to another sidx
    return _plausible(offset + len(data) + min(first, _MAX_PLACE) + np.cumsum(sizes) - sizes)


def _parse_tfra(tfra: Atom) -> Places:
    version, lengths = tfra.unpack("B7xI", 0)
    n_numbers = sum((lengths >> shift & 3) + 1 for shift in (0, 2, 4))
    place = ">u8" if version else ">u4"
    rows = tfra.table([("time", place), ("moof", place), ("numbers", f"V{n_numbers}")], position=12)
    return _plausible(rows["moof"].clip(max=_MAX_PLACE).astype(np.int64))


def _plausible(places: Places) -> Places:
    return places[(places > 0) & (places < _MAX_PLACE)]


def _no_places() -> Places:
    return np.empty(0, np.int64)
