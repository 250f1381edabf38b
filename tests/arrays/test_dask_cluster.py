"""A real dask cluster of several processes: the same pixels, and errors that unpickle."""

import os

import numpy as np
import pytest
import xarray as xr
from clusters import running_cluster
from origin import stalls

from camhd_access import FrameDecodeError, MovieReader, RemoteFileChangedError, open_movie
from camhd_access.synthetic import serve_folder, write_movie


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes of one thread each."""
    with running_cluster(set_as_default=True) as client:
        yield client


@pytest.fixture(params=["path", "http", "cached"])
def address(request, movie_path, movie_url):
    """Arguments that open the movie in each way."""
    return (
        movie_path if request.param == "path" else movie_url,
        {"cache": request.param == "cached"},
    )


def test_the_mean_over_time_is_numpys(cluster, address, movie_by_libav):
    movie = open_movie(address[0], pix_fmt="gray10le", chunks=5, **address[1])
    mean = movie.mean("time").compute()
    assert np.array_equal(mean, movie_by_libav.luma().mean(axis=0))


def test_the_frames_come_back_in_order(cluster, address, movie_by_libav):
    movie = open_movie(address[0], frames=[39, 3, 20, 3], pix_fmt="gray10le", chunks=1, **address[1])
    assert np.array_equal(movie, movie_by_libav.luma([39, 3, 20, 3]))
    assert np.array_equal(movie[1:3, 33:66, 7::9], movie_by_libav.luma([3, 20])[:, 33:66, 7::9])


def test_both_workers_read(cluster, movie_path):
    movie = open_movie(movie_path, pix_fmt="gray", chunks=1)
    who = movie.data.map_blocks(lambda block: np.full_like(block, os.getpid() % 251), dtype="u1")
    pids = set(cluster.run(os.getpid).values())
    assert len(pids) == 2
    assert set(np.unique(who.compute())) <= {pid % 251 for pid in pids}


def test_the_engine_in_chunks(cluster, movie_path, movie_by_libav):
    with xr.open_dataset(movie_path, engine="camhd", chunks={}, pix_fmt="gray10le") as dataset:
        assert np.array_equal(dataset.video.max("time"), movie_by_libav.luma().max(axis=0))


def test_without_dask_arrays_travel_whole(cluster, movie_path, movie_by_libav):
    movie = open_movie(movie_path, pix_fmt="gray10le", chunks=None)
    future = cluster.submit(lambda array: array[7].to_numpy(), movie)
    assert np.array_equal(future.result(60), movie_by_libav.luma()[7])


def test_readers_travel(cluster, address, movie_by_libav):
    reader = MovieReader(address[0], **address[1])
    futures = cluster.map(lambda i, reader: reader.read(i, pix_fmt="gray10le"), range(6), reader=reader)
    frames = np.concatenate(cluster.gather(futures))
    assert np.array_equal(frames, movie_by_libav.luma()[:6])


def test_a_damaged_frame_is_named_across_processes(cluster, movie_path, tmp_path, movie_by_libav):
    path = tmp_path / "a.mov"
    path.write_bytes(movie_path.read_bytes())
    with path.open("r+b") as file:
        file.seek(int(MovieReader(path).index.offset[17]) + 4000)
        file.write(bytes(3000))
    movie = open_movie(path, pix_fmt="gray10le", chunks=4)
    with pytest.raises(FrameDecodeError, match=rf"frame 17 of {path}"):
        movie.compute()
    assert np.array_equal(movie[18:], movie_by_libav.luma()[18:])


@pytest.mark.parametrize("where", ["path", "http"])
def test_a_replaced_file_is_noticed_by_the_workers(cluster, tmp_path, where):
    write_movie(tmp_path / "a.mov", n_frames=8, width=256, height=64)
    with serve_folder(tmp_path) as server:
        urlpath = tmp_path / "a.mov" if where == "path" else server.url + "a.mov"
        movie = open_movie(urlpath, chunks=2, cache=False)
        reader = MovieReader(urlpath, cache=False)
        movie.compute()
        write_movie(tmp_path / "b.mov", n_frames=9, width=256, height=64)
        (tmp_path / "b.mov").replace(tmp_path / "a.mov")
        with pytest.raises(RemoteFileChangedError, match=r"a\.mov"):
            movie[::2].compute()
        with pytest.raises(RemoteFileChangedError, match=r"a\.mov"):
            cluster.submit(lambda reader: reader.read(0), reader).result(60)


def test_a_cancelled_task_frees_its_connections(cluster, origin, movie_path):
    """A worker cannot stop a running task; its request ends by itself, and so does its connection."""
    url = origin.put(f"/{movie_path.name}", movie_path.read_bytes())
    quick = {"stall_timeout_seconds": 0.3, "deadline_seconds": 1.0, "tries": 2}
    movie = open_movie(url, chunks=1, cache=False, storage_options=quick)
    origin.play(f"/{movie_path.name}", stalls, always=True)
    n_open = origin.n_open
    future = cluster.compute(movie[:2])
    assert origin.wait_until(lambda o: o.n_open > n_open, 30)
    future.cancel()
    workers = list(cluster.scheduler_info()["workers"])
    free = [cluster.submit(sum, [1, 2], workers=[w], pure=False) for w in workers]
    assert cluster.gather(free) == [3, 3]  # each worker has ended what it could not stop
    assert origin.wait_until(lambda o: o.n_open <= n_open, 30)
    assert len(origin.requests) <= 1 + 2 * quick["tries"]  # the index, and each task's tries
