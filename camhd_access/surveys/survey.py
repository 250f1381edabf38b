"""`survey`: a function over frames of many movies, resumed where it ended.

A call lists the folder of results, leaves out the movies that are done, runs the others, and returns the
rows of all of them. What is in the folder was computed by one function; another function is refused.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Unpack

import pandas as pd
import xarray as xr
from tqdm.auto import tqdm

from camhd_access._version import __version__
from camhd_access.errors import SurveyError
from camhd_access.formats.names import Clock
from camhd_access.messages import name_some
from camhd_access.movie.index_cache import Recover
from camhd_access.movie.selection import Deinterlace, Errors, Fields, FrameSelection
from camhd_access.surveys.choices import Job, Movies
from camhd_access.surveys.dataset import ResultFile, ResultFolder
from camhd_access.surveys.estimate import SurveyPlan, estimate_cost
from camhd_access.surveys.execution import find_client, run_tasks
from camhd_access.surveys.limits import check_limits, limiting
from camhd_access.surveys.preparing import SurveyOptions, prepare_survey
from camhd_access.surveys.resuming import SurveyReport, find_tasks
from camhd_access.surveys.study import Outcome, Study, SurveyFunction
from camhd_access.surveys.tables import read_results
from camhd_access.times import Duration

__all__ = ["Survey", "SurveyOptions", "survey"]

AT_ONCE, PER_SECOND = 16, 50
"""Default limits on requests, for OOI's server."""

MAX_FAILURES_IN_A_ROW = 25
"""After this number of consecutive errors of the server or the function, the survey ends."""


