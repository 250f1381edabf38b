"""What commands print beside plain lines: JSON for programs, and progress for people."""

import json
import sys
from pathlib import Path
from typing import Any

import click

__all__ = ["print_json", "shows_progress"]


def print_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    """Print one JSON document; times are in ISO 8601 and UTC."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_to_json))


def _to_json(value: object) -> object:
    import numpy as np

    if isinstance(value, np.datetime64):
        return np.datetime_as_string(value, "us", timezone="UTC")
    if isinstance(value, np.integer | np.floating):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not for JSON")


def shows_progress() -> bool:
    """Whether somebody watches: bars are for terminals, not for logs."""
    return sys.stderr.isatty()
