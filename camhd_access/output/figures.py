"""Figures of frames and movies with matplotlib: a frame, a contact sheet, a movie's activity.

Figures are created without pyplot, so that none stays in memory after use, and are displayed by
notebooks. Descriptions of a frame come from its coordinates (see `pictures`).
"""

from io import BytesIO
from math import ceil
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib import colormaps, rcParams
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from tqdm.auto import tqdm

from camhd_access.archive.quality import BLANK_BYTES_PER_FRAME, HEADER_BYTES
from camhd_access.movie.key_frames import nearest_key_frames
from camhd_access.output.array_provenance import describe_array, write_python
from camhd_access.output.pictures import (
    describe_frame,
    describe_time,
    is_timelapse,
    iter_frames,
    movie_of,
    movies_of,
    time_of,
    to_image,
    unread,
    value_range,
)
from camhd_access.output.provenance import Provenance, exif_of, figure_metadata
from camhd_access.output.small_images import reduced_to
from camhd_access.storage.output_files import open_target, suffix_of
from camhd_access.times import Duration, to_nanoseconds
from camhd_access.urls import is_place, options_of, text_of

__all__ = ["NotebookFigure", "draw_activity", "draw_contact_sheet", "draw_frame"]

INK, ACCENT, GREY = "#1f6f8b", "#c8553d", "#5b6770"

MISSING_COLOR = "#808080"

WIDTH_INCHES = 9.0

LABELS_INCHES, BAR_INCHES = (0.75, 0.85), 1.0
"""Width and height of the labels around a frame; width of a colour bar with its labels."""

DPI = 110

THUMBNAIL_INCHES, LABEL_INCHES, GAP_INCHES = 2.1, 0.34, 0.08
HEADER_INCHES, MARGIN_INCHES, MIN_SHEET_INCHES = 0.62, 0.12, 4.8

MAX_POINTS = 2_000
"""Frames drawn individually; more are drawn as mean and range of neighbours."""

JUMP, N_MEDIANS = 0.15, 8
"""A sudden change: this share of the size, and this multiple of the movie's usual change."""

Values: TypeAlias = npt.NDArray[Any]


class NotebookFigure(Figure):
    """A figure that notebooks display without pyplot; saved files contain its provenance record."""

    provenance: Provenance | None = None
    """Provenance of the frames in the figure."""

    def savefig(self, fname: Any, **options: Any) -> None:  # noqa: ANN401 - matplotlib's
        """Save the figure like matplotlib, with the provenance record; the target may be a URL.

        A file appears under its name when it is complete.
        """
        suffix = _suffix_of(fname, options)
        if self.provenance is not None:
            _add_metadata(options, suffix, self.provenance)
        if not is_place(fname):
            super().savefig(fname, **options)
            return
        name = text_of(fname)
        if not (options.get("format") or suffix_of(name)):
            name = f"{name.rstrip('.')}.{suffix}"  # as matplotlib does
        with open_target(name, seekable=True, storage_options=options_of(fname, None)) as file:
            super().savefig(file, **(options | {"format": suffix}))

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def _suffix_of(fname: Any, options: dict[str, Any]) -> str:  # noqa: ANN401
    """Suffix of the file: `format` if given, else from the file name."""
    by_name = suffix_of(fname)[1:] if is_place(fname) else ""
    return str(options.get("format") or by_name or rcParams["savefig.format"]).lower()


def _add_metadata(options: dict[str, Any], suffix: str, record: Provenance) -> None:
    """Add the record to the metadata option of `savefig`; metadata of the caller takes precedence."""
    known: dict[str, Any] = {
        "png": figure_metadata(record),
        "pdf": {
            "Title": record.movie,
            "Subject": record.json,
            "Creator": record.software,
            "CreationDate": None,
        },
        "svg": {"Title": record.movie, "Description": record.json, "Creator": record.software, "Date": None},
    }
    if suffix in known:
        options["metadata"] = known[suffix] | (options.get("metadata") or {})
    elif suffix in ("jpg", "jpeg", "tif", "tiff", "webp"):
        options["pil_kwargs"] = {"exif": exif_of(record)} | (options.get("pil_kwargs") or {})


