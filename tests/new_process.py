"""Simulate continuing a test in a new process."""

from camhd_access.caching import LRUCache
from camhd_access.movie import index_cache
from camhd_access.storage.lazyhttp import LazyHTTPFileSystem
from camhd_access.storage.rangecache import RangeCacheFileSystem


def forget_open_movies():
    """No movie is open."""
    index_cache._open_movies = LRUCache(index_cache.MAX_INDEXES_KEPT)


def forget_everything():
    """No movie is open, and no filesystem knows a file."""
    forget_open_movies()
    LazyHTTPFileSystem.clear_instance_cache()
    RangeCacheFileSystem.clear_instance_cache()
