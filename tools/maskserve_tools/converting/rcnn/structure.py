"""What an R-CNN program is made of: proposals, rounds of pooling and refining, suppression, a mask head.

Paddle loops over the images of a batch (`while`) to make proposals; everything else is in one flat list. Values are
the program's numbers; every constant that the joined graph needs is read from the operators here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from maskserve_tools.converting.program.pir import Op, Program, nested


@dataclass(frozen=True, slots=True)
class ProposalLevel:
    """One level's region proposals.

    Attributes:
        scores: [B, A, h, w].
        deltas: [B, 4 * A, h, w].
        anchors: [h * w * A, 4].
        variance: what the deltas are multiplied with.
    """

    scores: int
    deltas: int
    anchors: int
    variance: float


@dataclass(frozen=True, slots=True)
class Proposals:
    """The attributes of `generate_proposals`, and `top_n`: how many are kept of all levels together (None for all)."""

    levels: tuple[ProposalLevel, ...]
    pre_nms_top_n: int
    post_nms_top_n: int
    nms_threshold: float
    min_size: float
    eta: float
    pixel_offset: bool
    top_n: int | None

    @property
    def limit(self) -> int:
        """How many proposals there are at most."""
        return self.top_n or self.post_nms_top_n * len(self.levels)


@dataclass(frozen=True, slots=True)
class Assignment:
    """The attributes of `distribute_fpn_proposals`: which level of the feature pyramid a box is pooled from."""

    min_level: int
    max_level: int
    refer_level: int
    refer_scale: float
    pixel_offset: bool


@dataclass(frozen=True, slots=True)
class Pooling:
    """One round of `roi_align`.

    Attributes:
        boxes: the value of the boxes, [N, 4].
        features: the feature map of each level.
        scales: the scale of each level.
        size: height and width of the result.
        sampling_ratio: samples along each side of a bin; 0 for as many as it has pixels.
        aligned: whether boxes are shifted by half a pixel.
        assignment: how boxes are assigned to levels; None where there is one level.
        pooled: the value of the result, [N, C, height, width], in the order of the boxes.
    """

    boxes: int
    features: tuple[int, ...]
    scales: tuple[float, ...]
    size: tuple[int, int]
    sampling_ratio: int
    aligned: bool
    assignment: Assignment | None
    pooled: int


@dataclass(frozen=True, slots=True)
class Suppression:
    """The attributes of `multiclass_nms3`, and its operands: boxes [R, C, 4] and scores [R, C], C being `classes`."""

    boxes: int
    scores: int
    classes: int
    score_threshold: float
    nms_threshold: float
    nms_eta: float
    nms_top_k: int
    keep_top_k: int
    background_label: int
    normalized: bool


@dataclass(frozen=True, slots=True)
class RCNN:
    """All of it.

    Attributes:
        proposals: how regions are proposed.
        rounds: the poolings in front of the box heads: one, or three in a cascade.
        suppression: how duplicates are removed.
        mask_pooling: the pooling in front of the mask head.
        mask_logits: the value of its result, [N, C, h, w].
        masks: the value of the probabilities for each row's class, [N, h, w].
        detections: the value of the rows, [N, 6]: class, score, box in pixels of the original image.
        mask_threshold: the probability from which on a pixel belongs to an instance.
    """

    proposals: Proposals
    rounds: tuple[Pooling, ...]
    suppression: Suppression
    mask_pooling: Pooling
    mask_logits: int
    masks: int
    detections: int
    mask_threshold: float


def find(program: Program) -> RCNN | None:
    """The structure of an R-CNN program; None where it is something else."""
    loop = next((op for op in program.named("while") if _inside(op, "generate_proposals")), None)
    suppressions = program.named("multiclass_nms3")
    if loop is None or len(suppressions) != 1 or not program.named("roi_align"):
        return None
    at = program.ops.index(suppressions[0])
    poolings = [(program.ops.index(group[0]), _pooling(program, group)) for group in _groups(program)]
    rounds = tuple(pooling for index, pooling in poolings if index < at)
    after = [pooling for index, pooling in poolings if index > at]
    gather = next((op for op in program.named("gather_nd") if program.ops.index(op) > at), None)
    threshold = _mask_threshold(program)
    if not rounds or len(after) != 1 or gather is None or threshold is None:
        return None
    probabilities = next(op for op in program.named("sigmoid") if program.ops.index(op) > program.ops.index(gather))
    return RCNN(
        proposals=_proposals(loop),
        rounds=rounds,
        suppression=_suppression(program, suppressions[0]),
        mask_pooling=after[0],
        mask_logits=gather.inputs[0],
        masks=probabilities.outputs[0],
        detections=program.fetches()[0],
        mask_threshold=threshold,
    )


def _inside(op: Op, name: str) -> list[Op]:
    """All operators of a type in an operator's nested blocks."""
    return [found for block in op.blocks for raw in nested(block) if (found := Op(raw)).name == name]


