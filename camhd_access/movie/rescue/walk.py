"""The walk from frame to frame through a file that has no index.

A ProRes sample begins with its own length and the letters `icpf`, so each frame leads to the next. If
there is none at the expected position (because of sound in between, or at the start of a walk), the letters
are searched for. They may occur elsewhere, so the candidate is checked: frame header, slice tables and the
headers of the last slices, which are found via the tables. A walk is a generator, as in
`prores.slices`: it yields byte ranges of the file, is sent their bytes, and keeps only a window in memory.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from camhd_access.errors import FrameDecodeError, UnsupportedCodecError
from camhd_access.formats.prores import Frame, FrameHeader, parse_frame_header, walk_frame
from camhd_access.formats.prores.slices import parse_slice_headers
from camhd_access.ranges import ByteData, ByteRange, Walk, nest_walk

__all__ = ["MAX_GAP_BYTES", "Segment", "walk_first", "walk_segment"]

HEAD_BYTES = 512
"""Bytes read of a frame at its expected position: its header takes 156 bytes in all known files."""

CHECK_BYTES = 4096
"""Bytes read of a frame that was searched for: header and first slice table take 2,204 bytes at 1080p."""

BLOCK_BYTES = 256 * 1024
"""Bytes searched at once; and read at once if they hold several frames."""

CHECKED_SLICES = 4
"""Slices that are checked. Random bytes pass as one slice header once in ten thousand times."""

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""Frames that claim to be larger are rejected; the largest of 1080p are below 2 MB."""

MAX_GAP_BYTES = 4 * 1024 * 1024
"""The longest gap between two frames that sound can explain: 4 s of 8 channels."""

SOUND_JITTER_BYTES = 64
"""A second of sound is not a whole number of frames: its stretches differ by a few samples."""

MAX_SEARCH_BYTES = MAX_FRAME_BYTES + MAX_GAP_BYTES
"""Largest distance from any position in a sound recording to the next frame."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The frames that begin in one stretch of a file."""

    offsets: list[int]
    """First byte of each."""
    sizes: list[int]
    """Bytes of each."""
    next_offset: int | None = None
    """First byte of the first frame after the stretch; None if none was found."""
    cut: ByteRange | None = None
    """A frame that is truncated by the end of the file."""

    def since(self, offset: int) -> "Segment":
        """The same without the frames before `offset`."""
        n = self.offsets.index(offset)
        return replace(self, offsets=self.offsets[n:], sizes=self.sizes[n:])


def walk_first(file_size: int) -> Walk[FrameHeader | None]:
    """Header of the first frame of a file; None if no complete frame begins within its first 20 MB."""
    found = yield from _Walker(file_size, None).search(0)
    return found and found[1]


def walk_segment(
    segment: ByteRange, like: FrameHeader, *, file_size: int, starts_at_frame: bool = False
) -> Walk[Segment]:
    """The frames that begin in `segment`.

    Parameters
    ----------
    like
        Header of another frame of the movie; frames of another size or kind are rejected.
    starts_at_frame
        Whether the segment begins at a frame; otherwise, the first one is searched for.

    Notes
    -----
    One question per frame, two for an interlaced frame that was searched for. Reads 512 bytes of large
    frames, and all of small ones. A search ends without result after 20 MB, the largest possible gap.
    """
    return (yield from _Walker(file_size, like).walk(segment, expected=starts_at_frame))


