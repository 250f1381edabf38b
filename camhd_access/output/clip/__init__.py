"""Clips: some frames of a movie as a file of their own.

`layout` knows where each byte of a QuickTime clip comes from, whose `header` is made from the index and whose
samples are copied as they are; `writing` writes it, or films and images from decoded frames, as the target's
name asks for.
"""

from camhd_access.output.clip.layout import ClipLayout, plan_clip, split_runs
from camhd_access.output.clip.writing import write_clip

__all__ = ["ClipLayout", "plan_clip", "split_runs", "write_clip"]
