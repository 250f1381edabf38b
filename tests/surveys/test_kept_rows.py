"""Rows of many files of results are kept in one file, and are always those of the files."""

import os
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

from camhd_access import survey
from camhd_access.surveys import scalars
from camhd_access.synthetic import read_frame_number

KEPT = "_rows.arrow"
options = {"frames": [1, 4], "pix_fmt": "gray", "progress": False}


def number(pictures, context):
    return {"number": [read_frame_number(picture) for picture in pictures]}


def corner(pictures, context):
    return {"corner": pictures[0, :2, :3].astype("float32"), "n": len(pictures)}


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch):
    monkeypatch.setattr(scalars, "MIN_KEPT_FILES", 3)


@pytest.fixture
def nothing_is_opened(monkeypatch):
    """A function after which no file of a movie's rows can be opened."""

    def refuse(folder, file):
        raise AssertionError(file)

    return lambda: monkeypatch.setattr(scalars, "open_parquet", refuse)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_rows_are_read_again_from_one_file(paths, out, nothing_is_opened):
    """Also those of movies with an error, whose files have other columns."""
    first = survey(number, paths, out=out, **options)
    assert first["error"].notna().sum() == 2
    assert (out / KEPT).is_file()
    nothing_is_opened()
    pd.testing.assert_frame_equal(survey.read(out), first)
    some = survey.read(out).query("movie == @first.movie.iloc[0]")
    assert some["number"].tolist() == [1, 4]


def test_a_finished_survey_opens_no_file_of_a_movie(good, out, nothing_is_opened):
    first = survey(number, good, out=out, **options)
    nothing_is_opened()
    again = survey(number, good[1:], out=out, **options)
    assert again["number"].tolist() == first["number"].tolist()[2:]
    assert again.dtypes.to_dict() == first.dtypes.to_dict()
    assert again.attrs["survey"].startswith("0 movies done, 0 failed, 2 skipped")


def test_files_that_were_written_since_count(good, out):
    survey(number, good, out=out, **options)
    kept = (out / KEPT).read_bytes()
    (changed,) = out.glob(f"done-{Path(good[1]).stem}*")
    rows = pd.read_parquet(changed).assign(number=[7, 8])
    stamps = changed.stat()
    changed.unlink()
    rows.to_parquet(changed)
    os.utime(changed, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
    assert survey.read(out)["number"].tolist() == [1, 4, 7, 8, 201, 204]
    assert (out / KEPT).read_bytes() == kept  # one file more is not worth it
    next(out.glob(f"done-{Path(good[0]).stem}*")).unlink()
    assert survey.read(out)["number"].tolist() == [7, 8, 201, 204]


def test_results_of_another_version_replace_kept_ones(good, out):
    survey(number, good, out=out, **options)
    newer = survey(number, good, out=out, version=2, y=slice(0, 64), **options)
    assert survey.read(out).equals(newer)
    assert len(newer) == 6


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"x" + data, lambda data: b""])
def test_a_damaged_file_is_not_used(good, out, damage):
    first = survey(number, good, out=out, **options)
    (out / KEPT).write_bytes(damage((out / KEPT).read_bytes()))
    pd.testing.assert_frame_equal(survey.read(out), first)
    pd.testing.assert_frame_equal(survey.read(out), first)


def test_a_folder_that_cannot_be_written_can_be_read(good, out):
    out.mkdir()
    (out / KEPT).mkdir()
    assert len(survey(number, good, out=out, **options)) == 6


def test_arrays_are_described_too(good, out, monkeypatch):
    first = survey(corner, good, out=out, **options).load()
    with monkeypatch.context() as patch:
        patch.setattr(scalars, "open_parquet", None)
        again = survey.read(out)
    xr.testing.assert_equal(again.load(), first)
    assert again["corner"].dims == ("row", "corner_0", "corner_1")


def test_in_memory(good):
    place = "memory://kept-rows"
    first = survey(number, good, out=place, **options)
    pd.testing.assert_frame_equal(survey.read(place), first)
    assert len(pd.read_parquet(place)) == len(first)
