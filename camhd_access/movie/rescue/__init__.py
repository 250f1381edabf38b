"""The frames of recordings that were cut off before the recorder wrote the index.

::

    walk       from frame to frame through one stretch of a file; pure
    recovery   a whole file, its stretches walked at the same time: what is found, as an index
    sidecar    what was found, kept as a small file

Bytes between the frames (sound, timecode) are passed over; only frames are rescued.
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
