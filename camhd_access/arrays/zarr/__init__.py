"""Movies as Zarr: the samples of a movie are the chunks of an array, ProRes is its codec.

Nothing is decoded to be stored. The same array (version 3 of the format, see `hierarchy`) is had in three
ways: made up from the index of a movie while it is read (`MovieStore`), as a file of references into movies
that stay where they are (`write_references`), and as copies of some samples in a store of any kind
(`write_samples`). Whoever has the codec reads all three with nothing but Zarr. What comes in: a movie's index
and samples. What goes out: keys and values of Zarr.

::

    codec       a sample's bytes → pixels
    hierarchy   which keys there are, and what they hold beside samples
    store       a movie as a read-only store
    references  byte ranges of movies, in kerchunk's formats
    icechunk    the same, as virtual chunks of an Icechunk repository
    movie_parser    the same, for VirtualiZarr
    samples     the samples themselves, copied
"""

try:
    import zarr.abc.store  # noqa: F401 - to say what to install where it is missing, or older
except ImportError as error:
    raise ImportError("movies as Zarr need zarr 3: pip install 'camhd_access[zarr]'") from error

from camhd_access.arrays.zarr.codec import ProResCodec
from camhd_access.arrays.zarr.icechunk import write_icechunk
from camhd_access.arrays.zarr.movie_parser import MovieParser
from camhd_access.arrays.zarr.references import write_references
from camhd_access.arrays.zarr.samples import write_samples
from camhd_access.arrays.zarr.store import MovieStore

__all__ = ["MovieParser", "MovieStore", "ProResCodec", "write_icechunk", "write_references", "write_samples"]
