"""The command `survey`: a Python function over frames of many movies, for cron and batch systems."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from camhd_access.cli.archives import find_archive
from camhd_access.cli.options import (
    AS_JSON,
    AT_LEAST_ONE,
    CROP,
    DEINTERLACE,
    FRAME,
    NOT_NEGATIVE,
    PATH_OR_URL,
    POSITIVE,
    RECOVER,
    REDUCE,
    Crop,
    as_usage_error,
)
from camhd_access.cli.printing import print_json, shows_progress

if TYPE_CHECKING:
    import pandas as pd

    from camhd_access.movie.selection import Deinterlace
    from camhd_access.surveys import SurveyPlan, SurveyReport

__all__ = ["survey"]

ANY_SIZE = (2**31, 2**31)
"""Frames may be of any size: a crop is compared with each movie when it is opened."""


@click.command
@click.argument("function", metavar="MODULE:FUNCTION")
@click.argument("root", required=False, type=PATH_OR_URL)
@click.option("--start", help="Start of the period (UTC), compared with the times in file names.")
@click.option("--end", help="End of the period (exclusive).")
@click.option("--catalog", type=PATH_OR_URL, help="Catalogue of the movies, instead of ROOT.")
@click.option(
    "--quality",
    multiple=True,
    type=click.Choice(["good", "blank", "odd", "empty", "unreadable"]),
    help="Only movies of this quality in the catalogue; may be repeated.",
)
@click.option("--every", type=AT_LEAST_ONE, help="Every N-th frame of each movie.")
@click.option("--at", type=NOT_NEGATIVE, multiple=True, help="Seconds from the start; may be repeated.")
@click.option("--frame", type=FRAME, multiple=True, help="Index of a frame, from 0; may be repeated.")
@click.option("--scene", help="Tag of a scene, such as d3_p1_z0: one frame of each movie that shows it.")
@click.option("--regions", type=PATH_OR_URL, help="Table of regions, for --scene.")
@click.option("--pix-fmt", default="rgb24", show_default=True, help="Format of the pixels, as in FFmpeg.")
@CROP
@REDUCE
@click.option("--fields", is_flag=True, help="Fields instead of frames, for an interlaced movie.")
@DEINTERLACE
@click.option("--group", type=AT_LEAST_ONE, help="Frames per call of the function.  [default: all]")
@click.option(
    "--damaged",
    type=click.Choice(["raise", "mask"]),
    default="raise",
    show_default=True,
    help="mask: pass damaged frames as masked arrays.",
)
@click.option("--function-version", default="", help="Change it when the function changes.")
@RECOVER
@click.option("--no-cache", is_flag=True, help="Do not write what is read to the disk cache.")
@click.option("--scheduler", help="Address of a dask scheduler, such as tcp://scheduler:8786.")
@click.option("--processes", type=AT_LEAST_ONE, help="Run on this many processes instead of threads.")
@click.option("--at-once", type=AT_LEAST_ONE, default=16, show_default=True, help="Requests in flight.")
@click.option("--per-second", type=POSITIVE, default=50, show_default=True, help="Requests per second.")
@click.option("--plan", is_flag=True, help="Only estimate the cost.")
@click.option("-o", "--output", required=True, type=PATH_OR_URL, help="Folder of the results: a path or URL.")
@AS_JSON
def survey(
    *,
    function: str,
    root: str | None,
    start: str | None,
    end: str | None,
    catalog: str | None,
    quality: tuple[str, ...],
    every: int | None,
    at: tuple[float, ...],
    frame: tuple[int, ...],
    scene: str | None,
    regions: str | None,
    pix_fmt: str,
    crop: Crop | None,
    reduce: int,
    fields: bool,
    deinterlace: "Deinterlace",
    group: int | None,
    damaged: Literal["raise", "mask"],
    function_version: str,
    recover: bool,
    no_cache: bool,
    scheduler: str | None,
    processes: int | None,
    at_once: int,
    per_second: float,
    plan: bool,
    output: str,
    as_json: bool,
) -> None:
    """Call a Python function with frames of each movie in ROOT (default: OOI's server), and keep its results.

    MODULE is a module or a file of Python; FUNCTION gets the pictures of one movie and a SurveyContext. The
    results are a folder of Parquet files, one per movie. Movies that are done are skipped, so the same
    command resumes an interrupted survey or adds new movies.

    \b
    Examples:
      camhd survey floc.py:count --catalog camhd.parquet --quality good --at 240 --at 480 -o floc
      camhd survey floc.py:count --start 2018-01-01 --every 300 --reduce 8 --plan -o s3://bucket/floc
    """  # noqa: D301 - click looks for the backspace itself
    from camhd_access.surveys.survey import SurveyOptions
    from camhd_access.surveys.survey import survey as survey_movies

    called = _import(function)
    y_and_x = crop.slices(ANY_SIZE, reduce=reduce, fields=fields) if crop else {}
    options: SurveyOptions = {
        "every": every,
        "at": at or None,
        "frames": list(frame) or None,
        "scene": scene,
        "regions": _read_regions(regions),
        "pix_fmt": pix_fmt,
        "y": y_and_x.get("y"),
        "x": y_and_x.get("x"),
        "fields": fields,
        "deinterlace": deinterlace,
        "reduce": reduce,
        "errors": damaged,
        "group": group,
        "version": function_version,
        "recover": recover,
        "cache": not no_cache,
    }
    movies = _find_movies(root, start, end, catalog, quality)
    result: SurveyPlan | SurveyReport
    limits: Any = {"at_once": at_once, "per_second": per_second}
    with as_usage_error():
        if plan:
            result = survey_movies.plan(called, movies, out=output, **limits, **options)
        else:
            with _client(scheduler, processes) as client:
                result = survey_movies.run(
                    called,
                    movies,
                    out=output,
                    client=client,
                    progress=shows_progress(),
                    **limits,
                    **options,
                )
    if as_json:
        print_json({name: getattr(result, name) for name in _fields_of(result)} | {"path": output})
    else:
        click.echo(str(result))


def _fields_of(result: "SurveyPlan | SurveyReport") -> list[str]:
    from dataclasses import fields

    return [field.name for field in fields(result)]


def _import(name: str) -> Callable[..., Any]:
    """The function `module:function` or `file.py:function`, pickled whole: workers do not need the file."""
    import cloudpickle

    module_name, _, function_name = name.rpartition(":")
    if not module_name:
        raise click.UsageError(f"{name!r}: write MODULE:FUNCTION, such as floc.py:count")
    folder = Path.cwd()
    if module_name.endswith(".py"):
        path = Path(module_name).resolve()
        if not path.is_file():
            raise click.UsageError(f"no such file: '{module_name}'")
        folder, module_name = path.parent, path.stem
    sys.path.insert(0, str(folder))
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        raise click.UsageError(f"{name!r}: {error}") from error
    found = getattr(module, function_name, None)
    if not callable(found):
        raise click.UsageError(f"the module {module_name!r} has no function {function_name!r}")
    cloudpickle.register_pickle_by_value(module)
    function: Callable[..., Any] = found
    return function


def _read_regions(path: str | None) -> "pd.DataFrame | None":
    from camhd_access.archive import read_regions

    return None if path is None else read_regions(path)


def _find_movies(
    root: str | None, start: str | None, end: str | None, catalog: str | None, quality: tuple[str, ...]
) -> "pd.DataFrame":
    """The catalogue of the movies."""
    from camhd_access.archive import read_catalog
    from camhd_access.times import parse_period

    with as_usage_error():
        first, stop = parse_period(start, end)
    if catalog is None:
        if quality:
            raise click.UsageError("--quality needs --catalog, which `camhd catalog --index` writes")
        return find_archive(root).catalog(first, stop, progress=shows_progress())
    if root is not None:
        raise click.UsageError("give either ROOT or --catalog")
    movies = read_catalog(catalog)
    times = movies["time_from_name"].to_numpy().astype("datetime64[s]")
    movies = movies[(times >= first) & (times < stop)]
    return movies[movies["quality"].isin(quality)] if quality else movies


@contextmanager
def _client(scheduler: str | None, processes: int | None) -> Iterator[Any]:
    """Where the tasks run; None for threads."""
    if scheduler and processes:
        raise click.UsageError("give either --scheduler or --processes")
    if scheduler:
        from distributed import Client

        with Client(scheduler) as client:
            yield client
    elif processes:
        from camhd_access.surveys.execution import make_processes

        with make_processes(processes) as pool:
            yield pool
    else:
        yield None
