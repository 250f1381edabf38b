"""Fragmented movies, compared with libav's demuxer; and damaged ones."""

import struct
from contextlib import suppress

import atoms
import fragments
import inter_movies
import numpy as np
import pytest

from camhd_access.errors import CamhdError, InvalidMovieError, UnsupportedMovieError
from camhd_access.formats.quicktime import (
    Answer,
    Head,
    Tail,
    fragment_walk,
    parse_movie_header,
    read_movie_header,
)
from camhd_access.formats.quicktime import fragments as quicktime_fragments

PLAIN = "frag_keyframe+empty_moov"


class File:
    """Bytes with the requests for them."""

    def __init__(self, data):
        self.data, self.requests = data, []

    def read(self, request):
        self.requests.append(request)
        start, stop = 0, len(self.data)
        if isinstance(request, Tail):
            start = max(0, stop - request.n_bytes)
        elif isinstance(request, Head):
            stop = min(stop, request.n_bytes)
        else:
            start, stop = request
        return Answer(self.data[start:stop], start, len(self.data))


def parse(data):
    return parse_movie_header(read_movie_header(File(data).read))


def check(data, *, shift=0):
    index = parse(data)
    rows, time_base = inter_movies.demux(data)
    found = np.stack([index.pts + shift, index.offset, index.size, index.is_sync], axis=1)
    np.testing.assert_array_equal(found, rows)
    assert index.timescale == 1 / time_base
    for offset, size in zip(index.offset, index.size, strict=True):
        assert 0 < offset < offset + size <= len(data)
    return index


DELAYED = "frag_keyframe+empty_moov+default_base_moof+delay_moov"


@pytest.mark.parametrize("structure", ["closed groups", "open groups, pyramid", "HEVC, open groups"])
@pytest.mark.parametrize("skip_seconds", [0.0, 0.5, 0.77])
def test_edit_lists_hide_no_samples_of_fragments(structure, skip_seconds):
    data = inter_movies.encode(structure)
    index = check(inter_movies.copy(data, skip_seconds=skip_seconds, movflags=DELAYED))
    assert (index.coded.n_hidden, index.pts[0] < 0) == (0, skip_seconds > 0)


def samples_of(data):
    index = parse(data)
    return (data[start : start + size] for start, size in zip(index.offset, index.size, strict=True))


@pytest.mark.parametrize(
    "movflags",
    [
        PLAIN,
        "frag_keyframe",  # the first fragment's samples are in moov
        "frag_keyframe+empty_moov+default_base_moof",
        "frag_keyframe+empty_moov+omit_tfhd_offset",
        "frag_keyframe+dash",
        "frag_keyframe+dash+global_sidx",
        "frag_keyframe+empty_moov+separate_moof",
        "frag_keyframe+empty_moov+skip_trailer",
        "frag_every_frame+empty_moov",
    ],
)
@pytest.mark.parametrize("with_sound", [True, False])
def test_the_index_is_that_of_libav(movflags, with_sound):
    data = fragments.write(movflags, with_sound=with_sound)
    assert b"moof" in data
    assert check(data).n_frames == 60


@pytest.mark.parametrize("structure", ["closed groups", "one group", "intra only", "HEVC, open groups"])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_structures(structure, suffix):
    check(fragments.write(PLAIN, structure=structure, suffix=suffix))
    check(fragments.write("empty_moov", structure=structure, suffix=suffix, frag_duration="300000"))


def test_negative_composition_offsets():
    data = fragments.write(PLAIN + "+negative_cts_offsets", structure="closed groups")
    index = parse(data)
    # libav delays fragments by the lowest offset, but not other movies; ISO/IEC 14496-12, 8.6.1.3, does not.
    first = inter_movies.demux(data)[0][0, 0]
    assert index.pts[0] == 0 < first
    check(data, shift=first)
    whole = parse(inter_movies.encode("closed groups", movflags="negative_cts_offsets"))
    np.testing.assert_array_equal(index.pts * whole.timescale, whole.pts * index.timescale)


def test_negative_composition_offsets_of_cmaf():
    data = fragments.write("cmaf", with_sound=False)
    check(data, shift=inter_movies.demux(data)[0][0, 0])
    index, whole = parse(data), parse(inter_movies.encode("open groups, pyramid"))
    np.testing.assert_array_equal(index.pts * whole.timescale, whole.pts * index.timescale)


