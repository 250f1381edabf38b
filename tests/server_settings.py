"""The settings with which `camhd serve` would start the server for given arguments."""

import os
import sys
from unittest import mock

from click.testing import CliRunner

from camhd_access.cli.serve import serve

OPTIONS = {option.name: option for option in serve.params if option.name != "config"}


def read_settings(*arguments, config=None, **environment):
    """The settings that arguments, a file and variables make; a `ValueError` with the command's words."""
    if config is not None:
        arguments = ("--config", str(config), *arguments)
    unset = {name: None for name in os.environ if name.startswith(("CAMHD_", "LAZYCACHE_"))}
    started = []
    with mock.patch.object(sys.modules["camhd_access.cli.serve"], "run_server", started.append):
        result = CliRunner().invoke(serve, list(arguments), env=unset | environment)
    if result.exit_code == 2:
        raise ValueError(result.stderr.rpartition("Error: ")[2].strip())
    assert (result.exit_code, result.exception) == (0, None)
    return started.pop()
