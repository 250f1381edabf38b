"""`open_movie`: pixels, coordinates, attributes and lazy indexing."""

import pickle
import threading

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import expected_pixels, unpickle

from camhd_access import FrameDecodeError, FrameIndexError, MovieReader, open_movie
from camhd_access.arrays.dask_array import StackArray
from camhd_access.decoding.pixels import PIXEL_FORMATS
from camhd_access.formats.prores import check_frame
from camhd_access.synthetic import read_frame_number, serve_folder, write_movie

KINDS_OF_CHUNKS = [None, "auto", 1, 7, {"time": 6, "y": 50, "x": 100}]
IN_ORDER = {"scheduler": "synchronous"}


@pytest.fixture(scope="module")
def in_memory(movie_path):
    """The movie as an ordinary array, made without the lazy layer."""
    reader = MovieReader(movie_path)
    return xr.DataArray(
        reader.read(slice(None)),
        dims=("time", "y", "x", "channel"),
        coords={"time": reader.times(), "frame": ("time", np.arange(40)), "channel": ["R", "G", "B"]},
    )


# ---- what it is


@pytest.mark.parametrize("chunks", KINDS_OF_CHUNKS, ids=str)
@pytest.mark.parametrize("pix_fmt", PIXEL_FORMATS)
def test_pixels_dims_and_channels(movie_path, movie_by_libav, pix_fmt, chunks):
    if isinstance(chunks, dict) and pix_fmt != "rgb24":
        chunks = {"time": 2}
    movie = open_movie(movie_path, pix_fmt=pix_fmt, chunks=chunks)
    channels = PIXEL_FORMATS[pix_fmt].channels
    assert movie.name == "video"
    assert movie.dims == ("time", "y", "x", "channel")[: 4 if channels else 3]
    assert movie.shape == (40, 192, 320, 3)[: movie.ndim]
    assert movie.dtype == PIXEL_FORMATS[pix_fmt].dtype
    assert (movie.channel.values.tolist() if channels else []) == list(channels)
    assert ("channel" in movie.coords) == bool(channels)
    picture = movie[11].to_numpy()
    assert picture.dtype == movie.dtype
    assert abs(picture - expected_pixels(movie_by_libav.planes[11], pix_fmt, matrix=1)).max() < 0.51


def test_coordinates_are_the_index(movie_path, movie_by_libav):
    movie = open_movie(movie_path)
    reader = MovieReader(movie_path)
    assert movie.time.dtype == np.dtype("datetime64[ns]")
    assert np.array_equal(movie.time, reader.times())
    assert movie.frame.dtype == movie.encoded_size.dtype == np.int64
    assert movie.frame.values.tolist() == list(range(40))
    assert movie.encoded_size.values.tolist() == [len(sample) for sample in movie_by_libav.packets]
    assert movie.frame.dims == movie.encoded_size.dims == ("time",)
    assert movie.indexes["time"].is_monotonic_increasing
    assert movie.indexes["time"].is_unique


def test_attributes_follow_the_conventions(movie_path):
    movie = open_movie(movie_path)
    assert movie.attrs["pix_fmt"] == "rgb24"
    assert movie.attrs["units"] == movie.frame.attrs["units"] == "1"
    assert movie.encoded_size.attrs["units"] == "byte"
    assert movie.time.attrs["standard_name"] == "time"
    assert movie.attrs["valid_range"].tolist() == [0, 255]
    assert movie.attrs["valid_range"].dtype == movie.dtype
    assert "BT.709" in movie.attrs["color_matrix"]
    assert movie.attrs["codec"] == "Apple ProRes 422 (apcn)"
    assert set(movie.movie.values) == {"CAMHDA301-20161113T000000Z"}
    assert movie.source.item() == str(movie_path)
    known = ("time_source", "time_disagreement_seconds", "time_uncertainty_seconds")
    assert [movie[name].item() for name in known] == ["mvhd", 3.0, 3.0]
    assert movie.encoding["source"] == str(movie_path)
    codes = open_movie(movie_path, pix_fmt="gray10le")
    assert "black 64, white 940" in codes.attrs["color_range"]
    assert "color_matrix" not in codes.attrs


@pytest.mark.parametrize("pix_fmt", ["rgb24", "gray10le"])
def test_encoding_as_cf_and_back_loses_nothing(movie_path, pix_fmt):
    movie = open_movie(movie_path, pix_fmt=pix_fmt)[7:9].load().to_dataset()
    variables, attributes = xr.conventions.cf_encoder(dict(movie.variables), movie.attrs)
    for variable in variables.values():
        assert all(isinstance(value, str | int | float | np.ndarray) for value in variable.attrs.values())
    decoded = xr.decode_cf(xr.Dataset(variables, attrs=attributes))
    assert np.array_equal(decoded.time, movie.time)
    assert np.array_equal(decoded.video, movie.video)


