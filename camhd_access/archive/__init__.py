"""The archive as a whole: which movies there are, when each was recorded, and what is to be seen in it.

::

    moments          times as callers give them
    manners          few requests at once, and few a second
    listing          folders by day, or one flat folder → which movies there are
    deployments      which camera was in place when
    anomalies        what is known to be wrong with movies and times
    records          what is known of one movie
    catalog          a table of movies, one row each, and the files that hold it
    known_catalogs   the catalogues that others have published → ours, their false rows told
    quality          a movie's index → good, blank or odd
    crawl            what is listed, and each movie's index → a catalogue, kept up to date in a file
    archive          `Archive`: all of this for one address
    runs             movies that follow each other without a gap
    scenes           published tables of what the camera looked at → frames

A movie is known by its base name: the same movie lies under several URLs.
"""

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
