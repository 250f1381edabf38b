"""Figures and files: the accessor `.camhd`, images, films, the viewer, clips."""
