"""Damaged and malicious movie headers: a value or a `CamhdError`, in bounded memory."""

import random
import struct
import tracemalloc
import zlib
from dataclasses import replace

import atoms
import numpy as np
import pytest
from counted_file import CountedFile
from hypothesis import given
from hypothesis import strategies as st
from shared_data import shared_data

from camhd_access.errors import CamhdError, InvalidMovieError, UnsupportedMovieError
from camhd_access.formats.prores import max_sample_bytes
from camhd_access.formats.quicktime import parse_moov, read_movie_header

VIDEO = atoms.Track(
    atoms.samples(9),
    samples_per_chunk=[2, 1, 3],
    durations=[1001] * 5 + [500] * 4,
    edits=[(600, 0, 1)],
    composition=[0] * 9,
    sync=[1, 2],
    entry=atoms.video_entry("apcn", 64, 48, atoms.colr(1)),
)
AUDIO = atoms.Track([b"au"] * 20, "soun", durations=[1] * 20, common_size=2)
TRACKS = [AUDIO, VIDEO]
OFFSETS = atoms.interleave(TRACKS, 1000)[1]
FILE_SIZE = 5000
MOOV = atoms.moov(TRACKS, OFFSETS)
COMPRESSED = atoms.compressed(MOOV)
INTERESTING = (0, 1, 7, 8, 9, 16, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


def parse(moov, file_size=FILE_SIZE):
    return parse_moov(moov, offset=0, file_size=file_size)


def resized(moov):
    """The same bytes, with a size in front that says how many they are."""
    return struct.pack(">I", len(moov)) + moov[4:]


def try_parse(moov):
    """Parse, and check the properties of the resulting index."""
    try:
        index = parse(moov)
    except CamhdError as err:
        assert str(err)  # noqa: PT017 - anything that is not ours shall go through
        return
    assert index.n_frames > 0
    assert index.timescale > 0
    assert (index.offset >= 0).all()
    assert (index.size >= 0).all()
    assert (index.duration >= 0).all()
    assert (index.offset + index.size <= FILE_SIZE).all()
    assert index.hidden.shape == (index.n_frames,)


class Peak:
    """Peak memory within the block, in bytes."""

    def __enter__(self):
        tracemalloc.start()
        return self

    def __exit__(self, *_):
        self.n_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


def test_the_undamaged_movie_parses():
    assert parse(MOOV).n_frames == parse(COMPRESSED).n_frames == 9


@pytest.mark.parametrize("moov", [MOOV, COMPRESSED], ids=["plain", "compressed"])
def test_every_truncation(moov):
    for n_bytes in range(len(moov)):
        with pytest.raises(InvalidMovieError):
            parse(moov[:n_bytes])
        if n_bytes >= 8:
            try_parse(resized(moov[:n_bytes]))


def test_trailing_bytes():
    with pytest.raises(InvalidMovieError, match="no whole moov"):
        parse(MOOV + b"\0")
    for padding in (b"abc", bytes(4), bytes(100)):
        assert parse(resized(MOOV + padding)).n_frames == 9
    with pytest.raises(InvalidMovieError, match=f"no atom can begin at byte {len(MOOV)}"):
        parse(resized(MOOV + bytes(99) + b"1"))


@pytest.mark.slow
@pytest.mark.parametrize("moov", [MOOV, COMPRESSED], ids=["plain", "compressed"])
def test_every_bit_flipped(moov):
    for i in range(len(moov)):
        for bit in range(8):
            damaged = bytearray(moov)
            damaged[i] ^= 1 << bit
            try_parse(bytes(damaged))


@pytest.mark.slow
def test_every_field_replaced():
    for i in range(8, len(MOOV) - 3, 2):  # all fields of QuickTime begin at even places here
        for value in INTERESTING:
            try_parse(MOOV[:i] + struct.pack(">I", value) + MOOV[i + 4 :])


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_several_damages_at_once(seed, n_damages):
    rng = random.Random(seed)
    moov = bytearray(MOOV)
    for _ in range(n_damages):
        i = rng.randrange(8, len(moov) - 8)
        n = rng.choice((1, 4, 8, 40))
        kind = rng.randrange(4)
        if kind == 0:  # lost bytes
            del moov[i : i + n]
        elif kind == 1:  # bytes put in from elsewhere
            j = rng.randrange(len(moov))
            moov[i:i] = moov[j : j + n]
        elif kind == 2:  # another number
            moov[i : i + 4] = struct.pack(">I", rng.choice(INTERESTING))
        else:  # noise
            moov[i : i + n] = rng.randbytes(n)
    try_parse(resized(bytes(moov)))


@given(st.binary(max_size=200))
def test_noise(payload):
    with pytest.raises(InvalidMovieError):
        parse(payload)
    try_parse(atoms.atom("moov", payload))
    try_parse(atoms.atom("moov", atoms.atom("cmov", payload)))


TABLES = {
    "stts": lambda n: atoms.table("stts", [(5, 1001), (4, 500)], "II", n_rows=n),
    "ctts": lambda n: atoms.table("ctts", [(9, 0)], "Ii", n_rows=n),
    "stsc": lambda n: atoms.table("stsc", [(1, 2, 1), (2, 1, 1), (3, 3, 1)], "III", n_rows=n),
    "stsz": lambda n: atoms.table("stsz", [(40,)] * 9, "I", prefix=bytes(4), n_rows=n),
    "place": lambda n: atoms.table("co64", [(i,) for i in OFFSETS[1]], "Q", n_rows=n),
    "stss": lambda n: atoms.table("stss", [(1,), (2,)], "I", n_rows=n),
    "stsd": lambda n: atoms.stsd(atoms.video_entry(), n_entries=n),
}
TRUE_COUNTS = {"stts": 2, "ctts": 1, "stsc": 3, "stsz": 9, "place": 4, "stss": 2, "stsd": 1}


@pytest.mark.parametrize("kind", TABLES)
def test_counts_that_lie(kind):
    def moov(n_rows):
        return atoms.moov(TRACKS[::-1], OFFSETS[::-1], **{kind: TABLES[kind](n_rows)})

    true = TRUE_COUNTS[kind]
    assert parse(moov(true)).n_frames == 9
    fewer = [0, true - 1] if kind != "stss" else []
    for n_rows in (*fewer, true + 1, 1 << 20, 1 << 30, 1 << 31, (1 << 32) - 1):
        with Peak() as peak, pytest.raises(InvalidMovieError, match="atom at byte"):
            parse(moov(n_rows))
        assert peak.n_bytes < 1_000_000


def stbl(n_frames, *, size=1, **changed):
    """A `moov` with tables of one run each, which agree on any number of frames in a few bytes."""
    agreeing = {
        "stsz": atoms.full("stsz", struct.pack(">II", size, n_frames)),
        "stts": atoms.table("stts", [(n_frames, 1)], "II"),
        "stsc": atoms.table("stsc", [(1, n_frames, 1)], "III"),
        "place": atoms.co64([0]),
    }
    track = atoms.Track([b"x"])
    return atoms.moov([track], [[0]], **agreeing | changed)


@pytest.mark.parametrize("n_frames", [3_500_001, 1 << 31, (1 << 32) - 1])
def test_tables_that_agree_on_too_many_frames(n_frames):
    with Peak() as peak, pytest.raises(UnsupportedMovieError, match=f"{n_frames} frames; at most 3500000"):
        parse(stbl(n_frames), None)
    assert peak.n_bytes < 1_000_000
    with pytest.raises(InvalidMovieError):
        parse(stbl(n_frames, stsc=atoms.stsc([1])), None)


def test_the_longest_movie_that_is_read():
    n = 3_500_000
    sizes, places = np.full(n, 40_000, ">u4"), np.arange(1000, 40_000 * n, 40_000, ">i8")
    stsz = atoms.full("stsz", bytes(4), struct.pack(">I", n), sizes.tobytes())
    co64 = atoms.full("co64", struct.pack(">I", n), places.tobytes())
    moov = stbl(n, stsz=stsz, stsc=atoms.stsc([1]), place=co64)
    with Peak() as peak:
        assert parse(moov, None).offset[-1] == places[-1]
    assert len(moov) + peak.n_bytes < 200_000_000


BIG = 60 << 20  # about as many bytes as a walk brings
HOSTILE = {
    "millions of chunks for one frame": lambda: stbl(
        1, place=atoms.full("stco", struct.pack(">I", BIG // 4), bytes(BIG))
    ),
    "millions of runs of chunks": lambda: stbl(
        1, stsc=atoms.full("stsc", struct.pack(">I", BIG // 12), bytes(BIG))
    ),
    "millions of empty runs of times": lambda: stbl(
        2, stts=atoms.full("stts", struct.pack(">I", BIG // 8), bytes(BIG))
    ),
    "millions of sizes": lambda: stbl(
        1, stsz=atoms.full("stsz", bytes(4), struct.pack(">I", BIG // 4), bytes(BIG))
    ),
    "millions of tracks": lambda: atoms.atom("moov", atoms.atom("trak") * (BIG // 8)),
    "many tracks of many atoms": lambda: atoms.atom(
        "moov", atoms.atom("trak", *[atoms.atom("free")] * 510) * 512, atoms.atom("free")
    ),
    "millions of edits": lambda: atoms.moov(
        [replace(VIDEO, edits=[(1, 1, 1)] * 5000)], OFFSETS[1:]
    ),
    "millions of sample descriptions": lambda: stbl(
        1, stsd=atoms.full("stsd", struct.pack(">I", BIG // 8), atoms.atom("apcn") * (BIG // 8))
    ),
    "deep nesting": lambda: b"".join(
        struct.pack(">I4s", n_left, b"trak" if n_left < 8 << 20 else b"moov")
        for n_left in range(8 << 20, 0, -8)
    ),
    "offsets beyond 2^62": lambda: stbl(1, place=atoms.co64([1 << 63])),
    "offsets that sizes carry over 2^63": lambda: stbl(
        4, size=(1 << 32) - 1, place=atoms.co64([(1 << 63) - 9])
    ),
    "runs of chunks that descend": lambda: stbl(4, stsc=atoms.table("stsc", [(1, 1, 1), (1, 3, 1)], "III")),
    "runs of chunks that begin late": lambda: stbl(4, stsc=atoms.table("stsc", [(2, 4, 1)], "III")),
    "more runs than frames": lambda: stbl(2, stts=atoms.table("stts", [(2, 1), (0, 1), (0, 1)], "II")),
    "chunks of no samples": lambda: stbl(
        4, stsc=atoms.table("stsc", [(1, 4, 1), (2, 0, 1)], "III"), place=atoms.stco([0, 0])
    ),
    "no runs of chunks": lambda: stbl(4, stsc=atoms.table("stsc", [], "III")),
    "stco and co64": lambda: stbl(1, extra_place=atoms.stco([0])),
    "two stsz": lambda: stbl(1, again=atoms.stsz([1])),
    "sync sample 0": lambda: stbl(1, stss=atoms.stss([0])),
    "sync sample behind the last": lambda: stbl(1, stss=atoms.stss([2])),
    "no picture": lambda: stbl(1, stsd=atoms.stsd(atoms.video_entry(width=0))),
    "a backward edit": lambda: atoms.moov([replace(VIDEO, edits=[(1, 1, -1)])], OFFSETS[1:]),
    "edits without a movie's time scale": lambda: atoms.moov([VIDEO], OFFSETS[1:], header=b""),
    "zeros where tracks should be": lambda: atoms.atom("moov", bytes(BIG)),
    "edits of unknown version": lambda: atoms.moov([replace(VIDEO, edits=[], edits_version=2)], OFFSETS[1:]),
    "time scale of 0": lambda: atoms.moov([replace(VIDEO, timescale=0)], OFFSETS[1:]),
    "movie time scale of 0": lambda: atoms.moov([VIDEO], OFFSETS[1:], header=atoms.mvhd(timescale=0)),
    "clock of unknown version": lambda: atoms.moov(
        [VIDEO], OFFSETS[1:], header=atoms.full("mvhd", bytes(99), version=2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_movies(kind):
    moov = HOSTILE[kind]()
    with Peak() as peak, pytest.raises(InvalidMovieError):
        parse(moov, None)
    assert len(moov) + peak.n_bytes < 200_000_000


@pytest.mark.parametrize("announced", [0, 1 << 20, 4 << 20, 1 << 30, (1 << 32) - 1])
def test_zip_bombs(announced):
    zeros = zlib.compressobj(9)
    bomb = b"".join([*(zeros.compress(bytes(1 << 20)) for _ in range(64)), zeros.flush()])
    cmvd = atoms.atom("cmvd", struct.pack(">I", announced), bomb)
    moov = atoms.atom("moov", atoms.atom("cmov", atoms.atom("dcom", b"zlib"), cmvd))
    with Peak() as peak, pytest.raises(InvalidMovieError, match="inflate"):
        parse(moov)
    assert peak.n_bytes < 20_000_000


@pytest.mark.parametrize(
    ("match", "moov"),
    [
        ("does not inflate to the", atoms.compressed(MOOV, size=len(MOOV) - 1)),
        ("does not inflate to the", atoms.compressed(MOOV, size=len(MOOV) + 1)),
        ("within the compressed header: no whole moov", atoms.compressed(b"\0\0\0\x08free")),
        ("within the compressed header: moov .* no video track", atoms.compressed(COMPRESSED)),
        ("cannot be inflated", COMPRESSED.replace(b"\x78\x9c", b"\0\0")),
    ],
)
def test_compressed_headers_that_lie(match, moov):
    with pytest.raises(InvalidMovieError, match=match):
        parse(moov)


# ---- sizes and times that no movie has


def of_sizes(sizes, *, width, height, **changed):
    """A movie whose table has these sizes, whatever the samples are; each in a chunk of its own."""
    entry = atoms.video_entry("apcn", width, height)
    track = replace(VIDEO, samples=[b"x"] * len(sizes), samples_per_chunk=[1], entry=entry)
    track = replace(track, durations=None, composition=None, sync=None, edits=None)
    places = [1000 + sum(sizes[:i]) for i in range(len(sizes))]
    stsz = atoms.table("stsz", [(size,) for size in sizes], "I", prefix=bytes(4))
    return atoms.moov([track], [places], **{"stsz": stsz} | changed)


@pytest.mark.parametrize(
    ("width", "height", "most"),
    [
        # 4,112 bytes a macroblock of 16x16, in frames or in two fields, and 1 MiB
        (64, 48, (1 << 20) + 4112 * 4 * 4),
        (1920, 1080, (1 << 20) + 4112 * 120 * 68),
        (720, 486, (1 << 20) + 4112 * 45 * 32),
        (7680, 4320, 64 << 20),
    ],
)
def test_a_sample_larger_than_any_frame_of_its_size_is_refused(width, height, most):
    assert parse(of_sizes([40_000, most], width=width, height=height), None).size.max() == most
    for size in (most + 1, 3 << 30, (1 << 32) - 1):
        with pytest.raises(InvalidMovieError, match=f"frame 1 has {size:,} bytes"):
            parse(of_sizes([40_000, size], width=width, height=height), None)
        with pytest.raises(InvalidMovieError, match=f"has {size:,} bytes"):
            parse(of_sizes([9], width=width, height=height, stsz=atoms.stsz([b""], common=size)), None)


@pytest.mark.parametrize("name", ["", "-hq", "-lt", "-proxy"])
def test_frames_by_apples_encoder_are_far_below_the_bound(name):
    data = shared_data("quicktime", f"apple-prores-422{name}.mov").read_bytes()
    moov, offset, file_size = read_movie_header(CountedFile(data).read)[:3]
    index = parse_moov(moov, offset=offset, file_size=file_size)
    assert 4 * index.size.max() < max_sample_bytes(index.width, index.height)


@pytest.mark.parametrize(("width", "height"), [(65535, 65535), (4096, 2305), (65535, 192)])
def test_a_picture_that_is_larger_than_its_samples_allow_is_refused(width, height):
    with pytest.raises(
        InvalidMovieError, match=rf"no frame takes more than 900 bytes; {width}x{height} pixels"
    ):
        parse(of_sizes([900, 40], width=width, height=height), None)


@pytest.mark.parametrize("ticks", [1 << 31, (1 << 32) - 1, (1 << 32) - 1001])
def test_a_frame_that_lasts_longer_than_its_field_can_tell_is_refused(ticks):
    stts = atoms.table("stts", [(1, 1001), (1, ticks)], "II")
    with pytest.raises(InvalidMovieError, match=f"stts atom at byte .* lasts {ticks} ticks"):
        parse(of_sizes([40, 40], width=64, height=48, stts=stts), None)


MOST = (1 << 31) - 1


@pytest.mark.parametrize(
    ("durations", "composition", "timescale"),
    [([MOST, MOST], None, 1), ([1, MOST], [0, MOST], 1), ([MOST] * 9, None, 4)],
)
def test_times_beyond_the_calendar_are_refused(durations, composition, timescale):
    n = len(durations)
    track = replace(
        VIDEO, samples=[b"x" * 40] * n, samples_per_chunk=[1], durations=durations, composition=composition,
        timescale=timescale, media_header_version=1, edits=None, sync=None,
    )  # fmt: skip
    with pytest.raises(InvalidMovieError, match="beyond the range of dates"):
        parse(atoms.moov([track], [[1000 + 40 * i for i in range(n)]]), None)
