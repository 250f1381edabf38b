"""The speed of the library, compared with peers and with the theoretical limit."""
