"""Directory listings of Apache and nginx."""

import time
import tracemalloc
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from origin import answers, chunked
from webservers import start_apache, start_nginx

from camhd_access.errors import RemoteFileError, TruncatedResponseError
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem, ListingEntry, listings, parse_listing

# Names that servers truncate, escape or encode; the second one is 66 characters long.
FILES = {
    "CAMHDA301-20161113T000000Z.mov": 12_345,
    "CAMHDA301-20161113T000000Z_a_name_that_fancy_listings_truncate.mov": 7,
    "a b & c <d> \"e\" 'f'.mov": 1_234_567,
    "100% #1?.mov": 0,
    "größe.md5": 999,
    "semi;colon:and=equals+plus.txt": 1000,
}
FOLDERS = ["2016", "11 & 12"]
APACHE_EXACT = {name: size if size < 973 else None for name, size in FILES.items()}  # above, "12K" and "1.2M"
STYLES = {
    "apache-plain": (start_apache, "IndexOptions -FancyIndexing", dict.fromkeys(FILES)),
    "apache-fancy": (start_apache, "IndexOptions FancyIndexing", APACHE_EXACT),
    "apache-icons": (
        start_apache,
        'IndexOptions FancyIndexing IconsAreLinks\nAddDescription "5 of 9" *.mov\nAddIcon /i.gif .mov',
        APACHE_EXACT,
    ),
    "apache-table": (
        start_apache,
        "IndexOptions FancyIndexing HTMLTable IconsAreLinks FoldersFirst\nAddIcon /i.gif .mov",
        APACHE_EXACT,
    ),
    "apache-no-dates": (
        start_apache,
        "IndexOptions FancyIndexing SuppressLastModified XHTML",
        dict.fromkeys(FILES),
    ),
    "nginx": (start_nginx, "", FILES),
    "nginx-rounded": (
        start_nginx,
        "autoindex_exact_size off;",
        {name: size if size < 1024 else None for name, size in FILES.items()},
    ),
}


@pytest.fixture(scope="module", params=STYLES)
def listing(request, tmp_path_factory):
    """A file system, the URL of a folder, and the sizes that its listing tells exactly."""
    root = tmp_path_factory.mktemp("listed")
    day = root / "files" / "day 13"
    day.mkdir(parents=True)
    (day.parent / "empty").mkdir()
    for name, size in FILES.items():
        (day / name).write_bytes(bytes(size))
    for name in FOLDERS:
        (day / name).mkdir()
    start, directives, sizes = STYLES[request.param]
    with start(root, tmp_path_factory.mktemp("state"), directives) as server:
        yield LazyHTTPFileSystem(skip_instance_cache=True), f"{server.url}/files", sizes


def test_every_entry_is_listed_once_under_an_url_that_opens(listing):
    fs, url, sizes = listing
    day = f"{url}/day%2013"
    found = {entry["name"]: entry for entry in fs.ls(day)}
    assert len(found) == len(FILES) + len(FOLDERS)
    by_path = {}
    for name, entry in found.items():
        info = fs.info(name)
        assert info["type"] == entry["type"]
        by_path[name] = (info["size"], entry["size"])
    expected = sorted((FILES[name], sizes[name]) for name in FILES if sizes[name] is not None)
    assert sorted(pair for pair in by_path.values() if pair[1] is not None) == expected
    assert sorted(pair[0] for pair in by_path.values() if pair[0] is not None) == sorted(FILES.values())
    movie = f"{day}/CAMHDA301-20161113T000000Z.mov"
    assert found[movie] == {"name": movie, "size": sizes[movie.rsplit("/", 1)[1]], "type": "file"}
    assert found[f"{day}/2016"]["type"] == "directory"


def test_an_empty_folder_is_an_empty_list(listing):
    fs, url, _ = listing
    assert fs.ls(f"{url}/empty/") == fs.ls(f"{url}/empty") == []


def test_walk_find_and_glob(listing):
    fs, url, _ = listing
    n_movies = sum(name.endswith(".mov") for name in FILES)
    assert len(fs.find(url)) == len(FILES)
    assert len(fs.glob(f"{url}/day%2013/*.mov")) == n_movies
    assert fs.glob(f"{url}/*") == [f"{url}/day%2013", f"{url}/empty"]
    assert fs.glob(f"{url}/day%2013/none*") == []
    (top, folders, files), (below, _, more), *_ = fs.walk(url)
    assert (top, sorted(folders), files) == (url, ["day%2013", "empty"], [])
    assert (below, len(more)) == (f"{url}/day%2013", len(FILES))
    assert fs.exists(f"{url}/day%2013/2016")
    assert not fs.exists(f"{url}/day%2013/2017")
    assert fs.isdir(url)
    assert not fs.isfile(url)


