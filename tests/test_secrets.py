"""User, password and signature of a URL are never stored, shown or logged, in any layer."""

import logging
import re
import traceback

import pytest
import xarray as xr
from click.testing import CliRunner
from lazycache import running_server
from origin import answers

from camhd_access import (
    CamhdError,
    MovieReader,
    open_archive,
    open_movie,
    open_movies,
    open_timelapse,
    read_catalog,
    read_frameset,
    read_multimov,
    read_regions,
    write_catalog,
    write_clip,
)
from camhd_access.arrays.zarr import MovieStore
from camhd_access.cli import main
from camhd_access.movie.rescue import read_sidecar
from camhd_access.output.provenance_files import read_provenance
from camhd_access.storage.output_files import open_target
from camhd_access.storage.rangecache import default_cache_dir

NAME = "CAMHDA301-20161113T000000Z.mov"
QUERY = "Expires=9&sig=SIGNATURE0&other=TOKEN0"
SECRET = re.compile("PASSWD|SIGNATURE0|TOKEN0|SOMEONE")


@pytest.fixture
def texts(caplog):
    """Everything shown by any layer; searched at the end, with the log and the cache folder."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("aiohttp").setLevel(logging.DEBUG)
    shown = {}
    yield shown
    shown["log"] = "\n".join(record.getMessage() for record in caplog.records)
    for path in default_cache_dir().rglob("*"):
        shown[f"name of {path}"] = path.name
        if path.is_file():
            shown[f"content of {path}"] = path.read_bytes().decode("latin-1")
    wrong = {where: SECRET.search(text)[0] for where, text in shown.items() if SECRET.search(text)}
    assert not wrong


@pytest.fixture
def address(origin):
    """Puts a file on a server; gives its URL with a user, a password and a query."""

    def put(path, data, behaviour=None):
        origin.put(f"{path}?{QUERY}", data)
        if behaviour:
            origin.play(f"{path}?{QUERY}", behaviour, always=True)
        return origin.url.replace("//", "//SOMEONE:PASSWD@") + f"{path}?{QUERY}"

    return put


@pytest.fixture
def url(address, movie_path):
    return address(f"/{NAME}", movie_path.read_bytes())


@pytest.mark.parametrize("cache", [False, True])
def test_reading(url, texts, cache):
    reader = MovieReader(url, cache=cache)
    reader.read(3)
    movie = open_movie(url, cache=cache)
    dataset = xr.open_dataset(url, engine="camhd", disk_cache=cache)
    for each in (reader, reader.source, movie, movie.load(), dataset, reader.source.filesystem, reader.index):
        texts[f"repr of {type(each).__name__} {len(texts)}"] = repr(each)
        texts[f"html of {type(each).__name__} {len(texts)}"] = getattr(each, "_repr_html_", str)()
    texts["attributes"] = repr(movie.attrs) + repr(dataset.attrs) + repr(dataset.video.attrs)
    texts["coordinates"] = repr({name: each.values for name, each in movie.coords.items()})
    texts["joined"] = repr(open_movies([url], cache=cache)) + repr(
        open_timelapse([url], frame=0, cache=cache, progress=False)
    )
    texts["encoding"] = repr(dataset.encoding) + repr(dataset.video.encoding)
    archive = open_archive(url.replace(NAME, ""))
    texts["archive"] = repr(archive) + archive._repr_html_()
    store = xr.open_zarr(MovieStore(url, cache=cache), chunks=None)
    texts["zarr"] = repr(store) + repr(store.attrs) + repr(MovieStore(url, cache=cache))
    texts["graph"] = repr(sorted(map(str, open_movie(url, cache=cache).data.dask.keys())))


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize(
    ("data", "behaviour"),
    [
        (b"not a movie " * 500, None),
        (b"<html>", None),
        (b"", None),
        (b"x", answers(404)),
        (b"x", answers(401)),
        (b"x", answers(503)),
        (b"x", answers(302, Location="ftp://SOMEONE:PASSWD@x/?SIGNATURE0")),
        (b"x", answers(302, Location="")),
        (b"x", answers(206, b"xyz", Content_Range="bytes 5-7/9")),
        (b"x", answers(200, b"<html>" * 9999)),
    ],
    ids=range(10),
)
def test_errors(address, texts, cache, data, behaviour):
    url = address("/bad.mov", data, behaviour)
    folder, options = url.partition("?")[0], {"tries": 2, "backoff_seconds": 0.01}
    for name, act in {
        "reader": lambda: MovieReader(url, cache=cache, storage_options=options),
        "recovery": lambda: MovieReader(url, cache=cache, recover=True, storage_options=options),
        "array": lambda: open_movie(url, cache=cache, storage_options=options),
        "sidecar": lambda: read_sidecar(url, file_size=1),
        "catalogue": lambda: read_catalog(url, storage_options=options),
        "list": lambda: read_multimov(url, storage_options=options),
        "frameset": lambda: read_frameset(url, storage_options=options),
        "regions": lambda: read_regions(url, storage_options=options),
        "archive": lambda: open_archive(url, storage_options=options).movies(),
        "listing": lambda: open_archive(folder, storage_options=options).movies("2016", "2017"),
        "output": lambda: open_target(url).__enter__(),
        "catalogue written": lambda: write_catalog(None, url),
    }.items():
        try:
            act()
        except (CamhdError, OSError, ValueError, AttributeError) as error:
            texts[name] = causes(error)


def causes(error):
    """Its message, and those of what caused it."""
    told = []
    while error is not None:
        told.append(f"{error} {error!r}")
        error = error.__cause__ or error.__context__
    return "\n".join(told)


def test_damaged_frames(address, movie_path, texts):
    index = MovieReader(movie_path).index
    data = bytearray(movie_path.read_bytes())
    data[index.offset[5] : index.offset[5] + 100] = bytes(100)
    url = address("/damaged.mov", bytes(data))
    for act in (MovieReader(url).read, open_movie(url).isel, lambda _: open_movie(url)[5].compute()):
        try:
            act(5)
        except (CamhdError, ValueError, TypeError) as error:
            texts[f"damage {len(texts)}"] = causes(error)


def test_a_changed_file(address, origin, movie_path, texts):
    url = address("/m.mov", movie_path.read_bytes())
    reader = MovieReader(url, cache=False)
    origin.files[f"/m.mov?{QUERY}"].etag = '"v2"'
    with pytest.raises(CamhdError) as caught:
        reader.read(0)
    texts["changed"] = causes(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "s3://SOMEONE:PASSWD@bucket/clip.avi",
        f"https://host/clip.mov?{QUERY}",
        "s3://SOMEONE:PASSWD@bucket/frame.png",
        "s3://SOMEONE:PASSWD@bucket/{number}.png",
        "https://SOMEONE:PASSWD@127.0.0.1:9/clip.mov",
    ],
)
def test_names_that_are_refused(movie_path, texts, name):
    with pytest.raises(ValueError, match=r"host/clip|bucket/|read-only") as caught:
        write_clip(MovieReader(movie_path), [1, 2], name, progress=False)
    texts["clip"] = str(caught.value)
    with pytest.raises(ValueError, match=r"name of a film|read-only") as caught:
        open_movie(movie_path)[:2].camhd.animate(name.replace(".mov", ".mp4"), progress=False)
    texts["film"] = str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.mp4", "a.svg", "a.nc", "a.zarr"])
def test_provenance_that_is_not_there(address, texts, name):
    for state, put in (("no record", True), ("no file", False)):
        url = (
            address(f"/{name}", b"neither image nor film")
            if put
            else address("/b", b"").replace("/b", f"/{name}x.png")
        )
        for form in (url, url.partition("?")[0]):
            with pytest.raises((OSError, ValueError)) as caught:
                read_provenance(form)
            texts[f"{state} {len(texts)}"] = "".join(traceback.format_exception(caught.value))


def test_files_that_are_written(url, texts, tmp_path):
    movie, reader = open_movie(url), MovieReader(url)
    for name in ("clip.mov", "film.gif"):
        write_clip(reader, range(3), tmp_path / name)
    movie[0].camhd.imshow().figure.savefig(tmp_path / "figure.png")
    movie.camhd.contact_sheet(n=6).savefig(tmp_path / "sheet.png")
    for path in tmp_path.iterdir():
        texts[path.name] = path.read_bytes().decode("latin-1")


def test_the_command(url, texts, tmp_path):
    for command in (
        ["info", url],
        ["info", "--json", url],
        ["info", "--stats", url],
        ["plan", url],
        ["frame", "--at", "0.1", "-o", str(tmp_path / "f.png"), url],
        ["clip", "--frames", "1:3", "-o", str(tmp_path / "c.mov"), url],
        ["frame", "--json", "--at", "0.1", "-o", str(tmp_path / "f.png"), url],
        ["clip", "--json", "--frames", "1:3", "-o", str(tmp_path / "c.mov"), url],
        ["clip", "--frames", "1:3", "-o", "memory://SOMEONE:PASSWD@clips/c.mov", url],
        ["sheet", "--every", "0.3", "-o", str(tmp_path / "s.png"), url],
        ["recover", url],
        ["info", url.replace(NAME, "nothing.mov")],
        ["ls", url.partition("?")[0].replace(NAME, "")],
        ["cache", "info"],
    ):
        result = CliRunner().invoke(main, command)
        texts[" ".join(command[:2]).replace(url, "URL") + str(len(texts))] = result.output + result.stderr
    for path in tmp_path.iterdir():
        texts[path.name] = path.read_bytes().decode("latin-1")


def test_the_server(origin, movie_path, texts, tmp_path):
    mirror = origin.url.replace("//", "//SOMEONE:PASSWD@") + "/files/"
    with (
        pytest.raises(ValueError, match="such as a login") as caught,
        running_server(mirror, cache_dir=tmp_path),
    ):
        pass
    texts["setting"] = str(caught.value)  # which goes to the console
    origin.put(f"/files/{NAME}", movie_path.read_bytes())
    with running_server(f"{origin.url}/files/", cache_dir=tmp_path) as client:
        for path in (NAME, f"{NAME}/frame/3", "nothing.mov", f"{NAME}/frame/99"):
            answer = client.get(f"{path}?token=TOKEN0")
            texts[f"headers of {path}"] = repr(dict(answer.headers))
