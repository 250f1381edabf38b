"""Clips: some frames of a movie as a separate file.

`layout` describes the origin of each byte of a QuickTime clip: its `header` is made from the index, and its
samples are copied unchanged; `writing` writes it, or films and images from decoded frames, depending on
the target's suffix.
"""

from camhd_access.output.clip.layout import ClipLayout, plan_clip, split_runs
from camhd_access.output.clip.writing import write_clip

__all__ = ["ClipLayout", "plan_clip", "split_runs", "write_clip"]
