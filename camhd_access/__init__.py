"""Frames out of enormous movies on a plain web server, without downloading the movies."""

from camhd_access._version import __version__

__all__ = ["__version__"]
