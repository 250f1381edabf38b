"""Masters (`.mov`) and their twins (`.mp4`) in an archive."""

import inter_movies
import numpy as np
import pytest

from camhd_access import MovieReader, open_archive, open_movie, read_catalog
from camhd_access.errors import RemoteFileNotFoundError
from camhd_access.formats.names import find_best_files, name_twin
from camhd_access.synthetic import serve_folder, write_movie

BOTH, MASTER, TWIN = (f"CAMHDA301-20161113T{hour}0000Z" for hour in ("00", "03", "06"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """An archive of three recordings: one with both files, one with the master alone, one with the twin."""
    root = tmp_path_factory.mktemp("archive")
    folder = root / "2016/11/13"
    folder.mkdir(parents=True)
    for name in (BOTH, MASTER):
        write_movie(folder / f"{name}.mov", n_frames=3, width=256, height=64)
    for name in (BOTH, TWIN):
        (folder / f"{name}.mp4").write_bytes(inter_movies.encode("closed groups"))
    return root


def names(paths):
    return [path.rpartition("/")[2] for path in paths]


def test_each_kind_is_listed(root):
    archive = open_archive(root)
    masters, twins = [f"{BOTH}.mov", f"{MASTER}.mov"], [f"{BOTH}.mp4", f"{TWIN}.mp4"]
    assert names(archive.movies()) == names(archive.movies(kind="mov")) == masters
    assert names(archive.movies(kind="mp4")) == twins
    assert names(archive.movies(kind="best")) == [*masters, f"{TWIN}.mp4"]
    assert names(open_archive(root / "2016/11/13").movies(kind="mp4")) == twins
    with pytest.raises(ValueError, match='kind must be "mov", "mp4" or "best"'):
        archive.movies(kind="avi")


def test_a_twin_is_not_a_folder(root):
    with pytest.raises(ValueError, match=r"\.mp4 is a movie, not a folder of movies"):
        open_archive(root / f"2016/11/13/{TWIN}.mp4")


def test_the_best_files_of_a_folder():
    files = [f"{BOTH}.mp4", f"{TWIN}.mp4", f"{BOTH}.mov", f"{MASTER}.mov", f"{TWIN}.md5", "notes.txt"]
    assert find_best_files(files) == [f"{BOTH}.mov", f"{MASTER}.mov", f"{TWIN}.mp4"]


def test_the_catalogue_knows_both(root, tmp_path):
    archive, file = open_archive(root), tmp_path / "catalog.jsonl"
    for kind, codecs in (("mov", ["apcn"] * 2), ("best", ["apcn", "apcn", "avc1"]), ("mp4", ["avc1"] * 2)):
        table = archive.catalog(kind=kind, index=True, progress=False, file=file)
        assert names(table["url"]) == names(archive.movies(kind=kind))
        assert table["codec"].tolist() == codecs
        assert (table.loc[table["codec"] == "avc1", "quality"] == "good").all()
    table = archive.catalog(index=True, progress=False, file=file)  # what the file has of twins is not taken
    assert names(table["url"]) == [f"{BOTH}.mov", f"{MASTER}.mov"]
    assert table["codec"].tolist() == ["apcn"] * 2


def test_the_file_keeps_what_another_kind_found(root, tmp_path):
    archive, file = open_archive(root), tmp_path / "catalog.jsonl"
    best = archive.catalog(kind="best", index=True, progress=False, file=file)
    archive.catalog(progress=False, file=file)
    found = read_catalog(file)
    assert found["url"].tolist() == best["url"].tolist()
    assert found["quality"].tolist() == best["quality"].tolist()
    archive.catalog(kind="mp4", progress=False, file=file)
    assert names(read_catalog(file)["url"]) == [f"{BOTH}.mp4", f"{MASTER}.mov", f"{TWIN}.mp4"]


def test_a_base_name_finds_the_twin_when_the_master_is_gone(root, monkeypatch):
    with serve_folder(root) as server:
        monkeypatch.setenv("CAMHD_ARCHIVE", server.url)
        assert MovieReader(BOTH).urlpath.endswith(f"{BOTH}.mov")
        reader = MovieReader(TWIN)
        assert reader.urlpath.endswith(f"{TWIN}.mp4")
        assert reader.movie_name == TWIN
        assert open_archive().url("2016-11-13T06:05").endswith(f"{TWIN}.mp4")
        movie = open_movie(TWIN, frames=[7])
        assert movie.attrs["coding"] == "lossy inter-frame, 8 bit"
        assert str(movie.time.values[0]).startswith("2016-11-13T06:00:00.23")
        assert open_movie(BOTH, frames=[0]).attrs["coding"] == "lossy intra-frame, 10 bit"
        with pytest.raises(RemoteFileNotFoundError, match=r"T090000Z\.mov"):
            MovieReader("CAMHDA301-20161113T090000Z")
        with pytest.raises(RemoteFileNotFoundError):
            MovieReader(f"{server.url}2016/11/13/{TWIN}.mov")  # a URL stands for one file


def test_the_twin_has_the_clock_of_the_name(root):
    twin = MovieReader(root / f"2016/11/13/{TWIN}.mp4")
    assert twin.start.source == "name"  # libav sets no creation time
    assert twin.start_time == np.datetime64("2016-11-13T06:00:00")


def test_names_of_twins():
    assert name_twin("https://h/a.mov?key=.mov") == "https://h/a.mp4?key=.mov"
    assert name_twin("/a/b.mp4") is None
