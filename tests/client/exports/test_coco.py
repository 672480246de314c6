"""COCO results files: their entries, and which image and which category each is of."""

import json
import logging
import unicodedata
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco
from pycocotools.coco import COCO
from tests.client.exports.made_results import FAILED, SIZE, named

from maskserve import InputError, InvalidParameter
from maskserve.exports import COCO_CATEGORY_IDS, save_coco, to_coco


def ids(path):
    return [entry["image_id"] for entry in json.loads(path.read_text())]


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


def test_ids_are_the_numbers_of_file_names(tmp_path):
    names = ["val/000000000139.jpg", "COCO_val2014_000000000042.jpg", "http://host/7.png?size=1", "C:\\data\\0008.jpg"]
    assert ids(save_coco(map(named, names), tmp_path / "r.json")) == [139, 42, 7, 8]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (named("photos/a.jpg"), r"the image 'photos/a.jpg' has no id, .*give images=.*or image_id="),
        (named("frame_12.jpg"), "its name is not a number"),
        (named("12.5.jpg"), "its name is not a number"),
        (named(None), "given as an array has no id"),
        (named("7.tif", page=1), r"'7.tif', page 1 has no id"),
        (named("٣.jpg"), "its name is not a number"),
    ],
)
def test_a_picture_without_an_id(result, message, tmp_path):
    with pytest.raises(InvalidParameter, match=message):
        save_coco([result], tmp_path / "r.json")
    assert not list(tmp_path.iterdir())


def test_no_two_pictures_have_one_id(tmp_path):
    with pytest.raises(InvalidParameter, match=r"'b/1.jpg' and the image 'a/01.jpg' both have the id 1"):
        save_coco([named("a/01.jpg"), named("b/1.jpg")], tmp_path / "r.json")
    with pytest.raises(InvalidParameter, match="both have the id 5"):
        save_coco([named("a/x.jpg"), named("b/x.jpg")], tmp_path / "r.json", images={"x.jpg": 5})


ANNOTATIONS = {
    "images": [
        {"id": 31, "file_name": "train/street.jpg", "width": 5, "height": 4},
        {"id": 32, "file_name": "val\\street.jpg", "width": 5, "height": 4},
        {"id": 33, "file_name": unicodedata.normalize("NFD", "straße_ü.png"), "width": 5, "height": 4},
        {"id": 34, "file_name": "scan_1.png", "width": 5, "height": 4},
        {"id": "text", "file_name": "only/here.jpg", "width": 5, "height": 4},
    ],
    "categories": [{"id": 3, "name": "car"}, {"id": 1, "name": "person"}],
    "annotations": [],
}
FOUND_THERE = [
    ("/data/val/street.jpg", None, 32),
    ("train/street.jpg", None, 31),
    (unicodedata.normalize("NFC", "straße_ü.png"), None, 33),
    ("http://host/stra%C3%9Fe_%C3%BC.png?x", None, 33),
    ("papers/scan.pdf", 1, 34),
    ("elsewhere/here.jpg", None, "text"),
]


@pytest.mark.parametrize("form", ["file", "content", "coco", "images"])
@pytest.mark.parametrize(("path", "page", "number"), FOUND_THERE)
def test_ids_are_looked_up_by_file_name(form, path, page, number, tmp_path):
    annotations = COCO()
    annotations.dataset = ANNOTATIONS
    (tmp_path / "a.json").write_text(json.dumps(ANNOTATIONS))
    images = {
        "file": tmp_path / "a.json",
        "content": ANNOTATIONS,
        "coco": annotations,
        "images": ANNOTATIONS["images"],
    }[form]
    written = json.loads(save_coco([named(path, page=page)], tmp_path / "r.json", images=images).read_text())
    assert [entry["image_id"] for entry in written] == [number]
    assert [entry["category_id"] for entry in written] == [0 if form == "images" else 1]


@pytest.mark.parametrize(
    ("path", "page", "message"),
    [
        ("test/street.jpg", None, r"may be train/street.jpg and val/street.jpg of images=: give its folders"),
        ("Street.jpg", None, "'Street.jpg' is not among those of images="),
        ("scan.pdf", 0, r"'scan.pdf', page 0 is not among"),
        (None, None, "has no file name to look for"),
    ],
)
def test_a_picture_that_the_annotations_do_not_have(path, page, message, tmp_path):
    with pytest.raises(InvalidParameter, match=message):
        save_coco([named(path, page=page)], tmp_path / "r.json", images=ANNOTATIONS)


