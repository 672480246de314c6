"""Entries for Triton's containers, by every means short of a container: the schema, the ONNX files, both runtimes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as schema

from maskserve import contract
from maskserve_convert.onnx import batching
from maskserve_convert.onnx.batching import Arrays, OnnxCore, Signature, why_not_batched
from maskserve_convert.triton import targets
from maskserve_convert.triton.entries import TensorType
from maskserve_server.engine_table import CONTAINER_CPU, CONTAINER_GPU
from maskserve_server.preprocess import Preprocessor
from maskserve_server.spec import ModelSpec
from maskserve_server.stages import feeds
from maskserve_tools import convert
from tests.convert.conftest import needs_paddle

CPU, GPU = CONTAINER_CPU, CONTAINER_GPU
CHOICES: dict[str, dict[str, Any]] = {
    "cpu": {"target": CPU},
    "openvino": {"target": CPU, "engine": "openvino"},
    "bf16": {"target": CPU, "precision": "bf16"},
    "gpu": {"target": GPU},
    "tensorrt": {"target": GPU, "precision": "fp16"},
}
ROOT = Path(__file__).parent.parent.parent
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


def _declared_in_onnx(path: Path) -> Signature:
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


def _declared_in_config(tensors: object) -> dict[str, TensorType]:
    return {
        tensor.name: TensorType(schema.DataType.Name(tensor.data_type).removeprefix("TYPE_"), tuple(tensor.dims))
        for tensor in tensors  # type: ignore[attr-defined]
    }


def _check_core(core: Made) -> None:
    """What every core's entry holds, whatever runs it."""
    config, signature = core.config(".core"), _declared_in_onnx(core.onnx_file)
    assert config.default_model_filename == core.onnx_file.name
    assert not (core.core / "1" / "model.py").exists()
    if config.max_batch_size:
        assert signature.open_batch
        signature = signature.without_batch()
        assert max(config.dynamic_batching.preferred_batch_size) <= config.max_batch_size
    assert _declared_in_config(config.input) == signature.inputs
    assert _declared_in_config(config.output) == signature.outputs
    for sample in config.model_warmup:
        assert set(sample.inputs) == set(signature.inputs)
        assert 1 <= sample.batch_size <= max(1, config.max_batch_size)
        for name, tensor in sample.inputs.items():
            declared = signature.inputs[name].dims
            assert len(tensor.dims) == len(declared)
            assert all(fixed in (-1, given) for fixed, given in zip(declared, tensor.dims, strict=True))
            if not tensor.zero_data:
                held = np.frombuffer((core.core / "warmup" / tensor.input_data_file).read_bytes(), np.float32)
                assert held.size == np.prod(tensor.dims)
                assert (held > 0).all() or name == "threshold"  # of 0: what is found at it warms up the rest, too


def _check_around(core: Made) -> None:
    """The steps before and behind it, and what clients read."""
    ensemble = core.config()
    assert ensemble.max_batch_size == 0
    assert json.loads(ensemble.parameters[contract.PARAMETER_LABELS].string_value) == list(core.spec.labels)
    assert ensemble.parameters[contract.PARAMETER_CONTRACT].string_value == str(contract.VERSION)
    assert (core.path / core.name / "labels.txt").read_text().splitlines() == list(core.spec.labels)
    known = {tensor.name for tensor in ensemble.input}
    for step in ensemble.ensemble_scheduling.step:
        config = core.config(step.model_name.removeprefix(core.name))
        assert set(step.input_map) == {tensor.name for tensor in config.input}
        assert set(step.input_map.values()) <= known
        assert set(step.output_map) <= {tensor.name for tensor in config.output}
        known |= set(step.output_map.values())


@needs_paddle
@pytest.mark.parametrize("choice", CHOICES)
def test_the_configuration_is_that_of_the_file(choice: str, made: Callable[[str], Made]) -> None:
    core = made(choice)
    _check_core(core)
    _check_around(core)
    assert core.provenance["target"] == CHOICES[choice]["target"]


