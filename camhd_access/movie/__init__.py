"""One movie, opened: its index, its frames, and recovery where the index is missing."""
