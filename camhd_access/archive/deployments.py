"""Deployments: which of the two camera units was at the vent when; they are swapped each summer."""

from dataclasses import dataclass

import numpy as np

from camhd_access.times import Moment, parse_moment

__all__ = ["DEPLOYMENTS", "Deployment", "find_deployment"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment of a camera unit."""

    number: int
    """Number of the deployment by OOI, from 1."""
    start: np.datetime64
    """Start of the deployment, UTC, in seconds."""
    end: np.datetime64 | None
    """End of the deployment; None if unknown."""

    def __contains__(self, time: np.datetime64) -> bool:
        return bool(self.start <= time and (self.end is None or time < self.end))


def _deployment(number: int, start: str, end: str | None) -> Deployment:
    return Deployment(number, np.datetime64(start, "s"), None if end is None else np.datetime64(end, "s"))


DEPLOYMENTS = (
    _deployment(1, "2013-08-01T00:00", "2015-07-08T00:00"),
    _deployment(2, "2015-07-09T13:28", "2016-07-26T21:18"),
    _deployment(3, "2016-07-27T05:49", "2017-08-13T23:30"),
    _deployment(4, "2017-08-14T07:00", "2018-07-04T00:00"),
    _deployment(5, "2018-07-04T00:00", "2019-06-16T05:56"),
    _deployment(6, "2019-06-16T22:02", "2020-08-06T04:06"),
    _deployment(7, "2020-08-06T14:11", "2021-08-27T21:51"),
    _deployment(8, "2021-08-29T00:15", "2023-08-26T05:25"),
    _deployment(9, "2023-08-26T11:30", None),
)
"""Source: OOI's asset management (oceanobservatories/asset-management), as of 2023. The first movie of the
archive (2015-07-09T12:14) is earlier than deployment 2 and belongs to none."""


def find_deployment(time: Moment) -> int | None:
    """Number of the deployment at a time (UTC); None if no camera was in place.

    Notes
    -----
    The scene tags of the regions tables (`d2_p1_z0`) use the same numbers, but change with the scripted
    routine of a deployment, some days or months after its start.

    Examples
    --------
    >>> find_deployment("2017-09-03")
    4
    """
    moment = parse_moment(time, "time")
    return next((deployment.number for deployment in DEPLOYMENTS if moment in deployment), None)
