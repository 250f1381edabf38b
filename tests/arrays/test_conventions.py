"""Saved arrays follow the CF conventions that they claim, according to the checker of IOOS."""

import numpy as np
import pytest
import xarray as xr

from camhd_access import open_movie, open_timelapse

checker = pytest.importorskip("compliance_checker.runner")

HIGH = 3
"""Weight of CF requirements; recommendations weigh less."""

CASES = [
    {},
    {"fields": "first"},
    {"fields": True},
    {"deinterlace": "linear"},
    {"reduce": 2},
    {"reduce": 8, "pix_fmt": "gray"},
    {"pix_fmt": "gray10le"},
    {"errors": "mask", "pix_fmt": "gray16le"},
]


@pytest.mark.filterwarnings("ignore")  # of the checker's own libraries
@pytest.mark.parametrize("options", CASES, ids=str)
def test_saved_arrays_keep_the_conventions_that_they_claim(movie_path, tmp_path, options):
    path = tmp_path / "a.nc"
    dataset = xr.open_dataset(movie_path, engine="camhd", frames=slice(0, 4), **options).load()
    assert dataset.attrs["Conventions"] == "CF-1.11"
    dataset.to_netcdf(path)
    suite = checker.CheckSuite()
    suite.load_all_available_checkers()
    opened = suite.load_dataset(str(path))
    ((results, _errors),) = suite.run_all(opened, ["cf:1.11"]).values()
    opened.close()
    assert len(results) > 20
    wrong = [
        (result.name, result.msgs)
        for result in results
        if result.weight == HIGH and isinstance(result.value, tuple) and result.value[0] < result.value[1]
    ]
    assert not wrong


@pytest.mark.filterwarnings("ignore")  # of the checker's own libraries
@pytest.mark.parametrize("kind", ["movie", "timelapse", "frame", "mean"])
def test_datasets_to_be_saved_keep_the_conventions(movie_path, tmp_path, kind):
    movie = open_movie(movie_path)
    array = {
        "movie": movie[2:30:4],
        "timelapse": open_timelapse([movie_path], frame=3, progress=False),
        "frame": movie[5],
        "mean": movie[:4].camhd.mean(),
    }[kind]
    array.camhd.to_dataset().to_netcdf(tmp_path / "a.nc")
    suite = checker.CheckSuite()
    suite.load_all_available_checkers()
    opened = suite.load_dataset(str(tmp_path / "a.nc"))
    wrong = []
    for standard in ("cf:1.11", "acdd:1.3"):
        ((results, _errors),) = suite.run_all(opened, [standard]).values()
        wrong += [
            *(message for result in results for message in result.msgs if result.weight == HIGH
              and isinstance(result.value, tuple) and result.value[0] < result.value[1])
        ]  # fmt: skip
    opened.close()
    assert wrong == ["Conventions does not contain 'ACDD-1.3'", "standard_name"]  # CF has none for brightness


def test_datasets_tell_the_period_of_their_frames(movie_path):
    movie = open_movie(movie_path)
    attributes = movie[2:30:4].camhd.to_dataset().attrs
    start, end = (f"{np.datetime_as_string(time, 'us')}Z" for time in movie.time.values[[2, 26]])
    assert (attributes["time_coverage_start"], attributes["time_coverage_end"]) == (start, end)
    assert attributes["time_coverage_duration"] == "PT0.8008S"
    assert attributes["time_coverage_resolution"] == "PT0.133467S"
    assert attributes["geospatial_lat_min"] == attributes["geospatial_lat_max"] == 45.933636
    assert "time_coverage_start" not in movie.attrs
    again = movie[2:30:4].camhd.to_dataset()
    assert again.attrs == attributes  # the same frames, the same file
    assert again.video.variable.dims == movie.dims
    assert again.coords.keys() == movie.coords.keys()
    np.testing.assert_array_equal(again.video, movie[2:30:4])
    mean = movie[:4].camhd.mean().camhd.to_dataset()
    assert mean.video.attrs["operation"].startswith("mean of 4 frames")
    assert not {name for name in mean.attrs if name.startswith("time_coverage")}
    one = movie[5].camhd.to_dataset().attrs
    assert one["time_coverage_start"] == one["time_coverage_end"]
    assert one["time_coverage_duration"] == "PT0S"


def test_valid_range_is_of_the_type_of_the_values(movie_path):
    for options in CASES:
        movie = open_movie(movie_path, **options)
        assert movie.attrs["valid_range"].dtype == movie.dtype
        low, high = movie.attrs["valid_range"]
        values = movie[:2].values
        assert low <= np.nanmin(values) <= np.nanmax(values) <= high
