"""On which machine of a cluster a movie is read: the same in each survey, because bytes are cached there.

Each pair of a machine and a movie has a score, and the movie is read on the machine with the highest
(weighted rendezvous hashing). So nothing is stored, machines get movies in proportion to their threads, and
if a machine is added or lost, only the movies that are read there move.
"""

from collections.abc import Mapping
from hashlib import blake2b
from math import log

__all__ = ["choose_host"]


def choose_host(movie: str, hosts: Mapping[str, int]) -> str:
    """The host on which a movie is read.

    Parameters
    ----------
    movie
        Base name of the movie.
    hosts
        The number of threads on each host; not empty.
    """
    return max(sorted(hosts), key=lambda host: _score(host, movie, hosts[host]))


def _score(host: str, movie: str, weight: int) -> float:
    digest = blake2b(f"{host} {movie}".encode(), digest_size=8).digest()
    share = (int.from_bytes(digest) + 1) / (2**64 + 2)  # between 0 and 1, both excluded
    return -weight / log(share)
