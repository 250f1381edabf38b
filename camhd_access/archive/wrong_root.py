"""The warning for a root without movies: its contents, and the folder that was probably meant.

The search for an archive covers the folders below the root, first those named like the camera's and then
level by level, and then the folders above it. It takes little more than `MAX_LISTINGS` requests at most, and
is only made if no movie was found.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import closing
from typing import Any, TypeAlias

from camhd_access.archive.folders import Entry, Folder, last_part
from camhd_access.archive.rate_limit import ask_all

__all__ = ["ListFolder", "explain_wrong_root"]

ListFolder: TypeAlias = Callable[[str], Coroutine[Any, Any, list[Entry]]]
"""Lists the folder at a path."""

MAX_LISTINGS = 64
"""Maximum number of folders that are listed for the explanation."""

MAX_LEVELS = 4
"""Maximum number of levels below or above the root that are searched: OOI's `files/` needs three."""

MAX_NAMED = 3
"""Maximum number of folders that are suggested."""

_OF_THE_CAMERA = re.compile(r"CAMHD|RS03ASHS|PN03B")
"""Parts of the camera's path on OOI's server: instrument, site and node."""


def explain_wrong_root(
    root: str,
    entries: Sequence[Entry],
    list_folder: ListFolder,
    loop: asyncio.AbstractEventLoop,
    *,
    at_once: int,
    urlpath: Callable[[str], str],
) -> str:
    """One or two sentences that describe a root without movies.

    Parameters
    ----------
    root, entries
        The root and its listing.
    list_folder
        Lists another folder, on `loop`.
    at_once
        Maximum number of requests in flight.
    urlpath
        Returns the path or URL that opens a path of the filesystem.
    """
    here = Folder.of(entries)
    meant = _find_below(root, entries, list_folder, loop, at_once=at_once)
    meant = meant or _find_above(root, list_folder, loop)
    seen = (
        f"{urlpath(root)} holds neither folders of years nor movies, but "
        f"{_count(here.n_folders, 'folder')} and {_count(here.n_files, 'other file')}"
    )
    if not meant:
        return (
            f"{seen}. The root of an archive is the folder that contains 2015, 2016, …, such as "
            "…/06-CAMHDA301/ on OOI's server, or a folder of movies"
        )
    proposals = [f"{urlpath(path)} ({_describe(folder)})" for path, folder in sorted(meant.items())]
    others = f" or one of {len(meant) - MAX_NAMED} more" if len(meant) > MAX_NAMED else ""
    return f"{seen}. Open {' or '.join(proposals[:MAX_NAMED])}{others} instead"


def _find_below(
    root: str,
    entries: Sequence[Entry],
    list_folder: ListFolder,
    loop: asyncio.AbstractEventLoop,
    *,
    at_once: int,
) -> dict[str, Folder]:
    """The first archives found below `root`, all on one level."""
    waiting = _folders_in(root, entries)
    n_left, deepest = MAX_LISTINGS, root.count("/") + MAX_LEVELS
    while waiting and n_left > 0:
        best = min(map(_rank, waiting))
        batch = [path for path in waiting if _rank(path) == best][:n_left]
        listed = _list_all(batch, list_folder, loop, at_once=at_once)
        seen = {path: Folder.of(inside) for path, inside in listed.items()}
        if found := {path: folder for path, folder in seen.items() if folder.is_archive}:
            return found
        n_left -= len(batch)
        waiting = [path for path in waiting if path not in batch]
        waiting += [each for path, inside in listed.items() for each in _folders_in(path, inside)]
        waiting = [path for path in waiting if path.count("/") <= deepest]
    return {}


def _find_above(root: str, list_folder: ListFolder, loop: asyncio.AbstractEventLoop) -> dict[str, Folder]:
    """The nearest folder above `root` that contains years or movies."""
    path = root
    for _ in range(MAX_LEVELS):
        path = path.rpartition("/")[0]
        if not path or path.endswith((":/", "/")):  # the filesystem's own root, or a host's
            return {}
        for entries in _list_all([path], list_folder, loop, at_once=1).values():
            folder = Folder.of(entries)
            if folder.is_archive:
                return {path: folder}
    return {}


def _list_all(
    folders: Iterable[str], list_folder: ListFolder, loop: asyncio.AbstractEventLoop, *, at_once: int
) -> dict[str, list[Entry]]:
    """The listings of `folders`; those that cannot be listed are left out."""
    answers = ask_all(deque(folders), list_folder, loop, at_once=at_once)
    with closing(answers):
        return {path: future.result() for path, future in answers if not _failed(future.exception())}


def _failed(error: BaseException | None) -> bool:
    if error is not None and not isinstance(error, OSError):
        raise error
    return error is not None


def _folders_in(path: str, entries: Iterable[Entry]) -> list[str]:
    return sorted(f"{path}/{last_part(entry)}" for entry in entries if entry["type"] == "directory")


def _rank(path: str) -> tuple[bool, int]:
    """Sort key: the camera's folders come first, then those of the upper levels."""
    return not _OF_THE_CAMERA.search(path.rpartition("/")[2]), path.count("/")


def _describe(folder: Folder) -> str:
    return _count(folder.n_years, "year") if folder.n_years else _count(folder.n_movies, "movie")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
