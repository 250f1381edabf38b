"""The arithmetic of docs/scaling.md: costs of jobs from the catalogue of August 2018.

`python tests/scaling.py` writes the page's table again.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from camhd_access import read_catalog

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
TABLE = re.compile(r"(?<=<!-- costs -->\n).*?(?=<!-- end of costs -->)", re.DOTALL)

NBSP = "\N{NO-BREAK SPACE}"

INDEX_BYTES = 512 * 1024
"""The end of a movie, where its index lies."""
SPAN_BYTES = 1536 * 1024
"""Of neighbouring frames in one request."""

# CPU milliseconds a frame on one core of the machine of docs/benchmarks.md, 2026-11-28.
LUMA_MS, RGB_MS, CORNER_MS, PREVIEW_MS = 3.9, 7.6, 1.9, 0.9

PER_SECOND = 50
"""Requests that a crawl begins in a second."""

EGRESS, CORE_HOUR, REQUEST = 0.09, 0.05, 0.4e-6
"""Dollars a GB, a core hour and a request: the page says that they are assumptions."""


@dataclass(frozen=True)
class Machine:
    bits_per_second: float
    n_cores: int
    n_connections: int
    round_trip_seconds: float


LAPTOP = Machine(0.1e9, 4, 16, 0.080)
SERVER = Machine(1e9, 16, 16, 0.050)
CLUSTER = Machine(20e9, 64, 16 * 16, 0.010)


@dataclass(frozen=True)
class Job:
    what: str
    n_requests: float
    n_bytes: float
    core_seconds: float = 0
    per_second: float = float("inf")
    """Requests that may begin in a second."""

    def hours(self, on):
        """As long as the slowest of link, round trips, cores and manners."""
        return (
            max(
                8 * self.n_bytes / on.bits_per_second,
                self.n_requests * on.round_trip_seconds / on.n_connections,
                self.core_seconds / on.n_cores,
                self.n_requests / self.per_second,
            )
            / 3600
        )

    @property
    def dollars_far(self):
        """From a bucket, over the internet."""
        return self.n_requests * REQUEST + self.n_bytes / 1e9 * EGRESS

    @property
    def dollars_near(self):
        """On rented cores in the bucket's region."""
        return self.n_requests * REQUEST + self.hours(CLUSTER) * CLUSTER.n_cores * CORE_HOUR


def jobs(catalog):
    """What the page tells of, from the least to all."""
    good = catalog[catalog["quality"] == "good"]
    frame_bytes = float(good["file_size"].sum() / good["n_frames"].sum())
    n_good, n_frames = len(good), int(good["n_frames"].sum())
    routine = good[(good["deployment"] == 2) & good["n_frames"].between(5_000, 30_000)]
    routine_bytes = float(routine["file_size"].sum() / routine["n_frames"].sum())
    days = catalog["time_from_name"].dt.normalize()
    n_folders = 1 + days.dt.year.nunique() + days.dt.to_period("M").nunique() + days.nunique()
    n_previews = float(good["duration"].sum()) / 30
    return [
        Job("list all movies", n_folders, 3 * 150 * len(catalog), per_second=PER_SECOND),
        Job("read the index of every movie", len(catalog), len(catalog) * INDEX_BYTES, per_second=PER_SECOND),
        Job(
            "mean of 1,000 frames of one movie",
            1_001,
            INDEX_BYTES + 1_000 * frame_bytes,
            1_000 * RGB_MS / 1e3,
        ),
        Job(
            "one frame of every good movie",
            2 * n_good,
            n_good * (INDEX_BYTES + frame_bytes),
            n_good * RGB_MS / 1e3,
        ),
        Job(
            "floc: a corner of 6 frames of every routine movie of deployment 2",
            7 * len(routine),
            len(routine) * (INDEX_BYTES + 6 * 0.94 * routine_bytes),
            6 * len(routine) * CORNER_MS / 1e3,
        ),
        Job(
            "a preview every 30 s of every good movie",
            n_good + n_previews,
            n_good * INDEX_BYTES + n_previews * frame_bytes,
            n_previews * PREVIEW_MS / 1e3,
        ),
        Job(
            "every tenth frame of every good movie, luma",
            n_good + n_frames / 10,
            n_good * INDEX_BYTES + n_frames / 10 * frame_bytes,
            n_frames / 10 * LUMA_MS / 1e3,
        ),
        Job(
            "every frame of every good movie, luma",
            n_good + n_frames * frame_bytes / SPAN_BYTES,
            n_good * INDEX_BYTES + n_frames * frame_bytes,
            n_frames * LUMA_MS / 1e3,
        ),
    ]


def table(catalog):
    """The jobs as a Markdown table."""
    lines = [
        "| job | requests | bytes | core hours | laptop | server | cluster | via internet | same region |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for job in jobs(catalog):
        cells = [
            job.what,
            f"{job.n_requests:,.0f}",
            _bytes(job.n_bytes),
            f"{job.core_seconds / 3600:,.1f}" if job.core_seconds >= 180 else "-",
            *(_duration(job.hours(machine)) for machine in (LAPTOP, SERVER, CLUSTER)),
            _dollars(job.dollars_far),
            _dollars(job.dollars_near),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _bytes(n):
    unit, name = next((u, name) for u, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")) if n >= u)
    return f"{n / unit:.3g}{NBSP}{name}"


def _duration(hours):
    units = ((hours / 24, "days", 2), (hours, "h", 2), (60 * hours, "min", 1), (3600 * hours, "s", 0))
    n, unit = next((n, unit) for n, unit, least in units if n >= least)
    return f"{max(n, 1):,.0f}{NBSP}{unit}"


def _dollars(n):
    return f"${n:,.0f}" if n >= 1 else f"${n:.2f}" if n >= 0.01 else "-"


if __name__ == "__main__":
    catalog = read_catalog(PAGE.parents[2] / "shared" / "data" / "camhd_catalog_2018.jsonl")
    PAGE.write_text(TABLE.sub(table(catalog), PAGE.read_text()))
