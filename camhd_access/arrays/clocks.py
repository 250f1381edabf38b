"""What is said of movies whose times are in doubt."""

import warnings
from collections.abc import Mapping

from camhd_access.formats.names import StartTime

__all__ = ["MAX_NAMED", "name_some", "warn_of_clocks"]

MAX_NAMED = 20
"""Movies that a message names before it says how many more there are."""


def warn_of_clocks(starts: Mapping[str, StartTime], *, stacklevel: int = 3) -> None:
    """Warn of the movies, by name, whose clock and name lie more than a minute apart."""
    doubtful = {name: start for name, start in starts.items() if start.doubt}
    if not doubtful:
        return
    told = [
        f"{name}: {start.doubt}; times are by its {'clock' if start.source == 'mvhd' else 'name'}"
        for name, start in doubtful.items()
    ]
    warnings.warn(
        f"{name_some(told, '; ')} (clock='name' or clock='mvhd' chooses, "
        "and the coordinate time_uncertainty_seconds tells the doubt)",
        stacklevel=stacklevel,
    )


def name_some(names: list[str], separator: str = ", ") -> str:
    """The names as text; of many, the first."""
    more = f", and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return separator.join(names[:MAX_NAMED]) + more
