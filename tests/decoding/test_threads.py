"""The threads that decode: errors, interrupts, forks and limits on memory."""

from contextlib import suppress
from signal import ITIMER_REAL, SIGALRM, setitimer, signal
from time import sleep

import pytest

from camhd_access.decoding.threads import spreading


@pytest.fixture
def interrupted_soon():
    """Ctrl-C, a moment from now."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal(SIGALRM, interrupt)
    setitimer(ITIMER_REAL, 0.1)
    yield
    setitimer(ITIMER_REAL, 0)
    signal(SIGALRM, before)


def test_interrupted_work_has_ended_when_the_block_is_left(interrupted_soon):
    ended = []

    def work():
        sleep(0.5)
        ended.append(True)

    with suppress(KeyboardInterrupt), spreading(parallel=True) as submit:
        submit(work)
    assert ended
