"""`python -m camhd_access.cli` is the command `camhd`."""

from camhd_access.cli import main

main(prog_name="camhd")
