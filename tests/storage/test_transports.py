"""Other ways to the same bytes: obstore as the transport, and UPath objects in place of URLs."""

from dataclasses import replace
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from origin import honest
from upath import UPath

import camhd_access
from camhd_access import (
    MovieReader,
    RemoteFileChangedError,
    open_archive,
    open_movie,
    open_movies,
    open_timelapse,
)
from camhd_access.movie.rescue import recover_index, write_sidecar
from camhd_access.output.provenance_files import read_provenance

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


@pytest.mark.parametrize("cache", [True, False])
def test_obstore_reads_from_servers_whose_partial_responses_have_no_etag(origin, movie_path, cache):
    url = origin.put("/m.mov", movie_path.read_bytes())

    def without_etag(x):
        if x.request.range:
            x.file = replace(x.file, etag=None)
        return honest(x)

    origin.play("/m.mov", without_etag, always=True)
    reader = MovieReader(url, cache=cache, storage_options=OBSTORE)
    assert np.array_equal(reader.read(FRAMES), MovieReader(movie_path).read(FRAMES))
    origin.put("/m.mov", movie_path.read_bytes(), etag='"v2"')
    with pytest.raises(RemoteFileChangedError):
        reader.read(15)


@pytest.mark.parametrize("cache", [True, False])
def test_a_movie_in_a_zip_file(movie_path, tmp_path, cache):
    with ZipFile(tmp_path / "movies.zip", "w") as movies:
        movies.write(movie_path, "m.mov")
    reader = MovieReader(f"zip://m.mov::{tmp_path}/movies.zip", cache=cache)
    assert np.array_equal(reader.read(FRAMES), MovieReader(movie_path).read(FRAMES))


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
    with pytest.raises(ValueError, match="transport must be \"obstore\" if given, not 'curl'"):
        MovieReader(movie_url, storage_options={"transport": "curl"})
    with pytest.raises(ValueError, match="the transport obstore supports only abfs://"):
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
    assert np.array_equal(open_movies([place])[FRAMES].values, expected)
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


@pytest.fixture(params=["s3", "memory", "file", "local"])
def folder(request, tmp_path):
    """A folder to write to, as a UPath; that of a bucket holds the options without which nobody may."""
    if request.param == "s3":
        bucket = request.getfixturevalue("s3")
        return UPath(f"s3://{bucket.bucket()}/made", **bucket.options)
    if request.param == "memory":
        return UPath(f"memory://{tmp_path.name}")
    return UPath(f"file://{tmp_path}" if request.param == "file" else tmp_path)


@pytest.mark.parametrize("name", ["film.mp4", "film.gif", "one_{frame:03d}.png"])
def test_clips_are_written_to_a_upath(movie_path, folder, tmp_path, name):
    reader = MovieReader(movie_path)
    camhd_access.write_clip(reader, slice(3, 5), folder / name, progress=False)
    (tmp_path / "here").mkdir()
    camhd_access.write_clip(reader, slice(3, 5), tmp_path / "here" / name, progress=False)
    written = folder / name.format(frame=4)
    assert written.read_bytes() == (tmp_path / "here" / written.name).read_bytes()
    assert read_provenance(written).movie == movie_path.stem


def test_films_and_figures_are_written_to_a_upath(movie_path, folder):
    movie = open_movie(movie_path)
    film = movie[3:5].camhd.animate(folder / "animation.mp4", progress=False)
    assert b"ftyp" in (folder / "animation.mp4").read_bytes()[:16]
    assert "animation.mp4" in repr(film)
    figure = movie[3].camhd.imshow().figure
    figure.savefig(folder / "frame.png")
    assert (folder / "frame.png").read_bytes().startswith(b"\x89PNG")
    assert read_provenance(folder / "frame.png").movie == movie_path.stem
    figure.savefig(folder / "frame.svg")
    assert b"<svg" in (folder / "frame.svg").read_bytes()


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_catalogues_are_kept_in_a_upath(movie_path, folder, suffix):
    archive = open_archive(movie_path.parent)
    catalog = archive.catalog(index=True, progress=False, file=folder / f"crawled{suffix}")
    assert len(catalog) == 1
    again = archive.catalog(index=True, progress=False, file=folder / f"crawled{suffix}")
    pd.testing.assert_frame_equal(again.drop(columns="seen"), catalog.drop(columns="seen"))
    camhd_access.write_catalog(again, folder / f"written{suffix}")
    for name in ("crawled", "written"):
        kept = camhd_access.read_catalog(folder / f"{name}{suffix}")
        pd.testing.assert_frame_equal(kept, again)


def test_a_rebuilt_index_is_kept_in_a_upath(movie_path, folder):
    reader = MovieReader(movie_path)
    (folder / "index").mkdir(parents=True, exist_ok=True)
    write_sidecar(folder / "index" / "movie.npz", recover_index(reader.source))
    recovered = MovieReader(movie_path, recover=folder / "index" / "movie.npz")
    assert np.array_equal(recovered.index.offset, reader.index.offset)
