"""The scenery: a chimney on the seafloor, its plume, and flakes that drift through the water.

The world is a still texture larger than the frame; plume and flakes are small textures that move over it.
All are made of smooth random fields (filtered white noise), once per scene. Lengths are in heights of the
world: x from the middle to the right, y from the top (0) to the bottom (1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SPIRES",
    "Flakes",
    "Plume",
    "Spire",
    "World",
    "build_flakes",
    "build_plume",
    "build_world",
    "sample_world",
]

_Pixel = TypeVar("_Pixel", np.uint16, np.int16)
_Field = NDArray[np.floating[Any]]
Spire: TypeAlias = tuple[float, float, float]
"""x of the axis, y of the tip, half width at the foot."""

SPIRES: tuple[Spire, ...] = (
    (0.02, 0.22, 0.24),
    (-0.15, 0.34, 0.17),
    (0.15, 0.30, 0.15),
    (-0.29, 0.52, 0.15),
    (0.29, 0.47, 0.17),
    (-0.44, 0.70, 0.17),
    (0.45, 0.66, 0.17),
    (-0.06, 0.42, 0.13),
    (0.08, 0.50, 0.13),
)
"""The chimneys of the vent."""


@dataclass(frozen=True, slots=True)
class World:
    """The still texture in full light."""

    luma: NDArray[np.uint16]
    """(lines, pixels); 0 to 219."""
    cb: NDArray[np.int16]
    """(lines, pixels / 2); around 0."""
    cr: NDArray[np.int16]
    """(lines, pixels / 2); around 0."""


def build_world(height: int, width: int, rng: np.random.Generator, spires: Sequence[Spire] = SPIRES) -> World:
    """A world of `height` lines of `width` pixels; `width` is even."""
    y = (np.arange(height, dtype=np.float32) / height)[:, None]
    x = ((np.arange(width, dtype=np.float32) - width / 2) / height)[None, :]
    rough, lumps, patches = _random_fields(height, width, (1.6, 2.0, 1.7), rng)
    relief, rock = _relief(x + 0.016 * lumps + 0.004 * rough, y + 0.035 * patches, spires)
    shade = _shade(height * (relief + 0.0048 * rough + 0.014 * lumps + 0.003 * np.abs(patches)))
    mats = np.clip(
        1.5 * (lumps + 0.6 * rough + 1.2 * (0.55 - y) - 0.9), 0, 1
    )  # white bacteria, mostly at the top
    worms = np.clip(2.2 * (patches - 0.4 * rough - 0.7), 0, 1) * (1 - mats)  # tubeworms and sulphide, reddish
    albedo = 0.40 + 0.07 * rough + 0.05 * patches + 0.36 * mats + 0.1 * worms
    water = 0.075 + 0.022 * patches + 0.04 * y
    luma = np.where(rock, albedo * shade, water).clip(0, 1)
    cb = np.where(rock, luma * (-26 - 40 * worms + 18 * mats), luma * 90)
    cr = np.where(rock, luma * (20 + 75 * worms - 16 * mats), luma * -110)
    return World((219 * luma).astype(np.uint16), cb[:, ::2].astype(np.int16), cr[:, ::2].astype(np.int16))


def _random_fields(
    height: int, width: int, slopes: Sequence[float], rng: np.random.Generator
) -> list[NDArray[np.float32]]:
    """Fields of mean 0 and variance 1 whose amplitude falls with frequency as f^-slope; they wrap around."""
    frequency = np.hypot(
        np.fft.fftfreq(height).astype(np.float32)[:, None] * height,
        np.fft.rfftfreq(width).astype(np.float32)[None, :] * height,
    )
    frequency[0, 0] = np.inf
    fields = []
    for slope in slopes:
        spectrum = np.fft.rfft2(rng.standard_normal((height, width), np.float32))
        field = np.fft.irfft2(spectrum * frequency ** np.float32(-slope), (height, width))
        fields.append((field / field.std()).astype(np.float32))
    return fields


def _relief(x: _Field, y: _Field, spires: Sequence[Spire]) -> tuple[_Field, NDArray[np.bool_]]:
    """How far the rock protrudes towards the camera, and where there is rock."""
    relief = 0.25 * np.clip(y - 0.86, 0, None) + np.zeros_like(x)  # the seafloor
    for axis, tip, foot in spires:
        half_width = foot * np.clip((y - tip) / (1 - tip), 0, None) ** np.float32(0.62)
        relief = np.maximum(relief, np.sqrt(np.clip(half_width**2 - (x - axis) ** 2, 0, None)))
    return relief, relief > 0


def _shade(relief: _Field) -> _Field:
    """Lambert's law for lamps at the upper left of the camera."""
    dy, dx = np.gradient(relief)
    shade: _Field = (1.0 + 0.62 * dx + 0.55 * dy) / np.sqrt(1 + dx**2 + dy**2)
    return shade.clip(0.08, 1.9)


