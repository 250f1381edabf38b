"""`ReadPlan`: what a read would cost, before anything is read."""

from dataclasses import dataclass

from camhd_access.tables import write_table

__all__ = ["ReadPlan"]


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What a read would cost."""

    n_requests: int
    """Requests for byte ranges, from a filesystem that makes one a range."""
    n_bytes: int
    """Bytes fetched."""
    n_frames: int
    """Frames decoded."""

    def _repr_html_(self) -> str:
        rows = {"requests": f"{self.n_requests:,}", "bytes": f"{self.n_bytes / 1e6:,.1f} MB"}
        return write_table("What reading would cost", rows | {"frames": f"{self.n_frames:,}"})
