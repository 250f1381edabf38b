"""The walk to `moov`: its results, requests and bytes."""

import asyncio
from dataclasses import dataclass

import atoms
import pytest
from counted_file import CountedFile as File

from camhd_access.errors import (
    InvalidMovieError,
    MissingMoovError,
    NotAMovieError,
    UnsupportedCodecError,
    UnsupportedMovieError,
)
from camhd_access.formats.quicktime import (
    Answer,
    Tail,
    parse_moov,
    read_movie_header,
    read_movie_header_async,
)
from camhd_access.ranges import ByteRange

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
TAIL, HEAD = Tail(512 * KIB), ByteRange(0, 64 * KIB)


def moov(n_bytes):
    """A `moov` of that size: a header, and the rest user data."""
    header = atoms.mvhd()
    return atoms.atom("moov", header, atoms.atom("udta", bytes(n_bytes - 16 - len(header))))


def mdat(n_bytes):
    """The header of a `mdat` of that size, and the media."""
    return atoms.atom("mdat", size=n_bytes, wide=True), n_bytes - 16


CAMHD = moov(140 * KIB)
FTYP = atoms.FTYP
WIDE = atoms.atom("wide")


@dataclass
class Case:
    """A file, its `moov`, and the requests to find it."""

    pieces: tuple
    moov: bytes
    n_requests: int
    n_bytes_beyond: int = 512 * KIB
    """Maximum number of bytes fetched in addition to `moov`, or instead of it."""


