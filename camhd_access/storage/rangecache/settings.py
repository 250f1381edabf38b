"""Where the cache lies and how large it may grow, when nobody said so in the call.

An argument wins over fsspec's configuration (section `lazy`), that over the environment, that over the
platform's convention. The environment is read when a filesystem is made, so that a worker on another
machine follows its own.
"""

import os
import sys
import tempfile
from pathlib import Path

from dask.utils import parse_bytes

__all__ = ["default_cache_dir", "default_max_bytes", "parse_size"]

_MAX_BYTES = 10 << 30


def default_cache_dir() -> Path:
    """The folder named by `CAMHD_CACHE_DIR`, else `camhd_access` in the user's cache folder.

    Notes
    -----
    That is `$XDG_CACHE_HOME` or `~/.cache` (XDG Base Directory Specification), on macOS `~/Library/Caches`;
    a folder for temporary files where the user has no home.
    """
    if named := os.environ.get("CAMHD_CACHE_DIR"):
        return Path(named).expanduser()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute() and sys.platform != "darwin":  # the specification wants relative paths ignored
        return xdg / "camhd_access"
    try:
        home = Path.home()
    except RuntimeError:  # a container that runs under a number without a name
        return Path(tempfile.gettempdir()) / f"camhd_access-{os.getuid()}"
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "camhd_access"


def default_max_bytes() -> int:
    """Bytes named by `CAMHD_CACHE_SIZE` ("20 GiB", "500MB", "1000000"), else 10 GiB."""
    try:
        return parse_size(os.environ.get("CAMHD_CACHE_SIZE") or _MAX_BYTES)
    except ValueError as error:
        raise ValueError(f"CAMHD_CACHE_SIZE: {error}") from error


def parse_size(size: int | str) -> int:
    """Bytes in `size`, a number of bytes or text with a unit.

    Raises
    ------
    ValueError
        Text that is no size, or a size below 0.
    """
    try:
        n_bytes = int(parse_bytes(size))
    except ValueError as error:
        raise ValueError(f"{size!r} is no size; try '2 GiB'") from error
    if n_bytes < 0:
        raise ValueError(f"a cache cannot have {size} bytes")
    return n_bytes
