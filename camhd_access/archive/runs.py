"""Runs: uninterrupted recordings, in one or several files.

From 2016-11-22 to February 2017 a routine is often split over two movies; on the 1st, 10th and 20th of a
month the camera records for one or three days, in a new file every quarter of an hour. A run is a maximal
sequence of movies with only short gaps between them.
"""

import pandas as pd

__all__ = ["MAX_GAP_SECONDS", "find_runs"]

MAX_GAP_SECONDS = 60.0
"""Recorders start a new file within some seconds (nearly always less than 5); routines are hours apart."""


def find_runs(catalog: pd.DataFrame, *, max_gap_seconds: float = MAX_GAP_SECONDS) -> pd.DataFrame:
    """The runs of a catalogue in chronological order, one row per run.

    Parameters
    ----------
    catalog
        A catalogue with `start_time` and `duration`, from a crawl with `index=True` or a third party. A movie
        of unknown duration is a run of its own.
    max_gap_seconds
        Maximum time from the end of all earlier movies of a run to the start of the next one.

    Returns
    -------
    DataFrame
        `start_time` and `end_time` of the run, UTC; `n_movies`; `n_frames`, the total (missing if one is
        unknown); `basenames` and `urls`, tuples in chronological order.

    Examples
    --------
    >>> runs = find_runs(catalog)
    >>> int(runs["n_movies"].sum()) == len(catalog)
    True
    """
    movies = catalog.reset_index().sort_values(["start_time", "basename"], ignore_index=True)
    end_time = movies["start_time"] + pd.to_timedelta(movies["duration"], unit="s")
    gap_seconds = (movies["start_time"] - end_time.cummax().shift()).dt.total_seconds()
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
