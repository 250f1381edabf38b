"""Samples copied into a Zarr store: the movie's bytes, readable with Zarr and the codec alone."""

import shutil
import subprocess
import sys
import tracemalloc
from itertools import count

import numpy as np
import pytest
import s3fs
import xarray as xr
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ZipStore

from camhd_access import (
    FrameDecodeError,
    FrameIndexError,
    MovieReader,
    RemoteFileError,
    open_movie,
    write_samples,
)
from camhd_access.synthetic import write_movie


@pytest.fixture(params=["path", "url", "memory", "zip"])
def target(request, tmp_path):
    """Targets of the samples, and functions that open them."""
    if request.param == "zip":
        with ZipStore(tmp_path / "kept.zip", mode="w") as store:
            yield store, lambda: ZipStore(tmp_path / "kept.zip")
    elif request.param == "memory":
        store = MemoryStore()
        yield store, lambda: store
    else:
        path = tmp_path / "kept.zarr"
        yield (path if request.param == "path" else path.as_uri()), lambda: path


def open_kept(target):
    written, reopen = target
    if isinstance(written, ZipStore):
        written.close()
    return xr.open_zarr(reopen())


@pytest.mark.parametrize(
    "options", [{}, {"pix_fmt": "gray10le"}, {"fields": True}, {"reduce": 8, "pix_fmt": "gray"}], ids=str
)
def test_what_is_kept_is_the_array_of_open_movie(movie_path, target, options):
    frames = [30, 4, 4, -1, 5]
    write_samples(MovieReader(movie_path), frames, target[0], **options)
    dataset = open_kept(target)
    xr.testing.assert_identical(dataset.video.load(), open_movie(movie_path, frames=frames, **options).load())


def test_samples_are_kept_byte_for_byte(movie_path, tmp_path):
    reader = MovieReader(movie_path)
    write_samples(reader, slice(None, None, 3), tmp_path / "kept.zarr", fields=True)
    kept = [(tmp_path / f"kept.zarr/video/c/{i}/0/0/0").read_bytes() for i in range(14)]
    assert kept == reader.read_encoded(slice(None, None, 3))


def test_frames_may_be_seen_another_way_later(movie_path, tmp_path):
    """Only samples are stored: editing the metadata gives previews of the same frames."""
    write_samples(MovieReader(movie_path), slice(4), tmp_path / "a.zarr", pix_fmt="gray")
    write_samples(MovieReader(movie_path), slice(4), tmp_path / "b.zarr")
    for i in range(4):
        one, other = ((tmp_path / f"{name}.zarr/video/c/{i}/0/0") for name in "ab")
        assert one.read_bytes() == (other / "0").read_bytes()


def test_only_the_samples_are_fetched_and_once(served_movie, movie_url, tmp_path):
    reader = MovieReader(movie_url, cache=False)
    frames = list(range(0, 40, 13))
    plan = reader.plan(frames)
    n_requests, n_bytes = served_movie.n_requests, served_movie.n_bytes_sent
    write_samples(reader, frames, tmp_path / "kept.zarr")
    assert served_movie.n_requests - n_requests == plan.n_requests
    assert served_movie.n_bytes_sent - n_bytes == plan.n_bytes


def test_what_is_there_is_not_touched_unless_told(movie_path, tmp_path):
    reader = MovieReader(movie_path)
    write_samples(reader, slice(4), tmp_path / "kept.zarr")
    with pytest.raises(FileExistsError, match=r"kept\.zarr is not empty; use overwrite=True"):
        write_samples(reader, slice(2), tmp_path / "kept.zarr")
    assert xr.open_zarr(tmp_path / "kept.zarr").sizes["time"] == 4
    write_samples(reader, slice(2), tmp_path / "kept.zarr", overwrite=True)
    assert xr.open_zarr(tmp_path / "kept.zarr").sizes["time"] == 2
    assert not (tmp_path / "kept.zarr/video/c/3").exists()


def test_wrong_frames_write_nothing(movie_path, tmp_path):
    with pytest.raises(FrameIndexError):
        write_samples(MovieReader(movie_path), [40], tmp_path / "kept.zarr")
    with pytest.raises(ValueError, match="pix_fmt"):
        write_samples(MovieReader(movie_path), [4], tmp_path / "kept.zarr", pix_fmt="jpeg")
    assert not (tmp_path / "kept.zarr").exists()


def test_what_was_cut_off_cannot_be_opened(tmp_path):
    path = tmp_path / "a.mov"
    write_movie(path, n_frames=40, width=256, height=64)
    reader = MovieReader(path)
    path.write_bytes(path.read_bytes() + b"\0\0\0\x08free")
    with pytest.raises(RemoteFileError):
        write_samples(reader, slice(None), tmp_path / "kept.zarr")
    with pytest.raises(FileNotFoundError):
        xr.open_zarr(tmp_path / "kept.zarr")


def test_a_sample_that_is_missing_is_an_error_and_not_black(movie_path, tmp_path):
    write_samples(MovieReader(movie_path), slice(4), tmp_path / "kept.zarr")
    (tmp_path / "kept.zarr/video/c/2/0/0/0").unlink()
    movie = xr.open_zarr(tmp_path / "kept.zarr").video
    assert movie[1].mean() > 0
    with pytest.raises(FrameDecodeError, match=r"video/c/2/0/0/0: the sample is missing"):
        movie.load()


