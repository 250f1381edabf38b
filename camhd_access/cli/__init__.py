"""The command `camhd`: what the library does, one command a task.

The commands lie in modules of their own, which are imported when they are used: `camhd --help` needs neither
matplotlib nor a web server. `COMMANDS` is the list of them. A known error ends in one line, no traceback.
"""

import sys
from importlib import import_module

import click

from camhd_access._version import __version__
from camhd_access.errors import CamhdError

__all__ = ["main"]

COMMANDS = {
    "info": ("movies", "Print the facts of a movie."),
    "frame": ("movies", "Write one frame as a picture."),
    "sheet": ("movies", "Write a sheet of thumbnails of a movie."),
    "plan": ("movies", "Tell what reading frames would cost."),
    "ls": ("archives", "List the movies of an archive."),
    "cache": ("caches", "Look after the bytes that are kept on disk."),
    "demo": ("demonstration", "Do the main job once, from list to figure."),
}
"""Each command's module in this package, and the line that tells what it does."""


class _Commands(click.Group):
    """The commands of the table, imported when called; known errors end in one line and exit code 1."""

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

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (CamhdError, OSError, ValueError, ImportError) as error:
            # The last two: a URL of an unknown protocol, or of one whose filesystem is not installed.
            click.echo(f"camhd: {type(error).__name__}: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="camhd")
def main() -> None:
    """Frames out of enormous ProRes movies on a plain web server, without downloading the movies."""
