"""A widget to browse movies: choose movie, frame and crop.

Moving a slider reads only the part of the frame that is shown. ipywidgets, from the
extra `notebook`, is only imported here.
"""

from collections.abc import Sequence
from io import BytesIO

import xarray as xr
from PIL import Image

from camhd_access.errors import CamhdError
from camhd_access.output.film_writers import resize
from camhd_access.output.pictures import deinterlaced, describe_frame, movie_of, to_image
from camhd_access.output.small_images import reduced_to

try:
    import ipywidgets
except ImportError as error:
    raise ImportError("the viewer needs ipywidgets: pip install 'camhd_access[notebook]'") from error

__all__ = ["make_viewer"]


def make_viewer(movies: Sequence[xr.DataArray], width: int) -> ipywidgets.VBox:
    """The widget: see `CamhdAccessor.viewer`."""
    return _Viewer(movies, width).box


class _Viewer:
    """The widgets, and their event handlers."""

    def __init__(self, movies: Sequence[xr.DataArray], width: int) -> None:
        self._movies = movies
        self._width = width
        wide = {"continuous_update": False, "layout": ipywidgets.Layout(width="70%")}
        self._movie = ipywidgets.IntSlider(description="movie", max=len(movies) - 1, **wide)
        self._frame = ipywidgets.IntSlider(description="frame", **wide)
        self._y = ipywidgets.IntRangeSlider(description="y", **wide)
        self._x = ipywidgets.IntRangeSlider(description="x", **wide)
        self._deinterlace = ipywidgets.Checkbox(description="deinterlace", value=False)
        self._play = ipywidgets.Play(interval=200, show_repeat=False)
        self._title = ipywidgets.Label()
        self._image = ipywidgets.Image(format="jpeg", layout=ipywidgets.Layout(max_width="100%"))
        ipywidgets.jslink((self._play, "value"), (self._frame, "value"))
        self._fit_to_movie()
        self._movie.observe(self._fit_to_movie, "value")
        for control in (self._frame, self._y, self._x, self._deinterlace):
            control.observe(self._show, "value")
        choice = [self._movie] if len(movies) > 1 else []
        frames = ipywidgets.HBox([self._frame, self._play])
        part = [self._y, self._x, self._deinterlace]
        self.box = ipywidgets.VBox([*choice, frames, *part, self._title, self._image])

    def _fit_to_movie(self, _change: object = None) -> None:
        """Adjust the sliders to the movie, and show its whole first frame."""
        sizes = self._movies[self._movie.value].sizes
        with self._image.hold_trait_notifications():
            self._frame.max = self._play.max = sizes["time"] - 1
            self._frame.value = self._play.value = 0
            for slider, dim in ((self._y, "y"), (self._x, "x")):
                slider.max = sizes[dim]
                slider.value = (0, sizes[dim])
        self._show()

    def _show(self, _change: object = None) -> None:
        """Read and show the selection, or an error in its place."""
        movie = self._movies[self._movie.value]
        if self._deinterlace.value:
            movie = deinterlaced(movie)
        y, x = slice(*self._y.value), slice(*self._x.value)
        frame = movie.isel(time=self._frame.value, y=y, x=x)
        try:
            self._image.value = self._encode(reduced_to(frame, self._width).compute())
            self._title.value = describe_frame(frame)
        except (CamhdError, OSError) as error:
            self._image.value = b""
            self._title.value = f"{movie_of(movie)}: {error}"

    def _encode(self, frame: xr.DataArray) -> bytes:
        """JPEG of the frame in its shape, no wider than wanted."""
        image = Image.fromarray(to_image(frame))
        height = image.height * (2 if "field" in frame.coords else 1)  # a field is as high as its frame
        width = min(image.width, self._width)
        image = resize(image, (width, max(1, round(height * width / image.width))))
        file = BytesIO()
        image.save(file, "JPEG", quality=90)
        return file.getvalue()
