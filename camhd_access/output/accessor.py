"""The xarray accessor `.camhd`: operations on movies in a notebook.

This module defines the methods, and estimates the cost of reading; drawing, encoding and widgets are in
modules of their own, which are imported on first use, because importing matplotlib takes longer than
opening a movie.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr

from camhd_access.decoding.threads import n_cores
from camhd_access.movie.plan import ReadPlan
from camhd_access.movie.series import Stack
from camhd_access.output.pictures import check_frames, unread
from camhd_access.times import Duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from camhd_access.output.films import Animation

__all__ = ["CamhdAccessor", "CamhdDatasetAccessor", "ReadEstimate"]

SECONDS_PER_MEGAPIXEL = {1: 0.010, 2: 0.014, 4: 0.022, 8: 0.064}
"""CPU time to decode to `rgb24`, by reduction, per million pixels of the result."""


@dataclass(frozen=True, slots=True)
class ReadEstimate(ReadPlan):
    """Estimated cost of computing an array."""

    seconds: float
    """Approximate duration."""

    def __str__(self) -> str:
        return (
            f"{self.n_frames:,} frames: {self.n_requests:,} requests, {self.n_bytes / 1e6:,.1f} MB, "
            f"about {max(self.seconds, 0.1):,.1f} s"
        )


class CamhdAccessor:
    """Operations on movies and frames: `movie.camhd.plan()`, `movie[7200].camhd.imshow()`, …"""

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    def plan(self, *, megabits_per_second: float = 100) -> ReadEstimate:
        """The cost of computing this array: requests, bytes, frames and seconds. Makes no request.

        Parameters
        ----------
        megabits_per_second
            Speed of the link.

        Raises
        ------
        ValueError
            The array is not the result of `open_movie` or `open_timelapse` (with dask), or a part of it.

        Notes
        -----
        Requests and bytes are exact for whole frames that are not in the cache; for rows of a remote movie
        they are an estimate (see `MovieReader.plan`). The seconds are the larger of two times: transferring
        the bytes, and decoding on the cores of this machine.
        """
        data = unread(self._array)
        if data is None:
            raise ValueError(
                "the cost of this array is unknown: use plan() on the result of open_movie or open_timelapse "
                "(with dask) or on parts of it, before computing"
            )
        if not megabits_per_second > 0:
            raise ValueError(f"megabits_per_second must be positive, not {megabits_per_second!r}")
        stacks = data.task_stacks()
        costs = [stack.plan() for stack in stacks]
        n_bytes = sum(n_bytes for _, n_bytes in costs)
        return ReadEstimate(
            n_requests=sum(n_requests for n_requests, _ in costs),
            n_bytes=n_bytes,
            n_frames=sum(stack.shape[0] for stack in stacks),
            seconds=max(
                8e-6 * n_bytes / megabits_per_second, sum(map(_decoding_seconds, stacks)) / n_cores()
            ),
        )

    def imshow(
        self,
        *,
        ax: "Axes | None" = None,
        figsize: tuple[float, float] | None = None,
        title: str | None = None,
        **options: Any,  # noqa: ANN401 - matplotlib's
    ) -> "Figure | SubFigure":
        """A figure of the frame, with movie, frame and time in its title.

        Parameters
        ----------
        ax
            Axes to draw in; None for a new figure.
        figsize
            Width and height of the new figure, in inches; None to fit the frame.
        title
            Above the frame; None for movie, frame and time.
        options
            For matplotlib's `imshow`: `vmin`, `vmax`, `cmap`, …

        Returns
        -------
        matplotlib.figure.Figure
            Displayed by notebooks.

        Raises
        ------
        ValueError
            There is more than one frame.

        Notes
        -----
        Axes are in pixels of the whole frame, from the coordinates `y` and `x`. Luma as read is shown from
        black to white; computed values from minimum to maximum; values that can be negative, such as
        differences, around zero with a colour bar. Missing values (NaN) are grey.
        """
        check_frames(self._array)
        if "time" in self._array.dims:
            if self._array.sizes["time"] != 1:
                raise ValueError(
                    f"{self._array.sizes['time']} frames: select one, as in movie[0].camhd.imshow(), "
                    "or use contact_sheet() to see all"
                )
            frame = self._array.isel(time=0)
            return frame.camhd.imshow(ax=ax, figsize=figsize, title=title, **options)  # type: ignore[no-any-return]
        from camhd_access.output.figures import draw_frame  # noqa: PLC0415 - imports matplotlib

        return draw_frame(self._array, ax, figsize=figsize, title=title, **options)

    def mean(self) -> xr.DataArray:
        """The mean over time, like `mean("time")`; titles and files name its frames."""
        return self._over_time("mean")

    def std(self) -> xr.DataArray:
        """The standard deviation over time, like `std("time")`; titles and files name its frames."""
        return self._over_time("std")

    def _over_time(self, name: str) -> xr.DataArray:
        movie = self._movie()
        from camhd_access.output.over_time import with_operation  # noqa: PLC0415 - imported when needed

        return with_operation(getattr(movie, name)("time", keep_attrs=True), movie, name)

    def median(self) -> xr.DataArray:
        """The median over time of each pixel; see `quantile`."""
        return self.quantile(0.5).drop_vars("quantile")

    def quantile(self, q: float | Sequence[float]) -> xr.DataArray:
        """Quantiles of each pixel over time, exact like those of `numpy.quantile`; lazy if the frames are.

        Parameters
        ----------
        q
            One or several numbers from 0 to 1; for several, the first dimension is `quantile`.

        Notes
        -----
        Reads one band of lines of all frames after the other, and decodes each slice once. Memory: one band
        per thread; 1,000 frames of 1080p take less than 1 GB. Missing values (NaN) are skipped.
        """
        movie = self._movie()
        from camhd_access.output.over_time import quantile_over_time  # noqa: PLC0415 - imported when needed

        return quantile_over_time(movie, q)

    def pairs(self, step: int = 1) -> Iterator[tuple[xr.DataArray, xr.DataArray]]:
        """Iterate over pairs of frames for optical flow: each frame, and the one `step` frames later.

        Parameters
        ----------
        step
            Distance of the two frames.

        Returns
        -------
        Iterator
            Pairs of frames in memory. Each frame is decoded once, and `step` frames are kept in memory.
        """
        if not isinstance(step, int) or isinstance(step, bool) or step < 1:
            raise ValueError(f"step must be a number of frames, at least 1, not {step!r:.80}")
        movie = self._movie()
        from camhd_access.output.over_time import iter_pairs  # noqa: PLC0415 - imported when needed

        return iter_pairs(movie, step)

    def contact_sheet(
        self,
        *,
        step: Duration | None = None,
        n: int | None = 24,
        columns: int = 6,
        keyframes: bool = False,
        progress: bool = False,
    ) -> "Figure":
        """A figure of thumbnails with their times, spread over the frames; for a timelapse, one per movie.

        Parameters
        ----------
        step
            Seconds, or a timedelta, between thumbnails; None for `n` of them.
        n
            Number of thumbnails if no `step` is given, at most all frames; None for every frame.
        columns
            Thumbnails per row.
        keyframes
            Show the nearest key frames of the array instead: where frames depend on each other (H.264, HEVC),
            each costs one sample, any other those before it in its group. A key frame is shown once, so there
            may be fewer thumbnails. No difference for ProRes, and for arrays that were changed or loaded.
        progress
            Show a progress bar.

        Notes
        -----
        If the array can still be read, thumbnails are previews (see `open_movie`): they take the bytes of
        whole frames, but a quarter of the time.
        """
        movie = self._movie()
        from camhd_access.output.figures import draw_contact_sheet  # noqa: PLC0415 - imports matplotlib

        return draw_contact_sheet(movie, step, n, columns, keyframes=keyframes, progress=progress)

    def activity(self, *, ax: "Axes | None" = None) -> "Figure | SubFigure":
        """A figure of the size of the encoded frames over time: scene changes, without reading a frame.

        Parameters
        ----------
        ax
            Axes to draw in; None for a new figure.

        Notes
        -----
        Reads nothing: sizes are in the movie's index. Lines mark frames where the size changes by 15 % or
        more: lights are switched, or the scene changes. Where it is too small for any
        image (30 kB at 1920x1080), the background is dark.
        """
        movie = self._movie()
        from camhd_access.output.figures import draw_activity  # noqa: PLC0415 - imports matplotlib

        return draw_activity(movie, ax)

    def animate(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        fps: float | None = None,
        width: int | None = 960,
        caption: bool = True,
        vmin: float | None = None,
        vmax: float | None = None,
        progress: bool = True,
    ) -> "Animation":
        """The frames as a film, for a notebook or a file.

        Parameters
        ----------
        path
            File to write, by path or URL: `.mp4` (H.264), `.gif` or `.webp`. None keeps an H.264 film in
            memory.
        fps
            Frames per second, at least 0.002; None for the recorded rate, or for 10 if the frames are far
            apart.
        width
            Wider frames are shrunk to this many pixels; None keeps their width. They are decoded at a half, a
            quarter or an eighth of their size if that is not narrower (see `reduce` of `open_movie`).
        caption
            Write the time of each frame into its lower left corner.
        vmin, vmax
            Values of black and white, if not those of the pixel format.
        progress
            Show a progress bar.

        Raises
        ------
        ValueError
            The file name has another suffix.

        Notes
        -----
        Only a few frames are in memory at a time; the file appears under its name when it is complete.
        """
        movie = self._movie()
        from camhd_access.output.films import animate  # noqa: PLC0415 - imports Pillow and libav

        return animate(
            movie, path, fps=fps, width=width, caption=caption, vmin=vmin, vmax=vmax, progress=progress
        )

    def viewer(self, *others: xr.DataArray, width: int = 960) -> Any:  # noqa: ANN401 - ipywidgets is optional
        """A widget to browse the frames: sliders for frame and crop, and a play button.

        Parameters
        ----------
        others
            More movies or timelapses, which a slider selects.
        width
            Wider frames are shrunk to this many pixels, and decoded reduced as in `animate`.

        Raises
        ------
        ImportError
            ipywidgets is not installed; it comes with `pip install 'camhd_access[notebook]'`.

        Notes
        -----
        Reads one frame at a time, and only the part shown.
        """
        movies = [self._movie(), *(other.camhd._movie() for other in others)]  # noqa: SLF001 - of this class
        from camhd_access.output.viewer import make_viewer  # noqa: PLC0415 - ipywidgets are optional

        return make_viewer(movies, width)

    def to_dataset(self) -> xr.Dataset:
        """A Dataset to be saved, with global attributes that describe its frames.

        Returns
        -------
        xarray.Dataset
            With this array as its variable. `time_coverage_start`, `…_end`, `…_duration` and `…_resolution`,
            geospatial bounds, `title` and `id` (attributes of ACDD-1.3) are computed from the coordinates.

        Notes
        -----
        Reads nothing. Arrays do not have these attributes, because xarray would keep them when frames are
        selected or concatenated.
        """
        from camhd_access.output.datasets import to_dataset  # noqa: PLC0415 - when it is needed

        return to_dataset(self._array)

    def _movie(self) -> xr.DataArray:
        """The array, if it has frames along time."""
        check_frames(self._array)
        if "time" not in self._array.dims:
            raise ValueError("this needs frames along time: use movie[100:200], not movie[100]")
        return self._array


@xr.register_dataset_accessor("camhd")
class CamhdDatasetAccessor:
    """The accessor for Datasets of the engine: applies `CamhdAccessor` to their variable `video`."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the array's has
        if name.startswith("_"):
            raise AttributeError(name)
        if "video" not in self._dataset:
            raise AttributeError(f".camhd.{name} is for movies, but this Dataset has no variable 'video'")
        video = self._dataset["video"]
        return getattr(video.assign_attrs(self._dataset.attrs | video.attrs).camhd, name)

    def __dir__(self) -> list[str]:
        return dir(CamhdAccessor)


def _decoding_seconds(stack: Stack) -> float:
    """CPU time of one core."""
    n, height, width, *_ = stack.shape
    return n * height * width / 1e6 * SECONDS_PER_MEGAPIXEL[stack.decoder.reduction]
