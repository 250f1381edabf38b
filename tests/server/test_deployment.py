"""The deployment files refer to existing settings, ports, folders, routes and extras."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest
import yaml
from running_server import fetch, serving
from server_settings import OPTIONS, read_settings
from webservers import free_port, require

import camhd_access
from camhd_access.server.settings import ServerSettings
from camhd_access.synthetic import serve_folder

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVER = COMPOSE["services"]["camhd"]
DOCS = (ROOT / "docs" / "server.md").read_text()

VARIABLES = {option.envvar[0] for option in OPTIONS.values()}


def read_stages(dockerfile):
    """The stages of a Dockerfile, each a list of instructions and what follows them."""
    text = re.sub(r"^#.*\n", "", (ROOT / dockerfile).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    stages = []
    for line in filter(None, text.splitlines()):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            stages.append([])
        if stages:
            stages[-1].append((instruction, rest.strip()))
    return stages


BUILD, FINAL = read_stages("Dockerfile")
HUB_BUILD, HUB_FINAL = read_stages("deploy/jupyterhub/Dockerfile")


def all_of(stage, instruction):
    return [rest for name, rest in stage if name == instruction]


def environment_of(stage):
    return dict(word.split("=", 1) for line in all_of(stage, "ENV") for word in shlex.split(line))


def test_the_image_sets_what_is_a_setting():
    environment = environment_of(FINAL)
    assert {name for name in environment if name.startswith("CAMHD_")} < VARIABLES
    settings = read_settings(**environment)
    assert all_of(FINAL, "EXPOSE") == [str(settings.port)] == [str(ServerSettings().port)]
    assert settings.bind == "0.0.0.0"  # noqa: S104 - within the container
    assert str(settings.cache_dir) in json.loads(all_of(FINAL, "VOLUME")[0])


def test_the_image_runs_the_server_as_nobody_in_particular():
    assert all_of(FINAL, "USER") == ["camhd"]
    assert "--uid 10001" in all_of(FINAL, "RUN")[0]
    assert [json.loads(rest) for rest in all_of(FINAL, "ENTRYPOINT")] == [["camhd", "serve"]]


@pytest.mark.parametrize("build", [BUILD, HUB_BUILD], ids=["server", "hub"])
def test_the_image_is_built_from_what_is_there(build):
    sources = [source for rest in all_of(build, "COPY") for source in rest.split()[:-1]]
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(sources) == kept
    assert all((ROOT / source).exists() for source in sources)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"]} <= kept
    (extras,) = re.findall(r"install \"\.\[([\w,]+)\]", "\n".join(all_of(build, "RUN")))
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    assert [f'"{r}"' for r in project["optional-dependencies"]["s3"]] == [all_of(build, "RUN")[1].split()[-1]]


def test_the_image_of_a_hub_starts_a_server_as_its_user():
    """What Zero to JupyterHub expects: the command, uid 1000 and its home."""
    assert [json.loads(rest) for rest in all_of(HUB_FINAL, "CMD")] == [["jupyterhub-singleuser"]]
    assert not all_of(HUB_FINAL, "ENTRYPOINT")
    assert all_of(HUB_FINAL, "USER") == ["1000"]
    user = re.match(r"useradd --create-home --uid 1000 [^&]*?(\w+) +&&", all_of(HUB_FINAL, "RUN")[0])[1]
    assert all_of(HUB_FINAL, "WORKDIR") == [f"/home/{user}"]
    environment = environment_of(HUB_FINAL)
    assert environment["CAMHD_CACHE_DIR"] in all_of(HUB_FINAL, "RUN")[0]
    assert environment["PATH"].startswith(f"{all_of(HUB_FINAL, 'COPY')[0].split()[-1]}/bin:")


def test_the_documented_hub_uses_its_image():
    page = (ROOT / "docs/howto/tools.md").read_text()
    (values,) = (
        yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    )
    server = values["singleuser"]
    tag = re.search(r"--tag ([\w-]+) --file deploy/jupyterhub/Dockerfile \.$", page, re.MULTILINE)[1]
    assert server["image"]["name"].rpartition("/")[2] == tag
    assert server["image"]["tag"] == camhd_access.__version__
    assert set(server["extraEnv"]) < VARIABLES
    assert server["extraEnv"]["CAMHD_CACHE_DIR"] == environment_of(HUB_FINAL)["CAMHD_CACHE_DIR"]
    (major,) = re.findall(r'"jupyterhub>=(\d+),<', "".join(all_of(HUB_BUILD, "RUN")))
    assert f"JupyterHub ({major})" in page


@pytest.mark.parametrize("answers", [True, False])
def test_the_health_check_tells_health(tmp_path, answers):
    (check,) = all_of(FINAL, "HEALTHCHECK")
    _, *arguments = json.loads(check[check.index("[") :])
    if answers:
        (tmp_path / "healthz").touch()
    with serve_folder(tmp_path) as server:
        environment = os.environ | {"CAMHD_PORT": str(urlsplit(server.url).port)}
        result = subprocess.run([sys.executable, *arguments], env=environment, check=False)
    assert result.returncode == (0 if answers else 1)


def test_compose_fits_the_image():
    volumes = {volume.split(":")[1] for volume in SERVER["volumes"]}
    assert set(json.loads(all_of(FINAL, "VOLUME")[0])) <= volumes
    assert SERVER["environment"].keys() < VARIABLES
    settings = read_settings(**environment_of(FINAL) | SERVER["environment"])
    assert {settings.image_store, str(settings.file_overlay)} <= volumes
    assert SERVER["ports"] == [f"127.0.0.1:8080:{settings.port}"]
    named = {
        volume.split(":")[0] for service in COMPOSE["services"].values() for volume in service["volumes"]
    }
    assert {name for name in named if not name.startswith(".")} == COMPOSE["volumes"].keys()


def test_prometheus_asks_the_server_for_its_figures():
    (mounted,) = (v for v in COMPOSE["services"]["prometheus"]["volumes"] if v.startswith("./"))
    (job,) = yaml.safe_load((ROOT / mounted.split(":")[0]).read_text())["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    (target,) = job["static_configs"]
    settings = read_settings(**environment_of(FINAL) | SERVER["environment"])
    assert settings.metrics_bind == "0.0.0.0"  # noqa: S104 - within the container
    assert target["targets"] == [f"camhd:{settings.metrics_port}"]


def snippet(language):
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCS, re.DOTALL | re.MULTILINE)
    return text


def test_the_documented_file_of_settings_is_right(tmp_path):
    (tmp_path / "camhd.toml").write_text(snippet("toml"))
    assert read_settings(config=tmp_path / "camhd.toml").image_store_size == 200 << 30


def test_the_documented_service_sets_what_is_a_setting():
    (line,) = re.findall(r"^Environment=(.*)$", snippet("ini"), re.MULTILINE)
    environment = dict(word.split("=") for word in line.split())
    assert {name for name in environment if name.startswith("CAMHD_")} < VARIABLES


TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def nginx_in_front(front, server, folder):
    """nginx with the documented configuration, listening at `front`; what it writes lies in `folder`."""
    address = front.removeprefix("http://")
    site = (
        snippet("nginx").replace("http://127.0.0.1:8080", server).replace("listen 80;", f"listen {address};")
    )
    site = site.replace("/var/cache/nginx", str(folder)).replace("/srv/image_store", f"{folder}/images")
    places = " ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {folder}/pid; events {{}}\n"
        f"http {{ access_log off; {places}\n{site} }}"
    )
    command = [require("nginx"), "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(config)]
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: process.poll() is not None or listens(address))
        assert process.poll() is None
        yield
    finally:
        process.terminate()
        process.wait(20)


def listens(address):
    host, port = address.split(":")
    with suppress(OSError), socket.create_connection((host, int(port)), 1):
        return True
    return False


def wait_until(is_true):
    for _ in range(800):
        if is_true():
            return
        time.sleep(0.025)
    raise AssertionError("20 s have passed")


def test_the_documented_nginx_stands_before_the_server(tmp_path, served_movie, movie_path):
    front, images = f"http://127.0.0.1:{free_port()}", tmp_path / "images"
    store = ("--image-store", images, "--image-store-url", f"{front}/images/")
    with (
        serving("--mirror", served_movie.url, "--port", 0, *store) as (_, server),
        nginx_in_front(front, server, tmp_path),
    ):
        mount = json.loads(fetch(server).body)[served_movie.url]["APIPath"]["V1"]
        path = f"{mount}{movie_path.name}/frame/3.png?width=64"
        picture = fetch(front + path).body
        wait_until(lambda: list((images / "camhd-pictures").rglob("[!.]*.png")))
        again = fetch(server + path)
        assert again.url.startswith(f"{front}/images/")  # where the server sends those who ask again
        assert again.body == fetch(front + path).body == picture
        assert "immutable" in again.headers["Cache-Control"]
        for path in ("/metrics", "/metrics/", "//metrics", "/metrics/x"):
            with pytest.raises(HTTPError, match="404"):
                fetch(front + path)
        for trick in ("%2e%2e/x.mov", "..%2fx.mov", "x%00.mov"):
            with pytest.raises(HTTPError, match=r"40[04]"):
                fetch(f"{front}{mount}{trick}")
