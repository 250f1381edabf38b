"""Rows of a survey as Arrow tables, DataFrames and Datasets.

Arrays are stored as lists of fixed length, with their shape in the metadata of the column. A Dataset reads
them when they are computed, one file per dask chunk; all other columns are in memory.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["pack_rows", "read_results"]

METADATA_KEY = b"camhd_access"
"""Key of the provenance in the metadata of each file, as JSON."""

N_READ_AT_ONCE = 16
"""Files of results that are read at once."""

ROW = "row"
"""Dimension of a Dataset of results."""


@dataclass(frozen=True, slots=True)
class ArrayColumn:
    """A column whose values are arrays."""

    shape: tuple[int, ...]
    """Shape of each value."""
    dims: tuple[str, ...]
    """Names of its dimensions."""
    dtype: np.dtype[Any]
    """Type of its elements."""
    has_missing: bool
    """Whether some values of the file are missing."""

    @classmethod
    def parse(cls, field: "pa.Field") -> "ArrayColumn | None":
        """The column in a schema; None if its values are not arrays."""
        about = (field.metadata or {}).get(METADATA_KEY)
        if about is None:
            return None
        known = json.loads(about)
        return cls(tuple(known["shape"]), tuple(known["dims"]), np.dtype(known["dtype"]), known["missing"])


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
        except pa.ArrowException as error:
            raise ValueError(
                f"the function returned different types in the column {name!r}: {error}"
            ) from error
        fields.append(field)
        columns.append(column)
    schema = pa.schema(fields, {METADATA_KEY: json.dumps(provenance).encode()})
    file = BytesIO()
    parquet.write_table(pa.Table.from_arrays(columns, schema=schema), file)
    return file.getvalue()


def _pack_arrays(
    name: str, values: Sequence[Any], picture_shape: tuple[int, ...]
) -> "tuple[pa.Field, pa.Array]":
    import pyarrow as pa  # noqa: PLC0415 - an extra

    arrays = [value for value in values if isinstance(value, np.ndarray)]
    kinds = {(array.shape, array.dtype.newbyteorder("=")) for array in arrays}
    if len(kinds) > 1 or any(value is not None and not isinstance(value, np.ndarray) for value in values):
        told = sorted(f"{dtype}{shape}" for shape, dtype in kinds)
        raise ValueError(f"the function returned different arrays in the column {name!r}: {', '.join(told)}")
    ((shape, dtype),) = kinds
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


def read_results(folder: ResultFolder, files: Sequence[ResultFile]) -> pd.DataFrame | xr.Dataset:
    """The rows of these files, in their order: a DataFrame, or a Dataset if some values are arrays.

    Raises
    ------
    ValueError
        The arrays of two movies differ in shape or type.
    """
    import pyarrow as pa  # noqa: PLC0415 - an extra

    tables, arrays = [], []
    for table, columns in _iter_scalars(folder, files):
        tables.append(table)
        arrays.append(columns)
    if not tables:
        return pd.DataFrame(columns=list(ABOUT))
    frame = _to_frame(pa.concat_tables(tables, promote_options="permissive"))
    names = list(dict.fromkeys(name for columns in arrays for name in columns))
    if not names:
        return frame
    lengths = [table.num_rows for table in tables]
    variables = {name: _join(folder, files, lengths, [a.get(name) for a in arrays], name) for name in names}
    return xr.Dataset(variables | dict(_as_variables(frame)))


def _iter_scalars(
    folder: ResultFolder, files: Sequence[ResultFile]
) -> "Iterator[tuple[pa.Table, dict[str, ArrayColumn]]]":
    """For each file, the columns that are not arrays, and a description of those that are."""
    from pyarrow import parquet  # noqa: PLC0415 - an extra

    def read(file: ResultFile) -> "tuple[pa.Table, dict[str, ArrayColumn]]":
        opened = parquet.ParquetFile(BytesIO(folder.read(file)))
        found = {field.name: ArrayColumn.parse(field) for field in opened.schema_arrow}
        scalars = [name for name, column in found.items() if column is None]
        table = opened.read(scalars, use_threads=False).replace_schema_metadata()
        return table, {name: column for name, column in found.items() if column is not None}

    with ThreadPoolExecutor(N_READ_AT_ONCE, thread_name_prefix="camhd-results") as pool:
        yield from pool.map(read, files)


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
    known = {(column.shape, column.dtype): column for column in columns if column is not None}
    if len(known) > 1:
        kinds = ", ".join(f"{dtype}{shape}" for shape, dtype in known)
        raise ValueError(f"the arrays {name!r} of the movies differ: {kinds}; see the files in {folder.name}")
    (column,) = known.values()
    some_missing = any(own.has_missing if own else n > 0 for own, n in zip(columns, lengths, strict=True))
    dtype = np.promote_types(column.dtype, np.float32) if some_missing else column.dtype
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
    from pyarrow import parquet  # noqa: PLC0415 - an extra

    opened = parquet.ParquetFile(BytesIO(folder.read(file)))
    column = ArrayColumn.parse(opened.schema_arrow.field(name))
    if column is None:
        raise ValueError(f"{file.name} has been replaced; open the results again")
    packed = opened.read([name]).column(name).combine_chunks()
    items: npt.NDArray[Any] = packed.values.to_numpy()  # noqa: PD011 - of Arrow
    values = items.reshape(len(packed), *column.shape).astype(dtype)
    missing = packed.is_null().to_numpy(zero_copy_only=False)
    if missing.any():
        values[missing] = np.nan
    return values