def _makers(op: Op) -> dict[int, Op]:
    """The operators in an operator's nested blocks, by the values they make."""
    inner = [Op(raw) for block in op.blocks for raw in nested(block)]
    return {value: maker for maker in inner for value in maker.outputs}


def _proposals(loop: Op) -> Proposals:
    found = _inside(loop, "generate_proposals")
    makers = _makers(loop)
    tops = _inside(loop, "topk")
    names = ("pre_nms_top_n", "post_nms_top_n", "min_size", "eta", "pixel_offset")
    return Proposals(
        levels=tuple(_level(op, makers) for op in found),
        nms_threshold=float(found[0].attribute("nms_thresh")),
        top_n=int(makers[tops[0].inputs[1]].attribute("value")) if tops else None,
        **{name: found[0].attribute(name) for name in names},
    )


def _level(op: Op, makers: dict[int, Op]) -> ProposalLevel:
    scores, deltas, _, anchors, variances = op.inputs
    filled = makers[variances]  # full_like(anchors, value)
    return ProposalLevel(
        scores=_outer(scores, makers),
        deltas=_outer(deltas, makers),
        anchors=_outer(anchors, makers),
        variance=float(makers[filled.inputs[1]].attribute("value")),
    )


def _outer(value: int, makers: dict[int, Op]) -> int:
    """The value outside the loop that an image's slice was taken from."""
    while value in makers:
        value = makers[value].inputs[0]
    return value


def _groups(program: Program) -> Iterable[list[Op]]:
    """The `roi_align`s of each round: those of one round are combined by the same operator."""
    joints = program.named("combine")
    groups: dict[Op, list[Op]] = {}
    for op in program.named("roi_align"):
        joint = next((joint for joint in joints if op.outputs[0] in joint.inputs), op)
        groups.setdefault(joint, []).append(op)
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
    """The levels' results concatenated and gathered into the order of the boxes."""
    value = group[0].outputs[0]
    for name in ("combine", "concat", "gather"):
        value = next(op for op in program.named(name) if value in op.inputs).outputs[0]
    return value


def _assignment(op: Op) -> Assignment:
    names = ("min_level", "max_level", "refer_level", "refer_scale", "pixel_offset")
    return Assignment(**{name: op.attribute(name) for name in names})


def _suppression(program: Program, op: Op) -> Suppression:
    names = ("score_threshold", "nms_threshold", "nms_eta", "nms_top_k", "keep_top_k", "background_label", "normalized")
    boxes, scores = op.inputs[:2]
    return Suppression(boxes, scores, program.shape(scores)[1], **{name: op.attribute(name) for name in names})


def _mask_threshold(program: Program) -> float | None:
    """The constant that the pasted masks are compared with, in the loop that pastes them."""
    for loop in program.named("while"):
        compare = _inside(loop, "greater_equal")
        if compare and _inside(loop, "grid_sample"):
            return float(_makers(loop)[compare[0].inputs[1]].attribute("value"))
    return None