@pytest.mark.parametrize("base", ["moof", "file", "chain"])
@pytest.mark.parametrize("times", [1, 0, None])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_in_run": 1},
        {"n_in_run": 99, "common": True},
        {"common": True},
        {"sound_first": True},
        {"with_offsets": False},
        {"with_offsets": False, "sound_first": True},
    ],
    ids=str,
)
def test_layouts(base, times, options):
    whole = fragments.write(PLAIN)
    data = fragments.lay_out(whole, base=base, times=times, **options)
    # Without offsets runs follow each other (8.8.8.1); libav has each of them begin where the first does.
    index = check(data) if options.get("with_offsets", True) else parse(data)
    np.testing.assert_array_equal(index.pts, parse(whole).pts)
    assert list(samples_of(data)) == list(samples_of(whole))


def spread(data, gap):
    """The movie with `gap` bytes of other atoms before each fragment; bases relative to it stay right."""
    pieces = []
    for kind, start, stop in fragments.top_level(data):
        if kind == "moof":
            pieces.append(atoms.atom("free", bytes(gap - 8)))
        pieces.append(data[start:stop])
    return b"".join(pieces)


def test_requests():
    data = spread(fragments.lay_out(fragments.write(PLAIN), n_in_fragment=6), 600_000)
    file = File(data)
    header = read_movie_header(file.read)
    assert len(header.fragments) == 10
    assert len(file.requests) <= 2 + 2 * 10
    assert sum(r.n_bytes for r in file.requests) <= (512 << 10) + 20 * (64 << 10) + 10_000
    check(data)
    file = File(fragments.write(PLAIN))
    assert len(read_movie_header(file.read).fragments) == 4
    assert len(file.requests) == 1
    file = File(inter_movies.encode("closed groups"))
    assert read_movie_header(file.read).fragments == ()
    assert len(file.requests) == 1


class FarFile(File):
    """The same, with the number of requests that are answered at the same time."""

    def __init__(self, data):
        super().__init__(data)
        self.n_together = []

    def read_several(self, ranges):
        self.n_together.append(len(ranges))
        return [self.read(each) for each in ranges]


def read_far(data):
    """The file after its header was read; the fragments are all that it has."""
    file = FarFile(data)
    header = read_movie_header(file.read, file.read_several)
    places = [(start, stop) for kind, start, stop in fragments.top_level(data) if kind == "moof"]
    assert [(each.offset, each.offset + len(each.data)) for each in header.fragments] == places
    assert all(
        each.data == data[start:stop] for each, (start, stop) in zip(header.fragments, places, strict=True)
    )
    return file


def far_movie(*, before=b"", n_in_fragment=3):
    """Fragments 600 kB apart, each after some bytes of other atoms."""
    data = fragments.lay_out(fragments.write(PLAIN, with_sound=False), n_in_fragment=n_in_fragment)
    pieces = []
    for kind, start, stop in fragments.top_level(data):
        piece = data[start:stop]
        if kind == "mdat":
            piece = atoms.atom("mdat", piece[8:], bytes(600_000))
        pieces.append(before + piece if kind == "moof" else piece)
    return b"".join(pieces)


TABLES = {
    "mfra": fragments.with_table,
    "mfra, 64 bit": lambda data: fragments.with_table(data, version=1, lengths=0b000110),
    "sidx": fragments.with_first_table,
    "sidx, 64 bit": lambda data: fragments.with_first_table(data, version=1),
    "both": lambda data: fragments.with_table(fragments.with_first_table(data)),
}


@pytest.mark.parametrize("before", [b"", atoms.atom("styp", b"msdh", bytes(4))], ids=["", "styp"])
@pytest.mark.parametrize("table", TABLES)
def test_listed_fragments_are_requested_together(table, before):
    data = TABLES[table](far_movie(before=before))
    file = read_far(data)
    assert file.n_together == [19]
    assert len(file.requests) - 19 <= 3  # the end of the file, its start, and the first fragment
    assert sum(each.n_bytes for each in file.requests) <= (512 << 10) + 2 * (64 << 10) + 19 * (4 << 10) + 1000
    file = File(data)
    read_movie_header(file.read)  # where they cannot be answered together
    assert len(file.requests) <= 3 + 19


