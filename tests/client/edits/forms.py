"""A result of four instances, and what every form of it says: its columns, its JSON, its exports."""

import copy
import json
import pickle

import numpy as np

from maskserve.exports import to_coco, to_labelme, to_yolo
from maskserve.inputs.image import InputImage
from maskserve.instances import Instances
from maskserve.masks import Mask, decode_crop
from maskserve.results import InstanceSegResult

SIZE = (60, 100)
BOXES = [(3.2, 4.0, 23.4, 34.7), (30.0, 4.0, 50.0, 35.0), (55.1, 10.0, 90.0, 60.0), (0.0, 40.0, 20.0, 60.0)]
CLASSES, SCORES, LABELS = [0, 2, 0, 1], [0.5, 0.25, 0.75, 0.9], ("person", "car", "person", "bicycle")


def noise(height, width, seed):
    return np.random.default_rng(seed).integers(0, 2, (height, width), np.uint8)


def windows(boxes=BOXES):
    return [tuple(round(value) for value in box) for box in boxes]


def make(generation="3.0b2", path="street.png", size=SIZE):
    masks = [
        Mask.from_crop(noise(y1 - y0, x1 - x0, seed), x0, y0, size) for seed, (x0, y0, x1, y1) in enumerate(windows())
    ]
    found = Instances(
        np.array(BOXES, np.float32),
        np.array(SCORES, np.float32),
        np.array(CLASSES, np.int32),
        LABELS,
        tuple(masks),
        size,
    )
    input_image = InputImage(lambda: np.zeros((*size, 3), np.uint8), path)
    return InstanceSegResult(input_image, found, generation)


class Loads:
    """An image that can be pickled."""

    def __call__(self):
        return np.zeros((*SIZE, 3), np.uint8)


def pickled(result):
    result._image = InputImage(Loads(), result._image.input_path)
    return pickle.loads(pickle.dumps(result))


def full(result):
    """What an observer sees of every form of a result: (label, score, pixels of the whole image) by instance."""
    seen = {}
    seen["instances"] = [(one.label, round(one.score, 4), one.mask.decode()) for one in result.instances]
    document = json.loads(json.dumps(result.to_dict()))
    painted = []
    for rle in document["masks"]:
        plane = np.zeros(SIZE, np.uint8)
        (x, y), (h, w) = rle["origin"], rle["size"]
        plane[y : y + h, x : x + w] = decode_crop(rle["counts"].encode(), h, w)
        painted.append(plane)
    boxes = [(box["label"], round(box["score"], 4)) for box in document["boxes"]]
    seen["json"] = [(*box, plane) for box, plane in zip(boxes, painted, strict=True)]
    coco = to_coco(result, 1)
    seen["coco"] = [
        (label, round(entry["score"], 4), Mask.from_coco(entry["segmentation"]).decode())
        for label, entry in zip(result.instances.labels, coco, strict=True)
    ]
    assert [len(column) for column in (result.scores, result.class_ids, result.boxes_xyxy)] == [len(coco)] * 3
    assert np.round(result.scores.astype(float), 4).tolist() == [score for _, score, _ in seen["instances"]]
    assert len({shape["group_id"] for shape in to_labelme(result)["shapes"]}) <= len(coco)
    assert len(to_yolo(result).splitlines()) == sum(bool(mask) for mask in result.instances.masks)
    return seen


def expected(order, result=None):
    original = make() if result is None else result
    return [(LABELS[i], round(SCORES[i], 4), original._source.found.masks[i].decode()) for i in order]


def check(result, wanted):
    for form, seen in full(result).items():
        assert [one[:2] for one in seen] == [one[:2] for one in wanted], form
        for (_, _, got), (_, _, want) in zip(seen, wanted, strict=True):
            assert np.array_equal(got, want), form
    for twin in (pickled(result), copy.copy(result), copy.deepcopy(result), result.copy()):
        assert twin == result
        assert twin.to_dict() == result.to_dict()
        assert np.array_equal(np.asarray(twin.draw()), np.asarray(result.draw()))
