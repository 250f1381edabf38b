"""Which movies of a survey are to be done, and which are skipped, each with the reason.

The names of the files of results decide. If they do not tell whether a movie has changed, because its size is
not in the table of movies, its version is asked of the server.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from camhd_access.messages import name_some
from camhd_access.storage.source import open_source
from camhd_access.surveys.choices import Job
from camhd_access.surveys.dataset import ResultFile, hash_version
from camhd_access.surveys.execution import Task
from camhd_access.surveys.study import Study

__all__ = ["SurveyReport", "find_tasks"]

N_CHECKED_AT_ONCE = 8
"""Movies whose version is asked at the same time."""

NEW, FAILED, CHANGED, OTHER = (
    "no result yet",
    "failed before",
    "the movie has changed",
    "other frames, parameters or version of the function",
)
"""Reasons to do a movie."""

UP_TO_DATE = "done: same movie, function, version and parameters"
UNCHECKED = "done; whether the movie has changed is unknown: "
"""Reasons to skip a movie."""


@dataclass(frozen=True, slots=True)
class SurveyReport:
    """What a survey has done and skipped."""

    done: dict[str, str] = field(default_factory=dict)
    """Movies that were read, and why."""
    failed: dict[str, str] = field(default_factory=dict)
    """Movies with an error, and the first one of each."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Movies that were not read, and why."""
    n_bytes: int = 0
    """Encoded bytes of the frames that were read."""
    seconds: float = 0.0
    """Duration."""

    def __str__(self) -> str:
        told = (
            f"{len(self.done):,} movies done{_count(self.done)}, {len(self.failed):,} failed, "
            f"{len(self.skipped):,} skipped{_count(self.skipped)}"
        )
        failures = [f"{movie}: {error}" for movie, error in self.failed.items()]
        return "\n".join([told, *([name_some(failures, "; ", at_most=5)] if failures else [])])


def _count(reasons: Mapping[str, str]) -> str:
    """The reasons with their number of movies, in brackets."""
    counts = Counter(reason.partition(UNCHECKED)[1] or reason for reason in reasons.values())
    told = "; ".join(f"{n:,}: {reason.rstrip(': ')}" for reason, n in counts.items())
    return f" ({told})" if told else ""


def find_tasks(study: Study, jobs: Sequence[Job]) -> tuple[list[Task], SurveyReport, list[ResultFile]]:
    """What is to be done.

    Returns
    -------
    tasks
        The movies to do, with their earlier files.
    report
        The reasons, also for those that are skipped.
    spare
        Further files of movies that are skipped: of a machine that was cut off, and read the movie as well.
    """
    found: dict[str, list[ResultFile]] = {}
    for file in study.folder.list():
        found.setdefault(file.movie, []).append(file)
    report = SurveyReport()
    unclear: list[tuple[Job, ResultFile]] = []
    for job in jobs:
        key, files = study.key(job.choice), found.get(job.movie, [])
        files.sort(key=lambda file, key=key: (file.is_done, file.key == key))  # type: ignore[misc]
        reason = _find_reason(job, key, files)
        if reason:
            report.done[job.movie] = reason
        elif job.file_size is None:
            unclear.append((job, files[-1]))
        else:
            report.skipped[job.movie] = UP_TO_DATE
    for job, why in _compare_versions(study, unclear):
        (report.done if why == CHANGED else report.skipped)[job.movie] = why
    tasks = [(job, tuple(found.get(job.movie, ()))) for job in jobs if job.movie in report.done]
    spare = [file for movie in report.skipped for file in found[movie][:-1]]
    return tasks, report, spare


def _find_reason(job: Job, key: str, files: Sequence[ResultFile]) -> str | None:
    """Why a movie is to be done, from the names of its files; None if nothing speaks for it."""
    if not files:
        return NEW
    last = files[-1]
    if last.key != key:
        return OTHER
    if not last.is_done:
        return FAILED
    return CHANGED if job.file_size not in (None, last.file_size) else None


def _compare_versions(study: Study, unclear: Sequence[tuple[Job, ResultFile]]) -> Iterator[tuple[Job, str]]:
    """Whether movies have changed since they were done, by one request each."""

    def compare(pair: tuple[Job, ResultFile]) -> tuple[Job, str]:
        job, file = pair
        try:
            source = open_source(job.url, cache=False, storage_options=study.storage_options(job))
            source.filesystem.invalidate_cache(source.path)  # ask, even if this process knows an answer
            version = source.pinned().version
        except OSError as error:  # the results are as good as before
            return job, f"{UNCHECKED}{error}"
        return job, UP_TO_DATE if hash_version(version) == file.version else CHANGED

    with ThreadPoolExecutor(N_CHECKED_AT_ONCE, thread_name_prefix="camhd-check") as pool:
        yield from pool.map(compare, unclear)
