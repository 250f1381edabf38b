"""Modules that are collected only on those Pythons for which what they test is released."""

import sys

collect_ignore = [] if sys.version_info >= (3, 12) else ["test_zarr_neighbours.py"]
