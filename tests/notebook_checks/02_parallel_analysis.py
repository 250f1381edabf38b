"""Checks of notebooks/02_parallel_analysis.ipynb; see tests/test_notebooks.py."""
# ruff: noqa: F821

# %% cell-09
assert np.array_equal(mean, sum(sums) / 1000)
assert noise_of_mean < noise_of_one / 10

# %% cell-11
assert len(movies) == len(days) - 1

# %% cell-13
assert luma.shape == (6 * len(movies), 1024, 1024)

# %% cell-18
assert floc.dtype == np.int64
assert int(floc[shown]) == count_floc(example.values)

# %% cell-20
assert correlation > 0.99