CASES = {
    "as the archive's: moov at the end": Case((FTYP, WIDE, *mdat(13 * GIB), CAMHD), CAMHD, 1),
    "moov at the end of a small file": Case((FTYP, *mdat(200 * KIB), CAMHD), CAMHD, 1),
    "nothing but moov": Case((CAMHD,), CAMHD, 1),
    "moov fills the tail": Case((FTYP, *mdat(GIB), moov(512 * KIB)), moov(512 * KIB), 1),
    "moov with a 64-bit size": Case(
        (FTYP, *mdat(GIB), w := atoms.atom("moov", CAMHD[8:], wide=True)), w, 1
    ),
    "moov with size 0: to the end": Case((FTYP, *mdat(GIB), z := b"\0\0\0\0" + CAMHD[4:]), z, 1),
    "atoms behind moov": Case(
        (FTYP, *mdat(GIB), CAMHD, atoms.atom("free", bytes(9)), atoms.atom("udta")), CAMHD, 1
    ),
    "a second, small mdat behind moov": Case((FTYP, *mdat(GIB), CAMHD, *mdat(80 * KIB)), CAMHD, 1),
    "compressed moov at the end": Case(
        (FTYP, *mdat(GIB), c := atoms.compressed(CAMHD)), c, 1
    ),
    "the recorder left mdat open, but wrote moov": Case(
        (FTYP, atoms.atom("mdat", size=0), GIB, CAMHD), CAMHD, 1
    ),
    "many mdat before moov": Case((FTYP, *mdat(GIB) * 40, CAMHD), CAMHD, 1),
    "moov one byte longer than the tail": Case((FTYP, *mdat(GIB), m := moov(512 * KIB + 1)), m, 3, 64 * KIB),
    "moov far longer than the tail": Case((FTYP, *mdat(GIB), m := moov(17 * MIB)), m, 3, 64 * KIB),
    "moov straddles the tail's start": Case(
        (FTYP, *mdat(GIB), CAMHD, atoms.atom("free", bytes(400 * KIB))), CAMHD, 3, 1 * MIB
    ),
    "a header straddles the tail's start": Case(
        (FTYP, *mdat(GIB), CAMHD, atoms.atom("free", bytes(512 * KIB - 12))), CAMHD, 3, 1 * MIB
    ),
    "moov first": Case((FTYP, CAMHD, *mdat(13 * GIB)), CAMHD, 3, 512 * KIB + 100),
    "small moov first": Case((FTYP, moov(4 * KIB), *mdat(13 * GIB)), moov(4 * KIB), 2, 576 * KIB),
    "moov very first": Case((CAMHD, *mdat(GIB)), CAMHD, 3, 512 * KIB + 100),
    "moov ends where the head does": Case((FTYP, m := moov(64 * KIB - 20), *mdat(GIB)), m, 2, 512 * KIB + 20),
    "moov's header straddles the head's end": Case(
        (FTYP, atoms.atom("free", bytes(64 * KIB - 20 - 8 - 6)), CAMHD, *mdat(GIB)), CAMHD, 3, 2 * MIB
    ),
    "moov between two mdat": Case((FTYP, *mdat(6 * GIB), CAMHD, *mdat(6 * GIB)), CAMHD, 3, 2 * MIB),
    "moov behind three mdat, far from the end": Case(
        (FTYP, *mdat(GIB) * 3, CAMHD, *mdat(GIB)), CAMHD, 5, 4 * MIB
    ),
    "a long moov far from the end": Case((FTYP, *mdat(GIB), m := moov(9 * MIB), *mdat(GIB)), m, 4, 1 * MIB),
    "padding of zeros behind moov": Case((FTYP, *mdat(GIB), CAMHD, bytes(5)), CAMHD, 2, 576 * KIB),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_moov_is_found_at_its_cost(case):
    file = File(*case.pieces)
    data, offset, file_size = read_movie_header(file.read)[:3]
    assert data == case.moov
    assert file_size == file.size
    assert file.requests[:2] == [TAIL, HEAD][: case.n_requests]
    assert len(file.requests) == case.n_requests
    assert file.n_bytes <= len(data) + case.n_bytes_beyond
    assert file.read(ByteRange(offset, offset + len(data))).data == data


def test_a_head_reaches_no_further_than_the_tail():
    file = File(FTYP, bytes(20 * KIB), *mdat(512 * KIB))
    with pytest.raises(InvalidMovieError):
        read_movie_header(file.read)
    assert file.requests == [TAIL, ByteRange(0, 20 * KIB + len(FTYP))]


def test_no_byte_is_fetched_twice():
    for case in CASES.values():
        file = File(*case.pieces)
        read_movie_header(file.read)
        stops = [(file.size - TAIL.n_bytes, file.size), *file.requests[1:]]
        for (_, stop), (start, _) in zip(sorted(stops), sorted(stops)[1:], strict=False):
            assert stop <= start


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_async_caller_makes_the_same_requests(case):
    blocking, awaited = File(*case.pieces), File(*case.pieces)

    async def read(request):
        await asyncio.sleep(0)
        return awaited.read(request)

    assert asyncio.run(read_movie_header_async(read)) == read_movie_header(blocking.read)
    assert awaited.requests == blocking.requests


FAKES = {
    "letters alone": b"moov" * 100,
    "a whole moov in the media": CAMHD,
    "a moov to the end, but for its first child": b"\0\0\0\0moov\0\0\0\x10MVHD",
    "a moov that ends short of the end": b"\0\0\1\0moov\0\0\0\x10mvhd",
    "cut short": b"\0\0\1\0moo",
}


@pytest.mark.parametrize("fake", FAKES.values(), ids=FAKES)
def test_letters_in_the_media_fool_nobody(fake):
    media = bytes(2 * MIB), fake, bytes(3)
    n_bytes = sum(map(len, media))
    for pieces in (
        (FTYP, atoms.atom("mdat", size=n_bytes + 8), *media, CAMHD),
        (FTYP, CAMHD, atoms.atom("mdat", size=n_bytes + 8), *media),
    ):
        file = File(*pieces)
        data, offset, _ = read_movie_header(file.read)[:3]
        assert data == CAMHD
        assert offset == (len(FTYP) if pieces[1] is CAMHD else file.size - len(CAMHD))
        assert len(file.requests) == (3 if pieces[1] is CAMHD else 1)


def test_a_tail_full_of_fakes_costs_one_look_at_each():
    # Each seems to be followed by the next; the last by nothing. Tried anew from each, this would take hours.
    fakes = b"\0\0\0\x18moov\0\0\0\x10mvhd\0\0\0\0\0\0\0\0" * (512 * KIB // 24 + 1)
    file = File(FTYP, atoms.atom("mdat", size=2 * GIB), 2 * GIB - 8 - len(fakes) - 7, fakes, b"\0" * 7)
    with pytest.raises(MissingMoovError):
        read_movie_header(file.read)
    assert file.requests == [TAIL, HEAD]


@pytest.mark.parametrize(
    ("error", "match", "pieces"),
    [
        (NotAMovieError, "empty file", ()),
        (NotAMovieError, "file begins with b'<!DOCTYPE html", (b"<!DOCTYPE html><p>",)),
        (InvalidMovieError, "not a QuickTime movie", (16 * KIB,)),
        (InvalidMovieError, "not a QuickTime movie", (GIB,)),
        (NotAMovieError, "not a QuickTime movie", (b"RIFF\0\0\0\0AVI LIST", 8 * GIB)),
        (InvalidMovieError, "not a QuickTime movie: the file begins with b'mov'", (b"mov",)),
        (MissingMoovError, "recording interrupted", (FTYP,)),
        (MissingMoovError, "recording interrupted", (FTYP, WIDE, *mdat(13 * GIB))),
        (MissingMoovError, "recording interrupted", (FTYP, WIDE, *mdat(13 * GIB)[:1], 9 * GIB)),
        (MissingMoovError, "recording interrupted", (FTYP, atoms.atom("mdat", size=0), 9 * GIB)),
        (MissingMoovError, "recording interrupted", (FTYP, atoms.atom("mdat", size=8), 9 * GIB)),
        (MissingMoovError, "recording interrupted", (FTYP, atoms.atom("mdat", bytes(99))[:50])),
        (MissingMoovError, "recording interrupted", (FTYP, *mdat(GIB), b"\0\0\0\x02moov")),
        (InvalidMovieError, "cut off by the end of the file", (FTYP, CAMHD[:-1])),
        (InvalidMovieError, "cut off by the end of the file", (FTYP, *mdat(GIB), CAMHD[:-1])),
        (InvalidMovieError, "at most 67108864 are read", (FTYP, *mdat(GIB), b"\x10\0\0\0moov", GIB)),
        (InvalidMovieError, "at most 67108864 are read",
         (FTYP, b"\0\0\0\1moov", (13 * GIB).to_bytes(8, "big"), 14 * GIB)),
        (UnsupportedMovieError, "fragmented", (FTYP, atoms.atom("moof", bytes(99)), *mdat(GIB))),
        (UnsupportedMovieError, "16 requests", (FTYP, *mdat(GIB) * 40, CAMHD, *mdat(GIB))),
        (MissingMoovError, "recording interrupted", (FTYP, WIDE * 5000, *mdat(GIB))),
    ],
)  # fmt: skip
def test_what_is_refused(error, match, pieces):
    file = File(*pieces)
    with pytest.raises(error, match=match) as caught:
        read_movie_header(file.read)
    assert type(caught.value) is error
    assert len(file.requests) <= 16
    assert file.n_bytes <= 40 * MIB


def test_every_truncation_of_a_movie_is_an_invalid_movie():
    movie = atoms.movie([atoms.Track(atoms.samples(2))])
    for n_bytes in range(len(movie)):
        with pytest.raises(InvalidMovieError):
            read_movie_header(File(movie[:n_bytes]).read)


@pytest.mark.parametrize(
    "answers",
    [
        [Answer(b"abc", 0, 10)],
        [Answer(bytes(512 * KIB), GIB - 512 * KIB, GIB), Answer(b"abc", 0, GIB)],
        [Answer(bytes(512 * KIB), GIB - 512 * KIB, GIB), Answer(bytes(64 * KIB), 1, GIB)],
    ],
)
def test_an_answer_to_something_else_is_refused(answers):
    answer = iter(answers)
    with pytest.raises(ValueError, match="requested"):
        read_movie_header(lambda _: next(answer))


def test_what_goes_wrong_in_reading_reaches_the_caller():
    def fail(request):
        raise StopIteration

    with pytest.raises(StopIteration):
        read_movie_header(fail)


HEADS = {
    "MXF": bytes.fromhex("060e2b34020501010d01020101020400"),
    "Matroska": bytes.fromhex("1a45dfa3a3428681") + b"matroska",
    "gzip": b"\x1f\x8b\x08\x00",
    "compressed": b"BZh91AY&SY",
    "ZIP": b"PK\x03\x04",
    "a web page": b"\n <!DOCTYPE html><html>",
    "a web page ": b"<html lang=en>",
    "HEIC": b"\x00\x00\x00\x18ftypheic",
    "H.264": b"\x00\x00\x00\x01\x67\x64",
    "AVI": b"RIFF\x10\x00\x00\x00AVI LIST",
    "MPEG": b"\x00\x00\x01\xba",
    "still picture": b"\x89PNG\r\n",
    "HDF5": b"\x89HDF\r\n",
    "PDF": b"%PDF-1.7",
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("n_bytes", [0, 100, 2 * MIB])
def test_other_formats_are_named(name, n_bytes):
    with pytest.raises(NotAMovieError, match=f"not a QuickTime movie: .*; it is .*{name.strip()}"):
        read_movie_header(File(HEADS[name] + bytes(n_bytes)).read)


@pytest.mark.parametrize("head", [b"garbage!" * 4, b"\x00" * 16, b"xftypqt "])
def test_what_is_unknown_is_not_named(head):
    with pytest.raises(InvalidMovieError, match=r"not a QuickTime movie|no moov") as caught:
        read_movie_header(File(head + bytes(2 * MIB)).read)
    assert not isinstance(caught.value, NotAMovieError)


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("aprn", "ProRes RAW"),
        ("aprh", "ProRes RAW HQ"),
        ("avc1", "H.264"),
        ("hvc1", "HEVC"),
        ("jpeg", "JPEG"),
    ],
)
def test_other_codecs_are_named(codec, name):
    track = atoms.Track(atoms.samples(3), entry=atoms.video_entry(codec))
    data, offset, size = read_movie_header(File(atoms.movie([track])).read)[:3]
    with pytest.raises(UnsupportedCodecError, match=rf"the video is '{codec}' \(.*{name}.*\), not ProRes"):
        parse_moov(data, offset=offset, file_size=size)
