"""`parse_moov` compared with libav's demuxer, for every valid layout.

Where the two differ it is libav that departs from the tables, and the test concerned says so:

- it drops samples of no bytes;
- it makes up a duration for a first frame that has none;
- it calls every ProRes frame a key frame, whatever `stss` lists;
- a last edit of duration 0 shows nothing in libav, all that follows in ISO/IEC 14496-12.
"""

import io
import pickle
import struct
import subprocess
from dataclasses import replace

import atoms
import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_data import shared_data

from camhd_access.errors import InvalidMovieError, UnsupportedCodecError, UnsupportedMovieError
from camhd_access.formats.quicktime import Answer, Edit, MovieIndex, parse_moov, read_movie_header

VIDEO = atoms.Track(atoms.samples(23), samples_per_chunk=[3])
AUDIO = atoms.Track(
    [b"au"] * 150, "soun", samples_per_chunk=[20], durations=[1] * 150, timescale=48000, common_size=2
)
TIMECODE = atoms.Track([b"\0\0\1\2"], "tmcd", durations=[23 * 1001])


def parse(movie, **options):
    moov, offset, file_size = read_movie_header(lambda _: Answer(movie, 0, len(movie)))[:3]
    return parse_moov(moov, **({"offset": offset, "file_size": file_size} | options))


def libav_table(movie, **options):
    """Rows of offset, size, pts and duration of the video's packets, for a path or a file's bytes."""
    source = movie if isinstance(movie, str) else io.BytesIO(movie)
    with av.open(source, options=options or {"ignore_editlist": "1"}) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
        return np.array([(p.pos, p.size, p.pts, p.duration) for p in packets])


def table(index):
    return np.stack([index.offset, index.size, index.pts, index.duration], axis=1)


def assert_agrees(movie, index=None):
    index = parse(movie) if index is None else index
    np.testing.assert_array_equal(table(index), libav_table(movie))
    source = movie if isinstance(movie, str) else io.BytesIO(movie)
    with av.open(source) as container:
        stream = container.streams.video[0]
        assert (index.width, index.height) == (stream.width, stream.height)
        assert index.codec == stream.codec_context.codec_tag
        assert index.timescale == stream.time_base.denominator
    return index


def several_mdat(sizes=(200, 300)):
    """The media of `VIDEO`, each sample a chunk, in one `mdat` of about each size and one for the rest."""
    media, parts, offsets = list(VIDEO.samples), [], []
    start = len(atoms.FTYP)
    for size in (*sizes, 1 << 30):
        start += 8
        part = b""
        while media and len(part) < size:
            offsets.append(start + len(part))
            part += media.pop(0)
        parts.append(atoms.atom("mdat", part))
        start += len(part)
    return atoms.FTYP + b"".join(parts) + atoms.moov([replace(VIDEO, samples_per_chunk=[1])], [offsets])


