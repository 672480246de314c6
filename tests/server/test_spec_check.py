"""A `model.json` that was edited by hand or damaged is named with its key; none is served with a wrong value."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from maskserve.errors import ToolError
from maskserve_server.engines import load_engine
from maskserve_server.families import load_family
from maskserve_server.spec import CoreSpec, ModelSpec

Document = dict[str, Any]
STEPS = ({"type": "Resize", "target_size": [320, 320]}, {"type": "NormalizeImage"}, {"type": "Permute"})
CORE = CoreSpec("onnxruntime", "core.onnx", ("image",), ("detections", "mask_logits"), (3, 320, -1))
SPEC = ModelSpec("model", "mask_rt_detr", {"mask_threshold": 0.5}, STEPS, ("person", "雪"), 0.5, CORE, classes=2)


def _edited(key: str, value: object) -> str:
    document = json.loads(SPEC.to_json())
    *parents, last = key.split(".")
    inside = document
    for parent in parents:
        inside = inside[parent]
    inside[last] = value
    return json.dumps(document)


WRONG: dict[str, list[Any]] = {
    "name": [None, 5, "", ["a"], "../../evil", "a/b", "..", "a\0"],
    "family": [None, 5, "", ["mask_rt_detr"]],
    "settings": [None, "x", 5, [], {"mask_threshold": "0.5"}, {"mask_threshold": float("nan")}, {"sizes": [None, "x"]}],
    "labels": [None, "ab", 5, [5], [None], {"person": 1}, ["\ud800"]],
    "draw_threshold": [None, "0.5", -0.1, 1.1, float("nan"), float("inf"), True, [0.5], 10**400],
    "classes": ["2", 0, -1, 2.0, True, 10**30],
    "preprocess": [5, "ab", [5], [{"type": "x"}], [{"type": "Resize"}], {"type": "Resize"}],
    "core": [None, 5, [], "x"],
    "core.engine": [None, 5, ["openvino"], ""],
    "core.file": [None, 5, "", "/etc/passwd", "../core.onnx", "a\\b"],
    "core.inputs": [None, 5, "image", [5], {"image": 1}],
    "core.outputs": [None, 5, "detections", [None]],
    "core.image_shape": [None, 3, [3], [3, 0, 0], [3, "320", 320], [3, -2, 5], [3, 320.0, 320], [3, 10**30, 4]],
    "core.precision": [None, 5, ["fp32"]],
    "limits": [None, 5, "x", []],
    "limits.max_bytes": [None, "x", 0, -1, 1.5, True],
    "limits.max_pixels": [None, 0],
    "limits.decode_seconds": [None, 0, -1, float("nan"), "5"],
    "queue": [None, 5, "x"],
    "queue.size": [None, 0, True, "5", 10**30],
    "queue.seconds": [None, 0, -1, float("nan")],
    "queue.seconds_per_image": [None, -1, float("inf")],
    "decode": [None, "half", 5],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_wrong_value_is_named_with_its_key(key: str, value: object) -> None:
    with pytest.raises(
        ToolError, match=rf"^this model\.json is damaged \(.*{key.rpartition('.')[2]}.*convert the model"
    ):
        ModelSpec.from_json(_edited(key, value))


@pytest.mark.parametrize("version", [0, "1", None, 1.0, True, [1]])
def test_another_version_of_the_contract(version: object) -> None:
    with pytest.raises(ToolError, match="this maskserve speaks 1: convert again"):
        ModelSpec.from_json(_edited("contract", version))


@pytest.mark.parametrize(
    ("key", "value"), [("contract", 2), ("look", 3), ("core.look", "x"), ("limits.look", None), ("queue.look", [])]
)
def test_what_a_newer_one_wrote_is_not_called_damaged(key: str, value: object) -> None:
    with pytest.raises(ToolError, match=r"a newer one wrote it; update this one") as raised:
        ModelSpec.from_json(_edited(key, value))
    assert "damaged" not in raised.value.message
    assert key in raised.value.message


@pytest.mark.parametrize("text", ["", "[]", '""', "NaN", "5", "null", "{}", "[" * 100_000, '{"contract": 1}'])
def test_what_is_no_description_at_all(text: str) -> None:
    with pytest.raises(ToolError, match="damaged"):
        ModelSpec.from_json(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "model.core"),
        ("classes", None),
        ("labels", []),
        ("draw_threshold", 0),
        ("draw_threshold", 1),
        ("core.image_shape", [3, -1, -1]),
        ("settings", {"input_size": [128, 128], "normalized": True, "sizes": None}),
        ("queue.size", 1_000_000),
        ("limits.decode_seconds", 0.5),
    ],
)
def test_what_may_be_there_is_read(key: str, value: object) -> None:
    assert json.loads(ModelSpec.from_json(_edited(key, value)).to_json()) == json.loads(_edited(key, value))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: load_family("yolact", {}), "'yolact' is not a family of this maskserve; it has mask_rcnn, "),
        (lambda: load_family("mask_rt_detr", {"depth": 1}), "settings of this mask_rt_detr model are not its"),
        (lambda: load_engine(CoreSpec("paddle", "a", (), (), (3, 1, 1), "fp8"), None, threads=1), "not in fp8"),  # type: ignore[arg-type]
    ],
)
def test_what_only_the_server_knows_is_a_sentence_there(made: Callable[[], object], words: str) -> None:
    with pytest.raises(ToolError, match=words):
        made()
