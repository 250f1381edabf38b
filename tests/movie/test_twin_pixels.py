"""Frames of H.264 and HEVC movies from end to end: colours, crops, odd containers."""

import struct
from fractions import Fraction
from io import BytesIO

import av
import field_pairs
import inter_movies
import numpy as np
import pytest
from exact_colors import exact_inter_rgb

from camhd_access import MovieReader
from camhd_access.decoding.subsampled import CodedFrame
from camhd_access.movie import group_stack
from camhd_access.synthetic import serve_folder

KINDS = ["closed groups", "fields", "full range", "4:2:2, 10 bit", "HEVC, closed groups", "HEVC, 10 bit"]
MATRICES = {"bt709": 1, "smpte170m": 6, "bt470bg": 6, "bt2020nc": 9, "undef": 6}
"""Names of x264 and x265, and the matrix that applies to 64 lines."""


def open_bytes(tmp_path, data, name="movie.mp4"):
    (tmp_path / name).write_bytes(data)
    return MovieReader(tmp_path / name, cache=False)


def check_colors(reader, planes, frames, **about):
    """All formats of some frames, by definition of the planes as libav decodes them."""
    for name, full_scale, tolerance in (("rgb24", 255, 1e-3), ("rgb48le", 65535, 0.02)):
        pixels = reader.read(frames, pix_fmt=name)
        for found, number in zip(pixels, frames, strict=True):
            coded = CodedFrame(0, False, tuple(planes[number]), **about)
            exact = exact_inter_rgb(coded, coded.chroma_location, full_scale)
            assert np.abs(found - exact).max() <= 0.5 + tolerance


@pytest.mark.parametrize("structure", KINDS)
def test_colours_of_movies_by_definition(tmp_path, structure):
    data = inter_movies.encode(structure)
    reader = open_bytes(tmp_path, data)
    about = {"full_range": structure == "full range", "matrix": 6, "interlaced": structure == "fields"}
    check_colors(reader, inter_movies.decode(data), [40, 3, 17], **about)


