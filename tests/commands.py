"""Runs the command `camhd`, in this process or as a program."""

import contextlib
import os
import subprocess
import sys
import termios

from click.testing import CliRunner

from camhd_access.cli import main

PROGRAM = [sys.executable, "-m", "camhd_access.cli"]


def run(*arguments):
    """The result of the command, run in this process: `exit_code`, `stdout`, `stderr`."""
    return CliRunner().invoke(main, [str(a) for a in arguments])


def start(*arguments, **options):
    """The command as a program that is running."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=options.pop("stderr", subprocess.PIPE),
        text=True,
        **options,
    )


def run_on_terminal(*arguments):
    """Standard output of the command, run as a program, and its standard error on a terminal."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with start(*arguments, stderr=theirs) as program:
        output = program.stdout.read()
    os.close(theirs)
    written = b""
    with (
        os.fdopen(ours, "rb", buffering=0) as terminal,
        contextlib.suppress(OSError),
    ):  # Linux's end of a terminal
        while piece := terminal.read(4096):
            written += piece
    return output, written.decode()
