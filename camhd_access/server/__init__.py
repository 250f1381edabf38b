"""The web server: frames of an archive's movies as images, for programs and browsers."""

try:
    from camhd_access.server.application import make_app
    from camhd_access.server.serving import run_server
    from camhd_access.server.settings import ServerSettings
except ModuleNotFoundError as error:
    if error.name != "prometheus_client":
        raise
    raise ImportError("the server needs an optional package: pip install 'camhd_access[server]'") from error

__all__ = ["ServerSettings", "make_app", "run_server"]
