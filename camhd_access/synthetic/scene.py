"""A hydrothermal vent as seen by the camera on the seafloor, drawn in a few milliseconds per frame.

Expensive work is done once: a `VentScene` holds a *world*, the texture of chimney, mats and background,
larger than the frame, and pools of sensor noise, plume and particles. A frame is a window of the world,
chosen by the camera's routine (pan and zoom, lights off at both ends), plus plume and particles, times the
light of the lamps, plus noise. The two fields of an interlaced frame are drawn half a frame apart, as in
a real camera.

Arithmetic is in integers of 16 bits: texture 0 to 219, light 0 to 255, their product shifted to 10-bit code
values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camhd_access.synthetic.encoder import Planes
from camhd_access.synthetic.framenumber import draw_frame_number
from camhd_access.synthetic.world import SPIRES, Spire, build_flakes, build_plume, build_world, sample_world

__all__ = ["VentScene", "View", "black_planes"]

_WORLD_SCALE = 1.7  # world lines per line of the frame
_SEED = 0  # another seed gives another vent; this one looks best
_BLACK, _NEUTRAL, _TEXTURE_MAX = 64, 512, 219


def black_planes(width: int, height: int) -> Planes:
    """The planes recorded while the camera is off."""
    chroma = np.full((height, width // 2), _NEUTRAL, np.uint16)
    return np.full((height, width), _BLACK, np.uint16), chroma, chroma


@dataclass(frozen=True, slots=True)
class View:
    """Position of the camera, and brightness."""

    x: float
    """Centre, of the world's width."""
    y: float
    """Centre, of the world's height."""
    step: float
    """World pixels per frame pixel; smaller values are closer."""
    light: float
    """0 (lamps off) to 1."""


def _view_at(progress: float) -> View:
    """The routine: lamps on, wide view, three close-ups, wide view, lamps off."""
    marks = (0, 0.16, 0.22, 0.34, 0.42, 0.60, 0.66, 0.76, 0.84)
    x = np.interp(progress, marks, (0.5, 0.5, 0.42, 0.42, 0.5, 0.5, 0.57, 0.57, 0.5))
    y = np.interp(progress, marks, (0.5, 0.5, 0.40, 0.40, 0.5, 0.5, 0.62, 0.62, 0.5))
    step = np.interp(progress, marks, (1.6, 1.6, 0.9, 0.9, 1.15, 1.15, 0.8, 0.8, 1.6))
    light = np.interp(progress, (0.03, 0.08, 0.93, 0.97), (0, 1, 1, 0))
    return View(float(x), float(y), float(step), float(light))


class VentScene:
    """Images of a vent; thread-safe and reproducible.

    Parameters
    ----------
    width, height
        Frame size in pixels and lines; both even.
    interlaced
        Draw the lower field half a frame later than the upper.
    spires
        The chimneys. Other spires change nothing else: the vent before and after it grew or collapsed.
    numbered
        Draw the number of each frame.

    Notes
    -----
    Takes 1.4 s and 70 MB to create at 1920x1080; 8 ms per frame.
    """

    def __init__(
        self,
        width: int = 1920,
        height: int = 1080,
        *,
        interlaced: bool = True,
        spires: Sequence[Spire] = SPIRES,
        numbered: bool = True,
    ) -> None:
        self.width: int = width
        self.height: int = height
        self.interlaced: bool = interlaced
        self.numbered: bool = numbered
        rng = np.random.default_rng(_SEED)
        world_height, world_width = int(height * _WORLD_SCALE), 2 * int(width * _WORLD_SCALE / 2)
        self._world = build_world(world_height, world_width, rng, spires)
        self._plume = build_plume(world_height, world_width, rng)
        self._flakes = build_flakes(width, height, 2 if interlaced else 1, rng)
        self._lamps = _build_lamps(height, width)
        self._noise = rng.normal(_BLACK + 0.5, 1.8, 2 * height * width).astype(np.uint16)
        self._chroma_noise = rng.normal(_NEUTRAL + 0.5, 0.9, 2 * height * width).astype(np.int16)

    def view(self, progress: float, run: int) -> View:  # noqa: ARG002 - a subclass may need it
        """What the camera sees after a part (0 to 1) of a run; a subclass may move the camera."""
        return _view_at(progress)

    def picture(
        self, frame_index: int, n_frames: int, *, frame_number: int | None = None, run: int = 0
    ) -> Planes:
        """Frame `frame_index` of a run of `n_frames`, with its number in the top left corner.

        Parameters
        ----------
        frame_number
            Number to draw; by default the frame's index.
        run
            Number of the run of the routine: the vent stays, particles and noise differ.
        """
        luma = np.empty((self.height, self.width), np.uint16)
        cb, cr = (np.empty((self.height, self.width // 2), np.int16) for _ in range(2))
        n_fields = 2 if self.interlaced else 1
        for field in range(n_fields):
            time = frame_index + field / n_fields
            self._draw_field(
                time, self.view(time / n_frames, run), run, slice(field, None, n_fields), (luma, cb, cr)
            )
        rng = np.random.default_rng((frame_index, run))
        luma += _cut(self._noise, luma.shape, rng)
        cb += _cut(self._chroma_noise, cb.shape, rng)
        cr += _cut(self._chroma_noise, cr.shape, rng)
        if self.numbered:
            draw_frame_number(luma, frame_index if frame_number is None else frame_number)
            cb[:96, :128] = cr[:96, :128] = _NEUTRAL
        return luma, cb.view(np.uint16), cr.view(np.uint16)

    def _draw_field(
        self, time: float, view: View, run: int, lines: slice, planes: Sequence[NDArray[Any]]
    ) -> None:
        luma, cb, cr = (plane[lines] for plane in planes)
        rows = _window(view.y, view.step, self.height, self._world.luma.shape[0])[lines]
        columns = _window(view.x, view.step, self.width, self._world.luma.shape[1])
        light = self._lamps[lines]
        if view.light < 1:
            light = (light * np.float32(view.light)).astype(np.int16)
        texture = sample_world(self._world.luma, rows, columns)
        self._plume.add_to(texture, rows, columns, time)
        self._flakes.add_to(texture, time, run)
        np.minimum(texture, _TEXTURE_MAX, out=texture)
        np.multiply(texture, light.view(np.uint16), out=luma)
        np.right_shift(luma, 6, out=luma)
        for world, plane in ((self._world.cb, cb), (self._world.cr, cr)):
            np.multiply(sample_world(world, rows, columns[::2] // 2), light[:, ::2], out=plane)
            np.right_shift(plane, 6, out=plane)


def _window(centre: float, step: float, n: int, n_world: int) -> NDArray[np.intp]:
    """Indices into the world of the `n` lines or columns of a frame."""
    return (centre * n_world + (np.arange(n) - n / 2) * step).astype(np.intp).clip(0, n_world - 1)


def _build_lamps(height: int, width: int) -> NDArray[np.int16]:
    """The lamps' light over the frame, 0 to 255: two beams that overlap in the middle, and dark edges."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    beams = [np.exp(-((((x - axis) / 0.52) ** 2 + ((y - 0.05) / 0.72) ** 2) ** 1.4)) for axis in (-0.2, 0.24)]
    return (255 * (0.97 * np.maximum(*beams) + 0.03)).astype(np.int16)


def _cut(pool: NDArray[Any], shape: tuple[int, int], rng: np.random.Generator) -> NDArray[Any]:
    """A stretch of `pool`, from anywhere, as an array of `shape`."""
    size = shape[0] * shape[1]
    start = int(rng.integers(len(pool) - size))
    return pool[start : start + size].reshape(shape)
