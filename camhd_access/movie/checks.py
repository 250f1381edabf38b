"""Checks of arguments that must be open movies."""

from camhd_access.movie.reader import MovieReader

__all__ = ["check_reader"]


def check_reader(reader: MovieReader) -> MovieReader:
    """`reader`, if it is a `MovieReader`."""
    if not isinstance(reader, MovieReader):
        raise TypeError(f"expected a MovieReader, not {type(reader).__name__}; use MovieReader(url)")
    return reader
