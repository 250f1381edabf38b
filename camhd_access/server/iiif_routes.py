"""The routes of IIIF: images of frames and their descriptions, manifests of movies and folders.

Below `….mov/iiif/` a frame is identified by its number, from 1: `7200/info.json` describes it, and
`7200/full/max/0/default.jpg` is an image of it. `manifest.json` lists some frames of the movie, or, in a
folder's `iiif/`, of all its movies. Documents contain complete URLs, as the client sees them.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from aiohttp import web
from PIL import Image

from camhd_access.errors import CamhdError
from camhd_access.formats.names import find_best_files
from camhd_access.movie.reader import MovieReader
from camhd_access.movie.stack import FrameStack, Pixels
from camhd_access.output.provenance import Provenance, describe_stack, write_command
from camhd_access.server.answers import SHORTLY, answer_json
from camhd_access.server.declarations import MAX_DIGITS
from camhd_access.server.iiif import COMPLIANCE, IMAGE_CONTEXT, ImageRequest, describe_image, parse_image
from camhd_access.server.iiif_manifests import (
    MANIFEST_CONTEXT,
    MovieFrames,
    choose_frames,
    describe_manifest,
)
from camhd_access.server.images import make_image
from camhd_access.server.made_files import MadeFile
from camhd_access.server.mirrors import Place
from camhd_access.server.movies import Movie
from camhd_access.server.parameters import parse_interval
from camhd_access.server.problems import Problem, problem_of
from camhd_access.server.reductions import find_reductions
from camhd_access.server.requests import ADDRESS_HEADERS, ROUTE, address_of, path_below, target_of

if TYPE_CHECKING:
    from camhd_access.server.service import Service

__all__ = ["FOLDER_MANIFEST", "answer_folder_manifest", "answer_iiif"]

FOLDER_MANIFEST = ("iiif", "manifest.json")
"""The end of the path of a folder's manifest."""
MAX_OPENING = 8
"""Movies of a folder that are opened at the same time."""
DAMAGED = 422
BLACK_BELOW = 128
"""Luma below which a pixel of a bitonal image is black."""


async def answer_iiif(
    service: "Service", request: web.Request, place: Place, parts: Sequence[str]
) -> web.Response:
    """The response for a path below a movie's `iiif/`."""
    match [*parts]:
        case ["manifest.json"]:
            return await _answer_manifest(service, request, place)
        case [identifier]:
            request[ROUTE] = "iiif"
            url = f"{_url_of(service, request, place)}/iiif/{_parse_identifier(identifier)}"
            return web.Response(status=303, headers={"Location": f"{url}/info.json", "Vary": ADDRESS_HEADERS})
        case [identifier, "info.json"]:
            return await _answer_description(service, request, place, _parse_identifier(identifier))
        case [identifier, region, size, rotation, last]:
            number = _parse_identifier(identifier)
            return await _answer_image(service, request, place, number, [region, size, rotation, last])
        case _:
            raise Problem(404, "IIIF: N/info.json, N/region/size/rotation/quality.format, or manifest.json.")


async def _answer_image(
    service: "Service", request: web.Request, place: Place, number: int, parts: list[str]
) -> web.Response:
    """An image of a frame."""
    request[ROUTE] = "iiif_image"
    movie = await service.open(request, place)
    index = _find_index(movie, number)
    settings = service.settings
    frame_size = movie.reader.index.width, movie.reader.index.height
    wanted = parse_image(
        parts,
        frame_size,
        max_pixels=settings.max_pixels,
        is_public=settings.public,
        reductions=find_reductions(movie.reader),
    )
    stack = movie.reader.stack(
        [index], pix_fmt="rgb24" if wanted.quality == "default" else "gray", reduce=wanted.reduction
    ).crop(*wanted.window)

    finish = partial(_finish_image, movie.reader, stack, wanted)
    response = await service.send(
        request,
        movie,
        f"iiif/{number:06d}",
        f"{wanted.canonical}&reduce={wanted.reduction}",
        extension=wanted.format.name,
        content_type=wanted.format.content_type,
        make=lambda: make_image(movie, index, stack, finish, service.workers),
    )
    canonical = f"{_url_of(service, request, place)}/iiif/{number}/{wanted.canonical}"
    response.headers["Link"] = f'<{canonical}>;rel="canonical", <{COMPLIANCE}>;rel="profile"'
    response.headers["Vary"] = f"{response.headers['Vary']}, {ADDRESS_HEADERS}"
    return response


