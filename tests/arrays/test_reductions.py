"""Sums, means and deviations over time: bit-exact with numpy."""

import numpy as np
import pytest
import xarray as xr

from camhd_access import FrameDecodeError, MovieReader, open_movie
from camhd_access.arrays import reductions
from camhd_access.arrays.reductions import _variance, divide_frames
from camhd_access.decoding.pixels import PIXEL_FORMATS
from camhd_access.decoding.sums import Sums

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


@pytest.mark.parametrize("decoder", ["libav", "numba"])
@pytest.mark.parametrize("ddof", [0, 1])
def test_deviations_are_exact(monkeypatch, movie, ddof, decoder):
    monkeypatch.setenv("CAMHD_DECODER", decoder)
    pixels = movie.values.astype(np.float64)
    for name in ("var", "std"):
        expected = getattr(pixels, name)(axis=0, ddof=ddof)
        for array in (
            getattr(movie, name)("time", ddof=ddof).data,
            getattr(movie.data, name)(axis=0, ddof=ddof),
            getattr(np, name)(movie.data, axis=0, ddof=ddof),
        ):
            assert array.dtype == np.float64
            assert np.allclose(array.compute(), expected, rtol=1e-12, atol=1e-12)
    part = movie[5:30:5, 10:20, [3, 1]]
    assert np.allclose(part.std("time"), part.values.std(axis=0))
    assert np.isnan(movie[:1].var("time", ddof=1)).all()


def test_a_small_deviation_of_large_numbers_loses_nothing():
    sums = Sums.zeros((1,), PIXEL_FORMATS["gray16le"], squares=True)
    values = [65535, 65534, 65535, 65535]
    for value in values:
        sums.place()[...] = value
        sums.add()
    total, of_squares = (each.astype(np.uint64) for each in sums.result())
    variance = np.empty(1)
    _variance(total, of_squares, n=4, max_value=65535, ddof=0, out=variance)
    assert variance == np.var(values)


def test_sums_are_moved_before_they_overflow():
    for name, limit in (("gray10le", 4104), ("gray16le", 65537), ("gray", 66051)):
        pixel_format = PIXEL_FORMATS[name]
        sums = Sums.zeros((2, 3), pixel_format, squares=True)
        assert sums.capacity <= limit
        largest = pixel_format.max_value
        sums.n_room = 2  # as after many pictures
        for _ in range(7):
            sums.place()[...] = largest
            sums.add()
        assert sums.total is not None
        other = Sums.zeros((2, 3), pixel_format, squares=True)
        other.place()[...] = largest
        other.add()
        sums.merge(other)
        values, squares = sums.result()
        assert (values == 8 * largest).all()
        assert (squares == 8 * largest**2).all()


def test_the_tasks_of_sums_add_up_while_they_decode(movie):
    ours = [layer for layer in movie.mean("time").data.dask.layers if "add_up" in layer]
    assert ours
    assert [layer for layer in movie.std("time").data.dask.layers if "add_up_squares" in layer]
    others = movie.mean(("time", "y")).data.dask.layers
    assert not any("add_up" in layer for layer in others)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ((5,) * 6, (10, 10, 10)),
        ((1,) * 250, (62, 63) * 2),
        ((1,) * 7, (7,)),
        ((11,) * 18, (44, 55) * 2),
        ((10,) * 95, (90, *(100, 90) * 4, 100)[-10:]),
        ((70, 300, 5, 5), (70, 300, 5, 5)),
    ],
)
def test_a_task_adds_up_many_frames(monkeypatch, lengths, expected):
    monkeypatch.setattr(reductions, "n_cores", lambda: 2)
    joined = divide_frames(lengths, max_frames=101)
    assert sum(joined) == sum(lengths)
    assert joined == expected


def test_a_damaged_frame_is_named_by_a_mean(movie_path, tmp_path):
    path = tmp_path / "a.mov"
    path.write_bytes(movie_path.read_bytes())
    index = MovieReader(path).index
    with path.open("r+b") as file:
        file.seek(int(index.offset[3] + index.size[3] // 4))
        file.write(bytes(900))
    for name in ("mean", "std"):
        with pytest.raises(FrameDecodeError, match=r"frame 3 of .*slice row"):
            getattr(open_movie(path, pix_fmt="gray10le"), name)("time").compute()


def test_other_axes_and_types_are_dasks(movie):
    pixels = movie.values
    assert np.allclose(movie.mean("y"), pixels.mean(axis=1))
    assert np.allclose(movie.mean(), pixels.mean())
    assert np.array_equal(movie.data.sum(axis=0, dtype="f4").compute(), pixels.sum(axis=0, dtype="f4"))
    assert np.array_equal(movie[3].sum("y"), pixels[3].sum(axis=0))
    assert np.array_equal(movie[5:30:5, 10:20].mean("time"), pixels[5:30:5, 10:20].mean(axis=0))
    weights = xr.DataArray(np.arange(movie.sizes["time"]), dims="time")
    assert np.allclose(movie.weighted(weights).mean("time"), np.average(pixels, axis=0, weights=weights))
