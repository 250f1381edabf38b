"""What a survey's function may return: each value arrives as it is, or a row says why it does not."""

import datetime as dt
import sys
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from surveyed import NAMES

from camhd_access import survey

quiet = {"progress": False, "pix_fmt": "gray"}
TIME = pd.Timestamp("2020-05-06 07:08:09.123456")


class Extremes(NamedTuple):
    lowest: float
    highest: float


@pytest.fixture
def run(good, tmp_path):
    """Runs a survey of frames 7, 0 and 3 of each movie, whose function is `result`."""

    def run(result, movies=good, **options):
        def returning(pictures, context):
            return result(pictures, context)

        return survey(returning, movies, frames=[7, 0, 3], out=tmp_path / "out", **quiet | options)

    return run


def number_of(context):
    return NAMES.index(context.movie)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (TIME.to_pydatetime(), TIME),
        (TIME.tz_localize("UTC").tz_convert("Asia/Tokyo"), TIME),
        (dt.date(2020, 5, 6), TIME.floor("D")),
        (np.datetime64("2020-05-06"), TIME.floor("D")),
        (dt.timedelta(seconds=1.5), pd.Timedelta(1500, "ms")),
        (np.timedelta64(2, "s"), pd.Timedelta(2, "s")),
        (np.float32(1.5), 1.5),
        (np.float16(0.5), 0.5),
        (np.longdouble(2), 2.0),
        (np.int16(-3), -3),
        (np.bool_(True), True),
        (np.str_("crab"), "crab"),
        (2**63 - 1, 2**63 - 1),
        (np.array(4), 4),
    ],
)
def test_scalars(run, value, wanted):
    table = run(lambda *_: value)
    assert table["error"].isna().all()
    assert table["value"].tolist() == [wanted] * 3


def test_times_with_and_without_a_zone_are_one_column(run):
    table = run(lambda _, context: TIME.tz_localize("UTC" if number_of(context) else None))
    assert table["value"].tolist() == [TIME] * 3
    assert table["value"].dtype == table["time"].dtype


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (2**70, "an integer of 71 bits in the column 'value'"),
        (np.uint64(2**63), "an integer of 64 bits"),
        ({"a": {"b": 1}}, "returned dict in the column 'a'"),
        ({1, 2, 3}, "returned set in the column 'value'"),
        (1j, "returned complex"),
        (np.zeros((0, 3)), r"an array of shape \(0, 3\) and type float64"),
        (np.zeros(2, "M8[ns]"), r"an array of shape \(2,\) and type datetime64\[ns\]"),
        (pd.DataFrame(np.ones((3, 2)), columns=["a", "a"]), r"columns of the same name: \['a', 'a'\]"),
        ([{"frame": [7, 0]}], r"row of frame \[7, 0\], which it was not given"),
        ("\udcff", "no Unicode"),
        (np.datetime64("9999-01-01"), "OutOfBoundsDatetime"),
    ],
)
def test_values_that_cannot_be_kept(run, value, why):
    errors = run(lambda *_: value)["error"]
    assert errors.str.contains(why).tolist() == [True] * 3


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (UnspeakableError(), "UnspeakableError: (its text cannot be made: RuntimeError)"),
        (ValueError("\udcff"), "ValueError: \\udcff"),
        (SystemExit(3), "SystemExit: 3"),
    ],
)
def test_errors_of_any_kind_are_rows(run, error, wanted):
    def fail_at_the_second(_, context):
        if number_of(context) == 1:
            raise error
        return 1

    table = run(fail_at_the_second)
    assert table["error"].fillna("").tolist() == ["", wanted, ""]
    assert table["value"].fillna(-1).tolist() == [1, -1, 1]


@pytest.mark.parametrize(
    "result", [pd.Series({"lowest": 1.0, "highest": 2.0}), Extremes(1.0, 2.0), Extremes(np.float32(1), 2.0)]
)
def test_labelled_values_are_columns(run, result):
    table = run(lambda *_: result)
    assert table[["lowest", "highest"]].to_numpy().tolist() == [[1.0, 2.0]] * 3