def sample_world(
    texture: NDArray[_Pixel], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[_Pixel]:
    """`texture` at `rows` and ascending `columns`, as a new array."""
    first = columns[0]
    strip = texture[rows, first : columns[-1] + 1]
    if strip.shape[1] == len(columns):
        return strip
    sampled: NDArray[_Pixel] = strip.take(columns - first, axis=1, mode="clip")
    return sampled


@dataclass(frozen=True, slots=True)
class Plume:
    """Hot water full of minerals that rises from the highest spire."""

    left: int
    """Its first column in the world."""
    density: NDArray[np.uint16]
    """(lines, columns) around its axis, from the world's first line downwards; 0 to 255."""
    billows: tuple[NDArray[np.uint16], NDArray[np.uint16]]
    """Two textures of the size of `density`, 0 to 255, that rise at different speeds and wrap around."""

    def add_to(
        self, texture: NDArray[np.uint16], rows: NDArray[np.intp], columns: NDArray[np.intp], time: float
    ) -> None:
        """Brighten the part of `texture` (the world at `rows` and `columns`) behind the plume."""
        height, width = self.density.shape
        stop = np.searchsorted(rows, height)
        c0, c1 = np.searchsorted(columns, (self.left, self.left + width))
        if stop == 0 or c0 == c1:
            return
        inner_rows, inner_columns = rows[:stop], columns[c0:c1] - self.left
        smoke = sample_world(self.density, inner_rows, inner_columns)
        for billow, speed in zip(self.billows, (0.0035, 0.0061), strict=True):
            rising = (inner_rows + int(time * speed * height)) % height
            smoke = smoke * sample_world(billow, rising, inner_columns) // np.uint16(256)
        texture[:stop, c0:c1] += smoke


def build_plume(height: int, width: int, rng: np.random.Generator) -> Plume:
    """The plume of a world of `height` lines of `width` pixels."""
    n_lines, n_columns = int(0.30 * height), int(0.44 * height)
    y = np.linspace(0, 1, n_lines, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, n_columns, dtype=np.float32)[None, :]
    (sway,) = _random_fields(n_lines, n_columns, (2.2,), rng)
    spread = 0.08 + 0.30 * (1 - y)
    density = np.exp(-(((x + 0.06 * sway) / spread) ** 2)) * np.sqrt(y) * np.clip((1 - y) * 12, 0, 1)
    billows = [
        (175 + 80 * field).clip(0, 255) for field in _random_fields(n_lines, n_columns, (1.5, 1.9), rng)
    ]
    fine, coarse = (field.astype(np.uint16) for field in billows)
    return Plume(
        width // 2 - n_columns // 2,
        (330 * density).clip(0, 255).astype(np.uint16),
        (fine, coarse),
    )


@dataclass(frozen=True, slots=True)
class Flakes:
    """Marine snow and bits of bacterial mat, near the camera, drifting with the current."""

    width: int
    """Columns of the frame."""
    height: int
    """Lines of the frame, or of each of its fields."""
    start: NDArray[np.float64]
    """(flake, 2): x and y at time 0."""
    velocity: NDArray[np.float64]
    """(flake, 2): x and y per frame."""
    sprites: tuple[NDArray[np.uint16], ...]
    """What each flake adds to the texture."""

    def add_to(self, texture: NDArray[np.uint16], time: float, run: int) -> None:
        """Add all flakes to one field, or one progressive frame, of `texture`."""
        shift = np.array([self.width * 0.37, self.height * 0.23]) * run
        positions = (self.start + shift + self.velocity * time).astype(int) % (self.width, self.height)
        for (x, y), sprite in zip(positions.tolist(), self.sprites, strict=True):
            target = texture[y : y + sprite.shape[0], x : x + sprite.shape[1]]
            target += sprite[: target.shape[0], : target.shape[1]]


def build_flakes(
    width: int, height: int, line_step: int, rng: np.random.Generator, n_flakes: int = 110
) -> Flakes:
    """Flakes for fields that hold every `line_step`-th of `height` lines."""
    scale = max(height / 1080, 0.3)
    sprites = []
    for radius in rng.lognormal(0.9, 0.5, n_flakes).clip(1.2, 9) * scale:
        reach = int(np.ceil(2 * radius))
        offsets = np.arange(-reach, reach + 1)
        blob = np.exp(
            -(offsets[::line_step, None] ** 2 + (offsets[None, :] * rng.uniform(0.7, 1.4)) ** 2) / radius**2
        )
        sprites.append((rng.uniform(25, 120) * blob).astype(np.uint16))
    start = rng.uniform(0, 1, (n_flakes, 2)) * (width, height // line_step)
    velocity = rng.normal((1.4, -0.7), (0.8, 0.5), (n_flakes, 2)) * scale * (2, 2 / line_step)
    return Flakes(width, height // line_step, start, velocity, tuple(sprites))
