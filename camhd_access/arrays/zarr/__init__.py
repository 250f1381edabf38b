"""Movies as Zarr: the samples of a movie are the chunks of an array, ProRes is its codec.

Nothing is decoded for storage. The same array (version 3 of the format, see `hierarchy`) is available in
three ways: generated from a movie's index on the fly (`MovieStore`), as a file of references to movies that
stay where they are (`write_references`), and as copies of selected samples in any store (`write_samples`).
With the codec, Zarr reads all three. Input: a movie's index and samples. Output: keys and values of Zarr.

::

    codec       a sample's bytes → pixels
    hierarchy   the keys, and all values except samples
    store       a movie as a read-only store
    references  byte ranges of movies, in kerchunk's formats
    icechunk    the same, as virtual chunks of an Icechunk repository
    movie_parser    the same, for VirtualiZarr
    samples     copies of the samples
"""

try:
    import zarr.abc.store  # noqa: F401 - to say what to install if it is missing or too old
except ImportError as error:
    raise ImportError("movies as Zarr need zarr 3: pip install 'camhd_access[zarr]'") from error

from camhd_access.arrays.zarr.codec import ProResCodec
from camhd_access.arrays.zarr.icechunk import write_icechunk
from camhd_access.arrays.zarr.movie_parser import MovieParser
from camhd_access.arrays.zarr.references import write_references
from camhd_access.arrays.zarr.samples import write_samples
from camhd_access.arrays.zarr.store import MovieStore

__all__ = ["MovieParser", "MovieStore", "ProResCodec", "write_icechunk", "write_references", "write_samples"]
