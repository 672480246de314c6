"""What an engine raises while a core is made for a container: "auto" moves on with its reason, and nothing is raw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maskserve.errors import ToolError
from maskserve_convert import container_cores
from maskserve_convert.paddle.damage import DamagedFile
from maskserve_convert.triton.container_core import ContainerCore
from maskserve_convert.triton.targets import Container
from maskserve_server.spec import ModelSpec
from maskserve_tools import convert
from tests.convert.conftest import needs_paddle

pytestmark = needs_paddle
FOREIGN = RuntimeError("[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED\nCould not find an implementation")


def fail_for(*backends: str) -> Any:
    real = container_cores.container_core

    def step(spec: ModelSpec, container: Container, onnx_file: Path, scratch: Path) -> ContainerCore:
        if container.backend in backends:
            raise FOREIGN
        return real(spec, container, onnx_file, scratch)

    return step


def test_auto_moves_on_to_the_next_backend_with_the_reason(
    demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_cores, "container_core", fail_for("onnxruntime"))
    lines: list[str] = []
    made = convert(demo_model, repository=tmp_path, name="m", target="container-cpu", report=lines.append)
    said = "onnxruntime cannot run it: RuntimeError / [ONNXRuntimeError] : 9 : NOT_IMPLEMENTED / Could not find an impl"
    assert made.engine == "openvino"
    assert made.reason.startswith(said)
    assert "bfloat16" in made.reason  # what the next one costs
    assert sum(said in line for line in lines) == 1
    provenance = json.loads((tmp_path / "m.core" / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["engine"]["why"] == made.reason
    assert 'backend: "openvino"' in (tmp_path / "m.core" / "config.pbtxt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (
            {"target": "container-cpu", "engine": "onnxruntime"},
            "cannot be made for onnxruntime in container-cpu: Runtime",
        ),
        ({"target": "container-gpu"}, "cannot be made for onnxruntime in container-gpu: RuntimeError / "),
        ({"target": "container-cpu"}, r"no engine can run this model for container-cpu: onnxruntime .*; openvino "),
    ],
)
def test_where_nothing_is_left_it_is_said(
    choice: dict[str, Any], words: str, demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_cores, "container_core", fail_for("onnxruntime", "openvino"))
    with pytest.raises(ToolError, match=words):
        convert(demo_model, repository=tmp_path / "models", **choice)
    assert not (tmp_path / "models").exists()


def test_a_damaged_file_is_reported_once(demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def make(_model: object, _scratch: object, engine: str, *_: object, **__: object) -> None:
        asked.append(engine)
        raise DamagedFile("inference.pdiparams is damaged")

    monkeypatch.setattr(container_cores, "make_core", make)
    with pytest.raises(DamagedFile, match=r"^inference\.pdiparams is damaged$"):
        convert(demo_model, repository=tmp_path / "models", target="container-cpu")
    assert asked == ["onnxruntime"]
