"""The web server: frames of an archive's movies as images, for programs and browsers."""

from camhd_access.server.application import make_app
from camhd_access.server.serving import run_server
from camhd_access.server.settings import ServerSettings

__all__ = ["ServerSettings", "make_app", "run_server"]
