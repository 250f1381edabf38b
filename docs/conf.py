"""The documentation: Markdown pages, notebooks and the docstrings, built with warnings as errors.

Notebooks are executed, unless the tests have done so just before: `CAMHD_EXECUTED_NOTEBOOKS` names the folder
where they kept them with their outputs.
"""

import json
import os
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from camhd_access import __version__

project = "camhd_access"
author = "The camhd_access developers"
project_copyright = "2026, the camhd_access developers"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "paper"]
suppress_warnings = ["myst.xref_missing"]  # links in README to files next to it

nb_execution_mode = (
    "force"  # notebooks are stored without outputs: the site shows the results of the current code
)
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 170
nb_ipywidgets_js = {}  # widgets need a running kernel; no scripts are loaded from other sites
nb_merge_streams = True

html_theme = "furo"
html_title = f"camhd_access {version}"
html_static_path = ["notebooks.css"]
html_css_files = ["notebooks.css"]
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_class_signature = "separated"
napoleon_google_docstring = False
napoleon_use_rtype = False
myst_heading_anchors = 2


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", _keep_outputs_in_the_build_folder, priority=900)
    app.connect("source-read", _take_outputs_of_the_tests)


def _take_outputs_of_the_tests(app: Sphinx, name: str, content: list[str]) -> None:  # noqa: ARG001 - Sphinx's
    """Take a notebook with the outputs from the tests, if there is one with the same cells."""
    folder = os.environ.get("CAMHD_EXECUTED_NOTEBOOKS", "")
    path = Path(folder, f"{Path(name).name}.ipynb")
    if not (folder and name.startswith("notebooks/") and path.exists()):
        return
    executed = json.loads(path.read_text())
    if _sources_of(executed) == _sources_of(json.loads(content[0])):
        executed["metadata"]["mystnb"] = {"execution_mode": "off"}
        content[0] = json.dumps(executed)


def _sources_of(notebook: dict[str, Any]) -> list[str]:
    return ["".join(cell["source"]) for cell in notebook["cells"]]


def _keep_outputs_in_the_build_folder(app: Sphinx) -> None:
    """myst_nb would write them beside it, where the next build finds them as sources."""
    folder = Path(app.outdir, "_outputs")
    app.env.mystnb_config = app.env.mystnb_config.copy(output_folder=str(folder))
