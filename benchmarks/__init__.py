"""The speed of the library, compared with its peers and with the theoretical limit. `make bench`, `make bench-full`."""
