"""`open_timelapse`: one frame of each of many movies."""

import datetime as dt
import pickle
import shutil
import threading
import warnings

import dask
import numpy as np
import pytest
from oracle import unpickle
from origin import answers

from camhd_access import (
    FrameDecodeError,
    FrameIndexError,
    InvalidMovieError,
    MissingMoovError,
    MovieReader,
    RemoteFileError,
    open_movie,
    open_timelapse,
)
from camhd_access.synthetic import read_frame_number, serve_folder, write_movie

N_MOVIES, N_FRAMES = 11, 12
QUIET = {"progress": False}


def name_of(run):
    return f"CAMHDA301-201611{10 + run}T000000Z.mov"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A movie a day. Frame f of run r shows the number 100 r + f; the clock is r seconds late."""
    folder = tmp_path_factory.mktemp("days")
    for run in range(N_MOVIES):
        write_movie(
            folder / name_of(run),
            n_frames=N_FRAMES,
            width=320,
            height=192,
            start_time=np.datetime64(f"2016-11-{10 + run}T00:00:00") + np.timedelta64(run, "s"),
            first_frame_number=100 * run,
            run=run,
        )
    return folder


@pytest.fixture(scope="module")
def paths(folder):
    """In no particular order."""
    return [folder / name_of(run) for run in (4, 0, 10, 7, 2, 9, 1, 8, 3, 6, 5)]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory, paths):
    """An empty movie, a truncated one, and a missing one."""
    folder = tmp_path_factory.mktemp("faulty")
    empty, cut = folder / "CAMHDA301-20161201T000000.mov", folder / "CAMHDA301-20161202T000000.mov"
    empty.touch()
    write_movie(cut, n_frames=2, width=320, height=192, layout="no-moov")
    return [empty, cut, folder / "CAMHDA301-20161203T000000.mov"]


def numbers(lapse):
    return [read_frame_number(picture) for picture in lapse.values]


# ---- what it is


def test_one_frame_of_each_movie_in_order_of_time(paths, folder):
    lapse = open_timelapse(paths, frame=3, **QUIET)
    assert lapse.name == "video"
    assert lapse.dims == ("time", "y", "x", "channel")
    assert lapse.shape == (N_MOVIES, 192, 320, 3)
    assert numbers(lapse) == [100 * run + 3 for run in range(N_MOVIES)]
    readers = [MovieReader(folder / name_of(run)) for run in range(N_MOVIES)]
    assert np.array_equal(lapse.time, [reader.times()[3] for reader in readers])
    assert lapse.time.dtype == np.dtype("datetime64[ns]")
    assert lapse.indexes["time"].is_monotonic_increasing
    assert np.array_equal(lapse.frame, [3] * N_MOVIES)
    assert np.array_equal(lapse.encoded_size, [reader.index.size[3] for reader in readers])
    assert lapse.movie.values.tolist() == [name_of(run).removesuffix(".mov") for run in range(N_MOVIES)]
    assert lapse.movie.dims == ("time",)
    assert lapse.channel.values.tolist() == ["R", "G", "B"]


def test_each_pixel_is_that_of_the_movie(paths, folder):
    lapse = open_timelapse(paths, frame=-1, **QUIET)
    for run in (0, 10):
        assert np.array_equal(lapse[run], open_movie(folder / name_of(run))[-1])


def test_attributes_are_those_true_of_all(paths):
    movie, lapse = open_movie(paths[0]), open_timelapse(paths, frame=0, **QUIET)
    assert lapse.attrs["title"] == "11 movies, 2016-11-10 to 2016-11-20"
    assert lapse.attrs["codec"] == movie.attrs["codec"]
    assert lapse.time.attrs == movie.time.attrs
    assert lapse.source.values.tolist() == sorted(map(str, paths))
    for name in lapse.attrs.keys() - {"title"}:
        assert np.array_equal(lapse.attrs[name], movie.attrs[name])


def test_one_movie_is_a_timelapse_of_one_day(paths):
    lapse = open_timelapse(paths[:1], frame=0, **QUIET)
    assert lapse.shape[0] == 1
    assert lapse.attrs["title"] == "1 movie, 2016-11-14"
    assert lapse.source.values.tolist() == [str(paths[0])]


# ---- which frames


def test_a_frame_for_each_movie(folder):
    runs, frames = [5, 2, 8], [11, 0, 7]
    lapse = open_timelapse([folder / name_of(run) for run in runs], frame=frames, **QUIET)
    assert numbers(lapse) == [200, 511, 807]
    assert lapse.frame.values.tolist() == [0, 11, 7]


@pytest.mark.parametrize(
    ("at", "frame"),
    [
        (0, 0),
        (0.0, 0),
        (7 * 1001 / 30000, 7),
        (0.21, 6),
        (0.4, 11),
        (dt.timedelta(milliseconds=100), 3),
        (np.timedelta64(100, "ms"), 3),
    ],
)
def test_at_takes_the_nearest_frame(paths, at, frame):
    lapse = open_timelapse(paths[:3], at=at, **QUIET)
    assert lapse.frame.values.tolist() == [frame] * 3
    assert read_frame_number(lapse[0].values) % 100 == frame


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "either frame= \\(an index\\) or at= "),
        ({"frame": 1, "at": 1}, ValueError, "either frame= \\(an index\\) or at= "),
        ({"frame": [1, 2]}, ValueError, "2 frames for 11 movies"),
        ({"frame": 1.5}, TypeError, "whole number"),
        ({"frame": "first"}, TypeError, "whole number"),
        ({"at": "30 s"}, TypeError, "seconds or a timedelta"),
        ({"at": -1}, ValueError, "before the start"),
        ({"at": np.timedelta64("NaT", "ns")}, ValueError, "before the start"),
        ({"at": float("nan")}, ValueError, "nan s is not a valid duration"),
        ({"at": 1e30}, ValueError, "1e\\+30 s is not a valid duration"),
        ({"frame": 0, "unreadable": "ignore"}, ValueError, '"raise" or "skip"'),
        ({"frame": 0, "errors": "skip"}, ValueError, 'errors must be "raise" or "mask"'),
        ({"frame": 0, "reduce": 3}, ValueError, "reduce must be 1, 2, 4 or 8"),
        ({"frame": 0, "chunks": {"lines": 3}}, ValueError, "unknown dimensions 'lines'"),
        ({"frame": 0, "chunks": None}, TypeError, "several movies always has dask chunks"),
    ],
)
def test_wrong_arguments(paths, options, error, message):
    with pytest.raises(error, match=message):
        open_timelapse(paths, **options, **QUIET)


def test_no_movies_or_one_that_is_no_list(paths):
    with pytest.raises(ValueError, match="no movies"):
        open_timelapse([], frame=0)
    with pytest.raises(TypeError, match="list of paths"):
        open_timelapse(str(paths[0]), frame=0)


# ---- what cannot be read


@pytest.mark.parametrize("options", [{"frame": N_FRAMES}, {"at": 0.5}])
def test_a_movie_without_such_a_frame_is_named(paths, tmp_path, options):
    longer = tmp_path / "CAMHDA301-20161112T010000Z.mov"
    write_movie(longer, n_frames=30, width=320, height=192, start_time=np.datetime64("2016-11-12T01:00:00"))
    with pytest.raises(FrameIndexError, match="1 of 2 movies") as caught:
        open_timelapse([longer, paths[0]], **options, **QUIET)
    assert paths[0].name in str(caught.value)
    assert longer.name not in str(caught.value)


def test_all_unreadable_movies_are_named_at_once(paths, faulty):
    with pytest.raises(InvalidMovieError, match=f"3 of {N_MOVIES + 3} movies") as caught:
        open_timelapse([*paths, *faulty], frame=0, **QUIET)
    assert all(path.name in str(caught.value) for path in faulty)
    assert not any(path.name in str(caught.value) for path in paths)
    unpickle(pickle.dumps(caught.value))


def test_the_error_is_of_the_kind_of_the_first(faulty):
    with pytest.raises(MissingMoovError):
        open_timelapse(faulty[1:], frame=0, **QUIET)
    with pytest.raises(FileNotFoundError):
        open_timelapse(faulty[:0:-1], frame=0, **QUIET)


def test_unreadable_movies_are_left_out_on_request_with_one_warning(paths, faulty):
    with pytest.warns(UserWarning, match="3 of 14 movies are left out") as caught:
        lapse = open_timelapse([*faulty, *paths], frame=2, unreadable="skip", **QUIET)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert all(path.name in str(caught[0].message) for path in faulty)
    assert numbers(lapse) == [100 * run + 2 for run in range(N_MOVIES)]


def test_frames_stay_with_their_movies_when_others_are_left_out(paths, faulty):
    mixed = [faulty[0], paths[0], faulty[1], paths[1]]
    with pytest.warns(UserWarning, match="2 of 4"):
        lapse = open_timelapse(mixed, frame=[1, 2, 3, 4], unreadable="skip", **QUIET)
    assert numbers(lapse) == [4, 402]


def test_nothing_left_is_an_error(faulty):
    with pytest.raises(InvalidMovieError, match="3 of 3 movies cannot be used:"):  # nor is "skip" proposed
        open_timelapse(faulty, frame=0, unreadable="skip", **QUIET)


def test_trouble_with_the_server_is_no_fault_of_a_movie(origin, paths):
    urls = [origin.put(f"/{path.name}", path.read_bytes()) for path in paths[:3]]
    origin.play(f"/{paths[1].name}", answers(403), always=True)
    with pytest.raises(RemoteFileError, match=paths[1].name):
        open_timelapse(urls, frame=0, unreadable="skip", cache=False, **QUIET)


def test_a_movie_that_the_server_does_not_have_is_left_out(origin, paths):
    urls = [origin.put(f"/{path.name}", path.read_bytes()) for path in paths[:2]]
    with pytest.warns(UserWarning, match=r"1 of 3 .*\n.*missing\.mov"):
        lapse = open_timelapse(
            [*urls, f"{origin.url}/missing.mov"], frame=0, unreadable="skip", cache=False, **QUIET
        )
    assert numbers(lapse) == [0, 400]


def test_movies_of_another_size_are_named(paths, tmp_path):
    small = tmp_path / "CAMHDA301-20161113T030000Z.mov"
    write_movie(small, n_frames=1, width=256, height=64, start_time=np.datetime64("2016-11-13T03:00:00"))
    with pytest.raises(ValueError, match=r"11 of 320x192, and CAMHDA301-20161113T030000Z \(256x64\)"):
        open_timelapse([small, *paths], frame=0, **QUIET)


def test_a_movie_without_a_time_is_named(paths, tmp_path):
    write_movie(tmp_path / "vent.mov", n_frames=1, width=320, height=192)
    with pytest.raises(ValueError, match=r"the start time of these movies is unknown: .*vent\.mov"):
        open_timelapse([*paths, tmp_path / "vent.mov"], frame=0, **QUIET)


def test_a_damaged_frame_is_named_when_it_is_read(paths, tmp_path):
    copy = tmp_path / paths[0].name
    shutil.copy(paths[0], copy)
    index = MovieReader(copy).index
    with copy.open("r+b") as file:
        file.seek(int(index.offset[5]) + 200)
        file.write(b"\xff" * 60)
    lapse = open_timelapse([copy, *paths[1:]], frame=5, **QUIET)
    with pytest.raises(FrameDecodeError, match=f"frame 5 of .*{copy.name}"):
        lapse.compute()
    assert numbers(lapse[:4]) == [5, 105, 205, 305]


def test_damaged_frames_are_marked_on_request(paths, tmp_path):
    copy = tmp_path / paths[0].name
    shutil.copy(paths[0], copy)
    index = MovieReader(copy).index
    with copy.open("r+b") as file:
        file.seek(int(index.offset[5]) + 200)
        file.write(b"\xff" * 60)
    lapse = open_timelapse([copy, *paths[1:]], frame=5, errors="mask", chunks=4, **QUIET)
    assert lapse.damaged.attrs == open_movie(copy, errors="mask").damaged.attrs
    computed = lapse.compute()
    assert (computed.damaged.values > 0).tolist() == [run == 4 for run in range(N_MOVIES)]
    whole = computed[computed.damaged.values == 0].astype("u1")
    assert np.isnan(computed[4]).any()
    assert numbers(whole) == [100 * run + 5 for run in range(N_MOVIES) if run != 4]
    assert (lapse[3:6].damaged.values > 0).tolist() == [False, True, False]
    assert len(lapse.camhd.contact_sheet().axes) == N_MOVIES


# ---- previews, crops and luma


@pytest.mark.parametrize("reduce", [1, 8])
@pytest.mark.parametrize("pix_fmt", ["gray10le", "bgr24", "rgb48le"])
def test_formats_and_previews_as_of_a_movie(paths, folder, pix_fmt, reduce):
    lapse = open_timelapse(paths[:4], frame=1, pix_fmt=pix_fmt, reduce=reduce, **QUIET)
    expected = [open_movie(folder / f"{name}.mov", pix_fmt=pix_fmt) for name in lapse.movie.values]
    assert lapse.dtype == expected[0].dtype
    assert lapse.attrs["pix_fmt"] == pix_fmt
    if reduce == 1:
        assert all(np.array_equal(lapse[i], movie[1]) for i, movie in enumerate(expected))
    else:
        readers = [MovieReader(folder / f"{name}.mov") for name in lapse.movie.values]
        previews = [reader.read(1, pix_fmt=pix_fmt, reduce=8)[0] for reader in readers]
        assert lapse.shape[1:3] == (24, 40)
        assert np.array_equal(lapse, previews)


CROPS = [
    np.s_[3],
    np.s_[-1, 10],
    np.s_[::3, 50:90, 100:180],
    np.s_[[7, 2, 2], ::-16, 5],
    np.s_[0:0],
    np.s_[:, 0:0],
    np.s_[1:9, 16:32, :, 1],
    np.s_[..., [2, 0]],
]


@pytest.mark.parametrize("chunks", ["auto", 1, {"time": 3, "y": 50}], ids=str)
def test_indexing_before_and_after_reading_are_the_same(paths, chunks):
    lapse = open_timelapse(paths, frame=1, chunks=chunks, **QUIET)
    pixels = lapse.to_numpy()
    for crop in CROPS:
        lazy = lapse[crop]
        assert lazy.chunks is not None
        assert np.array_equal(lazy.to_numpy(), pixels[crop])


def test_masks_and_dates_select(paths):
    lapse = open_timelapse(paths, frame=0, **QUIET)
    assert numbers(lapse.sel(time=slice("2016-11-13", "2016-11-15"))) == [300, 400, 500]
    assert numbers(lapse[(lapse.encoded_size > lapse.encoded_size.median()).values]) == [
        100 * run for run in np.flatnonzero(lapse.encoded_size > lapse.encoded_size.median())
    ]
    day = lapse.time.dt.day.values % 2 == 0
    assert numbers(lapse[day]) == [100 * run for run in range(0, N_MOVIES, 2)]


# ---- what it costs


@pytest.fixture
def server(folder):
    with serve_folder(folder) as server:
        yield server


@pytest.fixture
def urls(server, paths):
    return [server.url + path.name for path in paths]


def test_one_request_a_movie_to_open_and_one_a_picture(server, urls, paths):
    lapse = open_timelapse(urls, frame=4, cache=False, **QUIET)
    assert server.n_requests == N_MOVIES
    n_bytes = server.n_bytes_sent
    assert numbers(lapse[2:5]) == [204, 304, 404]
    assert server.n_requests == N_MOVIES + 3
    assert server.n_bytes_sent - n_bytes == int(lapse.encoded_size[2:5].sum())
    lapse.compute()
    assert server.n_requests == N_MOVIES + 3 + N_MOVIES


def test_a_task_reads_a_few_movies(paths):
    lapse = open_timelapse(paths, frame=4, **QUIET)
    assert lapse.chunks[0] == (8, 3)
    assert open_timelapse(paths, frame=4, chunks=2, **QUIET).chunks[0] == (2,) * 5 + (1,)


def test_tasks_are_small(paths):
    lapse = open_timelapse(paths, frame=4, chunks=1, **QUIET)
    graph = dask.optimize(lapse.data)[0].__dask_graph__()
    sizes = [len(pickle.dumps(task)) for task in dict(graph).values()]
    assert len(sizes) == N_MOVIES
    assert max(sizes) < 4000


def test_same_pixels_same_name(paths):
    options = {"frame": 4} | QUIET
    lapse = open_timelapse(paths, **options)
    assert lapse.data.name == open_timelapse(paths[::-1], **options).data.name
    others = [
        open_timelapse(paths, frame=5, **QUIET),
        open_timelapse(paths[1:], **options),
        open_timelapse(paths, pix_fmt="bgr24", **options),
        open_timelapse(paths, reduce=8, **options),
        lapse[:, 1:],
        lapse[1:],
        lapse[0],
    ]
    assert len({other.data.name for other in others} | {lapse.data.name}) == len(others) + 1


def test_computes_in_other_processes(paths):
    lapse = open_timelapse(paths[:2], frame=4, **QUIET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        pixels = lapse.compute(scheduler="processes", num_workers=1)
    assert np.array_equal(pixels, lapse.compute(scheduler="synchronous"))


def test_leaves_no_threads_behind(paths):
    open_timelapse(paths, frame=4, **QUIET).compute(scheduler="synchronous")
    assert not [t for t in threading.enumerate() if t.name.startswith(("camhd-open", "camhd-series"))]


def test_progress_is_shown_unless_not_wanted(paths, capsys):
    open_timelapse(paths, frame=0)
    assert "indexes read" in capsys.readouterr().err
    open_timelapse(paths, frame=0, **QUIET)
    assert not capsys.readouterr().err
