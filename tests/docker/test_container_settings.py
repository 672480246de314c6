"""What a container is told when it starts: its variables, the time to stop, shared memory, threads for its cores."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from maskserve.errors import ToolError
from maskserve_convert.triton.sizing import Wanted, wanted
from maskserve_tools.embedded.served_entries import read_config, read_repository
from maskserve_tools.embedded.shared_memory_need import needed_bytes
from tests.conftest import ROOT
from tests.docker.conftest import DOCKER, load
from tests.docker.container_files import COMPOSE, PODS, RESOURCES
from tests.tools.doctor.conftest import Clinic

START = load(DOCKER / "start.py")
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
