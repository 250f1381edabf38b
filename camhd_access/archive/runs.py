"""Runs: what the camera recorded without a break, in however many files.

From 2016-11-22 to February 2017 a routine is often split over two movies; on the 1st, 10th and 20th of a
month the camera records for a day or three, in a new file every quarter of an hour. A run is a maximal
sequence of movies that follow each other so closely.
"""

import pandas as pd

__all__ = ["MAX_GAP_SECONDS", "find_runs"]

MAX_GAP_SECONDS = 60.0
"""Recorders take some seconds to go on in a new file (nearly always less than 5), routines rest for hours."""


def find_runs(catalog: pd.DataFrame, *, max_gap_seconds: float = MAX_GAP_SECONDS) -> pd.DataFrame:
    """The runs of a catalogue, in order of time: one row a run.

    Parameters
    ----------
    catalog
        With `start_time` and `duration`, as a crawl of indexes or a published catalogue has them. A movie of
        unknown length begins a run, and ends it.
    max_gap_seconds
        The longest time from the end of a movie to the start of the next one of its run.

    Returns
    -------
    DataFrame
        `start_time` and `end_time` of the run, UTC; `n_movies`; `n_frames` of all together (missing where one
        is not known); `basenames` and `urls`, tuples in order of time.
    """
    movies = catalog.reset_index().sort_values(["start_time", "basename"], ignore_index=True)
    end_time = movies["start_time"] + pd.to_timedelta(movies["duration"], unit="s")
    gap_seconds = (movies["start_time"] - end_time.shift()).dt.total_seconds()
    run = (~(gap_seconds <= max_gap_seconds)).cumsum().rename("run") - 1
    runs = movies.assign(end_time=end_time).groupby(run)
    return pd.DataFrame(
        {
            "start_time": runs["start_time"].first(),
            "end_time": runs["end_time"].max(),
            "n_movies": runs.size(),
            "n_frames": runs["n_frames"].agg(lambda counts: counts.sum(skipna=False)).astype("Int64"),
            "basenames": movies["basename"].astype(object).groupby(run).agg(tuple),
            "urls": movies["url"].astype(object).groupby(run).agg(tuple),
        }
    )