def test_a_class_that_the_categories_do_not_have(tmp_path):
    results = [named("val/street.jpg", label="chat noir ✓")]
    with pytest.raises(InvalidParameter, match=r"no category 'chat noir ✓' \(class 0\): give category_ids="):
        save_coco(results, tmp_path / "r.json", images=ANNOTATIONS)
    nine: Any = np.int64(9)
    written = save_coco(results, tmp_path / "r.json", images=ANNOTATIONS, category_ids={0: nine})
    assert json.loads(written.read_text())[0]["category_id"] == 9


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("missing.json", "no such file"),
        ({"images": [{"id": 1}]}, "has no id or no file_name"),
        ({"images": None}, "no list of images"),
        (5, "no list of images"),
        ({"a.jpg": 1.5}, "1.5 is no id of an image"),
    ],
)
def test_images_that_make_no_sense(images, message, tmp_path):
    with pytest.raises(InputError, match=message):
        save_coco([named("a.jpg")], tmp_path / "r.json", images=images)


def test_annotations_that_are_no_json(tmp_path):
    (tmp_path / "a.json").write_text("no JSON")
    with pytest.raises(InvalidParameter, match=r"a.json is not a COCO annotation file"):
        save_coco([named("a.jpg")], tmp_path / "r.json", images=tmp_path / "a.json")


def test_images_and_image_id_are_not_both_given(tmp_path):
    with pytest.raises(InvalidParameter, match="not both"):
        save_coco([named("1.jpg")], tmp_path / "r.json", lambda *_: 1, images={})


def test_numpy_numbers_are_ids(result, tmp_path):
    seven: Any = np.int64(7)
    classes: Any = np.array([1, 2, 3])
    wrong: Any = [1.5, 2, 3]
    nonsense: Any
    path = save_coco([result], tmp_path / "r.json", lambda *_: seven, classes)
    assert [(e["image_id"], e["category_id"]) for e in json.loads(path.read_text())] == [(7, 1), (7, 3)]
    assert ids(save_coco([named("a.jpg")], tmp_path / "r.json", images={"a.jpg": np.int32(4)})) == [4]
    for nonsense in (1.5, None, True):
        with pytest.raises(InvalidParameter, match="is no id of an image"):
            to_coco(result, nonsense)
    with pytest.raises(InvalidParameter, match="give an integer for each class"):
        to_coco(result, 1, wrong)


def test_failures_are_left_out_and_counted(tmp_path, caplog):
    outcomes = [named("10.jpg"), FAILED, named("12.jpg"), FAILED]
    with caplog.at_level(logging.WARNING, logger="maskserve"):
        assert ids(save_coco(outcomes, tmp_path / "r.json")) == [10, 12]
    assert "2 of 4 images failed and are left out of " in caplog.text
    assert ids(save_coco(outcomes, tmp_path / "r.json", lambda _, position: position)) == [0, 2]


def test_what_is_no_results(tmp_path):
    nonsense: Any
    for nonsense in ("photos/", 5, [5]):
        with pytest.raises(InvalidParameter, match="give what predict yields"):
            save_coco(nonsense, tmp_path / "r.json")


def test_one_result_is_taken_as_a_list_of_one(tmp_path):
    assert ids(save_coco(named("3.jpg"), tmp_path / "r.json")) == [3]


def test_another_size_in_the_annotations_is_told(tmp_path, caplog):
    images = [{"id": 1, "file_name": "a.jpg", "width": 4, "height": 5}]
    with caplog.at_level(logging.WARNING, logger="maskserve"):
        save_coco([named("a.jpg")], tmp_path / "r.json", images=images)
    assert "1 images have another size in the annotations" in caplog.text


def test_boxes_are_optional(result):
    first, second = to_coco(result, 1, bbox=True)
    assert first["bbox"] == [10.25, 20.0, 40.0, 20.0]
    assert second["bbox"] == [0.0, 50.0, 8.0, 10.0]
    assert "bbox" not in to_coco(result, 1)[0]
