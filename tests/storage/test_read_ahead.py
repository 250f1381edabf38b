"""Read-ahead: which reads are sequential, what is fetched for them, and what is wasted."""

import itertools
import threading
from concurrent.futures import Future

import numpy as np
import pytest

from camhd_access import MovieReader
from camhd_access.errors import RemoteFileError
from camhd_access.movie.reader import N_ITERATED_TOGETHER
from camhd_access.ranges import ByteRange
from camhd_access.storage import read_ahead
from camhd_access.storage.read_ahead import ReadAhead
from camhd_access.synthetic import serve_folder, write_movie

MIB = 1 << 20
SIZE = 100 * MIB


class Network:
    """Fetches zeros, immediately or never, and records requests."""

    def __init__(self, *, answers=True):
        self.asked, self.futures, self.answers = [], [], answers

    def __call__(self, wanted):
        future = Future()
        self.asked.append(wanted)
        self.futures.append(future)
        if self.answers:
            future.set_result(bytes(wanted.n_bytes))
        return future

    @property
    def n_bytes(self):
        return sum(wanted.n_bytes for wanted in self.asked)


def read(ahead, network, start, stop, *, key="movie", size=SIZE):
    """Whether the read continues an earlier one; if so, its bytes are requested."""
    wanted = ByteRange(start, stop)
    follows = ahead.follows(key, wanted)
    for piece in ahead.read_on(key, wanted, stop, size, network) if follows else ():
        piece.read_to = max(piece.read_to, stop)
    return follows


def test_the_second_read_in_order_is_followed_by_as_much_as_was_read():
    ahead, network = ReadAhead(), Network()
    assert not read(ahead, network, 5 * MIB, 6 * MIB)
    assert network.asked == []
    assert read(ahead, network, 6 * MIB, 7 * MIB)
    assert network.asked == [ByteRange(6 * MIB, 7 * MIB), ByteRange(7 * MIB, 8 * MIB)]
    assert ahead.stats.n_bytes == MIB


def test_what_is_ahead_grows_with_what_was_read_up_to_a_limit():
    ahead, network = ReadAhead(), Network()
    most = 0
    for start in range(0, 90 * MIB, MIB):
        read(ahead, network, start, start + MIB)
        n_ahead = max((wanted.stop for wanted in network.asked), default=0) - (start + MIB)
        assert n_ahead <= min(start + MIB, read_ahead.MAX_BYTES_AHEAD)
        most = max(most, n_ahead)
    assert most == read_ahead.MAX_BYTES_AHEAD
    asked = sorted(network.asked)
    assert all(a.stop == b.start for a, b in itertools.pairwise(asked))  # nothing twice, nothing left out
    assert all(wanted.n_bytes <= read_ahead.PIECE_BYTES for wanted in asked)
    assert ahead.stats.n_bytes_unused == 0


def test_a_read_of_several_frames_is_fetched_whole_and_beyond_it_as_much_as_was_read_before():
    """Otherwise its later frames would wait for decoded ones, and the link be idle meanwhile."""
    ahead, network = ReadAhead(), Network(answers=False)
    ahead.follows("movie", ByteRange(0, 4 * MIB))
    whole = ByteRange(4 * MIB, 10 * MIB)
    assert ahead.follows("movie", whole)
    ahead.read_on("movie", ByteRange(4 * MIB, 5 * MIB), whole.stop, SIZE, network)
    assert sorted(network.asked) == [ByteRange(i * MIB, (i + 1) * MIB) for i in range(4, 14)]


def test_a_long_read_has_no_more_in_flight_than_the_limit():
    ahead, network = ReadAhead(), Network(answers=False)
    ahead.follows("movie", ByteRange(0, MIB))
    whole = ByteRange(MIB, 90 * MIB)
    assert ahead.follows("movie", whole)
    for start in range(MIB, 50 * MIB, MIB):
        (piece,) = ahead.read_on("movie", ByteRange(start, start + MIB), whole.stop, SIZE, network)
        piece.future.set_result(bytes(MIB))
        piece.take(ByteRange(start, start + MIB))
        n_waiting = sum(not future.done() for future in network.futures)
        assert read_ahead.MAX_BYTES_AHEAD // 2 <= n_waiting * MIB <= read_ahead.MAX_BYTES_AHEAD


def test_nothing_is_fetched_beyond_the_end_of_the_file():
    ahead, network = ReadAhead(), Network()
    for start in range(0, 8 * MIB, MIB):
        read(ahead, network, start, start + MIB, size=8 * MIB)
    assert max(wanted.stop for wanted in network.asked) == 8 * MIB


def test_small_reads_make_few_requests():
    ahead, network = ReadAhead(), Network()
    n_reads = 3_000
    for i in range(n_reads):
        read(ahead, network, i * 20_000, (i + 1) * 20_000)
    assert len(network.asked) < 2 * n_reads * 20_000 / read_ahead.PIECE_BYTES
    assert len(network.asked) < 1.3 * network.n_bytes / read_ahead.PIECE_BYTES


