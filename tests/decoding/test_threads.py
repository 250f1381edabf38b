"""The threads that decode: errors, interrupts, forks and limits on memory."""

import os
from contextlib import suppress
from signal import SIGALRM, signal
from threading import Event
from time import sleep

import pytest

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
