"""Opening a twin of two hours: 216,000 frames with sound, written by hand."""

import os
import struct

import atoms
import inter_movies
import numpy as np
import pytest

from camhd_access import MovieReader
from camhd_access.synthetic import serve_folder

N_FRAMES, N_SOUND, GROUP = 216_000, 337_500, 48


def table(kind, values):
    """A table whose rows are these big-endian numbers."""
    rows = np.asarray(values)
    return atoms.full(kind, struct.pack(">I", len(rows)), rows.tobytes())


def sizes_of(n, low, high):
    return np.random.default_rng(n).integers(low, high, n).astype(">u4")


def make_trak(kind, track_id, entry, sizes, offsets, *others):
    in_chunks = np.array([[1, len(sizes) // len(offsets), 1]], ">u4")
    times = np.array([[len(sizes), 1001 if kind == "vide" else 1024]], ">u4")
    stsz = atoms.full("stsz", struct.pack(">II", 0, len(sizes)), sizes.tobytes())
    tables = (table("stts", times), table("stsc", in_chunks), stsz, table("co64", offsets), *others)
    header = atoms.full("vmhd", bytes(8), flags=1) if kind == "vide" else atoms.full("smhd", bytes(4))
    minf = atoms.atom("minf", header, atoms.dinf(), atoms.atom("stbl", atoms.stsd(entry), *tables))
    mdhd = atoms.mdhd(timescale=30000 if kind == "vide" else 48000)
    tkhd = atoms.tkhd(track_id=track_id, width=96, height=64)
    return atoms.atom("trak", tkhd, atoms.atom("mdia", mdhd, atoms.hdlr(kind), minf))


def make_moov(start):
    """The index of a movie whose media begin at byte `start`, and how many bytes these are."""
    frames, sound = sizes_of(N_FRAMES, 2_000, 60_000), sizes_of(N_SOUND, 100, 500)
    ends = start + np.cumsum(frames, dtype=np.int64)
    sound_starts = ends[-1] + np.cumsum(sound, dtype=np.int64) - sound
    data = inter_movies.encode("closed groups")
    entry_at = data.index(b"avc1", data.index(b"stsd")) - 4
    entry = data[entry_at : entry_at + struct.unpack_from(">I", data, entry_at)[0]]
    shown = np.tile([1001, 3003, 0, 0], N_FRAMES // 4)
    ctts = np.stack([np.ones(N_FRAMES), shown], axis=1).astype(">u4")
    sync = np.arange(1, N_FRAMES, GROUP).astype(">u4")
    video = make_trak(
        "vide",
        1,
        entry,
        frames,
        (ends - frames).astype(">u8"),
        table("ctts", ctts),
        table("stss", sync),
    )
    audio = make_trak("soun", 2, atoms.AUDIO_ENTRY, sound, sound_starts[::3].astype(">u8"))
    n_bytes = int(sound_starts[-1] + sound[-1]) - start
    return atoms.atom("moov", atoms.mvhd(timescale=30000, duration=N_FRAMES * 1001), video, audio), n_bytes


def write(path, *, moov_first):
    """A sparse file, without media."""
    n_moov = len(make_moov(0)[0])
    start = len(atoms.FTYP) + 16 + n_moov * moov_first
    moov, n_media = make_moov(start)
    mdat = struct.pack(">I4sQ", 1, b"mdat", n_media + 16)
    with path.open("wb") as file:
        file.write(atoms.FTYP + (moov if moov_first else b"") + mdat)
        file.seek(n_media, os.SEEK_CUR)
        file.write(b"" if moov_first else moov)
        file.truncate(start + n_media + n_moov * (not moov_first))
    return n_moov


@pytest.mark.parametrize("moov_first", [True, False])
def test_it_opens_in_two_requests(tmp_path, moov_first):
    n_moov = write(tmp_path / "long.mp4", moov_first=moov_first)
    assert n_moov > 5 << 20
    with serve_folder(tmp_path) as server:
        reader = MovieReader(f"{server.url}long.mp4", cache=False)
        assert server.n_requests == 2
        assert server.n_bytes_sent <= n_moov + (64 << 10)
    assert reader.n_frames == N_FRAMES
    assert 7200 < reader.duration < 7210
    assert reader.index.is_sync.sum() == N_FRAMES // GROUP
    assert (np.diff(reader.index.pts) > 0).all()
