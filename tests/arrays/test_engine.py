"""The xarray engine `camhd`: Datasets with and without dask."""

import pickle
from collections import defaultdict

import numpy as np
import pytest
import xarray as xr
from xarray.backends import NetCDF4BackendEntrypoint
from xarray.backends.plugins import guess_engine

from camhd_access import FrameIndexError, MissingMoovError, MovieReader, open_movie
from camhd_access.arrays.open_movie import CamhdBackendEntrypoint
from camhd_access.storage.rangecache import default_cache_dir
from camhd_access.synthetic import serve_folder, write_movie


@pytest.fixture
def luma(movie_by_libav):
    return movie_by_libav.luma()


def test_it_is_installed():
    engine = xr.backends.list_engines()["camhd"]
    assert isinstance(engine, CamhdBackendEntrypoint)
    assert "CamHD" in engine.description


@pytest.mark.parametrize("chunks", [None, {}, "auto"], ids=str)
def test_a_dataset_is_the_array_of_open_movie(movie_path, luma, chunks):
    with xr.open_dataset(movie_path, engine="camhd", chunks=chunks, pix_fmt="gray10le") as dataset:
        assert list(dataset) == ["video"]
        assert (dataset.video.chunks is None) == (chunks is None)
        expected = open_movie(movie_path, pix_fmt="gray10le")
        assert np.array_equal(dataset.video, luma)
        assert dataset.coords.keys() == expected.coords.keys()
        for name in expected.coords:
            assert dataset[name].identical(expected[name])
        assert dataset.attrs.pop("Conventions") == "CF-1.11"
        np.testing.assert_equal(dataset.video.attrs | dataset.attrs, expected.attrs)
        assert dataset.encoding["source"] == str(movie_path)


def test_options_are_those_of_open_movie(movie_path, luma):
    with xr.open_dataset(
        movie_path, engine="camhd", pix_fmt="gray10le", frames=[5, 1], drop_variables="encoded_size"
    ) as dataset:
        assert np.array_equal(dataset.video, luma[[5, 1]])
        assert "encoded_size" not in dataset.variables
        assert dataset.frame.values.tolist() == [5, 1]


@pytest.fixture
def movies(movie_path, tmp_path):
    """A movie for each option: a whole one, or one for which the option makes a difference."""
    index = MovieReader(movie_path).index
    data = bytearray(movie_path.read_bytes())
    stop = int(index.offset[3] + index.size[3])
    data[stop - 3000 : stop] = bytes(3000)
    write_movie(tmp_path / "cut.mov", n_frames=9, width=256, height=64, layout="no-moov")
    special = {"errors": bytes(data), "recover": (tmp_path / "cut.mov").read_bytes()}
    return defaultdict(movie_path.read_bytes, special)


OPTIONS = {
    "drop_variables": ["encoded_size", "frame"],
    "frames": [5, 1],
    "pix_fmt": "gray16le",
    "fields": True,
    "deinterlace": "linear",
    "reduce": 8,
    "errors": "mask",
    "recover": True,
    "clock": "name",
    "disk_cache": False,
    "storage_options": {"headers": {"X-Project": "vents"}},
}


@pytest.mark.parametrize("form", ["keyword", "backend_kwargs"])
@pytest.mark.parametrize("name", CamhdBackendEntrypoint.open_dataset_parameters[1:])
def test_every_option_reaches_the_movie_through_xarray(origin, movies, name, form):
    url = origin.put("/CAMHDA301-20161113T000000Z.mov", movies[name])
    option = {name: OPTIONS[name]}
    given = option if form == "keyword" else {"backend_kwargs": option}
    if name == "drop_variables" and form == "backend_kwargs":
        given = option  # xarray's own, too: it must be said to it
    with xr.open_dataset(url, engine="camhd", **given) as dataset:
        video = dataset.video.load()
    if name == "drop_variables":
        assert not {"encoded_size", "frame"} & set(dataset.variables)
        return
    kept = list(default_cache_dir().rglob("info"))
    assert bool(kept) == (name != "disk_cache")
    sent = {request.headers.get("x-project") for request in origin.requests}
    assert sent == ({"vents"} if name == "storage_options" else {None})
    if name == "recover":
        assert video.sizes["time"] == 8
    if name == "errors":
        assert video.isnull().any()
    if name == "clock":
        assert video.time_source.item() == "name"
    alike = {"cache": False} if name == "disk_cache" else option
    expected = open_movie(url, **alike)
    xr.testing.assert_equal(video, expected.load())


def test_xarrays_own_cache_is_not_ours(origin, movie_path):
    url = origin.put("/m.mov", movie_path.read_bytes())
    with xr.open_dataset(url, engine="camhd", cache=False) as dataset:
        dataset.video[0].load()
    assert list(default_cache_dir().rglob("info"))  # kept on disk, though not in memory
    for given in ({"disk_cache": False, "cache": False}, {"backend_kwargs": {"disk_cache": False}}):
        other = origin.put("/other.mov", movie_path.read_bytes())
        n_kept = len(list(default_cache_dir().rglob("info")))
        with xr.open_dataset(other, engine="camhd", **given) as dataset:
            dataset.video[0].load()
        assert len(list(default_cache_dir().rglob("info"))) == n_kept


def test_colour_has_channels(movie_path):
    with xr.open_dataset(movie_path, engine="camhd") as dataset:
        assert dataset.video.dims == ("time", "y", "x", "channel")
        assert dataset.channel.values.tolist() == ["R", "G", "B"]
        assert np.array_equal(dataset.video[3, 7:9], open_movie(movie_path)[3, 7:9])


def test_chunks_are_those_of_open_movie(sparse_path):
    with xr.open_dataset(sparse_path, engine="camhd", chunks={}) as dataset:
        assert dataset.video.chunks == open_movie(sparse_path).chunks


@pytest.mark.parametrize("chunks", [None, {}], ids=str)
def test_it_is_lazy(served_movie, movie_url, luma, chunks):
    with xr.open_dataset(movie_url, engine="camhd", chunks=chunks, pix_fmt="gray10le") as dataset:
        repr(dataset), dataset._repr_html_()
        picked = dataset.video.sel(time="2016-11-13T00:00:03.3", method="nearest")[:64, :64]
        assert served_movie.n_requests == 1
        assert np.array_equal(picked, luma[9, :64, :64])


@pytest.mark.parametrize("chunks", [None, {}], ids=str)
def test_a_frame_of_a_long_movie_is_all_that_is_fetched(sparse_path, chunks):
    with serve_folder(sparse_path.parent) as server:
        url = server.url + sparse_path.name
        with xr.open_dataset(url, engine="camhd", chunks=chunks, pix_fmt="gray10le") as dataset:
            picked = dataset.video[7200, ::8, ::8]
            before = server.n_bytes_sent
            assert picked.shape == (135, 240)
            picked.compute()
            # The cache behind fetches whole blocks of 64 KiB.
            assert server.n_bytes_sent - before <= dataset.encoded_size[7200] + 128 * 1024


def test_lists_cost_what_they_cost_open_movie(served_movie, movie_url):
    costs = []
    with xr.open_dataset(movie_url, engine="camhd", chunks={}, disk_cache=False, pix_fmt="gray") as dataset:
        for video in (open_movie(movie_url, cache=False, pix_fmt="gray"), dataset.video):
            before = served_movie.n_bytes_sent
            picked = video[[3, 30, 17], :64].compute()
            costs.append(served_movie.n_bytes_sent - before)
            assert picked.frame.values.tolist() == [3, 30, 17]
        assert costs[0] == costs[1] <= dataset.encoded_size[[3, 30, 17]].sum()
        assert dataset.video[5].camhd.plan().n_frames == 1


def test_what_was_loaded_or_cut_before_is_chunked_too(movie_path, luma):
    with xr.open_dataset(movie_path, engine="camhd", pix_fmt="gray10le") as dataset:
        part = dataset.video[30:2:-4, 10:20].chunk({"time": 2, "x": 100})
        assert part.chunks == ((2, 2, 2, 1), (10,), (100, 100, 100, 20))
        assert np.array_equal(part, luma[30:2:-4, 10:20])
        assert np.array_equal(dataset.video[3].chunk(), luma[3])
        assert np.array_equal(dataset.video[:2].load().chunk({"time": 1}), luma[:2])
        assert np.array_equal(dataset.video.chunk(time=16)[17], luma[17])


