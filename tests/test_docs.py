"""The documentation: its snippets run, and their results are checked.

A page's snippets run one after the other. Where a page holds a comment that begins with `check`, the comment
runs too, in the same place and with the same names: it asserts what the snippets before it have found. Guides
have one in each section, and see an archive of movies as long as the real ones.

A snippet with `file=NAME` beside its language is written to that file. One with `needs=MODULE` uses a package
that is too large for the test environment: it runs where that is installed, and the page shows its output.
"""

import doctest
import importlib
import inspect
import json
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import scaling
from long_archive import MOVIES, REGIONS, write_long_archive
from shared_data import shared_data
from sparse_archive import ROOT

import camhd_access
from camhd_access.formats.names import find_movie_name
from camhd_access.synthetic import read_frame_number, serve_folder

PROJECT = Path(__file__).parents[1]
DOCS = PROJECT / "docs"
GUIDES = [*sorted(DOCS.glob("howto/*.md")), *(DOCS / f"{name}.md" for name in ("tutorial", "archive"))]
NEW_PYTHONS_ONLY = {"icechunk"} if sys.version_info < (3, 12) else set()
"""Pages on libraries that are not released for older ones."""
PAGES = [
    page for page in sorted(DOCS.glob("*.md")) if page not in GUIDES and page.stem not in NEW_PYTHONS_ONLY
]

SNIPPET = re.compile(r"^```python(.*?)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CHECK = re.compile(r"^<!-- check(.*?)\n(.*?)^-->$", re.DOTALL | re.MULTILINE)


def run_page(page, names):
    """Run its snippets and checks in their order; a traceback shows the line of the page."""
    text = page.read_text()
    for block in sorted([*SNIPPET.finditer(text), *CHECK.finditer(text)], key=lambda match: match.start()):
        option, _, value = block[1].strip().partition("=")
        assert option in ("", "file", "needs")
        if option == "file":
            Path(value).write_text(block[2])
        elif option != "needs" or find_spec(value):
            n_lines_before = text.count("\n", 0, block.start(2))
            code = compile("\n" * n_lines_before + block[2], str(page), "exec")
            exec(code, names)  # noqa: S102 - our own pages
    plt.close("all")  # xarray's plots stay open until somebody closes them


def shows(url, frame):
    """The number that must be in the picture of a frame of the long archive."""
    basename = find_movie_name(url).basename
    return next(movie for movie in MOVIES if movie.basename == basename).shows(frame)


@pytest.fixture(scope="session")
def long_archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    write_long_archive(folder)
    return folder


@pytest.fixture
def stands_for_ooi(long_archive, tmp_path, monkeypatch):
    """The long archive on loopback, opened by `open_archive()` in place of OOI's."""
    open_archive = camhd_access.open_archive
    monkeypatch.chdir(tmp_path)
    Path("regions.csv").write_text(REGIONS)
    with serve_folder(long_archive) as server:
        root = f"{server.url}{ROOT}/"
        monkeypatch.setattr(
            camhd_access, "open_archive", lambda at=root, **options: open_archive(at, **options)
        )
        yield server


@pytest.mark.filterwarnings("ignore:.*its clock is:UserWarning")  # of one of the archive's movies it is true
@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_guides_do_what_they_say(page, stands_for_ooi, long_archive, monkeypatch):
    monkeypatch.syspath_prepend(Path.cwd())  # where their files are
    shutil.copytree(long_archive / ROOT / "2016/11/13", "movies")
    run_page(
        page,
        {"server": stands_for_ooi, "shows": shows, "read_frame_number": read_frame_number, "pytest": pytest},
    )


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_each_section_of_a_guide_is_checked(page):
    _, *sections = re.split(r"^## ", page.read_text(), flags=re.MULTILINE)
    unchecked = [s.partition("\n")[0] for s in sections if SNIPPET.search(s) and not CHECK.search(s)]
    assert not unchecked
    assert not any("-->" in check[2] for check in CHECK.finditer(page.read_text())), "ends the comment"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if SNIPPET.search(page.read_text())], ids=lambda p: p.stem
)
def test_snippets_run(page, movie_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(page, {"url": movie_url, "folder": str(tmp_path)})


def test_the_readme_runs(stands_for_ooi):
    run_page(PROJECT / "README.md", {})


def test_what_jobs_cost_is_worked_out_from_the_real_catalogue():
    catalog = camhd_access.read_catalog(shared_data("camhd_catalog_2018.jsonl"))
    assert scaling.TABLE.search(scaling.PAGE.read_text())[0] == scaling.table(catalog)


def test_what_is_said_of_the_archive_is_true_of_the_real_catalogue():
    """What `archive.md` and `scaling.md` say in words, counted."""
    catalog = camhd_access.read_catalog(shared_data("camhd_catalog_2018.jsonl"))
    assert len(catalog) == 9_441
    assert catalog["quality"].value_counts()[["good", "blank"]].to_dict() == {"good": 7_844, "blank": 1_407}
    good = catalog[catalog["quality"] == "good"]
    assert [round(good[c].sum() / u) for c, u in (("n_frames", 1e6), ("file_size", 1e12))] == [191, 108]
    assert round(good["duration"].sum() / 3600) == 1_773
    months = dict(iter(catalog.groupby(catalog["time_from_name"].dt.strftime("%Y-%m"))))
    dark = {month: (rows["quality"] == "blank").mean() for month, rows in months.items()}
    wanted = {"2016-09": 1 / 6, "2017-01": 1 / 10, "2017-10": 1 / 3}
    assert all(abs(dark[month] - share) < 0.015 for month, share in wanted.items())
    assert dark["2017-11"] > 0.5
    assert not any("2017-12" <= month <= "2018-06" for month in good["time_from_name"].dt.strftime("%Y-%m"))
    assert "2017-05" not in months
    late = {month: rows["start_disagreement"].median() for month, rows in months.items()}
    assert late["2015-11"] < late["2016-01"] < late["2016-04"] == 361
    assert late["2016-05"] == 1
    per_frame = {month: rows["bytes_per_frame"].median() for month, rows in months.items()}
    assert all(0.76 < per_frame[month] / per_frame["2016-10"] < 0.84 for month in ("2016-08", "2016-09"))
    files_a_day = catalog["time_from_name"].dt.strftime("%Y-%m-%d").value_counts()
    assert (files_a_day[files_a_day.index >= "2016-11-22"] == 16).sum() >= 68
    long_days = {int(day[-2:]) for day in files_a_day.index[files_a_day > 80]}
    assert long_days == {1, 2, 3, 10, 20}


def test_the_reference_has_every_public_name():
    page = (DOCS / "reference.md").read_text()
    by_module = re.findall(r"automodule:: ([\w.]+)\n   :members:$", page, re.MULTILINE)
    directives = re.findall(r"auto\w+:: ([\w.]+)", page)
    assert len(directives) == len(set(directives))
    named = {name.rpartition(".")[2] for name in directives}
    named |= {name for module in by_module for name in vars(importlib.import_module(module))}
    public = {*dir(camhd_access)} - {"__version__"}
    assert public <= named, sorted(public - named)


@pytest.mark.parametrize("name", ["CamhdAccessor", "MovieReader", "MovieIndex", "ReadPlan", "ReadEstimate"])
def test_the_reference_has_every_method(name):
    page = (DOCS / "reference.md").read_text()
    section = re.search(rf"autoclass:: (?:[\w.]+\.)?{name}\n((?:   .*\n)*)", page)[1]
    assert re.search(r"^   :members:$", section, re.MULTILINE)
    undocumented = [
        member
        for member, value in vars(getattr(camhd_access, name)).items()
        if not member.startswith("_") and callable(value) and not value.__doc__
    ]
    assert not undocumented


PUBLIC = {name: getattr(camhd_access, name) for name in dir(camhd_access)}
WITH_EXAMPLES = sorted({name for name, value in PUBLIC.items() if inspect.isfunction(value)} | {"MovieStore"})
if NEW_PYTHONS_ONLY:
    WITH_EXAMPLES.remove("write_icechunk")


@pytest.mark.parametrize("name", WITH_EXAMPLES)
@pytest.mark.filterwarnings("ignore:.*its clock is:UserWarning")
def test_every_function_has_an_example_that_runs(name, stands_for_ooi):
    (example,) = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name, globs={})
    assert example.examples
    archive = camhd_access.open_archive()
    catalog = archive.catalog("2017-09-03", "2017-09-05", index=True, progress=False)
    write_lists(catalog["url"][:2])
    urls = list(catalog["url"])
    repository = new_repository(urls[0]) if name == "write_icechunk" else None
    names = {each: getattr(camhd_access, each) for each in PUBLIC}
    example.globs = names | {"url": urls[0], "urls": urls, "catalog": catalog, "repository": repository}
    runner = doctest.DocTestRunner()
    output = []
    runner.run(example, out=output.append)
    assert not runner.failures, "".join(output)


