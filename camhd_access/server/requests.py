"""What is noted about a request while it is answered."""

from aiohttp import web

__all__ = ["ROUTE", "STAGES"]

ROUTE: web.RequestKey[str] = web.RequestKey("camhd_route", str)
"""Route of the current request, for the metrics."""
STAGES: web.RequestKey[dict[str, float]] = web.RequestKey("camhd_stages", dict)
"""Seconds spent in each stage of the work."""
