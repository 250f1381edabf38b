"""Text for messages and warnings."""

from collections.abc import Sequence

__all__ = ["MAX_NAMED", "name_some"]

MAX_NAMED = 20
"""Maximum number of movies that a message names."""


def name_some(names: Sequence[str], separator: str = ", ", *, at_most: int = MAX_NAMED) -> str:
    """The names as text, shortened if there are many."""
    more = f", and {len(names) - at_most} more" if len(names) > at_most else ""
    return separator.join(names[:at_most]) + more
