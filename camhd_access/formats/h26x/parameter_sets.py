"""What the sample description of H.264 or HEVC says about the pictures.

Its decoder configuration record (`avcC`, `hvcC`) holds the parameter sets. Of the first sequence parameter
set, only the facts that libav does not tell about a decoded frame are kept: where chroma samples lie, and
what users ask before anything is decoded (bit depth, fields). A record without parameter sets is legal
(`avc3`, `hev1` have them in the samples): those facts are then unknown, and the usual ones are assumed, until
a sample is decoded that has them.

Source: ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1; ITU-T H.264, 7.3.2.1.1 and E.1.1; ITU-T H.265, 7.3.2.2, E.2.1.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from camhd_access.formats.h26x.bits import BitReader, unescape

__all__ = ["MAX_LATE", "Codec", "StreamFormat", "apply_sets", "parse_configuration"]

Codec = Literal["h264", "hevc"]

MAX_LATE = 16
"""Frames that a decoder can hold back (ITU-T H.264, A.3.1; H.265, A.4.2)."""

LEFT = 0
"""Chroma samples at even columns, between two lines (ITU-T H.273, chroma sample location type)."""

H264_SPS, HEVC_SPS = 7, 33
"""Types of the NAL units that are sequence parameter sets."""

_PROFILES_WITH_FORMAT = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
_BASELINE, _AS_DECODED = 66, 2
_EXTENDED_ASPECT = 255
_MAX_REFERENCES = 64
_MAX_BUFFERS = 32


class StreamFormat(NamedTuple):
    """Properties of the coded pictures."""

    codec: Codec
    """libav's name of the codec."""
    length_size: int
    """Bytes of the length before each NAL unit of a sample."""
    bit_depth: int | None
    """Bits of luma; None if the parameter sets are in the samples."""
    chroma_location: int
    """Position of the chroma samples: 0 left, 1 centre, 2 top left, 3 top, 4 bottom left, 5 bottom."""
    matrix: int
    """Number of the colour matrix (ITU-T H.273); 2 if it is not stated."""
    interlaced: bool
    """Whether frames may be coded as two fields."""
    adaptive_number_bits: int | None
    """Bits of `frame_num` in slice headers, if all frames that are not coded as two fields are coded field by
    field where that is better (H.264, MBAFF); None otherwise, or if that is not known."""
    n_delay_bits: int | None
    """Bits of the times before `pic_struct` in messages of H.264; None if it is not in them, or unknown."""
    may_reorder: bool
    """Whether pictures may be shown in another order than they are decoded, or that is not known."""
    n_temporal_layers: int
    """Temporal layers of HEVC; 0 if their number is not stated."""
    configuration: bytes
    """The record itself, which a decoder needs."""


class _Usability(NamedTuple):
    matrix: int = 2
    chroma_location: int = LEFT


class _Sequence(NamedTuple):
    bit_depth: int
    interlaced: bool
    adaptive_number_bits: int | None
    usability: _Usability
    n_delay_bits: int | None
    may_reorder: bool


def parse_configuration(codec: Codec, record: bytes) -> StreamFormat:
    """The properties that a decoder configuration record (`avcC` or `hvcC`) states.

    Raises
    ------
    ValueError
        It is truncated, or of an unknown version.
    """
    is_h264 = codec == "h264"
    length_place, n_bytes = (4, 6) if is_h264 else (21, 23)
    if len(record) < n_bytes or record[0] != 1:
        raise ValueError(f"{len(record)} bytes of version {record[0] if record else '?'}")
    untold = StreamFormat(
        codec,
        length_size=(record[length_place] & 3) + 1,
        bit_depth=None,
        chroma_location=LEFT,
        matrix=_Usability().matrix,
        interlaced=False,
        adaptive_number_bits=None,
        n_delay_bits=None,
        may_reorder=True,
        n_temporal_layers=0 if is_h264 else record[length_place] >> 3 & 7,
        configuration=bytes(record),
    )
    return apply_sets(untold, list(_h264_sets(record) if is_h264 else _hevc_sets(record)))


