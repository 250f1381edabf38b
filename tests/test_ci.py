"""Requirements of CI on the tests themselves."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

HOOK = Path(__file__).with_name("conftest.py").read_text()
HOOK = HOOK[HOOK.index("@pytest.hookimpl") : HOOK.index("@pytest.fixture")]


@pytest.mark.parametrize(("ci", "outcomes"), [("", {"skipped": 1}), ("true", {"failed": 1})])
def test_a_missing_server_skips_a_test_but_fails_it_in_ci(pytester, monkeypatch, ci, outcomes):
    monkeypatch.setenv("CI", ci)
    pytester.makeconftest(f"import os\nimport pytest\n{HOOK}")
    pytester.makepyfile("import pytest\ndef test_it(): pytest.skip('no server')")
    result = pytester.runpytest_inprocess("-rs", "-p", "no:cacheprovider")
    result.assert_outcomes(**outcomes)
    result.stdout.fnmatch_lines(["*no server*"])


def test_names_of_test_modules_are_unique():
    """pytest imports test modules by their names alone."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
