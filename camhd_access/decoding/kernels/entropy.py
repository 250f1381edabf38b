"""The coded coefficients of one plane of a slice (SMPTE RDD 36, section 7.1).

First the DC coefficients of all its blocks, then pairs of run and level that go through the other
coefficients: the first of each block, the second of each block, and so on in scan order. Coefficients
are stored in the order in which they are coded, [position in the scan][block], which is the
layout that the transform needs.

A code must be read before the next one can be found, so a processor would mostly wait. Four
slices are therefore read side by side, each in its *lane*: four independent chains of codes.
One load of 64 bits serves `N_LOOKUPS` look-ups of each lane, without a branch between them: one that is
wrongly predicted would cost as much as ten pairs. The end of the data is its last 1 bit, found beforehand, so
that the end of a lane is one comparison. A lane is five numbers in memory.
"""

from camhd_access.decoding.kernels.codes import (
    AFTER_DC,
    AFTER_LEVEL,
    AFTER_RUN,
    CODES,
    FIRST_DC,
    FIRST_STATE,
    INVALID,
    LEVEL_BOOKS,
    LEVEL_SHIFT,
    LEVEL_STATES,
    LOOKUP_BITS,
    MOVES,
    N_STATES,
    PLACE_MASK,
    PLACE_SHIFT,
    SECOND_DC,
    STATE_BOOKS,
    STATE_MASK,
)
from camhd_access.decoding.kernels.jobs import DC, END_BIT, N_BLOCKS, NEXT_BIT, START_BYTE, STOP_BYTE
from camhd_access.decoding.kernels.machine import (
    add_i16,
    clear_bytes,
    copy_bytes,
    inlined,
    kernel,
    leading_zeros,
    likely,
    load_be64,
    load_i32,
    load_i64,
    load_u8,
    lshr,
    store_i16,
    store_i64,
    trailing_zeros,
)
from camhd_access.decoding.kernels.parameters import JOB_BYTES, LANE_BYTES, MAX_BLOCKS, N_LOOKUPS

__all__ = [
    "PLACE",
    "POSITION",
    "STATE",
    "STOP",
    "is_near_end",
    "open_lane",
    "read_dc",
    "read_four",
    "read_one",
]

N_LEVEL_BOOKS = len(LEVEL_BOOKS)
MARGIN_BITS = N_LOOKUPS * LOOKUP_BITS
"""When it is this near to its end, a lane is read alone."""

POSITION, END, PLACE, STOP, STATE = range(5)
"""A lane: the bit to read next (its address times 8), the bit after the last 1 bit, the address of the
coefficient reached last, the address after the last one wanted, and which books come next."""
MARK = 64
"""Set below the 57 valid bits of a load. Its shift shows how many were read."""


@inlined
def window(position: int) -> int:
    """At least 57 bits from `position` on, in the highest bits."""
    return load_be64(position >> 3) << (position & 7)


@inlined
def marked_window(position: int) -> int:
    """The next 57 bits, and the mark below them."""
    return (window(position) & -128) | MARK


@inlined
def position_of(bits: int, position: int) -> int:
    """The position of `bits`, shifted from a marked window at `position`."""
    return position + trailing_zeros(bits) - 6


@inlined
def code(bits: int, book: int) -> tuple[int, int]:
    """Value and length of the code at the top of `bits`."""
    entry = CODES[book + leading_zeros(bits | 1)]
    return lshr(bits, entry & 63) + (entry >> 6), 64 - (entry & 63)


@kernel
def read_long(position: int, place: int, stop: int, state: int) -> tuple[int, int, int]:
    """Read a pair of any length, or only its level if the state follows the run.

    A level that is not wanted, as its run leads beyond the last coefficient, is not read.
    """
    number = state >> LOOKUP_BITS
    after_run = (number - N_STATES) // N_LEVEL_BOOKS
    if state < LEVEL_STATES:
        run, length = code(window(position), STATE_BOOKS[number, 0])
        position += length if run < INVALID else INVALID
        place += 2 * (run + 1)
        if place >= stop:
            return position, place, state
        after_run = AFTER_RUN[min(run, 15)]
    level, length = code(window(position), STATE_BOOKS[number, 1])
    if level >= INVALID:
        return INVALID, place, state
    level += 1
    sign = window(position + length) >> 63
    store_i16(place, 0, (level ^ sign) - sign)
    state = (after_run * N_LEVEL_BOOKS + AFTER_LEVEL[min(level, 9)]) << LOOKUP_BITS
    return position + length + 1, place, state


