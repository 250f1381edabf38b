"""How fast the library is, beside its peers and beside what is possible. `make bench`, `make bench-full`."""
