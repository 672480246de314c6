"""The demo model and small ones, converted for Triton's containers, and what their ONNX files declare."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

from maskserve_convert.onnx.batching import Arrays, Signature
from maskserve_convert.triton.entries import TensorType
from maskserve_server.engine_table import CONTAINER_CPU, CONTAINER_GPU
from maskserve_server.preprocess import Preprocessor
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import feeds
from maskserve_tools import convert
from tests.conftest import ROOT

CPU, GPU = CONTAINER_CPU, CONTAINER_GPU
CHOICES: dict[str, dict[str, Any]] = {
    "cpu": {"target": CPU},
    "openvino": {"target": CPU, "engine": "openvino"},
    "bf16": {"target": CPU, "precision": "bf16"},
    "gpu": {"target": GPU},
    "tensorrt": {"target": GPU, "precision": "fp16"},
}
PHOTOS = sorted((ROOT / "demo" / "photos").glob("*.jpg"))


@dataclass(frozen=True, slots=True)
class Made:
    """A model, converted for a container."""

    path: Path
    name: str

    def config(self, step: str = "") -> schema.ModelConfig:
        text = (self.path / f"{self.name}{step}" / "config.pbtxt").read_text()
        return text_format.Parse(text, schema.ModelConfig())

    @property
    def core(self) -> Path:
        return self.path / f"{self.name}.core"

    @property
    def onnx_file(self) -> Path:
        return self.core / "1" / "model.onnx"

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec.read(self.path / f"{self.name}.preprocess" / "1")

    @property
    def provenance(self) -> dict[str, object]:
        document: dict[str, object] = json.loads((self.core / "provenance.json").read_text())
        return document

    def images(self) -> list[Arrays]:
        """Four different images, as the core reads them; each has a scale of its own."""
        read = [cv2.imread(str(path)) for path in PHOTOS]
        prepare = Preprocessor(self.spec.preprocess)
        return [feeds(prepare(image)) for image in [*read, read[0][:, ::-1].copy()]]


@pytest.fixture(scope="session")
def made(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """Converts the demo model for a container, once for each choice."""
    root, done = tmp_path_factory.mktemp("containers"), dict[str, Made]()

    def make(choice: str) -> Made:
        if choice not in done:
            convert(demo_model, repository=root / choice, name="people", **CHOICES[choice])
            done[choice] = Made(root / choice, "people")
        return done[choice]

    return make


@pytest.fixture(scope="session")
def tiny(paddle_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Converts a small model of a real architecture for a container, once."""
    root = tmp_path_factory.mktemp("tiny")

    def make(name: str, choice: str) -> Made:
        path = root / f"{name}.{choice}"
        if not path.exists():
            convert(paddle_model(name), repository=path, name="m", **CHOICES[choice])
        return Made(path, "m")

    return make


def declared_in_onnx(path: Path) -> Signature:
    """What the file says, read by onnx alone."""
    import onnx

    kinds = {onnx.TensorProto.FLOAT: "FP32", onnx.TensorProto.INT32: "INT32"}

    def types(tensors: object) -> dict[str, TensorType]:
        found = {}
        for tensor in tensors:  # type: ignore[attr-defined]
            kind = tensor.type.tensor_type
            dims = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
            found[tensor.name] = TensorType(kinds[kind.elem_type], dims)
        return found

    graph = onnx.load(path).graph
    return Signature(types(graph.input), types(graph.output))
