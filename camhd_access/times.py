"""Times in any of the usual types; UTC unless they carry a time zone."""

import re
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DAY_SECONDS",
    "Duration",
    "Moment",
    "Period",
    "choose_period",
    "difference_of_day",
    "is_moment",
    "parse_instant",
    "parse_moment",
    "parse_period",
    "to_nanoseconds",
    "to_seconds",
]

Moment: TypeAlias = str | date | datetime | np.datetime64
"""A time in UTC; as text in ISO 8601."""

_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?)?(Z|[+-]\d\d(:?\d\d)?)?")

_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?|(\d\d)(\d\d))?")

_LENGTHS: dict[str, np.timedelta64] = {
    "Y": np.timedelta64(1, "Y"),
    "M": np.timedelta64(1, "M"),
    "D": np.timedelta64(1, "D"),
}

_SHORT_ISO = re.compile(r"\d{4}(-\d\d)?|\d{8}(T\d{4}(\d\d)?(Z|[+-]\d\d(:?\d\d)?)?)?")
"""A year, a month, or the basic form, as in the names of movies."""

Duration: TypeAlias = float | timedelta | np.timedelta64
"""Numbers are seconds."""

Period: TypeAlias = tuple[np.datetime64, np.datetime64]
"""Half-open stretch of time, in whole seconds, UTC."""

DAY_SECONDS = 24 * 60 * 60

ALL_TIMES = (np.datetime64("0001-01-01", "s"), np.datetime64("9999-01-01", "s"))


def difference_of_day(seconds: float) -> float:
    """The difference of two times of day, up to half a day either way."""
    return (seconds + DAY_SECONDS / 2) % DAY_SECONDS - DAY_SECONDS / 2


def parse_moment(moment: Moment, name: str) -> np.datetime64:
    """The time in whole seconds, UTC.

    Parameters
    ----------
    name
        Name of the argument, for error messages.

    Raises
    ------
    TypeError
        The type is not a supported one.
    ValueError
        The value is not a valid time.
    """
    return _parse(moment, name).to_datetime64().astype("datetime64[s]")  # type: ignore[no-any-return]


def parse_instant(moment: Moment, name: str) -> np.datetime64:
    """The time in nanoseconds, UTC; parameters and errors as of `parse_moment`."""
    try:
        return _parse(moment, name).as_unit("ns").to_datetime64()
    except ValueError as error:  # beyond the year 2261
        raise ValueError(_describe(name, moment)) from error


def _parse(moment: Moment, name: str) -> "pd.Timestamp":
    """The time in UTC, without time zone."""
    import pandas as pd  # noqa: PLC0415 - not needed for a first frame

    if not isinstance(moment, str | date | np.datetime64):
        raise TypeError(f"{name} must be a time (text or datetime), not {moment!r:.80}")
    if isinstance(moment, str) and not (is_moment(moment) or _SHORT_ISO.fullmatch(moment)):
        raise ValueError(_describe(name, moment))
    try:
        stamp = pd.Timestamp(moment)
        utc = stamp.tz_convert("UTC").tz_localize(None) if stamp.tzinfo else stamp
    except ValueError as error:
        raise ValueError(_describe(name, moment)) from error
    if pd.isna(utc):
        raise ValueError(_describe(name, moment))
    return utc


def is_moment(value: object) -> bool:
    """Whether it is a time: a datetime of any type, or text in ISO 8601 that begins with a date."""
    if isinstance(value, str):
        return _ISO.fullmatch(value) is not None
    return isinstance(value, date | np.datetime64)


def _describe(name: str, moment: Moment) -> str:
    return f"{name}={str(moment)!r:.80} is not a valid time; try '2016-11-13' or '2016-11-13T00:04' (UTC)"


def parse_period(start: Moment | None, end: Moment | None) -> Period:
    """The half-open period from `start` to `end`; None means unbounded.

    Raises
    ------
    ValueError
        `end` is before `start`.
    """
    period = (
        ALL_TIMES[0] if start is None else parse_moment(start, "start"),
        ALL_TIMES[1] if end is None else parse_moment(end, "end"),
    )
    if period[1] < period[0]:
        raise ValueError(f"end={str(end)!r} is before start={str(start)!r}")
    return period


def choose_period(start: Moment | None, end: Moment | None) -> Period:
    """As `parse_period`, but a date without an `end` is that day, month or year."""
    if end is None and start is not None:
        parse_moment(start, "start")
        if isinstance(start, str) and (found := _DATE.fullmatch(start)):
            start = np.datetime64("-".join(filter(None, found.groups())))
        elif isinstance(start, date) and not isinstance(start, datetime):
            start = np.datetime64(start, "D")
        if isinstance(start, np.datetime64) and (unit := np.datetime_data(start.dtype)[0]) in _LENGTHS:
            end = start + _LENGTHS[unit]  # type: ignore[operator,unused-ignore]  # numpy of any version
    return parse_period(start, end)


def to_nanoseconds(duration: Duration) -> np.timedelta64:
    """The duration in nanoseconds.

    Raises
    ------
    TypeError
        It is neither a number nor a timedelta.
    ValueError
        It is not a number, or too long (292 years).
    """
    if isinstance(duration, timedelta | np.timedelta64):
        return np.timedelta64(duration).astype("timedelta64[ns]")  # type: ignore[no-any-return]
    if isinstance(duration, int | float | np.number):
        try:
            return np.timedelta64(round(float(duration) * 1e9), "ns")
        except (OverflowError, ValueError) as error:
            raise ValueError(f"{duration!r} s is not a valid duration") from error
    raise TypeError(f"expected a number of seconds or a timedelta, not {duration!r:.80}")


def to_seconds(duration: Duration) -> float:
    """The duration in seconds; numbers are returned unchanged. Raises as `to_nanoseconds`."""
    if isinstance(duration, int | float | np.number) and not isinstance(duration, np.timedelta64):
        return float(duration)  # of numpy's numbers, timedelta64 is one
    return float(to_nanoseconds(duration) / np.timedelta64(1, "s"))
