"""JSON output for scripts, and progress bars for terminals."""

import json
import sys
from pathlib import Path
from typing import Any

import click

__all__ = ["print_json", "shows_progress"]


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print one JSON document; times are in ISO 8601, UTC."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_to_json))


def _to_json(value: object) -> object:
    import numpy as np

    if isinstance(value, np.datetime64):
        return np.datetime_as_string(value, "us", timezone="UTC")
    if isinstance(value, np.integer | np.floating):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def shows_progress() -> bool:
    """Whether to show progress bars: on terminals, not in logs."""
    return sys.stderr.isatty()
