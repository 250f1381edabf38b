"""Other ways to the same bytes: obstore as the transport, and UPath objects in place of URLs."""

import numpy as np
import pytest
import xarray as xr
from upath import UPath

import camhd_access
from camhd_access import MovieReader, open_archive, open_movie, open_movies, open_timelapse

OBSTORE = {"transport": "obstore"}
FRAMES = [3, 30, 4]


@pytest.mark.parametrize("cache", [True, False])
def test_obstore_reads_the_same(movie_url, movie_path, cache):
    reader = MovieReader(movie_url, cache=cache, storage_options=OBSTORE)
    expected = MovieReader(movie_path)
    assert reader.n_frames == expected.n_frames
    assert np.array_equal(reader.index.offset, expected.index.offset)
    assert np.array_equal(reader.read(FRAMES), expected.read(FRAMES))
    corner = {"y": slice(16, 40), "x": slice(32, 80)}
    assert np.array_equal(reader.read(FRAMES, **corner), expected.read(FRAMES, **corner))


def test_obstore_reads_the_same_lazily(movie_url, movie_path):
    movie = open_movie(movie_url, cache=False, storage_options=OBSTORE)
    assert np.array_equal(movie[::10].values, open_movie(movie_path)[::10].values)


def test_obstore_reads_a_bucket(s3, movie_path):
    bucket = s3.bucket()
    UPath(f"s3://{bucket}/m.mov", **s3.options).write_bytes(movie_path.read_bytes())
    options = {
        "transport": "obstore",
        "config": {
            "access_key_id": "test",
            "secret_access_key": "test",
            "endpoint": s3.url,
            "region": "us-east-1",
        },
        "client_options": {"allow_http": True},
    }
    reader = MovieReader(f"s3://{bucket}/m.mov", storage_options=options)
    assert np.array_equal(reader.read(FRAMES), MovieReader(movie_path).read(FRAMES))


def test_an_unknown_transport_is_refused(movie_url):
    with pytest.raises(ValueError, match="transport is \"obstore\" or left out, not 'curl'"):
        MovieReader(movie_url, storage_options={"transport": "curl"})
    with pytest.raises(ValueError, match="the transport obstore is for abfs://"):
        MovieReader("ftp://host/m.mov", storage_options=OBSTORE)


@pytest.fixture(params=["http", "memory", "file"])
def place(request, movie_url, movie_path):
    """The movie as a UPath."""
    if request.param == "http":
        return UPath(movie_url)
    if request.param == "file":
        return UPath(f"file://{movie_path}")
    path = UPath(f"memory://folder/{movie_path.name}")
    path.write_bytes(movie_path.read_bytes())
    return path


def test_a_upath_is_as_good_as_a_url(place, movie_path):
    expected = MovieReader(movie_path).read(FRAMES)
    assert np.array_equal(MovieReader(place).read(FRAMES), expected)
    assert np.array_equal(open_movie(place)[FRAMES].values, expected)
    assert np.array_equal(open_movies([place])[FRAMES].values, expected)
    assert np.array_equal(open_timelapse([place], frame=3).values, expected[:1])
    assert [path.rpartition("/")[2] for path in open_archive(place.parent).movies()] == [place.name]


def test_a_upath_keeps_its_options(s3, movie_path, tmp_path):
    folder = UPath(f"s3://{s3.bucket()}/2016", **s3.options)
    (folder / movie_path.name).write_bytes(movie_path.read_bytes())
    place = folder / movie_path.name
    expected = MovieReader(movie_path).read(FRAMES)
    assert np.array_equal(MovieReader(place).read(FRAMES), expected)
    assert np.array_equal(open_movies([place]).values[FRAMES], expected)
    assert len(open_archive(folder).movies()) == 1
    camhd_access.write_references(MovieReader(place), folder / "m.json")
    assert b"refs" in (folder / "m.json").read_bytes()
    camhd_access.write_samples(MovieReader(place), slice(2), folder / "kept.zarr", progress=False)
    assert (folder / "kept.zarr" / "zarr.json").exists()
    camhd_access.write_clip(MovieReader(place), slice(2), folder / "clip.mov")
    assert MovieReader(folder / "clip.mov").n_frames == 2


def test_the_engine_opens_a_upath(place, movie_path):
    with xr.open_dataset(place, engine="camhd") as dataset:
        assert np.array_equal(dataset.video[3].values, MovieReader(movie_path).read(3)[0])
    assert xr.backends.list_engines()["camhd"].guess_can_open(place)
