import struct
from dataclasses import replace

import numpy as np
import pytest

from maskserve import contract
from maskserve.errors import InferenceFailed
from maskserve.transport.wire import ImageRequest, Tensor, read_answer

FOUND = [(0, 0.75, (1.5, 2.5, 6.5, 30.0)), (7, 0.5, (-3.0, 0.0, 4.0, 4.0))]
SIZE = (10, 8)


def test_a_request_carries_what_is_set():
    (image,) = ImageRequest(b"abc").tensors()
    assert image == Tensor("IMAGE", "BYTES", (1,), b"\x03\0\0\0abc")
    _, threshold, classes = ImageRequest(b"", 0.25, (3, 1)).tensors()
    assert threshold == Tensor("THRESHOLD", "FP32", (1,), struct.pack("<f", 0.25))
    assert classes == Tensor("CLASS_IDS", "INT32", (2,), struct.pack("<ii", 3, 1))


def test_an_empty_filter_is_a_filter():
    assert ImageRequest(b"", class_ids=()).tensors()[1] == Tensor("CLASS_IDS", "INT32", (0,), b"")


def test_an_answer_is_read(answer):
    instances = read_answer(answer(FOUND, SIZE), ["person"])
    assert instances.image_size == SIZE
    assert instances.labels == ("person", "7")
    assert instances.boxes_xyxy.tolist() == [[1.5, 2.5, 6.5, 10.0], [0, 0, 4, 4]]
    assert instances.scores.tolist() == [0.75, 0.5]
    assert instances.masks[0].box == (2, 2, 4, 8)
    assert np.array_equal(instances.masks[0].crop(), np.tile([1, 1, 0, 0], (8, 1)))


def test_nothing_found(answer):
    instances = read_answer(answer([], SIZE), [])
    assert len(instances) == 0
    assert instances.boxes_xyxy.shape == (0, 4)


def changed(name, **fields):
    return lambda tensors: [replace(t, **fields) if t.name == name else t for t in tensors]


def boxes(values):
    return struct.pack("<8i", *values)


DAMAGES = {
    "missing": (lambda tensors: tensors[1:], "no BOXES"),
    "not ours": (lambda tensors: [], "does not keep the contract"),
    "wrong type": (changed(contract.SCORES, datatype="FP64"), "SCORES is FP64"),
    "wrong rank": (changed(contract.SCORES, shape=(2, 1)), r"SCORES is FP32 \[2, 1\]"),
    "wrong columns": (changed(contract.BOXES, shape=(4, 2)), "BOXES is FP32"),
    "negative side": (changed(contract.SCORES, shape=(-1,)), "SCORES is"),
    "too few bytes": (changed(contract.SCORES, data=b"\0\0\0\0"), "came with 4 bytes"),
    "fewer scores": (changed(contract.SCORES, shape=(1,), data=b"\0\0\0\0"), "2 masks but 1 SCORES"),
    "more masks announced": (changed(contract.MASKS, shape=(3,)), "3 strings"),
    "string too long": (changed(contract.MASKS, data=b"\xff\xff\xff\x7fa"), "does not hold"),
    "string cut short": (changed(contract.MASKS, data=b"\x01"), "does not hold"),
    "counts of another size": (changed(contract.MASKS, data=b"\x01\0\0\0a\x01\0\0\0a"), "mask 0 is damaged"),
    "no image": (changed(contract.IMAGE_SIZE, data=struct.pack("<ii", 0, 8)), "image of 0x8"),
    "absurd image": (changed(contract.IMAGE_SIZE, data=struct.pack("<ii", 2**31 - 1, 2)), "image of 2147483647x2"),
    "window outside": (changed(contract.MASK_BOXES, data=boxes([2, 2, 4, 8, 5, 0, 4, 4])), "mask 1 at .* leaves"),
    "negative window": (changed(contract.MASK_BOXES, data=boxes([2, 2, -4, -8, 0, 0, 4, 4])), "mask 0 at .* leaves"),
    "negative class": (changed(contract.LABELS, data=struct.pack("<ii", 0, -1)), "negative class"),
    "an output twice": (lambda answer: [*answer, answer[0]], "an output twice"),
    "boxes from their end to their beginning": (
        changed(contract.BOXES, data=struct.pack("<8f", 6.5, 2.5, 1.5, 9, 0, 0, 4, 4)),
        "end before they begin",
    ),
    "not finite": (changed(contract.SCORES, data=struct.pack("<ff", 0.5, float("nan"))), "not finite"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_answer_is_refused(answer, damage, message):
    with pytest.raises(InferenceFailed, match=message):
        read_answer(damage(answer(FOUND, SIZE)), [])
