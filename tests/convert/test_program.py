"""Reading, branching, cutting and rewriting programs; on a small one written out here, and on real ones."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskserve.errors import ToolError
from maskserve_convert.families.recognise import recognise
from maskserve_convert.paddle import weights
from maskserve_convert.paddle.cut import cut
from maskserve_convert.paddle.program import Program


def _tensor(shape: list[int]) -> dict[str, Any]:
    return {"#": "0.t_dtensor", "D": [{"#": "0.t_f32"}, shape, "NCHW", [], 0]}


def _op(kind: str, inputs: list[int], outputs: dict[int, list[int]], **attributes: Any) -> dict[str, Any]:
    return {
        "#": kind,
        "A": [{"N": key, "AT": value} for key, value in attributes.items()],
        "I": [{"%": value} for value in inputs],
        "O": [{"%": value, "TT": _tensor(shape)} for value, shape in outputs.items()],
        "OA": [],
    }


def _parameter(name: str, value: int, shape: list[int]) -> dict[str, Any]:
    return {"#": "p", "A": [0, 1, 1, name], "DA": [], "O": {"%": value, "TT": _tensor(shape)}, "OA": [1, 1, 0]}


def _string(text: str) -> dict[str, Any]:
    return {"#": "0.a_str", "D": text}


def _program_file(path: Path, version: int = 1) -> Path:
    """x -> relu -> (if: the longer side scales) -> fetch; a second weight is used behind the cut only."""
    branch = _op("1.if", [3], {6: [-1, 4]})
    long = [_op("1.multiply", [3, 1], {4: [-1, 4]}), _op("1.add", [4, 2], {5: [-1, 4]}), _op("2.yield", [5], {})]
    short = [_op("2.yield", [3], {})]
    branch["regions"] = [{"#": "r", "blocks": [{"#": "b", "args": [], "ops": ops}]} for ops in (short, long)]
    scale = {"#": "0.a_array", "D": [{"#": "0.a_f64", "D": 2.0}]}
    ops = [
        _parameter("second", 1, [4]),
        _parameter("first", 2, [4]),
        _op("1.data", [], {7: [-1, 4]}, name=_string("x")),
        _op("1.data", [], {8: [-1, 4]}, name=_string("unused")),
        _op("1.relu", [7], {3: [-1, 4]}, scale=scale),
        branch,
        _op("1.fetch", [6], {9: [-1, 4]}, name=_string("out"), col={"#": "0.a_i32", "D": 0}),
    ]
    block = {"#": "b", "args": [], "ops": ops}
    document = {
        "base_code": {"magic": "pir", "trainable": True, "version": version},
        "program": {"regions": [{"#": "r", "blocks": [block]}]},
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_branches_are_replaced_by_their_computing_side(tmp_path: Path) -> None:
    program = Program.read(_program_file(tmp_path / "inference.json"))
    assert "if" not in {op.name for op in program.ops}
    (result,) = program.fetches()
    assert program.producer(result).name == "add"


def test_double_precision_lists_become_single_precision(tmp_path: Path) -> None:
    program = Program.read(_program_file(tmp_path / "inference.json", version=4))
    program.write(tmp_path / "written.json")
    text = (tmp_path / "written.json").read_text(encoding="utf-8")
    assert "a_f64" not in text
    assert json.loads(text)["base_code"]["version"] == 1


def test_a_cut_keeps_only_what_leads_to_it(tmp_path: Path) -> None:
    program = Program.read(_program_file(tmp_path / "inference.json"))
    subgraph = cut(program, {"activations": program.named("relu")[0].outputs[0]})
    assert [op.name for op in subgraph.program.ops] == ["data", "relu", "fetch"]
    assert subgraph.feeds == ("x",)
    assert subgraph.parameters == frozenset()


def test_a_cut_can_be_read_again(tmp_path: Path) -> None:
    program = Program.read(_program_file(tmp_path / "inference.json"))
    subgraph = cut(program, {"product": program.named("multiply")[0].outputs[0]})
    subgraph.program.write(tmp_path / "core.json")
    again = Program.read(tmp_path / "core.json")
    assert list(again.feeds()) == ["x"]
    assert again.shape(again.fetches()[0]) == (-1, 4)
    assert subgraph.parameters == {"second"}


@pytest.mark.parametrize("text", ["", "{}", '{"base_code": {"version": 1}}', "[1, 2]"])
def test_what_is_no_program_is_said_so(text: str, tmp_path: Path) -> None:
    (tmp_path / "inference.json").write_text(text, encoding="utf-8")
    with pytest.raises(ToolError, match=r"inference\.json is damaged, or not a Paddle program"):
        Program.read(tmp_path / "inference.json")


def test_a_version_from_the_future_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="version 9"):
        Program.read(_program_file(tmp_path / "inference.json", version=9))


def _stored(values: list[float]) -> bytes:
    description = b"\x08\x05\x10" + bytes([len(values)])
    return struct.pack("<IQIi", 0, 0, 0, len(description)) + description + struct.pack(f"<{len(values)}f", *values)


def test_weights_are_kept_by_name_in_sorted_order(tmp_path: Path) -> None:
    source = tmp_path / "inference.pdiparams"
    source.write_bytes(_stored([1, 2]) + _stored([3]) + _stored([4, 5, 6]))
    weights.subset(source, ["c", "a", "b"], {"a", "c"}, tmp_path / "core.pdiparams")
    assert (tmp_path / "core.pdiparams").read_bytes() == _stored([1, 2]) + _stored([4, 5, 6])


@pytest.mark.parametrize(
    ("data", "names", "words"),
    [
        (_stored([1, 2])[:-1], ["a"], "cut short"),
        (_stored([1]) + _stored([2]), ["a"], "more tensors"),
        (_stored([1]), ["a", "b"], "cut short"),
    ],
)
def test_a_parameter_file_that_does_not_fit_is_refused(
    data: bytes, names: list[str], words: str, tmp_path: Path
) -> None:
    source = tmp_path / "inference.pdiparams"
    source.write_bytes(data)
    with pytest.raises(ToolError, match=words):
        weights.subset(source, names, {"a"}, tmp_path / "core.pdiparams")


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("tiny-Mask-RT-DETR-320", "mask_rt_detr"),
        ("tiny-Mask-RT-DETR-320.v4", "mask_rt_detr"),
        ("tiny-PP-YOLOE_seg-320", "pp_yoloe_seg"),
        ("tiny-PP-YOLOE_seg-320.v4", "pp_yoloe_seg"),
    ],
)
def test_real_programs_are_recognised_and_cut(name: str, family: str, paddle_model: Callable[[str], Path]) -> None:
    program = Program.read(paddle_model(name) / "inference.json")
    points = recognise(program)
    assert points.family == family
    subgraph = cut(program, points.outputs)
    assert len(subgraph.program.ops) < len(program.ops)
    assert "image" in subgraph.feeds


def test_a_program_of_something_else_is_described(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"not one of PaddleDetection's detectors: its inputs are .*'unused', 'x'"):
        recognise(Program.read(_program_file(tmp_path / "inference.json")))
