"""Arrays whose memory is used again, or returned: only when nothing refers to it any more."""

import gc
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest

from camhd_access import memory
from camhd_access.memory import MAX_BYTES_KEPT, MIN_BYTES, empty, zeros

pytestmark = pytest.mark.pure

N = 2 * MIN_BYTES


@pytest.fixture(autouse=True)
def pool(monkeypatch):
    """A pool of each test's own."""
    monkeypatch.setattr(memory, "_pool", memory._Pool())
    return memory._pool


def address(array):
    return array.__array_interface__["data"][0]


def resident_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


def n_kept(pool):
    pool._sort_in()
    return sum(map(len, pool._blocks))


def test_memory_is_used_again():
    array = empty((2, N // 4), "u2")
    array[...] = 7
    before = address(array)
    del array
    again = empty((N,), "u1")
    assert address(again) == before
    assert again.flags.carray  # contiguous, aligned and writeable


@pytest.mark.parametrize(
    "view_of",
    [
        lambda array: array[1],
        lambda array: array.reshape(-1)[::2],
        lambda array: array.view("u1"),
        lambda array: array.T,
        memoryview,
        lambda array: np.asarray(memoryview(array[1:])),
        lambda array: np.ma.MaskedArray(array, False),
        lambda array: [iter(array)],
    ],
)
def test_not_while_anything_refers_to_it(view_of):
    array = empty((2, N // 2), "u2")
    array[...] = np.arange(N // 2)
    before, view = address(array), view_of(array)
    del array
    gc.collect()
    others = [empty((2, N // 2), "u2") for _ in range(3)]
    assert before not in map(address, others)
    del view
    gc.collect()
    assert address(empty((2, N // 2), "u2")) == before


def test_not_for_a_much_smaller_array():
    before = address(empty((2 * N,), "u1"))
    assert address(empty((N,), "u1")) != before
    assert address(empty((2 * N - 1000,), "u1")) == before


def test_what_waits_is_bounded(pool):
    arrays = [empty((MAX_BYTES_KEPT // 4,), "u1") for _ in range(10)]
    assert n_kept(pool) == 0
    del arrays
    assert n_kept(pool) == MAX_BYTES_KEPT
    empty((MAX_BYTES_KEPT + 1,), "u1")
    assert n_kept(pool) == 0  # it would take all the room, and more


def test_small_arrays_are_numpys(pool):
    assert empty((3, 4), "u2").base is None
    assert empty((0, 5), "u1").shape == (0, 5)
    assert n_kept(pool) == 0


def test_arrays_of_several_threads_never_share():
    wrong = []

    def work(number):
        for _ in range(200):
            array = empty((N // 2,), "u2")
            array[:: N // 64] = number
            if (array[:: N // 64] != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_memory_is_used_again_in_a_process_that_was_forked_while_a_thread_sorted_it(monkeypatch):
    monkeypatch.undo()
    with memory._pool._lock:
        child = os.fork()
        if not child:
            try:
                before = address(empty((N,), "u1"))
                os._exit(0 if address(empty((N,), "u1")) == before else 1)
            finally:
                os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_they_pickle_and_copy():
    array = empty((N,), "u1")
    array[...] = 5
    for other in (pickle.loads(pickle.dumps(array)), array.copy()):  # noqa: S301 - our own bytes
        assert (other == 5).all()
        assert not np.shares_memory(other, array)


def test_memory_of_zeros_is_returned_with_the_last_view():
    n_bytes = 256 << 20
    array = zeros((2, n_bytes // 4), "u2")
    assert not array.any()
    assert array.flags.carray
    array[...] = 7
    view = array[1, ::2]
    del array
    assert (view == 7).all()
    held = resident_bytes()
    del view
    assert resident_bytes() < held - n_bytes // 2


def test_few_zeros_are_numpys():
    array = zeros((3, 4), "u2")
    assert array.base is None
    assert not array.any()
    assert zeros((0, 5), "u1").shape == (0, 5)
