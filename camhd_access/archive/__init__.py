"""The archive as a whole: which movies exist, when they were recorded, and which scenes they show.

::

    rate_limit       limits of requests in flight and requests per second
    folders          a listing → whether it is an archive, a part of one, or neither
    wrong_root       a root without movies → the folder that was probably meant
    listing          folders by day, or one flat folder → the movies in them
    deployments      which camera unit was in place when
    anomalies        known defects of movies and periods
    records          the properties of one movie
    catalog          a table of movies, one row each, and its files
    known_catalogs   third-party catalogues → ours, without their wrong values
    quality          the index of a movie → good, blank or odd
    crawl            listings and indexes → a catalogue, kept up to date in a file
    archive          `Archive`: all of this for one root
    runs             movies that follow each other without a gap
    scenes           published tables of views → frames

A movie is identified by its base name: the same movie exists at several URLs.

A public name is loaded from its module when it is first used (PEP 562): the server needs `quality`, which is
pure, but not pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from camhd_access.archive.anomalies import Anomaly, known_anomalies
    from camhd_access.archive.archive import OOI_ARCHIVE, Archive, open_archive
    from camhd_access.archive.catalog import read_catalog, write_catalog
    from camhd_access.archive.deployments import DEPLOYMENTS, Deployment, find_deployment
    from camhd_access.archive.records import MovieRecord
    from camhd_access.archive.runs import find_runs
    from camhd_access.archive.scenes import find_scene_frames, read_regions
    from camhd_access.times import Moment

__all__ = [
    "DEPLOYMENTS",
    "OOI_ARCHIVE",
    "Anomaly",
    "Archive",
    "Deployment",
    "Moment",
    "MovieRecord",
    "find_deployment",
    "find_runs",
    "find_scene_frames",
    "known_anomalies",
    "open_archive",
    "read_catalog",
    "read_regions",
    "write_catalog",
]

_HOMES = {
    "anomalies": ("Anomaly", "known_anomalies"),
    "archive": ("OOI_ARCHIVE", "Archive", "open_archive"),
    "catalog": ("read_catalog", "write_catalog"),
    "deployments": ("DEPLOYMENTS", "Deployment", "find_deployment"),
    "records": ("MovieRecord",),
    "runs": ("find_runs",),
    "scenes": ("find_scene_frames", "read_regions"),
}
_HOME_OF = {name: f"camhd_access.archive.{home}" for home, names in _HOMES.items() for name in names}
_HOME_OF["Moment"] = "camhd_access.times"


def __getattr__(name: str) -> Any:  # noqa: ANN401 - of any module
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
