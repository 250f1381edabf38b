"""The command `camhd`: the library on the command line, one command per task.

Each command is in a module of its own, which is imported when it is used: `camhd --help` needs neither
matplotlib nor a web server. `COMMANDS` lists them. A known error is printed as one line without a traceback.
"""

import os
import sys
import warnings
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from camhd_access._version import __version__
from camhd_access.errors import CamhdError

__all__ = ["main"]

COMMANDS = {
    "info": ("movies", "Print the properties of a movie."),
    "frame": ("pictures", "Write one frame as an image."),
    "sheet": ("pictures", "Write a contact sheet of a movie."),
    "plan": ("movies", "Estimate the cost of reading frames."),
    "ls": ("archives", "List the movies of an archive."),
    "catalog": ("archives", "Make or update a catalogue of an archive."),
    "timelapse": ("timelapses", "Write a film of one frame of each movie."),
    "survey": ("surveys", "Call a Python function with frames of many movies."),
    "clip": ("clips", "Write selected frames as a clip, a film or images."),
    "ifdo": ("image_sets", "Describe an image set as iFDO (FAIR metadata)."),
    "recover": ("recovery", "Rebuild the index of a truncated recording."),
    "verify": ("verification", "Compare movies with the checksums beside them."),
    "cache": ("caches", "Manage the disk cache."),
    "serve": ("serve", "Serve frames over HTTP, to browsers and programs."),
    "demo": ("demo", "Run a self-contained demonstration."),
    "completion": ("completions", "Print the shell-completion script."),
}
"""The module of each command in this package, and its line in the help text."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 plus the number of the signal, by convention."""


class _Commands(click.Group):
    """The commands of the table, imported when called; known errors end in one line and exit code 1."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's signature
        """Run as a program that exits immediately when it is interrupted, even if threads are blocked."""
        try:
            return super().__call__(*args, **kwargs)
        except SystemExit as end:
            if end.code == INTERRUPTED:
                os._exit(INTERRUPTED)
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"camhd_access.cli.{module}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that start with `incomplete`, from the table: click would import every command."""
        commands = [
            CompletionItem(name, help=line)
            for name, (_, line) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> object:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _print_warning
                return super().invoke(ctx)
        except BrokenPipeError:  # the reader closed the pipe; click exits silently
            raise
        except (CamhdError, OSError, ValueError, ImportError) as error:
            # The last two: a URL with an unknown protocol, or one whose filesystem is not installed.
            _print_line(_describe(error))
            sys.exit(1)
        except KeyboardInterrupt:
            _print_line("interrupted")
            sys.exit(INTERRUPTED)
        except Exception as error:
            kind = type(error)
            if kind.__module__ in ("builtins", "click.exceptions"):
                raise
            _print_line(_describe(error))  # of a filesystem, such as missing credentials
            sys.exit(1)


def _describe(error: Exception) -> str:
    """What went wrong, in words: without the name of a Python class or a number of the system's."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: '{error.filename}'"
    if isinstance(error, FileNotFoundError) and not isinstance(error, CamhdError):
        return f"no such file: {error}"  # of filesystems that give the bare path
    return str(error) or type(error).__name__


def _print_warning(message: Warning | str, *_: Any, **__: Any) -> None:  # noqa: ANN401 - the place in the code
    _print_line(str(message))


def _print_line(text: str) -> None:
    """Print text as one line of standard error."""
    click.echo("camhd: " + " ".join(line.strip() for line in text.splitlines()), err=True)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="camhd")
def main() -> None:
    """Read frames of very large ProRes movies on a plain web server, without downloading the movies.

    The exit code is 0 on success, 1 after an error, 2 for wrong arguments, 130 after Ctrl-C.
    """