def test_memory_does_not_grow_with_the_frames(sparse_path, tmp_path):
    reader = MovieReader(sparse_path)
    n_bytes = reader.index.size[:400].sum()
    tracemalloc.start()
    write_samples(reader, slice(400), tmp_path / "kept.zarr", pix_fmt="gray", progress=False)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    shutil.rmtree(tmp_path / "kept.zarr")
    assert peak_bytes < 100e6 < n_bytes / 2


def test_a_fresh_process_needs_nothing_but_the_import(movie_path, tmp_path):
    write_samples(MovieReader(movie_path), [7], tmp_path / "kept.zarr", pix_fmt="gray10le")
    kept, pixels = str(tmp_path / "kept.zarr"), str(tmp_path / "a.npy")
    program = f"""
import camhd_access.arrays.zarr, numpy, zarr
numpy.save({pixels!r}, zarr.open_group({kept!r}, mode="r")["video"][:])
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    expected = MovieReader(movie_path).read(7, pix_fmt="gray10le")
    assert np.array_equal(np.load(pixels), expected)


def test_into_a_bucket(movie_path, tmp_path, s3):
    name = f"{s3.bucket()}/kept.zarr"
    for overwrite in (False, True):
        write_samples(
            MovieReader(movie_path),
            slice(0, 40, 5),
            f"s3://{name}",
            overwrite=overwrite,
            storage_options=s3.options,
        )
        with pytest.raises(FileExistsError, match=name):
            write_samples(MovieReader(movie_path), 0, f"s3://{name}", storage_options=s3.options)
    s3fs.S3FileSystem(**s3.options).get(name, str(tmp_path / "kept.zarr"), recursive=True)
    movie = open_movie(movie_path, frames=slice(0, 40, 5))
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "kept.zarr").video.load(), movie.load())


class Breaking:
    """A store that fails after `room` changes: the disk is full, the network down or the process killed."""

    room = 1_000

    def use_room(self):
        self.room -= 1
        if self.room < 0:
            raise OSError("broken off")

    async def set(self, key, value, *args, **kwargs):
        self.use_room()
        await super().set(key, value, *args, **kwargs)

    async def delete(self, key):
        self.use_room()
        await super().delete(key)

    async def delete_dir(self, prefix):
        self.use_room()
        await super().delete_dir(prefix)

    async def clear(self):
        self.use_room()
        await super().clear()


@pytest.fixture(scope="module")
def two_movies(tmp_path_factory):
    """Two movies of the same size, with other numbers and another start."""
    folder = tmp_path_factory.mktemp("two")
    for name, day in (("a", "2016-11-13"), ("b", "2016-11-14")):
        start = np.datetime64(f"{day}T00:00:01")
        write_movie(folder / f"{name}.mov", n_frames=5, width=256, height=64, start_time=start, audio=False)
    return [MovieReader(folder / f"{name}.mov") for name in "ab"]


def breaking(kind, tmp_path, s3):
    """A new store that fails when its room is used up."""
    store_class = type("BreakingStore", (Breaking, kind), {})
    if kind is FsspecStore:
        filesystem = AsyncFileSystemWrapper(s3fs.S3FileSystem(**s3.options), asynchronous=True)
        return store_class(filesystem, path=f"{s3.bucket()}/kept.zarr")
    tmp_path.mkdir()
    if kind is ZipStore:
        return store_class(tmp_path / "kept.zip", mode="w")
    return store_class(tmp_path / "kept.zarr") if kind is LocalStore else store_class()


def loaded(store):
    if isinstance(store, ZipStore):
        store.close()
        store = ZipStore(store.path)
    return xr.open_zarr(store, consolidated=False, chunks=None).load()


@pytest.mark.parametrize(
    ("kind", "every"),
    [(LocalStore, 1), (MemoryStore, 1), (ZipStore, 1), (FsspecStore, 4)],
    ids=["folder", "memory", "zip", "s3"],
)
def test_an_interrupted_overwrite_is_all_of_the_old_or_does_not_open(two_movies, tmp_path, s3, kind, every):
    a, b = two_movies
    write_samples(a, [1, 4, 2], old := MemoryStore(), progress=False)
    for room in count(0, every):
        store = breaking(kind, tmp_path / str(room), s3)
        write_samples(a, [1, 4, 2], store, progress=False)
        store.room = room
        try:
            write_samples(b, [3, 0], store, overwrite=True, progress=False)
        except OSError as error:
            assert str(error) == "broken off"  # noqa: PT017 - many steps, each of which may raise
        else:
            break
        if room == 0:
            xr.testing.assert_identical(loaded(store), loaded(old))
        else:
            with pytest.raises(FileNotFoundError):
                loaded(store)
    assert room > 10
    assert np.array_equal(loaded(store).video, b.read([3, 0]))


# ---- decoded pixels


@pytest.mark.filterwarnings("ignore:.*Consolidated metadata")
@pytest.mark.parametrize("chunks", [None, 7])
@pytest.mark.parametrize("options", [{}, {"pix_fmt": "gray10le"}, {"fields": True}], ids=str)
def test_decoded_arrays_are_written_by_xarray_as_they_are(movie_path, tmp_path, options, chunks):
    movie = open_movie(movie_path, chunks=chunks, frames=slice(0, 21), **options)
    movie.to_zarr(tmp_path / "pixels.zarr")
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "pixels.zarr").video.load(), movie.load())
    part = movie[2:7, 10:90, ::2]
    part.to_zarr(tmp_path / "part.zarr")
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "part.zarr").video.load(), part.load())
