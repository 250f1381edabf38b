"""Frames of fragmented movies, compared with libav's decode of the whole movie."""

from io import BytesIO

import atoms
import av
import fragments
import fsspec
import inter_movies
import numpy as np
import pytest

from camhd_access import MovieReader, open_movie
from camhd_access.errors import InvalidMovieError
from camhd_access.synthetic import serve_folder, write_movie

PLAIN = "frag_keyframe+empty_moov"


def place(data, name):
    fsspec.filesystem("memory").pipe_file(f"/fragmented/{name}", data)
    return f"memory://fragmented/{name}"


@pytest.mark.parametrize(
    "structure", ["closed groups", "open groups, pyramid", "one group", "HEVC, open groups"]
)
@pytest.mark.parametrize("movflags", [PLAIN, "frag_keyframe+dash", "frag_every_frame+empty_moov"])
def test_every_frame_is_that_of_a_sequential_decode(structure, movflags):
    data = fragments.write(movflags, structure=structure)
    luma = inter_movies.expected_gray16(inter_movies.decode(data))
    reader = MovieReader(place(data, f"{structure} {movflags}.mp4"))
    assert reader.n_frames == len(luma) == 60
    np.testing.assert_array_equal(reader.read(slice(None), pix_fmt="gray16le"), luma)
    for frame in (31, 7, 59, 0):
        np.testing.assert_array_equal(reader.read(frame, pix_fmt="gray16le")[0], luma[frame])
    assert len(open_movie(reader.urlpath).time) == 60


@pytest.mark.parametrize("media_ticks", [1 << 45, 1 << 62, (1 << 63) - 1])
def test_an_edit_list_that_moves_frames_beyond_the_calendar_is_refused(media_ticks):
    data = fragments.write("frag_keyframe+empty_moov+delay_moov", with_sound=False, structure="closed groups")
    place_of_list = data.index(b"elst") - 4
    old_size = int.from_bytes(data[place_of_list : place_of_list + 4], "big")
    new = atoms.elst([(0, media_ticks, 1)], version=1)
    moved = bytearray(data[:place_of_list] + new + data[place_of_list + old_size :])
    for kind in (b"edts", b"trak", b"moov"):
        at = moved.rindex(kind, 0, place_of_list) - 4
        size = int.from_bytes(moved[at : at + 4], "big") + len(new) - old_size
        moved[at : at + 4] = size.to_bytes(4, "big")
    with pytest.raises(InvalidMovieError, match="beyond the range of dates"):
        MovieReader(place(bytes(moved), f"edit {media_ticks}.mp4"))


def test_prores(tmp_path):
    path = tmp_path / "whole.mov"
    write_movie(path, n_frames=12, width=320, height=192)
    file = BytesIO()
    with av.open(path) as movie, av.open(file, "w", format="mov", options={"movflags": PLAIN}) as other:
        (stream,) = movie.streams.video
        target = other.add_stream_from_template(stream)
        for packet in movie.demux(stream):
            if packet.size:
                packet.stream = target
                other.mux(packet)
    whole, reader = MovieReader(path), MovieReader(place(file.getvalue(), "prores.mov"))
    np.testing.assert_array_equal(reader.read(slice(None)), whole.read(slice(None)))
    assert reader.read_encoded([0, 11]) == whole.read_encoded([0, 11])
    assert reader.index.is_sync.all()
    assert reader.index.duration[0] / reader.index.timescale == pytest.approx(1001 / 30000)


@pytest.mark.parametrize("structure", ["closed groups", "open groups, pyramid", "HEVC, open groups"])
def test_whole_groups_of_a_truncated_movie(structure):
    data = fragments.write(PLAIN, structure=structure)
    luma = inter_movies.expected_gray16(inter_movies.decode(data))
    moofs = [start for kind, start, _ in fragments.top_level(data) if kind == "moof"]
    mdats = [start for kind, start, _ in fragments.top_level(data) if kind == "mdat"]
    lengths = set()
    for n_bytes in (moofs[2] + 12, moofs[2] + 50, mdats[2] + 500, mdats[3] + 9):
        url = place(data[:n_bytes], f"{structure} {n_bytes}.mp4")
        with pytest.raises(InvalidMovieError, match=r"whole groups of an H.264 or HEVC movie"):
            MovieReader(url)
        reader = MovieReader(url, recover=True)
        n = reader.n_frames
        np.testing.assert_array_equal(reader.read(slice(None), pix_fmt="gray16le"), luma[:n])
        assert "the end of the file is missing" in reader.recovery.summary
        lengths.add(n)
    assert len(lengths) == 2
    assert min(lengths) > 20


@pytest.mark.parametrize("table", [fragments.with_table, fragments.with_first_table])
def test_listed_fragments_over_http(tmp_path, table):
    data = fragments.lay_out(fragments.write(PLAIN, with_sound=False), n_in_fragment=3)
    pieces = [
        atoms.atom("mdat", data[start + 8 : stop], bytes(300_000)) if kind == "mdat" else data[start:stop]
        for kind, start, stop in fragments.top_level(data)
    ]
    data = table(b"".join(pieces))
    (tmp_path / "far.mp4").write_bytes(data)
    expected = MovieReader(place(data, "far.mp4")).index
    with serve_folder(tmp_path) as server:
        index = MovieReader(f"{server.url}far.mp4", cache=False).index
        assert server.n_requests <= 3 + 19
        assert server.n_bytes_sent < (512 << 10) + 2 * (64 << 10) + 20 * (4 << 10)
    for name in ("offset", "size", "pts", "duration", "is_sync"):
        np.testing.assert_array_equal(getattr(index, name), getattr(expected, name))
