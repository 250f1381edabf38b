"""What leaves as a figure or a file: the accessor `.camhd`, pictures, films, the viewer, clips."""
