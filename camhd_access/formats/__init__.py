"""What bytes and names mean, without any input or output: QuickTime atoms, ProRes samples, movies' names."""
