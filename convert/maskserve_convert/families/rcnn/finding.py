"""Find the structure of an R-CNN program.

What the exporter writes depends on the batch: for a batch of any size it loops over the images (`while`) to make
proposals and to paste masks, for a batch of one it writes the proposals into the flat list. With one class it takes the
mask head's only channel (`slice`), with more it takes each row's own (`gather_nd`). So nothing here depends on where
an operator is: values are followed from the operators that do the work, through loops and slices.

Every constant that the joined graph needs is read from the operators here.
"""

from __future__ import annotations

from collections.abc import Iterable

from maskserve.errors import ToolError
from maskserve_convert.families.rcnn.structure import RCNN, Assignment, Pooling, ProposalLevel, Proposals, Suppression
from maskserve_convert.families.refusal import found, not_found
from maskserve_convert.paddle.program import Op, Program, nested

NAME = "an R-CNN"
_JOINED = frozenset({"flatten", "reshape", "concat", "combine"})


def find(program: Program) -> RCNN | None:
    """Return the structure of an R-CNN program; None where it is something else.

    Raises:
        ToolError: it is an R-CNN, but a part of it is missing or not known; the message names the part.
    """
    everywhere = _Everywhere(program)
    if not everywhere.named("generate_proposals"):
        return None
    suppressions = program.named("multiclass_nms3")
    if len(suppressions) != 1:
        raise not_found(NAME, f"one suppression (multiclass_nms3; it has {len(suppressions)})")
    at = program.ops.index(suppressions[0])
    poolings = [(program.ops.index(group[0]), _pooling(program, group)) for group in _groups(program)]
    rounds = tuple(pooling for index, pooling in poolings if index < at)
    after = [pooling for index, pooling in poolings if index > at]
    if not rounds:
        raise not_found(NAME, "the pooling of the proposals (roi_align in front of the suppression)")
    if len(program.fetches()) < 3 or len(after) != 1:
        raise not_found(
            NAME,
            "the mask head (one round of roi_align behind the suppression, and masks as the third result; a Faster "
            "R-CNN detects objects and has none)",
        )
    masks, threshold = _pasted(everywhere)
    return RCNN(
        proposals=_proposals(everywhere),
        rounds=rounds,
        suppression=_suppression(program, suppressions[0]),
        mask_pooling=after[0],
        mask_logits=_logits(program, masks),
        masks=masks,
        detections=program.fetches()[0],
        mask_threshold=threshold,
    )


class _Everywhere:
    """All operators of a program, those in nested blocks included."""

    def __init__(self, program: Program) -> None:
        self._flat = frozenset(value for op in program.ops for value in op.outputs)
        self._ops = [Op(raw) for raw in nested([op.raw for op in program.ops])]
        self.makers = {value: op for op in self._ops for value in op.outputs}

    def named(self, name: str) -> list[Op]:
        """Return all operators of a type."""
        return [op for op in self._ops if op.name == name]

    def of_batch(self, value: int) -> int:
        """Return the flat list's value that an image's part was taken from."""
        while value in self.makers and (value not in self._flat or _takes_rows(self.makers[value])):
            value = self.makers[value].inputs[0]
        if value not in self.makers:
            raise not_found(NAME, "the value outside a loop that an image's part is taken from")
        return value

    def trace(self, value: int, through: frozenset[str]) -> Op:
        """Follow a value as `Program.trace` does, in nested blocks, too."""
        op = self.makers[value]
        while op.name in through and op.inputs[0] in self.makers:
            op = self.makers[op.inputs[0]]
        return op

    def number(self, value: int) -> float | None:
        """Return a constant's value; None where it is computed."""
        number = self.makers[value].attribute("value") if value in self.makers else None
        return float(number) if isinstance(number, int | float) else None


def _takes_rows(op: Op) -> bool:
    """Return whether an operator takes some of the rows: of a batch's images, or of an image's instances."""
    return op.name == "slice" and op.attribute("axes") == [0] and not op.attribute("decrease_axis")


def _pasted(everywhere: _Everywhere) -> tuple[int, float]:
    """Return the probabilities [N, h, w] that are pasted into the image, and the number that they are compared with."""
    compares = everywhere.named("greater_equal")
    views = frozenset({"slice", "squeeze", "reshape", "cast"})
    for compare in compares:
        sampled = everywhere.trace(compare.inputs[0], views) if compare.inputs[0] in everywhere.makers else compare
        if sampled.name != "grid_sample":
            continue
        threshold = everywhere.number(compare.inputs[1])
        if threshold is not None:
            unsqueezed = everywhere.trace(sampled.inputs[0], frozenset({"cast"}))
            return everywhere.of_batch(unsqueezed.inputs[0]), threshold
    raise not_found(NAME, "the pasting of the masks (grid_sample and a greater_equal with a constant)")