def _sign(figure: Figure | SubFigure, record: Provenance) -> None:
    """Set the provenance record of a figure of this package."""
    if isinstance(figure, NotebookFigure):
        figure.provenance = record


# ---- a frame


def draw_frame(
    frame: xr.DataArray,
    ax: Axes | None,
    *,
    figsize: tuple[float, float] | None,
    title: str | None,
    **options: Any,  # noqa: ANN401
) -> Figure | SubFigure:
    """The figure with one frame: see `CamhdAccessor.imshow`."""
    call = "imshow(" + ", ".join(f"{name}={value!r}" for name, value in options.items()) + ")"
    unread_frame, frame = frame, frame.compute()
    extent = _extent(frame)
    in_color = "channel" in frame.dims
    low, high = value_range(frame)
    has_bar = not in_color or low < 0
    ax = _axes_for(extent, figsize, has_bar=has_bar) if ax is None else ax
    values: npt.NDArray[Any]
    if in_color:
        vmin, vmax = options.pop("vmin", None), options.pop("vmax", None)
        low, high = low if vmin is None else vmin, high if vmax is None else vmax
        values = to_image(frame, low, high)
    else:
        values = frame.transpose("y", "x").values
        options = _scale(frame) | options
    image: ScalarMappable = ax.imshow(values, **{"extent": extent, "aspect": "equal"} | options)
    if has_bar:
        if in_color:
            image = ScalarMappable(Normalize(low, high), "gray")
        bar = ax.figure.colorbar(image, ax=ax, fraction=0.03, pad=0.015, aspect=30)
        bar.set_label(_describe_values(frame))
    ax.set(xlabel="x (pixels)", ylabel="y (pixels)")
    ax.set_title(describe_frame(frame) if title is None else title, fontsize=11)
    _sign(ax.figure, describe_array(unread_frame, history=write_python(unread_frame, call)))
    return ax.figure


def _scale(frame: xr.DataArray) -> dict[str, Any]:
    """Colours of one plane: as read, from black to white; signed values in red and blue around zero.

    Other computed values are shown from their minimum to their maximum. Missing values are grey.
    """
    low, high = value_range(frame)
    name = "RdBu_r" if low < 0 else "gray"
    limits = {"vmin": low, "vmax": high} if low < 0 or frame.dtype.kind == "u" else {}
    return {"cmap": colormaps[name].with_extremes(bad=MISSING_COLOR)} | limits


def _axes_for(
    extent: tuple[float, float, float, float], figsize: tuple[float, float] | None, *, has_bar: bool
) -> Axes:
    """Axes in a new figure, which fits the frame: a colour bar is then as high as the frame."""
    left, right, bottom, top = extent
    width = WIDTH_INCHES - LABELS_INCHES[0] - (BAR_INCHES if has_bar else 0)
    height = min(width * abs((bottom - top) / (right - left)), WIDTH_INCHES)
    size = (WIDTH_INCHES, height + LABELS_INCHES[1]) if figsize is None else figsize
    return NotebookFigure(figsize=size, dpi=DPI, layout="constrained").add_subplot()


def _extent(frame: xr.DataArray) -> tuple[float, float, float, float]:
    """Left, right, bottom and top edge, in pixels of the whole frame if the array has its position."""
    left, right = _edges(_positions(frame, "x"))
    top, bottom = _edges(_positions(frame, "y"))
    return left, right, bottom, top


def _positions(frame: xr.DataArray, dim: str) -> npt.NDArray[Any]:
    """Positions of the pixel centres."""
    if dim in frame.coords:
        return np.asarray(frame[dim].values)
    return np.arange(frame.sizes[dim])


