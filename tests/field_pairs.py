"""An H.264 movie whose frames, or some of them, are coded as pairs of fields (PAFF): bit by bit.

x264 does not write such. Each picture is coded without compression (I_PCM), or copies an earlier one (skipped
macroblocks); so that its pixels are known without a decoder. Source: ITU-T H.264, 7.3 and 7.4, D.1.3.
"""

import atoms
import inter_movies
import numpy as np

HEIGHT, WIDTH = inter_movies.SIZE
N_MACROBLOCKS = HEIGHT // 32 * WIDTH // 16
"""Of a field."""
N_TIMESTAMPS = 1, 1, 1, 2, 2, 3, 3, 2, 3
"""Of each `pic_struct`."""


class Bits:
    """Bits that are written."""

    def __init__(self):
        self.text = ""

    def u(self, n_bits, value):
        self.text += f"{value:0{n_bits}b}"
        return self

    def ue(self, *values):
        for value in values:
            self.u(2 * (value + 1).bit_length() - 1, value + 1)
        return self

    def align(self):
        self.text += "0" * (-len(self.text) % 8)
        return self

    def nal(self, header):
        """The unit, with its end, and without start codes in it."""
        text = self.text + "1"
        text += "0" * (-len(text) % 8)
        escaped, n_zeros = bytearray([header]), 0
        for byte in int(text, 2).to_bytes(len(text) // 8, "big"):
            if n_zeros == 2 and byte <= 3:
                escaped.append(3)
                n_zeros = 0
            escaped.append(byte)
            n_zeros = 0 if byte else n_zeros + 1
        return bytes(escaped)


def write_sets(*, is_adaptive, has_structures):
    """Main profile: frames, adaptive or not, or fields; order in the slices, four reference fields, CAVLC."""
    sequence = (
        Bits().u(8, 77).u(8, 0).u(8, 30).ue(0, 0, 0, 4, 2).u(1, 0).ue(WIDTH // 16 - 1, HEIGHT // 32 - 1)
    )
    sequence = sequence.u(1, 0).u(1, is_adaptive).u(1, 1).u(1, 0).u(1, has_structures)
    sequence = (sequence.u(7, 0).u(1, 1).u(1, 0) if has_structures else sequence).nal(0x67)
    picture = Bits().ue(0, 0).u(2, 0).ue(0, 0, 0).u(3, 0).ue(0, 0, 0).u(3, 0b100).nal(0x68)
    return sequence, picture


def configuration(sets):
    """The record with these parameter sets, or without any."""
    first, second = (len(nal).to_bytes(2, "big") + nal for nal in sets) if sets else (b"", b"")
    n_sets = 1 if sets else 0
    return bytes([1, 77, 0, 30, 0xFF, 0xE0 + n_sets]) + first + bytes([n_sets]) + second


def write_structure(pic_struct, scan=None):
    """The message that says how a picture is shown, with a time if `scan` tells the scan type there."""
    bits = Bits().u(4, pic_struct)
    if scan is not None:
        bits.u(1, 1).u(2, scan).u(17, 0).u(1, 0).u(24, 0)
    bits.u(N_TIMESTAMPS[pic_struct] - (scan is not None), 0)
    if len(bits.text) % 8:
        bits.u(1, 1).align()
    n_bytes = len(bits.text) // 8
    return Bits().u(8, 1).u(8, n_bytes).u(8 * n_bytes, int(bits.text, 2)).nal(6)


def write_picture(planes, parity, *, frame_number, order, is_reference=True, is_idr=False, is_adaptive=False):
    """A field, or a frame (`parity` None), as a NAL unit; without `planes` a copy of the reference before."""
    is_field = parity is not None
    bits = Bits().ue(0, 7 if planes is not None else 5, 0).u(4, frame_number).u(1, is_field)
    if is_field:
        bits.u(1, parity)
    if is_idr:
        bits.ue(0)
    bits.u(8, order)
    if planes is None:
        bits.u(1, 0).u(1, 0)
    if is_reference:
        bits.u(2, 0) if is_idr else bits.u(1, 0)
    bits.ue(0).ue(1)
    if planes is None:
        bits.ue(N_MACROBLOCKS * (1 if is_field else 2))
    elif is_field:
        write_macroblocks(bits, [plane[parity::2] for plane in planes])
    elif is_adaptive:
        write_macroblock_pairs(bits, planes)
    else:
        write_macroblocks(bits, planes)
    return bits.nal((0x60 if is_reference else 0) | (5 if is_idr else 1))


def write_macroblocks(bits, planes):
    height, width = planes[0].shape
    for y in range(0, height, 16):
        for x in range(0, width, 16):
            write_macroblock(bits, cut_planes(planes, y, x))


def write_macroblock_pairs(bits, planes):
    """Pairs of macroblocks of a frame (MBAFF): each above the other, or one of each field."""
    for y in range(0, HEIGHT, 32):
        for x in range(0, WIDTH, 16):
            pair, in_fields = cut_planes(planes, y, x), x // 16 % 2
            bits.u(1, in_fields)
            for i in range(2):
                write_macroblock(
                    bits, [plane[i::2] for plane in pair] if in_fields else cut_planes(pair, 16 * i)
                )


def cut_planes(planes, y, x=0):
    """Planes without what is above and to the left of a pixel."""
    return [plane[y // k :, x // k :] for plane, k in zip(planes, (1, 2, 2), strict=True)]


def write_macroblock(bits, planes):
    """The upper left macroblock of some planes."""
    bits.ue(25).align()
    parts = [plane[:n, :n] for plane, n in zip(planes, (16, 8, 8), strict=True)]
    data = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    bits.text += f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}"


def make_movie(
    n_groups=3, n_pairs=4, *, is_adaptive=False, kinds=("fields",), structures=(), in_samples=False
):
    """The file, and the planes of its frames in display order.

    A group has a frame of its own pixels, and pairs of a reference frame, of which one field is copied from
    the reference before, and of a frame that is shown before it and not referred to.

    Parameters
    ----------
    kinds
        How the frames are coded, again and again: "fields"; "frame"; or "copy", a frame like the reference
        before.
    structures
        Arguments of `write_structure` for frames, again and again, None for none; empty: the message is not
        known. Pairs of fields say 1 and 2.
    in_samples
        Each group begins with the parameter sets, which are not in the sample description (`avc3`).
    """
    rng = np.random.default_rng(5)
    shown, samples, order = {}, [], []
    sets = write_sets(is_adaptive=is_adaptive, has_structures=bool(structures))

    def paint():
        return [rng.integers(16, 236, (HEIGHT // k, WIDTH // k)).astype(np.uint8) for k in (1, 2, 2)]

    def add(place, number, first, copied, last, **about):
        planes, units = paint(), [*sets] if in_samples and number == 0 else []
        kind = kinds[place % len(kinds)]
        if kind == "fields":
            parts = (0, 1)
        else:
            parts, copied = (None,), (None,) if kind == "copy" and last else ()
        for parity in parts:
            if parity in copied:
                lines = slice(parity, None, 1 if parity is None else 2)
                for mine, old in zip(planes, last, strict=True):
                    mine[lines] = old[lines]
            about["is_idr"] = number == 0 and not parity
            if structures:
                told = structures[place % len(structures)] if parity is None else (1 + parity,)
                units += [write_structure(*told)] if told is not None else []
            units.append(
                write_picture(
                    None if parity in copied else planes,
                    parity,
                    frame_number=number % 16,
                    order=2 * (place - first) + (parity or 0),
                    is_adaptive=is_adaptive,
                    **about,
                )
            )
        samples.append(b"".join(len(unit).to_bytes(4, "big") + unit for unit in units))
        order.append(place)
        shown[place] = planes
        return planes

    for group in range(n_groups):
        first = group * (1 + 2 * n_pairs)
        last = add(first, 0, first, (), None)
        for pair in range(n_pairs):
            place = first + 2 * pair + 2
            last = add(place, pair + 1, first, (pair % 2,), last)
            add(place - 1, pair + 2, first, (1,) if pair % 2 else (), last, is_reference=False)
    entry = atoms.video_entry(
        "avc3" if in_samples else "avc1",
        WIDTH,
        HEIGHT,
        atoms.atom("avcC", configuration(() if in_samples else sets)),
    )
    track = atoms.Track(
        samples,
        entry=entry,
        composition=[1001 * (place - i + 1) for i, place in enumerate(order)],
        sync=[1 + i * (1 + 2 * n_pairs) for i in range(n_groups)],
    )
    return atoms.movie([track]), [shown[i] for i in range(len(shown))]
