"""Movies and a small archive made on the spot, for demo, tests, notebooks and benchmarks.

No movie of the real archive is small enough to be carried along, so these are filmed when they are needed: a
vent scene (`scene`), a number in each picture (`framenumber`), ProRes by FFmpeg (`encoder`), and QuickTime
files laid out as CamHD's recorder lays them out (`recorder`).
"""

from camhd_access.synthetic.framenumber import read_frame_number
from camhd_access.synthetic.recorder import write_movie, write_sparse_movie
from camhd_access.synthetic.scene import VentScene

__all__ = ["VentScene", "read_frame_number", "write_movie", "write_sparse_movie"]
