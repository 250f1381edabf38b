"""The command `completion`: the shell-completion script of `camhd`."""

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

COMPLETE_VARIABLE = "_CAMHD_COMPLETE"
"""The environment variable by which a shell requests completions from click."""


@click.command
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL: it completes commands, options and paths.

    \b
    Examples:
      camhd completion bash >> ~/.bashrc
      camhd completion zsh >> ~/.zshrc
      camhd completion fish > ~/.config/fish/completions/camhd.fish
    """  # noqa: D301 - click looks for the backspace itself
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click does not support completion in {shell}")
    command = context.find_root().command
    click.echo(kind(command, {}, "camhd", COMPLETE_VARIABLE).source())