@pytest.mark.parametrize("gap", [-2 * MIB, 200_000, 40 * MIB])
def test_other_reads_are_left_alone(gap):
    ahead, network = ReadAhead(), Network()
    starts = [50 * MIB + i * (gap + MIB) for i in range(2)] if gap > 0 else [50 * MIB, 48 * MIB]
    assert [read(ahead, network, start, start + MIB) for start in starts] == [False, False]
    assert network.asked == []


def test_sound_between_frames_does_not_break_the_order():
    ahead, network = ReadAhead(), Network()
    assert not read(ahead, network, 0, MIB)
    assert read(ahead, network, MIB + 8_000, 2 * MIB)


def test_reading_again_does_not_break_the_order():
    ahead, network = ReadAhead(), Network()
    for start in (0, MIB, 2 * MIB):
        read(ahead, network, start, start + MIB)
    assert not read(ahead, network, 0, MIB)
    assert read(ahead, network, 3 * MIB, 4 * MIB)
    assert len(set(network.asked)) == len(network.asked)


def test_a_second_pass_is_read_ahead_as_the_first_was():
    ahead, network = ReadAhead(), Network()
    for _ in range(2):
        network.asked.clear()
        for start in range(0, 20 * MIB, MIB):
            read(ahead, network, start, start + MIB, size=20 * MIB)
        assert sum(wanted.n_bytes for wanted in network.asked) == 19 * MIB
        assert len(network.asked) == 19


def test_chunks_that_change_places_are_fetched_once():
    """Threads take chunks in order, and begin to read them in nearly that order."""
    ahead, network = ReadAhead(), Network()
    order = [0, 1, 2, 3, 5, 4, 6, 8, 7, 9]
    for chunk in order:
        read(ahead, network, chunk * 2 * MIB, (chunk + 1) * 2 * MIB)
    asked = sorted(network.asked)
    assert all(a.stop <= b.start for a, b in itertools.pairwise(asked))


def test_a_del_that_reads_within_a_read_neither_waits_nor_disturbs():
    """A garbage collection may run any `__del__` within any call, in the same thread."""
    ahead, network = ReadAhead(), Network()
    followed = []

    class Key:
        __hash__ = None

        def __eq__(self, other):
            followed.append(read(ahead, network, 0, MIB, key="another movie"))
            return True

    keys = [Key(), Key()]
    reads = [
        threading.Thread(
            target=read, args=(ahead, network, i * MIB, i * MIB + MIB), daemon=True, kwargs={"key": keys[i]}
        )
        for i in range(2)
    ]
    for thread in reads:
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
    assert set(followed) == {False}
    assert network.asked[0] == ByteRange(MIB, 2 * MIB)


def test_each_of_many_movies_is_read_ahead():
    """Sequences that have ended make room for new ones, although their last bytes are still held."""
    ahead, network = ReadAhead(), Network()
    for movie in range(3 * read_ahead.MAX_PATTERNS):
        follows = [
            read(ahead, network, i * MIB, (i + 1) * MIB, key=f"movie {movie}", size=4 * MIB) for i in range(4)
        ]
        assert follows == [False, True, True, True]
    assert ahead.stats.n_bytes_unused == 0


def test_connections_are_kept_busy():
    """What was read is replaced soon: a connection that waits for the next request is idle."""
    ahead, network = ReadAhead(), Network()
    n_waiting = []
    for start in range(0, 90 * MIB, MIB):
        read(ahead, network, start, start + MIB)
        n_waiting.append(max((wanted.stop for wanted in network.asked), default=0) - start)
    assert min(n_waiting[35:60]) > read_ahead.MAX_BYTES_AHEAD - read_ahead.MAX_REFILL_BYTES


def test_several_patterns_at_once():
    ahead, network = ReadAhead(), Network()
    for i in range(5):
        for viewer in range(4):
            start = viewer * 20 * MIB + i * MIB
            assert read(ahead, network, start, start + MIB) == (i > 0)
    assert read(ahead, network, 5 * MIB, 6 * MIB, key="another movie") is False


def test_what_is_held_in_all_is_bounded_and_what_is_dropped_is_counted_and_cancelled():
    ahead, network = ReadAhead(), Network(answers=False)
    for viewer in range(8):
        for i in range(40):
            ahead.follows(viewer, ByteRange(i * MIB, (i + 1) * MIB))
            for piece in ahead.read_on(
                viewer, ByteRange(i * MIB, (i + 1) * MIB), (i + 1) * MIB, SIZE, network
            ):
                piece.read_to = (i + 1) * MIB
    under_way = sum(not future.cancelled() for future in network.futures) * MIB - 8 * 39 * MIB
    assert under_way <= read_ahead.MAX_BYTES_HELD + read_ahead.MAX_BYTES_AHEAD
    n_cancelled = sum(future.cancelled() for future in network.futures)
    assert ahead.stats.n_bytes_unused == n_cancelled * MIB > 0


