"""The plain parts of an R-CNN program: everything but the operators that Paddle2ONNX has no mapper for.

Where one of those stood there is a placeholder: an input of the parts in place of its result. The parts go through
Paddle2ONNX together, as one program of subgraphs that are not connected. `maskserve_convert.families.rcnn.stitch`
replaces the placeholders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from maskserve.errors import ToolError
from maskserve_convert.families.rcnn.structure import RCNN
from maskserve_convert.paddle.cut import CutProgram, cut
from maskserve_convert.paddle.program import Json, Op, Program

BOXES = "boxes"
SCORES = "scores"
MASK_LOGITS = "mask_logits"

# What is kept per image of the batch in an array, by type: the proposals, their number, the image's size once for each.
_PLACEHOLDERS = {
    ("FP32", (-1, 4)): "rois",
    ("FP32", (-1, 2)): "image_sizes",
    ("INT32", (-1,)): "rois_num",
    ("INT64", (-1,)): "rois_num",
}
_ARRAYS = frozenset({"array_to_tensor", "slice_array_dense"})
_DTYPES = {"FP32": "float32", "INT32": "int32", "INT64": "int64"}


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts, and what has to be joined.

    Attributes:
        subgraphs: the parts as one program.
        placeholders: what each of its new inputs stands for: "rois", "rois_num", "image_sizes", or "pooled.N" for the
            result of round N of pooling (the last one feeds the mask head).
    """

    subgraphs: CutProgram
    placeholders: Mapping[str, str]


def split(program: Program, rcnn: RCNN) -> Parts:
    """Take a program apart.

    Its outputs are called "rpn_scores.L", "rpn_deltas.L", "anchors.L" (for level L), "feature.L", "refined.N" (the
    boxes that round N pools, from round 1 on), "boxes", "scores" and "mask_logits".

    Raises:
        ToolError: the heads read something that is not known.
    """
    poolings = [*rcnn.rounds, rcnn.mask_pooling]
    pooled = {pooling.pooled: f"pooled.{number}" for number, pooling in enumerate(poolings)}
    refined = {f"refined.{number}": pooling.boxes for number, pooling in enumerate(rcnn.rounds) if number}
    heads = {BOXES: rcnn.suppression.boxes, SCORES: rcnn.suppression.scores, MASK_LOGITS: rcnn.mask_logits, **refined}
    kinds = pooled | _image_placeholders(program, heads.values(), frozenset(pooled), rcnn.rounds[0].boxes)
    opened = _open(_without_image_splits(program), {value: f"placeholder.{value}" for value in kinds})
    subgraphs = cut(opened, {**_trunk(rcnn), **heads})
    return Parts(subgraphs, {f"placeholder.{value}": kind for value, kind in kinds.items()})


def _trunk(rcnn: RCNN) -> dict[str, int]:
    outputs = {f"feature.{level}": value for level, value in enumerate(rcnn.mask_pooling.features)}
    for number, level in enumerate(rcnn.proposals.levels):
        outputs[f"rpn_scores.{number}"] = level.scores
        outputs[f"rpn_deltas.{number}"] = level.deltas
        outputs[f"anchors.{number}"] = level.anchors
    return outputs


def _image_placeholders(program: Program, targets: Iterable[int], known: frozenset[int], rois: int) -> dict[int, str]:
    """Return what the heads read of the proposals, and what it stands for.

    With a batch of any size that is arrays over its images; with a batch of one it is the proposals themselves.
    """
    placeholders: dict[int, str] = {}
    seen, left = set(known), list(targets)
    while left:
        value = left.pop()
        if value in seen or value <= 0:
            continue
        seen.add(value)
        op = program.producer(value)
        if value == rois:
            placeholders[value] = "rois"
        elif op.name in _ARRAYS:
            kind = program.dtype(value), program.shape(value)
            if kind not in _PLACEHOLDERS:
                raise ToolError(f"the box head reads an array of {kind[0]} {list(kind[1])}, which is not known")
            placeholders[value] = _PLACEHOLDERS[kind]
        else:
            left += op.inputs
    return placeholders


def _without_image_splits(program: Program) -> Program:
    """Bypass every split into a single section: a cascade splits its boxes by image, and there is one image."""
    same: dict[int, int] = {}
    for op in program.named("split"):
        if len(op.outputs) == len(op.inputs) == 1 and (source := program.producer(op.inputs[0])).name == "split":
            same[op.outputs[0]] = source.inputs[0]
    return Program(tuple(_reading(op, same) if same.keys() & set(op.inputs) else op for op in program.ops))


def _reading(op: Op, renamed: Mapping[int, int]) -> Op:
    return Op({**op.raw, "I": [{**item, "%": renamed.get(item["%"], item["%"])} for item in op.raw["I"]]})


def _open(program: Program, placeholders: Mapping[int, str]) -> Program:
    """Replace the operators that make the values by inputs of the given names."""
    kept = [op for op in program.ops if not placeholders.keys() & set(op.outputs)]
    return Program((*(Op(_input(program, value, name)) for value, name in placeholders.items()), *kept))


def _input(program: Program, value: int, name: str) -> Json:
    producer = program.producer(value).raw["O"]
    items = producer if isinstance(producer, list) else [producer]
    attributes = {
        "name": {"#": "0.a_str", "D": name},
        "shape": {"#": "1.a_intarray", "D": list(program.shape(value))},
        "dtype": {"#": "1.a_dtype", "D": _DTYPES[program.dtype(value)]},
        "place": {"#": "1.a_place", "D": [0, 0, ""]},
    }
    flag = {"#": "0.a_array", "D": [{"#": "0.a_bool", "D": True}]}
    return {
        "#": "1.data",
        "A": [{"AT": content, "N": key} for key, content in attributes.items()],
        "I": [],
        "O": [next(item for item in items if item["%"] == value)],
        "OA": [{"AT": flag, "N": "stop_gradient"}],
    }
