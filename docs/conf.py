"""The documentation: Markdown pages, notebooks and the docstrings, built with warnings as errors."""

from pathlib import Path

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


def _keep_outputs_in_the_build_folder(app: Sphinx) -> None:
    """myst_nb would write them beside it, where the next build finds them as sources."""
    folder = Path(app.outdir, "_outputs")
    app.env.mystnb_config = app.env.mystnb_config.copy(output_folder=str(folder))