def write_lists(urls):
    """A file of go-multimov, and one of go-frameset."""
    listed = {str(i): {"ShortName": url, "NumFrames": 30} for i, url in enumerate(urls)}
    places = [{"Hash": str(i), "FrameOffset": 30 * i} for i in range(2)]
    Path("run.json").write_text(json.dumps({"Version": "0.1", "Movies": listed, "Sequence": places}))
    chunk = {"Name": "seam", "Frames": [30, 31]}
    Path("chosen.json").write_text(json.dumps({"Source": "run.json", "Chunks": [chunk]}))


def new_repository(url):
    """One of Icechunk, in memory, that may read the movies beside one."""
    import icechunk

    folder = url.rpartition("/")[0] + "/"
    config = icechunk.RepositoryConfig.default()
    store = icechunk.http_store({"allow_http": "true"})
    config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(folder, store))
    access = icechunk.containers_credentials({folder: icechunk.credentials.HttpAccess})
    return icechunk.Repository.create(
        icechunk.in_memory_storage(), config, authorize_virtual_chunk_access=access
    )


def test_the_table_of_guides_names_each_of_their_sections():
    table = (DOCS / "howto" / "index.md").read_text()
    for page in sorted(DOCS.glob("howto/*.md")):
        for heading in re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE):
            assert f"]({page.name}#{slug(heading)})" in table


def slug(heading):
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize(
    "page", [PROJECT / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("howto/*.md"))]
)
def test_links_lead_somewhere(page):
    """Sphinx's check of links is switched off because of README."""
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        target = page.parent / path if path else page
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#{1,2} (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), f"{path}#{anchor}"
