"""The threads that decode: errors, interrupts, forks and limits on memory."""

import os
from contextlib import suppress
from signal import SIGALRM, signal
from threading import Barrier, Event, current_thread, main_thread
from time import sleep

import pytest

from camhd_access.decoding import threads
from camhd_access.decoding.threads import decode_pool, n_cores, share, spreading


@pytest.fixture
def interrupt():
    """A function that interrupts the main thread like Ctrl-C."""

    def stop(*_):
        raise KeyboardInterrupt

    before = signal(SIGALRM, stop)
    yield lambda: os.kill(os.getpid(), SIGALRM)
    signal(SIGALRM, before)


def test_interrupted_work_has_ended_when_the_block_is_left(interrupt):
    ended, is_submitted = [], Event()

    def work():
        is_submitted.wait()
        interrupt()
        sleep(0.5)
        ended.append(True)

    with suppress(KeyboardInterrupt), spreading(parallel=True) as submit:
        submit(work)
        is_submitted.set()
    assert ended


def test_a_caller_that_works_keeps_a_core_and_takes_over_what_waits_too_long(monkeypatch):
    monkeypatch.setattr(threads, "n_cores", lambda: 2)
    running, most, by_caller, may_end = [], [], [], Event()

    def work(number):
        if current_thread() is main_thread():
            by_caller.append(number)
            may_end.set()
            return
        running.append(number)
        most.append(len(running))
        may_end.wait()
        running.remove(number)

    with spreading(parallel=True, works=True) as submit:
        for number in range(6):
            submit(work, number)
    assert by_caller[0] == 4  # two for each core wait
    assert len(most) + len(by_caller) == 6
    assert max(most) == 1


def test_an_error_of_work_that_has_ended_is_raised_before_more_begins():
    def fail():
        raise ValueError("no")

    def go_on():
        with spreading(parallel=True, works=True) as submit:
            while True:
                submit(fail)

    with pytest.raises(ValueError, match="no"):
        go_on()


def test_threads_share_jobs():
    both_work = Barrier(2)

    def work(jobs):
        done = []
        for job in jobs:
            if job < 2:
                both_work.wait(30)
            done.append(job)
        return done, current_thread() is main_thread()

    results = share(work, range(20), n_threads=2)
    assert sorted(job for done, _ in results for job in done) == list(range(20))
    assert sorted(is_caller for _, is_caller in results) == [False, True]


def test_a_caller_does_the_work_of_threads_that_are_busy():
    may_end = Event()
    busy = [decode_pool().submit(may_end.wait) for _ in range(n_cores())]
    try:
        assert share(list, range(5), n_threads=3) == [list(range(5))]
    finally:
        may_end.set()
    assert all(each.result() for each in busy)


@pytest.mark.parametrize("failing", ["caller", "helper"])
def test_after_an_error_no_thread_works_on(failing):
    both_work, ended = Barrier(2), []

    def work(jobs):
        job = next(jobs)
        both_work.wait(30)
        if (current_thread() is main_thread()) == (failing == "caller"):
            raise IndexError(f"not {job}")
        sleep(0.2)
        ended.append(job)

    with pytest.raises(IndexError, match="not"):
        share(work, range(2), n_threads=2)
    assert len(ended) == 1
