"""Known defects of movies of the archive, and of periods of time.

They were found by studies of the archive until 2019; later years have not been examined. A crawl detects the
defects that the index of a movie shows (`quality`); all known ones are in the column `note` of a catalogue.
"""

from dataclasses import asdict, dataclass
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from camhd_access.formats.names import MovieName

__all__ = ["ANOMALIES", "Anomaly", "Kind", "describe_anomalies", "known_anomalies"]

Kind: TypeAlias = Literal[
    "empty", "cut short", "giant", "tiny", "no signal", "black", "gap", "one light", "clock", "split", "count"
]
"""`cut short`: a truncated recording without index. `gap`: no movies. `split`: one routine in two movies.
`count`: third-party catalogues list 0 frames."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A defect of a movie or of a period."""

    kind: Kind
    """Category."""
    note: str
    """Description."""
    source: str
    """Reference."""
    basename: str | None = None
    """The affected movie; None for a period."""
    start: np.datetime64 | None = None
    """First day of the affected period."""
    end: np.datetime64 | None = None
    """Day after the last one (exclusive)."""


_DB1 = "catalogue of rte-camhd, 2018-08"
_DB2 = "catalogue of ooi-pangeo, 2019-07"
_CMM = "CamHD_motion_metadata, docs/anomalies.md and Regions.md, 2019-01"


def _movies(kind: Kind, note: str, source: str, names: str) -> list[Anomaly]:
    return [Anomaly(kind, note, source, basename=f"CAMHDA301-{name}") for name in names.split()]


def _time(kind: Kind, note: str, source: str, start: str, end: str) -> Anomaly:
    return Anomaly(kind, note, source, start=np.datetime64(start, "D"), end=np.datetime64(end, "D"))


_GAPS = """
2015-08-06/2015-08-25 2017-04-15/2017-06-05 2017-06-06/2017-06-14 2017-06-15/2017-08-14 2017-10-21/2017-10-31
2019-04-05/2019-04-24
"""

ANOMALIES: tuple[Anomaly, ...] = (
    *_movies(
        "empty",
        "0 bytes",
        _DB2,
        "20160126T090000Z 20160126T120000Z 20160126T150000Z 20160126T180000Z 20160126T210000Z"
        " 20160211T150000Z 20190404T030000 20190404T030100 20190404T060100",
    ),
    *_movies("empty", "16,384 bytes", _DB2, "20180920T231200"),
    *_movies("empty", "8,192 bytes", _DB2, "20190401T134500"),
    *_movies(
        "cut short",
        "truncated recording: the index was not written",
        f"{_DB1}; {_DB2}",
        "20160309T210000Z 20160310T150000Z 20160310T180000Z 20160310T210000Z 20160311T090000Z"
        " 20160311T120000Z 20160311T150000Z 20160311T180000Z 20160311T210000Z 20160312T000000Z"
        " 20161120T180000Z 20161120T200000Z 20161120T220000Z 20161201T155900 20190401T134400",
    ),
    *_movies("giant", "228 GB, 229,243 frames", _DB2, "20150709T134200Z 20150716T010015Z"),
    *_movies(
        "giant",
        "continues 20150716T010015Z",
        _DB2,
        "20150716T010015Z_01 20150716T010015Z_02 20150716T010015Z_03 20150716T010015Z_04",
    ),
    *_movies("giant", "92 GB, 306,206 frames", _DB1, "20171020T215900"),
    *_movies("giant", "122 GB, 3,204,951 frames", _DB2, "20181005T204200"),
    *_movies("tiny", "1 frame", _DB1, "20161201T055400"),
    *_movies("tiny", "307 frames, 10 s", _DB1, "20151120T090000Z"),
    *_movies("tiny", "320 frames, 11 s", _DB1, "20171031T235000"),
    *_movies(
        "no signal",
        "frames of unusual size: probably parts without signal",
        _DB2,
        "20150715T213637Z 20150727T190015Z 20150723T231015Z",
    ),
    *_movies("no signal", "black until 3:30", _CMM, "20180704T091500"),
    *_movies(
        "no signal",
        "no signal: the decoder was stuck",
        _CMM,
        "20180706T001500 20180706T031500 20180706T061500",
    ),
    *_movies("one light", "only one of the lights is on", _CMM, "20180704T121500 20180704T151500"),
    _time("one light", "one of the lights is off", _CMM, "2017-10-01", "2018-07-04"),
    _time(
        "count",
        "catalogues made with pycamhd list 0 frames for most of these movies, which can be read",
        _DB1,
        "2015-07-09",
        "2015-11-19",
    ),
    *_movies("clock", "6 minutes fast, the last one before it was set", _DB1, "20160505T000000Z"),
    *_movies(
        "clock",
        "58 s slow for a day, after it was set",
        _DB1,
        "20160505T030000Z 20160505T060000Z 20160505T090000Z 20160505T120000Z 20160505T150000Z"
        " 20160505T180000Z 20160505T210000Z",
    ),
    _time(
        "clock",
        "the recorder's clock gains 2 s a day, until it is six minutes fast",
        _DB1,
        "2015-11-01",
        "2016-05-05",
    ),
    _time("split", "one routine is often split over two movies", _DB1, "2016-11-22", "2017-03-01"),
    _time("black", "some movies of this month are black", _DB2, "2016-09-01", "2016-10-01"),
    _time("black", "some movies of this month are black", _DB2, "2017-01-01", "2017-02-01"),
    _time("black", "movies are black: the camera failed on 2017-11-13", _CMM, "2017-11-13", "2017-12-01"),
    _time("black", "all movies are black: the camera was off", _CMM, "2017-12-01", "2018-07-01"),
    _time("black", "some movies of these months are black", _DB2, "2019-06-01", "2019-08-01"),
    *(_time("gap", "no movies", _DB2, *period.split("/")) for period in _GAPS.split()),
)
"""All known anomalies, those of movies first."""


def known_anomalies() -> pd.DataFrame:
    """A table of known anomalies: one row for each movie or period, with the source.

    Examples
    --------
    >>> anomalies = known_anomalies()
    >>> anomalies[["basename", "kind", "note"]].dropna().shape[1]
    3
    """
    return pd.DataFrame([asdict(anomaly) for anomaly in ANOMALIES])


def describe_anomalies(name: MovieName) -> str | None:
    """Known anomalies of a movie and of the day in its name; None if there are none."""
    return "; ".join(_notes_by_basename().get(name.basename, ()) + _notes_of_day(name.day)) or None


@cache
def _notes_by_basename() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for each in ANOMALIES:
        if each.basename is not None:
            found[each.basename] = (*found.get(each.basename, ()), f"{each.kind}: {each.note}")
    return found


@cache
def _notes_of_day(day: str) -> tuple[str, ...]:
    date = np.datetime64(day)
    return tuple(
        f"{each.kind}: {each.note}"
        for each in ANOMALIES
        if each.start is not None and each.end is not None and each.start <= date < each.end
    )