def _edges(centres: npt.NDArray[Any]) -> tuple[float, float]:
    """From half a step before the first to half a step after the last."""
    n = len(centres)
    half = float(centres[-1] - centres[0]) / (n - 1) / 2 if n > 1 else 0.5
    return float(centres[0]) - half, float(centres[-1]) + half


def _describe_values(array: xr.DataArray) -> str:
    """Name of the values, with unit."""
    name = str(array.attrs.get("long_name", array.name or "value"))
    if "pix_fmt" not in array.attrs:
        return f"{name} ({array.attrs['units']})" if "units" in array.attrs else name
    n_bits = ceil(np.log2(array.attrs["valid_range"][1]))
    if array.dtype.kind != "u":
        return f"{name} ({n_bits}-bit code values)"
    black, white = (round(value) for value in value_range(array))
    return f"{name} ({n_bits}-bit code values: black {black}, white {white})"


# ---- a contact sheet


def draw_contact_sheet(
    movie: xr.DataArray,
    step: Duration | None,
    n: int | None,
    columns: int,
    *,
    keyframes: bool,
    progress: bool,
) -> Figure:
    """The figure of thumbnails: see `CamhdAccessor.contact_sheet`."""
    positions = _spread(movie, n) if step is None else _every(movie, step)
    chosen = movie.isel(time=_nearest_keys(movie, positions) if keyframes else positions)
    previews = iter_frames(reduced_to(chosen, round(THUMBNAIL_INCHES * DPI)))
    n_frames = chosen.sizes["time"]
    frames = list(tqdm(previews, desc="frames", total=n_frames, unit=" frames", disable=not progress))
    limits = _common_limits(frames)
    left, right, bottom, top = _extent(movie.isel(time=0))
    thumbnail = THUMBNAIL_INCHES * abs((bottom - top) / (right - left))
    columns = max(1, min(columns, len(frames)))
    rows = ceil(len(frames) / columns)
    width = max(columns * (THUMBNAIL_INCHES + GAP_INCHES) - GAP_INCHES + 2 * MARGIN_INCHES, MIN_SHEET_INCHES)
    height = HEADER_INCHES + rows * (thumbnail + LABEL_INCHES)
    figure = NotebookFigure(figsize=(width, height), dpi=DPI)

    def write(inches_down: float, text: str, **style: Any) -> None:  # noqa: ANN401 - matplotlib's
        figure.text(MARGIN_INCHES / width, 1 - inches_down / height, text, va="top", **style)

    write(0.12, movie_of(movie), fontsize=12, weight="bold")
    scale = f"  ·  {limits[0]:.4g} (blue) to {limits[1]:.4g} (red)" if limits else ""
    write(0.36, _describe_span(chosen) + scale, fontsize=8.5, color=GREY)
    for number, frame in enumerate(frames):
        row, column = divmod(number, columns)
        x = MARGIN_INCHES + column * (THUMBNAIL_INCHES + GAP_INCHES)
        y = height - HEADER_INCHES - row * (thumbnail + LABEL_INCHES) - thumbnail
        ax = figure.add_axes((x / width, y / height, THUMBNAIL_INCHES / width, thumbnail / height))
        ax.imshow(to_image(frame, *limits), cmap="gray", vmin=0, vmax=255, aspect="auto")
        ax.set_axis_off()
        ax.set_title(_label(frame, movie), fontsize=7.5, loc="left", y=0, pad=-10, color=GREY)
    by_keys = ", keyframes=True" if keyframes else ""
    call = f"contact_sheet(step={step!r}, n={n!r}, columns={columns!r}{by_keys})"
    figure.provenance = describe_array(chosen, history=write_python(movie, call))
    return figure


