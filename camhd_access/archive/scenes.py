"""Scenes: which frames of which movies show the same view, from the tables of the CamHD motion analysis.

The tables (`datapackage/regions.csv` of CamHD_motion_metadata) divide each movie into regions in which the
camera did not move, and give each a scene tag: `d3_p1_z0` is deployment 3, position 1, zoom 0. Their frame
numbers start at 1 and ends are included; here frame numbers start at 0 and ends are excluded. A table that
starts at 0 would shift every frame by one without notice, so a frame 0 in it is an error.

Source: A. Marburg, CamHD_motion_metadata, doi:10.5281/zenodo.834740, CC-BY-SA-4.0.
"""

import csv
import os
from collections.abc import Iterable, Mapping
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd

from camhd_access.formats.names import find_movie_name
from camhd_access.storage.small_files import read_small_file
from camhd_access.times import Moment, parse_period
from camhd_access.urls import redact_url, text_of

__all__ = ["find_scene_frames", "read_regions"]

MAX_TABLE_BYTES = 256 << 20
"""Limit for the unpacked size of a table: a hundred times that of the whole archive."""

_COLUMNS = ["mov_basename", "date_time", "start_frame", "end_frame", "scene_tag"]
_OLD_COLUMNS = ["mov_basename", "start_frame", "end_frame", "scene_tag"]
_TAG = r"d(?P<deployment>\d+)_p(?P<position>\d+)_z(?P<zoom>\d+)"

_FRAMES_PER_SECOND = 30_000 / 1001


