"""Reference files: Zarr and fsspec with the codec read movies in place."""

import json
import sys
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet
import pytest
import xarray as xr
from clusters import running_cluster
from fsspec.implementations.http import HTTPFileSystem
from fsspec.implementations.reference import LazyReferenceMapper
from zarr.core.sync import sync

from camhd_access import FrameDecodeError, FrameIndexError, MovieReader, open_movie, write_clip
from camhd_access.arrays.zarr import references, write_references, write_samples
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
from camhd_access.synthetic import write_movie

pytestmark = pytest.mark.filterwarnings(
    "ignore:CAMHDA301.*its clock is"
)  # movies of a second, named after their end


@pytest.fixture(scope="module")
def movie_paths(tmp_path_factory):
    """Three short movies of one kind, a quarter of an hour apart."""
    folder = tmp_path_factory.mktemp("run")
    paths = [folder / f"CAMHDA301-20170210T00{minutes}00.mov" for minutes in (15, 30, 45)]
    for i, path in enumerate(paths):
        start = np.datetime64("2017-02-10T00:00:01") + np.timedelta64(900 * i, "s")
        write_movie(path, n_frames=3 + i, width=256, height=64, start_time=start)
    return paths


def open_json(target, **options):
    return xr.open_zarr("reference://", storage_options={"fo": str(target)} | options)


def open_parquet(target, protocol="file", **options):
    mapper = LazyReferenceMapper(str(target), engine="pyarrow")
    return xr.open_zarr("reference://", storage_options={"fo": mapper, "remote_protocol": protocol} | options)


OPENERS = {".json": open_json, ".parquet": open_parquet}


@pytest.mark.parametrize("suffix", OPENERS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pix_fmt": "gray10le", "frames": [7, 2, 2]},
        {"fields": True},
        {"reduce": 8, "pix_fmt": "gray16le"},
    ],
    ids=str,
)
def test_they_are_the_array_of_open_movie(movie_path, tmp_path, suffix, options):
    target = tmp_path / f"movie{suffix}"
    write_references(MovieReader(movie_path), target, **options)
    dataset = OPENERS[suffix](target)
    xr.testing.assert_identical(dataset.video.load(), open_movie(movie_path, **options).load())


