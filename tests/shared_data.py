"""The real data next to the project, and the outcome of a test if they are missing."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"


def shared_data(*parts):
    """Path of a shared file or folder; skips the test (which fails it where `CI` is set) without it."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {path}, which is not here")
    return path
