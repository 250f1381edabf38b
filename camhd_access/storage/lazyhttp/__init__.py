"""fsspec file system for byte ranges over HTTP: responses checked, errors specific, no full downloads.

::

    settings      limits, time-outs, retries and credentials
    environment   proxies, logins and certificates from the environment
    answers       pure: checks the headers of a response against the request
    versions      pure: which version of a file a response belongs to
    listings      pure: a directory listing of Apache or nginx → its entries
    connector     opens connections, several in advance to distant hosts
    connections   the pooled connections of one event loop, bounded per host, with counters
    exchanges     one request and its response: proxy, redirects, credentials
    bodies        the body of a response, received in few steps
    client        one request until it succeeds: parts, retries, deadline, one version of the file
    tasks         runs coroutines as blocking calls
    files         file objects
    filesystem    the fsspec interface
"""

from camhd_access.storage.lazyhttp.connections import TransferStats
from camhd_access.storage.lazyhttp.files import LazyHTTPFile
from camhd_access.storage.lazyhttp.filesystem import LazyHTTPFileSystem
from camhd_access.storage.lazyhttp.listings import ListingEntry, parse_listing

__all__ = ["LazyHTTPFile", "LazyHTTPFileSystem", "ListingEntry", "TransferStats", "parse_listing"]
