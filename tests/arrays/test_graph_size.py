"""Graphs of many whole movies, as they are sent to a cluster: about two bytes a frame."""

import pickle
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from oracle import unpickle

from camhd_access import MovieReader, open_movie
from camhd_access.arrays.dask_array import StackArray
from camhd_access.movie.series import FrameSeries

N_MOVIES = 5
N_FRAMES = 25_000
TABLES = ("frames", "field", "sample_offset", "sample_size")


@pytest.fixture(scope="module")
def movies(sparse_path):
    """Movies of full length at different places, with the same index."""
    stack = MovieReader(sparse_path).stack()
    return [replace(stack, source=replace(stack.source, path=f"/archive/{i}.mov")) for i in range(N_MOVIES)]


@pytest.fixture(scope="module")
def run(movies):
    series = FrameSeries.of(movies)
    return StackArray.cut(series, (11, *series.shape[1:]))


def graph_of(array):
    return pickle.dumps(array.__dask_graph__())


def assert_same_part(found, expected):
    assert found.index == expected.index
    for one, other in zip(found.stack.stacks, expected.stack.stacks, strict=True):
        assert (one.source, one.decoder, one.window) == (other.source, other.decoder, other.window)
        for name in TABLES:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_the_graph_of_whole_movies_is_small(run):
    budget = 5_000_000 / 96 * N_MOVIES  # 5 MB for 96 movies
    assert len(graph_of(run)) < budget
    assert len(pickle.dumps(run)) < budget + 2.1 * run.npartitions  # and the lengths of the dask chunks
    assert len(graph_of(run.mean(axis=0))) < budget + 40 * run.npartitions  # and dask's reduction
    assert unpickle(pickle.dumps(run)).name == run.name


@pytest.mark.parametrize("block", [0, 1, 2272, 2273, -1])
def test_tasks_of_an_unpickled_graph_are_the_same(run, block):
    tasks = unpickle(pickle.dumps(run.tasks))
    block %= run.npartitions
    part = run.tasks[block, 0, 0, 0]
    assert_same_part(tasks[block, 0, 0, 0], part)
    start = 11 * block
    frames = [int(n) for stack in part.stack.stacks for n in stack.frames]
    assert frames == [n % N_FRAMES for n in range(start, min(start + 11, N_FRAMES * N_MOVIES))]
    movies = [stack.source.path for stack in part.stack.stacks for _ in stack.frames]
    assert movies == [f"/archive/{n // N_FRAMES}.mov" for n in range(start, start + len(frames))]
    assert len(pickle.dumps(part)) < 2000


def test_a_selection_carries_its_own_frames_only(run, sparse_path):
    assert len(graph_of(run[::100])) < 6 * len(run) // 100 + 10_000
    assert len(graph_of(run[70_000])) < 3000
    assert len(graph_of(open_movie(sparse_path)[7200].data)) < 3000


def test_unpickled_arrays_show_the_same(run):
    for part in (run[::-7, 5, ::3], run[70_000, :64], run[[3, 60_000, 4]], run[:0], run[5:40, ..., 1]):
        copy = unpickle(pickle.dumps(part))
        assert (copy.name, copy.chunks, copy.dtype) == (part.name, part.chunks, part.dtype)
        assert all(map(np.array_equal, copy.shown, part.shown))


def test_a_timelapse_takes_few_bytes_a_movie(movies):
    stacks = [
        replace(movies[0].select(i), source=replace(movies[0].source, path=f"/archive/{i:020}.mov"))
        for i in range(1000)
    ]
    series = FrameSeries.of(stacks)
    lapse = StackArray.cut(series, (8, *series.shape[1:]))
    assert len(graph_of(lapse)) < 5_000_000 / 9441 * len(stacks)  # 5 MB for 9,441 movies


def test_names_tell_series_apart(movies):
    def name(stacks):
        series = FrameSeries.of(stacks)
        return StackArray.cut(series, (11, *series.shape[1:])).name

    first, second, *_ = (movie.select(slice(3)) for movie in movies)
    versions = replace(second, source=replace(second.source, version="another"))
    others = [
        [first, second],
        [second, first],
        [first, versions],
        [first, second.select([0, 2, 1])],
        [first.select(slice(2)), second],
        [first.crop(slice(0, 8), slice(0, 8)), second.crop(slice(0, 8), slice(0, 8))],
        [first.crop(slice(8, 16), slice(0, 8)), second.crop(slice(8, 16), slice(0, 8))],
        [first, replace(second, field=second.field + np.int8(1))],
        [first, replace(second, decoder=replace(second.decoder, track_matrix=9))],
    ]
    assert len({name(stacks) for stacks in others}) == len(others)
    assert name([first, second]) == name([first, second])


def test_notebooks_draw_graphs_of_any_length(run):
    assert "<svg" in run[:1000].dask._repr_html_()
    assert isinstance(run, da.Array)
    assert "dask" in run.dask._repr_html_()
