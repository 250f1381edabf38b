"""File objects over one version of a remote file."""

from typing import cast

from fsspec.spec import AbstractBufferedFile

from camhd_access.urls import redact_url

__all__ = ["LazyHTTPFile"]


class LazyHTTPFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no annotations
    """A file object; all reads are from the version that was opened."""

    DEFAULT_BLOCK_SIZE = 1 << 20

    def _fetch_range(self, start: int, end: int) -> bytes:
        return cast("bytes", self.fs.cat_file(self.path, start, end, **self.kwargs))

    def __repr__(self) -> str:
        return f"<LazyHTTPFile {redact_url(self.path)}>"

    __str__ = __repr__
