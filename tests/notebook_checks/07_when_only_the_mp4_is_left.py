"""Checks of notebooks/07_when_only_the_mp4_is_left.ipynb; see tests/test_notebooks.py."""
# ruff: noqa: F821

# %% cell-04
first, second = "CAMHDA301-20161113T000000Z", "CAMHDA301-20161113T030000Z"
assert listed["mov"] == [f"{first}.mov"]
assert listed["mp4"] == [f"{first}.mp4", f"{second}.mp4"]
assert listed["best"] == [f"{first}.mov", f"{second}.mp4"]

# %% cell-06
assert [movie.attrs["coding"] for movie in best] == ["lossy intra-frame, 10 bit", "lossy inter-frame, 8 bit"]
assert [movie.sizes["time"] for movie in best] == [48, 48]

# %% cell-08
assert cost.requests == 1
assert plans["apcn"][0].n_frames == 1
one, three = plans["avc1"]
assert one.n_frames > 10
assert one.n_frames < three.n_frames < 48
assert one.n_bytes == cost.bytes

# %% cell-10
assert np.abs(lost["gray"]).mean() < 5
assert np.abs(lost["gray"]).max() > 5
assert np.abs(lost["rgb24"].mean()) < 0.5

# %% cell-13
assert areas < pixels

# %% cell-15
assert movie.data.numblocks[0] == 1
