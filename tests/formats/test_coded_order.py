"""The index of movies with inter-frame coding, compared with libav's demuxer."""

import struct
from contextlib import suppress
from functools import partial
from io import BytesIO
from itertools import pairwise

import field_pairs
import inter_movies
import numpy as np
import pytest
from atoms import full, table

from camhd_access.errors import InvalidMovieError, UnsupportedCodecError, UnsupportedMovieError
from camhd_access.formats.h26x import (
    Entry,
    find_entry,
    is_disposable,
    parse_configuration,
    read_parameters,
    shows_fields,
)
from camhd_access.formats.quicktime import Answer, Tail, parse_moov, read_movie_header


def parse(data):
    file = BytesIO(data)

    def read(request):
        start = max(0, len(data) - request.n_bytes) if isinstance(request, Tail) else request.start
        stop = len(data) if isinstance(request, Tail) else request.stop
        file.seek(start)
        return Answer(file.read(stop - start), start, len(data))

    moov, offset, size = read_movie_header(read)[:3]
    return parse_moov(moov, offset=offset, file_size=size)


def check(data):
    index = parse(data)
    rows, time_base = inter_movies.demux(data)
    assert index.timescale == 1 / time_base
    found = np.stack([index.pts, index.offset, index.size, index.is_sync], axis=1)
    np.testing.assert_array_equal(found, rows)
    assert (np.diff(index.pts) > 0).all()
    assert not index.hidden.any()
    return index


@pytest.mark.parametrize("structure", inter_movies.STRUCTURES)
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_the_index_is_that_of_libav(structure, suffix):
    index = check(inter_movies.encode(structure, suffix=suffix))
    assert index.n_frames == 60
    assert index.codec == ("hvc1" if "HEVC" in structure else "avc1")
    assert index.interlaced == (structure == "fields")
    assert index.coded.stream.bit_depth == (10 if "10 bit" in structure else 8)
    np.testing.assert_array_equal(index.pts[:-1] + index.duration[:-1], index.pts[1:])


@pytest.mark.parametrize("structure", ["closed groups", "open groups, pyramid", "HEVC, open groups"])
def test_variable_rate_faststart_and_negative_offsets(structure):
    assert len(set(check(inter_movies.encode(structure, varies=True)).duration.tolist())) == 3
    check(inter_movies.encode(structure, movflags="faststart"))
    check(inter_movies.encode(structure, movflags="negative_cts_offsets"))


@pytest.mark.parametrize("structure", ["closed groups", "open groups, pyramid", "HEVC, open groups"])
@pytest.mark.parametrize("skip_seconds", [0.5, 0.77, 1.0])
def test_a_copy_that_begins_within_a_group_hides_samples(structure, skip_seconds):
    index = check(inter_movies.copy(inter_movies.encode(structure), skip_seconds=skip_seconds))
    assert index.coded.n_hidden
    assert index.pts[0] == 0
    assert len(index.coded.offset) == index.n_frames + index.coded.n_hidden


@pytest.mark.parametrize("structure", ["closed groups", "open groups", "HEVC, closed groups"])
def test_groups_that_overlap_in_time_are_refused(structure):
    movies = 2 * [inter_movies.encode(structure)]
    check(inter_movies.concat(*movies))
    with pytest.raises(UnsupportedMovieError, match="sync sample 60 is shown before samples"):
        parse(inter_movies.concat(*movies, overlap_frames=1.5))


def test_edit_lists_that_are_not_one_stretch_are_refused():
    data = bytearray(inter_movies.copy(inter_movies.encode("closed groups"), skip_seconds=0.5))
    place = data.index(b"elst") + 8
    data[place + 12 : place + 14] = b"\0\2"  # twice the speed
    with pytest.raises(UnsupportedMovieError, match="one at another speed"):
        parse(bytes(data))


def test_damaged_descriptions():
    data = inter_movies.encode("closed groups")
    with pytest.raises(UnsupportedCodecError, match="0 avcC atoms"):
        parse(data.replace(b"avcC", b"free"))
    with pytest.raises(InvalidMovieError, match=r"avcC atom at byte .*version 9"):
        parse(data.replace(b"avcC\1", b"avcC\11"))
    place, frame_ticks = data.index(b"ctts") + 16, parse(data).timescale // inter_movies.RATE
    later = int.from_bytes(data[place : place + 4], "big") + frame_ticks
    with pytest.raises(UnsupportedMovieError, match="shown at the same time"):
        parse(data[:place] + later.to_bytes(4, "big") + data[place + 4 :])


