"""Compare a movie with the MD5 checksum beside it in the archive: the only test of every bit of a file.

The checksum is in a small text file with the movie's name and `.md5`. The movie is read once, in order, a few
megabytes at a time, and not kept.
"""

import hashlib
import re
from collections.abc import Callable

from camhd_access.errors import InvalidMovieError
from camhd_access.formats.names import is_of_kind
from camhd_access.movie.address import Address, find_address
from camhd_access.ranges import ByteRange
from camhd_access.storage.small_files import read_small_file
from camhd_access.storage.source import ByteSource, open_source
from camhd_access.urls import redact_url

__all__ = ["ChecksumError", "read_checksum", "verify_checksum"]

MAX_LIST_BYTES = 1 << 20
PIECE_BYTES = 4 << 20

_LINE = re.compile(r"(?P<digest>[0-9a-fA-F]{32})(?:\s+\*?(?P<name>\S.*?))?\s*$")


class ChecksumError(InvalidMovieError):
    """The bytes of a movie are not those of its checksum."""


def verify_checksum(
    address: Address, *, progress: Callable[[int, int], None] | None = None
) -> tuple[str, str]:
    """The path or URL of a movie that equals its checksum, and the checksum.

    Parameters
    ----------
    progress
        Called after each piece with its bytes, and those of the whole file.

    Raises
    ------
    ChecksumError
        The movie was damaged or changed.
    ValueError
        The file of checksums has none for this movie.
    OSError
        The movie or the checksum does not exist, or cannot be read.

    Notes
    -----
    Reads the whole file, without the disk cache.
    """
    urlpath = find_address(address)
    expected = read_checksum(urlpath)
    source = open_source(urlpath, cache=False).pinned()
    found = _digest(source, progress or (lambda *_: None))
    if found != expected:
        raise ChecksumError(f"{source.name}: its MD5 is {found}, not {expected}: it was damaged, or replaced")
    return urlpath, expected


def read_checksum(urlpath: str) -> str:
    """The checksum beside a movie, in lower case.

    Raises
    ------
    ValueError
        The file of checksums has none for this movie.
    OSError
        There is no file of checksums.
    """
    path, question_mark, query = urlpath.partition("?")
    if not is_of_kind(urlpath, "best"):
        raise ValueError(f"{redact_url(urlpath)}: only .mov and .mp4 files have a checksum beside them")
    place = f"{path[: -len('.mov')]}.md5{question_mark}{query}"
    text = read_small_file(place, max_bytes=MAX_LIST_BYTES).decode(errors="replace")
    name = path.rpartition("/")[2]
    lines = [match for line in text.splitlines() if (match := _LINE.match(line.strip()))]
    for match in lines:
        listed = (match["name"] or "").replace("\\", "/").rpartition("/")[2]
        if listed == name or (not listed and len(lines) == 1 and is_of_kind(urlpath, "mov")):
            return str(match["digest"].lower())
    raise ValueError(f"{redact_url(place)} has no checksum of {name}")


def _digest(source: ByteSource, progress: Callable[[int, int], None]) -> str:
    size = source.size
    pieces = [ByteRange(start, min(start + PIECE_BYTES, size)) for start in range(0, size, PIECE_BYTES)]
    digest = hashlib.md5(usedforsecurity=False)
    for _, data in source.fetch(pieces):
        digest.update(data)
        progress(len(data), size)
    return digest.hexdigest()