@needs_paddle
@pytest.mark.parametrize("name", ["tiny-SOLOv2-320", "tiny-MaskRCNN-320"])
def test_what_cannot_batch_takes_images_one_by_one(name: str, tiny: Callable[..., Made]) -> None:
    core = tiny(name, "cpu")
    _check_core(core)
    _check_around(core)
    config = core.config(".core")
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert str(core.provenance["batches"]).startswith("one by one: ")
    # The core cannot know the threshold of a request without one: the preprocessing hands it on.
    steps = {step.model_name: step for step in core.config().ensemble_scheduling.step}
    assert steps["m.preprocess"].input_map["THRESHOLD"] == "THRESHOLD"
    assert steps["m.preprocess"].output_map["threshold"] == steps["m.core"].input_map["threshold"] == "threshold"


@needs_paddle
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_batch_of_the_demo_model_is_its_photos_one_by_one(size: int, made: Callable[[str], Made]) -> None:
    _check_batch(made("gpu"), size)


@needs_paddle
@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("name", ["tiny-Mask-RT-DETR-320", "tiny-PP-YOLOE_seg-320"])
def test_a_batch_is_its_photos_one_by_one(name: str, size: int, tiny: Callable[..., Made]) -> None:
    _check_batch(tiny(name, "gpu"), size)


def _check_batch(made: Made, size: int) -> None:
    assert made.config(".core").max_batch_size >= size
    core, images = OnnxCore(made.onnx_file), made.images()[:size]
    single = [core(image) for image in images]
    together = core({name: np.concatenate([image[name] for image in images]) for name in core.signature.inputs})
    for name, batch in together.items():
        apart = np.concatenate([answer[name] for answer in single])
        assert len(batch) == size
        assert size == 1 or not np.allclose(apart[0], apart[1]), "the images do not differ"
        np.testing.assert_allclose(batch, apart, rtol=1e-4, atol=1e-4 * float(np.abs(apart).max()))


@needs_paddle
def test_openvino_gets_a_core_of_one_image_that_answers_the_same(made: Callable[[str], Made]) -> None:
    import openvino

    fixed, open_batch = made("openvino"), made("gpu")
    model = openvino.Core().read_model(fixed.onnx_file)
    assert not any(port.partial_shape.is_dynamic for port in (*model.inputs, *model.outputs))
    for image in fixed.images()[:2]:
        expected = OnnxCore(open_batch.onnx_file)(image)
        for name, answer in OnnxCore(fixed.onnx_file)(image).items():
            np.testing.assert_allclose(answer, expected[name], atol=1e-4 * float(np.abs(expected[name]).max()))