def test_a_movie_without_clock_has_elapsed_times(tmp_path):
    write_movie(tmp_path / "a.mov", n_frames=3, width=256, height=64)
    movie = open_movie(tmp_path / "a.mov")
    assert movie.time.dtype == np.dtype("timedelta64[ns]")
    assert movie.time.values.astype(int).tolist() == [0, 33_366_667, 66_733_333]
    assert movie.time_source.item() == "unknown"
    assert np.isnan([movie.time_disagreement_seconds, movie.time_uncertainty_seconds]).all()
    assert movie.movie.values.tolist() == ["a.mov"] * 3
    assert "platform" not in movie.attrs


def test_secrets_of_a_url_are_not_shown(movie_url):
    movie = open_movie(movie_url + "?signature=secret", cache=False)
    assert movie.movie.values[0] == "CAMHDA301-20161113T000000Z"
    assert movie.source.item() == movie_url
    assert "secret" not in repr(movie) + movie._repr_html_()


@pytest.mark.parametrize("chunks", [None, "auto"])
def test_a_notebook_shows_it_without_reading_pixels(served_movie, movie_url, chunks):
    movie = open_movie(movie_url, chunks=chunks, cache=False)
    text, page = repr(movie), movie._repr_html_()
    assert served_movie.n_requests == 1
    for part in ("'video' (time: 40, y: 192, x: 320, channel: 3)", "2016-11-13", "encoded_size", "Size: 7MB"):
        assert part in text
    for part in ("video", "time", "encoded_size", "Axial Seamount", "color_matrix"):
        assert part in page


# ---- indexing, against numpy


def axis_index(length):
    bound = st.one_of(st.none(), st.integers(-length, length + 2))  # beyond, dask is wrong
    slices = st.builds(slice, bound, bound, st.sampled_from([None, 1, 2, 7, -1, -3]))
    slices = slices.filter(lambda s: (s.step or 1) > 0 or range(length)[s])  # xarray fails on others
    numbers = st.integers(-length, length - 1)
    many = st.lists(numbers, max_size=5)
    return st.one_of(slices, numbers, many, many.map(lambda numbers: np.array(numbers, int)))


@pytest.mark.parametrize("chunks", KINDS_OF_CHUNKS, ids=str)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_isel_in_all_combinations(movie_path, in_memory, chunks, data):
    movie = open_movie(movie_path, chunks=chunks)
    expected = in_memory
    for _ in range(2):
        lengths = movie.sizes
        names = data.draw(st.lists(st.sampled_from([name for name in movie.dims if lengths[name]] or [None])))
        wanted = {name: data.draw(axis_index(lengths[name]), label=name) for name in names if name}
        movie, expected = movie.isel(wanted), expected.isel(wanted)
        assert (movie.shape, movie.dims) == (expected.shape, expected.dims)
    with dask.config.set(IN_ORDER):
        assert np.array_equal(movie.to_numpy(), expected)


@pytest.mark.parametrize("chunks", KINDS_OF_CHUNKS, ids=str)
def test_sel_by_time(movie_path, in_memory, chunks):
    movie = open_movie(movie_path, chunks=chunks)
    times = in_memory.time.values
    for wanted, options in [
        (times[7], {}),
        (times[[30, 2, 2]], {}),
        ("2016-11-13T00:00:04", {}),
        (slice("2016-11-13T00:00:03.5", "2016-11-13T00:00:03.8"), {}),
        (slice(times[3], times[20], 4), {}),
        (np.datetime64("2016-11-13T00:00:03.4"), {"method": "nearest"}),
        (times[::9] + np.timedelta64(5, "ms"), {"method": "ffill"}),
    ]:
        picked, expected = (a.sel(time=wanted, **options) for a in (movie, in_memory))
        assert np.array_equal(picked.time, expected.time)
        assert np.array_equal(picked, expected)
        assert np.array_equal(picked.frame, expected.frame)
    assert np.array_equal(movie.sel(channel="G"), in_memory[..., 1])
    assert np.array_equal(movie.sel(channel=["B", "R"])[5:7], in_memory[5:7, ..., [2, 0]])


