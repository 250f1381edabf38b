"""Byte ranges kept on disk: fetched once, read by every process of the machine, dropped when the file
changes.

`RangeCacheFileSystem` (protocol `lazy::`) reads through any other fsspec filesystem and keeps what came in a
`CacheFolder`. Three rules make the folder safe to share, without a server and without an index to damage:

- **A block is a file of its own, and its name says all**: first byte, one past the last byte, checksum. It is
  written to a temporary name and renamed, never changed afterwards, and checked at each reading. What does
  not check is deleted and fetched again.
- **Blocks hold exactly what was asked**, not aligned pieces, so that no byte is fetched that nobody wanted.
  They lie under a folder named by the file's address and version: bytes of two versions cannot meet.
- **The kernel keeps the locks**, and releases them when a process dies. No lock is waited for without an end:
  who waits too long fetches for itself.

Trouble with the folder (full, read-only, deleted, damaged) costs a line in the log and the speed, never a
read.

::

    blocks      stretches of bytes in files named by what they hold
    locks       who is fetching what
    quota       how much is kept, and what goes first
    folder      all of these as one folder, for readers and for those who care for it
    loader      ranges from wherever they are: another task, the folder, the filesystem behind
    overlay     local copies in place of remote files
    knowledge   which version of a file a session reads, and how it finds out
    filesystem  the contract of fsspec on top of it
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
