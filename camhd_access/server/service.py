"""The handlers: one method per route for everything on the mirrors, or made from it.

A method parses and checks the request before any work, then finds the result or has it made. Bytes are
fetched on the mirrors' event loop, then decoded and encoded in one of few threads: a slow mirror occupies
none of them. Films and sheets, which take long, have their own threads. A movie that is replaced while it is
read is opened again, once.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

from aiohttp import web

from camhd_access._version import __version__
from camhd_access.caching import LRUCache
from camhd_access.errors import CamhdError, RemoteFileChangedError
from camhd_access.output.clip import plan_clip
from camhd_access.server import iiif_routes
from camhd_access.server.answers import (
    SHORTLY,
    answer_file,
    answer_json,
    answer_kept,
    answer_stream,
    answer_unchanged,
)
from camhd_access.server.films import (
    CLIP_TYPE,
    choose_picture_size,
    choose_sheet_size,
    iter_clip,
    make_film,
    make_sheet,
)
from camhd_access.server.hls import HLS_TYPES, SegmentMaker, open_film
from camhd_access.server.images import (
    check_number,
    choose_frame_reduction,
    finish_image,
    make_image,
    select_frame,
)
from camhd_access.server.imagestore import open_store
from camhd_access.server.limits import Gate, Workers
from camhd_access.server.listings import Listings
from camhd_access.server.made_files import MadeFile, MadeFiles, Make
from camhd_access.server.mirrors import Place, count_to_movie, find_place, open_mirrors
from camhd_access.server.movies import Movie, Movies
from camhd_access.server.parameters import (
    FILM_TYPES,
    SIZE_HEADERS,
    check_pixels,
    find_ignored,
    parse_clip,
    parse_film,
    parse_frame,
    parse_hls,
    parse_number,
    parse_sheet,
)
from camhd_access.server.problems import Problem, problem_of
from camhd_access.server.reductions import choose_film_reduction
from camhd_access.server.requests import ROUTE, STAGES, path_below
from camhd_access.server.settings import ServerSettings

__all__ = ["IGNORED_HEADER", "ROUTE", "STAGES", "Service"]

logger = logging.getLogger("camhd_access.server")

MAKERS = " ".join((__version__, version("av"), version("pillow")))
"""Part of ETags: another version may encode differently."""

PARTS = "info.json, frame/N, sample/N, clip/A-B.mov, activity, sheet, animation, hls/index.m3u8, iiif/N"
NOT_KEPT = {"Pragma": "no-cache", "Expires": "0"}
SAMPLE_TYPE = "application/octet-stream"
IGNORED_HEADER = "X-camhd-ignored-parameters"
MAX_NAMES, MAX_NAME_CHARACTERS = 8, 40
"""Header with the names of ignored parameters."""


CLAIMS = "making.lock"
"""File in the cache folder whose locks mark files being made."""
FILMS_IN_QUEUE = 4
"""Films and sheets that may be queued per thread: each takes seconds."""


class Service:
    """The mirrors, their caches, and the workers."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.mirrors = open_mirrors(settings)
        self.listings = Listings()
        self.movies = Movies(self.mirrors, settings.max_queue)
        self.made_files = MadeFiles(open_store(settings), settings.memory // 8, settings.cache_dir / CLAIMS)
        self.workers = Workers(settings.max_concurrency, settings.max_queue, "picture")
        n_segments = settings.max_concurrency + 1  # one is fetched while the others are encoded
        self._segments = SegmentMaker(self.workers, n_segments, settings.max_queue)
        n_films = max(1, settings.max_concurrency // 2)
        self._film_workers = Workers(n_films, min(settings.max_queue, FILMS_IN_QUEUE * n_films), "film")

    @property
    def memories(self) -> dict[str, LRUCache[Any, Any]]:
        """The caches in memory, by name."""
        return {
            "listings": self.listings.memory,
            "movies": self.movies.memory,
            "made_files": self.made_files.memory,
        }

    @property
    def gates(self) -> dict[str, Gate]:
        """The gates, by name."""
        own = {"pictures": self.workers.gate, "films": self._film_workers.gate, "hls": self._segments.gate}
        return own | {mirror.mount_path: mirror.gate for mirror in self.mirrors}

    @property
    def is_ready(self) -> bool:
        """Whether another image would be admitted."""
        return not self.workers.gate.is_full

    async def aclose(self) -> None:
        """Stop all work, and wait for it."""
        await self.listings.flights.aclose()
        await self.made_files.flights.aclose()
        await self.movies.aclose()
        await asyncio.gather(self.workers.aclose(), self._film_workers.aclose())
        if self.made_files.store:
            await self.made_files.store.aclose()

    async def visit(self, request: web.Request) -> web.Response:
        """The response for a path on a mirror.

        Raises
        ------
        Problem
            It does not exist, or cannot be read.
        """
        response = await self._visit(request)
        if ignored := find_ignored(request[ROUTE], request.query):
            told = [quote(name[:MAX_NAME_CHARACTERS]) for name in ignored[:MAX_NAMES]]
            response.headers[IGNORED_HEADER] = ", ".join(told)
        return response

    async def _visit(self, request: web.Request) -> web.Response:
        place = find_place(path_below(request, self.settings.root_path), self.mirrors)
        n = count_to_movie(place)
        movie = Place(place.mirror, place.names[:n], is_folder=False)
        try:
            if n is None:
                return await self._visit_folder(request, place)
            try:
                return await self._visit_movie(request, movie, place.names[n:])
            except RemoteFileChangedError:
                self.movies.forget(movie)
                return await self._visit_movie(request, movie, place.names[n:])
        except CamhdError as error:
            logger.info("%s: %s: %s", place.path, type(error).__name__, error)
            raise problem_of(error, movie.path) from error

    async def _visit_folder(self, request: web.Request, place: Place) -> web.Response:
        if place.names[-2:] == iiif_routes.FOLDER_MANIFEST:
            folder = Place(place.mirror, place.names[:-2], is_folder=True)
            return await iiif_routes.answer_folder_manifest(self, request, folder)
        return await (self.folder(request, place) if place.is_folder else self.file(request, place))

    async def _visit_movie(self, request: web.Request, place: Place, rest: tuple[str, ...]) -> web.Response:
        match [*rest]:
            case [] | ["info.json"]:
                return await self.movie(request, place)
            case [verb, name, *_] if verb.lower() in ("frame", "sample", "clip"):
                answer = {"frame": self.frame, "sample": self.sample, "clip": self.clip}[verb.lower()]
                return await answer(request, place, name)
            case ["iiif", *parts]:
                return await iiif_routes.answer_iiif(self, request, place, parts)
            case ["activity"]:
                return await self.activity(request, place)
            case [name] if (kind := name.partition(".")[0]) in ("sheet", "animation"):
                make = self.sheet if kind == "sheet" else self.animation
                return await make(request, place, name.partition(".")[2])
            case ["hls", name]:
                return await self.hls(request, place, name)
            case _:
                raise Problem(404, f"A movie has {PARTS}.")

    async def folder(self, request: web.Request, place: Place) -> web.Response:
        """The files and folders in a folder."""
        request[ROUTE] = "folder"
        folder = await self.listings.read(place)
        return answer_json(
            folder.describe(), cache_control="no-cache, no-store, must-revalidate", headers=NOT_KEPT
        )

    async def file(self, request: web.Request, place: Place) -> web.Response:
        """The folder with that name, or a redirect to a file that is not a movie."""
        request[ROUTE] = "file"
        *above, name = place.names
        parent = await self.listings.read(Place(place.mirror, tuple(above), is_folder=True))
        if name in parent.directories:
            return await self.folder(request, place)
        if name in parent.files:
            return web.Response(status=302, headers={"Location": place.mirror.url_of(place.names)})
        raise Problem(404, f"Can't find child {name} within {parent.path}")

    async def movie(self, request: web.Request, place: Place) -> web.Response:
        """Properties of a movie."""
        request[ROUTE] = "movie"
        movie = await self.open(request, place)
        return answer_json(movie.describe(await self.movies.find_interlaced(movie)), cache_control=SHORTLY)

    async def activity(self, request: web.Request, place: Place) -> web.Response:
        """Encoded frame sizes over a movie."""
        request[ROUTE] = "activity"
        movie = await self.open(request, place)
        return answer_json(movie.describe_activity(), cache_control=SHORTLY)

    async def frame(self, request: web.Request, place: Place, name: str) -> web.Response:
        """One frame as an image."""
        request[ROUTE] = "frame"
        wanted = parse_frame(name, request.query, request.headers, self.settings)
        movie = await self.open(request, place)
        index = check_number(movie, wanted.number)
        await self._check_fields(wanted.splits_frames, movie)
        wanted = choose_frame_reduction(movie, wanted, self.settings.max_pixels)
        stack = select_frame(movie, wanted)
        size = wanted.size_of((stack.shape[2], stack.shape[1]), self.settings.max_pixels)

        finish = partial(finish_image, movie.reader, stack, wanted, size)
        return await self.send(
            request,
            movie,
            f"frame/{wanted.number:06d}",
            wanted.key,
            extension=wanted.format.name,
            content_type=wanted.format.content_type,
            make=lambda: make_image(movie, index, stack, finish, self.workers),
            is_stored=not wanted.format.is_raw,
        )

    async def sample(self, request: web.Request, place: Place, name: str) -> web.Response:
        """One encoded frame."""
        request[ROUTE] = "sample"
        number = parse_number(name)
        movie = await self.open(request, place)
        index = check_number(movie, number)

        async def make() -> MadeFile:
            return MadeFile(await movie.read_sample(index), SAMPLE_TYPE)

        return await self.send(
            request,
            movie,
            f"sample/{number:06d}",
            "",
            extension=movie.reader.index.codec,
            content_type=SAMPLE_TYPE,
            make=make,
            is_stored=False,
        )

    async def sheet(self, request: web.Request, place: Place, extension: str) -> web.Response:
        """Thumbnails of a movie as one image."""
        request[ROUTE] = "sheet"
        wanted = parse_sheet(extension, request.query, self.settings)
        movie = await self.open(request, place)
        check_number(movie, 1)
        await self._check_fields(wanted.splits_frames, movie)
        n = wanted.count(movie.reader.duration, self.settings.max_frames)
        check_pixels(*choose_sheet_size(movie.reader, wanted, n), self.settings.max_pixels)

        async def make() -> MadeFile:
            return await self._film_workers.run(make_sheet, movie.reader, wanted, n)

        return await self.send(
            request,
            movie,
            "sheet/sheet",
            f"{wanted.key}&reduce={choose_film_reduction(movie.reader, wanted.width)}",
            extension=wanted.format.name,
            content_type=wanted.format.content_type,
            make=make,
        )

    async def animation(self, request: web.Request, place: Place, extension: str) -> web.Response:
        """Some frames of a movie as a film."""
        request[ROUTE] = "animation"
        wanted = parse_film(extension, request.query, self.settings)
        movie = await self.open(request, place)
        await self._check_fields(wanted.splits_frames, movie)
        frames = wanted.frames(movie.reader.n_frames, self.settings.max_frames)
        check_pixels(*choose_picture_size(movie.reader, wanted), self.settings.max_pixels)

        async def make() -> MadeFile:
            return await self._film_workers.run(make_film, movie.reader, wanted, frames)

        return await self.send(
            request,
            movie,
            "animation/animation",
            f"{wanted.key}&reduce={choose_film_reduction(movie.reader, wanted.width)}",
            extension=wanted.format,
            content_type=FILM_TYPES[wanted.format],
            make=make,
        )

    async def clip(self, request: web.Request, place: Place, name: str) -> web.Response:
        """Some frames as a separate movie, fetched while it is sent."""
        request[ROUTE] = "clip"
        wanted = parse_clip(name, request.query, self.settings)
        movie = await self.open(request, place)
        frames = wanted.frames(movie.reader.n_frames, self.settings.max_frames)
        if movie.reader.index.coded and frames.step > 1:
            raise Problem(400, "step: frames of this movie depend on those between; animation.mp4 has steps.")
        etag = f'"{_digest(movie, "clip", wanted.key)}"'
        if (kept := answer_kept(request, etag, {})) is not None:
            return kept
        chosen = slice(frames.start, frames.stop, frames.step)
        layout = await self._film_workers.run(plan_clip, movie.reader, chosen)
        return answer_stream(
            request,
            layout.size,
            CLIP_TYPE,
            lambda part: iter_clip(movie, layout, part),
            etag=etag,
        )

    async def hls(self, request: web.Request, place: Place, name: str) -> web.Response:
        """A movie to be played: the playlist, or a part of the film, encoded on demand."""
        request[ROUTE] = "hls_segment" if name.endswith(".m4s") else "hls"
        number, wanted = parse_hls(name, request.query, self.settings)
        movie = await self.open(request, place)
        await self._check_fields(wanted.splits_frames, movie)
        film = open_film(movie, wanted, self.settings)
        if number < 0:
            headers = {"Cache-Control": SHORTLY}
            return web.Response(text=film.write_playlist(), content_type=HLS_TYPES["m3u8"], headers=headers)
        name, extension = f"hls/{number:05d}", name.partition(".")[2]
        is_whole = not number or film.frames(number) == film.whole.frames(number)
        if is_whole or await self.made_files.has(_key(movie, name, film.whole.key, extension)):
            film, is_whole = film.whole, True
        return await self.send(
            request,
            movie,
            name,
            film.key,
            extension=extension,
            content_type=HLS_TYPES[extension],
            make=lambda: self._segments.make(film, number),
            is_stored=is_whole,
            is_public=False,
        )

    async def _check_fields(self, name: str | None, movie: Movie) -> None:
        """Reject the parameter `name`, if given, for a movie whose fields do not decode alone."""
        if name and movie.reader.index.coded:
            raise Problem(400, f"{name}: fields are only read from ProRes movies.")
        if name and not await self.movies.find_interlaced(movie):
            raise Problem(400, f"{name}: this movie is progressive; its frames have no fields.")

    async def open(self, request: web.Request, place: Place) -> Movie:
        """The movie at a place; the time that this takes is noted as a stage of the request."""
        with _timing(request, "metadata"):
            return await self.movies.open(place)

    async def send(
        self,
        request: web.Request,
        movie: Movie,
        name: str,
        options: str,
        *,
        extension: str,
        content_type: str,
        make: Make,
        is_stored: bool = True,
        is_public: bool = True,
    ) -> web.Response:
        """The file from `make`; nothing is made if the client has it, or asks for headers only.

        Parameters
        ----------
        name
            Its name among the files of this movie.
        options
            Distinguishes it from others with that name.
        is_public
            Whether to redirect to it in a public store: scripts of pages may not be allowed to read it there.
        """
        key = _key(movie, name, options, extension)
        etag = f'"{_digest(movie, name, options)}"'
        headers = {"Vary": ", ".join(SIZE_HEADERS.values())}
        if (unchanged := answer_unchanged(request, etag, content_type, headers)) is not None:
            return unchanged
        if is_stored and is_public and (url := await self.made_files.find_public_url(key)):
            return web.Response(status=307, content_type=content_type, headers=headers | {"Location": url})
        made = await self.made_files.find(key, make, content_type=content_type, is_stored=is_stored)
        request[STAGES].update(made.seconds)
        if made.size:
            headers |= dict(zip(SIZE_HEADERS.values(), map(str, made.size), strict=True))
        return answer_file(request, made.body, content_type, etag=etag, headers=headers)


@contextmanager
def _timing(request: web.Request, stage: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    request[STAGES][stage] = time.perf_counter() - begin


def _key(movie: Movie, name: str, options: str, extension: str) -> str:
    """Where a made file is stored."""
    place, digest = movie.place, _digest(movie, name, options)
    return "/".join((*place.mirror.mount[1:], *place.names, f"{name}-{digest}.{extension}"))


def _digest(movie: Movie, name: str, options: str) -> str:
    """Identifies a made file among all movies and their versions."""
    place = movie.place
    identity = f"{MAKERS}\n{place.mirror.url}\n{place.path}\n{movie.version}\n{name}\n{options}"
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
