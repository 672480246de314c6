"""Writing entries: all or none, again and again, and never over somebody else's."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


def _full(tmp_path: Path, name: str, layout: str = "ensemble") -> list[Entry]:
    return _entries(tmp_path, layout, _spec(name))


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
    with pytest.raises(ToolError, match="models cannot be written: no space"):
        repository.write(target, "model", _entries(tmp_path, spec=_spec(labels=("other",))))
    monkeypatch.undo()
    assert _content(target) == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["models"]


def test_a_missing_core_file_leaves_nothing(tmp_path: Path) -> None:
    built = _entries(tmp_path)
    (tmp_path / "core.onnx").unlink()
    with pytest.raises(ToolError, match="cannot be written: No such file"):
        repository.write(tmp_path / "models", "model", built)
    assert _content(tmp_path) == {}


@pytest.mark.parametrize("interrupted", range(8))
@pytest.mark.parametrize("when", ["before", "after"])
def test_ctrl_c_at_any_move_leaves_the_old_entries(
    interrupted: int, when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "models"
    repository.write(target, "model", _entries(tmp_path))
    before = _content(target)
    rename, calls = Path.rename, []

    def interrupt(self: Path, to: Path) -> Path:
        calls.append(self)
        here = len(calls) == interrupted + 1
        if here and when == "before":
            raise KeyboardInterrupt
        moved = rename(self, to)
        if here:
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        repository.write(target, "model", _entries(tmp_path, spec=_spec(labels=("other",))))
    monkeypatch.undo()
    assert _content(target) == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["models"]


def test_what_a_killed_conversion_left_goes_with_the_next_one(tmp_path: Path) -> None:
    killed = """
import os, signal, sys
from pathlib import Path
from maskserve_convert.triton import repository
from tests.convert.test_repository import _entries
repository._swap = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
where = Path(sys.argv[1])
repository.write(where / "models", "model", _entries(where))
"""
    ended = subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert any(path.name.startswith(".maskserve-") for path in tmp_path.iterdir())
    repository.write(tmp_path / "models", "model", _entries(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["models"]
    assert len(_content(tmp_path / "models" / "model.core")) == 5


def test_conversions_of_one_name_at_the_same_time_leave_one_whole_model(tmp_path: Path) -> None:
    again = """
import sys
from pathlib import Path
from maskserve_convert.triton import repository
from tests.convert.test_repository import _entries, _spec
target, own = Path(sys.argv[1]), Path(sys.argv[2])
own.mkdir()
for _ in range(20):
    repository.write(target, "model", _entries(own, spec=_spec(labels=(own.name,))))
"""
    target = tmp_path / "models"
    line = [sys.executable, "-c", again, str(target)]
    both = [subprocess.Popen([*line, str(tmp_path / name)]) for name in ("one", "two")]
    assert [process.wait(300) for process in both] == [0, 0]
    described = {path.read_bytes() for path in target.glob("*/1/model.json")}
    assert len(list(target.iterdir())) == 4 and len(described) == 1


@pytest.mark.parametrize("again", [repository.check_place, lambda target, name: repository.write(target, name, [])])
def test_an_entry_that_another_conversion_moves_is_not_called_foreign(
    again: Callable[[Path, str], object], tmp_path: Path
) -> None:
    target = tmp_path / "models"
    repository.write(target, "model", _entries(tmp_path))
    provenance = target / "model.core" / repository.PROVENANCE
    with ThreadPoolExecutor(1) as pool:
        with repository._alone(target):
            provenance.rename(tmp_path / "away")
            answer = pool.submit(again, target, "model")
            concurrent.futures.wait([answer], timeout=0.3)  # long enough for who does not wait to look
            (tmp_path / "away").rename(provenance)
        answer.result(60)


@pytest.mark.parametrize(("first", "layout"), [("model.core", "ensemble"), ("model.preprocess", "single")])
def test_a_model_of_its_own_is_not_taken_for_a_step(first: str, layout: str, tmp_path: Path) -> None:
    target = tmp_path / "models"
    repository.write(target, first, _full(tmp_path, first, layout))
    before = _content(target)
    with pytest.raises(ToolError, match="is a model of its own, and would be a step of model"):
        repository.check_place(target, "model")
    with pytest.raises(ToolError, match="is a model of its own, and would be a step of model"):
        repository.write(target, "model", _entries(tmp_path))
    assert _content(target) == before


def test_a_file_or_a_dangling_link_in_an_entrys_place_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.core").symlink_to("nowhere")
    with pytest.raises(ToolError, match="not written by `maskserve convert`"):
        repository.write(tmp_path / "models", "model", _entries(tmp_path))


def _a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file"


def _below_a_file(tmp_path: Path) -> Path:
    return _a_file(tmp_path) / "models"


def _a_long_name(tmp_path: Path) -> Path:
    return tmp_path / ("x" * 300)


def _of_the_system(_: Path) -> Path:
    return Path("/proc/models")  # where not even root makes a folder


@pytest.mark.parametrize("place", [_a_file, _below_a_file, _a_long_name])
def test_a_place_that_cannot_be_written_is_said_before_anything_is_made(
    place: Callable[[Path], Path], tmp_path: Path
) -> None:
    with pytest.raises(ToolError, match="cannot be written: "):
        repository.check_place(place(tmp_path), "model")


@pytest.mark.parametrize("place", [_a_file, _below_a_file, _a_long_name, _of_the_system])
def test_a_place_that_cannot_be_written_is_a_sentence(place: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be written: "):
        repository.write(place(tmp_path), "model", _entries(tmp_path))


def test_entries_of_another_mount_are_made_inside_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename
    monkeypatch.setattr(repository, "_mount", lambda folder: folder)
    seen: list[str] = []

    def watched(self: Path, to: Path) -> None:
        seen.append(str(self.relative_to(tmp_path)))
        rename(self, to)

    monkeypatch.setattr(Path, "rename", watched)
    repository.write(tmp_path / "models", "model", _entries(tmp_path))
    assert all(path.startswith("models/.maskserve-") for path in seen) and len(seen) == 4
    monkeypatch.undo()
    assert repository._mount(tmp_path) == repository._mount(tmp_path.parent)
    assert repository._mount(tmp_path) != repository._mount(Path("/proc"))