def _logits(program: Program, masks: int) -> int:
    """Return the mask head's result [N, C, h, w], from the probabilities of each row's class [N, h, w]."""
    value, sigmoids = masks, 0
    while True:
        op = program.producer(value)
        sigmoids += op.name == "sigmoid"
        if len(program.shape(value)) == 4 and op.name != "sigmoid":
            break
        if op.name not in {"sigmoid", "reshape", "slice", "squeeze", "gather_nd"}:
            raise not_found(NAME, f"the mask head's logits (sigmoid of one channel for each row; there is a {op.name})")
        value = op.inputs[0]
    if sigmoids != 1:
        raise not_found(NAME, f"the one sigmoid behind the mask head (there are {sigmoids})")
    return value


def _proposals(everywhere: _Everywhere) -> Proposals:
    makers = everywhere.named("generate_proposals")
    names = ("pre_nms_top_n", "post_nms_top_n", "min_size", "eta", "pixel_offset")
    levels = tuple(_level(op, everywhere) for op in makers)
    if len({level.scores for level in levels}) != len(levels):
        raise ToolError(
            f"{NAME} for a batch of several images: its program makes the proposals of each image apart. Export it for "
            "one image or for any number"
        )
    return Proposals(
        levels=levels,
        nms_threshold=float(makers[0].attribute("nms_thresh")),
        top_n=_top_n(everywhere),
        **{name: makers[0].attribute(name) for name in names},
    )


def _top_n(everywhere: _Everywhere) -> int | None:
    """Return how many proposals of all levels together are kept; None where there is no such choice."""
    for choice in everywhere.named("topk"):
        scores = choice.inputs[0]
        if scores in everywhere.makers and everywhere.trace(scores, _JOINED).name == "generate_proposals":
            part = "the number of proposals that are kept (a constant operand of topk)"
            return int(found(everywhere.number(choice.inputs[1]), NAME, part))
    return None


def _level(op: Op, everywhere: _Everywhere) -> ProposalLevel:
    scores, deltas, _, anchors, variances = op.inputs
    filled = everywhere.makers[variances]  # full_like(anchors, value)
    variance = everywhere.number(filled.inputs[1]) if filled.name == "full_like" else None
    return ProposalLevel(
        scores=everywhere.of_batch(scores),
        deltas=everywhere.of_batch(deltas),
        anchors=everywhere.of_batch(anchors),
        variance=found(variance, NAME, "the anchors' variance (full_like with a constant)"),
    )


def _groups(program: Program) -> Iterable[list[Op]]:
    """Return the `roi_align`s of each round: those of one round are combined by the same operator."""
    combining = program.named("combine")
    groups: dict[Op, list[Op]] = {}
    for op in program.named("roi_align"):
        combined = next((combined for combined in combining if op.outputs[0] in combined.inputs), op)
        groups.setdefault(combined, []).append(op)
    return groups.values()


def _pooling(program: Program, group: list[Op]) -> Pooling:
    first = group[0]
    boxes, assignment = first.inputs[1], None
    pooled = first.outputs[0]
    source = program.trace(boxes, through=frozenset({"split", "slice"}))  # of a list of tensors
    if source.name == "distribute_fpn_proposals":
        boxes, assignment = source.inputs[0], _assignment(source)
        pooled = _restored(program, group)
    return Pooling(
        boxes=boxes,
        features=tuple(op.inputs[0] for op in group),
        scales=tuple(float(op.attribute("spatial_scale")) for op in group),
        size=(first.attribute("pooled_height"), first.attribute("pooled_width")),
        sampling_ratio=max(0, first.attribute("sampling_ratio")),
        aligned=first.attribute("aligned"),
        assignment=assignment,
        pooled=pooled,
    )


def _restored(program: Program, group: list[Op]) -> int:
    """Return the levels' results concatenated and gathered into the order of the boxes."""
    value = group[0].outputs[0]
    for name in ("combine", "concat", "gather"):
        reader = next((op for op in program.named(name) if value in op.inputs), None)
        value = found(reader, NAME, f"the {name} of the levels' pooled features").outputs[0]
    return value


def _assignment(op: Op) -> Assignment:
    names = ("min_level", "max_level", "refer_level", "refer_scale", "pixel_offset")
    return Assignment(**{name: op.attribute(name) for name in names})


def _suppression(program: Program, op: Op) -> Suppression:
    names = ("score_threshold", "nms_threshold", "nms_eta", "nms_top_k", "keep_top_k", "background_label", "normalized")
    boxes, scores = op.inputs[:2]
    return Suppression(boxes, scores, program.shape(scores)[1], **{name: op.attribute(name) for name in names})
