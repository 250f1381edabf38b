"""Real nginx and Apache, each in a temporary folder on a free loopback port.

They show how honest servers behave; how faulty ones do, `origin` plays. `start_nginx` and `start_apache` are
context managers; `require` finds a program, or skips the test.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

NGINX_CONF = """
daemon off; master_process off; pid {state}/pid; error_log {state}/error.log;
events {{ worker_connections 256; }}
http {{
    types {{ text/html html; application/json json; video/quicktime mov; }}
    default_type application/octet-stream;
    access_log {state}/access.log;
    client_body_temp_path {state}/body; proxy_temp_path {state}/proxy; fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi; scgi_temp_path {state}/scgi;
    sendfile on; tcp_nodelay on; keepalive_requests 10000;
    server {{
        listen 127.0.0.1:{port}{tls}; server_name 127.0.0.1;
        root {root};
        autoindex on;
        {directives}
    }}
}}
"""

APACHE_CONF = """
ServerRoot {state}
DefaultRuntimeDir {state}
PidFile {state}/pid
ErrorLog {state}/error.log
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
{modules}
<IfModule mpm_event_module>
  ServerLimit 2
  ThreadsPerChild 32
  MaxRequestWorkers 64
</IfModule>
TypesConfig /dev/null
AddType video/quicktime .mov
AddType text/html .html
CustomLog {state}/access.log "%m %U %{{Range}}i %>s %O"
DocumentRoot {root}
<Directory {root}>
  Options +Indexes +FollowSymLinks
  Require all granted
</Directory>
{directives}
"""

APACHE_MODULES = ("mpm_event", "authz_core", "dir", "autoindex", "mime", "alias", "headers")
APACHE_MODULE_FOLDERS = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/libexec/apache2")


@dataclass(frozen=True)
class WebServer:
    """A running server."""

    name: str
    """`nginx` or `apache`."""
    url: str
    """Its root, without a slash at the end."""
    root: Path
    """The folder that it serves."""
    state: Path
    """The folder of its configuration and logs."""


def require(*programs):
    """Path of the first of `programs` that is installed; skips the test where none is."""
    for program in programs:
        if path := shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin"):
            return path
    pytest.skip(f"not installed: {' or '.join(programs)}")


def free_port():
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def start_nginx(root, state, directives="", *, certificate=None):
    """An nginx that serves `root`; `directives` go into its `server` block.

    `certificate` is a pair of paths (certificate, key) to serve https.
    """
    program = require("nginx")
    state.mkdir(parents=True, exist_ok=True)
    if certificate:
        directives += f"\nssl_certificate {certificate[0]}; ssl_certificate_key {certificate[1]};"
    settings = {"root": root, "state": state, "directives": directives, "tls": " ssl" if certificate else ""}
    with _running("nginx", [program, "-e", f"{state}/error.log", "-c"], NGINX_CONF, settings) as port:
        yield WebServer("nginx", f"{'https' if certificate else 'http'}://127.0.0.1:{port}", root, state)


@contextlib.contextmanager
def start_apache(root, state, directives="IndexOptions FancyIndexing"):
    """An Apache that serves `root`; `directives` go to the end of its configuration."""
    program = require("apache2", "httpd")
    folder = next(filter(os.path.isdir, APACHE_MODULE_FOLDERS))
    modules = "\n".join(f"LoadModule {name}_module {folder}/mod_{name}.so" for name in APACHE_MODULES)
    if Path(folder, "mod_unixd.so").exists():
        modules += f"\nLoadModule unixd_module {folder}/mod_unixd.so"
    state.mkdir(parents=True, exist_ok=True)
    settings = {"root": root, "state": state, "directives": directives, "modules": modules}
    with _running("apache", [program, "-X", "-f"], APACHE_CONF, settings) as port:
        yield WebServer("apache", f"http://127.0.0.1:{port}", root, state)


@contextlib.contextmanager
def _running(name, command, template, settings):
    """The port of a server while it runs; it is stopped by its own process id."""
    for _ in range(3):  # somebody else may take the port first
        port = free_port()
        configuration = settings["state"] / f"{name}.conf"
        configuration.write_text(template.format(port=port, **settings))
        server = subprocess.Popen(
            [*command, configuration], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            if answers_at(server, port):
                yield port
                return
        finally:
            server.send_signal(signal.SIGTERM)
            _, complaint = server.communicate(timeout=100)
    log = settings["state"] / "error.log"
    pytest.fail(f"{name} did not start: {complaint} {log.read_text() if log.exists() else ''}")


def answers_at(server, port):
    for _ in range(400):
        if server.poll() is not None:
            return False
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.025)
    return False