def apply_sets(stream: StreamFormat, sets: Sequence[bytes]) -> StreamFormat:
    """The properties that sequence parameter sets state; the same as before if there are none.

    Parameters
    ----------
    sets
        NAL units, without their headers.

    Raises
    ------
    ValueError
        One is truncated.
    """
    if not sets:
        return stream
    parse = _parse_h264 if stream.codec == "h264" else _parse_hevc
    try:
        sequences = [parse(BitReader(unescape(nal))) for nal in sets]
    except EOFError as err:
        raise ValueError("its sequence parameter set is truncated") from err
    number_bits = {sequence.adaptive_number_bits for sequence in sequences}
    delay_bits = {sequence.n_delay_bits for sequence in sequences}
    return stream._replace(
        bit_depth=sequences[0].bit_depth,
        chroma_location=sequences[0].usability.chroma_location,
        matrix=sequences[0].usability.matrix,
        interlaced=any(sequence.interlaced for sequence in sequences),
        adaptive_number_bits=number_bits.pop() if len(number_bits) == 1 else None,
        n_delay_bits=delay_bits.pop() if len(delay_bits) == 1 else None,
        may_reorder=any(sequence.may_reorder for sequence in sequences),
    )


def _take(record: bytes, position: int) -> tuple[bytes, int]:
    """The NAL unit whose 16-bit length is at `position`, and the position after it."""
    if position + 2 > len(record):
        raise ValueError("it ends within its parameter sets")
    (n_bytes,) = struct.unpack_from(">H", record, position)
    stop = position + 2 + n_bytes
    if stop > len(record):
        raise ValueError("it ends within its parameter sets")
    return record[position + 2 : stop], stop


def _h264_sets(record: bytes) -> Iterator[bytes]:
    position = 6
    for _ in range(record[5] & 31):
        nal, position = _take(record, position)
        if nal and nal[0] & 31 == H264_SPS:
            yield nal[1:]


def _hevc_sets(record: bytes) -> Iterator[bytes]:
    position = 23
    for _ in range(record[22]):
        if position + 3 > len(record):
            raise ValueError("it ends within its parameter sets")
        kind, count = struct.unpack_from(">BH", record, position)
        position += 3
        for _ in range(count):
            nal, position = _take(record, position)
            if kind & 63 == HEVC_SPS:
                yield nal[2:]


def _parse_h264(bits: BitReader) -> _Sequence:
    profile = bits.u(8)
    bits.u(16)
    bits.ue()
    bit_depth, has_color_planes = 8, False
    if profile in _PROFILES_WITH_FORMAT:
        chroma_format = bits.ue()
        if chroma_format == 3:
            has_color_planes = bits.flag()
        bit_depth = 8 + bits.ue()
        bits.ue()
        bits.u(1)
        if bits.flag():
            for i in range(8 if chroma_format != 3 else 12):
                if bits.flag():
                    _skip_h264_scaling(bits, 16 if i < 6 else 64)
    number_bits = bits.ue() + 4
    order_type = bits.ue()
    if order_type == 0:
        bits.ue()
    elif order_type == 1:
        bits.u(1)
        bits.skip_ue(2)
        bits.skip_ue(min(bits.ue(), 255))
    bits.ue()
    bits.u(1)
    bits.skip_ue(2)
    interlaced = not bits.flag()
    is_adaptive = interlaced and bits.flag()
    bits.u(1)
    if bits.flag():
        bits.skip_ue(4)
    shown, n_delay_bits, n_reordered = _Usability(), None, None
    if bits.flag():
        shown, (n_delay_bits, n_reordered) = _parse_usability(bits), _parse_order(bits)
    may_reorder = profile != _BASELINE and order_type != _AS_DECODED and n_reordered != 0
    is_known = is_adaptive and not has_color_planes
    return _Sequence(
        bit_depth, interlaced, number_bits if is_known else None, shown, n_delay_bits, may_reorder
    )