def test_every_truncation_of_a_record_is_an_error_or_a_format():
    for codec, structure in (("h264", "closed groups"), ("hevc", "HEVC, 10 bit")):
        record = parse(inter_movies.encode(structure)).coded.stream.configuration
        for n in range(len(record)):
            with suppress(ValueError):
                assert parse_configuration(codec, record[:n]).configuration == record[:n]


def test_frames_that_are_said_to_be_shown_as_fields(monkeypatch):
    rate = "nal-hrd=vbr:vbv-maxrate=900:vbv-bufsize=900"
    for about, expected in (("tff=1", True), (f"tff=1:{rate}", True), (f"pic-struct=1:{rate}", False)):
        kind = inter_movies.X264 | {"g": "12", "x264-params": about}
        monkeypatch.setitem(inter_movies.STRUCTURES, about, kind)
        data = inter_movies.encode(about, 12)
        coded = parse(data).coded
        assert (coded.stream.n_delay_bits or 0) > 0 or rate not in about
        for sample in cut(data, coded):
            assert shows_fields(sample, coded.stream) is expected
            assert not shows_fields(sample, coded.stream._replace(n_delay_bits=None))
            assert not shows_fields(sample[:8], coded.stream)


@pytest.mark.parametrize("structure", inter_movies.STRUCTURES)
def test_streams_that_may_be_shown_in_another_order(structure):
    data = inter_movies.encode(structure)
    coded = parse(data).coded
    in_order = structure in {"no reordering", "gradual refresh", "intra only"}
    assert coded.stream.may_reorder is not in_order
    assert not coded.may_be_out_of_order
    coded = parse(inter_movies.forget_times(data)).coded
    assert coded.may_be_out_of_order is not in_order


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_without_parameter_sets_any_order_is_possible(codec):
    record = b"\1\x64\0\x1f\xff\xe0\0" if codec == "h264" else b"\1".ljust(23, b"\0")
    assert parse_configuration(codec, record).may_reorder


@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_parameter_sets_of_samples(codec, monkeypatch):
    kind = inter_movies.X264 if codec == "x264" else inter_movies.X265
    about = f"{'' if codec == 'x264' else 'log-level=0:'}repeat-headers=1:chromaloc=3:colormatrix=bt709"
    monkeypatch.setitem(inter_movies.STRUCTURES, codec, kind | {"tag": "hev1", f"{codec}-params": about})
    data = inter_movies.encode(codec, 3)
    coded = parse(data).coded
    first, *others = cut(data, coded)
    told = coded.stream
    assert (told.chroma_location, told.matrix, told.bit_depth) == (3, 1, 8)
    n_fixed, no_sets = (5, b"\xe0\0") if codec == "x264" else (22, b"\0")
    record = told.configuration[:n_fixed] + no_sets
    untold = parse_configuration(told.codec, record)
    assert (untold.chroma_location, untold.matrix, untold.bit_depth) == (0, 2, None)
    assert read_parameters(first, untold) == told._replace(configuration=record)
    assert read_parameters(others[0], untold) is untold
    found = {read_parameters(first[:n], untold) for n in range(len(first))}
    assert found == {untold, read_parameters(first, untold)}
    for n in range(1, 12) if codec == "x264" else ():  # there, the set is the first unit
        assert read_parameters(n.to_bytes(4, "big") + first[4 : 4 + n], untold) == untold


def test_where_decoding_can_begin():
    expected = {
        "closed groups": Entry.CLOSED,
        "open groups": Entry.OPEN,
        "gradual refresh": Entry.NONE,
        "HEVC, closed groups": Entry.CLOSED,
        "HEVC, open groups": Entry.OPEN,
    }
    for structure, entry in expected.items():
        data = inter_movies.encode(structure)
        coded = parse(data).coded
        offset, size = coded.offset, coded.size
        samples = [data[a : a + n] for a, n in zip(offset.tolist(), size.tolist(), strict=True)]
        first, *others = np.flatnonzero(coded.is_sync)
        assert find_entry(samples[first], coded.stream) is not Entry.NONE
        assert {find_entry(samples[i], coded.stream) for i in others} == {entry}
        assert find_entry(samples[first + 1], coded.stream) is Entry.NONE
        assert find_entry(b"\0\0\0\5", coded.stream) is Entry.NONE


def cut(data, coded):
    places = zip(coded.offset.tolist(), coded.size.tolist(), strict=True)
    return [data[start : start + n_bytes] for start, n_bytes in places]


