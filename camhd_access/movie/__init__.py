"""One movie: its index, its frames, and recovery of a missing index."""
