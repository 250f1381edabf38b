"""Movie names of the archive, and the start time of a movie.

A CamHD movie is named after a time: `CAMHDA301-20161113T000000Z.mov`; its twin, a small copy in H.264, is
called the same, but for `.mp4`, and has the same clock. Until 2016-11-21 the time is the start of the
recording; since 2016-11-22, when names lost the `Z`, it is its END. The movie's own creation time (`mvhd`)
is more reliable, except for a few movies whose recorder had a wrong clock. Everything here is pure: names and
times in, times out.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from camhd_access.times import difference_of_day

__all__ = [
    "Clock",
    "Kind",
    "MovieName",
    "StartTime",
    "check_clock",
    "check_kind",
    "choose_start_time",
    "describe_start",
    "find_best_files",
    "find_movie_name",
    "is_of_kind",
    "name_twin",
]

Kind: TypeAlias = Literal["mov", "mp4", "best"]
"""Which file of a recording: the master, its twin, or the master if there is one."""

_SUFFIXES: dict[str, tuple[str, ...]] = {"mov": (".mov",), "mp4": (".mp4",), "best": (".mov", ".mp4")}

Clock: TypeAlias = Literal["auto", "mvhd", "name"]
"""Source of the start time of a movie: its own clock, its name, or the better of the two."""

FIRST_END_NAME = np.datetime64("2016-11-22T00:00:00", "s")
"""Names from here on give the end of the recording."""

MAX_DISAGREEMENT = np.timedelta64(1, "D")
"""If it differs from the name by more than this, the movie's own clock is considered wrong."""

NAME_PRECISION_SECONDS = 60.0
"""Largest error of names: of 6,606 good movies from 2016-05-06 to 2018-08 with correct clocks, the worst
is off by 60.03 s (some names give only the minute, and all give the scheduled start or end)."""

CLOCK_PRECISION_SECONDS = 1.0
"""Recorders store whole seconds."""

_YEARS = range(1678, 2262)
"""Years that times in nanoseconds can hold."""

_HOUR_SECONDS = 3600

_NAME = re.compile(r"(?P<camera>CAMHD[A-Z]\d{3})-(?P<time>\d{8}T\d{6})Z?(?:_(?P<part>\d{1,2}))?(?=$|\.)")


@dataclass(frozen=True, slots=True)
class MovieName:
    """The parsed base name of a movie."""

    basename: str
    """The name without folders and extension; the same on every server."""
    time_from_name: np.datetime64
    """The time in the name, UTC, in seconds: the recording's start or its end."""
    part: int | None
    """Number at the end of the name, if one recording consists of several files."""

    @property
    def sort_key(self) -> tuple[np.datetime64, str]:
        """Sort key for chronological order, with the parts of one recording in sequence."""
        return self.time_from_name, self.basename

    @property
    def is_rounded_up(self) -> bool:
        """Whether its second is 60, from a recorder that rounds up; `time_from_name` is the next minute."""
        return self.basename.partition("T")[2][4:6] == "60"

    @property
    def listed_time(self) -> np.datetime64:
        """The time under which it is listed: in the minute, and so the day, given by the name."""
        before = np.timedelta64(1 if self.is_rounded_up else 0, "s")
        time: np.datetime64 = self.time_from_name - before
        return time

    @property
    def day(self) -> str:
        """The day in the name, as `2016-11-13`; the archive has a folder for each."""
        return str(self.listed_time)[:10]

    @property
    def tells_end(self) -> bool:
        """Whether `time_from_name` is the end of the recording, not its start."""
        return bool(self.time_from_name >= FIRST_END_NAME)

    def start_time(self, duration_seconds: float) -> np.datetime64:
        """When the recording began according to the name, in nanoseconds, UTC.

        Notes
        -----
        For a part of a recording (`…_02`) this is when the whole recording began, not the part.
        """
        before = np.timedelta64(round(duration_seconds * 1e9) if self.tells_end else 0, "ns")
        start: np.datetime64 = self.time_from_name.astype("datetime64[ns]") - before
        return start


def find_movie_name(urlpath: str) -> MovieName | None:
    """The movie's name in a path or URL; None if it is no CamHD name, or its year is not in 1678 to 2261."""
    filename = urlpath.partition("?")[0].rstrip("/").rpartition("/")[2]
    match = _NAME.match(filename)
    if not match:
        return None
    t = match["time"]
    seconds = int(t[13:])
    try:
        minute = np.datetime64(f"{t[:4]}-{t[4:6]}-{t[6:11]}:{t[11:13]}", "s")
    except ValueError:
        return None
    if seconds > 60 or int(t[:4]) not in _YEARS:  # 60 is the next minute, of recorders that round up
        return None
    time = minute + np.timedelta64(seconds, "s")
    return MovieName(match[0], time, int(match["part"]) if match["part"] else None)


