"""The stages, and Triton's side of them, with a stand-in for Triton's backend module."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from maskserve import contract
from maskserve.decoding.decoders import OwnProcess
from maskserve.decoding.limits import Limits
from maskserve.errors import ImageTooLarge, InvalidImage, InvalidParameter, ToolError, from_wire
from maskserve_server import stages, triton
from maskserve_server.spec import CoreSpec, ModelSpec
from maskserve_server.stages import Core, Postprocess, Preprocess
from maskserve_server.triton import read_spec, respond, thread_count

SPEC = ModelSpec(
    name="model",
    family="mask_rt_detr",
    settings={"mask_threshold": 0.5},
    preprocess=(
        {"type": "Resize", "target_size": [32, 32], "keep_ratio": False, "interp": 2},
        {"type": "NormalizeImage", "mean": [0, 0, 0], "std": [1, 1, 1], "norm_type": "none"},
        {"type": "Permute"},
    ),
    labels=("person", "Zürich 雪"),
    draw_threshold=0.5,
    core=CoreSpec("openvino", "core.onnx", ("image",), ("detections", "mask_logits"), (3, 32, 32)),
    limits=Limits(max_bytes=1000_000, max_pixels=10_000),
)


def _image(height: int = 20, width: int = 30) -> np.ndarray:
    data = cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes()
    return np.array([data], np.object_)


def _cut() -> dict[str, np.ndarray]:
    return {
        "detections": np.array([[[1, 0.9, 2, 2, 12, 12], [0, 0.4, 0, 0, 5, 5]]], np.float32),
        "mask_logits": np.ones((1, 2, 8, 8), np.float32),
        "scale_factor": np.ones((1, 2), np.float32),
        contract.IMAGE_SIZE: np.array([20, 30], np.int32),
    }


def test_a_spec_survives_its_file(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(SPEC.to_json())
    assert ModelSpec.read(tmp_path) == SPEC


def test_a_spec_of_another_contract_is_refused() -> None:
    text = SPEC.to_json().replace(f'"contract": {contract.VERSION}', '"contract": 99')
    with pytest.raises(ToolError, match="update this one"):
        ModelSpec.from_json(text)


def test_preprocessing_gives_the_networks_inputs_and_the_size() -> None:
    arrays = Preprocess(SPEC, OwnProcess(SPEC.limits))({contract.IMAGE: _image()})
    assert arrays["image"].shape == (1, 3, 32, 32)
    assert arrays[contract.IMAGE_SIZE].tolist() == [20, 30]


@pytest.mark.parametrize(("asked", "handed"), [(None, 0.5), (0.25, 0.25)])
def test_preprocessing_hands_the_threshold_to_a_core_that_reads_it(asked: float | None, handed: float) -> None:
    preprocess = Preprocess(
        replace(SPEC, core=replace(SPEC.core, inputs=("image", "threshold"))), OwnProcess(SPEC.limits)
    )
    assert contract.THRESHOLD in preprocess.inputs
    threshold = None if asked is None else np.array([asked], np.float32)
    arrays = preprocess({contract.IMAGE: _image(), contract.THRESHOLD: threshold})
    assert arrays["threshold"].dtype == np.float32
    assert arrays["threshold"].tolist() == [[handed]]
    with pytest.raises(InvalidParameter, match="finite"):
        preprocess({contract.IMAGE: _image(), contract.THRESHOLD: np.array([np.nan], np.float32)})


@pytest.mark.parametrize("image", [None, np.array([], np.object_), np.array([b"a", b"b"], np.object_)])
def test_a_request_must_carry_one_image(image: np.ndarray | None) -> None:
    with pytest.raises(InvalidImage, match="exactly one"):
        Preprocess(SPEC, OwnProcess(SPEC.limits))({contract.IMAGE: image})


@pytest.mark.parametrize(("threshold", "count"), [(None, 1), (0.95, 0), (0.3, 2)])
def test_postprocessing_takes_the_requests_threshold(threshold: float | None, count: int) -> None:
    given = None if threshold is None else np.array([threshold], np.float32)
    arrays = Postprocess(SPEC)({**_cut(), contract.THRESHOLD: given, contract.CLASS_IDS: None})
    assert set(arrays) == set(contract.OUTPUTS)
    assert arrays[contract.MASKS].dtype == np.object_
    assert all(len(arrays[name]) == count for name in (contract.BOXES, contract.SCORES, contract.MASKS))


def test_two_thresholds_are_refused() -> None:
    inputs = {**_cut(), contract.THRESHOLD: np.zeros(2, np.float32), contract.CLASS_IDS: None}
    with pytest.raises(InvalidParameter, match="one threshold"):
        Postprocess(SPEC)(inputs)


class _Recorder:
    """An engine that answers nothing and remembers what it was fed."""

    def __init__(self) -> None:
        self.feeds: list[dict[str, np.ndarray]] = []

    def __call__(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.feeds.append(feeds)
        return {"detections": np.zeros((1, 2, 6), np.float32), "mask_logits": np.zeros((1, 2, 8, 8), np.float32)}


@pytest.mark.parametrize(("asked", "fed"), [(None, 0.5), (0.25, 0.25)])
def test_a_core_that_reads_the_threshold_gets_the_requests_or_the_models(
    asked: float | None, fed: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = _Recorder()
    monkeypatch.setattr(stages, "load_engine", lambda *_, **__: engine)
    spec = replace(SPEC, core=replace(SPEC.core, inputs=("image", "threshold")))
    single = stages.Single(spec, tmp_path, threads=1, decoder=OwnProcess(spec.limits))
    given = None if asked is None else np.array([asked], np.float32)
    single({contract.IMAGE: _image(), contract.THRESHOLD: given, contract.CLASS_IDS: None})
    assert engine.feeds[-1]["threshold"].tolist() == [[fed]]
    assert engine.feeds[-1]["image"].shape == (1, 3, 32, 32)


@dataclass
class Tensor:
    name: str
    array: np.ndarray

    def as_numpy(self) -> np.ndarray:
        return self.array


@dataclass
class TritonError:
    message: str
    code: str
    INVALID_ARG: ClassVar[str] = "invalid"
    INTERNAL: ClassVar[str] = "internal"


@dataclass
class Response:
    tensors: list[Tensor]
    error: TritonError | None = None


@dataclass
class Logger:
    lines: list[str] = field(default_factory=list)

    def log_error(self, line: str) -> None:
        self.lines.append(line)


class Backend:
    """What the adapters use of `triton_python_backend_utils`."""

    InferenceResponse = Response
    Tensor = Tensor
    TritonError = TritonError

    def __init__(self) -> None:
        self.Logger = Logger()

    @staticmethod
    def get_input_tensor_by_name(request: dict[str, np.ndarray], name: str) -> Any:
        return Tensor(name, request[name]) if name in request else None


def test_a_bad_request_fails_alone_and_carries_its_typed_error() -> None:
    stage = Preprocess(SPEC, OwnProcess(SPEC.limits))
    bad = {contract.IMAGE: np.array([b"no image"], np.object_)}
    responses = respond(Backend(), [{contract.IMAGE: _image()}, bad, {contract.IMAGE: _image()}], stage, stage.inputs)
    assert [response.error is None for response in responses] == [True, False, True]
    assert responses[1].error.code == TritonError.INVALID_ARG
    assert isinstance(from_wire(f"in ensemble 'model', {responses[1].error.message}"), InvalidImage)


def test_an_unexpected_failure_is_logged_and_not_told() -> None:
    backend = Backend()

    def fail(inputs: Any) -> Any:
        raise RuntimeError("secret path /somewhere/model.onnx")

    (response,) = respond(backend, [{}], fail, ())
    assert response.error.code == TritonError.INTERNAL
    assert "secret" not in response.error.message
    (line,) = backend.Logger.lines
    assert "RuntimeError: secret path" in line
    assert "Traceback" in line, "the log says why"
    assert "in fail" in line, "and where"


def test_the_adapters_find_their_description(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.json").write_text(SPEC.to_json())
    assert read_spec({"model_repository": str(tmp_path), "model_version": "1"}) == SPEC


def test_a_step_beside_those_of_another_conversion_is_not_loaded(tmp_path: Path) -> None:
    for name in ("model", "model.core", "model.postprocess"):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "model.json").write_text(SPEC.to_json())
        (tmp_path / name / "provenance.json").write_text("{}")
    core = {"model_repository": str(tmp_path / "model.core"), "model_version": "1"}
    assert read_spec(core) == SPEC
    (tmp_path / "model.postprocess" / "provenance.json").write_text('{"another": 1}')
    with pytest.raises(ToolError, match=r"model and model\.postprocess are not of one conversion: convert model again"):
        read_spec(core)
    alone = {"model_repository": str(tmp_path / "model"), "model_version": "1"}
    assert read_spec(alone) == SPEC  # a model of its own beside steps that an earlier one left


def test_what_an_adapter_loads_is_of_the_description_that_it_read(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.json").write_text(SPEC.to_json())
    arguments = {"model_repository": str(tmp_path), "model_version": "1"}
    with triton.reading_spec(arguments) as spec:
        assert spec == SPEC
    with pytest.raises(ToolError, match="written anew"), triton.reading_spec(arguments):
        (tmp_path / "1").rename(tmp_path / "old")
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "model.json").write_text(replace(SPEC, labels=("car",)).to_json())


@pytest.mark.parametrize(("parameters", "count", "wanted"), [({"threads": {"string_value": "3"}}, 1, 3), ({}, 4096, 1)])
def test_threads_are_configured_or_shared_out(parameters: dict[str, Any], count: int, wanted: int) -> None:
    config = {"parameters": parameters, "instance_group": [{"count": count}]}
    assert thread_count({"model_config": json.dumps(config)}) == wanted


def _asked(spec: ModelSpec, class_ids: list[int]) -> dict[str, Any]:
    inputs = {**_cut(), contract.THRESHOLD: None, contract.CLASS_IDS: np.array(class_ids, np.int32)}
    return Postprocess(spec)(inputs)


@pytest.mark.parametrize("labels", [("person",), ("person", "car", "cat"), ()])
def test_class_ids_are_held_against_the_networks_classes_whatever_the_labels(labels: tuple[str, ...]) -> None:
    """A model with more or fewer classes than labels."""
    spec = replace(SPEC, classes=2, labels=labels)
    assert _asked(spec, [1])[contract.LABELS].tolist() == [1]
    assert _asked(spec, [0])[contract.LABELS].tolist() == []
    with pytest.raises(InvalidParameter, match=r"class ids \[2\] do not exist; the model has 0 to 1"):
        _asked(spec, [1, 2])
    with pytest.raises(InvalidParameter, match=r"class ids \[1\] do not exist; the model has only 0"):
        _asked(replace(spec, classes=1), [1])


def test_where_the_number_of_classes_is_not_known_every_class_id_is_taken() -> None:
    spec = replace(SPEC, classes=None, labels=("person",))
    assert _asked(spec, [1, 74])[contract.LABELS].tolist() == [1]
    with pytest.raises(InvalidParameter, match=r"class ids \[-1\] do not exist; class ids begin at 0"):
        _asked(spec, [-1])


def test_a_description_of_before_is_read(tmp_path: Path) -> None:
    document = json.loads(SPEC.to_json())
    del document["classes"]
    (tmp_path / "model.json").write_text(json.dumps(document), encoding="utf-8")
    assert ModelSpec.read(tmp_path) == SPEC


@pytest.mark.parametrize(
    "wrong",
    [
        {contract.IMAGE_SIZE: np.array([30000, 30000], np.int32)},
        {contract.IMAGE_SIZE: np.array([0, 30], np.int32)},
        {contract.IMAGE_SIZE: np.array([20, -30], np.int32)},
        {"scale_factor": np.array([[np.nan, 1]], np.float32)},
        {"scale_factor": np.array([[1, np.inf]], np.float32)},
        {"scale_factor": np.array([[0, 1]], np.float32)},
        {"scale_factor": np.array([[1, 1e6]], np.float32)},
        {"detections": np.zeros((2, 2, 6), np.float32)},
        {"mask_logits": np.ones((3, 2, 8, 8), np.float32)},
    ],
)
def test_tensors_that_no_preprocessing_and_no_core_makes_are_refused(wrong: dict[str, np.ndarray]) -> None:
    """A step may be called by anybody: a size of 30000x30000 blocked everybody for a minute."""
    inputs = {**_cut(), **wrong, contract.THRESHOLD: None, contract.CLASS_IDS: None}
    with pytest.raises((InvalidParameter, ImageTooLarge)):
        Postprocess(SPEC)(inputs)


def test_numbers_that_are_none_find_nothing() -> None:
    cut = _cut()
    cut["detections"] = np.full((1, 2, 6), np.nan, np.float32)
    answer = Postprocess(SPEC)({**cut, contract.THRESHOLD: None, contract.CLASS_IDS: None})
    assert len(answer[contract.BOXES]) == 0
    cut = _cut()
    cut["mask_logits"][:] = np.nan
    answer = Postprocess(SPEC)({**cut, contract.THRESHOLD: None, contract.CLASS_IDS: None})
    assert len(answer[contract.BOXES]) == 1


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((1, 3, 32, 32), True), ((2, 3, 32, 32), False), ((1, 3, 33, 32), False), ((3, 32, 32), False)],
)
def test_a_core_takes_what_preprocessing_makes(shape: tuple[int, ...], fits: bool) -> None:
    core = stages.Core.on(SPEC, _Recorder())  # type: ignore[arg-type]
    if fits:
        core({"image": np.zeros(shape, np.float32)})
        return
    with pytest.raises(InvalidParameter, match="shape"):
        core({"image": np.zeros(shape, np.float32)})


def test_a_core_of_any_size_takes_no_larger_image_than_preprocessing_makes() -> None:
    steps = (
        {"type": "Resize", "target_size": [800, 1333], "keep_ratio": True, "interp": 1},
        {"type": "Permute"},
        {"type": "PadStride", "stride": 32},
    )
    spec = replace(SPEC, preprocess=steps, core=replace(SPEC.core, image_shape=(3, -1, -1)))
    core = stages.Core.on(spec, _Recorder())  # type: ignore[arg-type]
    core({"image": np.zeros((1, 3, 800, 1344), np.float32)})
    core({"image": np.zeros((1, 3, 1344, 800), np.float32)})
    with pytest.raises(InvalidParameter, match="1344"):
        core({"image": np.zeros((1, 3, 1376, 1344), np.float32)})


@pytest.mark.parametrize(("said", "runs"), [(None, 1), ("", 1), ("no", 0)])
def test_a_core_is_warmed_up_once_by_itself_or_by_whoever_starts_the_server(
    said: str | None, runs: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images: list[npt.NDArray[Any]] = []

    def engine(feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        images.append(feeds["image"])
        return {}

    monkeypatch.setattr(stages, "load_engine", lambda *args, **more: engine)
    monkeypatch.delenv("MASKSERVE_WARM_UP", raising=False)
    if said is not None:
        monkeypatch.setenv("MASKSERVE_WARM_UP", said)
    Core(SPEC, tmp_path, threads=1)
    assert [image.shape for image in images] == [(1, 3, 32, 32)] * runs


def test_a_list_of_class_ids_has_a_bound() -> None:
    """Millions of them, one of which exists, took eight seconds in which nobody else was answered."""
    inputs = {contract.IMAGE: _image(), contract.THRESHOLD: None, contract.CLASS_IDS: np.zeros(10_000, np.int32)}
    stage = Preprocess(replace(SPEC, classes=2), OwnProcess(SPEC.limits))
    stage.check(inputs)
    inputs[contract.CLASS_IDS] = np.zeros(10_001, np.int32)
    with pytest.raises(InvalidParameter, match="at most 10000 class ids, not 10001"):
        stage.check(inputs)
