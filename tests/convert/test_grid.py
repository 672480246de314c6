"""Small networks of every family, as Paddle exports them for other numbers of classes, batches and sizes.

The quick part of the grid; `make verify-grid` runs the whole, see `tests.convert.networks.verify_grid`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import combinations, product
from pathlib import Path
from unittest import mock

import pytest

from maskserve_convert.families.recognise import recognise
from maskserve_convert.paddle.program import Program
from tests.convert.networks.exporting import Cell, export

FAMILIES = ("Mask-RT-DETR", "PP-YOLOE_seg", "SOLOv2", "Mask R-CNN FPN", "Mask R-CNN C4", "Cascade Mask R-CNN")
DENSE = FAMILIES[:3]  # whose fixed size excludes a kept ratio
OPTIONS = ("one class", "one_image", "fixed", "trt", "fuse_normalize", "keep_ratio")


def covering(family: str) -> tuple[Cell, ...]:
    """Six cells that have every pair of values of two options, see the test of that."""
    return (
        Cell(family, 2),
        Cell(family, 1, one_image=True, fixed=True, fuse_normalize=True, keep_ratio=family not in DENSE),
        Cell(family, 1, fixed=True, trt=True, fuse_normalize=True),
        Cell(family, 80, one_image=True, fixed=True, trt=True),
        Cell(family, 1, one_image=True, trt=True, keep_ratio=True),
        Cell(family, 365, fuse_normalize=True, keep_ratio=True),
    )


QUICK = tuple(cell for family in FAMILIES for cell in covering(family))
RECOGNISED = tuple(cell for cell in QUICK if cell.family not in DENSE and not cell.trt)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_quick_cells_have_every_pair_of_values_of_two_options(family: str) -> None:
    rows = [(cell.classes == 1, *(getattr(cell, name) for name in OPTIONS[1:])) for cell in covering(family)]
    for one, other in combinations(range(len(OPTIONS)), 2):
        every = set(product((False, True), repeat=2))
        if family in DENSE and {OPTIONS[one], OPTIONS[other]} == {"fixed", "keep_ratio"}:
            every.remove((True, True))  # refused, see below
        assert {(row[one], row[other]) for row in rows} == every, (OPTIONS[one], OPTIONS[other])
    assert {cell.classes for cell in covering(family)} == {1, 2, 80, 365}


@pytest.mark.parametrize("cell", QUICK, ids=str)
def test_a_cell_equals_uncut_paddle(cell: Cell, exported: Callable[[Cell], Path], tmp_path: Path) -> None:
    from tests.convert.networks.agreement import EQUAL, in_this_process, judge_folder

    shutil.copytree(exported(cell), tmp_path / "paddle")
    with in_this_process():
        outcome = judge_folder(tmp_path / "paddle", cell, tmp_path, engine="onnxruntime")
    assert outcome.kind == EQUAL, outcome.words


@pytest.mark.parametrize("family", DENSE)
def test_a_fixed_size_and_a_kept_ratio_are_refused_by_the_names_of_both(
    family: str, exported: Callable[[Cell], Path], tmp_path: Path
) -> None:
    from tests.convert.networks.agreement import REFUSED, judge_folder

    cell = covering(family)[1]
    shutil.copytree(exported(cell), tmp_path / "paddle")
    outcome = judge_folder(tmp_path / "paddle", replace(cell, keep_ratio=True), tmp_path, engine="onnxruntime")
    assert outcome.kind == REFUSED, outcome.words
    assert "inference.json reads images of 128x128" in outcome.words
    assert "set keep_ratio to false there, or export the model for any size" in outcome.words


def test_a_core_that_fails_is_no_refusal(exported: Callable[[Cell], Path], tmp_path: Path) -> None:
    from maskserve.errors import ToolError
    from tests.convert.networks.agreement import DIFFERENT, judge_folder

    cell = covering("Mask-RT-DETR")[0]
    shutil.copytree(exported(cell), tmp_path / "paddle")
    failing = mock.patch("maskserve_convert.cores.check_core", side_effect=ToolError("it does not answer"))
    with failing:
        outcome = judge_folder(tmp_path / "paddle", cell, tmp_path, engine="paddle")
    assert outcome.kind == DIFFERENT
    assert "it does not answer" in outcome.words


@pytest.mark.parametrize("cell", RECOGNISED, ids=str)
def test_a_program_is_recognised(cell: Cell, exported: Callable[[Cell], Path]) -> None:
    program = Program.read(exported(cell) / "inference.json")
    points = recognise(program)
    assert points.family == "mask_rcnn"
    sides = (14, 14) if cell.family == "Mask R-CNN C4" else (28, 28)
    assert program.shape(points.outputs["masks"])[1:] == sides
    assert program.shape(points.outputs["detections"])[-1] == 6


def test_deformable_convolutions_raise_the_operator_set_and_the_joined_nodes_follow(
    exported: Callable[[Cell], Path], tmp_path: Path
) -> None:
    import onnx

    from tests.convert.networks.agreement import EQUAL, in_this_process, judge_folder
    from tests.convert.networks.rcnn import RCNN

    cell = Cell("Mask R-CNN FPN", 2)
    exported(cell)  # skips where Paddle is not installed
    folder = export(cell, partial(RCNN, dcn=True), tmp_path / "paddle")
    with in_this_process():
        outcome = judge_folder(folder, cell, tmp_path, engine="onnxruntime")
    assert outcome.kind == EQUAL, outcome.words
    (core,) = (tmp_path / "models").rglob("core.onnx")
    versions = {imported.domain: imported.version for imported in onnx.load(core).opset_import}
    assert versions[""] >= 19


def test_an_operator_that_openvino_has_no_rule_for_is_named_and_nothing_else() -> None:
    from maskserve_convert.cores import words_of

    said = (
        "Exception from src/inference/src/cpp/core.cpp:84:\nCheck 'false' failed at src/frontends/report.cpp:151:\n"
        "Summary:\n-- No conversion rule found for operations: DeformConv-19, Hardmax-13\n-- Conversion is failed"
    )
    for one in (said, said.replace("\n", " / ")):
        assert words_of(RuntimeError(one)) == "it has no rule for DeformConv-19, Hardmax-13"
    assert words_of(RuntimeError("first\nlast")) == "RuntimeError / first / last"


def test_a_suppression_that_may_keep_every_proposal_needs_no_operator_that_onnx_lacks(
    exported: Callable[[Cell], Path], tmp_path: Path
) -> None:
    from tests.convert.networks.agreement import DIFFERENT, EQUAL, in_this_process, judge_folder
    from tests.convert.networks.rcnn import PROPOSALS, RCNN

    cell = Cell("Mask R-CNN FPN", 2)
    exported(cell)  # skips where Paddle is not installed
    outcomes = []
    for kept in (PROPOSALS, PROPOSALS - 1):
        scratch = tmp_path / str(kept)
        folder = export(cell, partial(RCNN, nms_top_k=kept), scratch / "paddle")
        with in_this_process():
            outcomes.append(judge_folder(folder, cell, scratch, engine="onnxruntime"))
    assert outcomes[0].kind == EQUAL, outcomes[0].words
    assert outcomes[1].kind == DIFFERENT  # the core cannot be made
    assert f"(nms_top_k) to {PROPOSALS - 1} of {PROPOSALS}, which ONNX has no operator for" in outcomes[1].words


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_where_candidates_fill_the_suppression_solov2_lists_the_last_of_them_twice_as_paddle_does(
    engine: str, exported: Callable[[Cell], Path], tmp_path: Path
) -> None:
    from maskserve_tools.verify.reference import open_reference
    from tests.convert.networks.agreement import EQUAL, images, in_this_process, judge_folder
    from tests.convert.networks.solov2 import SOLOv2

    pytest.importorskip(engine, exc_type=ImportError)
    cell = Cell("SOLOv2", 2, one_image=True)
    exported(cell)  # skips where Paddle is not installed
    folder = export(cell, partial(SOLOv2, entering=20, leaving=30), tmp_path / "paddle")
    answers = [open_reference(folder).predict(image, 0.1) for image in images(cell)]
    assert all(len(answer) > len({(one.label, one.score, one.mask.tobytes()) for one in answer}) for answer in answers)
    with in_this_process():
        outcome = judge_folder(folder, cell, tmp_path, engine=engine)
    assert outcome.kind == EQUAL, outcome.words
    assert outcome.words == f"{sum(map(len, answers))} instances on {engine}"


def test_a_batch_of_several_images_is_refused_in_words(exported: Callable[[Cell], Path]) -> None:
    from maskserve.errors import ToolError
    from maskserve_convert.paddle.program import Op

    program = Program.read(exported(Cell("Mask-RT-DETR", 1, one_image=True, fixed=True, trt=True)) / "inference.json")

    def of_two(op: Op) -> Op:
        if op.name != "data" or op.attribute("name") != "im_shape":
            return op
        (written,) = op.raw["O"]
        dtype, _, *rest = written["TT"]["D"]
        return Op({**op.raw, "O": [{**written, "TT": {**written["TT"], "D": [dtype, [2, 2], *rest]}}]})

    with pytest.raises(ToolError, match=r"batches of 2 images \(im_shape is \[2, 2\]\).*export it for one"):
        recognise(Program(tuple(map(of_two, program.ops))))


@pytest.mark.parametrize(
    "name", ["fake_quantize_dequantize_moving_average_abs_max", "fake_channel_wise_quantize_abs_max"]
)
def test_a_program_of_quantisation_aware_training_is_refused_by_its_operators(
    exported: Callable[[Cell], Path], name: str
) -> None:
    from maskserve.errors import ToolError
    from maskserve_convert.paddle.program import Op

    program = Program.read(exported(Cell("Mask-RT-DETR", 1, one_image=True, fixed=True, trt=True)) / "inference.json")
    quantised = [Op({**op.raw, "#": f"1.{name}"}) if op.name == "sigmoid" else op for op in program.ops]
    assert quantised != list(program.ops)
    with pytest.raises(ToolError, match=f"quantisation-aware training.*{name}.*--precision int8"):
        recognise(Program(tuple(quantised)))


def test_the_table_is_put_in_place_of_the_one_that_is_there(tmp_path: Path) -> None:
    from tests.convert.networks.agreement import EQUAL, REFUSED, Outcome
    from tests.convert.networks.verify_grid import cells, write_table

    outcomes = {cell: Outcome(EQUAL, "7 instances on onnxruntime") for cell in cells(["SOLOv2"])}
    assert len(outcomes) == len(cells()) // 6 == 4 * 2**5
    document = tmp_path / "models.md"
    document.write_text("# Models\n\ntext\n", encoding="utf-8")
    write_table(document, outcomes)
    assert "| SOLOv2 | 128 | 128 | 0 | 0 | 0 | 0 | 896 |" in document.read_text(encoding="utf-8")
    assert "128 of 768 cells have been judged.\n" in document.read_text(encoding="utf-8")
    outcomes |= {cell: Outcome(EQUAL, "1 instances") for cell in cells()[:96] if cell not in outcomes}
    write_table(document, outcomes)
    assert "208 of 768 cells have been judged. They have every pair" in document.read_text(encoding="utf-8")
    outcomes[cells(["SOLOv2"])[0]] = Outcome(REFUSED, "a sentence")
    document.write_text(document.read_text(encoding="utf-8") + "\nafter\n", encoding="utf-8")
    write_table(document, outcomes)
    text = document.read_text(encoding="utf-8")
    assert text.startswith("# Models\n\ntext\n\n") and text.endswith("\nafter\n")
    assert text.count("| SOLOv2 |") == 1
    assert "| SOLOv2 | 128 | 127 | 0 | 1 | 0 | 0 | 889 |" in text
