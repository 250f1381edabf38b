"""Checks of notebooks/09_one_scene_over_years.ipynb; see tests/test_notebooks.py."""
# ruff: noqa: F821

# %% cell-04
assert found["deployment"].tolist() == movies["deployment"].tolist()
assert [str(time)[:10] for time in previews.time.values] == movies["day"].tolist()
assert previews.shape == (12, SIZE[1] // 4, SIZE[0] // 4)

# %% cell-06
# In a camera that pans to the right, the scene moves to the left. A pixel of a preview is 4 of the frame.
moved = {"shift_x": -movies["pan"], "shift_y": -movies["tilt"]}
for name, known in moved.items():
    error = np.abs(views[name].values - known.to_numpy())
    assert error.max() < 2
    assert error.mean() < 1
assert np.abs(views.scale.values - movies["zoom"].to_numpy()).max() < 0.01
assert views.deployment.dims == ("time",)

# %% cell-08
original = views.load()
usual = original[0].astype(float)
inner = np.s_[48:-48, 96:-96]


def mismatch(pictures):
    """Mean difference of each picture from the first one, away from the edges."""
    return np.abs(pictures - usual)[:, *inner].mean(("y", "x"))


assert (mismatch(aligned.compute())[3:] < 0.6 * mismatch(original)[3:]).all()  # other deployments
assert means.sizes["deployment"] == 4
assert bool(np.isfinite(means).all())
assert means.sizes["y"] > 0.85 * SIZE[1]
assert means.sizes["x"] > 0.85 * SIZE[0]

# %% cell-10
# Each spire is at x of its axis, from the world's middle in heights of the world, and each tip at its y.
camera = scenes[2].view(0, 0)


def change_at(axis, y):
    """The mean change at a place of the world, over 20x20 pixels."""
    line = SIZE[1] / 2 + (y - camera.y) * 1.7 * SIZE[1] / camera.step
    column = SIZE[0] / 2 + (0.5 - camera.x) * 1.7 * SIZE[0] / camera.step + axis * 1.7 * SIZE[1] / camera.step
    window = {"y": slice(line - 10, line + 10), "x": slice(column - 10, column + 10)}
    return float(change.sel(window).mean())


assert change_at(-0.29, 0.55) > 30  # grown from 0.62 to 0.46
assert change_at(0.15, 0.34) < -30  # broken off from 0.30 to 0.37
assert abs(change_at(-0.15, 0.45)) < 15  # the spire between them
assert float(np.abs(change.sel(y=slice(100), x=slice(200))).mean()) < 5  # water
