"""Archives: listing movies by time, URLs of movies, mirrors, and roots that are not archives."""

import datetime as dt
import warnings

import numpy as np
import pytest

from camhd_access import OOI_ARCHIVE, open_archive, read_catalog
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
        ("2016-11-13", None, NAMES[1:3]),
        ("20161113", None, NAMES[1:3]),
        (dt.date(2016, 11, 13), None, NAMES[1:3]),
        (np.datetime64("2016-11-13"), None, NAMES[1:3]),
        ("20161113T000001Z", "9999-12-31", NAMES[2:]),
        ("1500-01-01", "2016-11-13", NAMES[:1]),
        (np.datetime64("2016-11-13T00:00:01"), None, NAMES[2:]),
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


@pytest.mark.parametrize(
    ("root", "n_folders", "n_listings"),
    [("", 1, 4), ("RS03ASHS", 1, 3), ("RS03ASHS/PN03B/", 1, 2), (f"{ROOT}/2016/notes", 0, 3)],
)
def test_a_wrong_root_is_told_with_the_folder_that_was_meant(folder, server, root, n_folders, n_listings):
    for base in (f"{folder}/", server.url):
        for find in ("movies", "catalog"):
            n_before = server.n_requests
            with pytest.warns(UserWarning, match="neither folders of years nor movies, but") as caught:
                assert len(getattr(open_archive(base + root), find)("2016")) == 0
            (warning,) = caught
            noun = "folder" if n_folders == 1 else "folders"
            assert str(warning.message) == (
                f"{base}{root}".rstrip("/") + f" holds neither folders of years nor movies, but {n_folders} "
                f"{noun} and 0 other files. Open {base}{ROOT} (3 years) instead"
            )
            assert find == "catalog" or warning.filename == __file__
            assert base != server.url or server.n_requests - n_before == n_listings


def test_folders_around_a_wrong_root_are_listed_within_bounds(tmp_path):
    for i in range(20):
        for j in range(20):
            (tmp_path / f"site{i:02}/node{j:02}").mkdir(parents=True)
    (tmp_path / ROOT / "2016").mkdir(parents=True)  # its names are looked at before all others
    with serve_folder(tmp_path) as server:
        with pytest.warns(
            UserWarning, match=rf"but 21 folders and 0 other .* Open \S*{ROOT} \(1 year\) instead"
        ):
            assert open_archive(server.url).movies() == []
        assert server.n_requests <= 70
        with pytest.warns(
            UserWarning, match="but 20 folders and 0 other files. The root of an archive is the folder"
        ):
            assert open_archive(f"{server.url}site07").movies() == []


def test_several_archives_below_a_root_are_named(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}-CAMHDA301").mkdir()
        (tmp_path / f"{i}-CAMHDA301" / "CAMHDA301-20161113T000000Z.mov").touch()
    proposed = r"0-CAMHDA301 \(1 movie\) or \S+ \(1 movie\) or \S+ \(1 movie\) or one of 2 more instead"
    with pytest.warns(UserWarning, match=proposed):
        open_archive(tmp_path).movies()


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("2016", NAMES[1:4]),
        ("2016/", NAMES[1:4]),
        ("2016/11", NAMES[1:4]),
        ("2016/11//", NAMES[1:4]),
        ("2016/11/13", NAMES[1:3]),
        ("2017/08/20/", NAMES[4:]),
    ],
)
def test_the_folder_of_a_year_a_month_or_a_day_has_its_movies(folder, server, part, expected):
    for base in (f"{folder}/", server.url):
        archive = open_archive(f"{base}{ROOT}/{part}")
        assert names(archive.movies()) == expected
        assert names(archive.catalog(progress=False)["url"]) == expected
        assert names(archive.movies("2016-11-14", "2016-11-15")) == [n for n in expected if n in NAMES[3]]
        assert names([archive.url(expected[-1].rpartition("/")[2])]) == expected[-1:]
        n_before = server.n_requests
        archive.movies("2015-12-31", "2016-01-01")
        assert base != server.url or server.n_requests - n_before == 1  # of which it has no folders


