"""Fragmented movies: by libav's muxer, and laid out anew by hand from the packets of those."""

import struct
from functools import cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import atoms
import av
import inter_movies
import numpy as np


@cache
def write(
    movflags, *, structure="open groups, pyramid", with_sound=True, suffix="mp4", n_frames=60, **muxing
):
    """A movie with the packets of `structure`, and sound if wanted."""
    with TemporaryDirectory() as folder:
        path = f"{folder}/movie.{suffix}"
        options = {"movflags": movflags} | muxing
        with (
            av.open(BytesIO(inter_movies.encode(structure, n_frames))) as movie,
            av.open(path, "w", options=options) as other,
        ):
            (stream,) = movie.streams.video
            video = other.add_stream_from_template(stream)
            sound = other.add_stream("aac", rate=48000, layout="mono") if with_sound else None
            packets = [packet for packet in movie.demux(stream) if packet.size]
            for i, packet in enumerate(packets):
                packet.stream = video
                other.mux(packet)
                if sound:
                    other.mux(sound.encode(_noise(i, 1600)))
            if sound:
                other.mux(sound.encode(None))
        return Path(path).read_bytes()


def _noise(i, n_samples):
    samples = np.random.default_rng(i).uniform(-0.1, 0.1, (1, n_samples)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
    frame.rate, frame.pts = 48000, i * n_samples
    return frame


def top_level(data):
    """Type, start and stop of each atom of a file."""
    found, position = [], 0
    while position < len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        found.append((kind.decode(), position, position + size))
        position += size
    return found


def lay_out(
    data,
    *,
    n_in_fragment=25,
    n_in_run=7,
    base="moof",
    times=1,
    common=False,
    with_offsets=True,
    sound_first=False,
):
    """The movie `data` in other fragments.

    Parameters
    ----------
    base
        "moof": `default-base-is-moof`; "file": `base-data-offset`; "chain": neither.
    times
        Version of `tfdt`; None: there is none.
    common
        Durations are in `tfhd` and `trex` where all are equal, flags are those of the first sample.
    with_offsets
        Whether each run says where it begins; else only the first of the movie's fragment does.
    """
    (head,) = [data[:stop] for kind, _, stop in top_level(data) if kind == "moov"]
    with av.open(BytesIO(data)) as movie:
        tracks = [
            (stream.index + 1, [p for p in movie.demux(stream) if p.size])
            for stream in movie.streams
            if not movie.seek(0)
        ]
    if sound_first:
        tracks.reverse()
    groups = [_batch(packets, 40 if k else n_in_fragment) for k, (_, packets) in enumerate(tracks)]
    pieces, position = [head], len(head)
    for i in range(max(map(len, groups))):
        present = [
            (track_id, group[i])
            for (track_id, _), group in zip(tracks, groups, strict=True)
            if i < len(group)
        ]
        options = {
            "base": base,
            "times": times,
            "common": common,
            "with_offsets": with_offsets,
            "n_in_run": n_in_run,
        }
        size = len(_moof(i, present, 0, position, **options))
        moof = _moof(i, present, size + 8, position, **options)
        mdat = atoms.atom("mdat", *(bytes(p) for _, packets in present for p in packets))
        pieces += [moof, mdat]
        position += len(moof) + len(mdat)
    return b"".join(pieces)


def _batch(packets, n):
    return [packets[i : i + n] for i in range(0, len(packets), n)]


def _moof(number, present, media_start, position, *, base, times, common, with_offsets, n_in_run):
    trafs, start = [], media_start
    for track_id, packets in present:
        fields = struct.pack(">Q", position) if base == "file" else b""
        flags = {"moof": 0x20000, "file": 1, "chain": 0}[base]
        ticks = {after.dts - before.dts for before, after in pairwise(packets)}
        is_common = common and len(ticks) == 1
        if is_common:
            flags |= 0x8 | 0x20
            fields += struct.pack(">II", *ticks, 0x1010000)
        tfhd = atoms.full("tfhd", struct.pack(">I", track_id), fields, flags=flags)
        tfdt = []
        if times is not None:
            tfdt = [atoms.full("tfdt", struct.pack(">Q" if times else ">I", packets[0].dts), version=times)]
        truns, own_base = [], start if base == "chain" and track_id != present[0][0] else 0
        for k, run in enumerate(_batch(packets, n_in_run)):
            says = with_offsets or (not k and base != "chain") or (not k and track_id == present[0][0])
            truns.append(_trun(run, start - own_base if says else None, is_common))
            start += sum(p.size for p in run)
        trafs.append(atoms.atom("traf", tfhd, *tfdt, *truns))
    return atoms.atom("moof", atoms.full("mfhd", struct.pack(">I", number + 1)), *trafs)


def _trun(packets, offset, is_common):
    flags, head = 0x200 | 0x800 | (0x1 if offset is not None else 0), struct.pack(">I", len(packets))
    head += b"" if offset is None else struct.pack(">i", offset)
    keys = [0 if p.is_keyframe else 0x1010000 for p in packets]
    if is_common and 0 not in keys[1:]:
        flags |= 0x4
        head += struct.pack(">I", keys[0])
        rows = [(p.size, p.pts - p.dts) for p in packets]
        layout = ">Ii"
    else:
        flags |= 0x100 | 0x400
        rows = [(p.duration, p.size, key, p.pts - p.dts) for p, key in zip(packets, keys, strict=True)]
        layout = ">IIIi"
    return atoms.full("trun", head, *(struct.pack(layout, *row) for row in rows), version=1, flags=flags)


def with_table(data, places=None, *, version=0, lengths=0b111001):
    """The movie with the table `mfra` of its fragments, or of other places, at its end."""
    found = [start for kind, start, _ in top_level(data) if kind == "moof"]
    place = ">QQ" if version else ">II"
    numbers = bytes(sum((lengths >> shift & 3) + 1 for shift in (0, 2, 4)))
    rows = [
        struct.pack(place, 1000 * i, at) + numbers for i, at in enumerate(found if places is None else places)
    ]
    head = struct.pack(">III", 1, lengths, len(rows))
    tfra = atoms.full("tfra", head, *rows, version=version)
    mfro = atoms.full("mfro", struct.pack(">I", 8 + len(tfra) + 16))
    return data + atoms.atom("mfra", tfra, mfro)


def with_first_table(data, *, sizes=None, version=0):
    """The movie with a table `sidx` of its fragments, or of parts of other sizes, after `moov`."""
    places = [start for kind, start, _ in top_level(data) if kind == "moof"]
    sizes = np.diff([*places, len(data)]).tolist() if sizes is None else sizes
    (moov_stop,) = [stop for kind, _, stop in top_level(data) if kind == "moov"]
    first = places[0] - moov_stop
    fields = struct.pack(">IIQQ" if version else ">IIII", 1, 1000, 0, first)
    rows = [struct.pack(">III", size, 1000, 0x9000_0000) for size in sizes]
    sidx = atoms.full("sidx", fields, struct.pack(">HH", 0, len(rows)), *rows, version=version)
    return data[:moov_stop] + sidx + data[moov_stop:]
