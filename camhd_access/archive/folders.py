"""Classify a folder by its listing: a whole archive, a part of one, a folder of movies, or none of these.

Input: a path and its entries, as listed by fsspec. Output: counts and dates. Pure.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from camhd_access.formats.names import Kind, MovieName, find_movie_name, is_of_kind

__all__ = ["Entry", "Folder", "find_name", "is_dated", "last_part"]

Entry: TypeAlias = Mapping[str, Any]
"""An entry of a listing of fsspec: `name`, `type`, and `size` if it is known."""

_YEAR = re.compile(r"\d{4}")
_YEAR_MONTH_OR_DAY = re.compile(r"\d{4}|\d{2}")
_DATE_AT_END = re.compile(r"(?:^|/)((?:19|20)\d{2})(?:/(0[1-9]|1[0-2]))?$")


@dataclass(frozen=True, slots=True)
class Folder:
    """The contents of a folder, counted."""

    n_folders: int
    """Number of folders, including years."""
    n_files: int
    """Number of files, including movies."""
    n_years: int
    """Number of folders named like a year."""
    n_months_or_days: int
    """Number of folders named like a month or a day."""
    n_movies: int
    """Number of files named like a movie of the camera."""

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Self:
        """The counts of a listing."""
        entries = list(entries)
        dated = [last_part(entry) for entry in entries if is_dated(entry)]
        n_years = sum(map(bool, map(_YEAR.fullmatch, dated)))
        n_folders = sum(entry["type"] == "directory" for entry in entries)
        n_movies = sum(find_name(entry) is not None for entry in entries)
        return cls(n_folders, len(entries) - n_folders, n_years, len(dated) - n_years, n_movies)

    @property
    def is_archive(self) -> bool:
        """Whether it is the root of an archive: with folders of years, or flat."""
        return bool(self.n_years or self.n_movies)

    @property
    def is_part(self) -> bool:
        """Whether it contains months or days, but no years: a part of an archive."""
        return bool(self.n_months_or_days) and not self.n_years

    def date_of(self, path: str) -> str:
        """The year or month (`2016`, `2016-11`) whose folder it is; "" for any other folder."""
        found = _DATE_AT_END.search(path) if self.is_part else None
        return "-".join(filter(None, found.groups())) if found else ""


def find_name(entry: Entry, kind: Kind = "mov") -> MovieName | None:
    """The name of a movie of this kind; None for all others, also copies (`….copy.mov`) and folders."""
    is_special = entry["type"] == "other" and not entry.get("islink")  # a pipe or a device
    if is_special or entry["type"] == "directory":
        return None
    path = str(entry["name"]).partition("?")[0]
    name = find_movie_name(path) if is_of_kind(path, kind) else None
    return name if name and path.rpartition("/")[2].rpartition(".")[0] == name.basename else None


def is_dated(entry: Entry) -> bool:
    """Whether an entry is a folder named like a year, a month or a day."""
    return entry["type"] == "directory" and _YEAR_MONTH_OR_DAY.fullmatch(last_part(entry)) is not None


def last_part(entry: Entry) -> str:
    """The last part of an entry's path."""
    return str(entry["name"]).rstrip("/").rpartition("/")[2]
