"""Checks of notebooks/01_slicing_frames.ipynb; see tests/test_notebooks.py."""
# ruff: noqa: F821, E402

# %% cell-05
assert cost.requests == 1

# %% cell-09
from camhd_access.synthetic import read_frame_number

assert cost.requests == 1
assert read_frame_number(frame.values) == int(frame.frame) == 24
assert read_frame_number(movie[7].values) == 7

# %% cell-13
assert [read_frame_number(f) for f in spread.values] == spread.frame.values.tolist() == [0, 12, 24, 35, 47]
assert movie.isel(time=[3, 40, 5])["frame"].values.tolist() == [3, 40, 5]

# %% cell-15
assert np.array_equal(crop.values, movie[24].values[120:280, 380:620])

# %% cell-17
assert np.allclose(mean.values, resting.values.mean(axis=0))

# %% cell-19
assert luma.dtype == np.uint16

# %% cell-21
assert np.array_equal(pixels[0], crop.values)