class _Walker:
    """One walk: the bytes in memory, and the observed pattern of sound and frames."""

    def __init__(self, file_size: int, like: FrameHeader | None) -> None:
        self._file_size = file_size
        self._like = like
        self._start, self._data = 0, memoryview(b"")
        self._frame_bytes = MAX_FRAME_BYTES
        self._gap_bytes = BLOCK_BYTES - CHECK_BYTES
        self._run, self._last_run = 0, 0  # frames since the last gap, and between the last two
        self._is_sure = True  # whether the last frame was verified

    def walk(self, segment: ByteRange, *, expected: bool) -> Walk[Segment]:
        """The frames that begin in `segment`; whether one is `expected` at its start."""
        found = Segment([], [])
        position = segment.start
        while True:
            header = (yield from self._read_header(position)) if expected else None
            expected = header is not None
            if header is None:
                following = yield from self.search(position)
                if (yield from self._is_wrong(found, following and following[0] - position)):
                    position, _, self._is_sure = found.offsets.pop() + 1, found.sizes.pop(), True
                    continue
                if following is None:
                    return found
                if found.offsets:
                    self._learn(following[0] - position)
                position, header = following
            stop = position + header.frame_size
            if position >= segment.stop:
                return replace(found, next_offset=position)
            if stop > self._file_size:
                return replace(found, cut=ByteRange(position, self._file_size))
            found.offsets.append(position)
            found.sizes.append(header.frame_size)
            self._frame_bytes = header.frame_size
            self._run += 1
            self._is_sure = not expected  # frames that were searched for are verified
            position, expected = stop, True

    def search(self, start: int) -> Walk[tuple[int, FrameHeader] | None]:
        """Position and header of the first frame from `start` on; a truncated one only if none follows."""
        cut: tuple[int, FrameHeader] | None = None
        position, n_bytes = start, min(self._gap_bytes + CHECK_BYTES, BLOCK_BYTES)
        while position < start + MAX_SEARCH_BYTES:
            block = yield from self._read(position, n_bytes)
            is_last = position + len(block) == self._file_size
            stop = len(block) if is_last else len(block) - HEAD_BYTES  # the next block includes the rest
            for letters in re.finditer(b"icpf", block):
                start_in_block = letters.start() - 4
                if not 0 <= start_in_block < stop:
                    continue
                place = position + start_in_block
                header = self._match(block[start_in_block : start_in_block + CHECK_BYTES])
                if header and place + header.frame_size > self._file_size:
                    cut = cut or (place, header)
                elif header and (yield from self._holds_up(place, header.frame_size)):
                    return place, header
            if is_last:
                break
            position += stop
            n_bytes = BLOCK_BYTES
        return cut

    def _is_wrong(self, found: Segment, gap_bytes: int | None) -> Walk[bool]:
        """Whether the last frame is a false match: it was not verified, and the pattern is unusual."""
        if self._is_sure or self._is_usual(gap_bytes):
            return False
        return not (yield from self._holds_up(found.offsets[-1], found.sizes[-1]))

    def _is_usual(self, gap_bytes: int | None) -> bool:
        """Whether the gap before the next frame is the same as last time, after as many frames."""
        if gap_bytes is None or self._run != self._last_run:
            return False
        return abs(gap_bytes - self._gap_bytes) <= SOUND_JITTER_BYTES

    def _read_header(self, position: int) -> Walk[FrameHeader | None]:
        """Header of the complete frame at its expected position; None if there is none."""
        header = self._match((yield from self._read(position, HEAD_BYTES, ahead=self._guess())))
        return header if header and position + header.frame_size <= self._file_size else None

    def _match(self, head: ByteData) -> FrameHeader | None:
        """The frame header in `head`, if there is one that matches the others and its first picture."""
        try:
            header = parse_frame_header(head)
            walk = walk_frame(header.frame_size, n_pictures=1)
            next(walk)
            walk.send([head])  # which continues to the slice table, if the head does not include it
        except (FrameDecodeError, UnsupportedCodecError):
            return None
        except StopIteration:
            pass
        like = self._like or header
        is_alike = (header.width, header.height, header.chroma) == (like.width, like.height, like.chroma)
        return header if is_alike and header.frame_size <= MAX_FRAME_BYTES else None

    def _holds_up(self, place: int, size: int) -> Walk[bool]:
        """Whether the frame at `place` has its slice tables and last slices at the right positions."""
        try:
            frame = yield from self._walk_tables(place, size)
            last = frame.pictures[-1]
            offset = last.slice_offset.reshape(1, -1)[:, -CHECKED_SLICES:]
            start = place + int(offset[0, 0])
            # The next frame's head is requested at the same time, so the check costs no extra request.
            ahead = place + size - start + HEAD_BYTES
            head = yield from self._read(start, int(offset[0, -1] - offset[0, 0]) + 8, ahead=ahead)
            sizes = last.slice_size.reshape(1, -1)[:, -CHECKED_SLICES:]
            only = replace(last, slice_offset=offset - offset[0, 0], slice_size=sizes)
            parse_slice_headers(head, only)
        except (FrameDecodeError, UnsupportedCodecError):
            return False
        return True

    def _walk_tables(self, place: int, size: int) -> Walk[Frame]:
        """The layout of the frame at `place`."""

        def read(ranges: Sequence[tuple[int, int]]) -> Walk[list[ByteData]]:
            found: list[ByteData] = []
            for start, stop in ranges:
                found.append((yield from self._read(place + start, stop - start)))
            return found

        return (yield from nest_walk(walk_frame(size), read))

    def _read(self, start: int, n_bytes: int, *, ahead: int = 0) -> Walk[memoryview]:
        """`n_bytes` from `start` on, fewer at the file's end; if not in memory, reads `ahead` bytes."""
        stop = min(start + n_bytes, self._file_size)
        if not self._start <= start <= stop <= self._start + len(self._data):
            data: ByteData = b""
            if start < stop:
                (data,) = yield [(start, min(max(stop, start + ahead), self._file_size))]
            self._start, self._data = start, memoryview(data)
        return self._data[start - self._start : max(stop, start) - self._start]

    def _guess(self) -> int:
        """Number of bytes to request after a frame."""
        if self._frame_bytes < BLOCK_BYTES // 4:
            return BLOCK_BYTES
        return min(self._gap_bytes + CHECK_BYTES, BLOCK_BYTES) if self._run == self._last_run else HEAD_BYTES

    def _learn(self, gap_bytes: int) -> None:
        """Remember the length of the last gap, and the number of frames before it."""
        self._gap_bytes = gap_bytes
        self._run, self._last_run = 0, self._run