@pytest.mark.parametrize("chunks", KINDS_OF_CHUNKS, ids=str)
def test_masks_points_and_groups(movie_path, in_memory, chunks):
    movie = open_movie(movie_path, chunks=chunks)
    mask = np.arange(40) % 11 == 3
    assert np.array_equal(movie[mask], in_memory[mask])
    assert np.array_equal(movie.where(movie.frame > 37, drop=True), in_memory[38:])
    points = {
        "time": xr.DataArray([3, 30, 3], dims="point"),
        "y": xr.DataArray([0, 191, 7], dims="point"),
        "x": xr.DataArray([5, 6, 319], dims="point"),
    }
    assert np.array_equal(movie.isel(points), in_memory.isel(points))
    assert np.array_equal(movie[3, ::-5, 7:90:3, [2, 0]], in_memory[3, ::-5, 7:90:3, [2, 0]])
    assert np.array_equal(
        movie.transpose("channel", ...)[1, 4:6], in_memory.transpose("channel", ...)[1, 4:6]
    )


def test_bare_dask_indexing_keeps_its_meaning(movie_path, in_memory):
    array, expected = open_movie(movie_path, chunks=7).data, in_memory.to_numpy()
    assert isinstance(array, StackArray)
    for index in (
        3,
        np.int64(-2),
        Ellipsis,
        (Ellipsis, 0),
        (slice(2, 9), Ellipsis, slice(0, 2)),
        (slice(3, 5), None, 7),
        ([4, 39], slice(None), 3),
        (np.array([True, False] * 20), slice(5, 6)),
        (slice(5, 5), slice(9, 3)),
        (5, slice(None, None, -1), slice(300, 10, -7)),
    ):
        assert array[index].shape == expected[index].shape
        assert np.array_equal(array[index].compute(), expected[index])
    assert array[:] is array
    assert np.array_equal(array[da.from_array(np.arange(0, 40, 9))].compute(), expected[::9])
    with pytest.raises(NotImplementedError):  # pairs of points for numpy; xarray then goes axis by axis
        array[[1, 2], [3, 4]]
    for outside in (40, -41, (0, 192), [3, 40]):
        with pytest.raises(IndexError):
            array[outside]


@pytest.mark.parametrize("chunks", KINDS_OF_CHUNKS[1:], ids=str)
def test_what_is_written_into_an_array_stays(movie_path, in_memory, chunks):
    movie = open_movie(movie_path, chunks=chunks)
    copies = [movie.copy(), movie.copy(deep=False), movie[3:9]]
    assert all(isinstance(copy.data, StackArray) for copy in copies)
    changed, expected = movie.copy(), in_memory.copy()
    for array in (changed, expected):
        array[5, :64] = 7
        array[8, 100:, 3] = 9
    assert np.array_equal(changed[4:9, 32:], expected[4:9, 32:])
    assert np.array_equal(changed[[8, 5]].copy(), expected[[8, 5]])
    for array in (movie, *copies[:2]):
        assert np.array_equal(array[5, :3], in_memory[5, :3])


# ---- what is read


CHOICES = {  # a choice: the frames that it needs, and how many of the three blocks of 64 rows
    "movie[17]": ([17], 3),
    "movie.isel(time=slice(None, None, 13))": ([0, 13, 26, 39], 3),
    "movie.isel(time=[1, 38, 20])": ([1, 38, 20], 3),
    "movie.isel(time=[1, 38], y=5)": ([1, 38], 1),
    "movie.isel(time=[1, 38], y=slice(None, 64, 2), x=slice(9), channel=1)": ([1, 38], 1),
    "movie[[1, 38]][:, 5:60][..., 0]": ([1, 38], 1),
    "movie[::-1][3:30:9][[0, 2]]": ([36, 18], 3),
    "movie.sel(time=movie.time[[4, 24]])": ([4, 24], 3),
    "movie.sel(time='2016-11-13T00:00:03.5', method='nearest')": ([15], 3),
    "movie[np.arange(40) % 20 == 7]": ([7, 27], 3),
    "movie[5:30:6, 0, 0].isel(time=2)": ([17], 1),
    "movie[30][:64, :64].mean()": ([30], 1),
    "(movie[::10] // 2).max('time')": ([0, 10, 20, 30], 3),
    "movie[7:7]": ([], 0),
}


@pytest.mark.parametrize("chunks", [None, "auto", 7, {"time": 20, "y": 64}], ids=str)
@pytest.mark.parametrize("choice", CHOICES)
def test_only_the_frames_asked_for_are_fetched(served_movie, movie_url, choice, chunks):
    frames, n_blocks = CHOICES[choice]
    movie = open_movie(movie_url, chunks=chunks, cache=False)
    before = served_movie.n_bytes_sent
    picked = eval(choice, {"np": np, "movie": movie})  # noqa: S307 - ours, and readable in the report
    if chunks is not None:
        assert served_movie.n_requests == 1
    with dask.config.set(IN_ORDER):
        picked.compute()
    once = MovieReader(movie_url, cache=False).plan(frames).n_bytes
    assert served_movie.n_bytes_sent - before == once * (n_blocks if isinstance(chunks, dict) else 1)


@pytest.mark.parametrize("chunks", [None, "auto", 1], ids=str)
def test_linspace_over_a_long_movie_reads_so_many_frames(sparse_path, chunks):
    with serve_folder(sparse_path.parent) as server:
        movie = open_movie(
            server.url + sparse_path.name, frames=[7200, 0], chunks=chunks, cache=False, pix_fmt="gray"
        )
        before = server.n_bytes_sent
        assert [read_frame_number(image) for image in movie.to_numpy()] == [7200, 0]
        assert server.n_bytes_sent - before == movie.encoded_size.sum()
    spread = open_movie(sparse_path, frames=np.linspace(0, 24_999, 101), chunks=chunks)
    assert spread.frame.values.tolist() == [round(i) for i in np.linspace(0, 24_999, 101)]


def spoil_all_but_the_corner(path, frame, n_rows, n_columns):
    """Overwrite all slices of a frame outside the first rows and columns."""
    index = MovieReader(path).index
    with path.open("r+b") as file:
        file.seek(index.offset[frame])
        pictures = check_frame(file.read(index.size[frame])).pictures
        for picture in pictures:
            for y, x in np.ndindex(picture.slice_size.shape):
                if y >= n_rows or x >= n_columns:
                    file.seek(int(index.offset[frame] + picture.slice_offset[y, x]) + 8)
                    file.write(bytes(picture.slice_size[y, x] - 8))  # behind the slice's header


@pytest.mark.parametrize("chunks", [None, "auto", {"time": 1, "y": 64, "x": 128}], ids=str)
def test_a_corner_decodes_the_slices_that_it_touches(movie_path, movie_by_libav, tmp_path, chunks):
    """All other slices are damaged, so decoding any of them fails."""
    path = tmp_path / "a.mov"
    path.write_bytes(movie_path.read_bytes())
    spoil_all_but_the_corner(path, 17, n_rows=2, n_columns=1)
    movie = open_movie(path, pix_fmt="gray10le", chunks=chunks)
    corner = movie_by_libav.luma()[:, :64, :128]
    assert np.array_equal(movie[17, :64, :128], corner[17])
    assert np.array_equal(movie[:, :64, :128], corner)
    assert np.array_equal(movie.isel(x=slice(0, 100, 3))[::-1][[3, 22], 5], corner[[36, 17], 5, :100:3])
    for y, x in [(slice(65), slice(1)), (slice(1), slice(129))]:
        with pytest.raises(FrameDecodeError, match="frame 17"):
            movie[17, y, x].compute()


# ---- graphs and tasks


def test_no_task_carries_the_index(sparse_path):
    movie = open_movie(sparse_path, chunks=11)
    graph = dict(movie.__dask_graph__())
    assert len(graph) == movie.data.npartitions == 2273
    assert max(len(pickle.dumps(task)) for task in graph.values()) < 2000


def test_a_chunk_holds_several_whole_frames(sparse_path):
    movie = open_movie(sparse_path)
    n_frames, *rest = movie.data.chunksize
    assert rest == [1080, 1920, 3]
    assert 64 * 2**20 <= n_frames * 1080 * 1920 * 3 <= 128 * 2**20
    assert open_movie(sparse_path, pix_fmt="gray").data.chunksize[0] == 33
    assert open_movie(sparse_path)[:, :64, :64].data.npartitions == 2273


def test_building_graphs_reads_nothing(served_movie, movie_url):
    movie = open_movie(movie_url, cache=False)
    result = (movie.astype("f4").mean("time") - movie[::3].sum(("y", "x"))).isel(channel=0)
    result.data.dask.keys()
    dask.optimize(result)
    assert served_movie.n_requests == 1