@inlined
def step(pairs: int, bits: int, place: int, state: int) -> tuple[int, int, int, int]:
    """One look-up in one lane: a pair, a run or a level, or nothing if the next code is longer.

    Levels are added to coefficients of 0, so that nothing is overwritten if nothing is read.
    """
    entry = load_i32(pairs, state + lshr(bits, 64 - LOOKUP_BITS))
    place += (entry >> PLACE_SHIFT) & PLACE_MASK
    add_i16(place, 0, entry >> LEVEL_SHIFT)
    return bits << (entry & 63), place, entry & STATE_MASK, entry


@kernel
def read_four(pairs: int, lanes: int) -> None:
    """Read all four lanes until one of them is near its end."""
    a, b, c, d = lanes, lanes + LANE_BYTES, lanes + 2 * LANE_BYTES, lanes + 3 * LANE_BYTES
    pa, ea, oa = load_i64(a, POSITION), load_i64(a, END) - MARGIN_BITS, load_i64(a, PLACE)
    pb, eb, ob = load_i64(b, POSITION), load_i64(b, END) - MARGIN_BITS, load_i64(b, PLACE)
    pc, ec, oc = load_i64(c, POSITION), load_i64(c, END) - MARGIN_BITS, load_i64(c, PLACE)
    pd, ed, od = load_i64(d, POSITION), load_i64(d, END) - MARGIN_BITS, load_i64(d, PLACE)
    ma, mb, mc, md = load_i64(a, STOP), load_i64(b, STOP), load_i64(c, STOP), load_i64(d, STOP)
    sa, sb, sc, sd = load_i64(a, STATE), load_i64(b, STATE), load_i64(c, STATE), load_i64(d, STATE)
    while (pa < ea) & (pb < eb) & (pc < ec) & (pd < ed) & (oa < ma) & (ob < mb) & (oc < mc) & (od < md):
        wa, wb, wc, wd = marked_window(pa), marked_window(pb), marked_window(pc), marked_window(pd)
        fa = fb = fc = fd = 0
        for _ in range(N_LOOKUPS):
            wa, oa, sa, fa = step(pairs, wa, oa, sa)
            wb, ob, sb, fb = step(pairs, wb, ob, sb)
            wc, oc, sc, fc = step(pairs, wc, oc, sc)
            wd, od, sd, fd = step(pairs, wd, od, sd)
        pa, pb, pc, pd = position_of(wa, pa), position_of(wb, pb), position_of(wc, pc), position_of(wd, pd)
        if likely((fa & fb & fc & fd & MOVES) != 0):
            continue
        if (fa & MOVES == 0) & (oa < ma):
            pa, oa, sa = read_long(pa, oa, ma, sa)
        if (fb & MOVES == 0) & (ob < mb):
            pb, ob, sb = read_long(pb, ob, mb, sb)
        if (fc & MOVES == 0) & (oc < mc):
            pc, oc, sc = read_long(pc, oc, mc, sc)
        if (fd & MOVES == 0) & (od < md):
            pd, od, sd = read_long(pd, od, md, sd)
    keep(a, pa, oa, sa)
    keep(b, pb, ob, sb)
    keep(c, pc, oc, sc)
    keep(d, pd, od, sd)


@inlined
def keep(lane: int, position: int, place: int, state: int) -> None:
    """Write a lane back."""
    store_i64(lane, POSITION, position)
    store_i64(lane, PLACE, place)
    store_i64(lane, STATE, state)


@inlined
def is_near_end(lane: int) -> bool:
    """Whether it must be read alone."""
    return (load_i64(lane, POSITION) >= load_i64(lane, END) - MARGIN_BITS) | (
        load_i64(lane, PLACE) >= load_i64(lane, STOP)
    )


@kernel
def read_one(pairs: int, lane: int) -> None:
    """Read a lane to its end."""
    position, end = load_i64(lane, POSITION), load_i64(lane, END)
    place, stop, state = load_i64(lane, PLACE), load_i64(lane, STOP), load_i64(lane, STATE)
    while (position < end) & (place < stop):
        entry = load_i32(pairs, state + lshr(window(position), 64 - LOOKUP_BITS))
        if likely(entry & MOVES != 0):
            position += entry & 63
            place += (entry >> PLACE_SHIFT) & PLACE_MASK
            state = entry & STATE_MASK
            if place < stop:
                add_i16(place, 0, entry >> LEVEL_SHIFT)
        else:
            position, place, state = read_long(position, place, stop, state)
    keep(lane, position, place, state)


@inlined
def first_dc(job: int) -> tuple[int, int, int, int, int]:
    """Read the first DC coefficient of a plane; the result is as that of `next_dc`."""
    position = load_i64(job, START_BYTE) * 8
    value, length = code(window(position), FIRST_DC)
    dc = (value >> 1) ^ -(value & 1)
    store_i16(job + DC, 0, dc)
    return position + length, SECOND_DC, 0, dc, value


