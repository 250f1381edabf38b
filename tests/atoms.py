"""QuickTime files built by hand, atom by atom, for tests of the parser.

`atom` makes one atom; `Track` and `movie` make whole files of them. Samples are laid out as the chunks of the
tracks take turns, like a recorder does it, so that audio lies between the frames.
"""

import struct
import zlib
from dataclasses import dataclass, field
from itertools import zip_longest


def atom(kind, *payload, wide=False, size=None):
    """One atom; `wide`: with a 64-bit size; `size`: a size other than the true one."""
    body = b"".join(payload)
    if wide:
        return (
            struct.pack(">I4sQ", 1, kind.encode("latin-1"), len(body) + 16 if size is None else size) + body
        )
    return struct.pack(">I4s", len(body) + 8 if size is None else size, kind.encode("latin-1")) + body


def full(kind, *payload, version=0, flags=0, **options):
    """An atom that begins with version and flags."""
    return atom(kind, struct.pack(">I", version << 24 | flags), *payload, **options)


def table(kind, rows, layout, *, prefix=b"", n_rows=None, **options):
    """An atom that holds a counted table; `n_rows`: a count other than the true one."""
    body = b"".join(struct.pack(">" + layout, *row) for row in rows)
    return full(kind, prefix, struct.pack(">I", len(rows) if n_rows is None else n_rows), body, **options)


def runs(values):
    """Equal neighbours counted: [3, 3, 5] becomes [(2, 3), (1, 5)]."""
    counted = []
    for value in values:
        if counted and counted[-1][1] == value:
            counted[-1] = (counted[-1][0] + 1, value)
        else:
            counted.append((1, value))
    return counted


def stts(durations):
    return table("stts", runs(durations), "II")


def ctts(offsets):
    return table("ctts", runs(offsets), "Ii")


def stsc(samples_per_chunk, description=1):
    """One entry for each change."""
    rows = [
        (i + 1, n, description)
        for i, n in enumerate(samples_per_chunk)
        if not i or n != samples_per_chunk[i - 1]
    ]
    return table("stsc", rows, "III")


def stsz(sizes, *, common=None):
    """Sizes as a table, or `common` for all."""
    if common is None:
        return table("stsz", [(size,) for size in sizes], "I", prefix=bytes(4))
    return full("stsz", struct.pack(">II", common, len(sizes)))


def stco(offsets):
    return table("stco", [(offset,) for offset in offsets], "I")


def co64(offsets):
    return table("co64", [(offset,) for offset in offsets], "Q")


def stss(numbers):
    return table("stss", [(number,) for number in numbers], "I")


def mvhd(*, timescale=600, duration=0, creation=0, version=0):
    times = struct.pack(">QQIQ" if version else ">IIII", creation, creation, timescale, duration)
    return full(
        "mvhd", times, struct.pack(">IH10x", 65536, 256), _MATRIX, bytes(24), b"\0\0\0\x09", version=version
    )


def mdhd(*, timescale, duration=0, version=0):
    return full(
        "mdhd",
        struct.pack(">QQIQ" if version else ">IIII", 0, 0, timescale, duration),
        bytes(4),
        version=version,
    )


def tkhd(*, track_id=1, enabled=True, width=0, height=0):
    return full(
        "tkhd",
        struct.pack(">IIIII", 0, 0, track_id, 0, 0) + bytes(16) + _MATRIX,
        struct.pack(">II", width << 16, height << 16),
        flags=0xE | enabled,
    )


def elst(edits, *, version=0):
    """Edits are (segment duration, media time, rate)."""
    rows = [(duration, time, round(rate * 65536)) for duration, time, rate in edits]
    return table("elst", rows, "Qqi" if version else "Iii", version=version)


def hdlr(handler, component="mhlr"):
    return full("hdlr", component.encode() + handler.encode(), bytes(12), b"\0")


def colr(matrix, kind="nclc"):
    return atom("colr", kind.encode(), struct.pack(">HHH", 1, 1, matrix))


def video_entry(codec="apcn", width=64, height=48, *extensions, reference=1):
    fields = struct.pack(">6xHHH4sII", reference, 0, 0, b"test", 0, 512)
    fields += struct.pack(">HHIIIH32xHh", width, height, 72 << 16, 72 << 16, 0, 1, 24, -1)
    return atom(codec, fields, *extensions)


def stsd(*entries, n_entries=None):
    count = struct.pack(">I", len(entries) if n_entries is None else n_entries)
    return full("stsd", count, *entries)


def dinf(*references):
    """References are (type, flags); by default one, to this very file."""
    entries = [full(kind, flags=flags) for kind, flags in references or [("alis", 1)]]
    return atom("dinf", full("dref", struct.pack(">I", len(entries)), *entries))