def test_the_listing_of_a_file_is_the_file(listing):
    fs, url, _ = listing
    movie = f"{url}/day%2013/CAMHDA301-20161113T000000Z.mov"
    (entry,) = fs.ls(movie)
    assert (entry["name"], entry["size"], entry["type"]) == (movie, 12_345, "file")
    assert fs.find(movie) == [movie]
    with pytest.raises(FileNotFoundError):
        fs.ls(f"{url}/day%2013/none.mov")


def one(href, *, after="", base="http://h/files/day/"):
    return parse_listing(f'<title>Index of /</title><a href="{href}">x</a>{after}', base)


@pytest.mark.parametrize(
    "href",
    [
        *(
            "../",
            "..",
            ".",
            "./",
            "/",
            "",
            "#top",
            "?C=N;O=D",
            "a.mov?C=M",
            "a.mov#t=1",
            "/files/",
            "//h/files/day/",
        ),
        *(
            "/other/a.mov",
            "a/b.mov",
            "a//",
            "https://elsewhere/files/day/a.mov",
            "http://h:81/files/day/a.mov",
        ),
        *("mailto:a@b", "javascript:void(0)", "http://[", "%2e%2e/", "../day2/a.mov", "/files/daylight.mov"),
    ],
)
def test_what_is_no_entry(href):
    assert one(href) == []


@pytest.mark.parametrize(
    ("href", "name", "kind"),
    [
        ("a.mov", "a.mov", "file"),
        ("./a.mov", "a.mov", "file"),
        ("/files/day/a.mov", "a.mov", "file"),
        ("http://h/files/day/a.mov", "a.mov", "file"),
        ("HTTP://H/files/day/a.mov", "a.mov", "file"),
        ("11/", "11", "directory"),
        ("a%20b.mov", "a%20b.mov", "file"),
        ("a&amp;b.mov", "a&b.mov", "file"),
        ("a%2Fb.mov", "a%2Fb.mov", "file"),
        ("a%3Fb.mov", "a%3Fb.mov", "file"),
        ("a b.mov", "a%20b.mov", "file"),
        ("größe", quote("größe"), "file"),
    ],
)
def test_what_is_an_entry(href, name, kind):
    assert one(href) == [ListingEntry(name, kind, None)]


@pytest.mark.parametrize(
    ("after", "size"),
    [
        ("   23-Nov-2016 21:30    13012345678\r\n", 13012345678),
        ("   2016-11-23 21:30   13G  \n", None),
        ("   2016-11-23 21:30  512  2016 dive\n", 512),
        ("   2016-11-23 21:30   -   2016\n", None),
        ("   2016-11-23 21:30  1.2M\n", None),
        ("</td><td>2016-11-23 21:30  </td><td>&nbsp;512 </td><td>&nbsp;</td>", 512),
        ("   512\n", None),
        ("", None),
    ],
)
def test_sizes_only_where_exact(after, size):
    assert one("a.mov", after=after) == [ListingEntry("a.mov", "file", size)]
    assert one("a/", after=after) == [ListingEntry("a", "directory", None)]


def test_pages_that_are_no_listings():
    for page in ["", "hello", "<title>Welcome</title>", '<a href="/elsewhere">x</a>', "<title>502</title>"]:
        with pytest.raises(RemoteFileError, match="not a directory listing"):
            parse_listing(page, "http://h/files/day/")
    assert parse_listing("<title>Index of /files/day</title>", "http://h/files/day/") == []


@given(st.text(alphabet="<>!-[]/a=\"' hrefCDATAtitle&#;\0", max_size=200))
@example("<![x")
@example("<!DOCTYPE [<![if]")
def test_any_page_is_a_listing_or_an_error(page):
    try:
        entries = parse_listing("<title>Index of</title>" + page, "http://h/files/day/")
    except RemoteFileError:
        return
    assert all(entry.name and "/" not in entry.name for entry in entries)


def test_links_count_from_the_folder_of_the_page():
    assert one("a.mov", base="http://h/files/day/index.html") == one("a.mov")


