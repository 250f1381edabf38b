"""fsspec file system for byte ranges over HTTP: every answer checked, every fault named, never a whole movie.

::

    answers       pure: what the headers of an answer say, and whether that is what was asked
    listings      pure: a directory listing of Apache or nginx → its entries
    connector     what opens connections, and some ahead to distant hosts
    connections   the pooled connections of one event loop, bounded per host, with counters
    client        one request made good: redirects, retries, deadline, one version of the file
    tasks         coroutines as blocking calls, several at once
    filesystem    the contract of fsspec on top of it
"""

from camhd_access.storage.lazyhttp.connections import TransferStats
from camhd_access.storage.lazyhttp.filesystem import LazyHTTPFile, LazyHTTPFileSystem
from camhd_access.storage.lazyhttp.listings import ListingEntry, parse_listing

__all__ = ["LazyHTTPFile", "LazyHTTPFileSystem", "ListingEntry", "TransferStats", "parse_listing"]
