"""What a sample says about its dependence on others: where decoding can begin, and what can be left out.

A container marks some samples as sync samples, but writers mark more than decode exactly from there: the
start of a gradual refresh, or a picture in the middle of an open group. The sample itself tells: an IDR
picture empties the decoder; from a recovery point with a count of 0, all pictures that follow it in display
order are exact; a CRA or BLA picture of HEVC likewise.

Pictures to which no other refers are marked as well: in H.264 by a `nal_ref_idc` of 0 in all of their slices,
in HEVC as sub-layer non-reference pictures, to which only higher temporal layers may refer. A sample of such
a picture may be left out, unless it has something else that counts later, such as a parameter set.

Whether a frame of H.264 is interlaced is told by a message of its own. If that names the order of its fields
and no scan type, libav decides by the pictures before, of which a reader of single frames knows none.

Source: ITU-T H.264, 7.3.3, 7.4.1, 7.4.1.2.4, D.1.3, D.2.3 and D.2.8; ITU-T H.265, 3.147 and 7.4.2.2;
ISO/IEC 14496-15, 5.3.2 and 8.3.3.1.
"""

from collections.abc import Iterator
from contextlib import suppress
from enum import Enum

from camhd_access.formats.h26x.bits import BitReader, unescape
from camhd_access.formats.h26x.parameter_sets import H264_SPS, HEVC_SPS, StreamFormat, apply_sets
from camhd_access.ranges import ByteData

__all__ = ["Entry", "find_entry", "is_disposable", "read_parameters", "shows_fields"]

_SLICE, _IDR, _SEI = 1, 5, 6
_H264_SLICES = range(1, 6)
_HEVC_PICTURES, _HEVC_ENTRIES = range(32), range(16, 22)
_HEVC_CLOSED = range(19, 21)  # IDR
_PICTURE_TIMING, _RECOVERY_POINT = 1, 6
_TOP_BOTTOM, _BOTTOM_TOP = 3, 4
_UNKNOWN_SCAN = 2
_H264_PASSING, _HEVC_PASSING = {6, 9, 12}, {35, 38, 39, 40}
"""Messages, delimiters and fillers: nothing in them is needed for later samples."""
_HEVC_SLICES = range(0, 32, 4)
"""First bytes of slices of sub-layer non-reference pictures."""
_FRAME, _TOP, _BOTTOM = range(3)
_N_HEADER_BYTES = 24
"""Bytes of a slice that hold the beginning of its header."""


class Entry(Enum):
    """What decodes exactly if decoding begins at a sample."""

    CLOSED = "all that follows"
    OPEN = "pictures shown after it"
    NONE = "nothing for certain"


def find_entry(sample: ByteData, stream: StreamFormat) -> Entry:
    """What decodes exactly from this sample on; `NONE` too if it is damaged."""
    return _find_h264(sample, stream) if stream.codec == "h264" else _find_hevc(sample, stream)


def read_parameters(sample: ByteData, stream: StreamFormat) -> StreamFormat:
    """What holds from this sample on: its own parameter sets, or those before if it has no valid ones."""
    is_h264 = stream.codec == "h264"
    units = _iter_units(sample, stream.length_size)
    if is_h264:
        sets = [bytes(unit[1:]) for unit in units if unit[0] & 31 == H264_SPS]
    else:
        sets = [bytes(unit[2:]) for unit in units if unit[0] >> 1 & 63 == HEVC_SPS]
    with suppress(ValueError):
        return apply_sets(stream, sets)
    return stream


def is_disposable(sample: ByteData, stream: StreamFormat) -> bool:
    """Whether all other samples decode as well without this one.

    False if it is damaged, or if that is not certain.
    """
    units = list(_iter_units(sample, stream.length_size))
    if len(sample) != sum(stream.length_size + len(unit) for unit in units):
        return False
    return (
        _is_h264_disposable(units, stream) if stream.codec == "h264" else _is_hevc_disposable(units, stream)
    )


def _is_h264_disposable(units: list[memoryview], stream: StreamFormat) -> bool:
    slices = [unit for unit in units if unit[0] & 31 not in _H264_PASSING]
    if {unit[0] & 127 for unit in slices} != {_SLICE}:
        return False
    if not stream.interlaced:
        return stream.bit_depth is not None
    if stream.adaptive_number_bits is None:
        return False  # libav may call a frame interlaced because the one before it was
    try:
        parts = {_find_part(unit, stream.adaptive_number_bits) for unit in slices}
    except EOFError:
        return False
    return parts in ({_FRAME}, {_TOP, _BOTTOM})  # without a field, its other one would pair with the next


