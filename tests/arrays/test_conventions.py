"""Saved arrays keep the CF conventions that they claim, by the checker of IOOS."""

import numpy as np
import pytest
import xarray as xr

from camhd_access import open_movie

checker = pytest.importorskip("compliance_checker.runner")

HIGH = 3
"""Weight of what CF demands; what it recommends weighs less."""

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


def test_valid_range_is_of_the_type_of_the_values(movie_path):
    for options in CASES:
        movie = open_movie(movie_path, **options)
        assert movie.attrs["valid_range"].dtype == movie.dtype
        low, high = movie.attrs["valid_range"]
        values = movie[:2].values
        assert low <= np.nanmin(values) <= np.nanmax(values) <= high
