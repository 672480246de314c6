"""Entries for Triton's containers, by every means short of a container: the schema, and what the ONNX files say."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from tritonclient.grpc import model_config_pb2 as schema

from maskserve import contract
from maskserve_convert.triton import targets
from maskserve_convert.triton.entries import TensorType
from tests.convert.conftest import needs_paddle
from tests.convert.containers.conftest import CHOICES, Made, declared_in_onnx


def _declared_in_config(tensors: object) -> dict[str, TensorType]:
    return {
        tensor.name: TensorType(schema.DataType.Name(tensor.data_type).removeprefix("TYPE_"), tuple(tensor.dims))
        for tensor in tensors  # type: ignore[attr-defined]
    }


def _check_core(core: Made) -> None:
    """What every core's entry holds, whatever runs it."""
    config, signature = core.config(".core"), declared_in_onnx(core.onnx_file)
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
