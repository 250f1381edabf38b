"""Fuzzing of the decoder between unreadable pages: an access out of bounds ends the process.

Run as `python tests/decoding/fuzz.py SECONDS [SEED]`. Prints how many mutants were decoded, in how many the
structure did not hold, and in how many slices were marked. Planes of other decoders are converted likewise.
"""

import ctypes
import mmap
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from prores_samples import Kind, sample_of

from camhd_access import FrameDecodeError
from camhd_access.decoding import colors, machine_code, prores422
from camhd_access.decoding.kernels import parameters as at
from camhd_access.decoding.pixels import PIXEL_FORMATS
from camhd_access.decoding.subsampled import CodedFrame, convert_frame
from camhd_access.decoding.windows import CodedWindow
from camhd_access.formats.prores import parse_frame_header

KINDS = (
    Kind(46, 34),
    Kind(183, 83, options=(("mbs_per_slice", "1"),)),
    Kind(355, 130, interlace=1, options=(("mbs_per_slice", "2"),)),
    Kind(720, 486, interlace=2, options=(("profile", "3"),)),
    Kind(722, 98),
)
FORMATS = ("gray10le", "gray", "gray16be", "rgb24", "bgr48be")
COLORS = ("rgb24", "bgr24", "rgb48le", "bgr48be")
PAGE = mmap.PAGESIZE

_libc = ctypes.CDLL(None, use_errno=True)
_kept = []


def guarded(n_bytes, *, at_end):
    """Zeros that end (or begin) where a page begins (or ends) that can neither be read nor written."""
    room = -(-n_bytes // PAGE) * PAGE
    memory = mmap.mmap(-1, room + 2 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    _kept.append(memory)
    for offset in (0, PAGE + room):
        assert _libc.mprotect(ctypes.c_void_p(address + offset), PAGE, 0) == 0
    return np.frombuffer(memory, np.uint8, n_bytes, PAGE + (room - n_bytes if at_end else 0))


def mutate(rng, sample, first):
    """A mutant of the sample, of the same length or cut off; its frame header stays."""
    data = np.frombuffer(sample, np.uint8).copy()
    places = rng.integers(first, len(data), int(rng.integers(1, 40)))
    span = slice(int(places[0]), int(places[0]) + int(rng.integers(1, 5000)))
    match int(rng.integers(7)):
        case 0:
            data[places] = rng.integers(0, 256, len(places))
        case 1:
            data[places] ^= 1 << rng.integers(0, 8, len(places)).astype(np.uint8)
        case 2:
            data[span] = 0
        case 3:
            data[span] = 255
        case 4:
            data[span] = rng.integers(0, 256, len(data[span]))
        case 5:
            table = slice(first, first + 600)  # picture header and slice table
            data[table][rng.integers(0, len(data[table]), 4)] = rng.integers(0, 256, 4)
        case _:
            data = data[: int(rng.integers(first, len(data)))]
    return data.tobytes()


def random_window(rng, height, width):
    if rng.integers(2):
        return slice(0, height), slice(0, width)
    return tuple(slice(*sorted(rng.choice(n + 1, 2, replace=False).tolist())) for n in (height, width))


def guarded_array(shape, dtype, *, at_end):
    return guarded(int(np.prod(shape)) * np.dtype(dtype).itemsize, at_end=at_end).view(dtype).reshape(shape)


def convert_planes(rng, kernel, *, at_end):
    """Convert a window of random planes of a random size; the pixels are those of numpy."""
    height, width = map(int, rng.integers(1, 90, 2))
    chroma = (height + 1) // int(rng.integers(1, 3)), (width + 1) // int(rng.integers(1, 3))
    chroma = min(chroma[0], height), min(chroma[1], width)
    depth = int(rng.choice([8, 10]))
    planes = []
    for shape in ((height, width), chroma, chroma):
        plane = guarded_array(shape, np.uint8 if depth == 8 else np.uint16, at_end=at_end)
        plane[:] = rng.integers(0, 1 << depth, shape)
        planes.append(plane)
    about = {"interlaced": bool(rng.integers(2) and height > 3), "chroma_location": int(rng.integers(6))}
    frame = CodedFrame(0, False, tuple(planes), full_range=False, matrix=1, **about)
    window = random_window(rng, height, width)
    pixel_format = PIXEL_FORMATS[rng.choice(COLORS)]
    shape = pixel_format.shape(*(extent.stop - extent.start for extent in window))
    out = guarded_array(shape, pixel_format.dtype, at_end=at_end)
    assert colors.is_supported(frame, pixel_format, window, out)
    options = {"window": window, "track_matrix": None}
    colors.convert_colors(kernel, frame, pixel_format, **options, out=out)
    expected = np.empty_like(out)
    convert_frame(frame, pixel_format, **options, out=expected)
    assert np.array_equal(out, expected), "not numpy's pixels"


def main(seconds, seed=0):
    kernel = machine_code.find_kernel(waits=True)
    rng = np.random.default_rng(seed)
    counts = dict.fromkeys(("mutants", "refused", "marked"), 0)
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        kind = KINDS[rng.integers(len(KINDS))]
        header = parse_frame_header(sample_of(kind))
        reduce = int(rng.choice([1, 1, 2, 4]))
        field = int(rng.integers(2)) if kind.interlace and rng.integers(2) else None
        height = (kind.height if field is None else kind.height // 2) // reduce
        window = random_window(rng, height, kind.width // reduce)
        pixel_format = PIXEL_FORMATS[rng.choice(FORMATS)]
        shape = pixel_format.shape(*(extent.stop - extent.start for extent in window))
        at_end = bool(rng.integers(2))
        _kept.clear()
        prores422.allocate = lambda n_bytes, at_end=at_end: guarded(n_bytes, at_end=at_end)
        prores422._thread.memory = prores422._Memory()
        out = guarded_array(shape, pixel_format.dtype, at_end=at_end)
        for _ in range(20):
            mutant = mutate(rng, sample_of(kind), header.picture_offset)
            data = guarded(len(mutant), at_end=at_end)
            data[:] = np.frombuffer(mutant, np.uint8)
            coded = CodedWindow(memoryview(data), header, window, field)
            masks = bool(rng.integers(4))
            counts["mutants"] += 1
            try:
                marks = prores422.decode_window(
                    kernel,
                    coded,
                    pixel_format=pixel_format,
                    track_matrix=None,
                    reduce=reduce,
                    masks=masks,
                    out=out,
                )
                counts["marked"] += marks is not None
            except FrameDecodeError:
                counts["refused"] += 1
            coefficients = prores422._thread.memory.blocks[at.COEFFICIENTS - at.TAIL]
            assert not coefficients.any(), "coefficients are left behind"
        _kept.clear()
        colors.allocate = prores422.allocate
        for _ in range(5):
            colors._thread.memory = colors._Memory()
            convert_planes(rng, kernel, at_end=at_end)
    print(", ".join(f"{n} {name}" for name, n in counts.items()))


if __name__ == "__main__":
    main(float(sys.argv[1]), *map(int, sys.argv[2:]))