def test_a_movie_of_another_year_is_not_in_the_folder_of_a_year(folder):
    with pytest.raises(
        LookupError, match=r"/2016 is a part of an archive, without CAMHDA301-20170820T001500$"
    ):
        open_archive(folder / ROOT / "2016").url("CAMHDA301-20170820T001500")


def test_a_month_under_another_name_has_its_movies(folder, tmp_path):
    (tmp_path / "november").symlink_to(folder / ROOT / "2016/11")
    archive = open_archive(tmp_path / "november")
    found = archive.movies("2016-11-13T01:00")
    assert [path.removeprefix(f"{tmp_path}/november/") for path in found] == [
        f"{name.removeprefix('2016/11/')}.mov" for name in NAMES[2:4]
    ]
    assert archive.url("CAMHDA301-20161114T000000Z") == found[1]


def test_the_catalogue_of_a_year_leaves_the_other_years_of_its_file_alone(folder, tmp_path):
    file = tmp_path / "camhd.jsonl"
    open_archive(folder / ROOT).catalog(file=file, progress=False)
    year = open_archive(folder / ROOT / "2016").catalog(file=file, progress=False)
    assert names(year["url"]) == NAMES[1:4]
    assert names(read_catalog(file)["url"]) == NAMES


def test_a_whole_archive_may_lie_in_a_folder_named_like_a_year(folder, tmp_path):
    (tmp_path / "2024").symlink_to(folder / ROOT)
    assert len(open_archive(tmp_path / "2024").movies()) == len(NAMES)
    (tmp_path / "2025").symlink_to(folder / ROOT / "2016/11/13")  # flat
    assert len(open_archive(tmp_path / "2025").movies("2016-11-13", "2016-11-14")) == 2


@pytest.mark.parametrize("end", ["", "/", "?C=M;O=D"])
def test_a_movie_is_no_archive(server, end):
    with pytest.raises(
        ValueError, match=rf"is a movie, not a folder .* open the archive {server.url}{ROOT}/$"
    ):
        open_archive(f"{server.url}{ROOT}/{NAMES[1]}.mov{end}")
    with pytest.raises(ValueError, match=r"with open_movie, or open the archive \.$"):
        open_archive(f"{NAMES[1]}.mov".rpartition("/")[2])


def test_an_archive_of_which_a_period_has_nothing_is_no_wrong_root(folder):
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


NO_TIMES = ("x", "", "now", "2016-13-01", "13/11/2016", "Nov 13 2016", "30000", np.datetime64("NaT", "s"))


@pytest.mark.parametrize("moment", NO_TIMES)
def test_what_is_no_time_is_named(folder, moment):
    archive = open_archive(folder / ROOT)
    with pytest.raises(ValueError, match=r"^start='.*' is not a valid time; try '2016-11-13'"):
        archive.movies(moment)
    with pytest.raises(ValueError, match=r"^end='.*' is not a valid time; try '2016-11-13'"):
        archive.catalog(end=moment, progress=False)
    with pytest.raises(
        ValueError, match=r"^name_or_time='.*' is not a valid time; .*, or a name such as 'CAMHDA301-"
    ):
        archive.url(moment)


@pytest.mark.parametrize("moment", [None, 20161113, 1.5])
def test_what_is_of_another_type_than_times_is_refused(folder, moment):
    with pytest.raises(TypeError, match=r"^name_or_time must be a time \(text or datetime\), not "):
        open_archive(folder / ROOT).url(moment)


def test_an_end_before_the_start_is_refused(folder):
    with pytest.raises(ValueError, match="end='2016' is before start='2017'"):
        open_archive(folder / ROOT).movies("2017", "2016")


@pytest.mark.parametrize("root", [5, b"/data"])
def test_a_root_is_a_path_or_url(root):
    with pytest.raises(TypeError, match="root must be the path or URL of a folder, not"):
        open_archive(root)
