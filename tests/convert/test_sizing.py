"""How many instances and threads a model has: what its entries say, or what fits the cores that it is run on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2 as schema

from maskserve import contract
from maskserve.errors import ToolError
from maskserve_convert.triton import entries, repository
from maskserve_convert.triton.entries import TensorType
from maskserve_convert.triton.sized_view import sized_view
from maskserve_convert.triton.sizing import Sizing, Wanted, size_model, wanted, write
from maskserve_server.spec import CoreSpec, ModelSpec

CUT = {"detections": TensorType("FP32", (1, 20, 6)), "mask_logits": TensorType("FP32", (1, 20, 80, 80))}
SPEC = ModelSpec(
    "seg",
    "mask_rt_detr",
    {},
    (),
    ("person",),
    0.5,
    CoreSpec("openvino", "core.onnx", ("image",), tuple(CUT), (3, 8, 8)),
)
Configs = Mapping[str, schema.ModelConfig]


def built(layout: str = "ensemble", backend: str = "python", steps: int | None = None) -> dict[str, schema.ModelConfig]:
    """The configurations of a model as `convert` writes them."""
    if backend == "python":
        made = entries.build(SPEC, CUT, [], layout=layout, provenance="")
    else:
        config = schema.ModelConfig(name="seg.core", backend=backend)
        config.instance_group.add(
            kind=schema.ModelInstanceGroup.KIND_GPU if steps else schema.ModelInstanceGroup.KIND_CPU
        )
        made = entries.build_around(SPEC, CUT, repository.Entry(config), provenance="", instances=steps)
    return {entry.config.name: entry.config for entry in made}


def said(configs: Configs) -> dict[str, tuple[int, dict[str, str]]]:
    """What each entry says: the count of its instances, and its parameters but for the contract's."""
    public = {contract.PARAMETER_CONTRACT, contract.PARAMETER_LABELS, contract.PARAMETER_DRAW_THRESHOLD}
    return {
        name: (
            sum(group.count for group in config.instance_group),
            {key: value.string_value for key, value in config.parameters.items() if key not in public},
        )
        for name, config in configs.items()
    }


@pytest.mark.parametrize(
    ("cores", "asked", "size"),
    [
        (1, Wanted(), (1, 1)),
        (2, Wanted(), (1, 2)),
        (4, Wanted(), (1, 4)),
        (6, Wanted(), (1, 6)),
        (8, Wanted(), (2, 4)),
        (16, Wanted(), (4, 4)),
        (2, Wanted(instances=2), (2, 1)),
        (2, Wanted(instances=3), (3, 1)),
        (8, Wanted(threads=1), (8, 1)),
        (8, Wanted(threads=16), (1, 16)),
        (2, Wanted(5, 7), (5, 7)),
    ],
)
def test_what_fits(cores: int, asked: Wanted, size: tuple[int, int]) -> None:
    assert asked.on(cores) == Sizing(*size)


@given(st.integers(1, 512))
def test_the_cores_are_never_oversubscribed(cores: int) -> None:
    size = Wanted().on(cores)
    assert cores - size.instances < size.instances * size.threads <= cores


@pytest.mark.parametrize(
    ("backend", "parameters"),
    [
        ("python", {"threads": "4"}),
        ("onnxruntime", {"intra_op_thread_count": "4"}),
        ("openvino", {"INFERENCE_NUM_THREADS": "16", "NUM_STREAMS": "4"}),  # of all instances together
    ],
)
def test_a_model_fits_sixteen_cores(backend: str, parameters: dict[str, str]) -> None:
    configs = built(backend=backend)
    size_model("seg", configs, 16)
    found = said(configs)
    assert found["seg.core"] == (4, parameters)
    assert found["seg.preprocess"] == (1, {"instances": "2"})  # one process with one queue
    assert found["seg.postprocess"] == (2, {})
    before = {name: config.SerializeToString(deterministic=True) for name, config in configs.items()}
    size_model("seg", configs, 2)  # what is said once stays
    assert {name: config.SerializeToString(deterministic=True) for name, config in configs.items()} == before


def test_one_process_answers_several_at_the_same_time() -> None:
    configs = built("single")
    size_model("seg", configs, 16)
    assert said(configs) == {"seg": (1, {"instances": "4", "threads": "4"})}
    configs = built("single")
    configs["seg"].instance_group[0].count = 3  # as somebody wrote it: several processes would have a queue each
    size_model("seg", configs, 6)
    assert said(configs) == {"seg": (1, {"instances": "3", "threads": "2"})}


@pytest.mark.parametrize("backend", ["python", "onnxruntime", "openvino"])
@pytest.mark.parametrize("size", [Wanted(3, 2), Wanted(3), Wanted(threads=2), Wanted()])
def test_what_an_entry_says_comes_first_and_what_is_asked_for_before_that(backend: str, size: Wanted) -> None:
    configs = built(backend=backend)
    write(configs["seg.core"], size)
    assert wanted(configs["seg.core"]) == size
    size_model("seg", configs, 16)
    on = size.on(16)
    assert wanted(configs["seg.core"]) == Wanted(on.instances, on.threads)
    size_model("seg", configs, 16, Wanted(threads=5))
    assert wanted(configs["seg.core"]) == Wanted(on.instances, 5)


def test_what_is_not_ours_or_on_a_gpu_stays() -> None:
    foreign = schema.ModelConfig(name="seg.core", backend="python")
    for configs in ({"seg.core": foreign}, built(backend="onnxruntime", steps=4)):
        before = {name: config.SerializeToString(deterministic=True) for name, config in configs.items()}
        for name in configs:
            size_model(name, configs, 16)
        assert {name: config.SerializeToString(deterministic=True) for name, config in configs.items()} == before


def test_a_gpu_has_more_of_the_other_steps() -> None:
    found = said(built(backend="onnxruntime", steps=4))
    assert (found["seg.preprocess"], found["seg.postprocess"]) == ((1, {"instances": "4"}), (4, {}))


@pytest.mark.parametrize("text", ["two", "-1", "1.5", "٣"])
def test_what_is_no_number_is_refused(text: str) -> None:
    configs = built()
    configs["seg.core"].parameters["threads"].string_value = text
    with pytest.raises(ToolError, match=r"threads of seg\.core"):
        size_model("seg", configs, 2)


def test_a_view_of_a_repository(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    repository.write(folder, "seg", entries.build(SPEC, CUT, [], layout="ensemble", provenance="{}"))
    (folder / "broken").mkdir()
    (folder / "broken" / "config.pbtxt").write_text("name: ")
    (folder / "README.md").write_text("hello")
    before = (folder / "seg.core" / "config.pbtxt").read_text()
    view = sized_view(folder, 8, Wanted())
    config = text_format.Parse((view / "seg.core" / "config.pbtxt").read_text(), schema.ModelConfig())
    assert wanted(config) == Wanted(2, 4)
    assert (folder / "seg.core" / "config.pbtxt").read_text() == before
    for path in folder.rglob("*"):
        shown = view / path.relative_to(folder)
        assert shown.exists()
        if path.is_file() and path.name != "config.pbtxt":
            assert shown.read_bytes() == path.read_bytes()
    assert (view / "broken" / "config.pbtxt").read_text() == "name: "
