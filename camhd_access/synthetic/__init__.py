"""Synthetic movies and a small archive, generated for the demo, tests, notebooks and benchmarks.

No movie of the real archive is small enough to ship, so these are generated when needed:
the scenery (`world`), the camera (`scene`), a number in each frame (`framenumber`), ProRes by
FFmpeg (`encoder`), QuickTime files with the layout of CamHD's recorder (`atoms`, `recorder`), and a
folder of such movies (`archive`) with a small web server that imitates the real one (`httpd`).
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