@pytest.mark.parametrize("table", ["mfra", "sidx"])
def test_from_the_head_on(table):
    data = TABLES[table](far_movie())
    file = FarFile(data)
    header = read_movie_header(file.read, file.read_several, head_first=True)
    np.testing.assert_array_equal(parse_movie_header(header).pts, parse(data).pts)
    assert isinstance(file.requests[0], Head)
    assert (
        len(file.requests) - sum(file.n_together) <= 3
    )  # the start of the file, its end, the first fragment
    assert file.n_together == [19]
    small = File(fragments.write(PLAIN))
    assert len(read_movie_header(small.read, head_first=True).fragments) == 4
    assert len(small.requests) == 1


def test_a_long_movie_is_read_in_a_few_batches(monkeypatch):
    monkeypatch.setattr(fragment_walk, "_MAX_AT_ONCE", 8)
    assert read_far(fragments.with_table(far_movie())).n_together == [8, 8, 3]
    monkeypatch.setattr(fragment_walk, "_MAX_BYTES_AT_ONCE", 20_000)
    assert read_far(fragments.with_table(far_movie())).n_together == [4, 4, 4, 4, 3]
    monkeypatch.setattr(
        fragment_walk, "MAX_FRAGMENT_REQUESTS", 16
    )  # more than the table may cost: one by one
    assert read_far(fragments.with_table(far_movie())).n_together == [4, 4, 4, 4]


def lies():
    data = far_movie()
    places = [start for kind, start, _ in fragments.top_level(data) if kind == "moof"]
    sizes = np.diff([*places, len(data)])
    return {
        "none": fragments.with_table(data, []),
        "some": fragments.with_table(data, places[::3]),
        "within fragments": fragments.with_table(data, [at + 9 for at in places]),
        "before fragments": fragments.with_table(data, [at - 9 for at in places]),
        "media": fragments.with_table(data, [at + 5000 for at in places] + places),
        "beyond the end": fragments.with_table(data, [*places[:5], 2**32 - 1]),
        "far beyond": fragments.with_table(data, [*places[:5], 2**63 + 1, 2**64 - 1], version=1),
        "backwards, twice": fragments.with_table(data, 2 * places[::-1]),
        "sizes": fragments.with_first_table(data, sizes=(sizes - 1).tolist()),
        "large sizes": fragments.with_first_table(data, sizes=[2**31 - 1] * 30),
        "two that differ": fragments.with_table(
            fragments.with_first_table(data, sizes=[1000] * 30), places[3:9]
        ),
        "cut off": fragments.with_table(data)[:-1],
        "too large": fragments.with_table(data)[:-4] + b"\xff" * 4,
        "too short": fragments.with_table(data)[:-4] + struct.pack(">I", 40),
        "of another kind": fragments.with_table(data).replace(b"tfra", b"free"),
        "claims more": fragments.with_table(data).replace(
            struct.pack(">II", 0b111001, 20), struct.pack(">II", 0b111001, 2**31)
        ),
    }


@pytest.mark.parametrize("lie", lies())
def test_a_table_that_lies_changes_nothing(lie):
    data = lies()[lie]
    file = read_far(data)
    assert len(file.requests) <= 3 + 3 * 21
    np.testing.assert_array_equal(parse(data).pts, parse(far_movie()).pts)


def test_damaged_tables_change_nothing():
    data = fragments.with_table(fragments.with_first_table(far_movie(n_in_fragment=12)))
    expected = parse(data).pts
    (sidx,) = [(start, stop) for kind, start, stop in fragments.top_level(data) if kind == "sidx"]
    (mfra,) = [(start, stop) for kind, start, stop in fragments.top_level(data) if kind == "mfra"]
    rng = np.random.default_rng(2)
    for start, stop in (sidx, mfra):
        for place in rng.integers(start + 8, stop, 60).tolist():
            changed = bytearray(data)
            changed[place] = rng.integers(256)
            file = FarFile(bytes(changed))
            header = read_movie_header(file.read, file.read_several)
            np.testing.assert_array_equal(parse_movie_header(header).pts, expected)


