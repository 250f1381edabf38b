"""Rows of a survey as Arrow tables, DataFrames and Datasets.

Arrays are stored as lists of fixed length, with their shape in the metadata of the column. A Dataset reads
them when they are computed, one file per dask chunk; all other columns are in memory.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from dask.delayed import delayed

from camhd_access.surveys.dataset import ResultFile, ResultFolder
from camhd_access.surveys.rows import ABOUT
from camhd_access.surveys.scalars import METADATA_KEY, ArrayColumn, open_parquet, read_scalars

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["pack_rows", "read_results"]

MANY_ROWS = 100
"""From this number of rows on dictionaries make the file smaller."""

ROW = "row"
"""Dimension of a Dataset of results."""


def _schema_of_standard_columns() -> dict[str, "pa.DataType"]:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    types = {name: pa.float64() for name in ABOUT}
    types |= dict.fromkeys(("movie", "time_source", "source", "etag", "error"), pa.string())
    types |= {"frame": pa.int64(), "field": pa.int8(), "n_pictures": pa.int64(), "file_size": pa.int64()}
    return types | {"time": pa.timestamp("ns")}


def pack_rows(
    rows: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any], picture_shape: tuple[int, ...] = ()
) -> bytes:
    """A Parquet file of the rows of one movie.

    Parameters
    ----------
    provenance
        Stored in the metadata of the file.
    picture_shape
        Shape of a picture; arrays of this shape have its dimensions.

    Raises
    ------
    ValueError
        Values of one column differ in type or shape.
    """
    import pyarrow as pa  # noqa: PLC0415 - an extra
    from pyarrow import parquet  # noqa: PLC0415 - an extra

    standard = _schema_of_standard_columns()
    names = [*standard, *dict.fromkeys(name for row in rows for name in row if name not in standard)]
    fields, columns = [], []
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            if any(isinstance(value, np.ndarray) for value in values):
                field, column = _pack_arrays(name, values, picture_shape)
            else:
                column = pa.array(values, standard.get(name))
                field = pa.field(name, column.type)
        except (pa.ArrowException, UnicodeError) as error:
            raise ValueError(
                f"the function returned different types in the column {name!r}, or no Unicode: {error}"
            ) from error
        fields.append(field)
        columns.append(column)
    schema = pa.schema(fields, {METADATA_KEY: json.dumps(provenance).encode()})
    file = BytesIO()
    table = pa.Table.from_arrays(columns, schema=schema)
    parquet.write_table(table, file, use_dictionary=len(rows) >= MANY_ROWS, write_statistics=False)
    return file.getvalue()


def _pack_arrays(
    name: str, values: Sequence[Any], picture_shape: tuple[int, ...]
) -> "tuple[pa.Field, pa.Array]":
    import pyarrow as pa  # noqa: PLC0415 - an extra

    arrays = [value for value in values if isinstance(value, np.ndarray)]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or any(value is not None and not isinstance(value, np.ndarray) for value in values):
        told = sorted({f"{array.dtype}{array.shape}" for array in arrays})
        raise ValueError(f"the function returned different arrays in the column {name!r}: {', '.join(told)}")
    (shape,) = shapes
    dtype = np.result_type(*{array.dtype.newbyteorder("=") for array in arrays})
    dims = [f"{name}_{axis}" for axis in range(len(shape))]
    if shape == picture_shape:
        dims = ["y", "x", "channel"][: len(shape)]
    missing = np.array([value is None for value in values])
    filled = np.stack([np.zeros(shape, dtype) if value is None else value for value in values]).astype(dtype)
    size = int(np.prod(shape))
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(filled.reshape(-1)), size, mask=pa.array(missing) if missing.any() else None
    )
    about = json.dumps({"shape": shape, "dims": dims, "dtype": dtype.str, "missing": bool(missing.any())})
    return pa.field(name, column.type, metadata={METADATA_KEY: about.encode()}), column


def read_results(
    folder: ResultFolder, files: Sequence[ResultFile], versions: Mapping[ResultFile, str]
) -> pd.DataFrame | xr.Dataset:
    """The rows of these files, in their order: a DataFrame, or a Dataset if some values are arrays.

    Parameters
    ----------
    versions
        The version of each file in the folder.

    Raises
    ------
    ValueError
        The values of two movies differ in type, or their arrays in shape.
    """
    rows = read_scalars(folder, files, versions)
    if not rows:
        return pd.DataFrame(columns=list(ABOUT))
    arrays = [each.arrays for each in rows]
    tables = [each.table for each in rows]
    frame = _to_frame(_concat(tables, folder))
    names = list(dict.fromkeys(name for columns in arrays for name in columns))
    if not names:
        return frame
    for name in set(names) & set(frame):
        if frame.pop(name).notna().any():
            raise ValueError(
                f"in the column {name!r} the function returned arrays for some movies only; see the files in "
                f"{folder.name}"
            )
    lengths = [table.num_rows for table in tables]
    variables = {name: _join(folder, files, lengths, [a.get(name) for a in arrays], name) for name in names}
    return xr.Dataset(variables | dict(_as_variables(frame)))


def _concat(tables: "Sequence[pa.Table]", folder: ResultFolder) -> "pa.Table":
    """All rows; of numbers of several types the one that holds them all."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    try:
        return pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    except pa.ArrowException as error:
        raise ValueError(
            f"the function returned different types in one column, {_tell_conflict(tables)}; see the files "
            f"in {folder.name}"
        ) from error