def _common_limits(frames: list[xr.DataArray]) -> tuple[float, float] | tuple[()]:
    """The range of all thumbnails if one has negative values in one plane; else each has its own."""
    ranges = [value_range(frame) for frame in frames]
    if "channel" in frames[0].dims or all(low >= 0 for low, _ in ranges):
        return ()
    reach = max(max(abs(low), high) for low, high in ranges)
    return -reach, reach


def _spread(movie: xr.DataArray, n: int | None) -> npt.NDArray[np.int64] | slice:
    """Positions of `n` frames spread over the movie; all for a timelapse, or if `n` is None."""
    if n is None or is_timelapse(movie):
        return slice(None)
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    n_frames = movie.sizes["time"]
    return np.linspace(0, n_frames - 1, min(n, n_frames)).round().astype(np.int64)


def _every(movie: xr.DataArray, step: Duration) -> npt.NDArray[np.int64]:
    """Positions of the frames nearest to the start and to each further step."""
    length = to_nanoseconds(step)
    if not length > np.timedelta64(0, "ns"):
        raise ValueError(f"step must be a positive time between thumbnails, not {step!r}")
    elapsed = movie["time"].values - movie["time"].values.min()
    order = np.argsort(elapsed)
    halfway = elapsed[order[:-1]] + np.diff(elapsed[order]) / 2
    rounding = np.timedelta64(1, "ms")
    wanted = np.arange(np.timedelta64(0, "ns"), elapsed.max() + rounding, length)
    return np.unique(order[np.searchsorted(halfway, wanted)])


def _nearest_keys(
    movie: xr.DataArray, positions: npt.NDArray[np.int64] | slice
) -> npt.NDArray[np.int64] | slice:
    """Positions of the nearest key frames, each once, if the frames can still be read."""
    data = unread(movie)
    if data is None or data.shown is None:
        return positions
    stack = data.stack.select(data.shown[0])
    wanted = np.arange(movie.sizes["time"])[positions]
    found = nearest_key_frames(stack, wanted, movie["time"].values)
    return wanted if np.array_equal(found, wanted) else np.unique(found)


def _describe_span(movie: xr.DataArray) -> str:
    """First and last time, and the number of frames."""
    times = movie["time"].values
    unit: Literal["s", "ms"] = "s" if times[-1] - times[0] > np.timedelta64(1, "m") else "ms"
    first, last = (describe_time(time, unit) for time in (times[0], times[-1]))
    return f"{first} to {last}  ·  {movie.sizes['time']} frames".replace(" UTC to", " to")


def _label(frame: xr.DataArray, movie: xr.DataArray) -> str:
    """Time in UTC; for one movie also the time since its start, for several the day."""
    time = time_of(frame)
    if len(movies_of(movie)) > 1:
        return describe_time(time, "m" if is_timelapse(movie) else "s")
    seconds = float((time - movie["time"].values[0]) / np.timedelta64(1, "s"))
    minutes, rest = divmod(round(seconds, 1), 60)
    since = f"+{minutes:.0f}:{rest:04.1f}"
    clock = describe_time(time, "s").partition(" ")[2] if isinstance(time, np.datetime64) else ""
    return "   ".join(filter(None, (since, clock, f"frame {int(frame['frame'])}")))


# ---- activity


def draw_activity(movie: xr.DataArray, ax: Axes | None) -> Figure | SubFigure:
    """The figure of encoded sizes over time: see `CamhdAccessor.activity`."""
    if ax is None:
        figure = NotebookFigure(
            figsize=(WIDTH_INCHES, 3.2), dpi=DPI, layout=ConstrainedLayoutEngine(h_pad=0.1)
        )
        ax = figure.add_subplot()
    time, kilobytes = movie["time"].values, movie["encoded_size"].values / 1e3
    if time.dtype.kind == "m":
        time = time / np.timedelta64(1, "s")
    blank = kilobytes * 1e3 < _blank_bytes(movie)
    if is_timelapse(movie):
        _draw_movies(ax, time, kilobytes, blank)
    else:
        _draw_frames(ax, time, kilobytes)
        _shade_blank(ax, time, blank)
        _mark_jumps(ax, time, kilobytes, blank)
    _dress(ax, movie)
    _sign(ax.figure, describe_array(movie, history=write_python(movie, "activity()")))
    return ax.figure


