"""The architecture: layers of imports, libraries per package, and the size of modules."""

import ast
from pathlib import Path

import pytest

import camhd_access

PACKAGE = Path(camhd_access.__file__).parent

LAYERS = [
    {
        "errors",
        "_version",
        "caching",
        "ending",
        "memory",
        "messages",
        "ranges",
        "stopping",
        "tables",
        "times",
        "urls",
    },
    {"formats"},
    {"storage"},
    {"decoding"},
    {"movie"},
    {"arrays", "archive", "synthetic"},
    {"output"},
    {"server", "surveys", "_accessor"},
    {"cli"},
]
"""Nine layers, from the bottom up: a package imports only from lower layers, not from its own."""

ENTRY_POINTS = {"__init__", "__main__"}
"""Modules above all layers: the package itself, and `python -m camhd_access`."""

ALLOWED = {
    "av": {
        "decoding/libav",
        "output/film_writers",
        "output/segments",
        "synthetic/encoder",
        "synthetic/recorder",
    },
    "aiohttp": {"storage/lazyhttp", "server"},
    "xarray": {"_accessor", "arrays", "archive", "output", "surveys", "cli"},
    "click": {"cli"},
    "numba": {"decoding/kernels"},
    "llvmlite": {"decoding/kernels", "decoding/machine_code"},
    "matplotlib": {"output/figures", "output/accessor", "cli/demo"},
    "PIL": {"cli", "output", "server"},
    "ipywidgets": {"output/viewer"},
    "prometheus_client": {"server"},
    "zarr": {"arrays/zarr"},
    "icechunk": {"arrays/zarr"},
    "virtualizarr": {"arrays/zarr"},
}
"""The only packages or modules that may import these libraries."""

FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            if node.module == "camhd_access":
                yield from (f"camhd_access.{alias.name}" for alias in node.names)
            else:
                yield node.module


def rank(module):
    return next(i for i, layer in enumerate(LAYERS) if module in layer)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    module = module_of(path)
    if module in ENTRY_POINTS:
        return
    for name in imports_of(path):
        top, *inner = name.split(".")
        if top == "camhd_access":
            assert inner[0] == module or rank(inner[0]) < rank(module), f"{module} imports {inner[0]}"
        elif top in ALLOWED:
            place = path.relative_to(PACKAGE).with_suffix("").as_posix()
            assert any(f"{place}/".startswith(f"{each}/") for each in ALLOWED[top]), f"{place} imports {top}"


def test_every_module_is_in_the_list():
    assert {module_of(path) for path in FILES} == ENTRY_POINTS.union(*LAYERS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_readable(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 450
    assert ast.get_docstring(ast.parse(text))