def test_too_many_requests(monkeypatch):
    monkeypatch.setattr(fragment_walk, "MAX_FRAGMENT_REQUESTS", 5)
    data = spread(fragments.lay_out(fragments.write(PLAIN), n_in_fragment=6), 600_000)
    with pytest.raises(UnsupportedMovieError, match="more fragments than 5 requests reach"):
        parse(data)


def test_too_many_runs(monkeypatch):
    monkeypatch.setattr(quicktime_fragments, "MAX_RUNS", 10)
    with pytest.raises(UnsupportedMovieError, match="more than 10 runs"):
        parse(fragments.lay_out(fragments.write(PLAIN)))


def change(data, kind, position, layout, *values):
    """`data` with other fields in the first atom of a kind after `moov`."""
    start = data.index(kind, data.index(b"moof")) + 4 + position
    return data[:start] + struct.pack(layout, *values) + data[start + struct.calcsize(layout) :]


def without_rows(data, n_samples):
    """The first run lists nothing and claims this many samples."""
    start = data.index(b"trun", data.index(b"moof")) + 4
    return data[:start] + struct.pack(">IIi", 1, n_samples, 0) + data[start + 12 :]


@pytest.mark.parametrize(
    ("match", "error", "damage"),
    [
        ("claims 4294967295 samples", InvalidMovieError, lambda d: change(d, b"trun", 4, ">I", 2**32 - 1)),
        ("at most 3500000 are read", UnsupportedMovieError, lambda d: without_rows(d, 2**32 - 1)),
        ("places 7 samples at bytes -", InvalidMovieError, lambda d: change(d, b"trun", 8, ">i", -(2**31))),
        ("in a file of", InvalidMovieError, lambda d: change(d, b"trun", 8, ">i", 2**31 - 1)),
        ("frames .* and .* overlap", InvalidMovieError, lambda d: change(d, b"trun", 8 + 8, ">I", 5000)),
        ("lasts 4294967295 ticks", InvalidMovieError, lambda d: change(d, b"trun", 8 + 4, ">I", 2**32 - 1)),
        ("beyond 2", InvalidMovieError, lambda d: change(d, b"tfdt", 4, ">Q", 2**64 - 1)),
        ("beyond the range of dates", InvalidMovieError, lambda d: change(d, b"tfdt", 4, ">Q", 2**61)),
        ("size 4294967295, but", InvalidMovieError, lambda d: change(d, b"traf", -8, ">I", 2**32 - 1)),
        ("moof atom at byte .*cut off by", InvalidMovieError, lambda d: change(d, b"moof", -8, ">I", 2**31)),
        ("no atom can begin", InvalidMovieError, lambda d: change(d, b"moof", -8, ">I", 7)),
        ("has no tfhd", InvalidMovieError, lambda d: change(d, b"tfhd", -4, ">4s", b"free")),
        ("no trex for track 1", InvalidMovieError, lambda d: d.replace(b"trex", b"free", 1)),
        ("no frames, and no fragment", InvalidMovieError, lambda d: d.replace(b"moof", b"free")),
    ],
)  # fmt: skip
def test_damage_is_named(match, error, damage):
    data = fragments.lay_out(fragments.write(PLAIN))
    with pytest.raises(error, match=match):
        parse(damage(data))


def test_every_damage_ends_in_an_error_or_an_index():
    data = fragments.lay_out(fragments.write(PLAIN), n_in_fragment=40)
    start = data.index(b"moof") - 4
    stop = start + struct.unpack_from(">I", data, start)[0] + 8
    rng = np.random.default_rng(1)
    for place in rng.integers(start, stop, 400).tolist():
        changed = bytearray(data)
        changed[place] = rng.integers(256)
        with suppress(CamhdError):
            parse(bytes(changed))


def test_every_truncation():
    data = fragments.lay_out(fragments.write(PLAIN), n_in_fragment=40)
    fragments_at = [start for kind, start, _ in fragments.top_level(data) if kind == "moof"]
    n_read = set()
    for n_bytes in range(fragments_at[0], len(data), 211):
        try:
            n_read.add(parse(data[:n_bytes]).n_frames)
        except InvalidMovieError:
            continue
    assert n_read == {40, 60}  # 60: only sound is missing
