"""Movies with inter-frame coding are refused as Zarr, by name: their samples do not decode one by one."""

import inter_movies
import pytest

from camhd_access import MovieReader
from camhd_access.arrays.zarr import MovieStore, write_references, write_samples
from camhd_access.errors import UnsupportedCodecError

REFUSAL = r"movie\.mp4: a Zarr chunk is one sample, and those of H\.264 and HEVC do not decode one by one"


@pytest.mark.parametrize("structure", ["closed groups", "HEVC, open groups", "intra only"])
def test_samples_of_a_twin_are_no_chunks(tmp_path, structure):
    (tmp_path / "movie.mp4").write_bytes(inter_movies.encode(structure))
    reader = MovieReader(tmp_path / "movie.mp4")
    with pytest.raises(UnsupportedCodecError, match=REFUSAL):
        MovieStore(tmp_path / "movie.mp4")
    with pytest.raises(UnsupportedCodecError, match=REFUSAL):
        write_references(reader, tmp_path / "movie.json")
    with pytest.raises(UnsupportedCodecError, match=REFUSAL):
        write_samples(reader, slice(3), tmp_path / "samples.zarr", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["movie.mp4"]