@pytest.mark.parametrize("structure", inter_movies.STRUCTURES)
def test_samples_that_others_do_not_need(structure):
    data = inter_movies.encode(structure)
    coded = parse(data).coded
    samples = cut(data, coded)
    found = [is_disposable(sample, coded.stream) for sample in samples]
    np.testing.assert_array_equal(found, ~inter_movies.find_references(data))
    some = [sample for sample, is_free in zip(samples, found, strict=True) if is_free][:1]
    for sample in some:
        for damaged in (b"", sample[:-1], sample + b"\0", sample[:3], b"\0\0\0\0" + sample):
            assert not is_disposable(damaged, coded.stream)
        (first, *_) = samples  # with parameter sets, or a picture that is needed
        assert not is_disposable(sample + first, coded.stream)
        unknown = {"bit_depth": None, "adaptive_number_bits": None, "n_temporal_layers": 0}
        assert not is_disposable(sample, coded.stream._replace(**unknown))


def test_a_field_without_its_other_one_is_needed():
    data, _ = field_pairs.make_movie(is_adaptive=True)
    coded = parse(data).coded
    pair = cut(data, coded)[2]
    n_bytes = 4 + int.from_bytes(pair[:4], "big")
    assert is_disposable(pair, coded.stream)
    assert not is_disposable(pair[:n_bytes], coded.stream)
    assert not is_disposable(pair[n_bytes:], coded.stream)
    assert not is_disposable(b"\0\0\0\1\1", coded.stream)
    data, _ = field_pairs.make_movie()
    assert not is_disposable(pair, parse(data).coded.stream)


@pytest.mark.parametrize("location", range(6))
@pytest.mark.parametrize("codec", ["x264", "x265"])
def test_matrix_and_chroma_location_are_read(codec, location, monkeypatch):
    about = f"{'' if codec == 'x264' else 'log-level=0:'}chromaloc={location}:colormatrix=smpte170m"
    kind = inter_movies.X264 if codec == "x264" else inter_movies.X265
    name = f"{codec}, chroma {location}"
    monkeypatch.setitem(inter_movies.STRUCTURES, name, kind | {f"{codec}-params": about})
    stream = parse(inter_movies.encode(name, 3)).coded.stream
    assert (stream.chroma_location, stream.matrix) == (location, 6)


def mark_open_groups(data, make):
    """The movie with one sync sample in `stss`, and the others in the atom that `make` returns."""
    at = data.index(b"stss") - 4
    (size,) = struct.unpack_from(">I", data, at)
    first, *others = struct.unpack_from(f">{(size - 16) // 4}I", data, at + 16)
    marks = table("stss", [(first,)], "I") + make(others)
    grown = bytearray(data[:at] + marks + data[at + size :])
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):  # `moov` is behind the samples
        place = data.rindex(kind, 0, at) - 4
        struct.pack_into(">I", grown, place, struct.unpack_from(">I", data, place)[0] + len(marks) - size)
    return bytes(grown)


def in_stps(samples):
    return table("stps", [(sample,) for sample in samples], "I")


def in_group(samples, *, version=0):
    stops = [0, *samples]
    rows = [row for a, b in pairwise(stops) for row in ((b - a - 1, 0), (1, 1))]
    parameter = struct.pack(">I", 0) if version else b""
    return table("sbgp", rows, "II", prefix=b"rap " + parameter, version=version) + full(
        "sgpd", b"rap ", struct.pack(">IIB", 1, 1, 0), version=1
    )


@pytest.mark.parametrize("make", [in_stps, in_group, partial(in_group, version=1)])
@pytest.mark.parametrize("structure", ["open groups", "HEVC, open groups"])
def test_open_groups_that_are_not_sync_samples(structure, make):
    plain = inter_movies.encode(structure)
    marked = mark_open_groups(plain, make)
    index = check(marked)
    assert index.is_sync.sum() == parse(plain).is_sync.sum() > 2
    last = np.array([59])
    assert index.coded.find_starts(last) == parse(plain).coded.find_starts(last) > 40
    unmarked = parse(mark_open_groups(plain, lambda _: b""))
    assert unmarked.coded.find_starts(last) == 0


def test_damaged_marks_of_open_groups():
    plain = inter_movies.encode("open groups")
    with pytest.raises(InvalidMovieError, match=r"stps atom at byte .* lists samples outside 1 to 60"):
        parse(mark_open_groups(plain, lambda _: in_stps([61])))
    with pytest.raises(InvalidMovieError, match=r"sbgp atom at byte .* claims 9 entries"):
        parse(mark_open_groups(plain, lambda _: full("sbgp", b"rap ", struct.pack(">I", 9))))
    huge = table("sbgp", [(2**32 - 1, 1)] * 2, "II", prefix=b"rap ")
    assert parse(mark_open_groups(plain, lambda _: huge)).is_sync.all()
