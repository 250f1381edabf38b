"""Text metadata of a movie: names and values in the metadata atom of `moov`.

Names are Apple's (`com.apple.quicktime.title`) or those of a program. Reading frames does not depend on them,
so unreadable metadata is ignored, not an error.

Source: QTFF, "Metadata", "Metadata Item Keys Atom", "Metadata Item List Atom", "Data Atom Structure".
"""

import struct
from collections.abc import Mapping

from camhd_access.errors import InvalidMovieError
from camhd_access.formats.quicktime.atoms import Atom
from camhd_access.formats.quicktime.tracks import build_atom

__all__ = ["build_metadata", "parse_metadata"]

_TEXT = 1
"""Type code of a UTF-8 value."""


def build_metadata(values: Mapping[str, str]) -> bytes:
    """The metadata atom with these names and values; empty if there are none."""
    if not values:
        return b""
    handler = build_atom(b"hdlr", bytes(8), b"mdta", bytes(13))
    keys = [build_atom(b"mdta", name.encode()) for name in values]
    items = [
        build_atom(
            struct.pack(">I", number), build_atom(b"data", struct.pack(">II", _TEXT, 0), text.encode())
        )
        for number, text in enumerate(values.values(), 1)
    ]
    return build_atom(
        b"meta",
        handler,
        build_atom(b"keys", struct.pack(">II", 0, len(keys)), *keys),
        build_atom(b"ilst", *items),
    )


def parse_metadata(moov: Atom) -> dict[str, str]:
    """Names and values of the text metadata; empty if none can be read."""
    try:
        meta = moov.find("meta")
        return _parse(meta) if meta else {}
    except InvalidMovieError:
        return {}


def _parse(meta: Atom) -> dict[str, str]:
    names = [bytes(key.payload) for key in meta.need("keys").children(position=8) if key.type == "mdta"]
    values = {}
    for item in meta.need("ilst").children():
        number = int.from_bytes(item.type.encode("latin-1"), "big")
        data = item.find("data")
        if data is None or not 1 <= number <= len(names) or data.unpack("I", 0)[0] != _TEXT:
            continue
        text = bytes(data.payload[8:])
        values[names[number - 1].decode(errors="replace")] = text.decode(errors="replace")
    return values
