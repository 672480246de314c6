"""The command: what it prints, its exit status, and a real server before and after a stub has died."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maskserve_tools import cli
from maskserve_tools.embedded import session
from tests.conftest import DEMO
from tests.tools.doctor.conftest import Clinic

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server

Captured = pytest.CaptureFixture[str]


def doctor(capsys: Captured, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit status and the findings."""
    status = cli.main(["doctor", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def of_level(findings: list[dict[str, Any]], level: str, of: str) -> list[str]:
    return [finding["what"] for finding in findings if finding["level"] == level and finding["of"] == of]


def test_a_broken_repository_is_told_for_people_and_for_scripts(clinic: Clinic, capsys: Captured) -> None:
    (clinic.path / "seg.core" / "1" / "core.onnx").unlink()
    status, findings = doctor(capsys, str(clinic.path))
    assert status == 1
    (what,) = of_level(findings, "problem", "repository")
    assert "core.onnx is missing" in what
    assert cli.main(["doctor", str(clinic.path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.rstrip() != line] == []
    assert {"machine", "repository"} <= set(lines)
    assert any(line.startswith("  problem  ") for line in lines)
    assert any("fix: convert the model again" in line for line in lines)


def test_what_is_not_there_cannot_be_looked_at(tmp_path: Path, capsys: Captured) -> None:
    status, findings = doctor(capsys, str(tmp_path / "nothing"))
    assert status == 2
    assert of_level(findings, "unknown", "repository")
    status, findings = doctor(capsys, "--url", "grpc://127.0.0.1:1")
    assert status == 2
    assert {finding["of"] for finding in findings} - {"gateway"} == {"server"}  # another test may have one


def test_the_usual_repository_is_looked_at_without_being_named(
    clinic: Clinic, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clinic.path.parent)
    _, findings = doctor(capsys)
    assert {finding["of"] for finding in findings} - {"gateway"} == {"machine"}
    clinic.path.rename("model_repository")
    _, findings = doctor(capsys)
    assert "seg names 1 class" in of_level(findings, "ok", "repository")


def test_a_url_that_is_none_is_refused(capsys: Captured) -> None:
    assert cli.main(["doctor", "--url", "localhost"]) == 1
    assert "is not the URL of a server" in capsys.readouterr().err


@pytest.fixture(scope="module")
def patient(demo_repository: Path) -> Iterator[Server]:
    """A server whose stubs may be killed, and stay dead."""
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    from maskserve_tools import serve

    with serve(demo_repository, models=[f"{DEMO}-single"], restart=False) as running:
        yield running


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_healthy_server_has_no_problem(patient: Server, protocol: str, capsys: Captured) -> None:
    url = patient.grpc_url if protocol == "grpc" else patient.http_url
    status, findings = doctor(capsys, "--url", url, "--metrics-url", patient.metrics_url)
    assert status == 0, findings
    well = of_level(findings, "ok", "server")
    assert f"{DEMO}-single answered 1 test image" in well
    assert f"metrics at {patient.metrics_url}" in well
    assert "it listens on 127.0.0.1, so only programs on this machine reach it" in well
    warnings = " ".join(of_level(findings, "warning", "server"))
    assert "Triton 2.51.0 has" in warnings
    for api in ("model-repository", "shared-memory", "trace", "logging"):
        assert f"the {api} API answers" in warnings
    assert doctor(capsys, "--url", url, "--strict")[0] == 1


def test_the_models_of_a_repository_are_tried(patient: Server, clinic: Clinic, capsys: Captured) -> None:
    status, findings = doctor(capsys, str(clinic.path), "--url", patient.grpc_url)
    assert status == 1
    assert of_level(findings, "problem", "server") == ["seg fails at a test image"]
    (why,) = [finding["why"] for finding in findings if finding["what"] == "seg fails at a test image"]
    assert f"it has {DEMO}-single" in why


def test_a_dead_stub_is_found_though_the_server_calls_itself_ready(patient: Server, capsys: Captured) -> None:
    stubs = [process.pid for process in session.members(patient.pid) if process.pid != patient.pid]
    assert stubs
    for stub in stubs:
        os.kill(stub, signal.SIGKILL)
    status, findings = doctor(capsys, "--url", patient.grpc_url)
    assert status == 1
    assert "it calls itself ready" in of_level(findings, "ok", "server")
    assert of_level(findings, "problem", "server") == [f"{DEMO}-single does not answer"]