def test_in_chunks_the_index_is_in_the_graph_but_once(sparse_path):
    with xr.open_dataset(sparse_path, engine="camhd", chunks={}) as dataset:
        sizes = sorted(len(pickle.dumps(task)) for task in dict(dataset.video.data.__dask_graph__()).values())
    assert len(sizes) >= 2273
    assert sizes[-2] < 2000


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("CAMHDA301-20161113T000000Z.mov", True),
        ("https://host/a/CAMHDA301-20180101T001500.mov?key=1", True),
        ("CAMHDA301-20161113T000000Z.mp4", True),
        ("https://host/a/CAMHDA301-20180101T001500.MP4?name=a.nc", True),
        ("CAMHDA301-20161113T000000Z.md5", False),
        ("CAMHDA301-20161113T000000Z.mp4.part", False),
        ("holiday.mp4", False),
        ("holiday.mov", False),
        ("a.nc", False),
        (b"CAMHDA301-20161113T000000Z.mov", False),
        (3, False),
    ],
)
def test_movies_of_the_camera_are_known_by_name(name, is_one):
    assert CamhdBackendEntrypoint().guess_can_open(name) == is_one


def test_movies_of_the_camera_need_no_engine(movie_path):
    with xr.open_dataset(movie_path) as dataset:
        assert dataset.sizes["time"] == 40


@pytest.mark.parametrize("protocol", ["https://", "s3://", "memory://"])
def test_urls_need_an_engine_where_netcdf4_is(protocol):
    """As described in `network.md`: netCDF4 is asked first, and newer versions of xarray accept any URL."""
    url = f"{protocol}host/CAMHDA301-20161113T000000Z.mov"
    accepts = NetCDF4BackendEntrypoint().guess_can_open(url)
    assert guess_engine(url) == ("netcdf4" if accepts else "camhd")


def test_errors_are_those_of_open_movie(movie_path, tmp_path):
    write_movie(tmp_path / "a.mov", n_frames=2, width=256, height=64, layout="no-moov")
    with pytest.raises(MissingMoovError, match=r"a\.mov"):
        xr.open_dataset(tmp_path / "a.mov", engine="camhd")
    with pytest.raises(FrameIndexError):
        xr.open_dataset(movie_path, engine="camhd", frames=[99])
    with pytest.raises(ValueError, match="unknown pix_fmt"):
        xr.open_dataset(movie_path, engine="camhd", pix_fmt="rgb")
    with pytest.raises(TypeError, match="pixfmt"):
        xr.open_dataset(movie_path, engine="camhd", pixfmt="gray")


@pytest.fixture(scope="module")
def three_movies(tmp_path_factory):
    """Paths of a movie each three hours, one of another frame count."""
    folder = tmp_path_factory.mktemp("three")
    paths = []
    for hour, n_frames in (("00", 3), ("03", 2), ("06", 3)):
        paths.append(folder / f"CAMHDA301-20161113T{hour}0000Z.mov")
        start = np.datetime64(f"2016-11-13T{hour}:00:02")
        write_movie(paths[-1], n_frames=n_frames, width=320, height=192, start_time=start)
    return paths


def combine_mfdataset(paths, **options):
    return xr.open_mfdataset(paths[::-1], engine="camhd", combine="by_coords", **options)


def combine_by_coords(paths, **options):
    datasets = [xr.open_dataset(path, engine="camhd", chunks={}) for path in paths[::-1]]
    return xr.combine_by_coords(datasets, **options)


@pytest.mark.parametrize("combine", [combine_mfdataset, combine_by_coords])
@pytest.mark.parametrize("attributes", ["no_conflicts", "identical", "override"])
def test_movies_are_combined_by_xarray(three_movies, combine, attributes):
    combined = combine(three_movies, combine_attrs=attributes, coords="different", compat="equals")
    names = np.repeat([path.stem for path in three_movies], (3, 2, 3))
    assert combined.movie.dims == combined.source.dims == ("time",)  # those that are equal may stay one
    assert combined.movie.values.tolist() == names.tolist()
    assert combined.frame.values.tolist() == [0, 1, 2, 0, 1, 0, 1, 2]
    assert combined.attrs == xr.open_dataset(three_movies[0], engine="camhd").attrs
    np.testing.assert_array_equal(
        combined.video, np.concatenate([MovieReader(path).read(slice(None)) for path in three_movies])
    )
    assert str(combined.time.values[3]).startswith("2016-11-13T03:00:02")


def test_the_name_of_the_movie_survives_other_ways_to_combine(three_movies):
    joined = xr.open_mfdataset(
        three_movies, engine="camhd", combine="nested", concat_dim="time", coords="minimal", compat="override"
    )
    assert joined.movie.values.tolist()[::3] == [path.stem for path in three_movies]
    assert joined.video.mean("time").camhd.imshow().axes[0].get_title() == "CAMHDA301-20161113T000000Z"
