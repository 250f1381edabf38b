"""Prediction of the byte ranges of a crop, and the rounds of requests it takes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prores_samples import HD_KINDS, KINDS, sample_of

from camhd_access import FrameDecodeError, MovieReader, RemoteFileError, open_movie
from camhd_access.formats.prores import check_frame, walk_crop
from camhd_access.formats.prores.slices import HEAD_BYTES
from camhd_access.movie.sample_layout import (
    Layout,
    SamplePieces,
    flat_layout,
    walk_pieces,
)
from camhd_access.ranges import run_walk
from camhd_access.synthetic import serve_folder, write_movie

# ---- which bytes to ask for; no input or output


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted).map(tuple), max_size=12),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted).map(tuple), max_size=3),
)
def test_parts_know_what_is_missing(added, wanted):
    sample = bytes(range(60))
    parts = SamplePieces(60)
    for start, stop in added:
        parts.add((start, stop), sample[start:stop])
    held = {i for start, stop in added for i in range(start, stop)}
    missing = parts.missing(wanted)
    asked = [i for start, stop in missing for i in range(start, stop)]
    assert sorted(asked) == sorted(i for a, b in wanted for i in range(a, b) if i not in held)
    for gap in missing:
        parts.add(gap, sample[slice(*gap)])
    assert parts.missing(wanted) == []


class Answers:
    """Answers the requests of a walk from a sample, and records them."""

    def __init__(self, sample):
        self.sample = sample
        self.rounds = []

    def run(self, walk):
        try:
            ranges = next(walk)
            while True:
                self.rounds.append(ranges)
                ranges = walk.send([self.sample[start:stop] for start, stop in ranges])
        except StopIteration as end:
            return end.value

    @property
    def n_bytes(self):
        asked = [i for each in self.rounds for start, stop in each for i in range(start, stop)]
        assert all(0 <= i < len(self.sample) for i in asked)
        return len(asked)


def walk_some(sample, lines, field, layout):
    walk = walk_crop(len(sample), y=(lines.start, lines.stop), field=field)
    return walk_pieces(walk, len(sample), layout=layout, lines=lines, field=field)


def crops_of(kind, sample):
    rng = np.random.default_rng(4)
    for field in (None, 0, 1) if kind.interlace else (None,):
        height = kind.height if field is None else kind.height // 2
        for _ in range(4):
            start, stop = sorted(rng.choice(height + 1, 2, replace=False).tolist())
            crop = run_walk(walk_crop(len(sample), y=(start, stop), field=field), sample)
            yield slice(start, stop), field, crop


@pytest.mark.parametrize("kind", KINDS + HD_KINDS, ids=str)
@pytest.mark.parametrize("n_pictures", [1, 2])
def test_whatever_is_expected_the_crop_is_right(kind, n_pictures):
    sample = sample_of(kind)
    for lines, field, crop in crops_of(kind, sample):
        answers = Answers(sample)
        layout = flat_layout(kind.height, n_pictures=n_pictures)
        found, seen = answers.run(walk_some(sample, lines, field, layout))
        assert found == crop
        assert len(seen.pictures) == (2 if kind.interlace else 1)
        assert len(answers.rounds) <= 3
        again = Answers(sample)
        assert again.run(walk_some(sample, lines, field, seen))[0] == crop
        assert len(again.rounds) <= (1 if field != 0 else 2)


@pytest.mark.parametrize("kind", HD_KINDS, ids=str)
def test_what_the_frame_before_was_like_is_asked_in_one_round(kind):
    before, sample = sample_of(kind, seed=1), sample_of(kind)
    layout = Layout.of(check_frame(before))
    lines = slice(480, 640)
    answers = Answers(sample)
    found, _ = answers.run(walk_some(sample, lines, None, layout))
    assert len(answers.rounds) == 1
    n_margins = 2 * (1 if kind.interlace == 0 else 3)
    assert answers.n_bytes <= len(found.data) + HEAD_BYTES + n_margins * 0.011 * len(sample) + 4096


def test_a_sample_that_the_file_does_not_hold_is_damaged():
    sample = sample_of(KINDS[0])
    walk = walk_some(sample, slice(0, 16), None, flat_layout(34, n_pictures=1))
    wanted = next(walk)
    with pytest.raises(FrameDecodeError, match="the file ends within it"):
        walk.send([sample[start : stop - 1] for start, stop in wanted])


# ---- what is fetched, from a server


@pytest.fixture(scope="module", params=["interlaced", "progressive"])
def movie(request, tmp_path_factory):
    """A movie of full size on disk."""
    path = tmp_path_factory.mktemp("full") / "a.mov"
    write_movie(path, n_frames=6, interlaced=request.param == "interlaced")
    return path


@pytest.fixture
def server(movie):
    with serve_folder(movie.parent) as running:
        yield running


class Cost:
    """Requests and bytes since it was made."""

    def __init__(self, server):
        self._server = server
        self._before = server.n_requests, server.n_bytes_sent

    @property
    def so_far(self):
        return self._server.n_requests - self._before[0], self._server.n_bytes_sent - self._before[1]


CORNERS = [
    (slice(0, 64), slice(0, 64)),
    (slice(460, 620), slice(768, 1152)),
    (slice(1001, 1080), slice(None)),
    (slice(0, 270), slice(31, 1800)),
]


@pytest.mark.parametrize(("y", "x"), CORNERS)
@pytest.mark.parametrize("pix_fmt", ["rgb24", "gray10le"])
def test_crops_are_exact_and_take_the_rows_that_they_need(movie, server, y, x, pix_fmt):
    local, remote = MovieReader(movie), MovieReader(server.url + movie.name, cache=False)
    frames = [3, 1, 4]
    size = int(remote.index.size[frames].sum())
    cost = Cost(server)
    assert np.array_equal(
        remote.read(frames, y=y, x=x, pix_fmt=pix_fmt), local.read(frames, y=y, x=x, pix_fmt=pix_fmt)
    )
    share_of_rows = (y.stop - y.start + 32) / 1080
    assert cost.so_far[1] < (share_of_rows + 0.5) * size
    remote.read(3, y=y, x=x)
    cost = Cost(server)
    plan = remote.plan(3, y=y, x=x)
    assert cost.so_far == (0, 0)
    remote.read(3, y=y, x=x)
    assert cost.so_far[0] <= 4
    # Where the picture is full of detail, a row takes up to 2.2 times as many bytes as the mean one.
    assert cost.so_far[1] < (2.2 * share_of_rows + 0.1) * remote.index.size[3]
    assert cost.so_far[0] == plan.n_requests
    assert cost.so_far[1] == pytest.approx(plan.n_bytes, rel=0.02)


def test_a_crop_of_the_first_lines_takes_one_request_a_picture(movie, server):
    reader = MovieReader(server.url + movie.name, cache=False)
    n_pictures = 2 if reader.interlaced else 1
    reader.read(0, y=slice(0, 64))
    cost = Cost(server)
    reader.read(0, y=slice(0, 64))
    assert cost.so_far[0] == n_pictures


def test_a_plan_before_the_first_crop_goes_by_the_share_of_the_rows(movie, server):
    reader = MovieReader(server.url + movie.name, cache=False)
    plan = reader.plan([1, 3, 5], y=slice(460, 620))
    assert plan.n_frames == 3
    assert 160 / 1080 < plan.n_bytes / reader.index.size[[1, 3, 5]].sum() < 160 / 1080 + 0.35


@pytest.mark.parametrize("y", [slice(0, 900), slice(200, None), slice(None)])
def test_whole_frames_are_taken_where_most_rows_are_wanted(movie, server, y):
    reader = MovieReader(server.url + movie.name, cache=False)
    cost = Cost(server)
    reader.read(slice(1, 4), y=y)
    whole = reader.plan(slice(1, 4))
    assert reader.plan(slice(1, 4), y=y) == whole
    assert cost.so_far == (whole.n_requests, whole.n_bytes)


def test_whole_frames_are_taken_where_they_are_small(served_movie, movie_url):
    reader = MovieReader(movie_url, cache=False)
    cost = Cost(served_movie)
    reader.read([3, 30], y=slice(0, 16))
    assert cost.so_far == (2, reader.index.size[[3, 30]].sum())


def test_a_whole_frame_teaches_where_the_rows_lie(movie, server):
    reader = MovieReader(server.url + movie.name, cache=False)
    reader.read(3)
    cost = Cost(server)
    plan = reader.plan(3, y=slice(460, 620))
    reader.read(3, y=slice(460, 620))
    assert cost.so_far[0] == plan.n_requests
    assert cost.so_far[1] == pytest.approx(plan.n_bytes, rel=0.02)


def test_whole_frames_are_taken_from_disk(movie):
    reader = MovieReader(movie)
    assert reader.plan(2, y=slice(0, 16)).n_bytes == reader.index.size[2]


def test_one_field_alone_takes_half_of_the_frame(movie, server):
    local, remote = MovieReader(movie), MovieReader(server.url + movie.name, cache=False)
    if not remote.interlaced:
        with pytest.raises(ValueError, match="progressive"):
            remote.stack(fields=True)
        return
    for field in (0, 1):
        stack = remote.stack([1, 3, 5], fields=True).select(slice(field, None, 2))
        cost = Cost(server)
        pixels = stack.read()
        assert np.array_equal(
            pixels, local.stack([1, 3, 5], fields=True).select(slice(field, None, 2)).read()
        )
        assert cost.so_far[1] < 0.7 * remote.index.size[[1, 3, 5]].sum()


@pytest.mark.parametrize("cache", [False, True])
def test_arrays_fetch_the_rows_that_are_picked(movie, server, cache):
    lazy = open_movie(server.url + movie.name, cache=cache)
    cost = Cost(server)
    corner = lazy[4, :64, :64].compute()
    assert np.array_equal(corner, MovieReader(movie).read(4, y=slice(64), x=slice(64))[0])
    assert cost.so_far[1] < 0.35 * int(lazy.encoded_size[4])
    cost = Cost(server)
    lazy[4, :64, :64].compute()
    assert (cost.so_far[0] == 0) == cache


def test_previews_need_whole_frames(movie, server):
    reader = MovieReader(server.url + movie.name, cache=False)
    cost = Cost(server)
    reader.read(2, y=slice(0, 3), reduce=8)
    assert cost.so_far == (1, reader.index.size[2])


def test_eight_threads_crop_at_once(movie, server):
    local, remote = MovieReader(movie), MovieReader(server.url + movie.name, cache=False)
    whole = local.read(slice(None), pix_fmt="gray10le")

    def read(seed):
        rng = np.random.default_rng(seed)
        for _ in range(3):
            frames, start = rng.integers(0, 6, 2), int(rng.integers(0, 1000))
            y, x = slice(start, start + int(rng.integers(1, 80))), slice(seed, 900)
            assert np.array_equal(remote.read(frames, y=y, x=x, pix_fmt="gray10le"), whole[frames, y, x])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(8)))


# ---- damage


def test_damage_is_named_and_masked_as_in_whole_frames(movie, tmp_path):
    path = tmp_path / "a.mov"
    path.write_bytes(movie.read_bytes())
    local = MovieReader(movie)
    offset = int(local.index.offset[2])
    with path.open("r+b") as file:
        file.seek(offset + 170)
        file.write(bytes(300))
    y = slice(100, 200)
    with serve_folder(tmp_path) as running:
        reader = MovieReader(f"{running.url}a.mov", cache=False)
        with pytest.raises(FrameDecodeError, match=rf"frame 2 of .*bytes {offset} to .*is damaged"):
            reader.read(slice(None), y=y)
        marked = reader.read(slice(None), y=y, errors="mask")
        assert marked.mask.all(axis=(1, 2, 3)).tolist() == [i == 2 for i in range(6)]
        assert np.array_equal(np.delete(marked.data, 2, 0), np.delete(local.read(slice(None), y=y), 2, 0))


@pytest.mark.parametrize("errors", ["raise", "mask"])
def test_bytes_that_cannot_be_had_are_no_damage(movie, tmp_path, errors):
    path = tmp_path / "a.mov"
    path.write_bytes(movie.read_bytes())
    with serve_folder(tmp_path) as running:
        reader = MovieReader(f"{running.url}a.mov", cache=False)
        path.unlink()
        with pytest.raises(RemoteFileError, match=r"a\.mov"):
            reader.read([0, 5], y=slice(0, 64), errors=errors)
