"""Samples kept in a Zarr store: the bytes of the movie, and nothing but Zarr and the codec to read them."""

import shutil
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import s3fs
import xarray as xr
from bucket import running_s3
from zarr.storage import MemoryStore, ZipStore

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
    """Where they are written, and what opens it again."""
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
    """The samples are all there is: who edits the description sees previews of the same frames."""
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
    with pytest.raises(FileExistsError, match=r"kept\.zarr; overwrite=True"):
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
    with pytest.raises(FrameDecodeError, match=r"video/c/2/0/0/0: there is no such sample"):
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


def test_into_a_bucket(movie_path, tmp_path):
    with running_s3() as s3:
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
