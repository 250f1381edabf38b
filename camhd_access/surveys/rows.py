"""What a survey's function returns → rows, each about some of its pictures.

A result is a number or text, a numpy array (one value, of any shape), a mapping of these by column, or rows:
a list, a DataFrame, or a mapping of lists. The type decides, never a length: a list has one item for each
picture, and a numpy array is a single value. Rows with a `frame` (a column, or the name of a pandas index)
are about that frame; there may be any number of them. A Series labelled by text, such as `table.mean()`, and
a named tuple are mappings.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["ABOUT", "ResultRow", "iter_rows"]

ABOUT = (
    "movie",
    "frame",
    "field",
    "time",
    "elapsed_seconds",
    "n_pictures",
    "time_source",
    "time_disagreement_seconds",
    "time_uncertainty_seconds",
    "damaged",
    "source",
    "file_size",
    "etag",
    "error",
)
"""Columns that every result has; the function cannot use these names."""

MAX_INTEGER = 2**63
"""Whole numbers are stored in 64 bits, with a sign."""

ResultRow: TypeAlias = tuple[npt.NDArray[np.int64], dict[str, Any]]
"""Positions of the pictures that a row is about, and its values."""


def iter_rows(result: Any, frames: npt.NDArray[np.int64]) -> Iterator[ResultRow]:  # noqa: ANN401 - the user's
    """The rows of a result.

    Parameters
    ----------
    frames
        Index of each picture's frame.

    Raises
    ------
    TypeError, ValueError
        The function returned something else, or rows that do not match the pictures.
    """
    if result is None:
        return
    n = len(frames)
    result = _unfold(result)
    rows = _rows_in(result, n)
    if rows is None:
        value = result if isinstance(result, Mapping) else {"value": result}
        yield np.arange(n), _check_values(value)
        return
    rows = [_unfold(row) for row in rows]
    has_frames = [isinstance(row, Mapping) and "frame" in row for row in rows]
    if not all(has_frames) and len(rows) != n:
        raise ValueError(
            f"the function returned {len(rows)} rows for {n} pictures: return one row for each picture, or "
            "rows with the key 'frame'"
        )
    for position, row in enumerate(rows):
        values = dict(row) if isinstance(row, Mapping) else {"value": row}
        about = np.array([position])
        if has_frames[position]:
            frame = values.pop("frame")
            about = np.flatnonzero(frames == frame) if np.ndim(frame) == 0 else about[:0]
            if not len(about):
                raise ValueError(f"the function returned a row of frame {frame}, which it was not given")
        yield about, _check_values(values)


def _unfold(result: Any) -> Any:  # noqa: ANN401
    """What pandas and named tuples label, as columns; anything else as it is."""
    if isinstance(result, pd.DataFrame | pd.Series) and result.index.name == "frame":
        result = result.to_frame(result.name or "value") if isinstance(result, pd.Series) else result
        return result.reset_index()
    if isinstance(result, pd.Series) and len(result) and result.index.map(type).isin([str]).all():
        return dict(result.items())
    return result._asdict() if isinstance(result, tuple) and hasattr(result, "_asdict") else result


def _rows_in(result: Any, n_pictures: int) -> list[Any] | None:  # noqa: ANN401
    """The rows of a result; None if it is a single row."""
    if isinstance(result, pd.DataFrame):
        if not result.columns.is_unique:
            raise ValueError(f"the function returned columns of the same name: {list(result)!r:.200}")
        return [dict(zip(result, row, strict=True)) for row in result.itertuples(index=False, name=None)]
    if isinstance(result, pd.Series):
        return list(result)
    if isinstance(result, Mapping):
        columns = {name: list(v) for name, v in result.items() if isinstance(v, list | tuple | pd.Series)}
        if not columns:
            return None
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1 or ("frame" not in columns and lengths != {n_pictures}):
            raise ValueError(
                f"the function returned lists of {sorted(lengths)} items for {n_pictures} pictures: a list "
                "has one item for each picture; a numpy array is a single value"
            )
        shared = {name: value for name, value in result.items() if name not in columns}
        return [shared | dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    is_rows = isinstance(result, Iterable) and not isinstance(result, str | bytes | set | frozenset)
    return list(result) if is_rows and not hasattr(result, "__array__") else None


def _check_values(values: Mapping[Any, Any]) -> dict[str, Any]:
    checked = {}
    for name, value in values.items():
        if not isinstance(name, str):
            raise TypeError(f"the function returned the column {name!r:.80}: names of columns are text")
        if name in ABOUT:
            raise ValueError(f"the function returned the column {name!r}, which the survey fills; rename it")
        checked[name] = _check_value(name, value)
    return checked


def _check_value(name: str, value: Any) -> Any:  # noqa: ANN401
    """The value as a Python scalar, a time or an array; masked values are missing."""
    if value is None or value is np.ma.masked or value is pd.NA:
        return None
    if isinstance(value, bool | float | str) or (isinstance(value, int) and abs(value) < MAX_INTEGER):
        return value
    if value is pd.NaT or isinstance(value, np.datetime64 | np.timedelta64 | date | timedelta):
        return _check_time(value)
    told = f"an integer of {value.bit_length()} bits" if isinstance(value, int) else type(value).__name__
    if hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.kind in "biuf" and not array.ndim:
            number = float(array) if array.dtype.kind == "f" else array.item()
            return _check_value(name, None if np.ma.is_masked(value) else number)
        if array.dtype.kind in "biuf" and array.size:
            return _check_array(value, array)
        told = f"an array of shape {array.shape} and type {array.dtype}"
    raise TypeError(
        f"the function returned {told} in the column {name!r}; it must be a number (integers: 64 bits), a "
        "text, a time, or a numpy array of numbers that is not empty"
    )


def _check_time(value: Any) -> np.datetime64 | np.timedelta64 | None:  # noqa: ANN401
    """The time in nanoseconds, UTC as in the column `time`; or the duration."""
    if pd.isna(value):
        return None
    if isinstance(value, np.timedelta64 | timedelta):
        return pd.Timedelta(value).as_unit("ns").to_timedelta64()
    time = pd.Timestamp(value)
    return (time.tz_convert(None) if time.tzinfo else time).as_unit("ns").to_datetime64()


def _check_array(value: Any, array: npt.NDArray[Any]) -> npt.NDArray[Any]:  # noqa: ANN401
    """The array in a type that Parquet has, with NaN for masked elements."""
    if array.dtype.itemsize > np.dtype(np.float64).itemsize:
        array = array.astype(np.float64)
    if np.ma.is_masked(value):
        array = array.astype(np.promote_types(array.dtype, np.float32))
        array[np.ma.getmaskarray(value)] = np.nan
    return array
