"""Checks of notebooks/08_surveys.ipynb; see tests/test_notebooks.py."""
# ruff: noqa: F821

# %% cell-04
plan = camhd_access.survey.plan(count_floc, movies, **job)
assert (plan.n_movies, plan.n_skipped) == (12, 0)

# %% cell-06
reader = camhd_access.MovieReader(movies[0])
pixels = reader.read(FRAMES, pix_fmt="gray10le")
assert floc["floc"][:4].tolist() == (pixels[:, 100:] > 800).sum((1, 2)).tolist()
assert floc["time"][:4].tolist() == reader.times().tolist() or (floc["time"][:4] == reader.times()).all()
assert floc["error"].notna().sum() == 1
assert floc["error"].dropna().iloc[0].startswith("MissingMoovError")

# %% cell-07
assert len(series) == 14
assert series.isna().sum() == 3
assert doubtful["time_uncertainty_seconds"].tolist() == [3601.0]

# %% cell-09
assert again.attrs["survey"].startswith("0 movies done, 1 failed, 11 skipped")
assert again.drop(columns="error").equals(floc.drop(columns="error"))

# %% cell-11
assert sorted(blurred) == [f"CAMHDA301-201606{day}T000000Z" for day in ("02", "05", "13")]
assert (sharp["field"].dropna() == [0, 1] * 11).all()
