"""Collection of test modules only on Python versions for which the tested library is released."""

import sys

collect_ignore = [] if sys.version_info >= (3, 12) else ["test_zarr_neighbours.py"]
