"""QuickTime files with the layout of CamHD's recorder, written in one pass.

The media come first, in the order of recording: the timecode sample, then six video samples and their
sound, and so on. `moov` follows after the last frame is encoded, as the sizes are not
known before. That is why a truncated recording has no index. Only the sizes are kept in memory,
so movies may be as long as the disk allows; `write_sparse_movie` makes one of full length with holes.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from camhd_access.formats.quicktime.tracks import FILE_TYPE, Track, build_mdat_header, build_moov
from camhd_access.synthetic.atoms import WIDE, sound_track_kind, timecode_track_kind, video_track_kind
from camhd_access.synthetic.encoder import encode_frame, iter_encoded, open_encoder
from camhd_access.synthetic.scene import VentScene, black_planes

__all__ = ["write_movie", "write_sparse_movie"]

Layout = Literal["moov-last", "moov-first", "no-moov"]

_FRAMES_A_CHUNK = 6
_FRAME_TICKS = 1001  # of 1/30000 s
_SOUND_RATE = 48_000
_SOUND_FRAME_BYTES = 6  # two channels of 24 bits
_MDAT_HEADER_BYTES = 16
_EPOCH = np.datetime64("1904-01-01T00:00:00")


@dataclass(frozen=True, slots=True)
class _Recording:
    """The content of the index apart from the sizes of the frames."""

    n_frames: int
    width: int
    height: int
    interlaced: bool
    start_time: np.datetime64 | None
    audio: bool
    timecode: bool

    @property
    def frames_per_chunk(self) -> NDArray[np.int64]:
        """Number of frames of each chunk: six, and what is left in the last."""
        edges = np.arange(0, self.n_frames + _FRAMES_A_CHUNK, _FRAMES_A_CHUNK).clip(max=self.n_frames)
        return np.diff(edges)

    @property
    def sound_frames_per_chunk(self) -> NDArray[np.int64]:
        """Number of sound samples recorded along with each video chunk (9,609 or 9,610 for six frames)."""
        edges = self.frames_per_chunk.cumsum() * _FRAME_TICKS * _SOUND_RATE // 30_000
        counts = np.diff(edges, prepend=0)
        return counts if self.audio else np.zeros_like(counts)

    @property
    def timecode_bytes(self) -> bytes:
        """The timecode sample: the number of the first frame, counted from midnight at 30 per second."""
        if not self.timecode:
            return b""
        start = self.start_time if self.start_time is not None else _EPOCH
        seconds = (start - start.astype("datetime64[D]")) // np.timedelta64(1, "s")
        return int(30 * seconds).to_bytes(4, "big")

    def frame_offsets(self, sizes: NDArray[np.int64], media_start: int) -> NDArray[np.int64]:
        """Offset of each frame in the file, with the media at `media_start`."""
        before = np.concatenate([[0], sizes.cumsum()[:-1]])
        sound_before = np.concatenate([[0], self.sound_frames_per_chunk.cumsum()[:-1]]) * _SOUND_FRAME_BYTES
        start = media_start + len(self.timecode_bytes)
        offsets: NDArray[np.int64] = start + before + np.repeat(sound_before, self.frames_per_chunk)
        return offsets

    def moov(self, sizes: NDArray[np.int64], media_start: int) -> bytes:
        """The index; its length does not depend on `sizes` and `media_start`."""
        video = video_track_kind(self.width, self.height, interlaced=self.interlaced)
        offsets = self.frame_offsets(sizes, media_start)
        chunk_starts = offsets[::_FRAMES_A_CHUNK]
        tracks = [Track(video, _FRAME_TICKS, sizes, self.frames_per_chunk, chunk_starts)]
        if self.audio:
            sound = sound_track_kind(_SOUND_RATE)
            sound_starts = chunk_starts + np.add.reduceat(sizes, np.arange(0, self.n_frames, _FRAMES_A_CHUNK))
            tracks.append(Track(sound, 1, _SOUND_FRAME_BYTES, self.sound_frames_per_chunk, sound_starts))
        if self.timecode:
            one, start = np.array([1]), np.array([media_start])
            tracks.append(Track(timecode_track_kind(), self.n_frames * _FRAME_TICKS, 4, one, start))
        return build_moov(tracks, _seconds_since_1904(self.start_time))

    def media_bytes(self, sizes: NDArray[np.int64]) -> int:
        """Length of all media."""
        sound_bytes = int(self.sound_frames_per_chunk.sum()) * _SOUND_FRAME_BYTES
        return len(self.timecode_bytes) + int(sizes.sum()) + sound_bytes


def _seconds_since_1904(time: np.datetime64 | None) -> int:
    return 0 if time is None else int((time - _EPOCH) // np.timedelta64(1, "s"))


def write_movie(
    path: str | os.PathLike[str],
    *,
    n_frames: int,
    width: int = 1920,
    height: int = 1080,
    interlaced: bool = True,
    start_time: np.datetime64 | None = None,
    blank: bool = False,
    audio: bool = True,
    timecode: bool = True,
    layout: Layout = "moov-last",
    first_frame_number: int = 0,
    scene: VentScene | None = None,
    run: int = 0,
    workers: int | None = None,
) -> None:
    """Write a movie of the vent, with a frame number in each image (see `read_frame_number`).

    Parameters
    ----------
    n_frames
        At least 1. The movie shows one whole routine in any case.
    width, height
        Pixels and lines, even; at least 256x64.
    start_time
        Creation time in `mvhd`, UTC, whole seconds; None writes 0, like a recorder without a clock.
    blank
        Camera off: black frames, without a number, of less than 30 kB each.
    layout
        `"no-moov"` is a truncated recording, which ends within the last frame.
    first_frame_number
        Number of the first frame; numbers must not exceed 65,535.
    scene, run
        The filmed vent, and the number of the run of the routine. Movies that share a scene share its cost.
    workers
        Threads that draw and encode; by default the number of processors.

    Notes
    -----
    The same arguments write the same bytes. At 1920x1080 about 40 ms of CPU and 600 kB per frame.
    """
    if n_frames < 1:
        raise ValueError(f"a movie needs at least 1 frame, not {n_frames}")
    recording = _Recording(n_frames, width, height, interlaced, start_time, audio, timecode)
    if blank:
        black = encode_frame(open_encoder(width, height, interlaced=interlaced), black_planes(width, height))
        samples: Iterator[bytes] = (black for _ in range(n_frames))
    else:
        scene = scene or VentScene(width, height, interlaced=interlaced)
        if (scene.width, scene.height, scene.interlaced) != (width, height, interlaced):
            raise ValueError("the scene differs from the movie in size or interlacing")
        samples = _film(
            scene,
            recording,
            range(n_frames),
            first_frame_number=first_frame_number,
            run=run,
            workers=workers,
        )
    with Path(path).open("wb") as file:
        _record(file, recording, samples, layout)


def _film(
    scene: VentScene,
    recording: _Recording,
    frames: Iterable[int],
    *,
    first_frame_number: int = 0,
    run: int = 0,
    workers: int | None = None,
) -> Iterator[bytes]:
    return iter_encoded(
        lambda i: scene.picture(i, recording.n_frames, frame_number=first_frame_number + i, run=run),
        frames,
        lambda: open_encoder(recording.width, recording.height, interlaced=recording.interlaced),
        workers=workers or os.cpu_count() or 1,
    )


def _record(file: BinaryIO, recording: _Recording, samples: Iterator[bytes], layout: Layout) -> None:
    sizes = np.zeros(recording.n_frames, np.int64)
    file.write(FILE_TYPE)
    moov_start = file.tell()
    if layout == "moov-first":
        file.write(bytes(len(recording.moov(sizes, 0))))
    file.write(WIDE)
    mdat_start = file.tell()
    media_start = mdat_start + _MDAT_HEADER_BYTES
    file.write(bytes(_MDAT_HEADER_BYTES))
    file.write(recording.timecode_bytes)
    frame_index = 0
    for n_frames, n_sound_frames in zip(
        recording.frames_per_chunk, recording.sound_frames_per_chunk, strict=True
    ):
        for _ in range(n_frames):
            sample = next(samples)
            sizes[frame_index] = file.write(sample)
            frame_index += 1
        file.write(_sound(frame_index, int(n_sound_frames)))
    if layout == "moov-last":
        file.write(recording.moov(sizes, media_start))
    elif layout == "moov-first":
        file.seek(moov_start)
        file.write(recording.moov(sizes, media_start))
    else:
        file.truncate(int(recording.frame_offsets(sizes, media_start)[-1] + sizes[-1] // 2))
    file.seek(mdat_start)
    file.write(build_mdat_header(recording.media_bytes(sizes)))


def _sound(seed: int, n_frames: int) -> bytes:
    """Faint noise: `n_frames` of two big-endian 24-bit samples."""
    levels = np.random.default_rng(seed).integers(-2000, 2000, 2 * n_frames, dtype=np.int32)
    return levels.astype(">i4").view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()


def write_sparse_movie(
    path: str | os.PathLike[str],
    *,
    n_frames: int = 25_000,
    frame_bytes: int = 560_000,
    coded: Sequence[int] = (0, 7_200),
    start_time: np.datetime64 | None = None,
) -> None:
    """Write a 1920x1080 movie of realistic size that takes only a few MB on disk.

    The index is complete. The frames of `coded` exist, with their numbers; all other media are holes in
    the file, which read as zeros, so decoding such a frame must fail.

    Parameters
    ----------
    frame_bytes
        Size of a missing frame, varied by a twentieth.
    coded
        Indices of the frames that can be decoded.

    Notes
    -----
    About 2 s, nearly all for drawing and encoding; needs a file system with sparse files.
    """
    recording = _Recording(
        n_frames, 1920, 1080, interlaced=True, start_time=start_time, audio=True, timecode=True
    )
    rng = np.random.default_rng(n_frames)
    sizes = (frame_bytes * rng.uniform(0.95, 1.05, n_frames)).astype(np.int64)
    samples = dict(zip(coded, _film(VentScene(), recording, coded), strict=True))
    for frame_index, sample in samples.items():
        sizes[frame_index] = len(sample)
    mdat_start = len(FILE_TYPE) + len(WIDE)
    media_start = mdat_start + _MDAT_HEADER_BYTES
    offsets = recording.frame_offsets(sizes, media_start)
    with Path(path).open("wb") as file:
        file.write(
            FILE_TYPE + WIDE + build_mdat_header(recording.media_bytes(sizes)) + recording.timecode_bytes
        )
        for frame_index, sample in samples.items():
            file.seek(offsets[frame_index])
            file.write(sample)
        file.seek(media_start + recording.media_bytes(sizes))
        file.write(recording.moov(sizes, media_start))
