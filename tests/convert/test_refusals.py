"""A program that lacks a part of its family is refused with the part's name, and never by what it does have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from maskserve.errors import ToolError
from maskserve_convert.families.recognise import recognise
from maskserve_convert.paddle.program import Op, Program
from tests.convert.networks.exporting import Cell

FPN = Cell("Mask R-CNN FPN", 1, one_image=True, fixed=True)
YOLOE = Cell("PP-YOLOE_seg", 1, one_image=True, fixed=True, fuse_normalize=True)
SOLO = Cell("SOLOv2", 1, one_image=True, fixed=True)
DETR = Cell("Mask-RT-DETR", 1, one_image=True, fixed=True, trt=True)


@dataclass(frozen=True)
class Change:
    """What is done to a program: operators get another type, or lose an attribute; results are dropped."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    results: int | None = None

    def __call__(self, program: Program) -> Program:
        ops = [Op(self._raw(op.raw)) for op in program.ops]
        fetches = [op for op in ops if op.name == "fetch"]
        dropped = set(fetches[self.results :]) if self.results is not None else set()
        return Program(tuple(op for op in ops if op not in dropped))

    def _raw(self, raw: dict[str, Any]) -> dict[str, Any]:
        name = Op(raw).name
        changed = {**raw, "#": f"1.{self.renamed[name]}"} if name in self.renamed else dict(raw)
        if "regions" in raw:
            changed["regions"] = [
                {**region, "blocks": [{**b, "ops": list(map(self._raw, b["ops"]))} for b in region["blocks"]]}
                for region in raw["regions"]
            ]
        return changed


@pytest.mark.parametrize(
    ("cell", "change", "words"),
    [
        (FPN, Change({"multiclass_nms3": "matrix_nms"}), "looks like an R-CNN, but one suppression .*it has 0"),
        (FPN, Change(results=2), "looks like an R-CNN, but the mask head .* Faster R-CNN"),
        (FPN, Change({"roi_align": "roi_pool"}), "looks like an R-CNN, but the pooling of the proposals"),
        (FPN, Change({"grid_sample": "resize"}), "looks like an R-CNN, but the pasting of the masks"),
        (FPN, Change({"greater_equal": "greater_than"}), "looks like an R-CNN, but the pasting of the masks"),
        (
            FPN,
            Change({"sigmoid": "softmax"}),
            "looks like an R-CNN, but the one sigmoid behind .*there are 0",
        ),
        (FPN, Change({"full_like": "assign"}), "looks like an R-CNN, but the anchors' variance"),
        (YOLOE, Change(results=2), "looks like PP-YOLOE_seg, but its three results .*it has 2.* detects objects only"),
        (YOLOE, Change({"matmul": "bmm"}), "looks like PP-YOLOE_seg, but the product .*was not found"),
        (YOLOE, Change({"greater_than": "less_than"}), "looks like PP-YOLOE_seg, but the comparison of the masks"),
        (SOLO, Change({"min": "max"}), "looks like SOLOv2, but the minimum of decays .*it has 0"),
        (SOLO, Change(results=3), "looks like SOLOv2, but its four results .*it has 3"),
        (SOLO, Change({"nonzero": "where"}), "looks like SOLOv2, but the choice of candidates"),
        (DETR, Change({"bilinear_interp": "nearest_interp"}), "looks like Mask-RT-DETR, but the resizing of the mask"),
        (DETR, Change(results=2), "not an instance segmentation model.*2 results; .*those of an object detector"),
        (DETR, Change({"greater_than": "less_than"}), "not an instance segmentation model.*It has 3 results"),
    ],
    ids=lambda value: str(value) if isinstance(value, Cell) else "",
)
def test_the_part_that_is_missing_is_named(
    cell: Cell, change: Change, words: str, exported: Callable[[Cell], Path]
) -> None:
    program = change(Program.read(exported(cell) / "inference.json"))
    with pytest.raises(ToolError, match=words) as refused:
        recognise(program)
    # The old sentence named as expected the very shapes that it printed as found.
    assert "expected are" not in refused.value.message


@pytest.mark.parametrize(("eta", "refused"), [(0.9, True), (1.1, False)])
def test_a_suppression_that_changes_its_threshold_is_refused(
    eta: float, refused: bool, exported: Callable[[Cell], Path]
) -> None:
    """Paddle takes no notice of an eta above 1, which exports for TensorRT carry."""
    program = Program.read(exported(YOLOE) / "inference.json")
    (suppression,) = program.named("multiclass_nms3")
    attributes = [
        {**item, "AT": {**item["AT"], "D": eta}} if item["N"] == "nms_eta" else item for item in suppression.raw["A"]
    ]
    changed = Op({**suppression.raw, "A": attributes})
    program = Program(tuple(changed if op is suppression else op for op in program.ops))
    if refused:
        with pytest.raises(ToolError, match=r"nms_eta 0\.9"):
            recognise(program)
    else:
        assert recognise(program).family == "pp_yoloe_seg"


def test_a_program_put_together_in_another_way_is_no_traceback(exported: Callable[[Cell], Path]) -> None:
    program = Program.read(exported(FPN) / "inference.json")
    without = [{**op.raw, "A": []} if op.name == "distribute_fpn_proposals" else op.raw for op in program.ops]
    broken = [{**raw, "I": raw["I"][:1]} if Op(raw).name == "multiclass_nms3" else raw for raw in without]
    with pytest.raises(ToolError, match="looks like an R-CNN, but it is put together in a way"):
        recognise(Program(tuple(map(Op, broken))))
