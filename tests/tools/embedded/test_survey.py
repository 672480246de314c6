"""What is wrong with an entry is found in its files: it is named, and its neighbours are served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from maskserve.errors import ToolError
from maskserve_convert.triton import entries, repository
from maskserve_convert.triton.entries import TensorType
from maskserve_server.spec import CoreSpec, ModelSpec
from maskserve_tools.embedded.survey import survey

Break = Callable[[Path], object]
CUT = {"detections": TensorType("FP32", (-1, 20, 6)), "mask_logits": TensorType("FP32", (-1, 20, 80, 80))}


def _link(path: Path, to: str) -> None:
    path.unlink()
    path.symlink_to(to)


def _edit(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


def _describe(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository with the models `good` and `bad`; nothing of it is started."""
    for name in ("good", "bad"):
        core = CoreSpec("onnxruntime", "core.onnx", ("image",), tuple(CUT), (3, 320, 320))
        spec = ModelSpec(name, "mask_rt_detr", {}, (), ("person",), 0.5, core)
        (tmp_path / "core.onnx").write_bytes(b"network")
        built = entries.build(spec, CUT, [tmp_path / "core.onnx"], layout="ensemble", provenance="{}")
        repository.write(tmp_path / "models", name, built)
    return tmp_path / "models"


UNREADABLE = "/proc/self/mem"  # a file that is there, and that not even root can read from its beginning
BROKEN: dict[str, tuple[Break, str]] = {
    "unreadable configuration": (
        lambda at: _link(at / "bad.core/config.pbtxt", UNREADABLE),
        "config.pbtxt cannot be read",
    ),
    "unreadable description": (lambda at: _link(at / "bad.core/1/model.json", UNREADABLE), "model.json cannot be read"),
    "link to itself": (lambda at: _link(at / "bad.core/config.pbtxt", "config.pbtxt"), "it has no config.pbtxt"),
    "empty configuration": (lambda at: (at / "bad/config.pbtxt").write_text(""), "names no backend, or is empty"),
    "very many processes": (
        lambda at: _edit(at / "bad.core/config.pbtxt", "kind: KIND_CPU", "kind: KIND_CPU count: 1000000"),
        "asks for 1000000 instances",
    ),
    "fewer processes than none": (
        lambda at: _edit(at / "bad.core/config.pbtxt", "kind: KIND_CPU", "kind: KIND_CPU count: -1"),
        "asks for -1 instances",
    ),
    "no version": (lambda at: (at / "bad.core/1").rename(at / "bad.core/v1"), "has no folder of a version"),
    "a model without a version": (lambda at: shutil.rmtree(at / "bad/1"), "has no folder of a version"),
    "a step of itself": (
        lambda at: _edit(at / "bad/config.pbtxt", 'model_name: "bad.core"', 'model_name: "bad"'),
        "it is a step of itself",
    ),
    "threshold": (
        lambda at: _describe(at / "bad.postprocess/1/model.json", draw_threshold=None),
        "draw_threshold is empty; it must be a number from 0 to 1",
    ),
    "preprocessing": (
        lambda at: _describe(at / "bad.preprocess/1/model.json", preprocess=[{"type": "resize"}]),
        "maskserve does not know this step",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_entry_is_named_and_its_neighbour_served(case: str, models: Path) -> None:
    break_it, words = BROKEN[case]
    break_it(models)
    found = survey(models)
    assert [entry.name for entry in found.entries if entry.takes_images] == ["good"]
    assert any(words in broken.reason for broken in found.broken)
    assert {broken.name.partition(".")[0] for broken in found.broken} == {"bad"}


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000])
def test_a_path_that_cannot_be_one_is_no_repository(name: str) -> None:
    with pytest.raises(ToolError, match="there is no model repository at x"):
        survey(Path(name))


def test_entries_of_two_conversions_are_not_served_together(models: Path) -> None:
    (models / "bad.core" / repository.PROVENANCE).write_text('{"another": 1}')
    found = survey(models)
    assert [entry.name for entry in found.entries if entry.takes_images] == ["good"]
    assert "bad and bad.core are not of one conversion: convert bad again" in str(found.broken[0])