@dataclass(frozen=True, slots=True)
class StartTime:
    """When a movie began, and the source of that time."""

    time: np.datetime64 | None
    """UTC, in nanoseconds; None if unknown."""
    source: Literal["mvhd", "name", "unknown"]
    """The movie's own creation time, or its name."""
    disagreement_seconds: float | None
    """Creation time minus the start time from the name; None if one of them is missing."""
    timecode_disagreement_seconds: float | None = None
    """Time of day in the timecode minus `time`, up to half a day either way; None if it was not read."""

    @property
    def uncertainty_seconds(self) -> float | None:
        """Uncertainty of the start time; None if it cannot be estimated.

        Notes
        -----
        The movie's clock is trusted to within its difference from the name. A name used instead is accurate
        to a minute; one preferred to a clock less than a day off, to the difference between the two.
        """
        apart = abs(self.disagreement_seconds) if self.disagreement_seconds is not None else None
        if self.source == "name":
            is_settled = apart is None or apart > MAX_DISAGREEMENT / np.timedelta64(1, "s")
            return NAME_PRECISION_SECONDS if is_settled else max(NAME_PRECISION_SECONDS, apart or 0)
        if self.source == "mvhd" and apart is not None:
            return max(CLOCK_PRECISION_SECONDS, apart)
        return None

    @property
    def doubt(self) -> str | None:
        """A warning if clock and name differ by more than a minute; None if they do not."""
        apart = self.disagreement_seconds
        if apart is None or abs(apart) <= NAME_PRECISION_SECONDS:
            return None
        told = f"its clock is {abs(apart):,.0f} s {'later' if apart > 0 else 'earlier'} than its name"
        off_hours = abs(apart - _HOUR_SECONDS * round(apart / _HOUR_SECONDS))
        if off_hours <= NAME_PRECISION_SECONDS:
            told += f", whole hours ({apart / _HOUR_SECONDS:+.0f} h): it may be set to another time zone"
        agreeing = self.timecode_agrees_with
        return told if agreeing is None else f"{told}; its timecode agrees with {agreeing}"

    @property
    def timecode_agrees_with(self) -> str | None:
        """Which of clock and name agree with the timecode to within a minute, as text; None if unknown."""
        apart, after = self.disagreement_seconds, self.timecode_disagreement_seconds
        if apart is None or after is None:
            return None
        of_clock, of_name = (after, after + apart) if self.source == "mvhd" else (after - apart, after)
        agreeing = [
            witness
            for witness, seconds in (("its clock", of_clock), ("its name", of_name))
            if abs(difference_of_day(seconds)) <= NAME_PRECISION_SECONDS
        ]
        return " and ".join(agreeing) or "neither"


def describe_start(start: StartTime) -> str:
    """Text with the start time of a movie, its source, and its uncertainty."""
    if start.time is None:
        return "unknown"
    source = "by its clock" if start.source == "mvhd" else "by its name"
    uncertainty = start.uncertainty_seconds
    doubt = "" if uncertainty is None else f", to {uncertainty:,.0f} s"
    return f"{str(np.datetime_as_string(start.time, 's')).replace('T', ' ')} UTC ({source}{doubt})"


def check_clock(clock: Clock) -> Clock:
    """`clock`, if it is a valid choice."""
    if clock not in ("auto", "mvhd", "name"):
        raise ValueError(f'clock must be "auto", "mvhd" or "name", not {clock!r}')
    return clock


def choose_start_time(
    name: MovieName | None,
    creation_time: np.datetime64 | None,
    *,
    duration_seconds: float,
    clock: Clock = "auto",
) -> StartTime:
    """The start of a movie: from its own clock, unless that is missing or differs by more than a day.

    Parameters
    ----------
    name
        The movie's name, if it is a CamHD name.
    creation_time
        From the movie header atom, UTC.
    duration_seconds
        Length of the movie, subtracted from names that give the end.
    clock
        "mvhd" uses the movie's own clock, "name" its name, if both exist.

    Notes
    -----
    The name of a part (`…_02`) gives the start of the whole recording. It is not used as the start of the
    part, and a clock that is later by at most a day does not contradict it.
    """
    created = None if creation_time is None else creation_time.astype("datetime64[ns]")
    named = None if name is None else name.start_time(duration_seconds)
    if name is not None and name.part is not None and named is not None:
        if created is None or not abs(created - named) <= MAX_DISAGREEMENT:
            return StartTime(None, "unknown", None)
        return StartTime(created, "mvhd", None)
    if created is None or named is None:
        known = named if created is None else created
        source: Literal["mvhd", "name", "unknown"] = "mvhd" if created is not None else "name"
        return StartTime(known, source if known is not None else "unknown", None)
    apart = float((created - named) / np.timedelta64(1, "s"))
    is_far = abs(created - named) > MAX_DISAGREEMENT
    if clock == "name" or (clock == "auto" and is_far):
        return StartTime(named, "name", apart)
    return StartTime(created, "mvhd", apart)


def check_kind(kind: Kind) -> Kind:
    """`kind`, if it is a valid choice."""
    if kind not in _SUFFIXES:
        raise ValueError(f'kind must be "mov", "mp4" or "best", not {kind!r:.80}')
    return kind


def is_of_kind(urlpath: str, kind: Kind) -> bool:
    """Whether the name of a file ends as those of this kind."""
    return urlpath.partition("?")[0].endswith(_SUFFIXES[kind])


def find_best_files(names: Iterable[str]) -> list[str]:
    """The movies among the files of a folder, sorted; of a master and its twin, the master."""
    movies = {name for name in names if is_of_kind(name, "best")}
    return sorted(movies - {name_twin(name) for name in movies})


def name_twin(urlpath: str) -> str | None:
    """The path or URL of a master's twin; None if it is not a master's."""
    path, question_mark, query = urlpath.partition("?")
    return f"{path.removesuffix('.mov')}.mp4{question_mark}{query}" if path.endswith(".mov") else None
