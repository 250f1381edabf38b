"""Sums over time of images and their squares, by the compiled kernel and by numpy."""

import numpy as np
import pytest

from camhd_access.decoding import machine_code
from camhd_access.decoding.pixels import PIXEL_FORMATS
from camhd_access.decoding.sums import Sums


@pytest.mark.parametrize("is_compiled", [True, False], ids=["kernel", "numpy"])
@pytest.mark.parametrize("pix_fmt", ["gray10le", "gray", "rgb24", "gray16le", "gray16be", "rgb48le"])
@pytest.mark.parametrize("size", [(3, 11), (4, 32), (1, 5)], ids=str)
def test_sums_of_values_and_squares_are_numpys(kernel, monkeypatch, pix_fmt, size, is_compiled):
    monkeypatch.setattr(machine_code._kernels, "kernel", kernel if is_compiled else None)
    pixel_format = PIXEL_FORMATS[pix_fmt]
    shape, largest = pixel_format.shape(*size), pixel_format.max_value
    rng = np.random.default_rng(0)
    for n in range(10):  # four are added together, and two, and one
        pictures = rng.integers(0, largest, (n, *shape), np.uint16, endpoint=True)
        pictures[:, 0] = largest
        ours = Sums.zeros(shape, pixel_format, squares=True)
        for picture in pictures:
            ours.place()[...] = picture
            ours.add()
        values, squares = ours.result()
        wide = pictures.astype(np.uint64)
        assert np.array_equal(values, wide.sum(axis=0))
        assert np.array_equal(squares, (wide**2).sum(axis=0))


def test_images_that_wait_are_added_before_sums_are_moved_or_merged(kernel, monkeypatch):
    monkeypatch.setattr(machine_code._kernels, "kernel", kernel)
    pixel_format, largest = PIXEL_FORMATS["gray10le"], 1023
    ours, other = (Sums.zeros((2, 20), pixel_format, squares=True) for _ in range(2))
    n = ours.capacity + 3
    for each in (ours, other):
        for _ in range(n):
            each.place()[...] = largest
            each.add()
    ours.merge(other)
    values, squares = ours.result()
    assert (values == 2 * n * largest).all()
    assert (squares == 2 * n * largest**2).all()


def test_squares_are_not_added_while_decoding():
    with pytest.raises(ValueError, match="squares"):
        Sums.zeros((2, 3), PIXEL_FORMATS["gray10le"], squares=True).make_room()
