"""Checks of notebooks/06_zarr_and_clips.ipynb; see tests/test_notebooks.py."""
# ruff: noqa: F821, E402

# %% cell-04
assert (network.stats - before).requests == 1

# %% cell-05
import numpy as np

from camhd_access.synthetic import read_frame_number

assert cost.bytes == movie.encoded_size[24]
assert read_frame_number(frame.values) == 24

# %% cell-07
assert _

# %% cell-10
assert lazy.stats.requests == len(urls) == halfway.sizes["time"]
assert [read_frame_number(each) for each in halfway.values] == [24] * len(urls)

# %% cell-12
assert _

# %% cell-13
assert n_bytes["encoded frames"] < n_bytes["pixels"] / 8

# %% cell-15
assert xr.open_zarr(f"{folder}/crop.zarr", consolidated=False).video.equals(crop)

# %% cell-17
assert fetched == reader.plan(slice(20, 28)).n_bytes + 4  # of timecode
assert clip.read_encoded(slice(None)) == reader.read_encoded(slice(20, 28))
assert np.array_equal(clip.times(), reader.times()[20:28])

# %% cell-19
assert [read_frame_number(each) for each in lapse.values] == list(range(0, 32, 4))