def test_names_of_tasks_are_those_of_what_they_read(movie_path, tmp_path):
    movie = open_movie(movie_path)
    assert movie.data.name == open_movie(movie_path).data.name
    assert movie[3:9].data.name == open_movie(movie_path, frames=range(3, 9)).data.name
    write_movie(tmp_path / movie_path.name, n_frames=40, width=320, height=192, run=1)
    others = [
        open_movie(movie_path, pix_fmt="bgr24"),
        open_movie(movie_path, chunks=3),
        open_movie(movie_path, frames=range(39)),
        movie[:, 1:],
        open_movie(tmp_path / movie_path.name),
    ]
    assert len({array.data.name for array in [movie, *others]}) == 6


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (6, (6,) * 6 + (4,)),
        (np.int64(20), (20, 20)),
        (-1, (40,)),
        ({"time": 20}, (20, 20)),
        ({"time": (30, 10)}, (30, 10)),
        ({"y": 96}, (40,)),
        ({}, (40,)),
    ],
    ids=str,
)
def test_chunks(movie_path, expected, chunks):
    assert open_movie(movie_path, chunks=chunks).chunks[0] == expected


@pytest.mark.parametrize(
    ("chunks", "error", "message"),
    [
        (0, ValueError, "chunks of 0 along 'time'"),
        (-2, ValueError, "chunks of -2 along 'time'"),
        ({"y": 0}, ValueError, "chunks of 0 along 'y'"),
        ({"time": np.int64(0)}, ValueError, "chunks of 0 along 'time'"),
        ({"lat": 3}, ValueError, "unknown dimensions 'lat'; known are time, y, x, channel"),
        (True, TypeError, "a number of frames, a mapping, or None, not True"),
        (3.5, TypeError, "not 3.5"),
        ("big", TypeError, "not 'big'"),
    ],
    ids=str,
)
def test_wrong_chunks_are_named(movie_path, chunks, error, message):
    with pytest.raises(error, match=message):
        open_movie(movie_path, chunks=chunks)


def test_frames_that_are_not_there(movie_path):
    with pytest.raises(FrameIndexError, match=r"no frame 40: .*0 to 39"):
        open_movie(movie_path, frames=[3, 40])
    assert open_movie(movie_path, frames=[]).compute().shape == (0, 192, 320, 3)
    assert open_movie(movie_path, frames=[], chunks=None).compute().shape == (0, 192, 320, 3)


# ---- computing


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_means_on_every_scheduler(movie_url, movie_by_libav, scheduler):
    movie = open_movie(movie_url, pix_fmt="gray10le", chunks=9, cache=False)
    mean = movie.mean("time").compute(scheduler=scheduler, num_workers=2)
    assert np.array_equal(mean, movie_by_libav.luma().mean(axis=0))


def test_computed_from_many_threads_at_once(movie_path, movie_by_libav):
    movie = open_movie(movie_path, pix_fmt="gray10le", chunks=3)
    parts = [movie[i::5].astype("i8").sum() for i in range(5)] + [movie[:, i::5] for i in range(5)]
    *sums, _, _, _, _, last = dask.compute(*parts, scheduler="threads", num_workers=8)
    luma = movie_by_libav.luma()
    assert [int(total) for total in sums] == [int(luma[i::5].sum(dtype="i8")) for i in range(5)]
    assert np.array_equal(last, luma[:, 4::5])


@pytest.mark.parametrize("chunks", [None, 7], ids=str)
@pytest.mark.parametrize("choose", [lambda m: m, lambda m: m[[3, 30], ::2], lambda m: m.mean("y")])
def test_arrays_pickle(movie_path, movie_by_libav, choose, chunks):
    movie = choose(open_movie(movie_path, pix_fmt="gray10le", chunks=chunks))
    copy = unpickle(pickle.dumps(movie))
    xr.testing.assert_identical(copy.compute(), movie.compute())


@pytest.mark.parametrize("chunks", [None, 7], ids=str)
def test_a_damaged_frame_is_named_and_does_not_hide_the_others(movie_path, tmp_path, movie_by_libav, chunks):
    path = tmp_path / "a.mov"
    path.write_bytes(movie_path.read_bytes())
    start = int(MovieReader(path).index.offset[17])
    with path.open("r+b") as file:
        file.seek(start + 4000)
        file.write(bytes(3000))
    movie = open_movie(path, pix_fmt="gray10le", chunks=chunks)
    with pytest.raises(FrameDecodeError, match=rf"frame 17 of {path}"):
        movie.compute()
    others = movie.isel(time=movie.frame != 17)
    assert np.array_equal(others, movie_by_libav.luma(others.frame))


def test_many_threads_may_index_a_lazy_array(movie_path, movie_by_libav):
    movie = open_movie(movie_path, pix_fmt="gray10le", chunks=None)
    found = {}

    def read(i):
        found[i] = movie[i::8].to_numpy()

    threads = [threading.Thread(target=read, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[i], movie_by_libav.luma()[i::8]) for i in range(8))
