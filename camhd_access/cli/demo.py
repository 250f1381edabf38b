"""The command `demo`: a self-contained demonstration of the library.

It writes a small synthetic archive and serves it on loopback, so that everything is read over HTTP, as from
the real one: list the archive, open a movie lazily, select a frame by its time, average frames with dask,
draw a figure, and print requests and bytes compared with the size of the movies. With a URL it reads that
movie.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camhd_access.cli.options import PICTURE

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from camhd_access.storage.lazyhttp import TransferStats

__all__ = ["demo", "run_demo"]

N_FRAMES_AVERAGED = 24
"""Maximum number of frames in the mean, spread over the middle of the movie."""

FRAMES_PER_MOVIE = 48
"""Length of the synthetic movies."""

MIDDLE = 0.42, 0.6
"""Part of the movie that is averaged; the synthetic camera rests there, so only moving things are blurred."""

Print = Callable[[str], None]


@dataclass(slots=True)
class _Costs:
    """Requests, bytes and seconds of each step."""

    rows: "list[tuple[str, TransferStats, float]]" = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        from camhd_access.storage.lazyhttp import LazyHTTPFileSystem

        filesystem = LazyHTTPFileSystem()
        before, begun = filesystem.stats, time.perf_counter()
        yield
        self.rows.append((name, filesystem.stats - before, time.perf_counter() - begun))

    def table(self) -> str:
        from camhd_access.storage.lazyhttp import TransferStats

        total = sum((stats for _, stats, _ in self.rows), TransferStats())
        seconds = sum(seconds for _, _, seconds in self.rows)
        lines = [f"{'step':<42} {'requests':>8} {'bytes':>12} {'seconds':>8}"]
        lines += [
            f"{name:<42} {stats.requests:>8} {stats.bytes:>12,} {elapsed:>8.2f}"
            for name, stats, elapsed in [*self.rows, ("all", total, seconds)]
        ]
        return "\n".join(lines)


def run_demo(url: str | None, *, output: Path, echo: Print = print) -> None:
    """Run the demonstration on the movie at `url` or on a synthetic archive, and draw `output`.

    Parameters
    ----------
    url
        Any movie; None for a synthetic archive in a temporary folder.
    output
        PNG to write.
    echo
        Called with each line of the report.

    Raises
    ------
    CamhdError
        The movie cannot be read.
    """
    from camhd_access.synthetic import serve_folder, write_archive

    if url is not None:
        costs = _Costs()
        _study_movie(url, costs, output=output, echo=echo)
        echo("\nRequests, bytes and time:\n" + costs.table())
        return
    with tempfile.TemporaryDirectory(prefix="camhd-demo-") as folder:
        echo("Writing a small synthetic archive: nine movies, 1920x1080 interlaced ProRes 422 …")
        begun = time.perf_counter()
        movies = write_archive(folder, n_frames=FRAMES_PER_MOVIE)
        n_bytes = sum(Path(movie.path).stat().st_size for movie in movies)
        echo(f"  {len(movies)} movies, {n_bytes / 1e6:.0f} MB, in {time.perf_counter() - begun:.1f} s")
        with serve_folder(folder) as server:
            _study_archive(f"{server.url}RS03ASHS/PN03B/06-CAMHDA301/", n_bytes, output=output, echo=echo)


def _study_archive(root: str, n_bytes: int, *, output: Path, echo: Print) -> None:
    from camhd_access.archive import open_archive

    costs = _Costs()
    echo(f"Listing {root}")
    with costs.step("list the archive"):
        urls = open_archive(root).movies()
    echo(f"\n{'movie':<31} {'start (UTC)':<20} {'frames':>6} {'MB':>6} {'kB/frame':>9}")
    with costs.step(f"open all {len(urls)} movies (their indexes)"):
        for url in urls:
            echo(_describe(url))
    echo("\nNow one movie: a frame, and the mean of many frames:\n")
    good = next(url for url in urls if "20161113T000000" in url)
    _study_movie(good, costs, output=output, echo=echo)
    fetched = sum(stats.bytes for _, stats, _ in costs.rows)
    echo("\nRequests, bytes and time:\n" + costs.table())
    echo(f"The movies have {n_bytes:,} bytes; {fetched / n_bytes:.1%} of them were fetched.")


def _describe(url: str) -> str:
    """One line about a movie, or the reason why it cannot be read."""
    import numpy as np

    from camhd_access.errors import CamhdError
    from camhd_access.movie.reader import MovieReader

    name = url.rpartition("/")[2]
    try:
        reader = MovieReader(url, cache=False)
    except CamhdError as error:
        return f"{name:<31} {str(error).removeprefix(url + ': ')}"
    begins = np.datetime_as_string(reader.start_time, "s") if reader.start_time is not None else "unknown"
    per_frame = reader.index.size.mean() / 1e3
    note = "  (dark: the camera was off)" if per_frame < 30 else ""
    return (
        f"{name:<31} {begins:<20} {reader.n_frames:>6} {reader.file_size / 1e6:>6.1f} {per_frame:>9.1f}{note}"
    )


def _study_movie(url: str, costs: _Costs, *, output: Path, echo: Print) -> None:
    import numpy as np

    from camhd_access.arrays import open_movie
    from camhd_access.output.pictures import describe_time
    from camhd_access.storage.output_files import open_target

    with costs.step("open one movie as a lazy array"):
        movie = open_movie(url, cache=False)
    echo(repr(movie))
    middle = movie.time[movie.sizes["time"] // 2].values[()]
    echo(f"\nmovie.sel(time=<{describe_time(middle)}>, method='nearest')")
    with costs.step("slice one frame by its time"):
        frame = movie.sel(time=middle, method="nearest").compute()
    first, last = (int(movie.sizes["time"] * part) for part in MIDDLE)
    frames = np.linspace(first, last, min(N_FRAMES_AVERAGED, last - first + 1))
    echo(f"open_movie(url, frames=np.linspace({first}, {last}, {len(frames)})).mean('time')")
    with costs.step(f"mean of {len(frames)} frames, with dask"):
        mean = open_movie(url, frames=frames, cache=False).mean("time").compute()
    with costs.step("draw the figure"):
        figure = _draw(movie, frame, mean, n_averaged=len(frames))
        with open_target(output) as file:
            figure.savefig(file, format="png", dpi=110)
    echo(f"Figure: {output}")


def _draw(movie: "xr.DataArray", frame: "xr.DataArray", mean: "xr.DataArray", *, n_averaged: int) -> "Figure":
    """A frame, the mean of many, and the size of all encoded frames over time."""
    from matplotlib.dates import date2num
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.2), layout="constrained")
    panels = figure.subplot_mosaic([["frame", "mean"], ["size", "size"]], height_ratios=[1.9, 1])
    frame.camhd.imshow(ax=panels["frame"])
    mean.camhd.imshow(ax=panels["mean"])
    panels["mean"].set_title(f"mean of {n_averaged} frames: moving things average out", fontsize=11)
    for name in ("frame", "mean"):
        panels[name].set(xlabel="", ylabel="", xticks=[], yticks=[])
    movie.camhd.activity(ax=panels["size"])
    shown = date2num(frame["time"].values)
    panels["size"].axvline(shown, color="black", linewidth=1, linestyle="--")
    panels["size"].annotate(
        "the frame above", (shown, 0.06), (6, 0), ("data", "axes fraction"), textcoords="offset points"
    )
    return figure


@click.command
@click.option("--url", help="Use this movie instead, for example one of the real archive.")
@click.option(
    "-o", "--output", type=PICTURE, default="camhd-demo.png", show_default=True, help="File to write."
)
def demo(url: str | None, output: Path) -> None:
    """Run a self-contained demonstration: list, open lazily, slice, average with dask, draw, print the cost.

    Without --url it writes a small synthetic archive to a temporary folder and serves it on loopback, so it
    needs no network.

    \b
    Example:
      camhd demo -o demo.png
    """  # noqa: D301 - click looks for the backspace itself
    run_demo(url, output=output, echo=click.echo)
