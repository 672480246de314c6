"""Exports in half precision: read as what they are in single precision."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskserve_convert.paddle import weights
from maskserve_convert.paddle.half_precision import widen_program
from maskserve_convert.paddle.program import Program
from tests.convert.networks.exporting import Cell
from tests.convert.networks.halving import halve

VALUES = [1.5, -0.0009765625, 65504.0]


def _stored(code: int, data: bytes, tail: bytes = b"") -> bytes:
    description = bytes((0x08, code, 0x10, len(VALUES))) + tail
    return struct.pack("<IQIi", 0, 0, 0, len(description)) + description + data


def _floats(data: bytes) -> list[float]:
    return np.frombuffer(data[-4 * len(VALUES) :], "<f4").tolist()


@pytest.mark.parametrize(
    ("code", "data", "values"),
    [
        (4, np.array(VALUES, "<f2").tobytes(), VALUES),
        (22, b"".join(struct.pack("<f", value)[2:] for value in (1.5, -2.0, 0.0078125)), [1.5, -2.0, 0.0078125]),
    ],
    ids=["float16", "bfloat16"],
)
def test_weights_in_half_precision_are_written_in_single_precision(
    code: int, data: bytes, values: list[float], tmp_path: Path
) -> None:
    source, target = tmp_path / "inference.pdiparams", tmp_path / "core.pdiparams"
    source.write_bytes(_stored(code, data))
    weights.check(source, {"a": (3,)})
    weights.subset(source, ["a"], {"a"}, target)
    assert _floats(target.read_bytes()) == values
    weights.check(target, {"a": (3,)})
    weights.subset(target, ["a"], {"a"}, tmp_path / "again.pdiparams")
    assert (tmp_path / "again.pdiparams").read_bytes() == target.read_bytes()


def _op(name: str, reads: list[int], written: int, element: str, attributes: list[Any] | None = None) -> dict[str, Any]:
    kind = {"#": "0.t_dtensor", "D": [{"#": element}, [1], "NCHW", [], 0]}
    output = {"%": written, "TT": kind}
    return {"#": name, "A": attributes or [], "I": [{"%": value} for value in reads], "O": [output]}


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_casts_between_half_and_single_precision_go_and_others_stay(half: str) -> None:
    short = {"float16": "0.t_f16", "bfloat16": "0.t_bf16"}[half]
    to_half = [{"AT": {"#": "1.a_dtype", "D": half}, "N": "dtype"}]
    ops = [
        _op("1.relu", [1], 2, "0.t_f32"),
        _op("1.cast", [2], 3, short, to_half),
        _op("1.relu", [3], 4, short),
        _op("1.cast", [4], 5, "0.t_f32"),
        _op("1.cast", [5], 6, "0.t_i32"),
        _op("1.cast", [4], 7, "0.t_f32"),
        _op("1.add_", [7, 2], 8, "0.t_f32"),
        _op("1.full", [], 9, short, to_half),
    ]
    widened = widen_program(ops)
    assert [(op["#"], [item["%"] for item in op["I"]]) for op in widened] == [
        ("1.relu", [1]),
        ("1.relu", [2]),
        ("1.cast", [4]),
        ("1.cast", [4]),  # `add_` would write into 4 without it
        ("1.add_", [7, 2]),
        ("1.full", []),
    ]
    assert short not in str(widened)
    assert half not in str(widened)


@pytest.mark.parametrize("family", ["Mask-RT-DETR", "PP-YOLOE_seg", "SOLOv2", "Mask R-CNN FPN", "Cascade Mask R-CNN"])
def test_weights_stored_in_float16_answer_as_uncut_paddle(
    family: str, exported: Callable[[Cell], Path], tmp_path: Path
) -> None:
    from tests.convert.networks.agreement import EQUAL, in_this_process, judge_folder

    cell = Cell(family, 2)
    assert halve(exported(cell), tmp_path / "paddle", computing=False) > 5
    with in_this_process():
        outcome = judge_folder(tmp_path / "paddle", cell, tmp_path, engine="onnxruntime")
    assert outcome.kind == EQUAL, outcome.words


@pytest.mark.parametrize("engine", ["onnxruntime", "paddle"])
@pytest.mark.parametrize("family", ["SOLOv2", "Mask R-CNN FPN"])
def test_a_program_that_computes_in_float16_answers_in_float32(
    family: str, engine: str, exported: Callable[[Cell], Path], tmp_path: Path
) -> None:
    from maskserve.decoding.decoders import OwnProcess
    from maskserve_server.spec import ModelSpec
    from maskserve_server.stages import Single
    from maskserve_tools import convert
    from maskserve_tools.verify.comparison import compare
    from maskserve_tools.verify.reference import open_reference
    from tests.convert.networks.agreement import THRESHOLD, answered, images, in_this_process

    cell = Cell(family, 2)
    halve(exported(cell), tmp_path / "stored", computing=False)  # the same weights; Paddle can run this on a CPU
    halve(exported(cell), tmp_path / "paddle", computing=True)
    assert "t_f16" in (tmp_path / "paddle" / "inference.json").read_text(encoding="utf-8")
    with in_this_process():
        convert(tmp_path / "paddle", repository=tmp_path / "models", name="m", layout="single", engine=engine)
    version = tmp_path / "models" / "m" / "1"
    spec = ModelSpec.read(version)
    single, reference = (
        Single(spec, version, threads=1, decoder=OwnProcess(spec.limits)),
        open_reference(tmp_path / "stored"),
    )
    for image in images(cell):
        comparison = compare(reference.predict(image, THRESHOLD), answered(single, image, THRESHOLD), THRESHOLD)
        assert comparison.equal, str(comparison)
        assert comparison.matched > 0


def test_a_program_in_half_precision_reads_as_the_one_that_it_was_made_of(
    exported: Callable[[Cell], Path], tmp_path: Path
) -> None:
    source = exported(Cell("SOLOv2", 2))
    halve(source, tmp_path / "paddle", computing=True)
    before, after = (Program.read(folder / "inference.json") for folder in (source, tmp_path / "paddle"))
    assert [op.name for op in after.ops] == [op.name for op in before.ops]
    assert "FP16" not in {after.dtype(value) for op in after.ops for value in op.outputs if after.shape(value)}
