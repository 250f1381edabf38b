"""Movies in object stores, by filesystems that are not ours: readers, Zarr, catalogues and clips.

Each of them, with and without the cache, and by the real API on loopback: S3 by s3fs and by obstore, Azure by
adlfs. Filesystems that are not ours know no positions from the end: none is handed to them.
"""

from inspect import signature

import fsspec
import numpy as np
import pytest
import xarray as xr
from fsspec.registry import _registry

from camhd_access import (
    MovieReader,
    RemoteFileChangedError,
    open_archive,
    open_movie,
    read_catalog,
    write_catalog,
    write_clip,
)
from camhd_access.arrays.zarr import MovieStore

pytestmark = pytest.mark.filterwarnings(
    "ignore:Sending a large body directly:ResourceWarning"  # which adlfs does when it writes
)

FRAMES = [3, 4, 5, 30]
BOTH = pytest.mark.parametrize("cache", [False, True], ids=["direct", "cached"])


@pytest.fixture
def by_s3fs(s3):
    return f"s3://{s3.bucket()}", s3.options


@pytest.fixture
def by_obstore(s3, monkeypatch):
    from obstore.fsspec import FsspecStore

    class S3Store(FsspecStore):
        protocol = "s3"

    bucket = s3.bucket()
    monkeypatch.setitem(_registry, "s3", S3Store)  # as `obstore.fsspec.register("s3")`
    options = {
        "access_key_id": "test",
        "secret_access_key": "test",
        "endpoint": s3.url,
        "region": "us-east-1",
    }
    yield f"s3://{bucket}", options | {"client_options": {"allow_http": True}}
    S3Store.clear_instance_cache()


@pytest.fixture
def by_adlfs(azure):
    return f"abfs://{azure.container()}", azure.options


@pytest.fixture(params=["by_s3fs", "by_obstore", "by_adlfs"])
def place(request, monkeypatch):
    """URL of a bucket, and the options of its filesystem, which is handed no position from the end."""
    url, options = request.getfixturevalue(request.param)
    cls = fsspec.get_filesystem_class(url.partition(":")[0])
    for name in ("_cat_file", "_cat_ranges"):
        monkeypatch.setattr(cls, name, refusing(getattr(cls, name)))
    return url, options


def refusing(method):
    async def call(*args, **options):
        given = signature(method).bind(*args, **options).arguments
        for name in {"start", "end", "starts", "ends"} & given.keys():
            numbers = given[name] if isinstance(given[name], list) else [given[name]]
            assert not [number for number in numbers if number is not None and number < 0]
        return await method(*args, **options)

    return call


@pytest.fixture
def movie(place, movie_path):
    """URL of a movie there, in folders as the archive has them, and the options."""
    url, options = place
    url = f"{url}/2016/11/13/{movie_path.name}"
    filesystem, path = fsspec.core.url_to_fs(url, **options)
    filesystem.put_file(str(movie_path), path)
    type(filesystem).clear_instance_cache()  # it may know the file from writing it
    return url, {"storage_options": options}


@BOTH
def test_readers(movie, movie_path, cache):
    url, options = movie
    reader = MovieReader(url, cache=cache, **options)
    expected = MovieReader(movie_path).read(FRAMES)
    np.testing.assert_array_equal(reader.read(FRAMES), expected)
    np.testing.assert_array_equal(reader.read(FRAMES, y=slice(0, 16)), expected[:, :16])
    array = open_movie(url, frames=FRAMES, cache=cache, **options)
    np.testing.assert_array_equal(array, expected)


@BOTH
def test_zarr(movie, movie_path, cache):
    url, options = movie
    dataset = xr.open_zarr(MovieStore(url, cache=cache, **options), chunks=None)
    np.testing.assert_array_equal(dataset.video[3:6], MovieReader(movie_path).read([3, 4, 5]))


def test_catalogues(movie, movie_path):
    url, options = movie
    root = url.partition("2016")[0].rstrip("/")
    catalog = open_archive(root, **options).catalog(index=True, progress=False)
    assert catalog.n_frames.tolist() == [40]
    assert catalog.file_size.tolist() == [movie_path.stat().st_size]
    for name in ("c.jsonl", "c.parquet"):
        write_catalog(catalog, f"{root}/{name}", **options)
        assert read_catalog(f"{root}/{name}", **options).equals(catalog)


@BOTH
def test_clips(movie, movie_path, tmp_path, cache):
    url, options = movie
    write_clip(MovieReader(url, cache=cache, **options), range(3, 9), tmp_path / "clip.mov")
    there = url.replace(movie_path.name, "clip.mov")
    with fsspec.open(there, "wb", **options["storage_options"]) as file:
        write_clip(MovieReader(movie_path), range(3, 9), file)
    expected = MovieReader(movie_path).read(range(3, 9))
    for clip in (MovieReader(tmp_path / "clip.mov"), MovieReader(there, cache=cache, **options)):
        np.testing.assert_array_equal(clip.read(slice(None)), expected)


@BOTH
@pytest.mark.parametrize(
    "read",
    [
        lambda reader: reader.read(15),
        lambda reader: reader.read([20, 25, 30]),
        lambda reader: reader.read(range(20, 35)),
        lambda reader: reader.read([20, 30], y=slice(0, 16)),
        lambda reader: reader.source.check(),
    ],
    ids=["one frame", "frames apart", "a stretch", "crops", "check"],
)
def test_an_object_that_is_replaced_is_never_mixed_in(movie, movie_path, cache, read):
    url, options = movie
    reader = MovieReader(url, cache=cache, **options)
    reader.read(FRAMES[0])
    data = bytearray(movie_path.read_bytes())
    data[int(reader.index.offset[10] + reader.index.size[10]) - 1] ^= 1  # no other frame, nor the index
    filesystem, path = fsspec.core.url_to_fs(url, skip_instance_cache=True, **options["storage_options"])
    filesystem.pipe_file(path, bytes(data))
    for _ in range(2):
        with pytest.raises(RemoteFileChangedError, match=r"CAMHD.*\.mov.* was replaced"):
            read(reader)
    anew = MovieReader(url, cache=cache, **options)
    assert anew.source.version != reader.source.version
    np.testing.assert_array_equal(anew.read(FRAMES), MovieReader(movie_path).read(FRAMES))


def test_a_movie_that_is_not_there(movie):
    url, options = movie
    with pytest.raises(FileNotFoundError):
        open_movie(url.replace("2016/", "2017/"), **options)
