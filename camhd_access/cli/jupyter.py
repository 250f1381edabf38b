"""The server in JupyterLab: jupyter-server-proxy starts it, and the launcher shows the archive's page.

`describe_server` is the entry point that jupyter-server-proxy looks for. It imports no part of the server.
"""

import sys
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

__all__ = ["describe_server"]

START_SECONDS = 60


def describe_server() -> dict[str, Any]:
    """How jupyter-server-proxy starts the server, and how the launcher of JupyterLab shows it.

    Notes
    -----
    The server listens on a Unix socket where there are any, which other users of the machine cannot open. Its
    settings are those of the environment (`CAMHD_MIRRORS`, `CAMHD_CACHE_DIR`, …).
    """
    has_sockets = sys.platform != "win32"
    address = ["--unix-socket", "{unix_socket}"] if has_sockets else ["--port", "{port}"]
    command = [sys.executable, "-m", "camhd_access.cli", "serve"]
    return {
        "command": [*command, *address, "--metrics-port", "0", "--access-log", "off"],
        "unix_socket": has_sockets,
        "timeout": START_SECONDS,
        "launcher_entry": {
            "title": "CamHD movies",
            "icon_path": str(files("camhd_access").joinpath("server", "page", "icon.svg")),
            "enabled": find_spec("prometheus_client") is not None,  # the extra `server`
        },
    }
