"""VirtualiZarr and Icechunk read the references that the package writes and parses.

Both need Python 3.12; on older ones this module is not collected (see `conftest.py`).
"""

import os

import icechunk
import numpy as np
import pytest
import s3fs
import xarray as xr
from obspec_utils.registry import ObjectStoreRegistry
from obstore.store import HTTPStore, LocalStore
from virtualizarr import open_virtual_dataset
from virtualizarr.parsers import KerchunkJSONParser
from virtualizarr.parsers.typing import Parser

from camhd_access import FrameDecodeError, MovieReader, MovieStore, write_icechunk, write_references
from camhd_access.arrays.zarr import MovieParser
from camhd_access.synthetic import serve_folder, write_movie

pytestmark = [
    pytest.mark.filterwarnings("ignore:CAMHDA301.*its clock is"),  # movies of a second, named after their end
    pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3 specification"),
    pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification"),
]

SHOWN = [{}, {"pix_fmt": "gray10le"}, {"fields": True, "pix_fmt": "gray"}, {"reduce": 8}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three movies of one kind, a quarter of an hour apart, and one of another size."""
    folder = tmp_path_factory.mktemp("run")
    for i, minutes in enumerate((15, 30, 45)):
        start = np.datetime64("2017-02-10T00:00:01") + np.timedelta64(900 * i, "s")
        path = folder / f"CAMHDA301-20170210T00{minutes}00.mov"
        write_movie(path, n_frames=3 + i, width=256, height=64, start_time=start)
    write_movie(folder / "wide.mov", n_frames=2, width=320, height=64, start_time=np.datetime64("2017-02-11"))
    return folder


@pytest.fixture
def server(folder):
    with serve_folder(folder) as running:
        yield running


@pytest.fixture
def urls(server, folder):
    return [f"{server.url}{path.name}" for path in sorted(folder.glob("CAMHD*.mov"))]


def make_repository(url, **options):
    """A repository in memory that may refer to `url` and what is below it."""
    config = icechunk.RepositoryConfig.default()
    if url.startswith("file://"):
        store = icechunk.local_filesystem_store(url.removeprefix("file://"))
        credentials = icechunk.credentials.LocalFileSystemAccess
    else:
        store = icechunk.http_store({"allow_http": "true"})
        credentials = icechunk.credentials.HttpAccess
    config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(url, store))
    access = icechunk.containers_credentials({url: credentials})
    return icechunk.Repository.create(
        icechunk.in_memory_storage(), config, authorize_virtual_chunk_access=access, **options
    )


def read(repository):
    store = repository.readonly_session("main").store
    return xr.open_zarr(store, consolidated=False, chunks=None)


def registry_for(url):
    return ObjectStoreRegistry(
        {
            "file://": LocalStore(),
            url.rstrip("/"): HTTPStore.from_url(url.rstrip("/"), client_options={"allow_http": True}),
        }
    )


def open_store(url, **shown):
    return xr.open_zarr(MovieStore(url, **shown), chunks=None).load()


# ---- VirtualiZarr


@pytest.mark.parametrize("shown", SHOWN, ids=str)
def test_virtualizarr_parses_a_movie(server, urls, shown):
    parser = MovieParser(**shown)
    assert isinstance(parser, Parser)
    store = parser(urls[1], registry_for(server.url))
    xr.testing.assert_identical(
        xr.open_zarr(store, consolidated=False, chunks=None).load(), open_store(urls[1], **shown)
    )


def test_a_parsed_movie_goes_to_icechunk(server, urls):
    registry = registry_for(server.url)
    virtual = open_virtual_dataset(urls[0], registry=registry, parser=MovieParser(frames=slice(1, None)))
    repository = make_repository(server.url)
    session = repository.writable_session("main")
    virtual.vz.to_icechunk(session.store)
    session.commit("a movie")
    xr.testing.assert_identical(read(repository).load(), open_store(urls[0], frames=slice(1, None)))


def test_parsed_movies_are_joined_along_time(server, urls):
    registry = registry_for(server.url)
    loaded = [str(name) for name in open_store(urls[0]).coords]
    parts = [
        open_virtual_dataset(url, registry=registry, parser=MovieParser(), loadable_variables=loaded)
        for url in urls
    ]
    joined = xr.concat(parts, "time", coords="different", compat="equals", combine_attrs="drop_conflicts")
    repository = make_repository(server.url)
    session = repository.writable_session("main")
    joined.vz.to_icechunk(session.store)
    session.commit("movies")
    found = read(repository)
    movies = [open_store(url) for url in urls]
    for name in ("video", "time", "frame", "movie"):
        assert np.array_equal(found[name].values, np.concatenate([movie[name] for movie in movies]))


def test_a_coordinate_can_be_left_out(server, urls):
    store = MovieParser(skip_variables=("source",))(urls[0], registry_for(server.url))
    found = xr.open_zarr(store, consolidated=False, chunks=None)
    xr.testing.assert_identical(found.load(), open_store(urls[0]).drop_vars("source"))


@pytest.mark.parametrize("shown", SHOWN, ids=str)
def test_virtualizarr_reads_references_as_json(server, urls, tmp_path, shown):
    write_references(MovieReader(urls[2]), tmp_path / "m.json", **shown)
    registry = registry_for(server.url)
    virtual = open_virtual_dataset(
        f"file://{tmp_path}/m.json", registry=registry, parser=KerchunkJSONParser()
    )
    repository = make_repository(server.url)
    session = repository.writable_session("main")
    virtual.vz.to_icechunk(session.store)
    session.commit("a movie")
    xr.testing.assert_identical(read(repository).load(), open_store(urls[2], **shown))


# ---- Icechunk


@pytest.mark.parametrize("shown", SHOWN, ids=str)
def test_a_movie_in_icechunk_is_the_movie(server, urls, shown):
    repository = make_repository(server.url)
    reader = MovieReader(urls[0])
    n_requests = server.n_requests
    snapshot = write_icechunk(reader, repository, message="a movie", **shown)
    assert server.n_requests == n_requests
    (newest, *_) = repository.ancestry(branch="main")
    assert (newest.id, newest.message) == (snapshot, "a movie")
    xr.testing.assert_identical(read(repository).load(), open_store(urls[0], **shown))


def test_several_movies_at_once_are_as_one_after_the_other(server, urls):
    readers = [MovieReader(url) for url in urls]
    at_once, one_by_one = make_repository(server.url), make_repository(server.url)
    write_icechunk(readers, at_once)
    for i, reader in enumerate(readers):
        write_icechunk(reader, one_by_one, append=i > 0)
        assert read(one_by_one).sizes["time"] == sum(each.n_frames for each in readers[: i + 1])
    expected = read(at_once).load()
    xr.testing.assert_identical(read(one_by_one).load(), expected)
    movies = [open_store(url) for url in urls]
    for name in ("video", "time", "frame", "encoded_size", "movie"):
        assert np.array_equal(expected[name].values, np.concatenate([movie[name] for movie in movies]))
    assert list(expected.source.values) == [reader.name for reader in readers for _ in range(reader.n_frames)]


def test_fields_are_appended(server, urls):
    repository = make_repository(server.url)
    write_icechunk(MovieReader(urls[0]), repository, fields=True)
    write_icechunk(MovieReader(urls[1]), repository, fields=True, append=True)
    expected = np.concatenate([MovieReader(url).read(slice(None), fields=True) for url in urls[:2]])
    assert np.array_equal(read(repository).video.values, expected)


@pytest.mark.parametrize("of", ["session", "store"])
def test_a_session_is_committed_by_its_owner(server, urls, of):
    repository = make_repository(server.url)
    session = repository.writable_session("main")
    assert write_icechunk(MovieReader(urls[0]), session if of == "session" else session.store) is None
    assert len(list(repository.ancestry(branch="main"))) == 1  # the empty repository
    session.commit("a movie")
    xr.testing.assert_identical(read(repository).load(), open_store(urls[0]))


def test_a_local_movie_with_an_odd_name(tmp_path):
    path = tmp_path / "50% of #1, schön?.mov"
    write_movie(path, n_frames=3, width=256, height=64)
    repository = make_repository(f"file://{tmp_path}/")
    write_icechunk(MovieReader(path), repository)
    assert np.array_equal(read(repository).video.values, MovieReader(path).read(slice(None)))


def test_what_does_not_fit_is_refused_and_nothing_is_committed(server, urls):
    repository = make_repository(server.url)
    first = write_icechunk(MovieReader(urls[1]), repository)
    with pytest.raises(FileExistsError, match="append=True"):
        write_icechunk(MovieReader(urls[2]), repository)
    for wrong, shown, match in [
        (urls[1], {}, "the repository has frames until 2017-02-10T00:15:01"),
        (urls[0], {}, "in chronological order"),
        (f"{server.url}wide.mov", {}, "chunk_grid|codecs"),
        (urls[2], {"pix_fmt": "gray"}, "chunk_grid|codecs"),
        (urls[2], {"fields": True}, "chunk_grid|codecs"),
    ]:
        with pytest.raises(ValueError, match=match):
            write_icechunk(MovieReader(wrong), repository, append=True, **shown)
    with pytest.raises(ValueError, match="no virtual chunk container for"):
        write_icechunk(MovieReader(urls[0]), make_repository("http://127.0.0.1:9/"))
    with pytest.raises(ValueError, match="without a query"):
        write_icechunk(MovieReader(f"{urls[0]}?secret=1"), make_repository(server.url))
    (newest, *_) = repository.ancestry(branch="main")
    assert newest.id == first


def test_another_version_of_a_local_movie_is_not_read(folder, tmp_path):
    path = tmp_path / "m.mov"
    path.write_bytes((folder / "wide.mov").read_bytes())
    os.utime(path, (1e9, 1e9))
    repository = make_repository(f"file://{tmp_path}/")
    write_icechunk(MovieReader(path), repository)
    assert read(repository).video[0].values.shape == (64, 320, 3)
    os.utime(path, (1e9 + 2, 1e9 + 2))
    with pytest.raises(icechunk.IcechunkError, match=r"checksum of the object .* has changed"):
        read(repository).video[0].load()


def test_another_version_on_a_web_server_is_not_read(folder, webserver, web_root):
    """Icechunk has the server compare (`If-Unmodified-Since`), which real ones do."""
    path = web_root / "icechunk" / "m.mov"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((folder / "wide.mov").read_bytes())
    os.utime(path, (1e9, 1e9))
    repository = make_repository(f"{webserver.url}/icechunk/")
    write_icechunk(MovieReader(f"{webserver.url}/icechunk/m.mov", cache=False), repository)
    assert read(repository).video[0].values.shape == (64, 320, 3)
    os.utime(path, (1e9 + 2, 1e9 + 2))
    with pytest.raises(icechunk.IcechunkError, match=r"checksum of the object .* has changed"):
        read(repository).video[0].load()


def test_a_movie_in_a_bucket_is_pinned_by_its_etag(folder, s3):
    bucket = s3.bucket()
    files = s3fs.S3FileSystem(**s3.options)
    files.put_file(str(folder / "wide.mov"), f"{bucket}/m.mov")
    config = icechunk.RepositoryConfig.default()
    store = icechunk.s3_store(
        region="us-east-1", endpoint_url=s3.url, allow_http=True, force_path_style=True, s3_compatible=True
    )
    config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(f"s3://{bucket}/", store))
    credentials = icechunk.s3_credentials(access_key_id="test", secret_access_key="test")  # noqa: S106
    repository = icechunk.Repository.create(
        icechunk.in_memory_storage(),
        config,
        authorize_virtual_chunk_access=icechunk.containers_credentials({f"s3://{bucket}/": credentials}),
    )
    write_icechunk(MovieReader(f"s3://{bucket}/m.mov", storage_options=s3.options), repository)
    assert np.array_equal(read(repository).video.values, MovieReader(folder / "wide.mov").read(slice(None)))
    files.pipe_file(f"{bucket}/m.mov", (folder / "wide.mov").read_bytes() + b"more")
    with pytest.raises(icechunk.IcechunkError, match=r"checksum of the object .* has changed"):
        read(repository).video[0].load()


def test_a_sample_without_bytes_is_an_error_as_everywhere(server, urls, monkeypatch):
    repository = make_repository(server.url)
    reader = MovieReader(urls[0])
    size = reader.index.size.copy()
    size[1] = 0
    object.__setattr__(reader.index, "size", size)
    write_icechunk(reader, repository)
    with pytest.raises(FrameDecodeError, match="the sample is missing"):
        read(repository).video[1].load()
    assert np.array_equal(read(repository).video[2].values, MovieReader(urls[0]).read(2)[0])
