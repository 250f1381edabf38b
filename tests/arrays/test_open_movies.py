"""`open_movies`: several movies as one array along time."""

import pickle
import shutil

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from camhd_access import (
    FrameIndexError,
    InvalidMovieError,
    find_runs,
    open_movie,
    open_movies,
)
from camhd_access.synthetic import read_frame_number, serve_folder, write_movie

START = np.datetime64("2016-07-10T00:00:00", "s")
SIZE = {"width": 256, "height": 64}
FRAME = np.timedelta64(33_366_667, "ns")


def write(folder, name, *, after=0, n_frames=30, first=0, **options):
    """A movie that begins so many seconds after the first one, its frames numbered from `first` on."""
    start = START + np.timedelta64(after, "s")
    write_movie(
        folder / name, n_frames=n_frames, start_time=start, first_frame_number=first, **(SIZE | options)
    )
    return str(folder / name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def run(folder):
    """A recording in three parts: the second begins two seconds after the first, the third a minute later."""
    names = ["CAMHDA301-20160710T000000Z.mov", *(f"CAMHDA301-20160710T000000Z_0{i}.mov" for i in (1, 2))]
    pairs = zip(names, (0, 2, 60), strict=True)
    return [write(folder, name, after=after, first=100 * i) for i, (name, after) in enumerate(pairs)]


def numbers(video):
    return [read_frame_number(picture) for picture in video.to_numpy()]


def test_frames_of_all_on_one_axis(run):
    video = open_movies(run, pix_fmt="gray", progress=False)
    assert video.dims == ("time", "y", "x")
    assert video.shape == (90, 64, 256)
    assert numbers(video) == [*range(30), *range(100, 130), *range(200, 230)]
    singles = [open_movie(path, pix_fmt="gray") for path in run]
    for name in ("time", "frame", "encoded_size"):
        np.testing.assert_array_equal(video[name], np.concatenate([single[name] for single in singles]))
    np.testing.assert_array_equal(video, np.concatenate(singles))
    assert video.indexes["time"].is_monotonic_increasing
    assert video.indexes["time"].is_unique


def test_gaps_are_gaps(run):
    times = open_movies(run, progress=False).indexes["time"]
    steps = times[1:] - times[:-1]
    assert (steps > pd.Timedelta("34ms")).sum() == 2
    assert times[30] == pd.Timestamp("2016-07-10T00:00:02")
    assert times[60] == pd.Timestamp("2016-07-10T00:01:00")
    assert times[-1] == pd.Timestamp("2016-07-10T00:01:00") + pd.Timedelta(29 * 1001 / 30, "ms").round("ns")


def test_movie_is_named(run):
    video = open_movies(run, progress=False)
    assert list(video.movie[[0, 29, 30, 89]].values) == [
        "CAMHDA301-20160710T000000Z",
        "CAMHDA301-20160710T000000Z",
        "CAMHDA301-20160710T000000Z_01",
        "CAMHDA301-20160710T000000Z_02",
    ]
    assert video.attrs["title"] == "3 movies, 2016-07-10"
    assert video.source[-1].item() == str(max(run))
    assert video.attrs["codec"] == "Apple ProRes 422 (apcn)"


def test_order_does_not_matter(run):
    video = open_movies(run, progress=False)
    xr.testing.assert_identical(open_movies(run[::-1], progress=False)[::45], video[::45])


def test_time_is_selected_across_files(run):
    video = open_movies(run, pix_fmt="gray", progress=False)
    chosen = video.sel(time=slice("2016-07-10T00:00:00.9", "2016-07-10T00:00:02.05"))
    assert numbers(chosen) == [27, 28, 29, 100, 101]
    assert numbers(video.sel(time=[np.datetime64("2016-07-10T00:00:30")], method="nearest")) == [129]
    assert numbers(video.sel(time="2016-07-10T00:01")) == [*range(200, 230)]


@pytest.mark.parametrize(
    "index",
    [slice(25, 65, 7), [89, 0, 30, 30, 29], slice(None, None, -20), np.array([59]), slice(40, 40)],
    ids=str,
)
def test_any_frames_in_any_order(run, index):
    video = open_movies(run, pix_fmt="gray", progress=False)
    known = np.array([*range(30), *range(100, 130), *range(200, 230)])
    assert numbers(video[index]) == known[index].tolist()
    assert isinstance(video[index].data, da.Array)


def test_crops_fields_and_previews(run):
    whole = open_movies(run, progress=False)
    np.testing.assert_array_equal(whole[28:32, 8:40, 100:120], whole[28:32].to_numpy()[:, 8:40, 100:120])
    fields = open_movies(run, fields=True, pix_fmt="gray", progress=False)
    assert fields.shape == (180, 32, 256)
    assert list(fields.field[:4].values) == [0, 1, 0, 1]
    single = open_movie(run[1], fields=True, pix_fmt="gray")
    np.testing.assert_array_equal(fields[60:64], single[:4])
    preview = open_movies(run, reduce=8, pix_fmt="gray", progress=False)
    np.testing.assert_array_equal(
        preview[59:61],
        np.stack([open_movie(p, reduce=8, pix_fmt="gray")[i] for p, i in ((run[1], 29), (run[2], 0))]),
    )


def test_some_frames_of_each(run):
    video = open_movies(run, frames=slice(None, None, 10), pix_fmt="gray", progress=False)
    assert numbers(video) == [0, 10, 20, 100, 110, 120, 200, 210, 220]
    assert list(video.frame.values) == [0, 10, 20] * 3
    with pytest.raises(FrameIndexError, match="3 of 3 movies cannot be used"):
        open_movies(run, frames=[40], progress=False)
    with pytest.raises(ValueError, match="no frames from any"):
        open_movies(run, frames=[], progress=False)


@pytest.mark.parametrize("chunks", ["auto", 7, {"time": 40}, {"time": 45, "y": 16}])
def test_dask_chunks_span_movies(run, chunks):
    video = open_movies(run, pix_fmt="gray", chunks=chunks, progress=False)
    np.testing.assert_array_equal(video, open_movies(run, pix_fmt="gray", chunks=30, progress=False))
    expected = {"auto": 90, 7: 7}.get(chunks if not isinstance(chunks, dict) else None) or chunks["time"]
    assert video.chunks[0][0] == expected


def test_reductions(run):
    video = open_movies(run, pix_fmt="gray", progress=False)
    np.testing.assert_allclose(video.mean("time"), video.to_numpy().mean(axis=0))
    per_movie = video.groupby("movie").mean("time")
    np.testing.assert_allclose(per_movie[1], open_movie(run[1], pix_fmt="gray").mean("time"))


def test_pickles(run):
    video = open_movies(run, pix_fmt="gray", progress=False)
    copy = pickle.loads(pickle.dumps(video))  # noqa: S301 - our own
    with dask.config.set(scheduler="processes", num_workers=1):
        np.testing.assert_array_equal(copy[29:31].compute(), video[29:31].values)


def test_overlap_is_told_and_put_in_order(tmp_path, run):
    late = write(tmp_path, "CAMHDA301-20160710T000002Z.mov", after=2, first=300)
    early = write(tmp_path, "CAMHDA301-20160710T000001Z.mov", after=1, first=400, n_frames=45)
    with pytest.warns(UserWarning, match=r"T000002Z begins 0\.468 s before the last frame of .*T000001Z"):
        video = open_movies([late, early], pix_fmt="gray", progress=False)
    assert video.indexes["time"].is_monotonic_increasing
    assert sorted(numbers(video)) == [*range(300, 330), *range(400, 445)]
    assert numbers(video.where(video.movie == "CAMHDA301-20160710T000002Z", drop=True).astype("u1")) == [
        *range(300, 330)
    ]
    assert numbers(video[29:34]) == [429, 300, 430, 301, 431]  # frame 30 of the first is shown 1 ms later


def test_movies_that_lie_within_another_are_all_told(tmp_path):
    long, *short = (
        write(tmp_path, f"CAMHDA301-20160710T00000{i}Z.mov", after=i, n_frames=n)
        for i, n in enumerate((100, 3, 3))
    )
    with pytest.warns(UserWarning, match="movies overlap") as caught:
        open_movies([*short, long], progress=False)
    (told,) = caught
    assert str(told.message).count("before the last frame of CAMHDA301-20160710T000000Z") == 2
    assert told.filename == __file__


def test_same_movie_twice(tmp_path, run):
    copy = tmp_path / run[0].rpartition("/")[2]
    shutil.copy(run[0], copy)
    with pytest.raises(ValueError, match=r"more than once: CAMHDA301-20160710T000000Z$"):
        open_movies([*run, copy], progress=False)


def test_other_size_is_refused(tmp_path, run):
    odd = write(tmp_path, "CAMHDA301-20160710T030000Z.mov", width=288)
    with pytest.raises(
        ValueError, match=r"differ in size: 3 of 256x64, and CAMHDA301-20160710T030000Z \(288x64\)"
    ):
        open_movies([*run, odd], progress=False)


def test_unknown_start_is_refused(tmp_path, run):
    write_movie(tmp_path / "unnamed.mov", n_frames=2, **SIZE)
    with pytest.raises(ValueError, match=r"start time of these movies is unknown: .*unnamed\.mov"):
        open_movies([*run, tmp_path / "unnamed.mov"], progress=False)


def test_unreadable_movies(tmp_path, run):
    cut = write(tmp_path, "CAMHDA301-20160710T060000Z.mov", after=6 * 3600, layout="no-moov", n_frames=21)
    with pytest.raises(InvalidMovieError, match="1 of 4 movies cannot be used"):
        open_movies([*run, cut], progress=False)
    with pytest.warns(
        UserWarning, match=f"2 of 5 movies are left out:\n.*{cut}.*\n.*{tmp_path}: it is a folder"
    ):
        video = open_movies([*run, cut, tmp_path], unreadable="skip", progress=False)
    assert video.sizes["time"] == 90
    rescued = open_movies([*run, cut], recover=True, progress=False)
    assert rescued.sizes["time"] == 110
    assert rescued.time[-20].to_numpy() == np.datetime64("2016-07-10T06:00:00")


def test_damage_is_marked(tmp_path, run):
    path = tmp_path / "CAMHDA301-20160710T000200Z.mov"
    write(tmp_path, path.name, after=120)
    place = int(open_movie(path).encoded_size[:3].sum()) + 100
    content = bytearray(path.read_bytes())
    content[place : place + 200] = bytes(200)
    path.write_bytes(content)
    video = open_movies([*run, path], pix_fmt="gray", errors="mask", progress=False)
    damaged = video.damaged.to_numpy()
    assert damaged[:90].sum() == 0
    assert damaged[90:].any()


@pytest.mark.parametrize("movies", ["one.mov", []])
def test_wrong_arguments(movies):
    with pytest.raises((TypeError, ValueError), match=r"list of paths|no movies"):
        open_movies(movies)


def test_indexes_cost_a_request_each(folder, run):
    with serve_folder(folder) as server:
        video = open_movies([server.url + path.rpartition("/")[2] for path in run], progress=False)
        assert server.n_requests == 3
        assert read_frame_number(video[60, :, :, 1].values) == 200
        assert server.n_requests <= 5


def test_runs_of_a_catalogue_open(folder, run):
    catalog = pd.DataFrame(
        {
            "basename": [path.rpartition("/")[2].removesuffix(".mov") for path in run],
            "url": run,
            "start_time": [START, START + np.timedelta64(2, "s"), START + np.timedelta64(60, "s")],
            "duration": [1.001] * 3,
            "n_frames": [30] * 3,
        }
    )
    runs = find_runs(catalog)
    assert [open_movies(urls, progress=False).sizes["time"] for urls in runs["urls"]] == [90]


def test_day_of_movies_is_an_array_at_once(folder, run):
    """96 movies with copies of the first movie's index; no Python code runs per frame."""
    from camhd_access.arrays.dask_array import StackArray
    from camhd_access.movie.series import FrameSeries

    video = open_movies(run, pix_fmt="gray", progress=False)
    stack = video.data.stack.stacks[0].select(np.zeros(27_000, np.int64))
    array = StackArray.cut(FrameSeries.of([stack] * 96), (100, -1, -1))
    assert array.shape == (2_592_000, 64, 256)
    assert len(array[1_000_000:1_000_100].stack.stacks) <= 96
    assert read_frame_number(array[2_591_999].compute()) == 0
