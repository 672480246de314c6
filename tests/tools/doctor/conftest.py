"""Small repositories as `convert` writes them, to be damaged, and machines of any size."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from maskserve_convert.triton import entries, repository
from maskserve_convert.triton.entries import TensorType
from maskserve_convert.triton.repository import PROVENANCE
from maskserve_server.spec import CoreSpec, ModelSpec
from maskserve_tools.doctor.finding import Finding, Level
from maskserve_tools.doctor.machine import Machine
from maskserve_tools.doctor.read_entries import ReadEntry, read_entries

CUT = {"detections": TensorType("FP32", (1, 20, 6)), "mask_logits": TensorType("FP32", (1, 20, 80, 80))}
RECORD = {
    "contract": 1,
    "family": "mask_rt_detr",
    "engine": {"name": "openvino", "precision": "fp32"},
    "versions": {"openvino": "2026.1.0", "maskserve": "0.1.0"},
}
GIB = 1 << 30


class Clinic:
    """A repository that can be damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def convert(
        self,
        name: str = "seg",
        *,
        layout: str = "ensemble",
        labels: tuple[str, ...] = ("person",),
        classes: int | None = None,
    ) -> None:
        core = self.path.parent / "core.onnx"
        core.write_bytes(b"network")
        spec = ModelSpec(
            name, "mask_rt_detr", {}, (), labels, 0.5,
            CoreSpec("openvino", "core.onnx", ("image",), tuple(CUT), (3, 320, 320)), classes=classes,
        )  # fmt: skip
        provenance = json.dumps({**RECORD, "layout": layout})
        repository.write(self.path, name, entries.build(spec, CUT, [core], layout=layout, provenance=provenance))

    def configure(self, name: str, change: Callable[[Any], object]) -> None:
        path = self.path / name / "config.pbtxt"
        config = text_format.Parse(path.read_text(), ModelConfig())
        change(config)
        path.write_text(text_format.MessageToString(config))

    def record(self, name: str, **changes: Any) -> None:
        path = self.path / name / PROVENANCE
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def to_backend(self, name: str, backend: str, **parameters: str) -> None:
        """Let a core run in one of Triton's C++ backends, as `convert --target` has it."""
        version = self.path / name / "1"
        shutil.rmtree(version)
        version.mkdir()
        (version / "model.onnx").write_bytes(b"network")

        def change(config: Any) -> None:
            config.backend, config.default_model_filename = backend, "model.onnx"
            for key, value in parameters.items():
                config.parameters[key].string_value = value

        self.configure(name, change)

    def read(self) -> list[ReadEntry]:
        read = read_entries(self.path)
        assert not read.findings
        return list(read.entries)


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    """A repository with one converted model, "seg"."""
    made = Clinic(tmp_path / "models")
    made.convert()
    return made


def machine(**changes: Any) -> Machine:
    """A machine with room for everything, but for `changes`."""
    usual: dict[str, Any] = {
        "cores": 4,
        "quota": None,
        "memory": 8 * GIB,
        "shared_memory": GIB,
        "open_files": 4096,
        "cpu_flags": frozenset({"avx2", "avx512f"}),
        "gpus": 0,
    }
    return Machine(**{**usual, **changes})


def levels(findings: list[Finding]) -> set[Level]:
    return {finding.level for finding in findings}


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding
