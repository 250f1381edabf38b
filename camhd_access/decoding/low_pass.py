"""Halves and quarters of ProRes 4:2:2 frames, in numpy: the same pixels as those of the compiled decoder.

It decodes where there is no compiled decoder, or not yet: libav cannot. The low frequencies of all blocks of
a slice precede the others, so a half needs at most the first quarter of its codes, and a quarter the first
sixteenth. A *lane* is one plane of one slice. All lanes are read in lockstep, as in `formats.prores.dc`: one
array operation for the same code of each.

Tables and arithmetic are those of `kernels`, and so is the damage that is noticed: of a slice's header, or a
lane whose wanted coefficients run past its end.
"""

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from camhd_access.decoding.damage import CodedSlices, Coding, DamageMap, blank, describe_damage
from camhd_access.decoding.kernels import codes
from camhd_access.decoding.kernels.parameters import H1, H2, H3, HALF, HIGHEST, IS_LUMA, LOWEST, MAX_BLOCKS
from camhd_access.decoding.kernels.scans import INTERLACED_SCAN, PROGRESSIVE_SCAN
from camhd_access.decoding.pixels import CHROMA_MARGIN, PixelFormat, Planes, choose_matrix, convert_planes
from camhd_access.decoding.windows import CodedWindow, Marks

__all__ = ["decode_window", "find_damage"]

Ints = npt.NDArray[np.int64]

OUTSIDE = codes.INVALID
"""The position of a lane after a code that is too long."""


