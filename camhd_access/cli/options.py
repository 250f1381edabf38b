"""Kinds of values that several commands take."""

from pathlib import Path

import click

__all__ = ["AT_LEAST_ONE", "PICTURE", "POSITIVE"]

PICTURE = click.Path(dir_okay=False, path_type=Path)
AT_LEAST_ONE = click.IntRange(min=1)
POSITIVE = click.FloatRange(min=0, min_open=True)