@pytest.mark.parametrize("codec", ["x264", "x265"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_colour_matrices_of_streams(tmp_path, monkeypatch, codec, matrix):
    kind = inter_movies.X264 if codec == "x264" else inter_movies.X265
    about = f"{'' if codec == 'x264' else 'log-level=0:'}colormatrix={matrix}"
    name = f"{codec}, {matrix}"
    monkeypatch.setitem(inter_movies.STRUCTURES, name, kind | {f"{codec}-params": about})
    data = inter_movies.encode(name, 3)
    reader = open_bytes(tmp_path, data)
    check_colors(
        reader,
        inter_movies.decode(data),
        [0, 1, 2],
        matrix=MATRICES[matrix],
        full_range=False,
        interlaced=False,
    )


def crop(data, size, **edges):
    """The H.264 movie, cropped to a size by its sequence parameter set, rewritten by libav."""
    options = ":".join(f"crop_{edge}={n}" for edge, n in edges.items())
    target = BytesIO()
    with av.open(BytesIO(data)) as movie, av.open(target, "w", format="mp4") as other:
        (stream,) = movie.streams.video
        out = other.add_stream_from_template(stream)
        filtered = av.BitStreamFilterContext(f"h264_metadata={options}", stream, out)
        for packet in movie.demux(stream):
            for each in filtered.filter(packet if packet.size else None):
                each.stream = out
                other.mux(each)
    data = target.getvalue()
    place = data.rindex(b"avc1") + 28
    return data[:place] + struct.pack(">HH", *size[::-1]) + data[place + 4 :]


@pytest.mark.parametrize("structure", ["closed groups", "HEVC, closed groups", "4:2:2, 10 bit"])
@pytest.mark.parametrize("size", [(50, 90), (40, 66)])
def test_frames_smaller_than_their_macroblocks(tmp_path, structure, size):
    data = inter_movies.encode(structure, 20, size=size)
    reader, planes = open_bytes(tmp_path, data), inter_movies.decode(data)
    assert (reader.index.height, reader.index.width) == size == planes[0][0].shape
    luma = inter_movies.expected_gray16(planes)
    np.testing.assert_array_equal(reader.read(slice(None), pix_fmt="gray16le"), luma)
    window = {"y": slice(size[0] - 7, None), "x": slice(5, size[1] - 1)}
    part = reader.read([13, 2], pix_fmt="gray16le", **window)
    np.testing.assert_array_equal(part, luma[[13, 2], window["y"], window["x"]])
    check_colors(reader, planes, [13, 2], full_range=False, matrix=6, interlaced=False)


@pytest.mark.parametrize(("left", "top"), [(2, 0), (6, 4), (32, 8)])
def test_cropping_on_all_sides(tmp_path, left, top):
    data = inter_movies.encode("closed groups", 20)
    planes = inter_movies.decode(data)
    rows, columns = (top, 62), (left, 92)
    planes = [
        [
            plane[slice(*(n // k for n in rows)), slice(*(n // k for n in columns))]
            for plane, k in zip(each, (1, 2, 2), strict=True)
        ]
        for each in planes
    ]
    size = 62 - top, 92 - left
    reader = open_bytes(tmp_path, crop(data, size, left=left, top=top, right=4, bottom=2))
    luma = inter_movies.expected_gray16(planes)
    np.testing.assert_array_equal(reader.read(slice(None), pix_fmt="gray16le"), luma)
    check_colors(reader, planes, [11, 2], full_range=False, matrix=6, interlaced=False)


WAYS = {
    "read": lambda stack: stack.read(),
    "read in one thread": lambda stack: stack.read(parallel=False),
    "sum": lambda stack: stack.add_up().result()[0],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("max_run_bytes", [group_stack.MAX_RUN_BYTES, 6000])
@pytest.mark.parametrize("structure", ["closed groups", "open groups, pyramid", "HEVC, open groups"])
def test_what_a_plan_says_is_what_is_fetched(tmp_path, monkeypatch, structure, max_run_bytes, way):
    monkeypatch.setattr(group_stack, "MAX_RUN_BYTES", max_run_bytes)
    data = inter_movies.encode(structure)
    luma = inter_movies.expected_gray16(inter_movies.decode(data))
    selections = [59], [11, 13], [3, 59], [55, 40, 26, 11], list(range(60)), [7], list(range(10, 14))
    for number in range(len(selections)):
        (tmp_path / f"{number}.mp4").write_bytes(data)
    with serve_folder(tmp_path) as server:
        for number, frames in enumerate(selections):
            reader = MovieReader(f"{server.url}{number}.mp4", cache=False)
            plan, stack = reader.plan(frames), reader.stack(frames, pix_fmt="gray16le")
            before = server.n_requests, server.n_bytes_sent
            pixels = WAYS[way](stack)
            assert server.n_requests - before[0] == plan.n_requests
            assert server.n_bytes_sent - before[1] == plan.n_bytes
            expected = luma[frames].sum(axis=0, dtype=np.uint64) if way == "sum" else luma[frames]
            np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("structure", ["closed groups", "HEVC, open groups"])
def test_parameter_sets_in_the_samples(tmp_path, monkeypatch, structure):
    is_hevc = "HEVC" in structure
    codec, box, n_fixed = ("x265", b"hvcC", 22) if is_hevc else ("x264", b"avcC", 5)
    kind = inter_movies.STRUCTURES[structure] | {"tag": "hev1"}
    about = ":".join(filter(None, ["repeat-headers=1:chromaloc=2", kind.get(f"{codec}-params")]))
    monkeypatch.setitem(
        inter_movies.STRUCTURES, f"{structure}, in samples", kind | {f"{codec}-params": about}
    )
    data = inter_movies.encode(f"{structure}, in samples")
    planes = inter_movies.decode(data)
    luma = inter_movies.expected_gray16(planes)
    # libav's writer keeps them in the decoder configuration too: taken out there.
    place = data.index(box) + 4
    stop = place - 8 + int.from_bytes(data[place - 8 : place - 4], "big")
    n_sets = b"\0" if is_hevc else b"\xe0"
    record = (data[place : place + n_fixed] + n_sets).ljust(stop - place, b"\0")
    data = (data[:place] + record + data[stop:]).replace(b"avc1", b"avc3")
    reader = open_bytes(tmp_path, data)
    assert reader.index.codec == ("hev1" if is_hevc else "avc3")
    assert reader.index.coded.stream.bit_depth is None
    np.testing.assert_array_equal(reader.read(slice(None), pix_fmt="gray16le"), luma)
    for frame in (50, 31, 7):
        np.testing.assert_array_equal(reader.read(frame, pix_fmt="gray16le")[0], luma[frame])
    about = {"full_range": False, "matrix": 6, "interlaced": False, "chroma_location": 2}
    check_colors(reader, planes, [50, 7], **about)


@pytest.mark.parametrize("is_adaptive", [False, True])
def test_frames_of_two_fields(tmp_path, is_adaptive, sent):
    data, planes = field_pairs.make_movie(is_adaptive=is_adaptive)
    reader = open_bytes(tmp_path, data)
    assert (reader.n_frames, reader.interlaced) == (len(planes), True)
    luma = inter_movies.expected_gray16(planes)
    np.testing.assert_array_equal(reader.read(slice(None), pix_fmt="gray16le"), luma)
    for frame in np.random.default_rng(0).permutation(len(planes)).tolist():
        np.testing.assert_array_equal(reader.read(frame, pix_fmt="gray16le")[0], luma[frame])
    sent.clear()
    np.testing.assert_array_equal(reader.read([8, 8], pix_fmt="gray16le")[1], luma[8])
    assert sent == ([0, 1, 3, 5, 7] if is_adaptive else list(range(8)))
    check_colors(reader, planes, [20, 3, 8], full_range=False, matrix=6, interlaced=True)


TOP_BOTTOM, TELECINE = (3,), (5,)
PROGRESSIVE, SAYS_PROGRESSIVE, SAYS_INTERLACED, SAYS_NOTHING = (0,), (3, 0), (4, 1), (3, 2)
MIXTURES = {
    "frames and fields": (("frame", "fields", "fields", "copy", "frame"), ()),
    "one is interlaced": (("frame",), (TOP_BOTTOM, *8 * [PROGRESSIVE])),
    "film": (("frame",), (TOP_BOTTOM, TELECINE)),
    "scan types": (("frame",), (SAYS_NOTHING, SAYS_PROGRESSIVE, TOP_BOTTOM, SAYS_INTERLACED)),
    "all kinds": (
        ("frame", "fields", "copy", "frame", "frame", "fields", "copy"),
        (TOP_BOTTOM, PROGRESSIVE, None, TOP_BOTTOM, TELECINE, SAYS_PROGRESSIVE, PROGRESSIVE, SAYS_INTERLACED),
    ),
}
"""How frames are coded, and what the stream says of how they are shown, again and again."""


@pytest.mark.parametrize("in_samples", [False, True])
@pytest.mark.parametrize("is_adaptive", [False, True])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_mixtures_of_frames_and_fields(tmp_path, mixture, is_adaptive, in_samples):
    kinds, structures = MIXTURES[mixture]
    about = {"is_adaptive": is_adaptive, "in_samples": in_samples}
    data, planes = field_pairs.make_movie(kinds=kinds, structures=structures, **about)
    for painted, decoded in zip(planes, inter_movies.decode(data), strict=True):
        for mine, its in zip(painted, decoded, strict=True):
            np.testing.assert_array_equal(mine, its)
    luma, n_frames = inter_movies.expected_gray16(planes), len(planes)
    reader = open_bytes(tmp_path, data)
    assert (reader.n_frames, reader.interlaced) == (n_frames, not in_samples)
    order = np.random.default_rng(0).permutation(n_frames)
    for frame in order.tolist():
        np.testing.assert_array_equal(reader.read(frame, pix_fmt="gray16le")[0], luma[frame])
    np.testing.assert_array_equal(reader.read(slice(None), pix_fmt="gray16le"), luma)
    for step in (1, 2, 4, n_frames):
        reader = open_bytes(tmp_path, data, f"by-{step}.mp4")
        for start in range(0, n_frames, step):
            for frame, pixels in enumerate(reader.read(slice(start, start + step)), start):
                told = structures[frame % len(structures)] if structures else None
                in_fields = told in {TOP_BOTTOM, SAYS_INTERLACED, SAYS_NOTHING}
                if kinds[frame % len(kinds)] == "fields" or told is None:
                    in_fields = kinds[frame % len(kinds)] == "fields" or is_adaptive
                coded = CodedFrame(0, False, tuple(planes[frame]), False, 6, in_fields)
                assert np.abs(pixels - exact_inter_rgb(coded, 0, 255)).max() <= 0.501


SCANS = {
    "MBAFF": "tff=1:chromaloc=4",
    "fake-interlaced": "fake-interlaced=1",
    "progressive": "bframes=3:chromaloc=3",
}


@pytest.mark.parametrize(
    "scans",
    [["MBAFF", "fake-interlaced"], ["fake-interlaced", "MBAFF"], ["progressive", "MBAFF", "progressive"]],
)
def test_joined_movies_of_several_scans(tmp_path, monkeypatch, scans):
    for name, about in SCANS.items():
        kind = inter_movies.X264 | {"g": "12", "x264-params": f"{about}:repeat-headers=1"}
        monkeypatch.setitem(inter_movies.STRUCTURES, name, kind)
    parts = [inter_movies.encode(name, 30) for name in scans]
    reader = open_bytes(tmp_path, inter_movies.concat(*parts))
    planes = [each for part in parts for each in inter_movies.decode(part)]
    luma = inter_movies.expected_gray16(planes)
    assert reader.n_frames == len(luma) == 30 * len(scans)
    np.testing.assert_array_equal(reader.read(slice(None), pix_fmt="gray16le"), luma)
    for frame in np.random.default_rng(0).permutation(len(luma)).tolist():
        np.testing.assert_array_equal(reader.read(frame, pix_fmt="gray16le")[0], luma[frame])
    for k, name in enumerate(scans):
        location = {"MBAFF": 4, "progressive": 3}.get(name, 0)
        about = {"full_range": False, "matrix": 6, "interlaced": name == "MBAFF", "chroma_location": location}
        check_colors(reader, planes, [30 * k, 30 * k + 14, 30 * k + 29], **about)


@pytest.mark.parametrize("structure", ["closed groups", "HEVC, open groups"])
def test_a_pause_before_the_first_frame(tmp_path, structure):
    data = inter_movies.encode(structure, delay=7, use_editlist="1")
    reader = open_bytes(tmp_path, data)
    rows, time_base = inter_movies.demux(data)
    np.testing.assert_array_equal(reader.index.pts, rows[:, 0])
    assert abs(reader.index.pts[0] * time_base - Fraction(7, inter_movies.RATE)) < Fraction(1, 1000)
    luma = inter_movies.expected_gray16(inter_movies.decode(data))
    for frame in (59, 20, 0):
        np.testing.assert_array_equal(reader.read(frame, pix_fmt="gray16le")[0], luma[frame])
