"""HTML tables for notebooks: a title, and rows of names and values."""

from collections.abc import Mapping
from html import escape

__all__ = ["write_table"]


def write_table(title: str, rows: Mapping[str, str]) -> str:
    """An HTML table with a title and one row per name."""
    lines = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for name, text in rows.items()
    )
    return f"<div><strong>{escape(title)}</strong><table>{lines}</table></div>"