def _skip_h264_scaling(bits: BitReader, n_values: int) -> None:
    last = following = 8
    for _ in range(n_values):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _parse_usability(bits: BitReader) -> _Usability:
    """Colour matrix and chroma location; both codecs begin alike (H.264, E.1.1; H.265, E.2.1)."""
    matrix = _Usability().matrix
    if bits.flag() and bits.u(8) == _EXTENDED_ASPECT:
        bits.u(32)
    if bits.flag():
        bits.u(1)
    if bits.flag():
        bits.u(4)
        if bits.flag():
            matrix = bits.u(24) & 0xFF
    location = LEFT
    if bits.flag():
        location, _ = bits.ue(), bits.ue()
    return _Usability(matrix, location)


def _parse_order(bits: BitReader) -> tuple[int | None, int | None]:
    """`n_delay_bits`, and the number of pictures that may be reordered; None: not stated.

    The rest of H.264's usability information (E.1.1, E.1.2), which some cameras cut off.
    """
    n_delay_bits, has_structure = 0, False
    try:
        if bits.flag():
            bits.u(65)
        for _ in ("NAL", "VCL"):
            if bits.flag():
                n_delay_bits = _skip_buffer_model(bits)
        if n_delay_bits:
            bits.u(1)
        has_structure = bits.flag()
        n_reordered = None
        if bits.flag():
            bits.u(1)
            bits.skip_ue(4)
            n_reordered = bits.ue()
    except EOFError:
        n_reordered = None
    return n_delay_bits if has_structure else None, n_reordered


def _skip_buffer_model(bits: BitReader) -> int:
    """The bits that it gives to the times of a picture."""
    n_buffers = bits.ue() + 1
    bits.u(8)
    for _ in range(min(n_buffers, _MAX_BUFFERS)):
        bits.skip_ue(2)
        bits.u(1)
    bits.u(5)
    n_delay_bits = bits.u(5) + bits.u(5) + 2
    bits.u(5)
    return n_delay_bits


def _parse_hevc(bits: BitReader) -> _Sequence:
    bits.u(4)
    n_layers_above = bits.u(3)
    bits.u(1)
    _skip_profile(bits, n_layers_above)
    bits.ue()
    if bits.ue() == 3:
        bits.u(1)
    bits.skip_ue(2)
    if bits.flag():
        bits.skip_ue(4)
    bit_depth = 8 + bits.ue()
    bits.ue()
    n_order_bits = bits.ue() + 4
    n_reordered = 0
    for _ in range(n_layers_above + 1 if bits.flag() else 1):
        bits.ue()
        n_reordered = bits.ue()  # of the highest layer, at last
        bits.ue()
    bits.skip_ue(6)
    if bits.flag() and bits.flag():
        _skip_hevc_scaling(bits)
    bits.u(2)
    if bits.flag():
        bits.u(8)
        bits.skip_ue(2)
        bits.u(1)
    _skip_reference_sets(bits)
    if bits.flag():
        for _ in range(min(bits.ue(), _MAX_REFERENCES)):
            bits.u(n_order_bits + 1)
    bits.u(2)
    shown = _parse_usability(bits) if bits.flag() else _Usability()
    return _Sequence(bit_depth, False, None, shown, None, n_reordered > 0)


def _skip_profile(bits: BitReader, n_layers_above: int) -> None:
    bits.u(96)
    present = [(bits.flag(), bits.flag()) for _ in range(n_layers_above)]
    if n_layers_above:
        bits.u(2 * (8 - n_layers_above))
    for has_profile, has_level in present:
        bits.u(88 * has_profile + 8 * has_level)


def _skip_hevc_scaling(bits: BitReader) -> None:
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not bits.flag():
                bits.ue()
            else:
                bits.skip_ue(min(64, 16 << 2 * size) + (size > 1))


def _skip_reference_sets(bits: BitReader) -> None:
    n_before = 0
    for i in range(min(bits.ue(), _MAX_REFERENCES)):
        if i and bits.flag():
            bits.u(1)
            bits.ue()
            n_before = sum(bits.flag() or bits.flag() for _ in range(n_before + 1))
        else:
            n_before = 0
            for n in (bits.ue(), bits.ue()):
                n_before += n
            for _ in range(min(n_before, _MAX_REFERENCES)):
                bits.ue()
                bits.u(1)