def test_the_page_of_a_year_stays_quick():
    page = (
        "<title>Index of /</title><pre>"
        + "".join(f'<a href="{i}.mov">{i}.m..&gt;</a> - \n' for i in range(20_000))
        + "</pre>"
    )
    assert len(parse_listing(page, "http://h/")) == 20_000


PAGE = (
    '<html><head><title>Index of /</title></head><body><pre><a href="a.mov">a.mov</a>\n</pre></body></html>\n'
)


@pytest.mark.parametrize("stop", range(PAGE.index("<pre>") + 5, PAGE.index("</html>") + 7))
def test_a_page_without_an_end_is_no_listing(stop):
    with pytest.raises(TruncatedResponseError, match="is truncated"):
        parse_listing(PAGE[:stop], "http://h/")


def test_a_whole_page_is_a_listing():
    assert len(parse_listing(PAGE, "http://h/")) == len(parse_listing(PAGE.strip(), "http://h/")) == 1


N = 8 << 20
LONG = {
    name: (before + piece * (N // len(piece)))[:N]
    for name, before, piece in [
        ("angles", "", "<"),
        ("unclosed links", "", "<a "),
        ("unclosed attributes", "", '<a href="'),
        ("one attribute", '<a href="', "x"),
        ("one attribute of entities", '<a href="', "&#x41;"),
        ("attributes", "<a", " href"),
        ("a blank attribute", "<a href", " "),
        ("no entries", "", '<a href="?C=N">x</a>'),
        ("parents", "", "<a href=..>"),
        ("one way up", '<a href="', "../"),
        ("escapes", "", "<a href=./%41>"),
        ("entities", "", '<a href="&lt;">'),
        ("comments", "", "<!-- -->"),
        ("open comments", "", "<!--"),
        ("scripts", "", "<script></script>"),
        ("titles", "", "<title>"),
        ("one title", "<title>", "x"),
        ("cells", "<a href=x>x</a>", "<td>"),
        ("text", "<a href=x>x</a> ", "&#x31;"),
        ("digits", "<a href=x>x</a> 2016-11-13 00:00 ", "1"),
        ("blanks", "<a href=x>x</a> ", "\xa0"),
        ("zeros", "", "\0"),
        ("another host", '<a href="http://', "a."),
        ("users", '<a href="http://', "@"),
    ]
}
LONG["other entries"] = "".join(f'<a href="./{i:08x}">' for i in range(N // 22))


def read_or_refuse(page):
    try:
        assert len(parse_listing(page, "http://h/files/")) <= 1
    except RemoteFileError as error:
        assert len(str(error)) < 300  # noqa: PT017 - of an error that may be


@pytest.mark.parametrize("name", LONG)
def test_any_page_of_8_mb_is_read_in_bounded_time(name, monkeypatch):
    monkeypatch.setattr(listings, "MAX_SECONDS", 0.2)  # after which its thread stops by itself
    begin = time.thread_time()
    read_or_refuse(LONG[name])
    assert time.thread_time() - begin < 2


@pytest.mark.parametrize("name", ["angles", "cells", "other entries"])
def test_any_page_of_8_mb_is_read_in_bounded_memory(name):
    tracemalloc.start()
    try:
        read_or_refuse(LONG[name])
        assert tracemalloc.get_traced_memory()[1] < 300 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "page", [answers(200, bytes(N + 1), Content_Type="text/html"), chunked], ids=["told", "chunked"]
)
def test_a_longer_page_is_not_read(origin, page):
    origin.put("/files/", bytes(2 * N))
    origin.play("/files/", page, always=True)
    fs = LazyHTTPFileSystem(skip_instance_cache=True, tries=1)
    with pytest.raises(RemoteFileError, match=r"/files: too long for a directory listing|expected text/html"):
        fs.ls(f"{origin.url}/files")
    assert fs.stats.bytes <= N


def test_a_page_of_untold_length_is_read_to_a_limit(origin):
    def endless(x):
        x.head(200, {"Content-Type": "text/html"})
        x.body(b"<a href=x>" * (N // 4))

    origin.play("/files/", endless, always=True)
    fs = LazyHTTPFileSystem(skip_instance_cache=True, tries=1)
    with pytest.raises(RemoteFileError, match="more than 8388608 bytes, without a Content-Length"):
        fs.ls(f"{origin.url}/files")
    assert fs.stats.bytes <= N + (2 << 20)
