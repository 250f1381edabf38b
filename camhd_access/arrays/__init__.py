"""Movies as xarray arrays: `open_movie`, `open_movies`, `open_timelapse`, the engine `camhd`, and Zarr."""

from camhd_access.arrays.open_movie import CamhdBackendEntrypoint, open_movie
from camhd_access.arrays.open_movies import open_movies, open_timelapse

__all__ = ["CamhdBackendEntrypoint", "open_movie", "open_movies", "open_timelapse"]