async def _answer_description(
    service: "Service", request: web.Request, place: Place, number: int
) -> web.Response:
    """The description of a frame's image (`info.json`)."""
    request[ROUTE] = "iiif_info"
    movie = await service.open(request, place)
    _find_index(movie, number)
    url = _url_of(service, request, place)
    told = describe_image(
        f"{url}/iiif/{number}",
        (movie.reader.index.width, movie.reader.index.height),
        service.settings.max_pixels,
    )
    links = {
        "partOf": [{"id": f"{url}/iiif/manifest.json", "type": "Manifest"}],
        "seeAlso": [{"id": url, "type": "Dataset", "format": "application/json"}],
    }
    response = _answer_document(request, told | links, IMAGE_CONTEXT)
    response.headers["Link"] = f'<{COMPLIANCE}>;rel="profile"'
    return response


async def _answer_manifest(service: "Service", request: web.Request, place: Place) -> web.Response:
    """The manifest of frames of a movie."""
    request[ROUTE] = "iiif_manifest"
    every = parse_interval("iiif_manifest", request.query, service.settings)
    movie = await service.open(request, place)
    url = _url_of(service, request, place)
    frames = MovieFrames(url, movie.reader, _choose_frames(movie, every))
    _check_count([frames], service.settings.max_frames)
    told = describe_manifest(
        _address_of(service, request), movie.reader.movie_name, _page_of(service, request, place), [frames]
    )
    return _answer_document(request, told, MANIFEST_CONTEXT)


async def answer_folder_manifest(service: "Service", request: web.Request, place: Place) -> web.Response:
    """The manifest of frames of all movies in a folder, and of twins without a master."""
    request[ROUTE] = "iiif_folder_manifest"
    every = parse_interval("iiif_folder_manifest", request.query, service.settings)
    folder = await service.listings.read(place)
    names = find_best_files(folder.files)
    if len(names) > service.settings.max_frames:
        raise Problem(400, f"This folder has {len(names)} movies; a manifest has at most one frame of each.")
    places = [Place(place.mirror, (*place.names, name), is_folder=False) for name in names]
    seats = asyncio.Semaphore(MAX_OPENING)

    async def find(each: Place) -> MovieFrames | None:
        async with seats:
            try:
                movie = await service.movies.open(each)
            except CamhdError as error:
                if problem_of(error, each.path).status != DAMAGED:
                    raise
                return None
        return MovieFrames(_url_of(service, request, each), movie.reader, _choose_frames(movie, every))

    found = await asyncio.gather(*map(find, places))
    movies = [each for each in found if each and each.frames]
    _check_count(movies, service.settings.max_frames)
    told = describe_manifest(
        _address_of(service, request),
        folder.path,
        _page_of(service, request, place),
        movies,
        left_out=[name for name, each in zip(names, found, strict=True) if not (each and each.frames)],
    )
    return _answer_document(request, told, MANIFEST_CONTEXT)


def _parse_identifier(text: str) -> int:
    """The number of a frame, from 1; a `Problem` (404) for anything else, as there is no such image."""
    if not re.fullmatch(f"[1-9][0-9]{{0,{MAX_DIGITS - 1}}}", text, re.ASCII):
        raise Problem(404, "The identifier of an image is the number of a frame, from 1.")
    return int(text)