@needs_paddle
def test_a_core_whose_answers_depend_on_the_batch_is_found_out(
    made: Callable[[str], Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    core, images = OnnxCore(made("gpu").onnx_file), made("gpu").images()
    assert why_not_batched(core, images) is None

    def first_for_all(self: OnnxCore, arrays: Arrays) -> dict[str, np.ndarray]:
        answer = run(self, arrays)
        return {name: np.broadcast_to(array[:1], array.shape) for name, array in answer.items()}

    run = OnnxCore.__call__
    monkeypatch.setattr(OnnxCore, "__call__", first_for_all)
    assert "is not that of the images one by one" in str(why_not_batched(core, images))


@needs_paddle
def test_a_gpu_gets_its_accelerators(made: Callable[[str], Made]) -> None:
    cuda, tensorrt = made("gpu").config(".core"), made("tensorrt").config(".core")
    for config in (cuda, tensorrt):
        [group] = config.instance_group
        assert group.kind == schema.ModelInstanceGroup.KIND_GPU
    named = {one.name: one for one in tensorrt.optimization.execution_accelerators.gpu_execution_accelerator}
    assert list(named) == ["tensorrt", "cuda"]
    assert "precision_mode" not in named["tensorrt"].parameters  # which TensorRT 11 does not have: the graph is in fp16
    assert named["tensorrt"].parameters["trt_engine_cache_path"].startswith("/var/cache/maskserve/people.core-")
    assert [one.name for one in cuda.optimization.execution_accelerators.gpu_execution_accelerator] == ["cuda"]
    # The largest batch first, then the smallest: between them TensorRT has seen the whole range.
    assert [sample.batch_size for sample in tensorrt.model_warmup][:2] == [tensorrt.max_batch_size, 1]
    assert set(tensorrt.dynamic_batching.preferred_batch_size) <= {s.batch_size for s in tensorrt.model_warmup}


@needs_paddle
def test_the_graph_for_tensorrt_is_in_fp16_with_float32_at_its_ends(made: Callable[[str], Made]) -> None:
    """On ONNX Runtime's CPU it answers as in fp32: scores within 0.005, boxes within 1 px, logits within 3 %."""
    import onnx
    from onnx import TensorProto

    half = onnx.load(str(made("tensorrt").onnx_file))
    kinds = {value.type.tensor_type.elem_type for value in (*half.graph.input, *half.graph.output)}
    assert kinds == {TensorProto.FLOAT}
    kernels = {node.input[1] for node in half.graph.node if node.op_type == "Conv"}
    stored = {one.name: one.data_type for one in half.graph.initializer}
    assert len(kernels) > 50 and {stored[name] for name in kernels} == {TensorProto.FLOAT16}
    expected, found = OnnxCore(made("gpu").onnx_file), OnnxCore(made("tensorrt").onnx_file)
    for arrays in made("gpu").images():
        before, after = expected(arrays), found(arrays)
        best = before["detections"][0, 0], after["detections"][0, 0]
        assert best[0][0] == best[1][0] and abs(best[0][1] - best[1][1]) < 0.005
        np.testing.assert_allclose(best[1][2:], best[0][2:], atol=1)
        logits = before["mask_logits"][0, 0]
        assert np.abs(logits - after["mask_logits"][0, 0]).max() < 0.03 * np.abs(logits).max()


@needs_paddle
def test_openvino_on_a_cpu_says_what_it_computes_in(made: Callable[[str], Made]) -> None:
    assert made("bf16").config(".core").parameters["HINT_BF16"].string_value == "YES"
    assert "HINT_BF16" not in made("openvino").config(".core").parameters
    assert "bfloat16" in str(made("openvino").provenance["engine"])


@needs_paddle
@pytest.mark.parametrize("choice", ["cpu", "openvino", "bf16"])
def test_a_cpu_takes_images_one_by_one_and_leaves_the_cores_to_the_start(
    choice: str, made: Callable[[str], Made]
) -> None:
    config = made(choice).config(".core")
    assert config.max_batch_size == 0 and not config.HasField("dynamic_batching")
    assert str(made(choice).provenance["batches"]).startswith("one by one: ")
    [group] = config.instance_group
    assert (group.kind, group.count) == (schema.ModelInstanceGroup.KIND_CPU, 0)
    said = {key: value.string_value for key, value in config.parameters.items()}
    usual = {"inter_op_thread_count": "1", "enable_mem_arena": "0"}  # an arena took 0.9 GB more for an instance
    assert said == {"cpu": usual, "openvino": {}, "bf16": {"HINT_BF16": "YES"}}[choice]
    assert [sample.batch_size for sample in config.model_warmup] == [1]


@pytest.mark.parametrize(
    ("target", "engine", "precision", "exact"),
    [
        ("container-cpu", "auto", "fp32", True),
        ("container-cpu", "openvino", "fp32", False),
        ("container-cpu", "auto", "bf16", False),
        ("container-gpu", "auto", "fp32", False),
        ("container-gpu", "auto", "fp16", False),
    ],
)
def test_float32_is_true_on_onnx_runtime_on_a_cpu(target: str, engine: str, precision: str, exact: bool) -> None:
    found = targets.containers(target, engine, precision, "ensemble")[0]
    assert found.exact is exact


def test_shapes_are_written_where_they_are_open(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the convert extra")
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 2])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", "n"])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    path = tmp_path / "core.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    signature = OnnxCore(path).signature
    batching.write_shapes(path, signature)
    assert _declared_in_onnx(path) == signature
    assert signature.outputs["y"].dims == (-1, 2)
    batching.fix_batch(path, ["y"])
    assert OnnxCore(path).signature.outputs["y"].dims == (1, 2)
