"""Checks of notebooks/04_scenes_and_blank_movies.ipynb; see tests/test_notebooks.py."""
# ruff: noqa: F821, E402

# %% cell-04
assert catalog.quality.value_counts().to_dict() == {"good": 11, "blank": 3, "unreadable": 1}
assert catalog.index[catalog.quality == "blank"].tolist() == [names[run] for run in sorted(off)]
assert catalog.index[catalog.quality == "unreadable"].tolist() == [names[truncated]]
assert (catalog.start_time == days + np.timedelta64(3, "h"))[catalog.quality != "unreadable"].all()

# %% cell-11
assert (network.stats - before).requests == 0
assert darkest == names[late]

# %% cell-12
assert first_lit == LATE_START

# %% cell-18
assert (frames.frame == sum(VIEWS["p1_z1"]) // 2).all()
assert frames.basename.tolist() == [n for run, n in enumerate(names) if run not in off | {truncated, late}]

# %% cell-19
from camhd_access.synthetic import read_frame_number

assert [read_frame_number(picture) for picture in lapse.values] == frames.frame.tolist()
assert (lapse.time.values == frames.time).all()

# %% cell-21
assert abs(float(change[100:].mean())) < 5

# %% cell-23
assert movie.frame.values.tolist() == [sum(view) // 2 for view in VIEWS.values()]

# %% cell-25
assert start.sizes["time"] == len(days) - 1
