"""Label Studio predictions, read by a reader of our own, written from its format."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.tools.annotate.real_label_studio import inside

from maskserve.errors import InvalidParameter
from maskserve.exports import to_label_studio
from maskserve.exports.label_studio import brush_rle
from maskserve.inputs.image import InputImage
from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve.results import InstanceSegResult

SIZE = (40, 60)


def result(masks, labels=None):
    chosen = tuple(map(Mask.encode, masks))
    count = len(chosen)
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in (mask.bbox for mask in chosen)], "f4").reshape(-1, 4)
    labels = labels or ("person", "行人", "car")[:count]
    found = Instances(
        boxes, np.linspace(0.9, 0.5, count).astype("f4"), np.arange(count, dtype="i4"), labels, chosen, SIZE
    )
    return InstanceSegResult(InputImage(lambda: np.zeros((*SIZE, 3), np.uint8), "photo.png"), found)


def some_masks():
    found = np.zeros((3, *SIZE), bool)
    found[0, 5:25, 10:30] = True
    found[0, 10:15, 15:25] = False  # a hole
    found[1, :10, :12] = found[1, 30:, 50:] = True  # two parts
    return found  # the third is empty


def unpacked(rle):
    """Values of a brush mask, bit by bit as Label Studio's page reads them."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    place = 0

    def read(count):
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, width = read(32), read(5) + 1
    lengths = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        equal, length = read(1), None
        length = read(lengths[read(2)]) + 1
        values += [read(width)] * length if equal else [read(width) for _ in range(length)]
    assert len(values) == total
    return np.array(values, np.uint8)


def painted(points):
    """The pixels inside a polygon of percentages."""
    return inside(np.array(points) * np.array(SIZE[::-1]) / 100, SIZE)


@given(arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30)), fill=st.booleans()))
def test_a_brush_mask_is_the_mask_in_four_channels(pixels):
    channels = unpacked(brush_rle(Mask.encode(pixels))).reshape(*pixels.shape, 4)
    assert (channels == np.where(pixels, 255, 0)[:, :, None]).all()


@pytest.mark.parametrize("run", [2, 3, 4, 5, 64, 65, 16384, 16385, 40000])  # lengths, in pixels, where the form changes
def test_runs_of_every_length(run):
    pixels = np.zeros((250, 400), bool)
    pixels.ravel()[7 : 7 + run] = True
    assert (unpacked(brush_rle(Mask.encode(pixels)))[3::4].reshape(pixels.shape) == pixels * 255).all()


def test_a_prediction_with_brush_masks():
    prediction = to_label_studio(result(some_masks()), from_name="tag", to_name="photo", model_version="3")
    assert json.loads(json.dumps(prediction)) == prediction
    assert prediction["model_version"] == "3"
    assert prediction["score"] == pytest.approx(0.8)  # of the two that have a region
    assert len({region["id"] for region in prediction["result"]}) == 2
    for region, wanted, label in zip(prediction["result"], some_masks(), ("person", "行人"), strict=False):
        assert (region["from_name"], region["to_name"], region["type"]) == ("tag", "photo", "brushlabels")
        assert (region["original_height"], region["original_width"], region["image_rotation"]) == (*SIZE, 0)
        assert region["value"]["brushlabels"] == [label]
        assert region["value"]["format"] == "rle"
        assert (unpacked(region["value"]["rle"]).reshape(*SIZE, 4)[:, :, 3] == wanted * 255).all()


def test_polygons_are_the_masks():
    prediction = to_label_studio(result(some_masks()), form="polygon")
    assert [region["type"] for region in prediction["result"]] == ["polygonlabels"] * 2
    for region, wanted in zip(prediction["result"], some_masks(), strict=False):
        assert region["value"]["closed"] is True
        assert (painted(region["value"]["points"]) == wanted).all()


def test_polygons_of_each_part():
    regions = to_label_studio(result(some_masks()), form="polygon", parts="split")["result"]
    assert [region["value"]["polygonlabels"] for region in regions] == [["person"], ["行人"], ["行人"]]
    assert (painted(regions[1]["value"]["points"]) | painted(regions[2]["value"]["points"]) == some_masks()[1]).all()
    assert painted(regions[0]["value"]["points"]).sum() == 400, "the hole is filled"


def test_a_tolerance_makes_fewer_corners():
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    disc = (x - 30) ** 2 + (y - 20) ** 2 < 15**2
    exact = to_label_studio(result([disc]), form="polygon", parts="largest")["result"][0]["value"]["points"]
    simple = to_label_studio(result([disc]), form="polygon", parts="largest", tolerance=1)["result"][0]["value"][
        "points"
    ]
    assert len(simple) < len(exact) / 3
    assert (painted(simple) & disc).sum() / (painted(simple) | disc).sum() > 0.93


def test_labels_of_the_project():
    prediction = to_label_studio(result(some_masks()), labels={"行人": "Pedestrian"})
    assert [region["value"]["brushlabels"] for region in prediction["result"]] == [["Pedestrian"]]
    assert prediction["score"] == pytest.approx(0.7)


def test_no_instances():
    assert to_label_studio(result([])) == {"result": [], "score": 0.0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"form": "bitmask"}, "no form 'bitmask'"),
        ({"form": "polygon", "tolerance": 1}, "choose parts split or largest"),
        ({"form": "polygon", "parts": "split", "tolerance": -1}, "a tolerance of -1"),
        ({"form": "polygon", "parts": "split", "tolerance": float("nan")}, "a tolerance of nan"),
        ({"form": "polygon", "parts": "all"}, "no form 'all' of parts"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, words):
    with pytest.raises(InvalidParameter, match=words):
        to_label_studio(result(some_masks()), **arguments)
