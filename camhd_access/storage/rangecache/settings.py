"""Default location, size and permissions of the cache.

An argument takes precedence over fsspec's configuration (section `lazy`), then the environment, then the
platform's convention. The environment is read when a filesystem is created, so that a worker on another
machine uses its own.
"""

import errno
import os
import re
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "Permissions",
    "check_ours",
    "default_cache_dir",
    "default_max_bytes",
    "default_permissions",
    "fallback_dir",
    "open_kept",
    "parse_size",
]

_MAX_BYTES = 10 << 30

_SIZE = re.compile(r"\s*(-?\d+(?:\.\d*)?(?:e\d{1,2})?)\s*(?:([kmgtp])(i?))?b?\s*", re.ASCII | re.IGNORECASE)
"""A number, and a unit: "20 GiB", "500MB", "2g", "1e9"."""


def default_cache_dir() -> Path:
    """The folder named by `CAMHD_CACHE_DIR`, else `camhd_access` in the user's cache folder.

    Notes
    -----
    That is `$XDG_CACHE_HOME` or `~/.cache` (XDG Base Directory Specification), on macOS `~/Library/Caches`;
    a folder for temporary files if the user has no home, and the folder is theirs alone (see `check_ours`).
    """
    if named := os.environ.get("CAMHD_CACHE_DIR"):
        return Path(named).expanduser()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute() and sys.platform != "darwin":  # the specification says to ignore relative paths
        return xdg / "camhd_access"
    try:
        home = Path.home()
    except RuntimeError:  # a container user without a name
        return fallback_dir()
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "camhd_access"


def fallback_dir() -> Path:
    """The cache folder of a user without a home directory, in the folder for temporary files."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"camhd_access-{user}"


def check_ours(path: Path) -> None:
    """Raise for a folder in a shared temporary directory that others have created or may write to.

    Raises
    ------
    PermissionError
        It is a link, of another user, or writable by others, so its content cannot be trusted.
    """
    if path != fallback_dir() or not hasattr(os, "getuid"):
        return
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(
            errno.EPERM, "does not belong to you alone; set CAMHD_CACHE_DIR to a folder that does", str(path)
        )


def open_kept(path: Path, mode: int) -> int:
    """Open, or create, a file that all users of the folder write to; returns the descriptor."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, mode)
    if mode & 0o077:  # which the umask removed when it was created
        with suppress(OSError):  # belongs to another user
            path.chmod(mode)
    return fd


class Permissions(NamedTuple):
    """Permissions of cached files."""

    folder: int
    """Mode of folders."""
    file: int
    """Mode of files."""


_PRIVATE = Permissions(0o700, 0o600)
_SHARED = Permissions(0o2770, 0o660)  # files in a folder belong to its group


def default_permissions() -> Permissions:
    """For the user alone; for the group if `CAMHD_CACHE_SHARED` is 1, whatever the umask."""
    return _SHARED if os.environ.get("CAMHD_CACHE_SHARED", "").lower() in {"1", "true", "yes"} else _PRIVATE


def default_max_bytes() -> int:
    """Bytes given by `CAMHD_CACHE_SIZE` ("20 GiB", "500MB", "1000000"), else 10 GiB."""
    try:
        return parse_size(os.environ.get("CAMHD_CACHE_SIZE") or _MAX_BYTES)
    except ValueError as error:
        raise ValueError(f"CAMHD_CACHE_SIZE: {error}") from error


def parse_size(size: int | str) -> int:
    """Bytes in `size`, a number of bytes or text with a unit.

    Raises
    ------
    ValueError
        The text is not a valid size, or the size is negative.
    """
    match = _SIZE.fullmatch(str(size))
    if match is None:
        raise ValueError(f"{size!r} is not a valid size; try '2 GiB'")
    number, prefix, binary = match.groups()
    power = "kmgtp".index(prefix.lower()) + 1 if prefix else 0
    n_bytes = int(float(number) * (1024 if binary else 1000) ** power)
    if n_bytes < 0:
        raise ValueError(f"the cache size must not be negative, but is {size} bytes")
    return n_bytes
