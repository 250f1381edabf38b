"""`python -m camhd_access` is the command `camhd`."""

from camhd_access.cli import main

main(prog_name="camhd")