def _blank_bytes(movie: xr.DataArray) -> float:
    """Frames with fewer bytes are blank."""
    data = unread(movie)
    height, width = (movie.sizes["y"], movie.sizes["x"]) if data is None else data.stack.decoder.frame_size
    share = height * width / (1920 * 1080)
    return HEADER_BYTES + (BLANK_BYTES_PER_FRAME - HEADER_BYTES) * share


def _draw_movies(ax: Axes, time: Values, kilobytes: Values, blank: Values) -> None:
    """A dot per movie; the time in between is unknown."""
    ax.plot(time[~blank], kilobytes[~blank], "o", color=INK, markersize=4)
    if blank.any():
        ax.plot(time[blank], kilobytes[blank], "x", color=ACCENT, markersize=6, label="no picture")


def _draw_frames(ax: Axes, time: Values, kilobytes: Values) -> None:
    """A line; for long movies the mean of neighbours, and their range."""
    n_together = ceil(len(time) / MAX_POINTS)
    starts = np.arange(0, len(time), n_together)
    lowest, highest = np.minimum.reduceat(kilobytes, starts), np.maximum.reduceat(kilobytes, starts)
    mean = np.add.reduceat(kilobytes, starts) / np.diff([*starts, len(time)])
    ax.fill_between(time[starts], 0, lowest, color=INK, alpha=0.18, linewidth=0)
    if n_together > 1:
        ax.fill_between(time[starts], lowest, highest, color=INK, alpha=0.35, linewidth=0)
    ax.plot(time[starts], mean, color=INK, linewidth=1.2)
    ax.margins(x=0)


def _shade_blank(ax: Axes, time: Values, blank: Values) -> None:
    edges = np.flatnonzero(np.diff([False, *blank, False]))
    for number, (start, stop) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
        end = time[min(stop, len(time) - 1)]
        label = "_" if number else "no picture"  # one entry of the legend for all
        ax.axvspan(time[start], end, color="#222222", alpha=0.2, linewidth=0, label=label)


def _mark_jumps(ax: Axes, time: Values, kilobytes: Values, blank: Values) -> None:
    """Lines at sudden changes of size: lights are switched, or the scene changes."""
    for number, position in enumerate(_find_jumps(kilobytes, blank)):
        label = "_" if number else "sudden change (lights, a cut)"
        ax.axvline(time[position], color=ACCENT, linewidth=1, label=label)


def _find_jumps(kilobytes: Values, blank: Values) -> Values:
    """Positions of the first frame of each sudden change; changes within blank stretches are noise."""
    change = np.abs(np.diff(np.log(kilobytes.clip(1e-3))))
    is_jump = (change > JUMP) & (change > N_MEDIANS * np.median(change)) & ~(blank[1:] & blank[:-1])
    return 1 + np.flatnonzero(is_jump & ~np.concatenate(([False], is_jump))[: len(is_jump)])


def _dress(ax: Axes, movie: xr.DataArray) -> None:
    """Title, labels, grid, legend."""
    if movie["time"].dtype.kind == "M":
        locator = AutoDateLocator()
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        ax.set_xlabel("time (UTC)")
    else:
        ax.set_xlabel("time from the start of the movie (s)")
    ax.set_ylabel("encoded frame (kB)")
    has_legend = bool(ax.get_legend_handles_labels()[0])
    title = f"{movie_of(movie)}  ·  size of the encoded frames"
    ax.set_title(title, fontsize=11, loc="left", pad=22 if has_legend else 6)  # points
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    if has_legend:
        ax.legend(frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1, 0.99), ncols=2)
