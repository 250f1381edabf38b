"""Disk cache for byte ranges: fetched once, shared by all processes of the machine, dropped when the file
changes.

`RangeCacheFileSystem` (protocol `lazy::`) reads through any other fsspec filesystem and keeps the bytes in a
`CacheFolder`. Three rules make the folder safe to share, without a server and without an index to damage:

- **A block is a separate file, described by its name**: first byte, one past the last byte, checksum. It is
  written to a temporary name and renamed, never changed afterwards, and checked at each read. Blocks that
  fail the check are deleted and fetched again.
- **Blocks hold exactly the requested bytes**, not aligned pieces, so that no unwanted byte is fetched.
  They are in a folder named after the file's address and version: bytes of two versions cannot mix.
- **Locks are kernel locks**, released when a process dies. Waiting for a lock has a time limit; after that,
  the process fetches for itself.

Problems with the folder (full, read-only, deleted, damaged) cost a log message and speed, but never fail a
read.

::

    settings    where the cache is, its size and permissions
    identity    the cache key of a remote file: address without secrets, and login
    blocks      stretches of bytes in files named by their content
    locks       locks on the ranges that are being fetched
    quota       total size, and eviction
    folder      all of these as one folder, for readers and for maintenance
    loader      ranges from wherever they are: another task, the folder, the filesystem behind
    overlay     local copies in place of remote files
    versions    the version of each file that a session reads
    filesystem  the fsspec interface
"""

from camhd_access.storage.rangecache.filesystem import RangeCacheFileSystem
from camhd_access.storage.rangecache.folder import CacheFolder, CacheInfo, VerifyReport
from camhd_access.storage.rangecache.loader import CacheStats
from camhd_access.storage.rangecache.settings import default_cache_dir, default_max_bytes, parse_size

__all__ = [
    "CacheFolder",
    "CacheInfo",
    "CacheStats",
    "RangeCacheFileSystem",
    "VerifyReport",
    "default_cache_dir",
    "default_max_bytes",
    "parse_size",
]