@inlined
def next_dc(
    job: int, block: int, position: int, book: int, sign: int, dc: int, values: int
) -> tuple[int, int, int, int, int]:
    """Read the DC coefficient of a block, from which `INVALID` gets into `values` if a code is too long."""
    value, length = code(window(position), book)
    sign = sign ^ -(value & 1) if value else 0
    dc += (((value + 1) >> 1) ^ sign) - sign
    store_i16(job + DC, block, dc)
    return position + length, AFTER_DC[min(value, 6)], sign, dc, values | value


@kernel
def read_dc_of_four(a: int, b: int, c: int, d: int, n_blocks: int) -> None:
    """The DC coefficients of four jobs, which have this number of blocks and are not empty."""
    pa, ba, sa, da, va = first_dc(a)
    pb, bb, sb, db, vb = first_dc(b)
    pc, bc, sc, dc, vc = first_dc(c)
    pd, bd, sd, dd, vd = first_dc(d)
    for block in range(1, n_blocks):
        pa, ba, sa, da, va = next_dc(a, block, pa, ba, sa, da, va)
        pb, bb, sb, db, vb = next_dc(b, block, pb, bb, sb, db, vb)
        pc, bc, sc, dc, vc = next_dc(c, block, pc, bc, sc, dc, vc)
        pd, bd, sd, dd, vd = next_dc(d, block, pd, bd, sd, dd, vd)
    store_i64(a, NEXT_BIT, pa if va < INVALID else INVALID)
    store_i64(b, NEXT_BIT, pb if vb < INVALID else INVALID)
    store_i64(c, NEXT_BIT, pc if vc < INVALID else INVALID)
    store_i64(d, NEXT_BIT, pd if vd < INVALID else INVALID)


@kernel
def find_end(job: int) -> bool:
    """Find the end of a plane, and whether it has any codes; one without bytes has coefficients of 0."""
    start, stop = load_i64(job, START_BYTE), load_i64(job, STOP_BYTE)
    while (stop > start) and load_u8(stop - 1, 0) == 0:
        stop -= 1
    store_i64(job, END_BIT, start * 8)
    if stop == start:
        store_i64(job, NEXT_BIT, start * 8 if start == load_i64(job, STOP_BYTE) else INVALID)
        clear_bytes(job + DC, 2 * MAX_BLOCKS)
        return False
    last = load_u8(stop - 1, 0)
    store_i64(job, END_BIT, stop * 8 - (63 - leading_zeros(last & -last)))
    return True


@kernel
def are_alike(a: int, b: int, c: int, d: int) -> bool:
    """Find the ends of four planes, and whether they have as many blocks and are not empty."""
    n = load_i64(a, N_BLOCKS)
    is_same = (n == load_i64(b, N_BLOCKS)) & (n == load_i64(c, N_BLOCKS)) & (n == load_i64(d, N_BLOCKS))
    return is_same & find_end(a) & find_end(b) & find_end(c) & find_end(d)


@kernel
def read_dc(jobs: int, n_jobs: int, n_planes: int) -> None:
    """The DC coefficients of a row of slices; where they are alike, of four slices side by side."""
    step = n_planes * JOB_BYTES
    for plane in range(n_planes):
        job, last = jobs + plane * JOB_BYTES, jobs + (n_jobs - n_planes + plane) * JOB_BYTES
        while job <= last:
            a, b, c, d = job, job + step, job + 2 * step, job + 3 * step
            job += 4 * step
            if d <= last and are_alike(a, b, c, d):
                read_dc_of_four(a, b, c, d, load_i64(a, N_BLOCKS))
                continue
            for each in range(a, min(d, last) + 1, step):
                if find_end(each):
                    read_dc_of_four(each, each, each, each, load_i64(each, N_BLOCKS))


@kernel
def open_lane(lane: int, place: int, job: int, n_wanted: int) -> None:
    """Start a plane of a slice, of which the DC coefficients are read.

    Parameters
    ----------
    place
        Address of its first coefficient.
    n_wanted
        Number of coefficients wanted of each block; 1 for DC alone, after which no pair is read.
    """
    n_blocks = load_i64(job, N_BLOCKS)
    copy_bytes(place, job + DC, 2 * n_blocks)
    store_i64(lane, POSITION, load_i64(job, NEXT_BIT))
    store_i64(lane, END, load_i64(job, END_BIT))
    store_i64(lane, PLACE, place + 2 * (n_blocks - 1))
    store_i64(lane, STOP, place + 2 * (n_blocks * n_wanted if n_wanted > 1 else n_blocks - 1))
    store_i64(lane, STATE, FIRST_STATE)
