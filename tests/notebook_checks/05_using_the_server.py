"""Checks of notebooks/05_using_the_server.ipynb; see tests/test_notebooks.py."""
# ruff: noqa: F821

# %% cell-07
import PIL.Image

from camhd_access.synthetic import read_frame_number

assert mirror.n_requests - n_before == 1
assert read_frame_number(np.asarray(PIL.Image.open(BytesIO(picture)))) == 24

# %% cell-09
assert PIL.Image.open(BytesIO(crop)).size == (240, 160)
assert PIL.Image.open(BytesIO(small)).size == (320, 180)

# %% cell-10
assert np.array_equal(luma, reader.read(24, pix_fmt="gray10le")[0])

# %% cell-12
assert (status, body) == (304, b"")

# %% cell-15
assert film[:4] == b"GIF8"

# %% cell-17
assert np.array_equal(activity["MeanSizes"], reader.index.size)

# %% cell-19
assert len(set(answers)) == 1
assert mirror.n_requests - n_before <= 3

# %% cell-21
assert status == 404
