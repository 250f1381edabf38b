"""Movies and a small archive made on the spot, for demo, tests, notebooks and benchmarks.

No movie of the real archive is small enough to be carried along, so these are filmed when they are needed:
what there is to see (`world`), the camera (`scene`), a number in each picture (`framenumber`), ProRes by
FFmpeg (`encoder`), QuickTime files laid out as CamHD's recorder lays them out (`atoms`, `recorder`), and a
folder of such movies (`archive`) that a small web server shows as the real one is shown (`httpd`).
"""

from camhd_access.synthetic.archive import SyntheticMovie, write_archive
from camhd_access.synthetic.framenumber import read_frame_number
from camhd_access.synthetic.httpd import FolderServer, serve_folder
from camhd_access.synthetic.recorder import write_movie, write_sparse_movie
from camhd_access.synthetic.scene import VentScene

__all__ = [
    "FolderServer",
    "SyntheticMovie",
    "VentScene",
    "read_frame_number",
    "serve_folder",
    "write_archive",
    "write_movie",
    "write_sparse_movie",
]