def decode_window(
    coded: CodedWindow,
    *,
    pixel_format: PixelFormat,
    track_matrix: int | None,
    reduce: int,
    masks: bool = False,
    out: npt.NDArray[np.unsignedinteger],
) -> Marks | None:
    """Fill `out` with the pixels of a window, reduced by 2 or 4; as `prores422.decode_window`.

    Raises
    ------
    FrameDecodeError
        The sample is damaged; the message names the first damaged slice.
    """
    coding = Coding.of(coded, reduce)
    in_color = pixel_format.is_color
    damage = coding.no_damage()
    pictures = coding.find_pictures()
    if None in pictures and not masks:
        raise describe_damage(coded, coding, -1 - coding.header.picture_offset, damage)
    rows, columns = coding.wanted_slices(CHROMA_MARGIN if in_color else 0)
    wanted = damage[:, rows, columns]
    shown = pictures[max(coding.field, 0) :]
    slices = CodedSlices.of(coding, shown, (rows, columns), 3 if in_color else 1, wanted)
    luma, *chroma = _decode_planes(coding, slices, wanted)
    if damage.any() and not masks:
        raise describe_damage(coded, coding, 0, damage)
    lines, window = coding.window
    top, left = rows.start * coding.lines_per_row, coding.edges[columns.start] * 16 // reduce
    y = slice(lines.start - top, lines.stop - top)
    first, stop = window.start // 2 * 2, min(window.stop + CHROMA_MARGIN, coding.width)
    chroma_x = slice((first - left) // 2, (stop + 1 - left) // 2)
    parts = [plane[y, chroma_x] for plane in chroma] or [luma[y, :0]] * 2
    convert_planes(
        Planes(luma[y, first - left : stop - left], *parts),
        pixel_format,
        matrix=choose_matrix(coded.header.matrix, track_matrix, height=coded.header.height),
        first_column=window.start - first,
        out=out,
    )
    return blank(coding, damage, out, in_color=in_color) if damage.any() else None


def find_damage(coding: Coding, *, luma_only: bool) -> DamageMap:
    """The map of all slices whose DC coefficients cannot be read."""
    damage = coding.no_damage()
    pictures = coding.find_pictures()[max(coding.field, 0) :]
    slices = CodedSlices.of(coding, pictures, np.s_[:, :], 1 if luma_only else 3, damage)
    lanes = _read_lanes(slices, 1, damage)
    has_no_bit = (lanes.end <= slices.start.ravel() * 8).reshape(slices.start.shape)
    damage[(has_no_bit & (slices.stop > slices.start)).any(axis=0)] |= IS_LUMA
    return damage


def _read_lanes(slices: CodedSlices, n_wanted: int, damage: DamageMap) -> "_Lanes":
    """The lanes of slices after this many coefficients of each block are read; damage is marked."""
    shape = slices.start.shape
    per_block = np.array([4, 2, 2])[: shape[0]].reshape(-1, 1, 1, 1)
    n_blocks = np.broadcast_to(per_block * slices.width, shape).ravel()
    lanes = _Lanes.open(slices.data, slices.start.ravel(), slices.stop.ravel(), n_blocks, n_wanted)
    lanes.read()
    is_damaged = lanes.position > slices.stop.ravel() * 8
    lanes.coefficients[is_damaged] = 0
    for plane, each in enumerate(is_damaged.reshape(shape)):
        damage[each] |= IS_LUMA << plane
    return lanes


def _decode_planes(coding: Coding, slices: CodedSlices, damage: DamageMap) -> list[npt.NDArray[np.uint16]]:
    """The planes of all slices, fields woven; damaged lanes are marked in `damage`."""
    shape, n_wanted = slices.start.shape, 64 // coding.reduce**2
    lanes = _read_lanes(slices, n_wanted, damage)
    coefficients = lanes.coefficients.reshape(*shape, -1)
    planes = []
    for plane in range(shape[0]):
        parts, column = [], 0
        for width, run in groupby(slices.width.tolist()):
            stop = column + len(list(run))
            n = (2 if plane else 4) * width
            part = coefficients[plane, :, :, column:stop, : n * n_wanted]
            levels = part.reshape(*part.shape[:3], n_wanted, n)
            blocks = _invert(coding, levels, slices.scale[:, :, column:stop], plane)
            parts.append(_place(coding, blocks, 1 if plane else 2))
            column = stop
        planes.append(np.concatenate(parts, axis=1).astype(np.uint16))
    return planes


def _invert(coding: Coding, levels: npt.NDArray[np.int16], scale: Ints, plane: int) -> list[list[Ints]]:
    """The pixels of blocks, by line and column: from shape (…, position, block) to arrays of (…, block)."""
    side = 8 // coding.reduce
    scan = (INTERLACED_SCAN if coding.header.interlaced else PROGRESSIVE_SCAN)[: side * side]
    matrix = coding.header.chroma_matrix if plane else coding.header.luma_matrix
    weights = np.frombuffer(matrix, np.uint8)[scan]
    factors = weights[:, None] * scale[..., None, None]
    values = (levels * factors).astype(np.int16).astype(np.int64)  # products wrap
    places = scan.tolist()
    block = [[values[..., places.index(8 * y + x), :] for x in range(side)] for y in range(side)]
    if side == 2:
        block[0][0] = block[0][0] + (HALF << 5) + 16
        lines = [[a + b, a - b] for a, b in block]
        columns = [[a + b, a - b] for a, b in zip(*lines, strict=True)]
        return [[(value >> 5).clip(LOWEST, HIGHEST) for value in line] for line in zip(*columns, strict=True)]
    rows = [[(v >> 13).clip(-32768, 32767) for v in _transform4(line, 1)] for line in block]
    columns = [_transform4(column, (HALF << 4) + 8) for column in zip(*rows, strict=True)]
    return [[(v >> 16).clip(LOWEST, HIGHEST) for v in line] for line in zip(*columns, strict=True)]


def _transform4(c: "list[Ints] | tuple[Ints, ...]", bias: int) -> list[Ints]:
    """Four pixels from four coefficients; `bias` is added to the first."""
    first = c[0] + bias
    a = (first + c[2]) * H2, (first - c[2]) * H2
    e = c[1] * H1 + c[3] * H3, c[1] * H3 - c[3] * H1
    return [a[0] + e[0], a[1] + e[1], a[1] - e[1], a[0] - e[0]]


def _place(coding: Coding, blocks: list[list[Ints]], across: int) -> Ints:
    """Blocks at their positions in the plane; a macroblock has two rows of `across` blocks."""
    pixels = np.array(blocks)  # y, x, picture, row, column, block
    side, _, n_pictures, n_rows, n_columns, n_blocks = pixels.shape
    if n_pictures == 2 and coding.header.interlace == 2:
        pixels = pixels[:, :, ::-1]
    pixels = pixels.reshape(side, side, n_pictures, n_rows, n_columns, n_blocks // (2 * across), 2, across)
    return pixels.transpose(3, 6, 0, 2, 4, 5, 7, 1).reshape(n_rows * 2 * side * n_pictures, -1)


@dataclass(slots=True, eq=False)
class _Lanes:
    """Lanes that are read in lockstep; arrays have an item for each."""

    words: npt.NDArray[np.uint64]
    """The 64 bits from each byte of the data on."""
    position: Ints
    """The bit to read next."""
    end: Ints
    """The bit after the last 1 bit."""
    n_blocks: Ints
    """Blocks of the lane."""
    n_wanted: int
    """Coefficients wanted of each block."""
    coefficients: npt.NDArray[np.int16]
    """As coded: for each lane [position in the scan][block]."""

    @classmethod
    def open(
        cls, data: npt.NDArray[np.uint8], start: Ints, stop: Ints, n_blocks: Ints, n_wanted: int
    ) -> "_Lanes":
        """Lanes at the start of their data."""
        place = np.arange(len(data))
        last = np.maximum.accumulate(np.where(data, place, -1))[stop - 1]
        byte = data[last]
        n_zeros = np.frexp(byte & -byte.astype(np.int64))[1] - 1
        is_empty, is_zero = stop == start, (stop > start) & (last < start)
        return cls(
            words=np.ndarray(len(data) - 7, ">u8", data, strides=(1,)),
            position=np.where(is_zero, OUTSIDE, start * 8),
            end=np.where(is_empty | is_zero, start * 8, last * 8 + 8 - n_zeros),
            n_blocks=n_blocks,
            n_wanted=n_wanted,
            coefficients=np.zeros((len(start), MAX_BLOCKS * n_wanted), np.int16),
        )

    def read(self) -> None:
        """Read the wanted coefficients of all lanes."""
        self._read_dc()
        if self.n_wanted > 1:
            self._read_pairs()

    def _next_bits(self, position: Ints) -> npt.NDArray[np.uint64]:
        """At least the next 57 bits, in the upper bits."""
        byte = np.minimum(position >> 3, len(self.words) - 1)  # a damaged lane may run past the end
        bits: npt.NDArray[np.uint64] = self.words[byte].astype(np.uint64)
        bits <<= (position & 7).view(np.uint64)
        return bits

    def _read_code(self, position: Ints, book: Ints) -> tuple[Ints, Ints]:
        """Value of the code at each position, and the position after it."""
        bits = self._next_bits(position)
        n_zeros = 32 - np.frexp((bits >> 32).astype(np.float64))[1]
        entry = codes.CODES[book + n_zeros]
        shift = entry & 63
        value = (bits >> shift.view(np.uint64)).view(np.int64) + (entry >> 6)
        return value, position + 64 - shift

    def _read_dc(self) -> None:
        """Read the DC coefficients."""
        lane = np.flatnonzero(self.end > self.position)
        dc, book, sign = (np.zeros(len(self.position), np.int64) for _ in range(3))
        book[:] = codes.FIRST_DC
        for block in range(MAX_BLOCKS):
            lane = lane[self.n_blocks[lane] > block]
            value, position = self._read_code(self.position[lane], book[lane])
            self.position[lane] = np.where(value < codes.INVALID, position, OUTSIDE)
            is_valid = value < codes.INVALID
            lane, value = lane[is_valid], value[is_valid]
            if block == 0:
                dc[lane] = value >> 1 ^ -(value & 1)
                book[lane] = codes.SECOND_DC
            else:
                sign[lane] = np.where(value > 0, sign[lane] ^ -(value & 1), 0)
                dc[lane] += (value + 1 >> 1 ^ sign[lane]) - sign[lane]
                book[lane] = codes.AFTER_DC[np.minimum(value, 6)]
            self.coefficients[lane, block] = dc[lane]

    def _read_pairs(self) -> None:
        """Read pairs of run and level until the wanted coefficients, or the data, end."""
        lane = np.flatnonzero(self.position < self.end)
        position, end, place = self.position[lane], self.end[lane], self.n_blocks[lane] - 1
        stop, state = self.n_blocks[lane] * self.n_wanted, np.full(len(lane), codes.FIRST_STATE)
        first = lane * self.coefficients.shape[1]
        levels = self.coefficients.reshape(-1)
        while len(lane):
            bits = self._next_bits(position) >> (64 - codes.LOOKUP_BITS)
            entry = codes.PAIRS.take(state + bits.view(np.int64)).astype(np.int64)
            is_pair = (entry & codes.MOVES > 0) & (entry & codes.STATE_MASK < codes.LEVEL_STATES)
            entry[~is_pair] = 0
            position += entry & 63
            place += (entry >> codes.PLACE_SHIFT & codes.PLACE_MASK) >> 1
            level, new_state = entry >> codes.LEVEL_SHIFT, entry & codes.STATE_MASK
            long = np.flatnonzero(~is_pair)
            if len(long):
                position[long], place[long], new_state[long], level[long] = self._read_long(
                    position[long], place[long], stop[long], state[long]
                )
            state = new_state
            inside = np.flatnonzero(place < stop)
            levels[(first + place)[inside]] = level[inside]
            goes_on = (position < end) & (place < stop)
            if not goes_on.all():
                self.position[lane] = position
                lane, position, end, place, stop, state, first = (
                    each[goes_on] for each in (lane, position, end, place, stop, state, first)
                )

    def _read_long(
        self, position: Ints, place: Ints, stop: Ints, state: Ints
    ) -> tuple[Ints, Ints, Ints, Ints]:
        """A pair of any length: the position after it, the place, the next state and the level.

        A level that is not wanted, as its run leads beyond the last coefficient, is not read.
        """
        run_book, level_book = codes.STATE_BOOKS[state >> codes.LOOKUP_BITS].T
        run, after_run = self._read_code(position, run_book)
        after_run[run >= codes.INVALID] = OUTSIDE
        place = place + run + 1
        level, after_level = self._read_code(after_run, level_book)
        level += 1
        sign = (self._next_bits(after_level) >> 63).view(np.int64)
        after_level = np.where(level < codes.INVALID, after_level + 1, OUTSIDE)
        position = np.where(place < stop, after_level, after_run)
        books = codes.AFTER_RUN[np.minimum(run, 15)] * len(codes.LEVEL_BOOKS)
        books = books + codes.AFTER_LEVEL[np.minimum(level, 9)]
        return position, place, books << codes.LOOKUP_BITS, (level ^ -sign) + sign
