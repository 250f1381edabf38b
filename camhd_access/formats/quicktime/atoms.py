"""Atoms: the tagged, nested blocks that a QuickTime file is made of.

An atom is a size, four characters that name its type, and a payload: fields, a table, or more atoms. Only
the atoms on the way to the video track's tables are opened, each list of children in a flat loop, so deep
nesting costs nothing. Every access is checked against the available bytes before anything is allocated, and
a failed check names the atom and its offset.

Source: QTFF, "Overview of QTFF", atom structure. A size of 1 is followed by a 64-bit size; a size of 0, for
the last atom of a file only, reaches to the end.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from camhd_access.errors import InvalidMovieError

__all__ = ["MAX_CHILDREN", "Atom", "AtomHeader", "iter_atoms", "parse_header"]

MAX_CHILDREN = 512  # far more than any writer nests in one atom; bounds the time spent on malformed files


class AtomHeader(NamedTuple):
    """The first 8 or 16 bytes of an atom."""

    type: str
    n_bytes: int
    """Length of the header itself: 8, or 16 with a 64-bit size."""
    size: int
    """Length of the whole atom in bytes, header included; 0: to the end of its container."""


def parse_header(data: bytes | memoryview, position: int = 0) -> AtomHeader | None:
    """The atom header at `position`; None if there is none: truncated, or a size below its own."""
    if len(data) < position + 8:
        return None
    size, code = struct.unpack_from(">I4s", data, position)
    n_bytes = 8
    if size == 1:
        if len(data) < position + 16:
            return None
        (size,) = struct.unpack_from(">Q", data, position + 8)
        n_bytes = 16
    if 0 < size < n_bytes:
        return None
    return AtomHeader(code.decode("latin-1"), n_bytes, size)


@dataclass(frozen=True, slots=True)
class Atom:
    """One atom with its bytes."""

    type: str
    """Four characters."""
    payload: memoryview
    """The bytes after the header."""
    offset: int
    """Offset of its header in the file; in a compressed `moov`, in the inflated bytes."""
    payload_offset: int
    """Offset of its payload."""
    _children: dict[int, list["Atom"]] = field(default_factory=dict, compare=False, repr=False)
    """The child atoms by start position, parsed only once."""

    def error(self, problem: str) -> InvalidMovieError:
        """An error that names this atom and its offset, for raising."""
        return InvalidMovieError(f"{self.type} atom at byte {self.offset}: {problem}")

    def unpack(self, layout: str, position: int) -> tuple[Any, ...]:
        """Fields of the payload from `position` on, in `struct`'s notation."""
        try:
            return struct.unpack_from(">" + layout, self.payload, position)
        except struct.error as err:
            needed = position + struct.calcsize(">" + layout)
            raise self.error(f"{len(self.payload)} bytes where at least {needed} are needed") from err

    def table(self, row: DTypeLike, *, position: int = 4) -> NDArray[Any]:
        """The rows of a table whose 32-bit length is at `position`, as a view."""
        (n_rows,) = self.unpack("I", position)
        dtype = np.dtype(row)
        n_held = (len(self.payload) - position - 4) // dtype.itemsize
        if n_rows > n_held:
            raise self.error(f"claims {n_rows} entries but has room for {n_held}")
        return np.frombuffer(self.payload, dtype, n_rows, position + 4)

    def children(self, *, position: int = 0) -> list["Atom"]:
        """The atoms in the payload, from `position` on."""
        if position in self._children:
            return self._children[position]
        children: list[Atom] = []
        for child in iter_atoms(self.payload[position:], self.payload_offset + position):
            if len(children) == MAX_CHILDREN:
                raise self.error(f"holds more than {MAX_CHILDREN} atoms")
            children.append(child)
        self._children[position] = children
        return children

    def find(self, atom_type: str) -> "Atom | None":
        """The only child of this type; None if there is none."""
        found = [child for child in self.children() if child.type == atom_type]
        if len(found) > 1:
            raise found[1].error(f"a second one in {self.type}, which is ambiguous")
        return found[0] if found else None

    def need(self, *path: str) -> "Atom":
        """The descendant at the end of a path of types; raises if there is none."""
        atom = self
        for atom_type in path:
            child = atom.find(atom_type)
            if child is None:
                raise atom.error(f"has no {atom_type} atom")
            atom = child
        return atom


def iter_atoms(data: memoryview, offset: int) -> Iterator[Atom]:
    """The atoms that fill `data`, which starts at `offset`.

    Notes
    -----
    Remainders too short for an atom are skipped, and so are trailing zeros: QTFF ends some lists with a
    32-bit zero ("User Data Atoms"), and recorders pad.
    """
    position = 0
    while len(data) - position >= 8:
        header = parse_header(data, position)
        at, n_left = offset + position, len(data) - position
        if header is None or not header.size:
            rest = bytes(data[position:])
            if not rest.strip(b"\0"):
                return
            raise InvalidMovieError(f"no atom can begin at byte {at}: {rest[:8]!r}")
        if header.size > n_left:
            raise InvalidMovieError(
                f"{header.type} atom at byte {at}: size {header.size}, but {n_left} bytes left"
            )
        stop = position + header.size
        yield Atom(header.type, data[position + header.n_bytes : stop], at, at + header.n_bytes)
        position = stop
