"""Writing entries: all or none, again and again, and never over somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from maskserve.errors import ToolError
from maskserve_convert.triton import entries, repository
from maskserve_convert.triton.entries import TensorType
from maskserve_convert.triton.repository import Entry
from maskserve_server.spec import CoreSpec, ModelSpec

CUT = {"detections": TensorType("FP32", (-1, 20, 6)), "mask_logits": TensorType("FP32", (-1, 20, 80, 80))}


def _spec(name: str = "model", labels: tuple[str, ...] = ("person", 'a "quoted" name', "雪")) -> ModelSpec:
    core = CoreSpec("openvino", "core.onnx", ("image",), tuple(CUT), (3, 320, 320))
    return ModelSpec(name, "mask_rt_detr", {}, (), labels, 0.5, core)


def _entries(tmp_path: Path, layout: str = "ensemble", spec: ModelSpec | None = None) -> list[Entry]:
    core = tmp_path / "core.onnx"
    core.write_bytes(b"network")
    return entries.build(spec or _spec(), CUT, [core], layout=layout, provenance="{}")


def _config(directory: Path) -> ModelConfig:
    return text_format.Parse((directory / "config.pbtxt").read_text(), ModelConfig())


def _content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_an_ensemble_has_three_steps_whose_tensors_meet(tmp_path: Path) -> None:
    target = tmp_path / "models"
    repository.write(target, "model", _entries(tmp_path))
    assert sorted(path.name for path in target.iterdir()) == [
        "model",
        "model.core",
        "model.postprocess",
        "model.preprocess",
    ]
    ensemble = _config(target / "model")
    made = {tensor.name for tensor in ensemble.input}
    for step in ensemble.ensemble_scheduling.step:
        config = _config(target / step.model_name)
        assert set(step.input_map) == {tensor.name for tensor in config.input}
        assert set(step.output_map) <= {tensor.name for tensor in config.output}
        assert set(step.input_map.values()) <= made
        made |= set(step.output_map.values())
    assert {tensor.name for tensor in ensemble.output} <= made


def test_a_tensor_that_no_step_reads_is_not_mapped(tmp_path: Path) -> None:
    target = tmp_path / "models"
    repository.write(target, "model", _entries(tmp_path))
    steps = _config(target / "model").ensemble_scheduling.step
    read = {tensor for step in steps for tensor in step.input_map.values()}
    answer = {tensor.name for tensor in _config(target / "model").output}
    assert {tensor for step in steps for tensor in step.output_map.values()} <= read | answer


def test_labels_of_any_kind_reach_the_configuration(tmp_path: Path) -> None:
    target = tmp_path / "models"
    repository.write(target, "model", _entries(tmp_path, "single"))
    parameters = _config(target / "model").parameters
    assert parameters["labels"].string_value == '["person", "a \\"quoted\\" name", "雪"]'
    assert (target / "model" / "labels.txt").read_text().splitlines() == ["person", 'a "quoted" name', "雪"]


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "models"
    repository.write(target, "model", _entries(tmp_path))
    before = _content(tmp_path)
    repository.write(target, "model", _entries(tmp_path))
    (tmp_path / "core.onnx").unlink(missing_ok=True)
    assert _content(tmp_path) == before


def test_another_layout_replaces_all_entries_of_the_first(tmp_path: Path) -> None:
    target = tmp_path / "models"
    repository.write(target, "model", _entries(tmp_path))
    repository.write(target, "model", _entries(tmp_path, "single"))
    assert [path.name for path in target.iterdir()] == ["model"]


def test_other_models_are_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "models"
    repository.write(target, "model.core2", _entries(tmp_path, "single", _spec("model.core2")))
    repository.write(target, "model", _entries(tmp_path, "single"))
    assert sorted(path.name for path in target.iterdir()) == ["model", "model.core2"]


def test_an_entry_written_by_somebody_else_is_not_touched(tmp_path: Path) -> None:
    foreign = tmp_path / "models" / "model"
    foreign.mkdir(parents=True)
    (foreign / "config.pbtxt").write_text("mine")
    with pytest.raises(ToolError, match=r"not written by `maskserve convert`.*--name"):
        repository.write(tmp_path / "models", "model", _entries(tmp_path))
    assert _content(tmp_path / "models") == {"model/config.pbtxt": b"mine"}


def test_a_failure_half_way_leaves_the_old_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "models"
    repository.write(target, "model", _entries(tmp_path))
    before = _content(target)
    rename, calls = Path.rename, []

    def fail_at_the_sixth(self: Path, to: Path) -> Path:
        calls.append(self)
        if len(calls) == 6:
            raise OSError("no space left on device")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", fail_at_the_sixth)
    with pytest.raises(OSError, match="no space"):
        repository.write(target, "model", _entries(tmp_path, spec=_spec(labels=("other",))))
    monkeypatch.undo()
    assert _content(target) == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["models"]


def test_a_missing_core_file_leaves_nothing(tmp_path: Path) -> None:
    built = _entries(tmp_path)
    (tmp_path / "core.onnx").unlink()
    with pytest.raises(FileNotFoundError):
        repository.write(tmp_path / "models", "model", built)
    assert _content(tmp_path) == {}
