"""Segments of a film: read by libav's demuxer, from any of them on."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from camhd_access.output.provenance import Provenance
from camhd_access.output.segments import SegmentFormat, can_write_segments

RECORD = Provenance(movie="a.mov", frames="0:18")
FORMAT = SegmentFormat((64, 32), Fraction(30000, 1001), 30000)
TIMES = np.array([0, 1001, 2002, 3003, 5005, 6006, 7007, 9009, 10000])
"""Not regular; the last one is the end."""


def images(n):
    return [np.full((32, 64, 3), 20 + 9 * i, np.uint8) for i in range(n)]


def write(start, stop, number):
    times = TIMES[start : stop + 1]
    return FORMAT.write_segment(images(stop)[start:], times[:-1], np.diff(times), number)


@pytest.fixture(scope="module")
def film():
    return FORMAT.write_init(RECORD), write(0, 3, 1), write(3, 8, 2)


def boxes(data):
    """Type and content of each box."""
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        found.append((data[4:8], data[8:size]))
        data = data[size:]
    return found


def test_libav_reads_the_times_that_were_given(film):
    with av.open(io.BytesIO(b"".join(film))) as container:
        stream = container.streams.video[0]
        assert (stream.time_base, stream.codec_context.name) == (Fraction(1, 30000), "h264")
        assert (stream.codec_context.width, stream.codec_context.height) == (64, 32)
        packets = [packet for packet in container.demux(stream) if packet.size]
    assert [packet.pts for packet in packets] == [packet.dts for packet in packets] == TIMES[:-1].tolist()
    assert [packet.duration for packet in packets] == np.diff(TIMES).tolist()
    assert [i for i, packet in enumerate(packets) if packet.is_keyframe] == [0, 3]


def test_a_player_may_begin_with_any_segment(film):
    init, _, second = film
    with av.open(io.BytesIO(init + second)) as container:
        frames = list(container.decode(video=0))
    assert [frame.pts for frame in frames] == TIMES[3:-1].tolist()
    for frame, image in zip(frames, images(8)[3:], strict=True):
        assert frame.colorspace == frame.color_primaries == frame.color_trc == 1  # BT.709
        assert frame.color_range == 1  # video range
        assert abs(frame.to_ndarray(format="rgb24").astype(int) - image).max() <= 3


def test_the_parts_are_those_of_the_standard(film):
    init, first, second = film
    assert [name for name, _ in boxes(init)] == [b"ftyp", b"moov"]
    assert b"mvex" in init
    for number, segment in enumerate((first, second), 1):
        (name, moof), (data, _) = boxes(segment)
        assert (name, data) == (b"moof", b"mdat")
        (_, header), (_, track) = boxes(moof)
        assert int.from_bytes(header[4:], "big") == number
        assert [name for name, _ in boxes(track)] == [b"tfhd", b"tfdt", b"trun"]


def test_the_init_segment_has_the_record(film):
    with av.open(io.BytesIO(film[0] + film[1])) as container:
        assert Provenance.parse(container.metadata["comment"]) == RECORD


def test_the_same_images_give_the_same_bytes(film):
    assert (FORMAT.write_init(RECORD), write(0, 3, 1), write(3, 8, 2)) == film


def test_every_nth_frame_fits_between_segments_of_all(film):
    init, first, _ = film
    times = TIMES[[3, 6, 8]]
    sparse = FORMAT.write_segment(images(2), times[:-1], np.diff(times), 2)
    with av.open(io.BytesIO(init + first + sparse)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        assert [packet.pts for packet in packets] == TIMES[[0, 1, 2, 3, 6]].tolist()
        assert packets[-1].pts + packets[-1].duration == TIMES[-1]


def test_as_many_images_as_times():
    with pytest.raises(ValueError, match="zip"):
        FORMAT.write_segment(images(2), TIMES[:3], np.diff(TIMES[:4]), 1)


def test_the_encoder_is_there():
    assert can_write_segments()