def test_a_read_elsewhere_drops_what_was_fetched_ahead_and_costs_no_more_than_was_read():
    ahead, network = ReadAhead(), Network(answers=False)
    for i in range(4):
        read(ahead, network, i * MIB, (i + 1) * MIB)
    assert not read(ahead, network, 50 * MIB, 51 * MIB)
    n_cancelled = sum(future.cancelled() for future in network.futures)
    assert n_cancelled * MIB == ahead.stats.n_bytes_unused
    assert 0 < n_cancelled <= 4
    assert read(ahead, network, 4 * MIB, 5 * MIB)  # a second reader was there


def test_a_read_of_scattered_frames_drops_what_was_fetched_ahead(served, movie_path):
    reader = MovieReader(served.url + movie_path.name, cache=False)
    for frame in range(6):
        reader.read(frame, pix_fmt="gray")
    ahead = read_ahead.find_read_ahead()
    assert ahead.stats.n_bytes_unused == 0
    reader.read([39, 0, 20], pix_fmt="gray")
    assert ahead.stats.n_bytes_unused > 0


def test_random_reads_never_end_a_pattern():
    ahead, network = ReadAhead(), Network()
    for i in range(3):
        read(ahead, network, i * MIB, (i + 1) * MIB)
    for k in range(50):
        read(ahead, network, (40 + 3 * (k % 17)) * MIB, (41 + 3 * (k % 17)) * MIB, key=f"movie {k}")
    assert read(ahead, network, 3 * MIB, 4 * MIB)


def test_a_piece_that_failed_ahead_is_fetched_again():
    ahead, network = ReadAhead(), Network(answers=False)
    read(ahead, network, 0, MIB)
    read(ahead, network, MIB, 2 * MIB)
    network.futures[1].set_exception(RemoteFileError("ahead"))
    network.answers = True
    (piece,) = ahead.read_on("movie", ByteRange(2 * MIB, 3 * MIB), 3 * MIB, SIZE, network)
    assert piece.future.result()


# ---- movies


@pytest.fixture
def served(movie_path):
    with serve_folder(movie_path.parent) as server:
        yield server


@pytest.fixture(autouse=True)
def _forgetful():
    read_ahead.find_read_ahead.cache_clear()


@pytest.mark.parametrize("cache", [False, True])
def test_frames_one_after_the_other_take_few_requests_and_no_byte_twice(served, movie_path, cache):
    reader, local = MovieReader(served.url + movie_path.name, cache=cache), MovieReader(movie_path)
    before = served.n_bytes_sent
    truth = local.read(slice(None), pix_fmt="gray")
    for frame in range(reader.n_frames):
        assert np.array_equal(reader.read(frame, pix_fmt="gray")[0], truth[frame])
    assert served.n_bytes_sent - before <= reader.file_size
    assert served.n_requests < reader.n_frames / 2
    assert read_ahead.find_read_ahead().stats.n_bytes_unused == 0


def test_iteration_is_read_ahead_from_its_first_frame_and_costs_twice_its_first_read(served, movie_path):
    reader, local = MovieReader(served.url + movie_path.name, cache=False), MovieReader(movie_path)
    before = served.n_bytes_sent
    frames = iter(reader)
    assert np.array_equal(next(frames), local[0])
    stats = read_ahead.find_read_ahead().stats
    first = int(reader.index.offset[N_ITERATED_TOGETHER] - reader.index.offset[0])
    assert first < stats.n_bytes <= 2 * first
    assert all(map(np.array_equal, frames, local[1:]))
    assert served.n_bytes_sent - before <= reader.file_size
    assert stats.n_bytes_unused == 0


def test_iteration_of_a_movie_that_is_one_read_fetches_nothing_else(tmp_path):
    path = tmp_path / "short.mov"
    write_movie(path, n_frames=N_ITERATED_TOGETHER, width=320, height=192)
    with serve_folder(tmp_path) as server:
        reader = MovieReader(server.url + path.name, cache=False)
        assert len(list(reader)) == N_ITERATED_TOGETHER
    assert read_ahead.find_read_ahead().stats.n_bytes == 0


def test_frames_in_other_orders_are_read_as_ever(served, movie_path):
    reader, local = MovieReader(served.url + movie_path.name, cache=False), MovieReader(movie_path)
    for frames in (
        [3, 9, 21],
        [22],
        [4],
        slice(5, 9),
        slice(9, 13),
        slice(11, 15),
        [0, 39],
        slice(13, 40, 5),
    ):
        assert np.array_equal(reader.read(frames, pix_fmt="gray"), local.read(frames, pix_fmt="gray"))
    stats = read_ahead.find_read_ahead().stats
    assert stats.n_bytes_unused <= stats.n_bytes <= reader.file_size


def test_a_movie_that_is_replaced_while_it_is_read_in_order_is_noticed(tmp_path, movie_path):
    from camhd_access.errors import RemoteFileChangedError

    copy = tmp_path / movie_path.name
    copy.write_bytes(movie_path.read_bytes())
    with serve_folder(tmp_path) as server:
        reader = MovieReader(server.url + copy.name, cache=False)
        reader.read(0)
        reader.read(1)
        copy.write_bytes(movie_path.read_bytes() + b"more")
        with pytest.raises(RemoteFileChangedError):  # noqa: PT012 - some frames were fetched before
            for frame in range(2, reader.n_frames):
                reader.read(frame)
