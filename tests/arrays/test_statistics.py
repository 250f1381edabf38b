"""Statistics over time without missing values: exact, and damaged frames are ignored."""

import dask.array as da
import numpy as np
import pytest

from camhd_access import MovieReader, open_movie
from camhd_access.arrays.statistics import reduce_over_time

DAMAGED = [4, 20, 21]


@pytest.fixture(scope="module")
def damaged_path(movie_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / movie_path.name
    data = bytearray(movie_path.read_bytes())
    for frame in DAMAGED:
        offset = int(MovieReader(movie_path).index.offset[frame])
        data[offset + 4 : offset + 8] = b"XXXX"
    path.write_bytes(data)
    return path


def exact_variance(pixels, ddof=0):
    """Statistics of Python integers of any size, rounded once."""
    whole = pixels.astype(object)
    n = len(whole)
    deviations = n * (whole**2).sum(axis=0) - whole.sum(axis=0) ** 2
    return (deviations / (n * (n - ddof))).astype("f8")


@pytest.mark.parametrize("n", [2, 5])
def test_variances_of_the_largest_codes_do_not_overflow(n):
    numbers = np.full((60_000, n), 65535, np.uint16)
    numbers[::2] = 0
    array = da.from_array(numbers, chunks=(9_000, n))
    assert np.allclose(reduce_over_time(array, "std").compute(), 65535 / 2, rtol=1e-15, atol=0)


@pytest.mark.parametrize("n", [1, 2, 3, 17, 70])
def test_sums_that_need_more_than_four_bytes(n):
    numbers = np.full((n, 2, 3), 2**32 - 1, np.uint32)
    array = da.from_array(numbers, chunks=(1, 2, 2))
    assert np.array_equal(reduce_over_time(array, "sum").compute(), numbers.sum(axis=0))
    assert np.array_equal(reduce_over_time(array, "mean", split_every=2).compute(), numbers.mean(axis=0))


@pytest.mark.parametrize("n_missing", [0, 1])
def test_variances_of_no_more_images_than_ddof_are_missing(n_missing):
    numbers = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    numbers[:n_missing] = np.nan
    array = da.from_array(numbers, chunks=(1, 2, 3))
    n = len(numbers) - n_missing
    for ddof in (n, n + 1, 9):
        for statistic in ("var", "std"):
            assert np.isnan(reduce_over_time(array, statistic, ddof=ddof).compute()).all()
    expected = np.nanvar(numbers, axis=0, ddof=n - 1, dtype=np.float64)
    assert np.allclose(reduce_over_time(array, "var", ddof=n - 1).compute(), expected)


def test_variances_of_more_images_than_the_root_of_two_to_the_31():
    numbers = np.tile(np.array([0, 65535], np.float32), 23_300).reshape(-1, 1, 1)
    numbers[0] = np.nan
    array = da.from_array(numbers, chunks=(10_000, 1, 1))
    expected = np.nanvar(numbers, axis=0, dtype=np.float64)
    assert np.allclose(reduce_over_time(array, "var").compute(), expected, rtol=1e-9)


def test_what_is_missing_counts_for_nothing(damaged_path, movie_path):
    movie = open_movie(damaged_path, pix_fmt="rgb48le", errors="mask", chunks=7)[:, :20, :30]
    good = np.delete(open_movie(movie_path, pix_fmt="rgb48le")[:, :20, :30].values, DAMAGED, axis=0)
    assert np.array_equal(movie.mean("time"), good.mean(axis=0))
    assert np.array_equal(movie.var("time"), exact_variance(good))
    assert np.array_equal(movie.std("time", ddof=1), np.sqrt(exact_variance(good, 1)))
    assert np.array_equal(movie.min("time"), good.min(axis=0))
    assert np.allclose(movie.sum("time"), good.sum(axis=0))
    assert np.isnan(movie.mean("time", skipna=False)).all()
    assert np.isnan(movie[20:22].mean("time")).all()
    assert np.isnan(movie[20:22].std("time")).all()
    assert np.isnan(movie[20:23].std("time", ddof=1)).all()
    assert np.allclose(movie.mean(), good.mean())
    assert np.allclose(movie.mean("x")[5], open_movie(movie_path, pix_fmt="rgb48le")[5, :20, :30].mean("x"))
