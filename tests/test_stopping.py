"""Work stops between its steps when it is told to, also where it is deep within a read."""

import threading

import inter_movies
import numpy as np
import pytest

from camhd_access import MovieReader
from camhd_access.stopping import StoppedError, check_stopped, stopped_by


class AfterSteps(threading.Event):
    """An event that is set once it was looked at some times."""

    def __init__(self, n_steps):
        super().__init__()
        self.n_left = n_steps

    def is_set(self):
        self.n_left -= 1
        return self.n_left < 0


def test_only_work_whose_event_is_set_stops():
    check_stopped()
    outer, inner = threading.Event(), threading.Event()
    with stopped_by(outer):
        check_stopped()
        inner.set()
        with stopped_by(inner), pytest.raises(StoppedError):
            check_stopped()
        check_stopped()
        thread = threading.Thread(target=check_stopped)
        outer.set()
        thread.start()  # it has a context of its own
        thread.join()
        with pytest.raises(StoppedError):
            check_stopped()
    check_stopped()


@pytest.mark.parametrize("indexes", [[50], [10, 50], slice(40, 60)])
def test_a_read_stops_between_the_samples_that_a_frame_needs(tmp_path, indexes):
    path = tmp_path / "group.mp4"
    path.write_bytes(inter_movies.encode("one group"))
    reader, whole = MovieReader(path), MovieReader(path).read(slice(None))
    stop = AfterSteps(20)
    with stopped_by(stop), pytest.raises(StoppedError):
        reader.read(indexes)
    assert stop.n_left == -1
    np.testing.assert_array_equal(reader.read(indexes), whole[indexes])