class Survey:
    """The callable `survey`, with `plan`, `run` and `read`."""

    def __call__(
        self,
        function: SurveyFunction,
        movies: Movies,
        *,
        frames: FrameSelection | None = None,
        at: Duration | Sequence[Duration] | None = None,
        every: int | None = None,
        scene: str | None = None,
        regions: pd.DataFrame | None = None,
        pix_fmt: str = "rgb24",
        y: slice | None = None,
        x: slice | None = None,
        fields: Fields = False,
        deinterlace: Deinterlace = None,
        reduce: int = 1,
        errors: Errors = "raise",
        group: int | None = None,
        version: str | float = "",
        out: str | os.PathLike[str],
        client: Any = None,  # noqa: ANN401 - of distributed, which has no types
        at_once: int | None = AT_ONCE,
        per_second: float | None = PER_SECOND,
        recover: Recover = False,
        clock: Clock = "auto",
        cache: bool = True,
        indexes: str | os.PathLike[str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
        out_options: Mapping[str, Any] | None = None,
        progress: bool = True,
    ) -> pd.DataFrame | xr.Dataset:
        """Call a function with frames of each movie, and return its results as a table.

        Parameters
        ----------
        function
            `function(pictures, context)` gets the frames of one movie, or of one group of them, as a numpy
            array of shape (picture, y, x[, channel]), and a `SurveyContext` with their times, indices and
            movie. It returns a number, a text, a time, or a numpy array of numbers; a mapping of these by
            column; or rows: a list, a mapping of lists, or a DataFrame, with one row for each picture, or
            with a column `frame` and any number of rows. A list has one item for each picture; an array is a
            single value.
        movies
            Anything that `MovieReader` opens; or a table with the column `url`: a catalogue, or the result of
            `find_scene_frames`, whose column `frame` chooses the frames.
        frames, at, every, scene
            Exactly one of: frame indices, as for `open_movie`; one or several times from the start of each
            movie; every N-th frame; the tag of a scene, with its `regions` (from `read_regions`) and a
            catalogue as `movies`: the middle frame of the region in each movie.
        regions
            For `scene`.
        pix_fmt, y, x, fields, deinterlace, reduce
            As for `MovieReader.read`.
        errors
            "raise": a damaged frame costs the row of its group. "mask": pictures are masked arrays, and the
            column `damaged` is the masked share.
        group
            Frames per call of the function; None: all of a movie, at most 1 GiB.
        version
            Version of the function. If it differs from that of the results in `out`, movies are done again:
            change it when you change the function.
        out
            Path or URL of a folder, on any filesystem of fsspec that all workers reach. Each movie is one
            Parquet file, complete or absent.
        client
            A client of `distributed`, or an executor of `concurrent.futures`. None: the active client if
            there is one, else dask's configured scheduler, by default threads.
        at_once, per_second
            Requests over HTTP in flight, and started per second, by all workers together; None for no common
            limit. If the server asks one worker to slow down (429, 503, `Retry-After`), all of them wait. The
            defaults suit OOI's server; raise them for a mirror of your own. The limits of a cluster are those
            of the latest survey on it.
        recover, clock, cache, indexes, storage_options
            As for `MovieReader`.
        out_options
            For the constructor of the filesystem of `out`.
        progress
            Show a progress bar with the movies done and failed, MB per second and the time left, and the
            report.

        Returns
        -------
        pandas.DataFrame or xarray.Dataset
            The rows of these movies in their order; a Dataset if the function returned arrays, which are then
            read from `out` when they are computed. Columns: `movie` (base name), `frame`, `field`, `time`
            (UTC) and `elapsed_seconds` of the first picture that the row is about, `n_pictures`; how certain
            the time is (`time_source`, `time_disagreement_seconds`, `time_uncertainty_seconds`); `damaged`
            (the damaged share); `source`, `file_size` and `etag` of the file; `error`, missing if there is
            none; and those of the function (`value` if it returned no names). `attrs["survey"]` is the
            report.

        Raises
        ------
        ValueError, TypeError, LookupError
            Invalid arguments, or `out` has the results of another function. Nothing was read.
        ImportError
            pyarrow is not installed: it is in the extra `parquet`.
        SurveyError
            25 movies in a row failed because of the server or the function; or another survey with other
            parameters has written to `out` at the same time. Results until then are in `out`.
        OSError
            The results cannot be written.

        Notes
        -----
        A movie is skipped if `out` has its result for the same version of the file, the same name and version
        of the function, and the same parameters. The version is compared by the size in the table of movies
        if it has the column `file_size`, without a request; else by one `HEAD` per movie that is done, within
        the limits. Movies with an error are tried again. On a cluster each movie is read on the same machine
        in every survey, where its bytes may be cached, unless other machines have nothing to do. For each
        thread, a worker holds the pictures of one group, 48 MB of samples, and the rows of one movie.

        Examples
        --------
        >>> def brightness(pictures, context):
        ...     return {"brightness": [picture.mean() for picture in pictures]}
        >>> table = survey(brightness, catalog, at=[60, 120], reduce=8, out="results", progress=False)
        >>> list(table["frame"][:2])
        [1798, 3596]
        """
        options: SurveyOptions = {
            "frames": frames,
            "at": at,
            "every": every,
            "scene": scene,
            "regions": regions,
            "pix_fmt": pix_fmt,
            "y": y,
            "x": x,
            "fields": fields,
            "deinterlace": deinterlace,
            "reduce": reduce,
            "errors": errors,
            "group": group,
            "version": version,
            "recover": recover,
            "clock": clock,
            "cache": cache,
            "indexes": indexes,
            "storage_options": storage_options,
            "out_options": out_options,
        }
        study, jobs = prepare_survey(function, movies, out, options)
        report = _run(study, jobs, client, (at_once, per_second), progress=progress)
        return _read(study, jobs, report)

    def run(
        self,
        function: SurveyFunction,
        movies: Movies,
        *,
        out: str | os.PathLike[str],
        client: Any = None,  # noqa: ANN401 - of distributed
        at_once: int | None = AT_ONCE,
        per_second: float | None = PER_SECOND,
        progress: bool = True,
        **options: Unpack[SurveyOptions],
    ) -> SurveyReport:
        """Do the same as a call, but return only the report, for results that do not fit into memory."""
        study, jobs = prepare_survey(function, movies, out, options)
        return _run(study, jobs, client, (at_once, per_second), progress=progress)

    def plan(
        self,
        function: SurveyFunction,
        movies: Movies,
        *,
        out: str | os.PathLike[str],
        at_once: int | None = AT_ONCE,
        per_second: float | None = PER_SECOND,
        megabits_per_second: float = 100,
        cores: int | None = None,
        dollars_per_gigabyte: float = 0.09,
        dollars_per_million_requests: float = 0.40,
        **options: Unpack[SurveyOptions],
    ) -> SurveyPlan:
        """The estimated cost of a call with the same arguments. Calls no function and writes nothing.

        Parameters
        ----------
        function, movies, out, at_once, per_second, **options
            As for a call; movies that are done are not counted.
        megabits_per_second, cores
            Speed of the link, and number of cores (None: of this machine).
        dollars_per_gigabyte, dollars_per_million_requests
            Prices.

        Notes
        -----
        Opens up to eight movies, spread over the list: one request each. The time that the function takes is
        not known before it runs.
        """
        study, jobs = prepare_survey(function, movies, out, options)
        check_limits(at_once, per_second)
        with limiting(None, at_once, per_second) as permits:
            tasks, report, _ = find_tasks(replace(study, permits=permits), jobs)
        return estimate_cost(
            study,
            [job for job, _ in tasks],
            n_skipped=len(report.skipped),
            per_second=per_second,
            megabits_per_second=megabits_per_second,
            cores=cores,
            dollars_per_gigabyte=dollars_per_gigabyte,
            dollars_per_million_requests=dollars_per_million_requests,
        )

    def read(
        self, out: str | os.PathLike[str], *, out_options: Mapping[str, Any] | None = None
    ) -> pd.DataFrame | xr.Dataset:
        """All results in a folder, of any movies, sorted by the names of the movies; as from a call.

        Raises
        ------
        FileNotFoundError
            No survey has written there.
        """
        folder = ResultFolder.open(out, out_options)
        versions = folder.list()
        if not versions and folder.read_record() is None:
            raise FileNotFoundError(f"{folder.name} has no results of a survey")
        files = {file.movie: file for file in versions}
        return read_results(folder, [files[movie] for movie in sorted(files)], versions)


survey: Survey = Survey()
"""The survey of many movies; see `Survey.__call__` for its arguments."""


def _run(
    study: Study,
    jobs: Sequence[Job],
    client: Any,  # noqa: ANN401
    limits: tuple[int | None, float | None],
    *,
    progress: bool,
) -> SurveyReport:
    """Do all movies that are not done, and report."""
    client = find_client(client)
    check_limits(*limits)
    begin = time.monotonic()
    with limiting(None, *limits) as permits:  # before there are tasks, all requests are of this process
        tasks, report, spare = find_tasks(replace(study, permits=permits), jobs)
    _claim_folder(study)
    study.folder.delete(spare)
    reasons = dict(report.done)
    report.done.clear()
    n_bytes = 0
    if not tasks:
        return _tell(replace(report, seconds=time.monotonic() - begin), progress=progress)
    bar = tqdm(desc="survey", total=len(tasks), unit=" movies", disable=not progress)
    with (
        limiting(client, *limits) as permits,
        bar,
        closing(run_tasks(replace(study, permits=permits), tasks, client)) as outcomes,
    ):
        for outcome in _stop_if_useless(outcomes, study):
            n_bytes += outcome.n_bytes
            if outcome.error is None:
                report.done[outcome.movie] = reasons[outcome.movie]
            else:
                report.failed[outcome.movie] = outcome.error
            rate = n_bytes / 1e6 / max(time.monotonic() - begin, 1e-3)
            bar.set_postfix_str(f"{len(report.failed)} failed, {rate:,.1f} MB/s", refresh=False)
            bar.update()
    _check_alone(study, jobs)
    return _tell(replace(report, n_bytes=n_bytes, seconds=time.monotonic() - begin), progress=progress)


def _tell(report: SurveyReport, *, progress: bool) -> SurveyReport:
    """The report, printed if `progress` is shown."""
    if progress:
        tqdm.write(f"survey: {report}")
    return report


def _claim_folder(study: Study) -> None:
    """Describe the survey in its folder, unless that has the results of another function."""
    function = study.name.partition("(")[0]
    known = study.folder.read_record()
    if known is not None and known.get("function") != function:
        raise ValueError(
            f"{study.folder.name} has the results of the function {known.get('function')!r}, not of "
            f"{function!r}: choose another folder, or delete this one"
        )
    record = {
        "function": function,
        "name": study.name,
        "version": study.version,
        "parameters": study.parameters,
        "software": f"camhd_access {__version__}",
    }
    if known != record:
        study.folder.write_record(record)


def _stop_if_useless(outcomes: Iterator[Outcome], study: Study) -> Iterator[Outcome]:
    """The outcomes, until too many movies in a row fail for reasons that are not their own."""
    n_failures = 0
    for outcome in outcomes:
        yield outcome
        n_failures = n_failures + 1 if outcome.is_general else 0
        if n_failures >= MAX_FAILURES_IN_A_ROW:
            raise SurveyError(
                f"{n_failures} movies in a row failed, the last of them, {outcome.movie}, by "
                f"{outcome.error}; the results until then are in {study.folder.name}"
            )


def _find_own(
    study: Study, jobs: Sequence[Job], files: Iterable[ResultFile]
) -> tuple[dict[str, ResultFile], list[str]]:
    """The file of each movie of this survey, and the movies that another survey has done as well."""
    keys = {job.movie: study.key(job.choice) for job in jobs}
    mine = [file for file in files if file.movie in keys]
    own = {file.movie: file for file in mine if file.key == keys[file.movie]}
    return own, sorted({file.movie for file in mine if file.movie in own and file.key != keys[file.movie]})


def _check_alone(study: Study, jobs: Sequence[Job]) -> None:
    """Raise `SurveyError` if a survey with other parameters has written results of the same movies now."""
    _, twice = _find_own(study, jobs, study.folder.list())
    if twice:
        raise SurveyError(
            f"another survey, with other parameters, another version or other frames, has written to "
            f"{study.folder.name} at the same time, which has two results now of {name_some(twice)}: call "
            "either of them again, and give the other a folder of its own"
        )


def _read(study: Study, jobs: Sequence[Job], report: SurveyReport) -> pd.DataFrame | xr.Dataset:
    """The rows of the movies of this survey, in their order."""
    versions = study.folder.list()
    files, _ = _find_own(study, jobs, versions)
    results = read_results(study.folder, [files[job.movie] for job in jobs if job.movie in files], versions)
    results.attrs["survey"] = str(report)
    return results
