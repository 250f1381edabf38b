"""Checks of notebooks/03_plotting_and_timelapse.ipynb; see tests/test_notebooks.py."""
# ruff: noqa: F821, E402

# %% cell-04
assert (network.stats - before).requests == 0
assert movie[::10].camhd.plan().n_bytes == movie.encoded_size[::10].sum()

# %% cell-06
assert _.axes
assert (network.stats - before).requests == 0

# %% cell-11
assert _.axes[0].images[0].get_clim() == (-200, 200)

# %% cell-13
assert len(_.axes) == 6

# %% cell-15
assert _.n_frames == 32

# %% cell-16
assert _.path.stat().st_size > 10_000

# %% cell-18
assert lapse.sizes["time"] == 7
n_doubtful = int((lapse.time_uncertainty_seconds > 60).sum())  # their timecode is read too
assert len(urls) <= (network.stats - before).requests <= len(urls) + 2 + n_doubtful

# %% cell-19
from camhd_access.synthetic import read_frame_number

assert [read_frame_number(p) for p in lapse.values if p.max() > 16] == [16] * 6

# %% cell-21
assert lit.movie.values.tolist() == [name for name in lapse.movie.values if "20180301" not in name]

# %% cell-22
assert crop.dims == ("time",)

# %% cell-26
assert viewer.children[-1].value[:2] == b"\xff\xd8"  # a JPEG
