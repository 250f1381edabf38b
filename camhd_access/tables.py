"""Values as notebooks show them: a title, and a table of names and texts."""

from collections.abc import Mapping
from html import escape

__all__ = ["write_table"]


def write_table(title: str, rows: Mapping[str, str]) -> str:
    """The HTML of a table."""
    lines = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for name, text in rows.items()
    )
    return f"<div><strong>{escape(title)}</strong><table>{lines}</table></div>"
