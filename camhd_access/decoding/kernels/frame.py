"""Frames: pictures, rows of slices, slices, and their damage (SMPTE RDD 36, section 5).

`decode` walks through the wanted rows of slices from top to bottom. Each plane of each wanted slice is a
*job*; whichever of the four lanes of `entropy` is free takes the next, and the others go on. When the last
job of a strip is done, its lines are output. Two strips may be in progress at once, so that no lane waits at
the end of a strip. Where the blocks are already what is wanted, they go straight to the caller's array.
"""

from camhd_access.decoding.kernels import parameters as at
from camhd_access.decoding.kernels.codes import LEVEL_STATES, PAIRS
from camhd_access.decoding.kernels.entropy import (
    PLACE,
    POSITION,
    STATE,
    STOP,
    is_near_end,
    open_lane,
    read_dc,
    read_four,
    read_one,
)
from camhd_access.decoding.kernels.jobs import (
    ADDS,
    DAMAGE_PLACE,
    LINE_BYTES,
    N_BLOCKS,
    PLANE,
    SCALE,
    SLOT,
    START_BYTE,
    STOP_BYTE,
    TARGET,
)
from camhd_access.decoding.kernels.machine import (
    clear_bytes,
    copy_bytes,
    inlined,
    kernel,
    load_i64,
    load_u8,
    load_u16,
    prefetch,
    store_i16,
    store_i64,
    store_u8,
)
from camhd_access.decoding.kernels.strips import show_line
from camhd_access.decoding.kernels.transform import show_blocks

__all__ = ["decode"]

JOB_BYTES, PADDING_BYTES, MAX_SLICE_BYTES = at.JOB_BYTES, at.PADDING_BYTES, at.MAX_SLICE_BYTES


@inlined
def u16(data: int, byte: int) -> int:
    """A big-endian 16-bit number."""
    return load_u8(data, byte) << 8 | load_u8(data, byte + 1)


@inlined
def n_slices_across(mb_width: int, log2_width: int) -> int:
    """Slices in a row: at the right edge their width is halved until it fits."""
    n = mb_width >> log2_width
    for bit in range(log2_width):
        n += mb_width >> bit & 1
    return n


@inlined
def count_shown(p: int) -> int:
    """Number of interleaved pictures that are shown."""
    return load_i64(p, at.N_PICTURES) if load_i64(p, at.FIELD) < 0 else 1


@kernel
def find_rows(p: int) -> int:
    """Find the start of each row of slices; returns 0, or -1 - the byte of the first fault.

    The row starts of a picture with an inconsistent structure are -1, and so are those of a picture that
    cannot be located as a result.
    """
    data, n_rows, row_starts = load_i64(p, at.DATA), load_i64(p, at.N_ROWS), load_i64(p, at.ROW_STARTS)
    size, frame_size = load_i64(p, at.SIZE), load_i64(p, at.FRAME_SIZE)
    start, fault = load_i64(p, at.PICTURE_OFFSET), 0
    n_pictures = load_i64(p, at.N_PICTURES)
    if load_i64(p, at.FIELD) == 0:
        n_pictures = 1
    for picture in range(n_pictures):
        starts = row_starts + 8 * picture * n_rows
        for row in range(n_rows):
            store_i64(starts, row, -1)
        if start < 0:
            continue
        if start + 8 > size:
            fault = min(fault, -1 - start) if fault else -1 - start
            start = -1
            continue
        head, n_slices, packing = load_u8(data, start) >> 3, u16(data, start + 5), load_u8(data, start + 7)
        n_bytes = u16(data, start + 1) << 16 | u16(data, start + 3)
        stop = start + n_bytes
        n_columns = n_slices_across(load_i64(p, at.MB_WIDTH), load_i64(p, at.LOG2_WIDTH))
        table = start + head
        here = table + 2 * n_columns * n_rows
        holds = head >= 8 and packing == load_i64(p, at.LOG2_WIDTH) << 4 and stop <= frame_size
        if not holds or n_slices != n_columns * n_rows or here > min(stop, size):
            fault = fault or -1 - start
            start = -1
            continue
        for row in range(n_rows):
            store_i64(starts, row, here)
            for column in range(n_columns):
                slice_bytes = u16(data, table + 2 * (row * n_columns + column))
                if slice_bytes < 6:
                    holds = False
                here += slice_bytes
        if not holds or here > stop:
            fault = fault or -1 - table
            for row in range(n_rows):
                store_i64(starts, row, -1)
        start = stop
    return fault


@inlined
def can_add(p: int, reduce: int) -> bool:
    """Whether blocks can be added to sums: sixteen or more whole blocks in each slice."""
    is_wide = load_i64(p, at.LOG2_WIDTH) >= 2 and load_i64(p, at.MB_WIDTH) & 3 == 0
    return is_wide and reduce == 1


