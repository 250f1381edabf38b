"""What is released: an sdist with all that its tests need, a wheel with the package alone, a conda recipe."""

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
import yaml
from test_packaging import PROJECT, ROOT, conda_requirement

import camhd_access

SOURCES = (
    *("camhd_access", "tests", "docs", "notebooks", "benchmarks", "deploy", ".github"),
    *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff"),
    *("Makefile", "Dockerfile", "compose.yaml", "environment.yml"),
)
MADE = ("__pycache__", "_build", ".cache", ".ipynb_checkpoints", "jupyter_execute")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist and the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", folder]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return folder


@pytest.fixture(scope="module")
def metadata(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())


def test_the_sdist_has_every_file_of_the_project(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        file.relative_to(ROOT).as_posix()
        for source in SOURCES
        for file in [ROOT / source, *(ROOT / source).rglob("*")]
        if file.is_file() and not set(MADE).intersection(file.parts)
    }
    assert wanted
    assert not wanted - names
    assert all((ROOT / source).exists() for source in SOURCES)


def test_the_wheel_has_the_package_alone(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names} == {
        "camhd_access",
        f"camhd_access-{camhd_access.__version__}.dist-info",
    }
    package = Path(camhd_access.__file__).parent
    files = {
        f"camhd_access/{file.relative_to(package).as_posix()}"
        for file in package.rglob("*")
        if file.is_file() and not set(MADE).intersection(file.parts)
    }
    assert files == {name for name in names if name.startswith("camhd_access/")}


def test_the_wheel_alone_does_the_main_job(built, movie_path, tmp_path):
    """Run in another folder, so that the checkout is not found; dependencies are installed already."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")  # noqa: S202 - our own
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import camhd_access; "
        f"assert camhd_access.__file__.startswith({str(tmp_path)!r}); from camhd_access.cli import main; "
        f"sys.argv = ['camhd', 'frame', {str(movie_path)!r}, '--frame', '3', '--output', 'frame.png']; main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "frame.png").read_bytes().startswith(b"\x89PNG")


def test_what_the_index_shows(metadata):
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["License-Expression"] == "MIT"
    assert {"azure", "gcs", "icechunk", "science", "all"} <= set(metadata.get_all("Provides-Extra"))
    urls = dict(each.split(", ") for each in metadata.get_all("Project-URL"))
    assert set(urls) == {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    assert all(url.startswith("https://") for url in urls.values())


def test_the_extra_all_has_all_but_the_tools_of_development():
    extras = PROJECT["optional-dependencies"]
    wanted = sorted(set(extras) - {"all", "bench", "docs", "lint", "test"})
    assert extras["all"] == [f"camhd_access[{','.join(wanted)}]"]


def test_the_conda_recipe_says_the_same():
    recipe = yaml.safe_load((ROOT / "deploy/conda/recipe.yaml").read_text())
    context = recipe["context"]
    assert context["name"] == PROJECT["name"]
    assert context["version"] == camhd_access.__version__
    assert PROJECT["requires-python"] == f">={context['python_min']}"
    python, *run = recipe["requirements"]["run"]
    assert python == "python >=${{ python_min }}"
    assert {r.replace(" ", "") for r in run} == {
        conda_requirement(r).strip() for r in PROJECT["dependencies"]
    }
    commands = (f"{name} = {place}" for name, place in PROJECT["scripts"].items())
    assert recipe["build"]["python"]["entry_points"] == list(commands)
    about = recipe["about"]
    assert about["license"] == PROJECT["license"]
    assert about["summary"] == PROJECT["description"]
    assert about["repository"] == PROJECT["urls"]["Source"]


@pytest.mark.parametrize("place", ["docs", "camhd_access", "README.md"])
def test_install_lines_name_extras_that_there_are(place):
    path = ROOT / place
    found = 0
    for file in [path] if path.is_file() else [*path.rglob("*.md"), *path.rglob("*.py")]:
        for part in file.read_text().split("camhd_access[")[1:]:
            found += 1
            assert set(part.partition("]")[0].split(",")) <= set(PROJECT["optional-dependencies"]), file
    assert found or place == "README.md"


# ---- what the forge runs


WORKFLOWS = {path.name: path.read_text() for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}


@pytest.mark.parametrize("text", WORKFLOWS.values(), ids=WORKFLOWS)
def test_actions_are_pinned_and_may_do_the_least(text):
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    for action in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+){1,2}", action), action
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 90
        assert name in ("publish", "image") or "permissions" not in job
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"] == {"persist-credentials": False}
            assert "${{" not in step.get("run", ""), "what is interpolated there can run code"


def test_the_matrix_has_every_python_that_is_declared():
    declared = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if ":: 3." in each]
    matrix = yaml.safe_load(WORKFLOWS["ci.yml"])["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == declared
    assert matrix["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]


def test_make_targets_and_files_of_workflows_are_there():
    makefile = (ROOT / "Makefile").read_text()
    for text in WORKFLOWS.values():
        for target in re.findall(r"make ([\w-]+)", text):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE)
        for path in re.findall(r"(?:\./)?(\.github/[\w./]+|\.ci/\w+)", text):
            assert path == ".ci/run" or (ROOT / path).exists()


def test_no_permission_to_publish_but_for_the_jobs_that_do():
    jobs = yaml.safe_load(WORKFLOWS["release.yml"])["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["image"]["permissions"] == {"contents": "read", "packages": "write"}
    assert "linux/amd64,linux/arm64" in WORKFLOWS["release.yml"]


@pytest.mark.parametrize("name", [".zenodo.json", "docs/paper/codemeta.json"])
def test_records_of_the_software_say_the_same(name):
    record = json.loads((ROOT / name).read_text())
    assert record["version"] == camhd_access.__version__
    assert "MIT" in record["license"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert record["description"] == " ".join(citation["abstract"].split())
    assert record["keywords"] == citation["keywords"]


def test_forms_for_issues_are_whole():
    forms = [path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    assert forms
    for path in forms:
        form = yaml.safe_load(path.read_text())
        assert {"name", "description", "body"} <= set(form)
        assert len({field["id"] for field in form["body"]}) == len(form["body"])
