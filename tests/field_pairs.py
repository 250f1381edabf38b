"""An H.264 movie whose frames are coded as pairs of fields (PAFF), which x264 does not write: bit by bit.

Each field is coded without compression (I_PCM), or copies an earlier one (skipped macroblocks); so that its
pixels are known without a decoder. Source: ITU-T H.264, 7.3 and 7.4.
"""

import atoms
import inter_movies
import numpy as np

HEIGHT, WIDTH = inter_movies.SIZE
N_MACROBLOCKS = HEIGHT // 32 * WIDTH // 16
"""Of a field."""


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


def configuration(*, is_adaptive):
    """Main profile: frames, adaptive or not, or fields; order in the slices, four reference fields, CAVLC."""
    sequence = (
        Bits().u(8, 77).u(8, 0).u(8, 30).ue(0, 0, 0, 4, 2).u(1, 0).ue(WIDTH // 16 - 1, HEIGHT // 32 - 1)
    )
    sequence = sequence.u(1, 0).u(1, is_adaptive).u(1, 1).u(1, 0).u(1, 0).nal(0x67)
    picture = Bits().ue(0, 0).u(2, 0).ue(0, 0, 0).u(3, 0).ue(0, 0, 0).u(3, 0b100).nal(0x68)
    first, second = (len(nal).to_bytes(2, "big") + nal for nal in (sequence, picture))
    return bytes([1, 77, 0, 30, 0xFF, 0xE1]) + first + b"\1" + second


def write_field(planes, parity, *, frame_number, order, is_reference=True, is_idr=False):
    """One field as a NAL unit; with `planes` None it copies that of the reference frame before."""
    bits = Bits().ue(0, 7 if planes is not None else 5, 0).u(4, frame_number).u(1, 1).u(1, parity)
    if is_idr:
        bits.ue(0)
    bits.u(8, order)
    if planes is None:
        bits.u(1, 0).u(1, 0)
    if is_reference:
        bits.u(2, 0) if is_idr else bits.u(1, 0)
    bits.ue(0).ue(1)
    if planes is None:
        bits.ue(N_MACROBLOCKS)
    else:
        for y in range(0, HEIGHT // 2, 16):
            for x in range(0, WIDTH, 16):
                bits.ue(25).align()
                luma = planes[0][parity::2][y : y + 16, x : x + 16]
                chroma = [plane[parity::2][y // 2 : y // 2 + 8, x // 2 : x // 2 + 8] for plane in planes[1:]]
                data = b"".join(np.ascontiguousarray(part).tobytes() for part in (luma, *chroma))
                bits.text += f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}"
    return bits.nal((0x60 if is_reference else 0) | (5 if is_idr else 1))


def make_movie(n_groups=3, n_pairs=4, *, is_adaptive=False):
    """The file, and the planes of its frames in display order.

    A group has a frame of its own pixels, and pairs of a reference frame, of which one field is copied from
    the reference before, and of a frame that is shown before it and not referred to.
    """
    rng = np.random.default_rng(5)
    shown, samples, order = {}, [], []

    def paint():
        return [rng.integers(16, 236, (HEIGHT // k, WIDTH // k)).astype(np.uint8) for k in (1, 2, 2)]

    def add(place, number, first, copied, last, **about):
        planes, units = paint(), []
        for parity in (0, 1):
            if parity in copied:
                for mine, old in zip(planes, last, strict=True):
                    mine[parity::2] = old[parity::2]
            about["is_idr"] = number == 0 and parity == 0
            field = None if parity in copied else planes
            position = 2 * (place - first) + parity
            units.append(write_field(field, parity, frame_number=number % 16, order=position, **about))
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
        "avc1", WIDTH, HEIGHT, atoms.atom("avcC", configuration(is_adaptive=is_adaptive))
    )
    track = atoms.Track(
        samples,
        entry=entry,
        composition=[1001 * (place - i + 1) for i, place in enumerate(order)],
        sync=[1 + i * (1 + 2 * n_pairs) for i in range(n_groups)],
    )
    return atoms.movie([track]), [shown[i] for i in range(len(shown))]
