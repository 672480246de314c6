"""Losses: score (quality focal), box (generalised IoU), mask (cross entropy and dice)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from . import layout
from .assign import Assignment, assign
from .batches import Batch

MAX_MASKS = 40  # masks taught per batch, picked at random
BOX_WEIGHT = 2.0
MASK_WEIGHT = 1.0
DICE_WEIGHT = 2.0


@dataclass
class Losses:
    """The parts of a step's loss, each a scalar."""

    score: Tensor
    box: Tensor
    mask: Tensor
    dice: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.score + BOX_WEIGHT * self.box + MASK_WEIGHT * self.mask + DICE_WEIGHT * self.dice

    def values(self) -> dict[str, float]:
        """Return the parts as numbers."""
        return {name: float(getattr(self, name)) for name in ("score", "box", "mask", "dice")}


def locations(size: int) -> tuple[Tensor, Tensor]:
    """Centres [L, 2] of all locations and the unit [L, 1] of their distances (fractions of the image)."""
    centres, units = [], []
    for stride in layout.STRIDES:
        axis = (torch.arange(size // stride) + 0.5) * stride / size
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        centres.append(torch.stack([x.flatten(), y.flatten()], 1))
        units.append(torch.full((len(axis) ** 2, 1), stride * layout.BOX_UNIT / size))
    return torch.cat(centres), torch.cat(units)


def decode_boxes(distances: Tensor, centres: Tensor, units: Tensor) -> Tensor:
    """Corner boxes [..., L, 4] from logarithms of the distances to the four sides."""
    reach = distances.clamp(-6, 4).exp() * units
    return torch.cat([centres - reach[..., :2], centres + reach[..., 2:]], -1)


def score_loss(logits: Tensor, quality: Tensor, counted: Tensor) -> Tensor:
    """Quality focal loss: cross entropy with the quality, weighted by the square of the error; summed."""
    error = (quality - logits.sigmoid()).abs().pow(2)
    entropy = functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    return (error * entropy * counted).sum()


def box_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """1 - generalised IoU of each pair: [P]."""
    low, high = torch.maximum(boxes[:, :2], targets[:, :2]), torch.minimum(boxes[:, 2:], targets[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(-1) + (targets[:, 2:] - targets[:, :2]).prod(-1) - shared
    outer_low = torch.minimum(boxes[:, :2], targets[:, :2])
    outer_high = torch.maximum(boxes[:, 2:], targets[:, 2:])
    hull = (outer_high - outer_low).prod(-1)
    return 1 - shared / (union + 1e-9) + (hull - union) / (hull + 1e-9)


def paint(kernels: Tensor, boxes: Tensor, features: Tensor) -> Tensor:
    """Mask logits [P, h, w] of people with kernels [P, KERNEL] and boxes [P, 4] on features [P, C, h, w]."""
    count, _, height, width = features.shape
    first, bias1, second, bias2, third, bias3 = kernels.split(list(layout.KERNEL_PARTS), dim=-1)
    size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=layout.MIN_BOX)
    centre = (boxes[:, 2:] + boxes[:, :2]) / 2
    x = (torch.arange(width) + 0.5) / width
    y = (torch.arange(height) + 0.5) / height
    u = ((x[None] - centre[:, :1]) * 2 / size[:, :1])[:, None, None, :].expand(count, 1, height, width)
    v = ((y[None] - centre[:, 1:]) * 2 / size[:, 1:])[:, None, :, None].expand(count, 1, height, width)
    z = torch.cat([features, u, v], 1).flatten(2)
    z = torch.relu(torch.baddbmm(bias1[:, :, None], first.view(count, layout.HIDDEN, -1), z))
    z = torch.relu(torch.baddbmm(bias2[:, :, None], second.view(count, layout.HIDDEN, layout.HIDDEN), z))
    z = torch.baddbmm(bias3[:, :, None], third.view(count, 1, layout.HIDDEN), z)
    return z.view(count, height, width)


def mask_losses(logits: Tensor, targets: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy (inside and outside of the people's boxes weigh the same) and dice, means over people.

    logits [P, h, w] are brought to the targets' size [P, 2h, 2w] first, as serving brings them to the photo's.
    """
    side = targets.shape[-1]
    logits = functional.interpolate(logits[:, None], size=(side, side), mode="bilinear", align_corners=False)[:, 0]
    axis = (torch.arange(side) + 0.5) / side
    grow = 0.1 * (boxes[:, 2:] - boxes[:, :2])
    low, high = boxes[:, :2] - grow, boxes[:, 2:] + grow
    across = ((axis > low[:, :1]) & (axis < high[:, :1]))[:, None, :]
    down = ((axis > low[:, 1:]) & (axis < high[:, 1:]))[:, :, None]
    near = (across & down).float()
    entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    inner = (entropy * near).sum((1, 2)) / near.sum((1, 2)).clamp(min=1)
    outer = (entropy * (1 - near)).sum((1, 2)) / (1 - near).sum((1, 2)).clamp(min=1)
    probability = logits.sigmoid()
    shared = (probability * targets).sum((1, 2))
    dice = 1 - (2 * shared + 1) / (probability.pow(2).sum((1, 2)) + targets.pow(2).sum((1, 2)) + 1)
    return (inner + outer).mean(), dice.mean()


def _pick(assignments: list[Assignment], generator: torch.Generator) -> Tensor:
    """Rows (image, location, person) [P, 3] of at most MAX_MASKS answering locations."""
    rows = [
        torch.stack([torch.full_like(a.locations, index), a.locations, a.people], 1)
        for index, a in enumerate(assignments)
    ]
    together = torch.cat(rows)
    return together[torch.randperm(len(together), generator=generator)[:MAX_MASKS]]


def batch_losses(outputs: tuple[Tensor, Tensor, Tensor, Tensor], batch: Batch, generator: torch.Generator) -> Losses:
    """Return all losses of one batch; `outputs` are the network's."""
    scores, distances, kernels, features = (output.float() for output in outputs)
    scores = scores[..., 0]
    centres, units = locations(batch.images.shape[-1])
    boxes = decode_boxes(distances, centres, units)
    assignments = [
        assign(scores[i].detach().sigmoid(), boxes[i].detach(), centres, batch.boxes[i], batch.ignored[i])
        for i in range(len(scores))
    ]
    quality, counted = torch.zeros_like(scores), torch.ones_like(scores)
    for i, a in enumerate(assignments):
        quality[i, a.locations] = a.quality
        counted[i, a.ignored] = 0
    total = quality.sum().clamp(min=1)
    score = score_loss(scores, quality, counted) / total
    zero = scores.sum() * 0
    if not any(len(a.locations) for a in assignments):
        return Losses(score, zero, zero, zero)
    found = torch.cat([boxes[i, a.locations] for i, a in enumerate(assignments)])
    wanted = torch.cat([batch.boxes[i][a.people] for i, a in enumerate(assignments)])
    weight = torch.cat([a.quality for a in assignments])
    box = (box_loss(found, wanted) * (weight + 0.05)).sum() / total

    image, location, person = _pick(assignments, generator).unbind(1)
    frames = boxes[image, location].detach()
    logits = paint(kernels[image, location], frames, features[image])
    targets = torch.stack([batch.masks[i][p] for i, p in zip(image.tolist(), person.tolist(), strict=True)])
    true_boxes = torch.stack([batch.boxes[i][p] for i, p in zip(image.tolist(), person.tolist(), strict=True)])
    mask, dice = mask_losses(logits, targets, true_boxes)
    return Losses(score, box, mask, dice)
