"""The image of one frame: which pixels are read for a request, and the file that is made of them."""

import time
from collections.abc import Callable
from dataclasses import replace

from PIL import Image

from camhd_access.movie.reader import MovieReader
from camhd_access.movie.stack import FrameStack, Pixels
from camhd_access.output.film_writers import resize
from camhd_access.server.limits import Workers
from camhd_access.server.made_files import MadeFile
from camhd_access.server.movies import Movie
from camhd_access.server.parameters import FrameParameters
from camhd_access.server.problems import Problem
from camhd_access.server.provenance import describe_picture
from camhd_access.server.reductions import choose_reduction, find_reductions

__all__ = ["check_number", "choose_frame_reduction", "finish_image", "make_image", "select_frame"]


def check_number(movie: Movie, number: int) -> int:
    """The index of the frame with that number; a `Problem` (400) if the movie has no such frame."""
    if number > movie.reader.n_frames:
        raise Problem(400, f"Requested frame {number} in movie of length {movie.reader.n_frames}")
    return number - 1


def choose_frame_reduction(movie: Movie, wanted: FrameParameters, max_pixels: int) -> FrameParameters:
    """The same request with a reduction: the one asked for, else the cheapest that is not smaller.

    Raises
    ------
    Problem
        400: the size or crop is not allowed. 501: this server has no such reduction for this movie.
    """
    reductions = find_reductions(movie.reader)
    if wanted.reduce is not None:
        if wanted.reduce not in reductions:
            raise Problem(501, f"reduce: this movie can only be reduced by {reductions[-1]} here.")
        return wanted
    y, x = select_frame(movie, wanted).window
    size = wanted.size_of((x.stop - x.start, y.stop - y.start), max_pixels)
    part = x.start, y.start, x.stop - x.start, y.stop - y.start
    reduce = choose_reduction(movie.reader, size, part)
    left, top, width, height = (extent // reduce for extent in part)
    crop = None if wanted.crop is None else (left, top, width, height)
    return replace(wanted, reduce=reduce, crop=crop, width=size[0], height=size[1])


def select_frame(movie: Movie, wanted: FrameParameters) -> FrameStack:
    """The requested image, not read yet; a `Problem` (400) if it is outside the movie's frame."""
    stack = movie.reader.stack(
        [wanted.number - 1],
        pix_fmt=wanted.pix_fmt,
        fields=wanted.field is not None,
        deinterlace=wanted.deinterlace,
        reduce=wanted.reduce or 1,
    )
    if wanted.field is not None:
        stack = stack.select(wanted.field)
    _, lines, columns, *_ = stack.shape
    x, y, width, height = wanted.crop or (0, 0, columns, lines)
    if not (width and height and x + width <= columns and y + height <= lines):
        raise Problem(400, f"crop must lie within the {columns}x{lines} pixels of the image.")
    return stack.crop(slice(y, y + height), slice(x, x + width))


async def make_image(
    movie: Movie, index: int, stack: FrameStack, finish: Callable[[Pixels], MadeFile], workers: Workers
) -> MadeFile:
    """The image that `finish` makes of one frame; while nothing else is made, decoded by all cores."""
    begin = time.perf_counter()
    sample = await movie.read_alone(index)
    fetch_seconds = time.perf_counter() - begin
    is_alone = not workers.gate.n_running

    def make() -> MadeFile:
        begin = time.perf_counter()
        pixels = stack.decode(sample, parallel=is_alone)
        decoded = time.perf_counter()
        image = finish(pixels)
        stages = {"extraction": fetch_seconds + decoded - begin, "encode": time.perf_counter() - decoded}
        return replace(image, seconds=stages)

    return await workers.run(make)


def finish_image(
    reader: MovieReader, stack: FrameStack, wanted: FrameParameters, size: tuple[int, int], pixels: Pixels
) -> MadeFile:
    """The image in the size and format asked for."""
    is_whole = size == pixels.shape[1::-1]
    body = wanted.format.encode(
        pixels if is_whole else resize(Image.fromarray(pixels), size),
        wanted.quality,
        describe_picture(reader, stack, wanted, size),
    )
    return MadeFile(body, wanted.format.content_type, size)
