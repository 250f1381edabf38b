"""IIIF Presentation 3.0: a manifest of some frames of a movie, or of all movies in a folder.

A canvas is one frame, shown by the image service of that frame; the canvases of a folder are grouped by
movie in `structures`. URLs of canvases and annotations only identify them.

Source: IIIF Presentation API 3.0 (https://iiif.io/api/presentation/3.0/), sections 3 and 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camhd_access.movie.origin import LICENSE
from camhd_access.movie.reader import MovieReader
from camhd_access.server.problems import Problem

__all__ = ["MANIFEST_CONTEXT", "MovieFrames", "choose_frames", "describe_manifest", "link_image_service"]

MANIFEST_CONTEXT = "http://iiif.io/api/presentation/3/context.json"
THUMBNAIL_REDUCTION = 8

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class MovieFrames:
    """Some frames of one movie."""

    url: str
    """URL of the movie on this server."""
    reader: MovieReader
    """Its reader."""
    frames: list[int]
    """Indices of the frames, from 0."""


def choose_frames(reader: MovieReader, every_seconds: float) -> list[int]:
    """Indices of the frames at these intervals from the start of the movie, each once."""
    elapsed = reader.elapsed() / np.timedelta64(1, "s")
    moments = np.arange(0, max(reader.duration, every_seconds / 2), every_seconds)
    frames: list[int] = np.unique(np.minimum(np.searchsorted(elapsed, moments), reader.n_frames - 1)).tolist()
    return frames


def describe_manifest(
    url: str, title: str, homepage: str, movies: Sequence[MovieFrames], *, left_out: Sequence[str] = ()
) -> Json:
    """The manifest at `url` of frames of these movies.

    Parameters
    ----------
    homepage
        URL of the page about them.
    left_out
        Names of movies that cannot be read, which the manifest mentions.

    Raises
    ------
    Problem
        404: there are no frames.
    """
    canvases = [[_describe_canvas(movie, frame) for frame in movie.frames] for movie in movies]
    items = [canvas for each in canvases for canvas in each]
    if not items:
        raise Problem(404, "There are no frames of readable movies here.")
    metadata = _describe_movie(movies[0].reader) if len(movies) == 1 else []
    metadata.append(_entry("Movies", str(len(movies))))
    if left_out:
        metadata.append(_entry("Movies that cannot be read", *left_out))
    return {
        "@context": MANIFEST_CONTEXT,
        "id": url,
        "type": "Manifest",
        "label": _text(title),
        "metadata": metadata,
        "requiredStatement": {"label": _text("Terms of use", "en"), "value": _text(LICENSE, "en")},
        "homepage": [{"id": homepage, "type": "Text", "label": _text(title), "format": "text/html"}],
        "seeAlso": [_link_properties(movie) for movie in movies],
        "thumbnail": items[0]["thumbnail"],
        **_describe_time(movies[0].reader, 0),
        "items": items,
        "structures": [
            {
                "id": f"{movie.url}/iiif/range",
                "type": "Range",
                "label": _text(movie.reader.movie_name),
                "items": [{"id": canvas["id"], "type": "Canvas"} for canvas in each],
            }
            for movie, each in zip(movies, canvases, strict=True)
        ],
    }


def link_image_service(url: str) -> Json:
    """A reference to the image service at `url`."""
    return {"id": url, "type": "ImageService3", "profile": "level2"}


def _describe_canvas(movie: MovieFrames, frame: int) -> Json:
    reader, service = movie.reader, f"{movie.url}/iiif/{frame + 1}"
    width, height = reader.index.width, reader.index.height
    small = max(1, width // THUMBNAIL_REDUCTION), max(1, height // THUMBNAIL_REDUCTION)
    seconds = float(reader.elapsed()[frame] / np.timedelta64(1, "s"))
    minutes, rest = divmod(round(seconds, 1), 60)
    canvas = f"{service}/canvas"
    annotation = {
        "id": f"{service}/annotation",
        "type": "Annotation",
        "motivation": "painting",
        "target": canvas,
        "body": _describe_body(service, "max", (width, height)),
    }
    return {
        "id": canvas,
        "type": "Canvas",
        "label": _text(f"{reader.movie_name} {minutes:.0f}:{rest:04.1f} (frame {frame + 1})"),
        "width": width,
        "height": height,
        "thumbnail": [_describe_body(service, f"{small[0]},{small[1]}", small)],
        **_describe_time(reader, frame),
        "items": [{"id": f"{service}/page", "type": "AnnotationPage", "items": [annotation]}],
    }


def _describe_body(service: str, size: str, pixels: tuple[int, int]) -> Json:
    return {
        "id": f"{service}/full/{size}/0/default.jpg",
        "type": "Image",
        "format": "image/jpeg",
        "width": pixels[0],
        "height": pixels[1],
        "service": [link_image_service(service)],
    }


def _describe_time(reader: MovieReader, frame: int) -> Json:
    """The time of a frame, UTC, in whole seconds, as the format requires; nothing if it is unknown."""
    if reader.start_time is None:
        return {}
    return {"navDate": f"{np.datetime_as_string(reader.times()[frame], 's')}Z"}


def _describe_movie(reader: MovieReader) -> list[Json]:
    told = {
        "Movie": reader.movie_name,
        "Start": None if reader.start_time is None else f"{np.datetime_as_string(reader.start_time, 'ms')}Z",
        "Duration": f"{reader.duration:.3f} s",
        "Frames": str(reader.n_frames),
    }
    return [_entry(label, value) for label, value in told.items() if value]


def _link_properties(movie: MovieFrames) -> Json:
    label = _text(f"Properties of {movie.reader.movie_name}", "en")
    return {"id": movie.url, "type": "Dataset", "format": "application/json", "label": label}


def _entry(label: str, *values: str) -> Json:
    return {"label": _text(label, "en"), "value": {"none": list(values)}}


def _text(text: str, language: str = "none") -> dict[str, list[str]]:
    return {language: [text]}