def read_regions(
    urlpath: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Read a published table of regions: one row per region, in its order.

    Parameters
    ----------
    urlpath
        A `regions.csv` with the columns `mov_basename, date_time, start_frame, end_frame, scene_tag`; older
        versions have no header and no `date_time`.
    storage_options
        For the constructor of the filesystem.

    Returns
    -------
    DataFrame
        `basename` of the movie; `start` and `stop`, the half-open range of its frames, starting at 0;
        `scene_tag`, missing if the scene is unknown; `deployment`, `position` and `zoom` from the tag.
        The table's `date_time` is left out: it is the time in the name, which is not the start of the
        recording.

    Raises
    ------
    ValueError
        The file is not such a table; its frame numbers do not start at 1; or a region ends before it starts.

    Examples
    --------
    >>> regions = read_regions("regions.csv")
    >>> list(regions)
    ['basename', 'start', 'stop', 'scene_tag', 'deployment', 'position', 'zoom']
    """
    data = read_small_file(
        urlpath, max_bytes=MAX_TABLE_BYTES, compressed=True, storage_options=storage_options
    )
    urlpath = redact_url(text_of(urlpath))
    try:
        lines = [line for line in csv.reader(StringIO(data.decode("utf-8-sig"), newline="")) if line]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{urlpath}: not a table of regions: {error}") from error
    has_header = bool(lines) and lines[0][0] == "mov_basename"
    columns = lines.pop(0) if has_header else _COLUMNS if lines and len(lines[0]) == 5 else _OLD_COLUMNS
    if not set(_OLD_COLUMNS) <= set(columns) or any(len(line) != len(columns) for line in lines):
        raise ValueError(f"{urlpath}: not a table of regions; its columns are {_COLUMNS}, or {_OLD_COLUMNS}")
    rows = pd.DataFrame(lines, columns=columns, dtype="string")
    return _convert(rows, urlpath)


def _convert(rows: pd.DataFrame, urlpath: str) -> pd.DataFrame:
    """The table with frame numbers from 0, checked."""
    numbers = rows["start_frame"].str.fullmatch(r"\d{1,18}") & rows["end_frame"].str.fullmatch(r"\d{1,18}")
    _refuse(urlpath, rows, ~numbers.fillna(value=False), "has frames that are not numbers")
    first, last = (rows[name].astype("int64") for name in ("start_frame", "end_frame"))
    _refuse(urlpath, rows, first < 1, "counts frames from 0; those of regions.csv count from 1")
    _refuse(urlpath, rows, last < first, "ends before it begins")
    strange = [find_movie_name(name) is None for name in rows["mov_basename"]]
    _refuse(urlpath, rows, pd.Series(strange, dtype="bool"), "is not of a CamHD movie")
    tags = rows["scene_tag"].str.strip()
    known = tags.str.fullmatch(_TAG)
    parts = tags.where(known).str.extract(_TAG).astype("Int64")
    return pd.DataFrame(
        {
            "basename": rows["mov_basename"],
            "start": first - 1,
            "stop": last,
            "scene_tag": tags.where(known),
            **{name: parts[name] for name in parts},
        }
    )


def _refuse(urlpath: str, rows: pd.DataFrame, wrong: "pd.Series[bool]", why: str) -> None:
    if wrong.any():
        raise ValueError(f"{urlpath}: a region {why}: {rows[wrong].iloc[0].to_dict()}")


def find_scene_frames(
    scene_tag: str,
    regions: pd.DataFrame,
    catalog: pd.DataFrame,
    *,
    start: Moment | None = None,
    end: Moment | None = None,
) -> pd.DataFrame:
    """One frame of each movie that shows a scene, in chronological order, for `open_timelapse`.

    Parameters
    ----------
    scene_tag
        Such as "d3_p1_z0".
    regions
        The result of `read_regions`.
    catalog
        A catalogue of the movies, from `Archive.catalog` or `read_catalog`.
    start, end
        Period in which the movies start, UTC, half-open.

    Returns
    -------
    DataFrame
        `url` of each movie and `frame`, from 0: the middle of the region in which the movie shows the scene
        (of several regions, the middle one). Also `basename`, `time` of the frame (UTC), and `start` and
        `stop` of the region. Movies that are known to be blank, empty or unreadable are left out.

    Raises
    ------
    LookupError
        No region has this tag; the message lists existing ones.
    ValueError
        A region is beyond the end of its movie: table and catalogue do not belong together.

    Examples
    --------
    >>> regions = read_regions("regions.csv")
    >>> frames = find_scene_frames("d4_p1_z0", regions, catalog, end="2017-10")
    >>> lapse = open_timelapse(frames["url"], frame=frames["frame"], progress=False)
    >>> lapse.sizes["time"] == len(frames)
    True
    """
    shown = regions[(regions["scene_tag"] == scene_tag).fillna(value=False)]
    if shown.empty:
        tags = sorted(regions["scene_tag"].dropna().unique())
        raise LookupError(f"no region shows {scene_tag!r}; known scenes are {_some(tags)}")
    movies = catalog.reset_index()
    first, stop = parse_period(start, end)
    begun = movies["start_time"].to_numpy().astype("datetime64[s]")
    useless = movies["quality"].isin(["blank", "empty", "unreadable"]).to_numpy()
    movies = movies[(begun >= first) & (begun < stop) & ~useless]
    found = shown.sort_values(["basename", "start"]).merge(
        movies[["basename", "url", "start_time", "n_frames"]], on="basename"
    )
    beyond = (found["stop"] > found["n_frames"]).fillna(value=False)
    if beyond.any():
        raise ValueError(f"a region is beyond the end of its movie: {found[beyond].iloc[0].to_dict()}")
    per_movie = found.groupby("basename")
    middle = found[per_movie.cumcount() == (per_movie["start"].transform("size") - 1) // 2]
    frame = (middle["start"] + middle["stop"] - 1) // 2
    offset = pd.to_timedelta((frame / _FRAMES_PER_SECOND * 1e9).round().astype(np.int64), unit="ns")
    return (
        middle.assign(frame=frame, time=middle["start_time"] + offset)
        .sort_values("time", ignore_index=True)
        .loc[:, ["url", "frame", "basename", "time", "start", "stop"]]
    )


def _some(tags: Iterable[str]) -> str:
    listed = list(tags)
    return ", ".join(listed[:12]) + (f" and {len(listed) - 12} more" if len(listed) > 12 else "")
