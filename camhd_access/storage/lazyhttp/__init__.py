"""fsspec file system for byte ranges over HTTP: every answer checked, every fault named, never a whole movie.

::

    settings      how to deal with servers, and what they are told of who asks
    environment   proxies, logins and certificates that the environment names
    answers       pure: what the headers of an answer say, and whether that is what was asked
    versions      pure: which version of a file an answer is about
    listings      pure: a directory listing of Apache or nginx → its entries
    connector     what opens connections, and some ahead to distant hosts
    connections   the pooled connections of one event loop, bounded per host, with counters
    exchanges     one request and its answer: proxy, redirects, credentials
    client        one request made good: parts, retries, deadline, one version of the file
    tasks         coroutines as blocking calls, several at once
    files         a file object
    filesystem    the contract of fsspec on top of it
"""

from camhd_access.storage.lazyhttp.connections import TransferStats
from camhd_access.storage.lazyhttp.files import LazyHTTPFile
from camhd_access.storage.lazyhttp.filesystem import LazyHTTPFileSystem
from camhd_access.storage.lazyhttp.listings import ListingEntry, parse_listing

__all__ = ["LazyHTTPFile", "LazyHTTPFileSystem", "ListingEntry", "TransferStats", "parse_listing"]