@pytest.mark.parametrize("suffix", OPENERS)
def test_several_movies_follow_each_other(movie_paths, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(references, "RECORD_SIZE", 5)  # twelve frames in three files
    target = tmp_path / f"run{suffix}"
    write_references([MovieReader(path) for path in movie_paths], target, pix_fmt="gray10le")
    dataset = OPENERS[suffix](target).load()
    movies = [open_movie(path, pix_fmt="gray10le") for path in movie_paths]
    assert np.array_equal(dataset.video, np.concatenate(movies))
    for name in ("time", "frame", "encoded_size"):
        assert np.array_equal(dataset[name], np.concatenate([movie[name] for movie in movies]))
    assert dataset.indexes["time"].is_monotonic_increasing
    assert [str(name) for name in np.unique(dataset["movie"])] == sorted(
        {str(movie["movie"].values.flat[0]) for movie in movies}
    )
    assert dataset.attrs["platform"] == movies[0].attrs["platform"]
    assert len(list(target.glob("video/*.parq"))) == (3 if suffix == ".parquet" else 0)


def test_movies_that_differ_are_refused(movie_paths, movie_path, tmp_path):
    write_movie(tmp_path / "timeless.mov", n_frames=2, width=256, height=64, start_time=None)
    readers = [MovieReader(path) for path in (movie_paths[0], movie_path, tmp_path / "timeless.mov")]
    with pytest.raises(ValueError, match=r"size, codec or colour matrix: .*192, 320.*64, 256"):
        write_references(readers[:2], tmp_path / "a.json")
    with pytest.raises(ValueError, match="no common time axis"):
        write_references(readers[::2], tmp_path / "a.json")
    with pytest.raises(ValueError, match="no common time axis"):
        write_references(readers[2:] * 2, tmp_path / "a.json")
    with pytest.raises(ValueError, match="no movies"):
        write_references([], tmp_path / "a.json")
    with pytest.raises(FrameIndexError):
        write_references(readers[0], tmp_path / "a.json", frames=[3])
    with pytest.raises(ValueError, match=r"\.json or .*\.parquet"):
        write_references(readers[0], tmp_path / "a.zarr")
    assert not list(tmp_path.glob("a.*"))


# ---- elsewhere


@pytest.fixture(params=[HTTPFileSystem, LazyHTTPFileSystem])
def http(request):
    """The HTTP filesystem of fsspec, and that of this package, which checks responses."""
    filesystem = request.param(asynchronous=True, skip_instance_cache=True)
    yield filesystem
    sync(filesystem.aclose() if request.param is LazyHTTPFileSystem else filesystem._session.close())


@pytest.mark.parametrize("suffix", OPENERS)
def test_a_movie_on_a_web_server(served_movie, movie_url, tmp_path, suffix, http):
    target = tmp_path / f"movie{suffix}"
    write_references(MovieReader(movie_url, cache=False), target)
    n_requests = served_movie.n_requests
    movie = OPENERS[suffix](target, fs={"http": http}).video
    assert served_movie.n_requests == n_requests
    pixels = movie[[3, 30]].to_numpy()
    assert served_movie.n_requests == n_requests + 2
    assert np.array_equal(pixels, MovieReader(movie_url).read([3, 30]))


@pytest.mark.parametrize("suffix", OPENERS)
def test_a_movie_that_went_away_is_an_error_and_not_black(movie_path, tmp_path, suffix):
    path, target = tmp_path / "a.mov", tmp_path / f"movie{suffix}"
    path.write_bytes(movie_path.read_bytes())
    write_references(MovieReader(path), target)
    movie = OPENERS[suffix](target).video
    path.unlink()
    with pytest.raises(RuntimeError, match=r"a\.mov"):
        movie[2].load()


@pytest.mark.parametrize("suffix", OPENERS)
def test_a_sample_without_bytes_is_not_the_whole_movie(tmp_path, movie_path, suffix):
    path, target = tmp_path / "a.mov", tmp_path / f"movie{suffix}"
    data = bytearray(movie_path.read_bytes())
    sizes = data.index(MovieReader(movie_path).index.size.astype(">u4").tobytes())
    data[sizes : sizes + 4] = bytes(4)
    path.write_bytes(data)
    reader = MovieReader(path)
    assert reader.index.size[0] == 0
    write_references(reader, target)
    with pytest.raises(FrameDecodeError, match=r"video/(c/)?0.0.0.0"):
        OPENERS[suffix](target).video[0].load()


@pytest.mark.parametrize("suffix", OPENERS)
def test_they_are_written_anywhere(movie_paths, suffix):
    memory = fsspec.filesystem("memory")
    reader = MovieReader(movie_paths[0])
    write_references(reader, f"memory://run{suffix}")
    fo = (
        f"memory://run{suffix}"
        if suffix == ".json"
        else LazyReferenceMapper(f"/run{suffix}", memory, engine="pyarrow")
    )
    dataset = xr.open_zarr("reference://", storage_options={"fo": fo, "remote_protocol": "file"})
    assert np.array_equal(dataset.video, open_movie(movie_paths[0]))
    memory.rm(f"/run{suffix}", recursive=True)


def test_json_is_as_other_readers_want_it(movie_paths, tmp_path, monkeypatch):
    """No templates, Zarr's default keys of chunks, and paths that are absolute."""
    monkeypatch.chdir(movie_paths[0].parent)
    write_references([MovieReader(path.name) for path in movie_paths], tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    assert document.keys() == {"version", "refs"}
    refs = document["refs"]
    assert [refs[f"video/c/{i}/0/0/0"][0] for i in (0, 3, 7)] == [path.as_uri() for path in movie_paths]
    encoding = json.loads(refs["video/zarr.json"])["chunk_key_encoding"]
    assert encoding == {"name": "default", "configuration": {"separator": "/"}}


def test_a_shorter_parquet_replaces_a_longer_one(movie_path, movie_paths, tmp_path, monkeypatch):
    monkeypatch.setattr(references, "RECORD_SIZE", 5)
    target = tmp_path / "a.parquet"
    write_references(MovieReader(movie_path), target)
    write_references(MovieReader(movie_paths[0]), target)
    assert len(list(target.glob("video/*.parq"))) == 1
    xr.testing.assert_identical(open_parquet(target).video.load(), open_movie(movie_paths[0]).load())
    (tmp_path / "table.parquet").mkdir()
    (tmp_path / "table.parquet/part.0.parquet").touch()
    with pytest.raises(FileExistsError, match=r"has no \.zmetadata"):
        write_references(MovieReader(movie_path), tmp_path / "table.parquet")


def test_columns_of_parquet_have_types(movie_paths, tmp_path):
    write_references(MovieReader(movie_paths[0]), tmp_path / "a.parquet")
    files = sorted((tmp_path / "a.parquet").glob("*/*.parq"))
    assert len(files) > 3
    for path in files:
        schema = pyarrow.parquet.read_schema(path)
        assert str(schema.field("raw").type) == "binary"


def test_chains_are_refused(movie_path, tmp_path):
    with pytest.raises(ValueError, match="cannot be used for movies"):
        write_references(MovieReader(f"simplecache::file://{movie_path}"), tmp_path / "a.json")


@pytest.mark.parametrize("suffix", OPENERS)
def test_25_000_frames_take_little(sparse_path, tmp_path, suffix):
    target = tmp_path / f"movie{suffix}"
    write_references(MovieReader(sparse_path), target)
    files = [target] if suffix == ".json" else [*target.glob("**/*.parq"), target / ".zmetadata"]
    n_bytes = sum(path.stat().st_size for path in files)
    assert n_bytes < (len(sparse_path.as_uri()) + 70 if suffix == ".json" else 25) * 25_000
    movie = OPENERS[suffix](target).video
    assert movie.shape == (25_000, 1080, 1920, 3)
    assert np.array_equal(movie[7200], open_movie(sparse_path)[7200])


def test_workers_of_a_cluster_read_them(movie_path, tmp_path, movie_by_libav):
    write_references(MovieReader(movie_path), tmp_path / "a.json", pix_fmt="gray10le")
    with running_cluster(n_workers=1, n_threads=2, set_as_default=True):
        movie = open_json(tmp_path / "a.json").video
        assert np.array_equal(movie.max("time").compute(), movie_by_libav.luma().max(axis=0))


@pytest.mark.parametrize("of", [str, Path, open_movie])
def test_what_is_no_reader_is_told(movie_paths, tmp_path, of):
    movie = of(movie_paths[0])
    message = f"expected a MovieReader, not {type(movie).__name__}; use MovieReader\\(url\\)"
    for write in (
        lambda: write_references(movie, tmp_path / "r.json"),
        lambda: write_references([movie], tmp_path / "r.json"),
        lambda: write_samples(movie, slice(2), tmp_path / "s.zarr"),
        lambda: write_clip(movie, slice(2), tmp_path / "clip.mov"),
        lambda: write_clip(movie, slice(2), tmp_path / "clip.gif"),
    ):
        with pytest.raises(TypeError, match=message):
            write()
    assert list(tmp_path.iterdir()) == []


def test_parquet_needs_pyarrow(movie_paths, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'camhd_access\[parquet\]'"):
        write_references(MovieReader(movie_paths[0]), tmp_path / "r.parquet")
