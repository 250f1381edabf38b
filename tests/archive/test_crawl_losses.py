"""Crawls of archives in disorder: a catalogue in a file loses no movie that may still be there."""

import numpy as np
import pytest
from sparse_archive import write_sparse

from camhd_access import open_archive, read_catalog
from camhd_access.errors import RemoteFileError


def write_movie(root, day, name):
    path = root / day.replace("-", "/") / f"CAMHDA301-{name.replace('-', '')}.mov"
    write_sparse(path, file_size=600_000, n_frames=10)
    return path


@pytest.mark.filterwarnings("ignore:movies in folders of other days")
@pytest.mark.parametrize("age", [9, 5])  # a week after its day, a folder is not listed again
def test_a_movie_in_the_folder_of_the_day_before_stays_while_it_is_there(tmp_path, age):
    before, after = (str(np.datetime64("now", "D") - np.timedelta64(n, "D")) for n in (age, 3))
    root, file = tmp_path / "archive", tmp_path / "catalog.jsonl"
    write_movie(root, before, f"{before}T031500")
    misplaced = write_movie(root, before, f"{after}T000000")
    write_movie(root, after, f"{after}T031500")
    archive = open_archive(root)
    first = archive.catalog(progress=False, file=file)
    assert len(first) == 3
    assert list(archive.catalog(progress=False, file=file).index) == list(first.index)
    assert list(archive.catalog(after, progress=False, file=file).index) == list(first.index[1:])
    assert list(read_catalog(file).index) == list(first.index)
    misplaced.unlink()
    assert len(archive.catalog(progress=False, file=file)) == (3 if age == 9 else 2)


def test_a_disk_that_is_not_mounted_empties_no_catalogue(tmp_path):
    root, file = tmp_path / "archive", tmp_path / "catalog.jsonl"
    write_movie(root, "2016-11-13", "2016-11-13T000000Z")
    open_archive(root).catalog(progress=False, file=file)
    before = file.read_bytes()
    root.rename(tmp_path / "disk")
    (root / "lost+found").mkdir(parents=True)
    with (
        pytest.warns(UserWarning, match="holds neither folders of years nor movies"),
        pytest.raises(RemoteFileError, match=r"\(rows: 1\), which is left as it is.* mounted"),
    ):
        open_archive(root).catalog(progress=False, file=file)
    assert file.read_bytes() == before
    (root / "2016").mkdir()
    assert open_archive(root).catalog(progress=False, file=file).empty
    assert read_catalog(file).empty
