"""Frames of truncated recordings, which have no index.

::

    walk       from frame to frame through one segment of a file; pure
    recovery   a whole file, its segments walked in parallel, to a rebuilt index
    sidecar    the rebuilt index as a small file

Bytes between the frames (sound, timecode) are skipped; only frames are recovered.
"""

from camhd_access.movie.rescue.recovery import Recovery, recover_index
from camhd_access.movie.rescue.sidecar import keep_recovery, load_recovery, read_sidecar, write_sidecar

__all__ = [
    "Recovery",
    "keep_recovery",
    "load_recovery",
    "read_sidecar",
    "recover_index",
    "write_sidecar",
]
