"""Pickles of stacks: the same tables again, in about two bytes a frame."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import unpickle

from camhd_access import MovieReader
from camhd_access.movie.packed_frames import (
    MIN_FRAMES_PACKED,
    pack_frames,
    pack_numbers,
    unpack_frames,
    unpack_numbers,
)

TABLES = ("frames", "field", "sample_offset", "sample_size")

numbers = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300) | st.integers(-(2**40), 2**40)


def assert_same(found, expected):
    for name in TABLES:
        assert getattr(found, name).dtype == getattr(expected, name).dtype
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name in ("source", "decoder", "window"):
        assert getattr(found, name) == getattr(expected, name)
    assert type(found) is type(expected)


@given(st.lists(numbers, min_size=1, max_size=40))
def test_numbers_come_back(values):
    table = np.array(values, np.int64)
    found = unpack_numbers(pack_numbers(table))
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, table)


@given(st.lists(st.tuples(numbers, st.integers(-128, 127), numbers, numbers), min_size=1, max_size=40))
def test_any_tables_come_back(rows):
    rows = [row for row in rows for _ in range(1 + row[1] % 2)]
    columns = zip(*rows, strict=True)
    tables = [np.array(column, d) for column, d in zip(columns, ("i8", "i1", "i8", "i8"), strict=True)]
    for found, table in zip(unpack_frames(pack_frames(*tables)), tables, strict=True):
        assert found.dtype == table.dtype
        np.testing.assert_array_equal(found, table)


@pytest.mark.parametrize(
    ("options", "chosen", "n_bytes"),
    [
        ({}, slice(None), 2.1),
        ({"fields": True}, slice(None), 2.1),  # of two images each
        ({}, slice(None, None, -1), 4.5),  # gaps of varied length
        ({}, slice(None, None, 10), 5.5),
        ({"pix_fmt": "gray", "reduce": 4}, slice(None), 2.1),
    ],
)
def test_a_whole_movie_takes_two_bytes_a_frame(sparse_path, options, chosen, n_bytes):
    stack = MovieReader(sparse_path).stack(**options).select(chosen)
    pickled = pickle.dumps(stack)
    assert_same(unpickle(pickled), stack)
    assert len(pickled) < n_bytes * len(np.unique(stack.frames)) + 1500


@pytest.mark.parametrize("n", [0, 1, MIN_FRAMES_PACKED - 1, MIN_FRAMES_PACKED, MIN_FRAMES_PACKED + 1])
def test_stacks_of_any_length_come_back(sparse_path, n):
    stack = MovieReader(sparse_path).stack().select(slice(7000, 7000 + n)).crop(slice(8, 16), slice(0, 32))
    assert_same(unpickle(pickle.dumps(stack)), stack)
