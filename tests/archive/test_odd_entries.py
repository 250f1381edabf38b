"""Entries of an archive's folders that are called like movies, or nearly, but are none of the archive's."""

import os

from sparse_archive import write_sparse

from camhd_access import MovieReader, open_archive

BASENAME = "CAMHDA301-20161113T000000Z"


def write_movie(root):
    path = root / f"2016/11/13/{BASENAME}.mov"
    write_sparse(path, file_size=600_000, n_frames=10)
    return path


def check_alone(root, path, tmp_path):
    """The movie is the only one in listings and catalogues."""
    archive = open_archive(root)
    assert archive.movies() == archive.movies(kind="best") == [str(path)]
    assert archive.url("2016-11-13T00:05") == str(path)
    for index in (False, True):
        catalog = archive.catalog(index=index, progress=False, file=tmp_path / "catalog.jsonl")
        assert list(catalog.url) == [str(path)]
        assert catalog.other_urls.isna().all()
    assert list(catalog.quality) == ["good"]


def test_copies_do_not_replace_the_movie(tmp_path):
    path = write_movie(tmp_path / "archive")
    for suffix in (".copy.mov", ".1.mov", ".caf\udce9.mov", ".caf\udce9.mp4"):  # a byte that is not UTF-8
        path.with_name(f"{BASENAME}{suffix}").write_bytes(b"other bytes")
    check_alone(tmp_path / "archive", path, tmp_path)


def test_names_of_years_that_times_cannot_hold_are_left_out(tmp_path):
    root = tmp_path / "archive"
    path = write_movie(root)
    for year in (1600, 2300, 9998):
        write_sparse(root / f"{year}/01/01/CAMHDA301-{year}0101T000000.mov", file_size=600_000, n_frames=10)
    check_alone(root, path, tmp_path)
    assert MovieReader(root / "2300/01/01/CAMHDA301-23000101T000000.mov").start.source == "unknown"


def test_pipes_and_folders_are_not_movies(tmp_path):
    """A pipe that nobody writes to blocks its reader for ever."""
    root = tmp_path / "archive"
    path = write_movie(root)
    os.mkfifo(path.with_name("CAMHDA301-20161113T030000Z.mov"))
    path.with_name("CAMHDA301-20161113T060000Z.mov").mkdir()
    check_alone(root, path, tmp_path)


def test_a_link_is_what_it_leads_to(tmp_path):
    root = tmp_path / "archive"
    path = write_movie(root)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for hour, target in (("03", path), ("06", pipe), ("09", tmp_path), ("12", tmp_path / "nothing")):
        path.with_name(f"CAMHDA301-20161113T{hour}0000Z.mov").symlink_to(target)
    catalog = open_archive(root).catalog(index=True, progress=False)
    assert list(catalog.quality.fillna("")) == ["good", "good", "unreadable", "unreadable", ""]
    assert list(catalog.reason[2:4]) == ["it is a pipe, not a file", "it is a folder, not a file"]
    assert catalog.reason.iloc[4].startswith("not reached: ")
