import datetime as dt
import warnings

import numpy as np
import pytest

from camhd_access import OOI_ARCHIVE, open_archive
from camhd_access.errors import RemoteFileError
from camhd_access.synthetic import serve_folder

ROOT = "RS03ASHS/PN03B/06-CAMHDA301"
NAMES = [
    "2015/12/31/CAMHDA301-20151231T210000Z",
    "2016/11/13/CAMHDA301-20161113T000000Z",
    "2016/11/13/CAMHDA301-20161113T030000Z",
    "2016/11/14/CAMHDA301-20161114T000000Z",
    "2017/08/20/CAMHDA301-20170820T001500",
    "2017/08/20/CAMHDA301-20170820T001500_01",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    for name in NAMES:
        for suffix in (".mov", ".mp4", ".mov.md5"):
            path = root / ROOT / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (root / ROOT / "2016" / "notes").mkdir()
    (root / ROOT / "2016" / "13").mkdir()  # no month
    (root / ROOT / "README.txt").touch()
    return root


@pytest.fixture
def server(folder):
    with serve_folder(folder) as running:
        yield running


def names(paths):
    return [path.partition(f"{ROOT}/")[2].removesuffix(".mov") for path in paths]


def test_all_movies_in_order_of_time(folder, server):
    assert names(open_archive(str(folder / ROOT)).movies()) == NAMES
    assert names(open_archive(f"{server.url}{ROOT}/").movies()) == NAMES


def test_real_servers_list_the_same(folder, webserver, web_root):
    target = web_root / "archive"
    if not target.exists():
        target.symlink_to(folder)
    assert names(open_archive(f"{webserver.url}/archive/{ROOT}").movies()) == NAMES


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2016-11-13", "2016-11-14", NAMES[1:3]),
        ("2016-11-13T00:00:01", None, NAMES[2:]),
        (None, "2016-11-13", NAMES[:1]),
        (dt.date(2017, 1, 1), dt.datetime(2018, 1, 1, tzinfo=dt.UTC), NAMES[4:]),
        (np.datetime64("2016-11-13T03:00"), "2016-11-13T04:00+01:00", []),
        ("2016-11-13T04:00+01:00", "2016-11-13T03:00:01", NAMES[2:3]),
    ],
)
def test_times_are_half_open_and_utc(folder, start, end, expected):
    assert names(open_archive(str(folder / ROOT)).movies(start, end)) == expected


def test_only_the_days_asked_for_are_listed(server):
    open_archive(f"{server.url}{ROOT}").movies("2016-11-13", "2016-11-14")
    assert server.n_requests == 4  # root, year, month, day


def test_a_failed_listing_is_an_error(folder):
    with serve_folder(folder) as server:
        archive = open_archive(f"{server.url}nothing-here")
        with pytest.raises((RemoteFileError, FileNotFoundError)):
            archive.movies()


@pytest.mark.parametrize("inner", ["", "2016/11", "2016/notes"])
def test_a_root_of_no_archive_is_told(folder, inner):
    wrong = open_archive(folder / inner if inner == "" else folder / ROOT / inner)
    for find in (wrong.movies, wrong.catalog):
        with pytest.warns(UserWarning, match="neither folders of years nor movies: an archive is") as caught:
            assert len(find("2016")) == 0
        assert len(caught) == 1
    with warnings.catch_warnings(action="error"):
        assert open_archive(folder / ROOT).movies("2030") == []  # of which there is nothing


def test_url_of_a_name(folder, server, tmp_path):
    assert (
        open_archive().url("CAMHDA301-20161113T000000Z")
        == f"{OOI_ARCHIVE}2016/11/13/CAMHDA301-20161113T000000Z.mov"
    )
    archive = open_archive(f"{server.url}{ROOT}")
    assert archive.url("CAMHDA301-20161113T000000Z.mov") in archive.movies()
    (tmp_path / "CAMHDA301-20161113T000000Z.mov").touch()
    flat = open_archive(str(tmp_path))
    assert [flat.url("CAMHDA301-20161113T000000Z")] == flat.movies()


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2016-11-13T00:00", NAMES[1]),
        ("2016-11-13T00:14:59", NAMES[1]),
        ("2017-08-20T00:00:00", NAMES[4]),  # the name tells the end
        ("2016-01-01T00:00", None),
        ("2017-08-20T00:15:00", None),
        ("2019", None),
    ],
)
def test_url_of_a_time(folder, time, expected):
    archive = open_archive(str(folder / ROOT))
    if expected is None:
        others = "nor within a day of it" if time == "2019" else "the nearest is /.*20(15|17)"
        with pytest.raises(LookupError, match=others):
            archive.url(time)
    else:
        assert names([archive.url(time)]) == [expected]


@pytest.mark.parametrize("moment", ["x", "", "2016-13-01", "30000", np.datetime64("NaT")])
def test_what_is_no_time_is_named(folder, moment):
    archive = open_archive(folder / ROOT)
    with pytest.raises(ValueError, match=r"^start='.*' is no time; try '2016-11-13'"):
        archive.movies(moment)
    with pytest.raises(ValueError, match=r"^end='.*' is no time; try '2016-11-13'"):
        archive.catalog(end=moment, progress=False)
    with pytest.raises(ValueError, match=r"^name_or_time='.*' is no time; .*, or a name such as 'CAMHDA301-"):
        archive.url(moment)


@pytest.mark.parametrize("moment", [None, 20161113, 1.5])
def test_what_is_of_another_type_than_times_is_refused(folder, moment):
    with pytest.raises(TypeError, match=r"^name_or_time is a time, as text or as a datetime, not "):
        open_archive(folder / ROOT).url(moment)


def test_an_end_before_the_start_is_refused(folder):
    with pytest.raises(ValueError, match="end='2016' is before start='2017'"):
        open_archive(folder / ROOT).movies("2017", "2016")


@pytest.mark.parametrize("root", [None, 5, b"/data"])
def test_a_root_is_a_path_or_url(root):
    with pytest.raises(TypeError, match="root is the path or URL of a folder, not"):
        open_archive(root)
