"""The arguments of a survey, checked before anything is read: a `Study`, and a `Job` for each movie."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from inspect import signature
from numbers import Integral
from typing import Any, TypedDict

import pandas as pd
from dask.base import tokenize

from camhd_access.decoding.decoders import check_reduction
from camhd_access.decoding.pixels import find_pixel_format
from camhd_access.formats.names import Clock, check_clock
from camhd_access.movie.index_cache import Recover
from camhd_access.movie.index_store import find_store
from camhd_access.movie.selection import Deinterlace, Errors, Fields, FrameSelection, check_errors, check_scan
from camhd_access.surveys.choices import Job, Movies, choose_jobs
from camhd_access.surveys.dataset import ResultFolder
from camhd_access.surveys.study import Study, SurveyFunction
from camhd_access.times import Duration

__all__ = ["SurveyOptions", "prepare_survey"]


class SurveyOptions(TypedDict, total=False):
    """Options of a survey; `survey` describes them."""

    frames: FrameSelection | None
    at: Duration | Sequence[Duration] | None
    every: int | None
    scene: str | None
    regions: pd.DataFrame | None
    pix_fmt: str
    y: slice | None
    x: slice | None
    fields: Fields
    deinterlace: Deinterlace
    reduce: int
    errors: Errors
    group: int | None
    version: str | float
    recover: Recover
    clock: Clock
    cache: bool
    indexes: str | os.PathLike[str] | None
    storage_options: Mapping[str, Any] | None
    out_options: Mapping[str, Any] | None


def prepare_survey(
    function: SurveyFunction, movies: Movies, out: str | os.PathLike[str], options: SurveyOptions
) -> tuple[Study, list[Job]]:
    """The checked arguments.

    Raises
    ------
    ValueError, TypeError, LookupError
        One of them is wrong, or there is no such option.
    ImportError
        pyarrow is not installed.
    """
    _check_function(function)
    if unknown := sorted(options.keys() - SurveyOptions.__annotations__.keys()):
        raise TypeError(f"unknown options: {', '.join(unknown)}")
    shown: dict[str, Any] = {
        "fields": options.get("fields", False),
        "deinterlace": options.get("deinterlace"),
    }
    check_scan(**shown)
    opening = {
        "cache": options.get("cache", True),
        "indexes": find_store(options.get("indexes")),
        "storage_options": options.get("storage_options"),
    }
    study = Study(
        function=function,
        name=_name_function(function),
        version=str(options.get("version", "")),
        folder=ResultFolder.open(out, options.get("out_options")),
        pix_fmt=find_pixel_format(options.get("pix_fmt", "rgb24")).name,
        y=_bounds(options.get("y"), "y"),
        x=_bounds(options.get("x"), "x"),
        **shown,
        reduce=check_reduction(options.get("reduce", 1)),
        errors=check_errors(options.get("errors", "raise")),
        group=_check_group(options.get("group")),
        recover=options.get("recover", False),
        clock=check_clock(options.get("clock", "auto")),
        opening=opening,
    )
    jobs = choose_jobs(
        movies,
        frames=options.get("frames"),
        at=options.get("at"),
        every=options.get("every"),
        scene=options.get("scene"),
        regions=options.get("regions"),
        storage_options=options.get("storage_options"),
    )
    return study, jobs


def _check_function(function: object) -> None:
    """Raise `TypeError` unless it can be called with two arguments."""
    if not callable(function):
        raise TypeError(f"function must be callable, as function(pictures, context), not {function!r:.80}")
    try:
        known = signature(function)
    except (TypeError, ValueError):  # of some that are written in C
        return
    try:
        known.bind(None, None)
    except TypeError as error:
        raise TypeError(f"function is called as function(pictures, context): {error}") from error


def _check_group(group: int | None) -> int | None:
    if group is not None and (isinstance(group, bool) or not isinstance(group, Integral) or group < 1):
        raise ValueError(f"group must be a positive whole number of frames per call, not {group!r:.80}")
    return None if group is None else int(group)


def _name_function(function: Callable[..., Any]) -> str:
    """The name of a function; with the arguments of a partial one, and the fields of a dataclass."""
    name = str(getattr(function, "__name__", type(function).__name__))
    if is_dataclass(function) and not isinstance(function, type):
        given = [f"{each.name}={_tell_argument(getattr(function, each.name))}" for each in fields(function)]
        return f"{name}({', '.join(given)})"
    if isinstance(function, partial):
        given = [
            *map(_tell_argument, function.args),
            *(f"{name}={_tell_argument(value)}" for name, value in function.keywords.items()),
        ]
        return f"{_name_function(function.func)}({', '.join(given)})"
    return name


def _tell_argument(value: object) -> str:
    """Text that differs if the argument does: `repr` leaves out what is in the middle of long arrays."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_tell_argument, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_tell_argument(item)}' for key, item in value.items())}}}"
    return f"{type(value).__name__}-{tokenize(value)}" if hasattr(value, "__array__") else repr(value)


def _bounds(extent: slice | None, name: str) -> tuple[int | None, int | None] | None:
    if extent is None:
        return None
    if not isinstance(extent, slice) or extent.step not in (None, 1):
        raise TypeError(f"{name} must be a slice without step, such as slice(0, 64), not {extent!r}")
    start, stop = (None if bound is None else int(bound) for bound in (extent.start, extent.stop))
    return start, stop
