"""Damaged frames with `errors="mask"`."""

import pickle

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from oracle import unpickle

from camhd_access import FrameDecodeError, MovieReader, RemoteFileError, open_movie
from camhd_access.formats.prores import check_frame, walk_frame
from camhd_access.ranges import run_walk
from camhd_access.storage.read_ahead import find_read_ahead
from camhd_access.synthetic import serve_folder

DAMAGED = [0, 17, 18, 39]
KINDS_OF_CHUNKS = [None, "auto", 7, {"time": 6, "y": 50, "x": 100}]


@pytest.fixture(scope="module")
def damaged_path(movie_path, tmp_path_factory):
    """The movie with four frames that have lost a stretch in their middle."""
    path = tmp_path_factory.mktemp("damaged") / movie_path.name
    path.write_bytes(movie_path.read_bytes())
    index = MovieReader(path).index
    with path.open("r+b") as file:
        for frame in DAMAGED:
            file.seek(int(index.offset[frame] + index.size[frame] // 4))
            file.write(bytes(900))
    return path


def test_the_first_frame_over_a_network_keeps_what_is_intact(movie_path, tmp_path):
    """Where its slices lie is remembered, but not needed."""
    (tmp_path / "m.mov").write_bytes(movie_path.read_bytes())
    reader = MovieReader(tmp_path / "m.mov")
    second = check_frame(reader.read_encoded(0)[0]).pictures[1]
    with (tmp_path / "m.mov").open("r+b") as file:
        file.seek(int(reader.index.offset[0]) + second.start + 8)
        file.write(b"\xff\xff")  # the size of its first slice
    reader = MovieReader(tmp_path / "m.mov")
    masked = reader.read(0, errors="mask")
    assert 0.2 < masked.mask.mean() < 0.8
    field = reader.read(0, fields="first")
    with serve_folder(tmp_path) as server:
        remote = MovieReader(f"{server.url}m.mov", cache=False)
        np.testing.assert_array_equal(remote.read(0, errors="mask").filled(1), masked.filled(1))
        np.testing.assert_array_equal(MovieReader(f"{server.url}m.mov").read(0, fields="first"), field)


@pytest.fixture
def served(damaged_path):
    with serve_folder(damaged_path.parent) as server:
        yield server


@pytest.fixture(scope="module")
def undamaged(movie_path):
    """The pixels of the movie before it was damaged."""
    return MovieReader(movie_path).read(slice(None), pix_fmt="gray")


@pytest.fixture(scope="module")
def overwritten(damaged_path, undamaged):
    """Which pixels lie in slices whose bytes were overwritten, by the slice tables."""
    marks, reader = np.zeros(undamaged.shape, np.bool_), MovieReader(damaged_path)
    for frame, sample in zip(DAMAGED, reader.read_encoded(DAMAGED), strict=True):
        start = len(sample) // 4
        layout = run_walk(walk_frame(len(sample)), sample)
        edges = layout.column_edges * 16
        for number, picture in enumerate(layout.pictures):
            touched = (picture.slice_offset < start + 900) & (picture.slice_stop > start)
            for row, column in np.argwhere(touched):
                lines = slice(32 * row + number, 32 * row + 32, 2)  # the top field is shown first
                marks[frame, lines, edges[column] : edges[column + 1]] = True
    return marks


@pytest.fixture(scope="module")
def truth(undamaged, overwritten):
    """The pixels that are left, and 0 where they are lost."""
    return np.where(overwritten, np.uint8(0), undamaged)


# ---- arrays in memory


@pytest.mark.parametrize("decoder", ["libav", "numba"])
@pytest.mark.parametrize("parallel", [False, True])
def test_damaged_slices_are_masked_and_zero_behind_the_mask(
    monkeypatch, damaged_path, undamaged, truth, *, parallel, decoder
):
    monkeypatch.setenv("CAMHD_DECODER", decoder)
    pixels, damaged = MovieReader(damaged_path).stack(pix_fmt="gray").read_marked(parallel=parallel)
    assert sorted(damaged) == DAMAGED
    assert np.array_equal(pixels, truth)
    marks = np.zeros(truth.shape, np.bool_)
    for frame, where in damaged.items():
        assert 0 < where.mean() < 0.5
        marks[frame] = where
    assert np.array_equal(pixels[~marks], undamaged[~marks])
    masked = MovieReader(damaged_path).read(slice(None), pix_fmt="gray", errors="mask")
    assert isinstance(masked, np.ma.MaskedArray)
    assert np.array_equal(masked.data, truth)
    assert np.array_equal(masked.mask, marks)


def test_without_damage_nothing_is_masked(movie_path):
    masked = MovieReader(movie_path).read([3, 4], errors="mask")
    assert not masked.mask.any()
    assert np.array_equal(masked.data, MovieReader(movie_path).read([3, 4]))


def test_out_is_filled(damaged_path, truth):
    out = np.full((3, 192, 320), 77, np.uint8)
    masked = MovieReader(damaged_path).read([18, 20, 18], pix_fmt="gray", errors="mask", out=out)
    assert np.array_equal(out, truth[[18, 20, 18]])
    assert masked.mask.any(axis=(1, 2)).tolist() == [True, False, True]
    assert np.shares_memory(masked.data, out)


def test_a_damaged_frame_alone(damaged_path):
    mask = MovieReader(damaged_path).read(17, errors="mask").mask
    assert mask.any()
    assert not mask.all()


@pytest.mark.parametrize("errors", ["ignore", None, True])
def test_other_ways_with_errors_are_refused(movie_path, errors):
    for function in (MovieReader(movie_path).read, lambda _, errors: open_movie(movie_path, errors=errors)):
        with pytest.raises(ValueError, match=r'errors must be "raise" or "mask", not'):
            function(0, errors=errors)


def test_bytes_that_cannot_be_had_are_never_masked(damaged_path, tmp_path):
    path = tmp_path / "a.mov"
    path.write_bytes(damaged_path.read_bytes())
    with serve_folder(tmp_path) as server:
        reader = MovieReader(server.url + "a.mov", cache=False)
        movie = open_movie(server.url + "a.mov", cache=False, errors="mask", chunks=7)
        path.unlink()
        with pytest.raises(RemoteFileError):
            reader.read([3, 17], errors="mask")
        with pytest.raises(RemoteFileError):
            movie.compute()
        with pytest.raises(RemoteFileError):
            movie.damaged.compute()


def test_only_the_damaged_field_is_masked(movie_path, tmp_path):
    path = tmp_path / "a.mov"
    path.write_bytes(movie_path.read_bytes())
    reader = MovieReader(path)
    second = check_frame(reader.read_encoded(3)[0]).pictures[1]
    with path.open("r+b") as file:
        file.seek(int(reader.index.offset[3]) + second.start + second.head_size + second.size // 3)
        file.write(bytes(300))
    masked = MovieReader(path).read([3, 4], fields=True, errors="mask")
    assert masked.mask.any(axis=(1, 2, 3)).tolist() == [False, True, False, False]


# ---- lazy arrays


@pytest.mark.parametrize("chunks", KINDS_OF_CHUNKS, ids=str)
def test_the_coordinate_says_which(damaged_path, truth, undamaged, chunks):
    movie = open_movie(damaged_path, errors="mask", pix_fmt="gray", chunks=chunks)
    assert movie.damaged.dims == ("time",)
    assert movie.damaged.dtype == movie.dtype == np.float32
    computed = movie.compute()
    assert np.flatnonzero(computed.damaged).tolist() == DAMAGED
    assert np.allclose(computed.damaged, np.isnan(computed).mean(("y", "x")))
    missing = np.isnan(computed.values)
    assert np.array_equal(np.where(missing, 0, computed), truth)
    assert np.array_equal(computed.values[~missing], undamaged[~missing])


def test_a_share_of_the_frame_is_damaged_where_it_is_cut_in_pieces(damaged_path):
    movie = open_movie(damaged_path, errors="mask", pix_fmt="gray", chunks={"time": 6, "y": 50, "x": 100})
    shares = movie.damaged.compute().values[DAMAGED]
    assert (shares > 0).all()
    assert (shares < 1).any()


@pytest.mark.parametrize("chunks", KINDS_OF_CHUNKS, ids=str)
@pytest.mark.parametrize(
    "choice",
    [
        "movie[16:20]",
        "movie[::-3]",
        "movie[[39, 1, 17]]",
        "movie[17]",
        "movie[-23, 3:50]",
        "movie.isel(time=[0, 2], y=slice(8, 90), x=5)",
        "movie.sel(time='2016-11-13T00:00:03.6', method='nearest')",
        "movie[5:30][movie.frame[5:30] % 2 == 1]",
        "movie[3:3]",
    ],
)
def test_picked_from_the_array_it_says_the_same(damaged_path, choice, chunks):
    movie = open_movie(damaged_path, errors="mask", pix_fmt="gray", chunks=chunks)
    picked = eval(choice, {"movie": movie}).compute()  # noqa: S307 - ours, and readable in the report
    assert np.array_equal(picked.damaged > 0, np.isin(picked.frame, DAMAGED))


@pytest.mark.parametrize("chunks", ["auto", 7])
def test_pixels_and_marks_come_from_the_same_tasks(served, damaged_path, chunks):
    movie = open_movie(served.url + damaged_path.name, cache=False, errors="mask", chunks=chunks)
    sizes = movie.encoded_size.values
    for part in (slice(None), slice(15, 20), [3, 17]):
        find_read_ahead.cache_clear()  # what one part has read says nothing of the next
        before = served.n_bytes_sent
        movie[part].compute(scheduler="synchronous")  # in order: threads may end a sequence
        # Sound between neighbouring frames is read rather than asked around.
        assert sizes[part].sum() <= served.n_bytes_sent - before < 1.7 * sizes[part].sum()
    before = served.n_bytes_sent
    movie[20].damaged.compute()
    assert served.n_bytes_sent - before == sizes[20]


def test_nothing_is_read_before_it_is_computed(served, damaged_path):
    movie = open_movie(served.url + damaged_path.name, cache=False, errors="mask")
    repr(movie)
    movie[3:9].damaged.sum()
    assert served.n_requests == 1


@pytest.mark.parametrize("chunks", ["auto", 7])
def test_a_long_reduction_goes_on(damaged_path, undamaged, overwritten, chunks):
    movie = open_movie(damaged_path, errors="mask", pix_fmt="gray", chunks=chunks)
    mean, good = movie.mean("time"), np.ma.masked_array(undamaged, overwritten)
    assert np.allclose(mean.compute(), good.mean(axis=0), rtol=1e-12)
    weights = xr.DataArray(np.arange(1.0, 41), dims="time")
    weighted = movie.weighted(weights).mean("time").compute()
    assert np.allclose(weighted, np.ma.average(good, axis=0, weights=weights), rtol=1e-5)
    assert np.array_equal(movie.count("time").compute(), good.count(axis=0))
    counted = xr.Dataset({"mean": mean, "n": (movie.damaged > 0).sum(), "first": movie[0]}).compute()
    assert counted.n == len(DAMAGED)


def test_by_default_damage_is_an_error(damaged_path):
    movie = open_movie(damaged_path)
    assert "damaged" not in movie.coords
    with pytest.raises(FrameDecodeError, match="frame 0 of"):
        movie[:3].compute()


def test_the_engine_masks_too(damaged_path, truth, overwritten):
    options = {"engine": "camhd", "errors": "mask", "pix_fmt": "gray"}
    dataset = xr.open_dataset(damaged_path, **options)
    assert np.flatnonzero(dataset.damaged).tolist() == DAMAGED
    assert np.array_equal(dataset.video.fillna(0), truth)
    lazy = xr.open_dataset(damaged_path, chunks={}, **options)
    assert isinstance(lazy.damaged.data, da.Array)
    assert np.allclose(lazy.damaged[16:20].compute(), overwritten[16:20].mean(axis=(1, 2)), rtol=1e-6)


@pytest.mark.parametrize("options", [{"reduce": 8}, {"fields": True}], ids=str)
def test_of_fields_and_previews(damaged_path, options):
    movie = open_movie(damaged_path, errors="mask", **options).compute()
    damaged = set(movie.frame.values[movie.damaged.values > 0].tolist())
    assert damaged <= set(DAMAGED)
    assert damaged
    reader = MovieReader(damaged_path)
    masked = reader.read(slice(None), errors="mask", **options)
    assert np.array_equal(masked.mask, np.isnan(movie))
    assert np.array_equal(masked.data, movie.fillna(0))


def test_tasks_are_small(sparse_path):
    movie = open_movie(sparse_path, errors="mask")
    assert movie.damaged.chunks == (movie.chunks[0],)
    one = movie[:3]
    tasks = dict(one.data.__dask_graph__())
    assert max(len(pickle.dumps(task)) for task in tasks.values()) < 2000
    assert one.data.__dask_graph__().layers.keys() & one.damaged.data.__dask_graph__().layers.keys()


def test_a_movie_and_what_is_made_of_it_are_computed_together(movie_path):
    movie = open_movie(movie_path, frames=slice(3))
    both = xr.Dataset({"video": movie, "gray": movie.mean("channel")}).compute()
    assert np.array_equal(both.video.mean("channel"), both.gray)
    assert isinstance(movie.data, da.Array)
    assert {type(movie.data)} == {da.Array}
    copy = dask.base.optimize(unpickle(pickle.dumps(movie)))[0]
    assert np.array_equal(copy, both.video)
