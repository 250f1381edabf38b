"""The cost of a survey before it is made: requests, bytes, hours and money, from a sample of its movies."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from camhd_access.decoding.threads import n_cores
from camhd_access.errors import CamhdError
from camhd_access.movie.plan import ReadPlan
from camhd_access.surveys.choices import Job
from camhd_access.surveys.study import Study
from camhd_access.tables import write_table

__all__ = ["SurveyPlan", "estimate_cost"]

N_SAMPLED = 8
"""Movies that are opened for an estimate."""

INDEX_BYTES = 512 * 1024
"""Read to open a movie: one request."""

SECONDS_PER_MEGAPIXEL = {1: 0.010, 2: 0.014, 4: 0.022, 8: 0.064}
"""CPU time to decode to `rgb24`, by reduction, per million pixels of the result."""


@dataclass(frozen=True, slots=True)
class SurveyPlan(ReadPlan):
    """The estimated cost of a survey; opening the movies is included, the function is not."""

    n_movies: int
    """Movies to do."""
    n_skipped: int
    """Movies that are done."""
    n_sampled: int
    """Movies that were opened for the estimate; the others are taken to cost the same on average."""
    hours: float
    """Duration, by the slowest of link, decoding, and limit on requests per second."""
    dollars: float
    """Price of requests and transfer from a bucket over the internet; OOI's own server is free."""

    def __str__(self) -> str:
        return (
            f"{self.n_movies:,} movies ({self.n_skipped:,} more are done), {self.n_frames:,} frames: "
            f"{self.n_requests:,} requests, {self.n_bytes / 1e9:,.2f} GB, about {self.hours:,.2f} h, "
            f"${self.dollars:,.2f} from a bucket; estimated from {self.n_sampled} movies"
        )

    def _repr_html_(self) -> str:
        rows = {
            "movies": f"{self.n_movies:,} ({self.n_skipped:,} more are done)",
            "frames": f"{self.n_frames:,}",
            "requests": f"{self.n_requests:,}",
            "bytes": f"{self.n_bytes / 1e9:,.2f} GB",
            "hours": f"{self.hours:,.2f}",
            "dollars": f"{self.dollars:,.2f} (from a bucket, over the internet)",
        }
        return write_table("Estimated cost of the survey", rows)


def estimate_cost(
    study: Study,
    jobs: Sequence[Job],
    *,
    n_skipped: int,
    per_second: float | None,
    megabits_per_second: float,
    cores: int | None,
    dollars_per_gigabyte: float,
    dollars_per_million_requests: float,
) -> SurveyPlan:
    """The estimated cost of these jobs; opens at most `N_SAMPLED` movies.

    Raises
    ------
    CamhdError, OSError
        None of the sampled movies can be read.
    """
    if not megabits_per_second > 0:
        raise ValueError(f"megabits_per_second must be positive, not {megabits_per_second!r}")
    chosen = np.unique(np.linspace(0, len(jobs) - 1, min(N_SAMPLED, len(jobs))).round().astype(int))
    with ThreadPoolExecutor(N_SAMPLED, thread_name_prefix="camhd-open") as pool:
        found = list(pool.map(lambda i: _cost_of(study, jobs[i]), chosen))
    costs = np.array([cost for cost in found if isinstance(cost, tuple)])
    if len(chosen) and not len(costs):
        raise next(cost for cost in found if isinstance(cost, Exception))
    mean = costs.mean(axis=0) if len(costs) else np.zeros(4)
    n_requests, n_bytes, n_frames, cpu_seconds = len(jobs) * mean
    n_limited = sum(job.is_on_web_server for job in jobs) * mean[0]
    seconds = max(
        8e-6 * n_bytes / megabits_per_second,
        cpu_seconds / (cores or n_cores()),
        n_limited / per_second if per_second else 0.0,
    )
    dollars = n_bytes / 1e9 * dollars_per_gigabyte + n_requests / 1e6 * dollars_per_million_requests
    return SurveyPlan(
        n_requests=round(n_requests),
        n_bytes=round(n_bytes),
        n_frames=round(n_frames),
        n_movies=len(jobs),
        n_skipped=n_skipped,
        n_sampled=len(costs),
        hours=float(seconds / 3600),
        dollars=float(dollars),
    )


def _cost_of(study: Study, job: Job) -> tuple[float, float, float, float] | Exception:
    """Requests, bytes, frames and CPU seconds of a movie; or why it cannot be read."""
    try:
        reader = study.open(job)
        stack = study.stack(reader, job.choice)
    except (CamhdError, OSError) as error:
        return error
    n_requests, n_bytes = stack.plan()
    n, height, width, *_ = stack.shape
    cpu_seconds = (
        n
        * height
        * width
        / 1e6
        * SECONDS_PER_MEGAPIXEL.get(stack.decoder.reduction, SECONDS_PER_MEGAPIXEL[8])
    )
    if study.is_in_store(reader):
        return n_requests, n_bytes, n, cpu_seconds
    return n_requests + 1, n_bytes + INDEX_BYTES, n, cpu_seconds
