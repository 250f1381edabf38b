"""Warnings about movies with uncertain start times."""

import warnings
from collections.abc import Mapping

from camhd_access.formats.names import StartTime

__all__ = ["MAX_NAMED", "name_some", "warn_of_clocks"]

MAX_NAMED = 20
"""Maximum number of movies that a message names."""


def warn_of_clocks(starts: Mapping[str, StartTime], *, stacklevel: int = 3) -> None:
    """Warn about movies whose clock and name differ by more than a minute."""
    doubtful = {name: start for name, start in starts.items() if start.doubt}
    if not doubtful:
        return
    told = [
        f"{name}: {start.doubt}; times are from its {'clock' if start.source == 'mvhd' else 'name'}"
        for name, start in doubtful.items()
    ]
    warnings.warn(
        f"{name_some(told, '; ')} (choose with clock='name' or clock='mvhd'; "
        "see the coordinate time_uncertainty_seconds)",
        stacklevel=stacklevel,
    )


def name_some(names: list[str], separator: str = ", ") -> str:
    """The names as text, shortened if there are many."""
    more = f", and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return separator.join(names[:MAX_NAMED]) + more