AUDIO_ENTRY = atom("sowt", struct.pack(">6xHHH4sHHHHI", 1, 0, 0, b"test", 1, 16, 0, 0, 48000 << 16))
TIMECODE_ENTRY = atom("tmcd", struct.pack(">6xH4xIIIBx", 1, 0, 30000, 1001, 30))
_MATRIX = struct.pack(">9I", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
_MEDIA_HEADERS = {
    "vide": full("vmhd", bytes(8), flags=1),
    "soun": full("smhd", bytes(4)),
    "tmcd": atom("gmhd", full("gmin", bytes(12))),
}


@dataclass(frozen=True)
class Track:
    """One track; what is None is derived from the samples."""

    samples: list
    handler: str = "vide"
    samples_per_chunk: list = field(default_factory=lambda: [1])
    """Of the first chunks; the last number holds for all that follow."""
    durations: list = None
    timescale: int = 30000
    entry: bytes = None
    enabled: bool = True
    edits: list = None
    edits_version: int = 0
    composition: list = None
    sync: list = None
    common_size: int = None
    chunk_table: callable = co64
    media_header_version: int = 0
    dinf: bytes = None
    extra: bytes = b""
    """Atoms behind the others of `trak`."""

    def counts(self):
        """Samples of each chunk."""
        counts, left, i = [], len(self.samples), 0
        while left:
            counts.append(min(left, self.samples_per_chunk[min(i, len(self.samples_per_chunk) - 1)]))
            left -= counts[-1]
            i += 1
        return counts

    def chunks(self):
        """The samples of each chunk, joined."""
        samples = iter(self.samples)
        return [b"".join(next(samples) for _ in range(n)) for n in self.counts()]

    def tables(self, chunk_offsets):
        """The atoms of `stbl` by type, for a test to change some."""
        durations = self.durations or [1001] * len(self.samples)
        sizes = [len(sample) for sample in self.samples]
        atoms = {
            "stsd": stsd(
                self.entry
                or {"vide": video_entry(), "soun": AUDIO_ENTRY, "tmcd": TIMECODE_ENTRY}[self.handler]
            ),
            "stts": stts(durations),
            "stsc": stsc(self.counts()),
            "stsz": stsz(sizes, common=self.common_size),
            "place": self.chunk_table(chunk_offsets),
        }
        if self.composition:
            atoms["ctts"] = ctts(self.composition)
        if self.sync is not None:
            atoms["stss"] = stss(self.sync)
        return atoms

    def trak(self, chunk_offsets, track_id=1, **changed):
        """The `trak` atom; `changed`: atoms of `stbl` that replace the right ones, by type."""
        stbl = atom("stbl", *(self.tables(chunk_offsets) | changed).values())
        minf = atom(
            "minf",
            _MEDIA_HEADERS[self.handler],
            hdlr("alis", "dhlr"),
            dinf() if self.dinf is None else self.dinf,
            stbl,
        )
        header = mdhd(
            timescale=self.timescale,
            duration=sum(self.durations or [1001] * len(self.samples)),
            version=self.media_header_version,
        )
        edts = atom("edts", elst(self.edits, version=self.edits_version)) if self.edits is not None else b""
        return atom(
            "trak",
            tkhd(track_id=track_id, enabled=self.enabled, width=64, height=48),
            edts,
            atom("mdia", header, hdlr(self.handler), minf),
            self.extra,
        )


FTYP = atom("ftyp", b"qt  ", struct.pack(">I", 0x20050300), b"qt  ")


def interleave(tracks, start):
    """Media bytes from offset `start` on, one chunk of each track in turn, and each track's chunk offsets."""
    media, offsets = bytearray(), [[] for _ in tracks]
    for turn in zip_longest(*(track.chunks() for track in tracks)):
        for places, chunk in zip(offsets, turn, strict=True):
            if chunk is not None:
                places.append(start + len(media))
                media += chunk
    return bytes(media), offsets


def moov(tracks, offsets, *, header=None, extra=b"", **changed):
    """`changed`: atoms of the first track's `stbl`."""
    traks = [
        track.trak(places, i + 1, **(changed if i == 0 else {}))
        for i, (track, places) in enumerate(zip(tracks, offsets, strict=True))
    ]
    return atom("moov", mvhd() if header is None else header, *traks, extra)


def compressed(moov_bytes, *, method=b"zlib", size=None):
    """The same movie header as a `cmov`; `size`: a length other than the true one."""
    announced = len(moov_bytes) if size is None else size
    cmvd = atom("cmvd", struct.pack(">I", announced), zlib.compress(moov_bytes))
    return atom("moov", atom("cmov", atom("dcom", method), cmvd))


def movie(
    tracks, *, before=FTYP, between=b"", after=b"", wide=False, moov_first=False, compress=False, **options
):
    """A whole file: `before`, then `mdat`, `between`, `moov`, or the other way round, then `after`."""
    wrap = compressed if compress else bytes
    start = len(before) + (16 if wide else 8)
    if moov_first:
        head = b""
        while start != len(head) + (16 if wide else 8):  # what stands in `moov` depends on how long it is
            start = len(head) + (16 if wide else 8)
            media, offsets = interleave(tracks, start)
            head = before + wrap(moov(tracks, offsets, **options)) + between
        return head + atom("mdat", media, wide=wide) + after
    media, offsets = interleave(tracks, start)
    return before + atom("mdat", media, wide=wide) + between + wrap(moov(tracks, offsets, **options)) + after


def samples(n, *, size=40, step=7):
    """`n` samples of different sizes and bytes, never zero."""
    return [bytes([1 + i % 250]) * (size + step * (i % 5)) for i in range(n)]


def change_size(data, frame, n_bytes):
    """A whole file in which `frame` of the first track is said to take so many bytes."""
    at = data.index(b"stsz", data.rindex(b"moov")) + 16 + 4 * frame
    return data[:at] + struct.pack(">I", n_bytes) + data[at + 4 :]
