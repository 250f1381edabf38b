"""The documentation: Markdown pages and the docstrings, built with warnings as errors."""

from camhd_access import __version__

project = "camhd_access"
author = "The camhd_access developers"
project_copyright = "2026, the camhd_access developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
suppress_warnings = ["myst.xref_missing"]  # README's links to files beside it

html_theme = "furo"
html_title = f"camhd_access {version}"
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_class_signature = "separated"
napoleon_google_docstring = False
napoleon_use_rtype = False
myst_heading_anchors = 2
