"""The Python of the documentation runs as it stands, page by page."""

import re
from pathlib import Path

import pytest

PAGES = [p for p in sorted((Path(__file__).parents[1] / "docs").glob("*.md")) if "```python" in p.read_text()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_snippets_run(page, movie_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"url": movie_url, "folder": str(tmp_path)}
    for snippet in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(snippet, str(page), "exec"), names)  # noqa: S102 - our own pages
