"""The package: metadata, extras, environment.yml, and the contents of the wheel and the sdist."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import fsspec
import xarray as xr
import yaml

import camhd_access
from camhd_access.arrays.open_movie import CamhdBackendEntrypoint
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
from camhd_access.storage.rangecache import RangeCacheFileSystem

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

CONDA_NAMES = {
    "dask": "dask-core",
    "matplotlib": "matplotlib-base",
    "opencv-python-headless": "py-opencv",
    "playwright": "playwright-python",
    "prometheus-client": "prometheus_client",
    "universal-pathlib": "universal_pathlib",
}
"""Packages that conda-forge names differently or splits."""
BY_PIP = {"iiif-validator>=1.0.5", "kubernetes-validate>=1.37"}
"""Requirements of tests that pip installs in a conda environment."""


def conda_requirement(requirement):
    name, bound = re.fullmatch(r"([\w-]+)(?:\[\w+\])?([^;]*)(?:;.*)?", requirement).groups()
    return CONDA_NAMES.get(name, name) + bound


def test_environment_mirrors_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    extras = PROJECT["optional-dependencies"]
    used = [
        extras[name]
        for name in ("azure", "icechunk", "notebook", "parquet", "s3", "science", "server", "zarr", "test")
    ]
    wanted = [*PROJECT["dependencies"], *(requirement for extra in used for requirement in extra)]
    expected = {conda_requirement(r) for r in wanted if not r.startswith("camhd_access")}
    listed = {item for item in environment["dependencies"] if isinstance(item, str)}
    assert listed == expected - BY_PIP | {f"python{PROJECT['requires-python']}", "pip"}
    (by_pip,) = (item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    assert set(by_pip) == BY_PIP & expected | {"--editable ."}


def test_one_version_everywhere():
    assert version("camhd_access") == camhd_access.__version__
    assert f"version: {camhd_access.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_entry_points_lead_to_the_classes():
    assert fsspec.get_filesystem_class("lazyhttp") is LazyHTTPFileSystem
    assert fsspec.get_filesystem_class("lazyhttps") is LazyHTTPFileSystem
    assert fsspec.get_filesystem_class("lazy") is RangeCacheFileSystem
    assert isinstance(xr.backends.list_engines()["camhd"], CamhdBackendEntrypoint)
    (command,) = entry_points(group="console_scripts", name="camhd")
    assert command.load().name == "main"


def test_public_names_are_there_and_documented():
    for name in camhd_access.__all__:
        assert getattr(camhd_access, name).__doc__


def test_module_and_command_are_the_same():
    run = subprocess.run(
        [sys.executable, "-m", "camhd_access.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert run.stdout == f"camhd, version {camhd_access.__version__}\n"


def test_readme_mentions_only_files_that_are_there():
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(
            r"\]\((?!http)([^)#]+)\)|`((?:notebooks|tests|docs)/[\w./]+)`", (ROOT / name).read_text()
        ):
            assert (ROOT / "".join(target)).exists(), target