def _find_index(movie: Movie, number: int) -> int:
    if number > movie.reader.n_frames:
        raise Problem(404, f"There is no frame {number} in a movie of {movie.reader.n_frames}.")
    return number - 1


def _choose_frames(movie: Movie, every: float) -> list[int]:
    return choose_frames(movie.reader, every) if movie.reader.n_frames else []


def _check_count(movies: Sequence[MovieFrames], max_frames: int) -> None:
    n = sum(len(movie.frames) for movie in movies)
    if n > max_frames:
        raise Problem(400, f"every: that makes {n} frames; at most {max_frames} are allowed.")


def _address_of(service: "Service", request: web.Request) -> str:
    """The complete URL of this request."""
    root_path = service.settings.root_path
    _, mark, query = target_of(request).partition("?")
    return address_of(request, root_path) + path_below(request, root_path) + mark + query


def _url_of(service: "Service", request: web.Request, place: Place) -> str:
    """The complete URL of a movie or folder on this server, without a trailing slash."""
    return address_of(request, service.settings.root_path) + place.path_here.rstrip("/")


def _page_of(service: "Service", request: web.Request, place: Place) -> str:
    """The complete URL of the page about a movie or folder."""
    end = "/" if place.is_folder else ""
    return f"{address_of(request, service.settings.root_path)}/#{place.path_here}{end}"


def _answer_document(request: web.Request, told: dict[str, Any], context: str) -> web.Response:
    """A document as JSON-LD, or as plain JSON for clients that accept only that, or show it to people."""
    accept = ",".join(request.headers.getall("Accept", [])).lower()
    is_plain = "application/ld+json" not in accept and re.search("application/json|text/html", accept)
    response = answer_json(told, cache_control=SHORTLY, headers={"Vary": f"Accept, {ADDRESS_HEADERS}"})
    if not is_plain:
        response.headers["Content-Type"] = f'application/ld+json;profile="{context}"'
    return response


def _finish_image(reader: MovieReader, stack: FrameStack, wanted: ImageRequest, pixels: Pixels) -> MadeFile:
    """The image in the size, rotation, quality and format asked for."""
    turned = _turn(_scale(pixels, wanted), wanted)
    body = wanted.format.encode(turned, wanted.format.quality or 0, _describe(reader, stack, wanted))
    return MadeFile(body, wanted.format.content_type, turned.shape[1::-1])


def _scale(pixels: Pixels, wanted: ImageRequest) -> Pixels:
    left, top, right, bottom = wanted.box
    if (right - left, bottom - top) == wanted.size == pixels.shape[1::-1]:
        return pixels
    image = Image.fromarray(pixels)
    return np.asarray(image.resize(wanted.size, Image.Resampling.LANCZOS, box=wanted.box, reducing_gap=3))


def _turn(pixels: Pixels, wanted: ImageRequest) -> Pixels:
    """Mirror and rotate the pixels, then make them black or white."""
    if wanted.is_mirrored:
        pixels = pixels[:, ::-1]
    pixels = np.rot90(pixels, -wanted.rotation // 90)
    if wanted.quality == "bitonal":
        pixels = np.where(pixels < BLACK_BELOW, np.uint8(0), np.uint8(255))
    return np.ascontiguousarray(pixels)


def _describe(reader: MovieReader, stack: FrameStack, wanted: ImageRequest) -> Provenance:
    """The record of an image; its command reproduces it before it was scaled and turned."""
    steps = ["mirrored"] * wanted.is_mirrored
    steps += [f"rotated by {wanted.rotation} degrees"] * bool(wanted.rotation)
    steps += ["black and white"] * (wanted.quality == "bitonal")
    width = wanted.size[0] if wanted.size != stack.shape[2:0:-1] else None
    record = describe_stack(reader, stack, width=width, operation=", ".join(steps) or None)
    command = write_command("frame", record, [("--frame", record.frames)], f"frame.{wanted.format.name}")
    return replace(record, history=command)