def shows_fields(sample: ByteData, stream: StreamFormat) -> bool:
    """Whether a message says that a picture of H.264 is shown as two fields, without naming a scan type."""
    if stream.n_delay_bits is None:
        return False
    for unit in _iter_units(sample, stream.length_size):
        kind = unit[0] & 31
        if kind in _H264_SLICES:
            break
        for number, message in _iter_messages(unit) if kind == _SEI else ():
            if number == _PICTURE_TIMING:
                with suppress(EOFError):
                    return _names_order_only(BitReader(message), stream.n_delay_bits)
    return False


def _names_order_only(timing: BitReader, n_delay_bits: int) -> bool:
    timing.u(n_delay_bits)
    if timing.u(4) not in {_TOP_BOTTOM, _BOTTOM_TOP}:
        return False
    has_time = timing.flag() or timing.flag()  # of the first or the second field
    return not has_time or timing.u(2) >= _UNKNOWN_SCAN


def _find_part(unit: memoryview, number_bits: int) -> int:
    """The part of a frame to which a slice belongs (H.264, 7.3.3)."""
    bits = BitReader(unescape(bytes(unit[1:_N_HEADER_BYTES])))
    bits.skip_ue(3)
    bits.u(number_bits)
    return _FRAME if not bits.flag() else _BOTTOM if bits.flag() else _TOP


def _is_hevc_disposable(units: list[memoryview], stream: StreamFormat) -> bool:
    headers = {bytes(unit[:2]) for unit in units if unit[0] >> 1 & 63 not in _HEVC_PASSING}
    # The second byte of slices of the base layer is the number of the temporal layer, counted from 1.
    return headers in [{bytes([first, stream.n_temporal_layers])} for first in _HEVC_SLICES]


def _iter_units(sample: ByteData, length_size: int) -> Iterator[memoryview]:
    """The NAL units of a sample; stops at the first that is incomplete."""
    view, position = memoryview(sample), 0
    while position + length_size < len(view):
        n_bytes = int.from_bytes(view[position : position + length_size], "big")
        position += length_size
        if not 0 < n_bytes <= len(view) - position:
            return
        yield view[position : position + n_bytes]
        position += n_bytes


def _find_h264(sample: ByteData, stream: StreamFormat) -> Entry:
    recovers = False
    for unit in _iter_units(sample, stream.length_size):
        kind = unit[0] & 31
        if kind == _SEI:
            recovers |= any(
                number == _RECOVERY_POINT and _recovers_at_once(BitReader(message))
                for number, message in _iter_messages(unit)
            )
        elif kind in _H264_SLICES:
            if kind == _IDR:
                return Entry.CLOSED
            return Entry.OPEN if recovers else Entry.NONE
    return Entry.NONE


def _recovers_at_once(message: BitReader) -> bool:
    """Whether there are no pictures to wait for, and those that follow are exact."""
    try:
        return not message.ue() and message.flag()
    except EOFError:
        return False


def _iter_messages(unit: memoryview) -> Iterator[tuple[int, bytes]]:
    """Number and payload of each message of a unit."""
    messages, position = unescape(bytes(unit[1:])), 0
    while position + 2 < len(messages):
        number, position = _sum_bytes(messages, position)
        n_bytes, position = _sum_bytes(messages, position)
        yield number, messages[position : position + n_bytes]
        position += n_bytes


def _sum_bytes(data: bytes, position: int) -> tuple[int, int]:
    """A number written as bytes that add up, all but the last of them 255; and the position after it."""
    total = 0
    while position < len(data):
        total += data[position]
        position += 1
        if data[position - 1] != 255:
            break
    return total, position


def _find_hevc(sample: ByteData, stream: StreamFormat) -> Entry:
    for unit in _iter_units(sample, stream.length_size):
        kind = unit[0] >> 1 & 63
        if kind in _HEVC_PICTURES:
            if kind in _HEVC_CLOSED:
                return Entry.CLOSED
            return Entry.OPEN if kind in _HEVC_ENTRIES else Entry.NONE
    return Entry.NONE
