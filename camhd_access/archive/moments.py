"""Times as callers give them: in any of the usual types, UTC unless they say otherwise."""

from datetime import date, datetime
from typing import TypeAlias

import numpy as np
import pandas as pd

__all__ = ["Moment", "Period", "parse_moment", "parse_period"]

Moment: TypeAlias = str | date | datetime | np.datetime64
"""A time in UTC; as text in ISO 8601."""

Period: TypeAlias = tuple[np.datetime64, np.datetime64]
"""Half-open stretch of time, in whole seconds, UTC."""

ALL_TIMES = (np.datetime64("0001-01-01", "s"), np.datetime64("9999-01-01", "s"))


def parse_moment(moment: Moment) -> np.datetime64:
    """The time in whole seconds, UTC."""
    stamp = pd.Timestamp(moment)
    utc = stamp.tz_convert("UTC").tz_localize(None) if stamp.tzinfo else stamp
    seconds: np.datetime64 = utc.to_datetime64().astype("datetime64[s]")
    return seconds


def parse_period(start: Moment | None, end: Moment | None) -> Period:
    """From `start` to before `end`; None for no bound."""
    return (
        ALL_TIMES[0] if start is None else parse_moment(start),
        ALL_TIMES[1] if end is None else parse_moment(end),
    )
