"""docker-compose.yml and the Dockerfile: what they name is there, what they run is a command, nothing runs as root."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime
from fnmatch import fnmatch
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import yaml

from bode import settings
from bode_ops.cli import app
from bode_ops.run import Role

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
BODE = {name: service for name, service in SERVICES.items() if service["image"] == "bode:local"}
ONCE = {"keys", "migrate"}
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def commands(service) -> list[list[str]]:
    """Give the commands of Bode that a service runs, without `bode` itself."""
    entrypoint = service.get("entrypoint", ["bode"])
    if entrypoint[0] == "bode":
        return [[*entrypoint[1:], *service["command"]]]
    script = " ".join(service["command"])
    return [shlex.split(found) for found in re.findall(r"\bbode (?=[a-z])([^\n|&;]+)", script)]


def mounted(service) -> list[tuple[str, str]]:
    return [tuple(volume.split(":")[:2]) for volume in service.get("volumes", [])]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_nobody_on_a_read_only_image(name):
    service = SERVICES[name]
    assert service["user"] not in {"root", "0", "0:0"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert ("healthcheck" in service) is (name not in ONCE)
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", BODE)
def test_what_a_service_of_bode_runs_is_a_command(name):
    found = commands(BODE[name])
    assert found
    for words in found:
        command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
        assert callable(command)
        assert words[0] in {"run", "mock", "keys", "db"}
        assert bound is not None


def test_there_is_a_service_for_every_role_that_stands_alone():
    roles = {service["command"][1] for service in BODE.values() if service["command"][0] == "run"}
    assert roles == {str(role) for role in Role if role is not Role.ALL}
    for name in roles:
        grace = BODE[name]["stop_grace_period"]
        assert int(grace.removesuffix("s")) > settings.EngineSettings().grace_seconds
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_file_and_volume_that_a_service_names_is_there(name):
    for source, _ in mounted(SERVICES[name]):
        assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
    assert set(SERVICES[name].get("secrets", [])) <= set(COMPOSE["secrets"])


@pytest.fixture(scope="module")
def secrets(tmp_path_factory) -> Path:
    """Run the script that makes the secrets, in a place of its own."""
    root = tmp_path_factory.mktemp("compose")
    script = root / "ops" / "compose" / "secrets.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "ops" / "compose" / "secrets.sh", script)
    for _ in range(2):  # the second time changes nothing
        subprocess.run([script], check=True, capture_output=True)
    return root


def test_the_script_makes_every_secret_that_is_named(secrets):
    named = {secrets / secret["file"] for secret in COMPOSE["secrets"].values()}
    assert {file.resolve() for file in named} == set((secrets / "var" / "compose").resolve().iterdir())
    assert all(len(file.read_text()) >= 48 for file in named)
    assert (secrets / "var" / "compose").stat().st_mode & 0o077 == 0


def test_the_configuration_is_valid_and_names_services_where_they_listen(secrets, monkeypatch):
    monkeypatch.delenv("BODE_CONFIG", raising=False)
    monkeypatch.setenv("BODE_SECRETS", str(secrets / "var" / "compose"))
    found = settings.load(ROOT / "ops" / "compose" / "bode.toml")
    assert found.database.url.startswith("postgresql://bode:")
    adapters = {point.name: point.load() for point in entry_points(group="bode.adapters")}
    places = {found.broker.url.split("/")[2], found.database.url.split("@")[1].split("/")[0] + ":5432"}
    for part in (*found.channels.values(), found.notices, found.print):
        adapters[part.adapter].from_settings(part.settings, clock=lambda: datetime.now(UTC))
        table = part.settings
        places.add(table["base_url"].split("/")[2] if "base_url" in table else f"{table['host']}:{table['port']}")
    ports = {name: words[-1] for name, service in BODE.items() for words in commands(service) if words[0] == "mock"}
    ports |= {"redis": "6379", "postgres": "5432", "mail": "1025"}
    assert places == {f"{name}:{port}" for name, port in ports.items()}


@pytest.mark.parametrize("name", BODE)
def test_a_service_has_the_folders_that_its_configuration_names(name, secrets, monkeypatch):
    if "mock" in BODE[name].get("entrypoint", []):
        assert not mounted(BODE[name])
        return
    monkeypatch.setenv("BODE_SECRETS", str(secrets / "var" / "compose"))
    found = settings.load(ROOT / "ops" / "compose" / "bode.toml")
    inside = {Path(target) for _, target in mounted(BODE[name])}
    assert found.keys.file.parent in inside
    assert Path(BODE[name]["environment"]["BODE_CONFIG"]) in inside
    if name in {"api", "sweeper"}:
        assert {found.evidence.folder, found.evidence.key_file.parent} <= inside
    # Volumes take over the owner of the folder in the image.
    own = {target for target in inside if target.suffix == ""}
    assert all(str(target) in DOCKERFILE for target in own)


def test_prometheus_scrapes_every_role_where_it_shows_its_metrics():
    scrape = yaml.safe_load((ROOT / "ops" / "prometheus" / "prometheus.yml").read_text("utf-8"))["scrape_configs"][0]
    found = {group["labels"]["role"]: group["targets"][0] for group in scrape["static_configs"]}
    own = BODE["worker"]["environment"]["BODE__METRICS__PORT"]
    assert found == {"api": "api:8080"} | {role: f"{role}:{own}" for role in ("worker", "sweeper", "inbound")}


def test_the_image_is_built_from_files_that_are_there_and_runs_as_nobody():
    ignore = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = [line[1:] for line in ignore if line.startswith("!")]
    copied = [name for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()]
    assert copied
    for name in copied:
        assert (ROOT / name).exists()
        assert any(fnmatch(name, pattern) for pattern in allowed)
    assert DOCKERFILE.count("--require-hashes") == 2
    assert re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert {service["user"] for service in BODE.values()} == {"10001:10001"}


@pytest.mark.slow
def test_compose_itself_finds_it_in_order(tmp_path):
    """Version 1.29 of Debian: it holds the file against the Compose Specification's schema."""
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not here: install Debian's docker-compose package")
    done = subprocess.run(
        [compose, "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
