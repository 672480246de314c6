"""What cannot be made for Triton's containers, or served without one, and how that is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2 as schema

from maskserve.errors import ToolError
from maskserve_server.engine_table import CONTAINER_CPU, CONTAINER_GPU
from maskserve_tools import convert
from maskserve_tools.embedded.runnable import check_backends
from maskserve_tools.embedded.served_entries import Entry
from tests.convert.conftest import needs_paddle

CPU, GPU = CONTAINER_CPU, CONTAINER_GPU


@needs_paddle
def test_what_triton_refuses_is_refused_here(paddle_model: Callable[[str], Path], tmp_path: Path) -> None:
    folder = paddle_model("tiny-MaskRCNN-320")
    with pytest.raises(ToolError, match="images of any size, and TensorRT would compile"):
        convert(folder, repository=tmp_path / "models", target=GPU, precision="fp16")
    with pytest.raises(ToolError, match=r"OpenVINO backend refuses .* use --engine onnxruntime"):
        convert(folder, repository=tmp_path / "models", target=CPU, engine="openvino")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"target": "cloud"}, "embedded, container-cpu, container-gpu"),
        ({"target": CPU, "layout": "single"}, "use --layout ensemble"),
        ({"target": CPU, "engine": "paddle"}, "onnxruntime or openvino, not on paddle"),
        ({"target": GPU, "engine": "openvino"}, "runs on onnxruntime, not on openvino"),
        ({"target": GPU, "precision": "bf16"}, "fp32 or fp16, not in bf16"),
        ({"target": CPU, "precision": "fp16"}, "fp32 or bf16 or int8, not in fp16"),
        ({"target": GPU, "precision": "int8"}, "fp32 or fp16, not in int8"),
        (
            {"target": CPU, "precision": "int8"},
            "int8 is calibrated on images .*--calibration",
        ),
        ({"precision": "int8", "engine": "paddle"}, "for int8 use --engine openvino or onnxruntime"),
        ({"calibration": [Path("images")]}, "--calibration are for --precision int8, not for fp32"),
        ({"target": CPU, "precision": "bf16", "engine": "onnxruntime"}, "for bf16 use --engine openvino"),
    ],
)
def test_what_a_container_cannot_do_is_said_before_anything_is_read(
    choice: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ToolError, match=words):
        convert(tmp_path / "nowhere", repository=tmp_path / "models", **choice)


def test_the_embedded_server_says_which_target_it_needs(tmp_path: Path) -> None:
    entries = [
        Entry("m.preprocess", tmp_path, schema.ModelConfig(backend="python")),
        Entry("m", tmp_path, schema.ModelConfig(platform="ensemble")),
    ]
    check_backends(entries)
    core = Entry("m.core", tmp_path, schema.ModelConfig(backend="onnxruntime"))
    with pytest.raises(ToolError, match=r"m\.core needs Triton's onnxruntime backend.*--target embedded"):
        check_backends([*entries, core])