@kernel
def goes_straight(p: int, row: int) -> bool:
    """Whether the blocks of a row of slices are the lines wanted, whole and as coded: no strip is needed."""
    layout, reduce = load_i64(p, at.LAYOUT), load_i64(p, at.REDUCE)
    n_shown = count_shown(p)
    first_mb, n_lines = load_i64(p, at.FIRST_MB), 16 // reduce * n_shown
    return (
        layout in (at.CODE, at.PLANES)
        and (load_i64(p, at.STORES) != 0 or can_add(p, reduce))
        and load_i64(p, at.WINDOW_TOP) <= row * n_lines
        and (row + 1) * n_lines <= load_i64(p, at.WINDOW_BOTTOM)
        and load_i64(p, at.WINDOW_LEFT) * reduce == first_mb * 16
        and load_i64(p, at.WINDOW_WIDTH) * reduce == (load_i64(p, at.STOP_MB) - first_mb) * 16
    )


@kernel
def list_jobs(p: int, row: int, jobs: int, slot: int) -> int:
    """List the planes of the wanted slices of a row, and read their DC coefficients; returns their number."""
    data, size, mb_width = load_i64(p, at.DATA), load_i64(p, at.SIZE), load_i64(p, at.MB_WIDTH)
    n_rows, field, row_starts = load_i64(p, at.N_ROWS), load_i64(p, at.FIELD), load_i64(p, at.ROW_STARTS)
    first_picture = max(field, 0)
    n_shown = count_shown(p)
    first_mb, stop_mb, log2_width = (
        load_i64(p, at.FIRST_MB),
        load_i64(p, at.STOP_MB),
        load_i64(p, at.LOG2_WIDTH),
    )
    n_columns = n_slices_across(mb_width, log2_width)
    is_direct = goes_straight(p, row)
    damage, n_jobs = load_i64(p, at.DAMAGE), 0
    for shown in range(n_shown):
        picture = first_picture + shown
        start = picture_start(p, picture)
        here = load_i64(row_starts, picture * n_rows + row)
        table = start + (load_u8(data, start) >> 3) + 2 * row * n_columns if here >= 0 else 0
        parity = (picture == 1) != (load_i64(p, at.BOTTOM_FIRST) != 0)
        strip_line = 1 if (n_shown == 2 and parity) else 0
        left, width = 0, 1 << log2_width
        for column in range(n_columns):
            while left + width > mb_width:
                width >>= 1
            place = (shown * n_rows + row) * n_columns + column
            is_wanted = first_mb <= left < stop_mb
            if here < 0:
                if is_wanted:
                    store_u8(damage, place, at.IS_MISSING)
                left += width
                continue
            stop = here + u16(data, table + 2 * column)
            if is_wanted:
                if stop > size:
                    store_u8(damage, place, at.IS_MISSING)
                else:
                    base = data
                    if stop + PADDING_BYTES > size:
                        base = copy_of_slice(p, here, stop)
                    n_jobs += list_slice(
                        p, base, here, stop, width, left - first_mb, row, strip_line, n_shown, place,
                        jobs + n_jobs * JOB_BYTES, slot, is_direct,
                    )  # fmt: skip
            here = stop
            left += width
    read_dc(jobs, n_jobs, load_i64(p, at.N_PLANES))
    return n_jobs


@kernel
def copy_of_slice(p: int, start: int, stop: int) -> int:
    """Copy a slice that ends within the last `PADDING_BYTES`; returns the address of byte 0 of the copy."""
    base = load_i64(p, at.TAIL) - max(load_i64(p, at.SIZE) - MAX_SLICE_BYTES - PADDING_BYTES, 0)
    copy_bytes(base + start, load_i64(p, at.DATA) + start, stop - start)
    return base


@kernel
def picture_start(p: int, picture: int) -> int:
    """First byte of a picture whose predecessor is intact."""
    start = load_i64(p, at.PICTURE_OFFSET)
    if picture == 0:
        return start
    data = load_i64(p, at.DATA)
    return start + (u16(data, start + 1) << 16 | u16(data, start + 3))


@kernel
def list_slice(
    p: int, data: int, start: int, stop: int, width: int, mb_left: int, row: int, strip_line: int,
    line_step: int, place: int, jobs: int, slot: int, is_direct: bool,
) -> int:  # fmt: skip
    """List the planes of one slice; returns their number, 0 if its header is inconsistent."""
    head, quantiser = load_u8(data, start) >> 3, load_u8(data, start + 1)
    cb = start + head + u16(data, start + 2)
    cr = cb + u16(data, start + 4)
    cr_stop = cr + u16(data, start + 6) if head > 7 else stop
    holds = head >= 6 and 1 <= quantiser <= 224 and cr <= stop and cr_stop <= stop and cb > start + head
    if load_i64(p, at.N_PLANES) == 3 and (cr > cb) != (cr_stop > cr):  # only both may be empty
        holds = False
    if not holds:
        store_u8(load_i64(p, at.DAMAGE), place, at.IS_HEADER)
        return 0
    reduce, n_planes = load_i64(p, at.REDUCE), load_i64(p, at.N_PLANES)
    n_lines, stride = 16 // reduce * line_step, load_i64(p, at.STRIDE)
    strip = load_i64(p, at.STRIPS) + slot * load_i64(p, at.STRIP_BYTES)
    for plane in range(n_planes):
        job = jobs + plane * JOB_BYTES
        store_i64(job, START_BYTE, data + (start + head if plane == 0 else cb if plane == 1 else cr))
        store_i64(job, STOP_BYTE, data + (cb if plane == 0 else cr if plane == 1 else cr_stop))
        store_i64(job, N_BLOCKS, width * 2 if plane else width * 4)
        store_i64(job, PLANE, plane)
        store_i64(job, SCALE, quantiser if quantiser <= 128 else 4 * (quantiser - 96))
        if is_direct:
            line_bytes = load_i64(p, at.LINE_BYTES + 2 * plane)
            base = load_i64(p, at.OUT + 2 * plane)
            base += (row * n_lines - load_i64(p, at.WINDOW_TOP)) * line_bytes
        else:
            base = strip if plane == 0 else strip + n_lines * stride + (plane - 1) * n_lines * (stride >> 1)
            line_bytes = stride >> 1 if plane else stride
        column = mb_left * (8 if plane else 16) // reduce
        store_i64(job, TARGET, base + strip_line * line_bytes + 2 * column)
        store_i64(job, DAMAGE_PLACE, place)
        store_i64(job, SLOT, slot)
        store_i64(job, LINE_BYTES, line_step * line_bytes)
        store_i64(job, ADDS, is_direct and load_i64(p, at.STORES) == 0)
    return n_planes


