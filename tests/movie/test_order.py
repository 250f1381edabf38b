"""Movies whose files do not tell in which order frames are shown."""

import inter_movies
import numpy as np
import pytest

from camhd_access import MovieReader
from camhd_access.errors import FrameDecodeError, UnsupportedMovieError
from camhd_access.synthetic import serve_folder


@pytest.mark.parametrize(
    "structure",
    ["closed groups", "open groups, pyramid", "fields", "HEVC, closed groups", "HEVC, open groups"],
)
@pytest.mark.parametrize("muxing", [{}, {"suffix": "mov"}, {"movflags": "frag_keyframe+empty_moov"}])
def test_copies_of_streams_without_times_are_refused(tmp_path, structure, muxing):
    path = tmp_path / f"movie.{muxing.get('suffix', 'mp4')}"
    path.write_bytes(inter_movies.forget_times(inter_movies.encode(structure), **muxing))
    with pytest.raises(
        UnsupportedMovieError, match=r"movie\.m.*shown in another order than they are decoded"
    ):
        MovieReader(path, cache=False)


def test_streams_that_do_not_tell_whether_frames_are_reordered(tmp_path, monkeypatch):
    kind = inter_movies.X264 | {"g": "12", "x264-params": "tff=1:bframes=0"}
    monkeypatch.setitem(inter_movies.STRUCTURES, "order is free", kind)
    data = inter_movies.encode("order is free")
    luma = inter_movies.expected_gray16(inter_movies.decode(data))
    (tmp_path / "movie.mp4").write_bytes(inter_movies.strip_usability(data))
    with serve_folder(tmp_path) as server:
        reader = MovieReader(f"{server.url}movie.mp4", cache=False)
        assert server.n_requests == 2  # the index, and the first samples
        np.testing.assert_array_equal(reader.read([40, 3], pix_fmt="gray16le"), luma[[40, 3]])
    (tmp_path / "reordered.mp4").write_bytes(
        inter_movies.forget_times(inter_movies.strip_usability(inter_movies.encode("closed groups")))
    )
    with pytest.raises(UnsupportedMovieError, match="in another order"):
        MovieReader(tmp_path / "reordered.mp4", cache=False)


def test_copies_that_begin_at_an_open_group_of_unknown_order(tmp_path, monkeypatch):
    kind = inter_movies.X264 | {"g": "12", "x264-params": "tff=1:bframes=0:open-gop=1"}
    monkeypatch.setitem(inter_movies.STRUCTURES, "open, order is free", kind)
    data = inter_movies.strip_usability(inter_movies.encode("open, order is free"))
    data = inter_movies.copy(data, skip_seconds=0.8)
    luma = inter_movies.expected_gray16(inter_movies.decode(data))
    (tmp_path / "movie.mp4").write_bytes(data)
    reader = MovieReader(tmp_path / "movie.mp4", cache=False)
    assert reader.index.coded.may_be_out_of_order
    for frame in range(len(luma) - 1, -1, -1):
        np.testing.assert_array_equal(reader.read([frame], pix_fmt="gray16le"), luma[[frame]])


@pytest.mark.parametrize(
    ("structure", "exact"),
    [
        ("closed groups", [32]),
        ("fields", [32]),
        ("strict pyramid", [40]),
        ("open groups", []),
        ("open groups, pyramid", []),
        ("HEVC, leading pictures", [32]),
        ("HEVC, open groups", []),
    ],
)
def test_frames_that_are_reordered_later_on_are_errors(tmp_path, structure, exact):
    parts = [*20 * [inter_movies.encode(structure, 1)], inter_movies.encode(structure, 24)]
    data = inter_movies.forget_times(inter_movies.concat(*parts), use_editlist="0")
    (tmp_path / "movie.mp4").write_bytes(data)
    reader = MovieReader(tmp_path / "movie.mp4", cache=False)
    luma = inter_movies.expected_gray16(inter_movies.decode(data))
    exact = [*range(21), *exact]
    np.testing.assert_array_equal(reader.read(exact, pix_fmt="gray16le"), luma[exact])
    with pytest.raises(FrameDecodeError):
        reader.read(slice(None), pix_fmt="gray")
    for frames in (range(len(luma)), range(len(luma) - 1, -1, -1)):
        for frame in frames:  # the former go on where the one before ended
            if frame in exact:
                np.testing.assert_array_equal(reader.read([frame], pix_fmt="gray16le"), luma[[frame]])
            else:
                with pytest.raises(FrameDecodeError):
                    reader.read(frame, pix_fmt="gray")
