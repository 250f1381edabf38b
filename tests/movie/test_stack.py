"""`FrameStack`: indexing, crops, parallel reads and errors."""

import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import unpickle

from camhd_access import FrameDecodeError, MovieReader
from camhd_access.movie.outer_index import expand_index, shorten_index, split_positions


@pytest.fixture(scope="module")
def luma(movie_by_libav):
    return movie_by_libav.luma()


@pytest.fixture(scope="module")
def stack(movie_path):
    return MovieReader(movie_path).stack(pix_fmt="gray10le")


def outer(array, index):
    """`array[index]`, each axis indexed independently."""
    indices = expand_index(index, array.ndim)
    for axis in reversed(range(array.ndim)):
        array = array[(slice(None),) * axis + (indices[axis],)]
    return array


def axis_indices(length):
    bound = st.one_of(st.none(), st.integers(-length - 2, length + 2))
    numbers = st.integers(-length, length - 1)
    return st.one_of(
        numbers,
        numbers.map(np.int64),
        st.builds(slice, bound, bound, st.sampled_from([None, 1, 3, -1, -4])),
        st.lists(numbers, max_size=4).map(lambda many: np.array(many, int)),
        st.just(Ellipsis),
    )


@settings(max_examples=80, deadline=None)
@given(st.tuples(axis_indices(40), axis_indices(192), axis_indices(320)), st.integers(0, 3))
def test_indexing_is_numpys_axis_by_axis(stack, luma, index, n_axes):
    index = index[:n_axes]
    first = next((i for i, item in enumerate(index) if item is Ellipsis), None)
    index = tuple(slice(None) if item is Ellipsis and i != first else item for i, item in enumerate(index))
    for found in (stack[index], stack.read_part(index)):
        expected = outer(luma, index)
        assert found.shape == expected.shape
        assert found.dtype == np.uint16
        assert np.array_equal(found, expected)


@given(st.lists(st.integers(0, 50), max_size=6) | st.integers(0, 50))
def test_positions_are_split_into_stretch_and_index(positions):
    positions = np.array(positions, int)
    stretch, inner = split_positions(positions)
    axis = np.arange(51)
    assert np.array_equal(axis[stretch][inner], positions)
    assert np.array_equal(axis[shorten_index(positions)], positions)
    assert stretch.stop - stretch.start == (np.ptp(positions) + 1 if positions.size else 0)


@pytest.mark.parametrize(
    ("positions", "index"),
    [
        (5, 5),
        ([5], slice(5, 6, 1)),
        ([5, 6, 7], slice(5, 8, 1)),
        ([0, 7, 14], slice(0, 21, 7)),
        ([9, 6, 3], slice(9, 0, -3)),
        ([2, 1, 0], slice(2, None, -1)),
        ([], slice(0, 0)),
    ],
)
def test_even_steps_are_slices(positions, index):
    assert shorten_index(np.array(positions, int)) == index


@pytest.mark.parametrize("positions", [[3, 3], [1, 2, 4]])
def test_other_steps_are_not(positions):
    assert shorten_index(np.array(positions)).tolist() == positions


@pytest.mark.parametrize("index", [(0, 0, 0, 0), 40, -41, (0, 192), (slice(None), slice(None), [320])])
def test_indices_outside(stack, index):
    with pytest.raises(IndexError):
        stack[index]


def test_narrowing_reads_nothing_and_adds_up(stack, luma):
    narrow = stack.select(slice(5, 30, 5)).crop(slice(33, 90), slice(7, 200)).select(np.array([4, 1]))
    narrow = narrow.crop(slice(1, 3), slice(2, 9))
    assert narrow.shape == (2, 2, 7)
    assert narrow.frames.tolist() == [25, 10]
    assert np.array_equal(narrow.read(), luma[[25, 10], 34:36, 9:16])


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("frames", [slice(None), [7], [3, 3, 39, 0], []], ids=str)
def test_reading_fills_what_it_is_given(stack, luma, frames, parallel):
    some = stack.select(np.array(frames, int) if isinstance(frames, list) else frames)
    out = np.zeros(some.shape, some.dtype)
    assert some.read(parallel=parallel, out=out) is out
    assert np.array_equal(out, luma[frames])


