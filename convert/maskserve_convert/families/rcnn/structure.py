"""What an R-CNN program is made of: proposals, rounds of pooling and refining, suppression, a mask head.

Values are the program's numbers. `maskserve_convert.families.rcnn.finding` finds them.
"""

from __future__ import annotations

from dataclasses import dataclass


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
