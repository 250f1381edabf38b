"""A small archive with the folder layout, names, times and defects of the real one.

Until 2016-11-21 a name ends in `Z` and gives the start of the recording; `mvhd` agrees, apart from clock
drift. From 2016-11-22 there is no `Z`, and the name gives the end, 899 s after `mvhd`. One movie is
blank (camera off), one is truncated before its index, one is empty. Each of these occurred in the
archive on the day named here.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from camhd_access.synthetic.recorder import write_movie
from camhd_access.synthetic.scene import VentScene

__all__ = ["SyntheticMovie", "write_archive"]

Condition = Literal["good", "blank", "no-moov", "empty"]

_CAMERA = "RS03ASHS/PN03B/06-CAMHDA301"
_RECORDING_LENGTH = np.timedelta64(899, "s")
_NAMES_TELL_THE_END_FROM = np.datetime64("2016-11-22")
_MOVIES: tuple[tuple[str, int, Condition], ...] = (  # time in the name, mvhd minus that (s), condition
    ("2016-01-26T09:00:00", 0, "empty"),
    ("2016-03-20T12:00:00", 338, "good"),
    ("2016-11-13T00:00:00", 1, "good"),
    ("2016-11-13T03:00:00", 1, "good"),
    ("2016-12-01T15:59:00", -899, "no-moov"),
    ("2017-08-20T00:15:00", -899, "good"),
    ("2017-08-20T03:15:00", -899, "good"),
    ("2018-03-01T00:15:00", -899, "blank"),
    ("2018-07-10T06:15:00", -899, "good"),
)


@dataclass(frozen=True, slots=True)
class SyntheticMovie:
    """One movie that was written."""

    path: Path
    """Path of the file."""
    start_time: np.datetime64
    """Start of the recording, UTC: the creation time in `mvhd`, if there is one."""
    n_frames: int
    """Number of frames in the index; 0 without an index."""
    condition: Condition
    """`"good"`, `"blank"`, `"no-moov"` or `"empty"`."""


def write_archive(
    folder: str | os.PathLike[str],
    *,
    n_frames: int = 48,
    width: int = 1920,
    height: int = 1080,
    workers: int | None = None,
) -> list[SyntheticMovie]:
    """Write the archive below `folder`, which corresponds to `…/files/` on the archive's server.

    Parameters
    ----------
    n_frames
        Frames per movie. Each movie shows the whole routine, however short.
    width, height
        Frame size, at least 256x64; smaller ones are quicker.
    workers
        Threads that draw and encode; by default the number of processors.

    Returns
    -------
    list of SyntheticMovie
        In chronological order of their names.

    Notes
    -----
    Two runs write the same bytes and modification times. With the defaults 200 MB, in 9 s on two cores.
    """
    scene = VentScene(width, height)
    movies = []
    for run, (time, seconds_later, condition) in enumerate(_MOVIES):
        name_time, start_time = np.datetime64(time), np.datetime64(time) + np.timedelta64(seconds_later, "s")
        path = Path(folder, _path_of(name_time))
        path.parent.mkdir(parents=True, exist_ok=True)
        if condition == "empty":
            path.touch()
        else:
            write_movie(
                path,
                n_frames=n_frames,
                width=width,
                height=height,
                start_time=start_time,
                blank=condition == "blank",
                layout="no-moov" if condition == "no-moov" else "moov-last",
                scene=scene,
                run=run,
                workers=workers,
            )
        n_indexed = n_frames if condition in {"good", "blank"} else 0
        movies.append(SyntheticMovie(path, start_time, n_indexed, condition))
        _write_siblings(path)
        _set_times(path, start_time + _RECORDING_LENGTH)
    return movies


def _path_of(name_time: np.datetime64) -> str:
    date, clock = str(name_time).split("T")
    era = "Z" if name_time < _NAMES_TELL_THE_END_FROM else ""
    name = f"CAMHDA301-{date.replace('-', '')}T{clock.replace(':', '')}{era}.mov"
    return f"{_CAMERA}/{date.replace('-', '/')}/{name}"


def _write_siblings(path: Path) -> None:
    """Write the siblings of a movie: its checksum, and a small copy for viewing (here, a stub)."""
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "md5").hexdigest()
    path.with_suffix(".md5").write_text(f"{checksum}  {path.name}\n")
    path.with_suffix(".mp4").write_bytes(b"\0\0\0\x14ftypisom\0\0\2\0mp42")


def _set_times(path: Path, time: np.datetime64) -> None:
    """Set the modification time of the movie and its siblings, for listings and `Last-Modified`."""
    seconds = int(time.astype("datetime64[s]").astype(np.int64))
    for suffix in (".mov", ".md5", ".mp4"):
        os.utime(path.with_suffix(suffix), (seconds, seconds))
