"""Sums and means over time: equal to numpy's to the last bit, whoever asks and however."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from camhd_access import open_movie
from camhd_access.arrays.reductions import mean_over_time, sum_over_time

KINDS = ["rgb24", "rgb48be", "gray10le"]


@pytest.fixture(params=KINDS)
def movie(request, movie_path):
    return open_movie(movie_path, pix_fmt=request.param, chunks=7, cache=False)


@pytest.mark.parametrize("keepdims", [False, True])
def test_movies_have_numpys_mean_and_sum(movie, keepdims):
    pixels = movie.values
    for name in ("mean", "sum"):
        expected = getattr(pixels, name)(axis=0, keepdims=keepdims)
        asked = [
            getattr(movie, name)("time", keepdims=keepdims).data,
            getattr(movie.data, name)(axis=0, keepdims=keepdims),
            getattr(np, name)(movie.data, axis=0, keepdims=keepdims),
            getattr(movie.data, name)(axis=(-movie.ndim,), keepdims=keepdims),
        ]
        for array in asked:
            assert array.dtype == expected.dtype
            assert array.shape == expected.shape
            assert np.array_equal(array.compute(), expected)


def test_the_names_of_sums_tell_that_they_are_ours(movie):
    ours = [layer for layer in movie.mean("time").data.dask.layers if "sum_chunk" in layer]
    assert ours
    others = movie.mean(("time", "y")).data.dask.layers
    assert not any("sum_chunk" in layer for layer in others)


def test_other_axes_and_types_are_dasks(movie):
    pixels = movie.values
    assert np.allclose(movie.mean("y"), pixels.mean(axis=1))
    assert np.allclose(movie.mean(), pixels.mean())
    assert np.array_equal(movie.data.sum(axis=0, dtype="f4").compute(), pixels.sum(axis=0, dtype="f4"))
    assert np.array_equal(movie[3].sum("y"), pixels[3].sum(axis=0))
    assert np.array_equal(movie[5:30:5, 10:20].mean("time"), pixels[5:30:5, 10:20].mean(axis=0))
    weights = xr.DataArray(np.arange(movie.sizes["time"]), dims="time")
    assert np.allclose(movie.weighted(weights).mean("time"), np.average(pixels, axis=0, weights=weights))


@pytest.mark.parametrize("n", [1, 2, 3, 17, 70])
def test_sums_that_need_more_than_four_bytes(n):
    numbers = np.full((n, 2, 3), 2**32 - 1, np.uint32)
    array = da.from_array(numbers, chunks=(1, 2, 2))
    assert np.array_equal(sum_over_time(array).compute(), numbers.sum(axis=0))
    assert np.array_equal(mean_over_time(array, split_every=2).compute(), numbers.mean(axis=0))