@pytest.mark.parametrize("parallel", [False, True])
def test_a_sample_that_was_fetched_by_others(movie_path, luma, parallel):
    reader = MovieReader(movie_path)
    (sample,) = reader.read_encoded([7])
    stack = reader.stack([7], pix_fmt="gray10le")
    assert np.array_equal(stack.decode(sample, parallel=parallel), luma[7])
    part = stack.crop(slice(30, 90), slice(17, 300))
    assert np.array_equal(part.decode(sample, parallel=parallel), luma[7, 30:90, 17:300])
    with pytest.raises(FrameDecodeError, match=f"frame 7 of {movie_path}"):
        stack.decode(sample[: len(sample) // 2], parallel=parallel)


def test_into_a_part_of_an_array(stack, luma):
    whole = np.zeros((5, 192, 400), np.uint16)
    stack.select(slice(0, 5)).read(out=whole[:, :, 40:360])
    assert np.array_equal(whole[:, :, 40:360], luma[:5])
    assert not whole[:, :, :40].any()


def test_samples_come_by_offset_with_their_positions(stack, movie_by_libav):
    some = stack.select(np.array([30, 2, 30, 11]))
    samples = {position: bytes(sample) for position, sample in some.iter_samples()}
    assert samples == {i: movie_by_libav.packets[n] for i, n in enumerate([30, 2, 30, 11])}


def test_the_part_that_a_task_needs_is_small(stack):
    part = stack.select(slice(0, 11))
    assert len(pickle.dumps(part)) < 1500
    assert np.array_equal(unpickle(pickle.dumps(part))[3], stack[3])


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("n_damaged", [1, 10])
def test_damage_is_named_and_does_not_last(movie_path, luma, tmp_path, parallel, n_damaged):
    path = tmp_path / "a.mov"
    path.write_bytes(movie_path.read_bytes())
    index = MovieReader(path).index
    with path.open("r+b") as file:
        for frame in range(20, 20 + n_damaged):
            file.seek(int(index.offset[frame]) + 4000)
            file.write(bytes(1500))
    damaged = MovieReader(path).stack(pix_fmt="gray10le")
    for _ in range(3):
        with pytest.raises(FrameDecodeError, match=rf"frame 2\d of {path} \(bytes \d+ to \d+\) is damaged: "):
            damaged.read(parallel=parallel)
        assert np.array_equal(damaged.select(slice(0, 20)).read(parallel=parallel), luma[:20])


def test_the_frame_named_is_that_of_the_movie(movie_path, tmp_path):
    path = tmp_path / "a.mov"
    path.write_bytes(movie_path.read_bytes())
    start = int(MovieReader(path).index.offset[20])
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(100))
    narrow = MovieReader(path).stack([39, 20]).crop(slice(0, 5), slice(0, 5))
    with pytest.raises(FrameDecodeError, match=rf"frame 20 .*bytes {start} to"):
        narrow.read()


def test_a_failed_read_leaves_nothing_under_way(movie_path, tmp_path, monkeypatch):
    monkeypatch.setattr("camhd_access.storage.source.MAX_SPAN_BYTES", 1)  # a fetch for each frame
    index = MovieReader(movie_path).index
    data = bytearray(movie_path.read_bytes())
    data[index.offset[0] + 4 : index.offset[0] + 8] = b"xxxx"
    damaged = tmp_path / "damaged.mov"
    damaged.write_bytes(data)
    stack = MovieReader(damaged).stack()
    for parallel in (False, True):
        with pytest.raises(FrameDecodeError) as kept:
            stack.read(parallel=parallel)
        assert kept.value.__traceback__ is not None  # holds the frames of the read
        assert not [t for t in threading.enumerate() if t.name.startswith("camhd-fetch")]