@kernel
def open_job(p: int, lane: int, k: int, job: int) -> None:
    """Start a job in lane `k`, and bring its target into the cache meanwhile."""
    reduce = load_i64(p, at.REDUCE)
    n_bytes = load_i64(job, N_BLOCKS) // 2 * (16 // reduce)
    for line in range(16 // reduce):
        target = load_i64(job, TARGET) + line * load_i64(job, LINE_BYTES)
        for offset in range(0, n_bytes, 64):
            prefetch(target, offset)
    open_lane(lane, load_i64(p, at.COEFFICIENTS) + 2 * k * at.ROOM, job, 64 // (reduce * reduce))


@kernel
def close_job(p: int, lane: int, k: int, job: int) -> None:
    """After the coefficients of a plane are read: check them, and write its pixels to the strip.

    A plane is damaged if it was read beyond its end, ends between a run and its level, or if coefficients are
    left over. A reduced frame reads only some of them, so the last cannot be detected.
    """
    reduce, coefficients = load_i64(p, at.REDUCE), load_i64(p, at.COEFFICIENTS) + 2 * k * at.ROOM
    place, stop = load_i64(lane, PLACE), load_i64(lane, STOP)
    n_bits_left = 8 * load_i64(job, STOP_BYTE) - load_i64(lane, POSITION)
    n_set = min((place - coefficients) // 2 + 1, at.ROOM)
    plane, n_blocks = load_i64(job, PLANE), load_i64(job, N_BLOCKS)
    is_cut = n_bits_left < 0 or (place < stop and load_i64(lane, STATE) >= LEVEL_STATES)
    if is_cut or (reduce == 1 and (place >= stop or n_bits_left >= 32)):
        damage, slice_place = load_i64(p, at.DAMAGE), load_i64(job, DAMAGE_PLACE)
        store_u8(damage, slice_place, load_u8(damage, slice_place) | at.IS_LUMA << plane)
        clear_bytes(coefficients, 2 * n_set)
    show_blocks(
        coefficients, n_set, load_i64(p, at.BLOCKS), load_i64(p, at.SCAN),
        load_i64(p, at.MATRICES) + (64 if plane else 0), load_i64(job, SCALE), n_blocks, reduce,
        1 if plane else 2, load_i64(job, TARGET), load_i64(job, LINE_BYTES), load_i64(job, ADDS) != 0,
    )  # fmt: skip


@kernel
def show_strip(p: int, row: int, slot: int) -> None:
    """Output the lines of a complete strip."""
    if goes_straight(p, row):
        return
    reduce, stride = load_i64(p, at.REDUCE), load_i64(p, at.STRIDE)
    n_shown = count_shown(p)
    n_lines = 16 // reduce * n_shown
    luma = load_i64(p, at.STRIPS) + slot * load_i64(p, at.STRIP_BYTES)
    cb = luma + n_lines * stride
    cr = cb + n_lines * (stride >> 1)
    left = load_i64(p, at.WINDOW_LEFT)
    strip_left = load_i64(p, at.FIRST_MB) * 16 // reduce
    even = left // 2 * 2
    top, bottom = load_i64(p, at.WINDOW_TOP), load_i64(p, at.WINDOW_BOTTOM)
    edge = load_i64(p, at.PICTURE_CHROMA_WIDTH) - strip_left // 2
    reaches_edge = edge <= (stride >> 2) - at.PIXELS_AT_ONCE // 2
    for i in range(n_lines):
        line = row * n_lines + i
        if top <= line < bottom:
            u, v = cb + i * (stride >> 1), cr + i * (stride >> 1)
            if reaches_edge and load_i64(p, at.N_PLANES) == 3:  # there is no chroma to the right of the last
                store_i16(u, edge, load_u16(u, edge - 1))
                store_i16(v, edge, load_u16(v, edge - 1))
            show_line(
                p, load_i64(p, at.LINE), line - top, luma + i * stride + 2 * (even - strip_left),
                u + (even - strip_left), v + (even - strip_left), left - even,
            )  # fmt: skip


@kernel
def close_lane(p: int, k: int, lane_jobs: int, n_left: int) -> None:
    """Finish the job of lane `k`, and output its strip if that was its last job."""
    lane = load_i64(p, at.LANES) + k * at.LANE_BYTES
    job = load_i64(lane_jobs, k)
    read_one(PAIRS.ctypes.data, lane)
    close_job(p, lane, k, job)
    store_i64(lane_jobs, k, 0)
    slot = load_i64(job, SLOT)
    store_i64(n_left, 2 * slot, load_i64(n_left, 2 * slot) - 1)
    if load_i64(n_left, 2 * slot) == 0:
        show_strip(p, load_i64(n_left, 2 * slot + 1), slot)


@kernel
def decode(p: int) -> int:
    """Decode one frame, or a window of it, according to the parameters at `p`.

    Returns
    -------
    0, or -1 - the byte of the sample where its structure is inconsistent: nothing is decoded then, unless
    the lenient parameter is set.
    """
    fault = find_rows(p)
    if fault < 0 and not load_i64(p, at.IS_LENIENT):
        return fault
    lanes, jobs, max_jobs = load_i64(p, at.LANES), load_i64(p, at.JOBS), load_i64(p, at.MAX_JOBS)
    lane_jobs = lanes + at.N_LANES * at.LANE_BYTES
    n_left = lane_jobs + 8 * at.N_LANES  # for each of two strips: jobs left, and its row
    for k in range(at.N_LANES):
        store_i64(lane_jobs, k, 0)
    store_i64(n_left, 0, 0)
    store_i64(n_left, 2, 0)
    n_shown = count_shown(p)
    lines_of_row = 16 // load_i64(p, at.REDUCE) * n_shown
    row = load_i64(p, at.WINDOW_TOP) // lines_of_row
    stop_row = -(-load_i64(p, at.WINDOW_BOTTOM) // lines_of_row)
    job, stop_job, n_active = 0, 0, 0
    while True:
        for k in range(at.N_LANES):
            if load_i64(lane_jobs, k) != 0:
                continue
            while job == stop_job and row < stop_row:
                slot = row & 1
                for other in range(at.N_LANES):
                    busy = load_i64(lane_jobs, other)
                    if busy != 0 and load_i64(busy, SLOT) == slot:
                        close_lane(p, other, lane_jobs, n_left)
                        n_active -= 1
                job = jobs + slot * max_jobs * JOB_BYTES
                n_jobs = list_jobs(p, row, job, slot)
                stop_job = job + n_jobs * JOB_BYTES
                store_i64(n_left, 2 * slot, n_jobs)
                store_i64(n_left, 2 * slot + 1, row)
                if n_jobs == 0:
                    show_strip(p, row, slot)
                row += 1
            if job == stop_job:
                break
            open_job(p, lanes + k * at.LANE_BYTES, k, job)
            store_i64(lane_jobs, k, job)
            n_active += 1
            job += JOB_BYTES
        if n_active == 0:
            return fault
        is_last = job == stop_job and row >= stop_row
        if n_active < at.N_LANES and not is_last:
            continue
        are_all_busy = n_active == at.N_LANES
        if are_all_busy:
            read_four(PAIRS.ctypes.data, lanes)
        for k in range(at.N_LANES):
            if load_i64(lane_jobs, k) == 0:
                continue
            if not are_all_busy or is_near_end(lanes + k * at.LANE_BYTES):
                close_lane(p, k, lane_jobs, n_left)
                n_active -= 1
