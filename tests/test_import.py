"""Importing the package, its help and its completions load no library before it is used."""

import os
import subprocess
import sys

import pytest

import camhd_access
import camhd_access.archive

HEAVY = "pandas", "dask", "xarray", "av", "aiohttp", "matplotlib", "numpy", "fsspec", "PIL", "numba", "zarr"


def run(code, *args):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *args], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


LOADED = f"import sys; print(*({HEAVY!r} and [m for m in {HEAVY!r} if m in sys.modules]), len(sys.modules))"


def test_importing_the_package_loads_nothing_heavy():
    (bare,) = run(LOADED)
    (loaded,) = run(f"import camhd_access; {LOADED}")
    assert int(loaded) - int(bare) <= 40


def test_every_public_name_is_loaded_when_it_is_used_and_no_other_is_offered():
    names = run("import camhd_access; print(*dir(camhd_access))")
    assert set(names) == {
        *camhd_access.__all__,
        "MovieStore",
        "serve",
        "write_icechunk",
        "write_references",
        "write_samples",
    }
    used = run("import camhd_access as c; print(*(n for n in dir(c) if getattr(c, n) is not None))")
    assert used == names


def test_the_archive_offers_its_public_names_alone():
    program = "import camhd_access.archive as a; names = dir(a); print(*(n for n in names if getattr(a, n)))"
    assert run(program) == sorted(camhd_access.archive.__all__)


def test_errors_can_be_caught_without_loading_anything():
    assert len(run(f"import camhd_access; camhd_access.CamhdError; {LOADED}")) == 1


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'open_film'"):
        camhd_access.open_film  # noqa: B018 - the error is what is looked at


@pytest.mark.parametrize(
    "imports",
    [
        "import camhd_access; import xarray",
        "import xarray; import camhd_access",
        "import camhd_access.storage.lazyhttp; import dask.array; import xarray",
        "from camhd_access import open_movie; import xarray",
    ],
)
def test_arrays_made_elsewhere_have_the_accessor_in_whatever_order_things_are_imported(imports):
    code = "a = xarray.DataArray([[0.5]], dims=('y', 'x')); print(*(type(x).__name__ for x in"
    assert run(f"{imports}; {code} (a.camhd, xarray.__loader__)))") == ["CamhdAccessor", "SourceFileLoader"]


def test_the_server_loads_no_libraries_of_arrays():
    """They are more than half of the memory of a process, and of the time until it answers."""
    loaded = run(f"import camhd_access.server.application; {LOADED}")
    assert not {"pandas", "dask", "xarray", "matplotlib", "numba", "zarr"}.intersection(loaded)


def test_xarray_is_not_loaded_by_waiting_for_it():
    assert run("import camhd_access, sys; print('xarray' in sys.modules)") == ["False"]


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["--help"], None),
        (["--version"], None),
        (["frame", "--help"], None),
        ([], ("camhd fr", 1)),
        ([], ("camhd timelapse --", 2)),
        ([], ("camhd catalog --", 2)),
    ],
)
def test_help_and_completions_load_little(arguments, asked):
    code = f"""
import sys, atexit
heavy = {HEAVY!r}
tell = lambda: print("loaded", *(m for m in heavy if m in sys.modules), len(sys.modules), file=sys.stderr)
atexit.register(tell)
from camhd_access.cli import main
main({arguments!r}, prog_name="camhd")
"""
    environment = os.environ | {"NO_COLOR": "1"}
    if asked:
        environment |= {
            "_CAMHD_COMPLETE": "bash_complete",
            "COMP_WORDS": asked[0],
            "COMP_CWORD": str(asked[1]),
        }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout
    _, *heavy, loaded = done.stderr.split()
    assert not heavy
    (click,) = run("import click, sys; print(len(sys.modules))")
    assert int(loaded) <= int(click) + 40
