"""Which locations answer for which person: task-aligned assignment (as in TOOD), one image at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PER_PERSON = 10  # locations that answer for one person, at most
SCORE_POWER = 0.5
OVERLAP_POWER = 4.0


@dataclass
class Assignment:
    """For one image: answering locations [P], their people [P], quality to predict [P], locations to leave out [L]."""

    locations: Tensor
    people: Tensor
    quality: Tensor
    ignored: Tensor


def overlap(one: Tensor, two: Tensor) -> Tensor:
    """Intersection over union [n, m] of boxes [n, 4] and [m, 4]."""
    low = torch.maximum(one[:, None, :2], two[None, :, :2])
    high = torch.minimum(one[:, None, 2:], two[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area_one = (one[:, 2:] - one[:, :2]).prod(-1)
    area_two = (two[:, 2:] - two[:, :2]).prod(-1)
    return shared / (area_one[:, None] + area_two[None] - shared + 1e-9)


def inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Return which points [L, 2] lie in which boxes [n, 4]: [n, L]."""
    after = points[None] > boxes[:, None, :2]
    before = points[None] < boxes[:, None, 2:]
    return (after & before).all(-1)


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, points: Tensor, people: Tensor, ignored: Tensor) -> Assignment:
    """Assign locations (scores [L], boxes [L, 4], points [L, 2]) to `people` [n, 4].

    A location's fitness for a person mixes its score with its box's overlap; the fittest answer. The quality
    they shall predict is their overlap, scaled so that the fittest one's is the best overlap reached.
    """
    left_out = inside(points, ignored).any(0) if len(ignored) else torch.zeros_like(scores, dtype=torch.bool)
    nobody = torch.zeros(0, dtype=torch.long)
    if not len(people):
        return Assignment(nobody, nobody, torch.zeros(0), left_out)
    overlaps = overlap(people, boxes)
    fitness = scores[None] ** SCORE_POWER * overlaps**OVERLAP_POWER
    within = inside(points, people)
    fitness = torch.where(within, fitness + 1e-12, torch.zeros(()))
    best, index = fitness.topk(PER_PERSON, dim=1)
    chosen = torch.zeros_like(fitness).scatter_(1, index, (best > 0).float()) > 0
    # A location chosen by several people answers for the one it overlaps most.
    owner = torch.where(chosen, overlaps, torch.full((), -1.0)).argmax(0)
    locations = torch.nonzero(chosen.any(0)).squeeze(1)
    owner = owner[locations]
    fit = fitness[owner, locations]
    top_fit = torch.zeros(len(people)).scatter_reduce(0, owner, fit, "amax", include_self=False)
    top_overlap = torch.zeros(len(people)).scatter_reduce(0, owner, overlaps[owner, locations], "amax")
    quality = fit / (top_fit[owner] + 1e-12) * top_overlap[owner]
    left_out[locations] = False
    return Assignment(locations, owner, quality, left_out)
