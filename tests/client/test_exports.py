import json

import numpy as np
import pytest
from pycocotools import mask as coco
from pycocotools.coco import COCO

from maskserve import InvalidParameter
from maskserve.exports import (
    COCO_CATEGORY_IDS,
    save_coco,
    to_coco,
    to_labelme,
    to_pandas,
    to_supervision,
    to_yolo,
)
from maskserve.masks import Mask

SIZE = (60, 100)
FOUND = [(0, 0.75, (10.25, 20.0, 50.25, 40.0)), (2, 0.5, (-3.0, 50.0, 8.0, 70.0))]


@pytest.fixture
def result(result_of):
    return result_of(np.zeros((*SIZE, 3), np.uint8), FOUND, SIZE)


@pytest.fixture
def empty(result_of):
    return result_of(np.zeros((*SIZE, 3), np.uint8), [], SIZE)


def test_coco_entries(result):
    first, second = to_coco(result, 7)
    assert [first.pop(key) for key in ("image_id", "category_id", "score")] == [7, 0, 0.75]
    assert list(first) == ["segmentation"]
    for entry, mask in zip((first, second), result.instances.masks, strict=True):
        reference = coco.encode(np.asfortranarray(mask.decode()))
        assert entry["segmentation"] == {"size": list(SIZE), "counts": reference["counts"].decode()}


def test_coco_categories(result):
    assert [entry["category_id"] for entry in to_coco(result, 1, COCO_CATEGORY_IDS)] == [1, 3]
    assert (len(COCO_CATEGORY_IDS), COCO_CATEGORY_IDS[27], COCO_CATEGORY_IDS[79]) == (80, 32, 90)
    with pytest.raises(InvalidParameter, match=r"no id for class 2 \(car\)"):
        to_coco(result, 1, [1, 2])


def test_a_coco_results_file_is_read_by_pycocotools(result, empty, tmp_path, capsys):
    path = save_coco([result, empty, result], tmp_path / "r.json", lambda _, position: position + 10, [1, 2, 3])
    annotations = COCO()
    annotations.dataset = {
        "info": {},
        "images": [{"id": number, "height": SIZE[0], "width": SIZE[1]} for number in (10, 11, 12)],
        "categories": [{"id": number} for number in (1, 2, 3)],
        "annotations": [],
    }
    annotations.createIndex()
    loaded = annotations.loadRes(str(path))
    assert len(loaded.getAnnIds(imgIds=[10])) == 2
    assert len(loaded.getAnnIds(imgIds=[11])) == 0
    areas = [annotation["area"] for annotation in loaded.loadAnns(loaded.getAnnIds(imgIds=[12]))]
    assert areas == [mask.area for mask in result.instances.masks]


def test_a_coco_results_file_without_instances(empty, tmp_path):
    assert json.loads(save_coco([empty], tmp_path / "none.json").read_text()) == []


def test_labelme(result):
    document = json.loads(json.dumps(to_labelme(result)))
    assert (document["imageHeight"], document["imageWidth"]) == SIZE
    first, second = document["shapes"]
    assert (first["label"], first["shape_type"], first["group_id"], second["group_id"]) == ("person", "polygon", 0, 1)
    assert sorted(first["points"]) == [[10.0, 20.0], [10.0, 40.0], [30.0, 20.0], [30.0, 40.0]]


def test_yolo(result, empty):
    first, second = to_yolo(result).splitlines()
    number, *values = first.split()
    assert number == "0"
    points = np.array(values, float).reshape(-1, 2) * [100, 60]
    assert sorted(points.round(4).tolist()) == [[10.0, 20.0], [10.0, 40.0], [30.0, 20.0], [30.0, 40.0]]
    assert second.startswith("2 0 0.8")
    assert to_yolo(empty) == ""


def test_yolo_takes_the_largest_part(result):
    pixels = np.zeros(SIZE, bool)
    pixels[5:10, 5:10] = pixels[20:40, 20:40] = True
    pixels[25:30, 25:30] = False
    object.__setattr__(result.instances, "masks", (Mask.encode(pixels), Mask.encode(pixels & False)))
    (line,) = to_yolo(result).splitlines()
    assert len(line.split()) == 9
    assert line.split()[1] == "0.2"


def test_pandas(result, empty):
    pytest.importorskip("pandas", reason="pandas is an optional dependency")
    frame = to_pandas([result, empty])
    assert frame["label"].tolist() == ["person", "car"]
    assert frame["mask_area"].tolist() == [400, 40]
    assert frame["x0"].tolist() == [10.25, 0.0]
    assert list(to_pandas([]).columns) == list(frame.columns)


def test_supervision(result, empty):
    pytest.importorskip("supervision", reason="supervision is an optional dependency")
    detections = to_supervision(result)
    assert len(detections) == 2
    assert detections.mask.shape == (2, *SIZE)
    assert detections.mask[0].sum() == 400
    assert detections.data["class_name"].tolist() == ["person", "car"]
    assert len(to_supervision(empty)) == 0
