"""What bytes and names mean, without any I/O: QuickTime atoms, ProRes samples, movie names."""
