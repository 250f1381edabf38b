"""The command `camhd`: what the library does, one command a task.

The commands lie in modules of their own, which are imported when they are used: `camhd --help` needs neither
matplotlib nor a web server. `COMMANDS` is the list of them. A known error ends in one line, no traceback.
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
    "info": ("movies", "Print the facts of a movie."),
    "frame": ("pictures", "Write one frame as a picture."),
    "sheet": ("pictures", "Write a sheet of thumbnails of a movie."),
    "plan": ("movies", "Tell what reading frames would cost."),
    "ls": ("archives", "List the movies of an archive."),
    "catalog": ("archives", "Crawl an archive, and keep what was found."),
    "timelapse": ("timelapses", "Write a film of one frame of each movie."),
    "clip": ("clips", "Write some frames as a movie, film or images of their own."),
    "recover": ("recovery", "Rebuild the index of a recording that was cut off."),
    "cache": ("caches", "Look after the bytes that are kept on disk."),
    "serve": ("serve", "Serve frames over HTTP, to programs and browsers."),
    "demo": ("demo", "Do the main job once, from list to figure."),
    "completion": ("completions", "Print what teaches a shell to complete."),
}
"""Each command's module in this package, and the line that tells what it does."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of a program that the signal has ended (128 and its number)."""


class _Commands(click.Group):
    """The commands of the table, imported when called; known errors end in one line and exit code 1."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's signature
        """Run as a program, which ends at once when it is interrupted, whatever its threads wait for."""
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
        """The commands that begin so, by the table: click would import every one of them."""
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
        except BrokenPipeError:  # whoever read the output has enough; click ends without a word
            raise
        except (CamhdError, OSError, ValueError, ImportError) as error:
            # The last two: a URL of an unknown protocol, or of one whose filesystem is not installed.
            _print_line(f"{type(error).__name__}: {error}")
            sys.exit(1)
        except KeyboardInterrupt:
            _print_line("interrupted")
            sys.exit(INTERRUPTED)
        except Exception as error:
            kind = type(error)
            if kind.__module__ in ("builtins", "click.exceptions"):
                raise
            _print_line(f"{kind.__module__}.{kind.__name__}: {error}")  # of a filesystem: no credentials, say
            sys.exit(1)


def _print_warning(message: Warning | str, *_: Any, **__: Any) -> None:  # noqa: ANN401 - where in the code it arose
    _print_line(str(message))


def _print_line(text: str) -> None:
    """Print text as one line of standard error."""
    click.echo("camhd: " + " ".join(line.strip() for line in text.splitlines()), err=True)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="camhd")
def main() -> None:
    """Frames out of enormous ProRes movies on a plain web server, without downloading the movies.

    The exit code is 0 when all went well, 1 after an error, 2 where arguments are wrong, 130 after Ctrl-C.
    """
