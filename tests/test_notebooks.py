"""Every notebook runs from top to bottom and passes `notebook_checks`; the site lists all of them.

The checks of a notebook are in a file of the same name. Each part starts with `# %%` and the id of a cell,
and runs after that cell in the same kernel (`_` is the output of the cell). So notebooks read like analyses.
With `CAMHD_EXECUTED_NOTEBOOKS`, a folder, the executed ones are kept there for the site (see `docs/conf.py`).
"""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHECKS = Path(__file__).parent / "notebook_checks"


def checks_of(path):
    """Code to run after a cell, by the id of the cell."""
    text = (CHECKS / f"{path.stem}.py").read_text()
    _, *parts = re.split(r"^# %% (.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # zmq's sockets, of the kernel's client
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    checks = checks_of(path)
    assert set(checks) <= {cell.id for cell in notebook.cells if cell.cell_type == "code"}
    assert sum(code.count("assert ") for code in checks.values()) >= 5
    cells = notebook.cells
    notebook.cells = [
        each
        for cell in cells
        for each in (cell, *(nbformat.v4.new_code_cell(c) for c in [checks.get(cell.id)] if c))
    ]
    client = NotebookClient(notebook, timeout=540, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    stderr = [o for c in notebook.cells for o in c.get("outputs", []) if o.get("name") == "stderr"]
    assert not stderr, stderr
    if folder := os.environ.get("CAMHD_EXECUTED_NOTEBOOKS"):
        notebook.cells = cells
        nbformat.write(notebook, Path(folder, path.name))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_reads_like_an_analysis(path):
    notebook = nbformat.read(path, as_version=4)
    assert "**With the real archive**" in notebook.cells[0].source
    assert not any(re.search(r"^\s*assert\b", cell.source, re.MULTILINE) for cell in notebook.cells)
    assert not any(cell.get("outputs") for cell in notebook.cells), "kept without outputs"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_on_the_site(path):
    page = (ROOT / "docs" / "notebooks.md").read_text()
    title = nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
    assert f"{{doc}}`{title} <notebooks/{path.stem}>`" in page
    assert f"\nnotebooks/{path.stem}\n" in page
