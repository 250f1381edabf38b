"""The threads that decode: errors, interrupts, forks and limits on memory."""

import os
from contextlib import suppress
from signal import SIGALRM, signal
from threading import Event, current_thread, main_thread
from time import sleep

import pytest

from camhd_access.decoding import threads
from camhd_access.decoding.threads import spreading


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
