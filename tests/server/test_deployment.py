"""The deployment files refer to existing settings, ports, folders, routes and extras."""

import json
import os
import re
import shlex
import socket
import stat
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlsplit

import pytest
import yaml
from running_server import wait_until
from server_settings import OPTIONS, read_settings
from webservers import free_port, require

import camhd_access
from camhd_access.server.routes import ROUTES
from camhd_access.server.serving import SHUTDOWN_SECONDS
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


# ---- Kubernetes

MANIFESTS = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/camhd.yaml").read_text()))


def of_kind(kind):
    return {each["metadata"]["name"]: each for each in MANIFESTS if each["kind"] == kind}


@pytest.mark.parametrize("version", ["1.37"])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: f"{each['kind']}/{each['metadata']['name']}")
def test_kubernetes_knows_all_that_the_manifests_say(manifest, version):
    validate = pytest.importorskip("kubernetes_validate").validate
    validate(manifest, version, strict=True)
    wrong = json.loads(json.dumps(manifest).replace('"metadata"', '"metadatum"'))
    with pytest.raises(Exception, match="metadatum"):  # its class is that of the validator
        validate(wrong, version, strict=True)


def test_the_manifests_fit_the_image_and_each_other():
    (deployment,), (service,), (settings_map,) = map(
        dict.values, map(of_kind, ("Deployment", "Service", "ConfigMap"))
    )
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    assert container["envFrom"] == [{"configMapRef": {"name": settings_map["metadata"]["name"]}}]
    assert settings_map["data"].keys() < VARIABLES
    settings = read_settings(**environment_of(FINAL) | settings_map["data"])

    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": settings.port, "metrics": settings.metrics_port}
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
    annotations = pod["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(settings.metrics_port)
    assert annotations["prometheus.io/path"] == "/metrics"
    for probe, path in (("startup", "/healthz"), ("liveness", "/healthz"), ("readiness", "/readyz")):
        assert container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": "http"}
        assert path in {route.path for route in ROUTES}
    assert pod["spec"]["terminationGracePeriodSeconds"] > SHUTDOWN_SECONDS

    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(json.loads(all_of(FINAL, "VOLUME")[0])) <= mounts.keys()
    assert environment_of(FINAL)["MPLCONFIGDIR"] in mounts  # the root filesystem is read-only
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert set(claims.values()) == of_kind("PersistentVolumeClaim").keys()
    for path, n_bytes in (
        (str(settings.cache_dir), settings.cache_size),
        (settings.image_store, settings.image_store_size),
    ):
        claim = of_kind("PersistentVolumeClaim")[claims[mounts[path]]]
        assert n_bytes < quantity(claim["spec"]["resources"]["requests"]["storage"])

    resources = container["resources"]
    assert settings.max_concurrency == int(resources["requests"]["cpu"])
    assert 2 * settings.memory <= quantity(resources["requests"]["memory"])
    assert quantity(resources["requests"]["memory"]) < quantity(resources["limits"]["memory"])
    assert container["image"].rpartition("/")[2] == f"{SERVER['image']}:{camhd_access.__version__}"
    user = re.search(r"--uid (\d+)", all_of(FINAL, "RUN")[0])[1]
    assert pod["spec"]["securityContext"]["runAsUser"] == int(user)
    assert pod["spec"]["securityContext"]["fsGroup"] == pod["spec"]["securityContext"]["runAsGroup"]
    assert container["securityContext"]["readOnlyRootFilesystem"]


def quantity(text):
    """Bytes of a quantity of Kubernetes."""
    number, unit = re.fullmatch(r"(\d+)([KMGT]i)", text).groups()
    return int(number) << {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}[unit]


# ---- systemd and nginx

UNIT = ConfigParser(strict=False, interpolation=None, delimiters=("=",))
UNIT.optionxform = str
SERVICE = (ROOT / "deploy/systemd/camhd.service").read_text()
UNIT.read_string(SERVICE)
SITE = (ROOT / "deploy/nginx/camhd.conf").read_text()
FOLDERS = {"Runtime": "/run", "State": "/var/lib", "Cache": "/var/cache"}
"""Where systemd makes the folders of a service."""


def environment_of_unit():
    lines = re.findall(r"^Environment=(.*)$", SERVICE, re.MULTILINE)
    return dict(word.split("=") for line in lines for word in line.split())


def test_the_unit_sets_what_is_a_setting_in_its_own_folders():
    environment = environment_of_unit()
    assert {name for name in environment if name.startswith("CAMHD_")} < VARIABLES
    folders = {f"{path}/{UNIT['Service'][f'{kind}Directory']}" for kind, path in FOLDERS.items()}
    settings = read_settings(**environment)
    assert {str(settings.unix_socket.parent), str(settings.cache_dir), settings.image_store} == folders
    assert settings.trust_forwarded
    assert int(UNIT["Service"]["TimeoutStopSec"]) > SHUTDOWN_SECONDS


def test_systemd_verifies_the_unit(tmp_path):
    program = require("systemd-analyze")
    unit = tmp_path / "camhd.service"
    unit.write_text(SERVICE.replace("/opt/camhd/bin/camhd", sys.executable))
    verified = subprocess.run([program, "verify", unit], capture_output=True, text=True, check=False)
    complaints = [line for line in verified.stderr.splitlines() if "camhd.service" in line]
    assert complaints == []
    limit = ["security", "--offline=yes", "--threshold=20", unit]  # 2.0 of 10
    assert subprocess.run([program, *limit], capture_output=True, check=False).returncode == 0


@contextmanager
def running_unit(root, mirror):
    """The server as the unit starts it: its command, environment, umask, group and folders, below `root`.

    As root, its group is the unit's; else the group of the tests.
    """
    import grp  # not on Windows

    section, environment = UNIT["Service"], {}
    group = grp.getgrnam(section["Group"]).gr_gid if os.geteuid() == 0 else os.getegid()
    for kind, path in FOLDERS.items():
        folder = root / path[1:] / section[f"{kind}Directory"]
        folder.mkdir(parents=True)
        folder.chmod(int(section[f"{kind}DirectoryMode"], 8))
        os.chown(folder, -1, group)
    for name, value in environment_of_unit().items():
        environment[name] = re.sub(r"^/(run|var)/", f"{root}/\\1/", value)
    (root / "camhd.toml").write_text(f'mirrors = ["{mirror}"]\nimage_store_url = "http://{HOST}/images/"\n')
    program, *arguments = section["ExecStart"].replace("/etc/camhd.toml", f"{root}/camhd.toml").split()
    assert program.endswith("/camhd")
    process = subprocess.Popen(
        [sys.executable, "-m", "camhd_access.cli", *arguments],
        env=os.environ | environment,
        umask=int(section["UMask"], 8),
        group=group if os.geteuid() == 0 else None,
        stdout=subprocess.DEVNULL,
    )
    try:
        socket_path = Path(environment["CAMHD_UNIX_SOCKET"])
        wait_until(lambda: process.poll() is not None or socket_path.exists())
        assert process.poll() is None
        yield
        process.terminate()
        assert process.wait(60) == 0
        assert not socket_path.exists()
    finally:
        process.kill()
        process.wait()


TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def nginx_in_front(address, root, folder):
    """nginx with the example, listening at `address`; its files are in `folder`, the server's in `root`.

    As root, its workers run as the user of the unit's group, as Debian's nginx does.
    """
    site = SITE.replace("listen 80;", f"listen {address};").replace("/var/cache/nginx", str(folder))
    site = site.replace("unix:/run/", f"unix:{root}/run/").replace("alias /var/", f"alias {root}/var/")
    assert site.count(f"{root}/") == 2
    user = f"user {UNIT['Service']['Group']};" if os.geteuid() == 0 else ""
    places = " ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; {user} pid {folder}/pid; events {{}}\nhttp {{ access_log off; {places}\n{site} }}"
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


HOST = "camhd.example.org"


def fetch_from(address, path):
    """Status, headers and body of the answer of the site, whatever its name resolves to."""
    connection = HTTPConnection(address, timeout=60)
    try:
        connection.request("GET", path, headers={"Host": HOST})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def test_service_and_nginx_fit_together(served_movie, movie_path):
    require("nginx")
    address = f"127.0.0.1:{free_port()}"
    with TemporaryDirectory() as name:  # pytest's folders are closed to other users
        root, folder = Path(name, "root"), Path(name, "nginx")
        Path(name).chmod(0o755)
        root.mkdir()
        folder.mkdir()
        with running_unit(root, served_movie.url), nginx_in_front(address, root, folder):
            check_site(address, served_movie.url, movie_path.name, root)


def check_site(address, mirror, movie, root):
    status, _, body = fetch_from(address, "/")
    assert status == 200
    mount = json.loads(body)[mirror]["APIPath"]["V1"]
    path = f"{mount}{movie}/frame/3.png?width=64"
    status, _, picture = fetch_from(address, path)
    assert status == 200
    store = root / "var/lib/camhd/camhd-pictures"
    wait_until(lambda: list(store.rglob("[!.]*.png")))
    (kept,) = store.rglob("[!.]*.png")
    status, headers, again = fetch_from(address, f"/images/{quote(str(kept.relative_to(store.parent)))}")
    assert (status, again) == (200, picture)  # nginx reads what the server has written
    assert "immutable" in headers["Cache-Control"]
    moved, headers, _ = fetch_from(address, f"{path}&x=1")  # not in the cache of nginx
    assert (moved, headers["Location"].partition("/images/")[0]) == (307, f"http://{HOST}")
    _, _, info = fetch_from(address, f"{mount}{movie}/iiif/3/info.json")
    assert json.loads(info)["id"] == f"http://{HOST}{mount}{movie}/iiif/3"
    for hidden in ("/metrics", "/metrics/", "/metrics/x"):
        assert fetch_from(address, hidden)[0] == 404
        assert fetch_from(address, f"/{hidden}")[1]["Location"] == hidden
    for trick in ("%2e%2e/x.mov", "..%2fx.mov", "x%00.mov"):
        assert fetch_from(address, mount + trick)[0] in {400, 404}
    cache = root / "var/cache/camhd"
    modes = {stat.S_IMODE(each.stat().st_mode) & 0o007 for each in (store, kept, cache, *cache.iterdir())}
    assert modes == {0}  # nothing is open to other users