FILLER = atoms.atom("free", b"moov" * 5) + atoms.atom("skip", bytes(3)) + atoms.atom("udta", bytes(4))
LAYOUTS = {
    "moov last": atoms.movie([VIDEO]),
    "moov first": atoms.movie([VIDEO], moov_first=True),
    "wide before mdat": atoms.movie([VIDEO], before=atoms.FTYP + atoms.atom("wide")),
    "no ftyp": atoms.movie([VIDEO], before=atoms.atom("wide")),
    "64-bit mdat": atoms.movie([VIDEO], wide=True),
    "64-bit mdat, moov first": atoms.movie([VIDEO], wide=True, moov_first=True),
    "several mdat": several_mdat(),
    "free, skip, udta between": atoms.movie([VIDEO], between=FILLER),
    "free, skip, udta behind": atoms.movie([VIDEO], after=FILLER),
    "free, skip, udta before, moov first": atoms.movie([VIDEO], moov_first=True, before=atoms.FTYP + FILLER),
    "udta in moov, ended by a zero": atoms.movie([VIDEO], extra=atoms.atom("udta", bytes(4)) + bytes(4)),
    "stco": atoms.movie([replace(VIDEO, chunk_table=atoms.stco)]),
    "constant stsz": atoms.movie([replace(VIDEO, samples=[b"x" * 9] * 23, common_size=9)]),
    "tabled stsz of equal sizes": atoms.movie([replace(VIDEO, samples=[b"x" * 9] * 23)]),
    "one chunk": atoms.movie([replace(VIDEO, samples_per_chunk=[23])]),
    "one frame": atoms.movie([replace(VIDEO, samples=[b"frame"])]),
    "last chunk differs, as in CamHD": atoms.movie([replace(VIDEO, samples_per_chunk=[6])]),
    "stsc changes at each chunk": atoms.movie([replace(VIDEO, samples_per_chunk=[1, 5, 2, 4, 3, 1, 2])]),
    "stsc changes early": atoms.movie([replace(VIDEO, samples_per_chunk=[5, 2])]),
    "stts changes at each frame": atoms.movie([replace(VIDEO, durations=[*range(1, 24)])]),
    "stts changes now and then": atoms.movie([replace(VIDEO, durations=[1001] * 9 + [2002] + [1001] * 13)]),
    "version 1 of mvhd, mdhd": atoms.movie(
        [replace(VIDEO, media_header_version=1)], header=atoms.mvhd(version=1)
    ),
    "ticks beyond 32 bit": atoms.movie(
        [replace(VIDEO, media_header_version=1, durations=[(1 << 31) - 1] * 22 + [1])]
    ),
    "edit list": atoms.movie([replace(VIDEO, edits=[(600, 2002, 1)])]),
    "edit list with a gap, version 1": atoms.movie(
        [replace(VIDEO, edits=[(100, -1, 1), (300, 1001, 1)], edits_version=1)]
    ),
    "audio before": atoms.movie([AUDIO, VIDEO]),
    "audio and timecode behind": atoms.movie([VIDEO, AUDIO, TIMECODE]),
    "timecode and audio before": atoms.movie([TIMECODE, AUDIO, VIDEO]),
    "audio, moov first": atoms.movie([AUDIO, VIDEO, TIMECODE], moov_first=True),
    "cmov": atoms.movie([AUDIO, VIDEO], compress=True),
    "ctts": atoms.movie([replace(VIDEO, composition=[2002, 0, -1001] * 7 + [0, 5])]),
    "letters of atoms in the media": atoms.movie(
        [AUDIO, replace(VIDEO, samples=[b"stsz\0\0\0\0co64stcomoov\0\0\0\x10mvhdtrak"] * 23)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("movie", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_agree_with_libav(movie):
    assert assert_agrees(movie).n_frames in (1, 23)


@given(st.data())
def test_random_layouts_agree_with_libav(data):
    draw = data.draw
    n = draw(st.integers(1, 60))
    constant = draw(st.none() | st.integers(1, 50))
    sizes = [constant] * n if constant else draw(st.lists(st.integers(1, 99), min_size=n, max_size=n))
    durations = draw(st.lists(st.sampled_from([1, 2, 1001, 70000]), min_size=n, max_size=n))
    counts = st.lists(st.integers(1, 7), min_size=1, max_size=30)
    video = atoms.Track(
        [bytes([i + 1]) * size for i, size in enumerate(sizes)],
        samples_per_chunk=draw(counts),
        durations=durations,
        common_size=constant,
        timescale=draw(st.sampled_from([25, 600, 30000, 90000])),
        chunk_table=draw(st.sampled_from([atoms.stco, atoms.co64])),
        media_header_version=draw(st.integers(0, 1)),
    )
    others = draw(st.lists(st.sampled_from([AUDIO, TIMECODE]), max_size=2, unique_by=id))
    place = draw(st.integers(0, len(others)))
    movie = atoms.movie(
        [*others[:place], video, *others[place:]],
        wide=draw(st.booleans()),
        moov_first=draw(st.booleans()),
        between=draw(st.sampled_from([b"", FILLER])),
    )
    assert_agrees(movie)


@pytest.mark.parametrize("chunk_table", [atoms.stco, atoms.co64])
def test_offsets_near_and_above_4_gib(tmp_path, chunk_table):
    offsets = (
        [100, (1 << 32) - 200] if chunk_table is atoms.stco else [100, (1 << 32) - 200, 5 << 30, 13 << 30]
    )
    video = replace(
        VIDEO, samples=atoms.samples(len(offsets)), samples_per_chunk=[1], chunk_table=chunk_table
    )
    moov = atoms.moov([video], [offsets])
    moov_offset = 14 << 30
    path = tmp_path / "sparse.mov"
    with path.open("wb") as file:
        file.write(atoms.FTYP + atoms.atom("mdat", size=moov_offset - len(atoms.FTYP), wide=True))
        file.seek(moov_offset)
        file.write(moov)
    index = parse_moov(moov, offset=moov_offset, file_size=path.stat().st_size)
    assert index.offset.tolist() == offsets
    assert_agrees(str(path), index)


@pytest.mark.parametrize("variant", ["", "-hq", "-lt", "-proxy"])
def test_movies_written_by_apple(variant):
    index = assert_agrees(shared_data("quicktime", f"apple-prores-422{variant}.mov").read_bytes())
    assert index.codec == {"": "apcn", "-hq": "apch", "-lt": "apcs", "-proxy": "apco"}[variant]
    assert str(index.creation_time).startswith("2012-11-16T1")
    assert index.edits == (Edit(600, 0, 1.0),)
    assert not index.hidden.any()


def ffmpeg(path, *arguments, seconds=1):
    source = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=30000/1001", "-f", "lavfi", "-i", "sine"]
    subprocess.run(["ffmpeg", "-v", "error", *source, *arguments, "-t", str(seconds), path], check=True)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("codec", "matrix", "encoder", "options"),
    [
        ("apcn", 9, "prores_ks", ["-profile:v", "2", "-colorspace", "bt2020nc", "-movflags", "+faststart"]),
        ("apch", 1, "prores_aw", ["-profile:v", "3", "-colorspace", "bt709"]),
        ("ap4h", None, "prores_ks", ["-profile:v", "4", "-movflags", "-write_colr"]),
    ],
)
def test_movies_written_by_ffmpeg(tmp_path, codec, matrix, encoder, options):
    encode = ["-pix_fmt", "yuv422p10", "-movflags", "write_colr", "-c:v", encoder, *options]
    when = ["-metadata", "creation_time=2016-11-13T00:04:00Z", "-timecode", "01:00:00:00"]
    movie = ffmpeg(tmp_path / "a.mov", *encode, *when)
    index = assert_agrees(movie)
    assert (index.codec, index.n_frames, index.timescale) == (codec, 30, 30000)
    assert index.duration.tolist() == [1001] * 30
    assert index.creation_time == np.datetime64("2016-11-13T00:04:00")
    assert index.color_matrix == matrix


def test_refused_movies_written_by_ffmpeg(tmp_path):
    with pytest.raises(UnsupportedMovieError, match="fragmented"):
        parse(ffmpeg(tmp_path / "a.mov", "-c:v", "prores_ks", "-movflags", "frag_keyframe+empty_moov"))
    with pytest.raises(UnsupportedCodecError, match="'mp4v'"):
        parse(ffmpeg(tmp_path / "b.mov", "-c:v", "mpeg4"))
    with pytest.raises(InvalidMovieError, match="no video track"):
        parse(ffmpeg(tmp_path / "c.mov", "-vn"))


def test_fields_come_from_where_the_format_puts_them():
    entry = atoms.video_entry("apch", 1920, 1080, atoms.atom("fiel", b"\2\1"), atoms.colr(6), bytes(4))
    seconds = 3_560_000_000
    movie = atoms.movie(
        [AUDIO, replace(VIDEO, entry=entry, timescale=600)], header=atoms.mvhd(creation=seconds, version=1)
    )
    index = parse(movie)
    assert (index.width, index.height) == (
        1920,
        1080,
    )  # tkhd says 64 x 48: the size shown, not the size coded
    assert (index.codec, index.timescale, index.color_matrix, index.interlaced) == ("apch", 600, 6, None)
    assert index.creation_time == np.datetime64("1904-01-01") + np.timedelta64(seconds, "s")
    assert index.creation_time.dtype == "datetime64[s]"
    assert index.offset.dtype == index.pts.dtype == np.int64
    assert index.is_sync.all()


@pytest.mark.parametrize("creation", [0, 1 << 63])
def test_absent_and_absurd_creation_times_are_none(creation):
    assert parse(atoms.movie([VIDEO], header=atoms.mvhd(creation=creation, version=1))).creation_time is None
    assert parse(atoms.movie([VIDEO], header=b"")).creation_time is None


@pytest.mark.parametrize("kind", ["nclc", "nclx", "prof"])
def test_color_matrix_is_that_of_numbered_colours_only(kind):
    movie = atoms.movie([replace(VIDEO, entry=atoms.video_entry("apcn", 64, 48, atoms.colr(9, kind)))])
    assert parse(movie).color_matrix == (None if kind == "prof" else 9)


def test_samples_of_no_bytes_and_no_duration_stay_in_the_index():
    samples = [b"", *atoms.samples(4), b"", *atoms.samples(4)]
    movie = atoms.movie([replace(VIDEO, samples=samples, durations=[0, 5, 0, 0, 6, 0, 3, 2, 1, 0])])
    index = parse(movie)
    assert index.size.tolist() == [len(s) for s in samples]
    assert index.duration.tolist() == [0, 5, 0, 0, 6, 0, 3, 2, 1, 0]
    # libav drops what has no bytes; and with it the frame whose duration it would make up
    np.testing.assert_array_equal(table(index)[index.size > 0], libav_table(movie))


def test_sync_samples_as_listed():
    # no oracle: libav calls every ProRes frame a key frame
    index = parse(atoms.movie([replace(VIDEO, sync=[1, 4])]))
    assert np.flatnonzero(index.is_sync).tolist() == [0, 3]
    assert not parse(atoms.movie([replace(VIDEO, sync=[])])).is_sync.any()


@pytest.mark.parametrize(
    "edits",
    [
        [],
        [(23 * 1001, 0, 1)],
        [(5 * 1001, 2 * 1001, 1)],
        [(500, -1, 1), (2 * 1001, 6 * 1001, 1), (1001, 1001, 1)],
        [(4 * 1001, 3 * 1001, 1), (4 * 1001, 5 * 1001, 1)],
    ],
)
@pytest.mark.parametrize("version", [0, 1])
def test_hidden_are_the_frames_that_libav_drops(edits, version):
    movie = atoms.movie(
        [replace(VIDEO, edits=edits, edits_version=version)], header=atoms.mvhd(timescale=30000)
    )
    index = parse(movie)
    assert index.edits == tuple(Edit(*edit) for edit in edits)
    shown = libav_table(movie, ignore_editlist="0")[:, 0]
    assert index.hidden.tolist() == [offset not in shown for offset in index.offset]


@pytest.mark.parametrize(
    "edits",
    [
        [],
        [(23 * 1001, 0, 1)],
        [(500, -1, 1), (23 * 1001, 0, 1)],
        [(100, -1, 1), (400, -1, 1), (23 * 1001, 0, 1)],
        [(500, -1, 1), (17 * 1001, 6 * 1001, 1)],
        [(500, -1, 1), (3 * 1001, 0, 1), (700, -1, 1), (20 * 1001, 3 * 1001, 1)],
        [(3 * 1001, 0, 1), (7 * 1001, -1, 1), (5 * 1001, 3 * 1001, 1)],
    ],
)
@pytest.mark.parametrize("timescale", [30_000, 60_000])
def test_frames_are_delayed_by_empty_edits_as_in_libav(edits, timescale):
    edits = [(duration * timescale // 30_000, time, rate) for duration, time, rate in edits]
    movie = atoms.movie([replace(VIDEO, edits=edits)], header=atoms.mvhd(timescale=timescale))
    index = parse(movie)
    shown = {(row[0], row[2]) for row in libav_table(movie, ignore_editlist="0")}  # some again, to discard
    cut = next((time for _, time, _ in edits if time >= 0), 0)  # libav shows the first frame at once
    ticks = (index.pts + index.delay)[~index.hidden]
    assert set(zip(index.offset[~index.hidden], ticks - cut, strict=True)) <= shown
    seconds = index.elapsed_all()[~index.hidden] / np.timedelta64(1, "ns")
    np.testing.assert_allclose(seconds, ticks / 30_000 * 1e9, atol=0.5, rtol=0)
    assert [index.elapsed(i) for i in range(23)] == list(index.elapsed_all())
    frames = np.array([20, 3, 3, 11])
    field = np.array([0, 1, 0, 1], np.int8)
    assert list(index.elapsed_of(frames)) == [index.elapsed(i) for i in frames]
    assert list(index.elapsed_of(frames, field)) == list(index.elapsed_all(fields=True)[2 * frames + field])
    assert index.end_seconds == (22 * 1001 + 1001 + index.delay[-1]) / 30_000
    assert index.total_seconds == index.end_seconds - index.delay[0] / 30_000


def test_edits_that_show_frames_in_another_order_delay_them_by_their_first_pause_alone():
    # no oracle: each frame has one time, that of its recording
    edits = [(500, -1, 1), (1001, 5 * 1001, 1), (900, -1, 1), (1001, 0, 1)]
    index = parse(atoms.movie([replace(VIDEO, edits=edits)], header=atoms.mvhd(timescale=30000)))
    assert set(index.delay.tolist()) == {500}


def test_a_pause_beyond_the_range_of_dates_is_refused():
    movie = atoms.movie(
        [replace(VIDEO, edits=[(1 << 62, -1, 1), (1001, 0, 1)], edits_version=1)],
        header=atoms.mvhd(timescale=30000),
    )
    with pytest.raises(InvalidMovieError, match="beyond the range of dates"):
        parse(movie)


@pytest.mark.parametrize(
    ("edit", "n_hidden_before", "n_hidden_behind"),
    [
        ((0, 2002, 1), 2, 0),  # no duration: to the end
        ((1000, 2002, 0), 2, 20),  # stands still on the frame at 2002 ticks, which is number 2
        ((1001, 0, 2), 0, 21),  # twice as fast: one frame's time shows two
        ((1001, 500, 1), 0, 21),  # half of two frames
        ((1 << 62, 22 * 1001, 1), 22, 0),
        ((1001, 1 << 61, 1), 23, 0),
        ((1001, -1, 1), 23, 0),
    ],
)
def test_hidden_by_hand(edit, n_hidden_before, n_hidden_behind):
    # no oracle: libav knows neither rates nor parts of frames
    movie = atoms.movie([replace(VIDEO, edits=[edit], edits_version=1)], header=atoms.mvhd(timescale=30000))
    shown = 23 - n_hidden_before - n_hidden_behind
    assert (
        parse(movie).hidden.tolist() == [True] * n_hidden_before + [False] * shown + [True] * n_hidden_behind
    )


def test_hidden_where_ticks_do_not_divide():
    # 1002 ticks of 1/30001 s end within the second frame, by a hair
    movie = atoms.movie([replace(VIDEO, edits=[(1002, 0, 1)])], header=atoms.mvhd(timescale=30001))
    assert np.flatnonzero(~parse(movie).hidden).tolist() == [0, 1]


def test_a_frame_of_no_duration_is_shown_if_its_moment_is():
    track = replace(VIDEO, samples=atoms.samples(4), durations=[10, 0, 0, 10], edits=[(5, 10, 1)])
    movie = atoms.movie([track], header=atoms.mvhd(timescale=30000))
    assert parse(movie).hidden.tolist() == [True, False, False, False]


def test_one_disabled_video_track_is_read_and_enabled_beats_disabled():
    off = replace(VIDEO, enabled=False)
    assert_agrees(atoms.movie([off]))
    short = replace(VIDEO, samples=atoms.samples(5))
    assert parse(atoms.movie([off, AUDIO, short])).n_frames == 5
    for tracks in ([VIDEO, short], [off, off]):
        with pytest.raises(UnsupportedMovieError, match="2 video tracks"):
            parse(atoms.movie(tracks))


def test_sample_descriptions_in_use_must_agree():
    def described(*entries, numbers):
        rows = [(i + 1, 1, number) for i, number in enumerate(numbers)]
        changed = {"stsc": atoms.table("stsc", rows, "III"), "stsd": atoms.stsd(*entries)}
        track = replace(VIDEO, samples=atoms.samples(len(numbers)), samples_per_chunk=[1])
        return parse(atoms.movie([track], **changed))

    large, small = atoms.video_entry("apcn", 1920, 1080), atoms.video_entry("apcn", 64, 48)
    assert described(large, large, numbers=[1, 2, 1]).width == 1920
    assert described(large, small, numbers=[2, 2, 2]).width == 64
    with pytest.raises(UnsupportedMovieError, match="change half-way"):
        described(large, small, numbers=[1, 2])
    for number in (0, 3):
        with pytest.raises(InvalidMovieError, match=f"refers to entry {number}"):
            described(large, small, numbers=[1, number])


@pytest.mark.parametrize(
    ("error", "match", "movie"),
    [
        (UnsupportedMovieError, "another file", atoms.movie([replace(VIDEO, dinf=atoms.dinf(("alis", 0)))])),
        (UnsupportedMovieError, "mvex", atoms.movie([VIDEO], extra=atoms.atom("mvex"))),
        (UnsupportedMovieError, "rmra", atoms.movie([], extra=atoms.atom("rmra"))),
        (UnsupportedMovieError, "stz2", atoms.movie([VIDEO], stsz=atoms.full("stz2", bytes(8)))),
        (UnsupportedMovieError, "compressed by b'adec'",
         atoms.FTYP + atoms.atom("mdat") + atoms.compressed(b"", method=b"adec")),
        (UnsupportedCodecError, "'avc1'", atoms.movie([replace(VIDEO, entry=atoms.video_entry("avc1"))])),
        (InvalidMovieError, "no video track", atoms.movie([AUDIO, TIMECODE])),
        (InvalidMovieError, "has no frames", atoms.movie([replace(VIDEO, samples=[])])),
    ],
)  # fmt: skip
def test_what_is_refused(error, match, movie):
    with pytest.raises(error, match=match) as caught:
        parse(movie)
    assert type(caught.value) is error


def test_media_without_data_references_lies_in_this_file():
    assert_agrees(atoms.movie([replace(VIDEO, dinf=b"")]))


def test_data_reference_in_use_is_the_one_that_counts():
    two = atoms.dinf(("alis", 0), ("alis", 1))
    entry = atoms.video_entry(reference=2)
    assert parse(atoms.movie([replace(VIDEO, dinf=two, entry=entry)])).n_frames == 23
    with pytest.raises(InvalidMovieError, match="entry 3"):
        parse(atoms.movie([replace(VIDEO, dinf=two, entry=atoms.video_entry(reference=3))]))


def test_samples_must_lie_within_the_file():
    movie = atoms.movie([VIDEO], moov_first=True)
    assert parse(movie).n_frames == 23
    with pytest.raises(InvalidMovieError, match=r"frame 22 is at byte \d+, 54 bytes long, in a file of"):
        parse(movie, file_size=len(movie) - 1)
    assert parse(movie, file_size=None).n_frames == 23


def test_frames_may_be_the_same_bytes_but_not_share_some():
    def placed(*offsets):
        track = replace(VIDEO, samples=[b"x" * 100] * len(offsets), samples_per_chunk=[1])
        return atoms.movie([track], place=atoms.co64(offsets))

    empty = replace(VIDEO, samples=[b"x" * 100, b"", b"", b"x"], samples_per_chunk=[1])
    assert parse(atoms.movie([empty], place=atoms.co64([100, 100, 150, 200]))).size[1] == 0
    for offsets in ([300, 200, 100], [100, 200, 100, 100]):
        movie = placed(*offsets)
        assert parse(movie).offset.tolist() == offsets
    for offsets in ([100, 199], [200, 101], [100, 300, 100, 150]):
        with pytest.raises(InvalidMovieError, match=r"frames \d and \d overlap"):
            parse(placed(*offsets))


def test_an_index_is_read_only_also_after_pickling():
    index = parse(LAYOUTS["edit list"])
    unpickled = pickle.loads(pickle.dumps(index))  # noqa: S301 - our own bytes
    for each in (index, unpickled, replace(index, interlaced=True)):
        np.testing.assert_array_equal(table(each), table(index))
        np.testing.assert_array_equal(each.hidden, index.hidden)
        assert (each.timescale, each.codec, each.edits) == (index.timescale, index.codec, index.edits)
        for name in ("offset", "size", "pts", "duration", "is_sync"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(each, name)[0] = 0


def test_an_index_is_checked_when_made():
    arrays = {name: [1, 2] for name in ("offset", "size", "pts", "duration", "is_sync")}
    described = {"timescale": 30000, "codec": "apcn", "width": 64, "height": 48}
    assert MovieIndex(**arrays, **described).n_frames == 2
    for name in arrays:
        with pytest.raises(ValueError, match="has shape"):
            MovieIndex(**arrays | {name: [1, 2, 3]}, **described)


def test_a_long_movie_needs_no_more_than_33_bytes_a_frame():
    n = 26_955  # a CamHD movie: six frames a chunk, the last chunk shorter
    sizes = [500_000 + i % 977 for i in range(n)]
    starts = np.cumsum([40, *sizes])
    changed = {
        "stsz": atoms.stsz(sizes),
        "stts": atoms.stts([1001] * n),
        "stsc": atoms.stsc([6] * (n // 6) + [n % 6]),
        "place": atoms.co64(starts[:-1:6].tolist()),
    }
    moov = atoms.moov([replace(VIDEO, samples=[b"x"])], [[0]], **changed)
    index = parse_moov(moov, offset=int(starts[-1]), file_size=int(starts[-1]) + len(moov))
    np.testing.assert_array_equal(index.offset, starts[:-1])
    assert index.pts[-1] == 1001 * (n - 1)
    assert sum(getattr(index, a).nbytes for a in ("offset", "size", "pts", "duration", "is_sync")) == 33 * n
    assert len(pickle.dumps(index)) < 34 * n + 1000
    assert struct.unpack_from(">I", moov)[0] == len(moov) < 160_000
