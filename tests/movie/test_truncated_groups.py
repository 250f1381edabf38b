"""Movies with inter-frame coding whose end is missing, compared with libav's decode of the whole movie."""

import pickle

import fsspec
import inter_movies
import numpy as np
import pytest
from click.testing import CliRunner
from new_process import forget_open_movies

from camhd_access import MovieReader, open_movie
from camhd_access.cli import main
from camhd_access.errors import InvalidMovieError, UnsupportedCodecError
from camhd_access.formats.quicktime import keep_whole_groups
from camhd_access.movie.rescue import write_sidecar

GROUPED = ["closed groups", "open groups, pyramid", "no reordering", "HEVC, open groups"]


def place(data, name):
    fsspec.filesystem("memory").pipe_file(f"/truncated/{name}.mp4", data)
    return f"memory://truncated/{name}.mp4"


def write(structure, n_bytes=None, *, skip_seconds=0.0):
    """A movie, its copy that ends after `n_bytes`, and the index of the former."""
    data = inter_movies.encode(structure, movflags="faststart")
    if skip_seconds:
        data = inter_movies.copy(data, skip_seconds=skip_seconds, movflags="faststart")
    whole = MovieReader(place(data, "whole"))
    return data, whole, place(data[:n_bytes], f"first {n_bytes} of {structure} {skip_seconds}")


def count_whole(index, n_bytes):
    """Samples before the last sync sample from which on something is missing."""
    stop = index.coded.offset + index.coded.size
    starts = [*np.flatnonzero(index.coded.is_sync).tolist(), len(stop)]
    return max(start for start in starts if (stop[:start] <= n_bytes).all())


@pytest.mark.parametrize("structure", GROUPED)
@pytest.mark.parametrize("skip_seconds", [0.0, 0.77])
def test_whole_groups_are_kept(structure, skip_seconds):
    data, whole, _ = write(structure, skip_seconds=skip_seconds)
    luma = inter_movies.expected_gray16(inter_movies.decode(data))
    stops = whole.index.coded.offset + whole.index.coded.size
    kept = set()
    for n_bytes in (len(data) * 3 // 4, len(data) - 1, int(stops[30]), int(stops[30]) - 1, int(stops[23])):
        *_, url = write(structure, n_bytes, skip_seconds=skip_seconds)
        with pytest.raises(
            InvalidMovieError, match=f"in a file of {n_bytes}; use recover=True .*whole groups"
        ):
            MovieReader(url)
        reader = MovieReader(url, recover=True)
        n = reader.n_frames
        assert n == count_whole(whole.index, n_bytes) - whole.index.coded.n_hidden > 0
        np.testing.assert_array_equal(reader.read(slice(None), pix_fmt="gray16le"), luma[:n])
        np.testing.assert_array_equal(reader.read(n - 1, pix_fmt="gray16le"), luma[n - 1 : n])
        for name in ("offset", "size", "pts", "duration", "is_sync"):
            np.testing.assert_array_equal(getattr(reader.index, name), getattr(whole.index, name)[:n])
        assert (reader.index.offset + reader.index.size <= n_bytes).all()
        assert reader.recovery.n_lost == whole.n_frames - n
        kept.add(n)
    assert len(kept) > 1


def test_what_is_left_out_is_said(tmp_path):
    data, whole, url = write("closed groups", 20_000)
    reader = MovieReader(url, recover=True)
    cut = reader.recovery.cut
    assert cut.start in whole.index.coded.offset
    assert cut.stop == 20_000 < len(data)
    told = f"of 60 frames in its index the last {60 - reader.n_frames} are left out"
    assert told in open_movie(url, recover=True).attrs["comment"]
    with pytest.raises(UnsupportedCodecError, match="no sidecar is needed"):
        write_sidecar(tmp_path / "index.npz", reader.recovery)
    assert not list(tmp_path.iterdir())
    copy = pickle.loads(pickle.dumps(reader))  # noqa: S301 - our own
    np.testing.assert_array_equal(copy.read(-1), reader.read(-1))
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[:20_000])
    found = CliRunner().invoke(main, ["recover", str(path)])
    assert found.exit_code == 0, found.output
    assert told in found.output


def test_arrays_and_their_tasks_are_computed_in_other_processes():
    *_, url = write("closed groups", 20_000)
    movie = open_movie(url, recover=True, pix_fmt="gray", chunks={"time": 12})
    pixels = movie.values
    stack = movie.data.stack
    sent = [pickle.dumps(each) for each in (movie, movie[5:7], stack, stack.select(slice(3)))]
    assert len(sent[-1]) < 3000
    forget_open_movies()
    copy, part, whole, task = map(pickle.loads, sent)
    np.testing.assert_array_equal(copy, pixels)
    forget_open_movies()
    np.testing.assert_array_equal(part, pixels[5:7])
    np.testing.assert_array_equal(whole.read(), pixels)
    np.testing.assert_array_equal(task.read(), pixels[:3])


def test_a_movie_that_is_whole_is_not_shortened():
    _, whole, url = write("open groups, pyramid")
    reader = MovieReader(url, recover=True)
    assert reader.recovery is None
    assert reader.n_frames == whole.n_frames
    assert keep_whole_groups(whole.index, whole.file_size) is whole.index


def test_no_group_is_whole():
    *_, url = write("one group", 20_000)
    with pytest.raises(InvalidMovieError, match=r"no group of pictures is whole: sample .* at byte 20000"):
        MovieReader(url, recover=True)
