"""`ReadPlan`: the cost of a read, computed before it is made."""

from dataclasses import dataclass

from camhd_access.tables import write_table

__all__ = ["ReadPlan"]


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """The cost of a read."""

    n_requests: int
    """Byte range requests, if the filesystem makes one request per range."""
    n_bytes: int
    """Bytes fetched."""
    n_frames: int
    """Frames decoded at most: of H.264 and HEVC, those that no other needs are left out."""

    def _repr_html_(self) -> str:
        rows = {"requests": f"{self.n_requests:,}", "bytes": f"{self.n_bytes / 1e6:,.1f} MB"}
        return write_table("Cost of the read", rows | {"frames": f"{self.n_frames:,}"})
