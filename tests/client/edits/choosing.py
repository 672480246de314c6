"""Edits as programs write them: each chooses instances of a result, and returns their order."""

import copy

import numpy as np


def cut(result):
    result["boxes"], result["masks"] = result["boxes"][:2], result["masks"][:2]
    return [0, 1]


def cut_in_place(result):
    del result["boxes"][1:3], result["masks"][1:3]
    return [0, 3]


def pop_one(result):
    result["boxes"].pop(0)
    result["masks"].pop(0)
    return [1, 2, 3]


def zipped_sort(result):
    pairs = sorted(zip(result["boxes"], result["masks"], strict=True), key=lambda pair: -pair[0]["score"])
    result["boxes"], result["masks"] = zip(*pairs, strict=True)
    return [3, 2, 0, 1]


def update_with_lists(result):
    order = [2, 0]
    result.update(boxes=[result["boxes"][i] for i in order], masks=[result["masks"][i].astype(bool) for i in order])
    return order


def merged(result):
    order = [1, 3]
    result |= {"boxes": [result["boxes"][i] for i in order], "masks": [result["masks"][i].tolist() for i in order]}
    return order


def deep_copied(result):
    order = [3, 1, 0]
    result["boxes"] = [copy.deepcopy(result["boxes"][i]) for i in order]
    result["masks"] = [result["masks"][i].copy().astype(np.int32) for i in order]
    return order


def reversed_both(result):
    result["boxes"].reverse()
    result["masks"].reverse()
    return [3, 2, 1, 0]


def doubled(result):
    result["boxes"] += result["boxes"][:1]
    result["masks"] += result["masks"][:1]
    return [0, 1, 2, 3, 0]


def emptied(result):
    result["boxes"].clear()
    result["masks"].clear()
    return []


def a_slice_with_steps(result):
    result["boxes"], result["masks"] = result["boxes"][::-2], result["masks"][::-2]
    return [3, 1]


def put_back(result):
    boxes, masks = result.pop("boxes"), result.pop("masks")
    result["masks"], result["boxes"] = masks, boxes
    return [0, 1, 2, 3]


def stacked(result):
    """All masks of one size, as one array."""
    result["boxes"], result["masks"] = result["boxes"][:1], np.stack([result["masks"][0]])
    return [0]


EDITS = [
    *(cut, cut_in_place, pop_one, zipped_sort, update_with_lists, merged, deep_copied, reversed_both, doubled, emptied),
    *(a_slice_with_steps, put_back, stacked),
]