def test_rows_of_named_tuples(run):
    table = run(lambda pictures, _: [Extremes(n, int(picture.max())) for n, picture in enumerate(pictures)])
    assert table["lowest"].tolist() == [0, 1, 2] * 3


@pytest.mark.parametrize("kind", ["series", "frame"])
def test_an_index_of_frames_tells_the_frames(run, kind):
    """`groupby` sorts its result, so positions would be those of other frames."""

    def count(_, context):
        found = pd.DataFrame({"frame": context.frames, "n": context.frames * 10}).groupby("frame")["n"].sum()
        return found if kind == "series" else found.to_frame()

    table = run(count)
    assert table["frame"].tolist() == [0, 3, 7] * 3
    assert table["n"].tolist() == [0, 30, 70] * 3


def test_a_generator_is_a_list(run):
    table = run(lambda pictures, _: (n for n, _ in enumerate(pictures)))
    assert table["value"].tolist() == [0, 1, 2] * 3


# ---- values that differ from movie to movie


def test_columns_and_types_of_numbers_may_differ(run):
    table = run(lambda _, context: [{"a": 1, "b": 2}, {"a": 1.5}, {"a": None, "c": "x"}][number_of(context)])
    assert table["a"].fillna(-1).tolist() == [1.0, 1.5, -1.0]
    assert table["b"].fillna(-1).tolist() == [2, -1, -1]
    assert table["c"].fillna("").tolist() == ["", "", "x"]


def test_types_that_have_none_in_common(run, tmp_path):
    why = f"'value': string for {NAMES[0]}, int64 for {NAMES[1]}; see the files"
    with pytest.raises(ValueError, match=why):
        run(lambda _, context: number_of(context) or "none")
    assert len(list((tmp_path / "out").glob("done-*"))) == 3


@pytest.mark.parametrize("dtype", ["?", "f2", ">i4", "u8", "g"])
def test_arrays_of_any_type_of_numbers(run, dtype):
    value = np.arange(6).reshape(2, 3).astype(dtype)
    dataset = run(lambda *_: value)
    assert dataset["value"].dtype == np.dtype("f8" if dtype == "g" else dtype).newbyteorder("=")
    assert np.array_equal(dataset["value"], [value] * 3)


def test_types_of_arrays_may_differ(run):
    dataset = run(lambda _, context: np.arange(3, dtype=["u1", "i2", "f4"][number_of(context)]))
    assert dataset["value"].dtype == np.float32
    assert dataset["value"].to_numpy().tolist() == [[0, 1, 2]] * 3


def test_masked_elements_are_missing_in_any_group(run):
    """Also if only some of the arrays of a movie have any."""

    def mask_the_first(pictures, context):
        return np.ma.masked_array(pictures[0, :1, :2], [[context.frames[0] == 0, False]])

    dataset = run(mask_the_first, group=1)
    assert dataset["value"].dtype == np.float32
    assert np.isnan(dataset["value"].to_numpy())[:, 0].tolist() == [[n % 3 == 1, False] for n in range(9)]


def test_no_array_of_a_movie_is_missing(run):
    dataset = run(lambda _, context: {"value": None if number_of(context) == 1 else np.arange(2)})
    assert np.array_equal(dataset["value"], [[0, 1], [np.nan] * 2, [0, 1]], equal_nan=True)


def test_arrays_and_numbers_in_one_column(run):
    with pytest.raises(ValueError, match="column 'value' the function returned arrays for some movies only"):
        run(lambda _, context: np.arange(2) if number_of(context) else 1.5)


def test_columns_named_as_dimensions(run):
    dataset = run(lambda pictures, _: {"x": 1.5, "y": 2, "row": 3, "mean": pictures.mean(axis=0)})
    assert dataset["mean"].dims == ("row", "y", "x")
    assert dataset["x"].to_numpy().tolist() == [1.5] * 3
    assert dataset["row"].to_numpy().tolist() == [3] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
def test_a_name_that_is_no_text(run, good, tmp_path):
    path = tmp_path / "strange-\udcff.mov"
    path.hardlink_to(good[0])
    table = run(lambda *_: 1, movies=[str(path), good[1]])
    assert table["value"].tolist() == [1, 1]
    assert table["movie"][0].startswith("strange-_-")