def _tell_conflict(tables: "Sequence[pa.Table]") -> str:
    """The first column whose types have none in common, with a movie for each of these types."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    known: dict[str, dict[pa.DataType, str]] = {}
    for table in tables:
        for field in table.schema:
            movie = str(table["movie"][0]) if len(table) else "a movie without rows"
            known.setdefault(field.name, {}).setdefault(field.type, movie)
    for name, movies in known.items():
        try:
            pa.unify_schemas([pa.schema({name: kind}) for kind in movies], promote_options="permissive")
        except pa.ArrowException:
            return f"{name!r}: " + ", ".join(f"{kind} for {movie}" for kind, movie in movies.items())
    return "which cannot be told"


def _to_frame(table: "pa.Table") -> pd.DataFrame:
    """The table in pandas, where whole numbers and truth values may be missing."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    types: dict[Any, Any] = {
        getattr(pa, name.lower())(): getattr(pd, f"{name}Dtype")()
        for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    }
    types |= {pa.bool_(): pd.BooleanDtype(), pa.string(): pd.StringDtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=types.get)
    return frame


def _as_variables(frame: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    """The columns for xarray, which has no missing whole numbers."""
    for name in frame:
        column = frame[name]
        values: npt.NDArray[Any]
        if column.dtype.kind in "iub":
            values = column.to_numpy(np.float64 if column.isna().any() else None, na_value=np.nan)
        elif column.dtype.kind in "fMm":
            values = column.to_numpy()
        else:
            values = column.astype(object).where(column.notna(), "").to_numpy()
        yield str(name), ((ROW,), values)


def _join(
    folder: ResultFolder,
    files: Sequence[ResultFile],
    lengths: Sequence[int],
    columns: Sequence[ArrayColumn | None],
    name: str,
) -> Any:  # noqa: ANN401 - a variable for xarray
    """The arrays of all files along rows; NaN in rows that have none, which makes them floating-point."""
    known = {column.shape: column for column in columns if column is not None}
    if len(known) > 1:
        raise ValueError(
            f"the arrays {name!r} of the movies differ in shape: {', '.join(map(str, known))}; see the files "
            f"in {folder.name}"
        )
    (column,) = known.values()
    some_missing = any(own.has_missing if own else n > 0 for own, n in zip(columns, lengths, strict=True))
    dtype = np.result_type(*{own.dtype for own in columns if own}, *([np.float32] if some_missing else []))
    blocks = []
    for file, n, own in zip(files, lengths, columns, strict=True):
        shape = (n, *column.shape)
        if own is None:
            blocks.append(da.full(shape, np.nan, dtype=dtype) if n else da.empty(shape, dtype=dtype))
        else:
            blocks.append(da.from_delayed(delayed(_read_arrays)(folder, file, name, dtype), shape, dtype))
    return (ROW, *column.dims), da.concatenate(blocks)


def _read_arrays(folder: ResultFolder, file: ResultFile, name: str, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The arrays of one file."""
    with open_parquet(folder, file) as opened:
        about = (opened.schema_arrow.field(name).metadata or {}).get(METADATA_KEY)
        if about is None:
            raise ValueError(f"{file.name} has been replaced; open the results again")
        column = ArrayColumn.parse(about)
        packed = opened.read([name]).column(name).combine_chunks()
    items: npt.NDArray[Any] = packed.values.to_numpy(zero_copy_only=False)  # noqa: PD011 - of Arrow
    values = items.reshape(len(packed), *column.shape).astype(dtype)
    missing = packed.is_null().to_numpy(zero_copy_only=False)
    if missing.any():
        values[missing] = np.nan
    return values
