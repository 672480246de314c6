import json
import logging
import unicodedata
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco
from pycocotools.coco import COCO

from maskserve import Failure, InputError, InvalidImage, InvalidParameter
from maskserve.exports import (
    COCO_CATEGORY_IDS,
    save_coco,
    save_labelme,
    to_coco,
    to_labelme,
    to_pandas,
    to_supervision,
    to_yolo,
)
from maskserve.inputs.image import InputImage
from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve.results import InstanceSegResult

SIZE = (60, 100)
FOUND = [(0, 0.75, (10.25, 20.0, 50.25, 40.0)), (2, 0.5, (-3.0, 50.0, 8.0, 70.0))]


@pytest.fixture
def result(result_of):
    return result_of(np.zeros((*SIZE, 3), np.uint8), FOUND, SIZE)


def named(path, masks=None, page=None, label="person"):
    """A result with these masks, or one of a rectangle, for a path that is not read."""
    masks = [np.pad(np.ones((2, 3), bool), 1)] if masks is None else masks
    height, width = masks[0].shape if masks else (4, 5)
    found = [Mask.encode(mask) for mask in masks]
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in (mask.bbox for mask in found)], "f4").reshape(-1, 4)
    count = len(found)
    instances = Instances(
        boxes, np.full(count, 0.5, "f4"), np.zeros(count, "i4"), (label,) * count, tuple(found), (height, width)
    )
    input_image = InputImage(lambda: np.full((height, width, 3), (10, 20, 30), np.uint8), path, page)
    return InstanceSegResult(input_image, instances)


def ids(path):
    return [entry["image_id"] for entry in json.loads(path.read_text())]


FAILED = Failure("bad.jpg", InvalidImage("bad.jpg: not an image"))


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


@pytest.mark.parametrize("export", [lambda one: to_coco(one, 1), to_labelme, to_yolo])
def test_a_failure_cannot_be_exported(export):
    with pytest.raises(InvalidParameter, match=r"this image failed, there is nothing to export: bad\.jpg"):
        export(FAILED)
    with pytest.raises(InvalidParameter, match="a str is not a result"):
        export("photo.jpg")


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


def test_labelme(result):
    document = json.loads(json.dumps(to_labelme(result)))
    assert (document["imageHeight"], document["imageWidth"]) == SIZE
    first, second = document["shapes"]
    assert (first["label"], first["shape_type"], first["group_id"], second["group_id"]) == ("person", "polygon", 0, 1)
    assert sorted(first["points"]) == [[10.0, 20.0], [10.0, 40.0], [30.0, 20.0], [30.0, 40.0]]


RING = np.pad(np.ones((6, 6), bool), 2)
RING[4:6, 4:6] = False
TWO = np.zeros((10, 10), bool)
TWO[:2, :2] = TWO[8:, 8:] = True


@pytest.mark.parametrize(("parts", "counts"), [("split", [1, 2]), ("largest", [1, 1]), ("join", [1, 1])])
def test_parts_of_labelme_and_yolo(parts, counts):
    result = named("a.png", [RING, TWO, np.zeros((10, 10), bool)])
    groups = [shape["group_id"] for shape in to_labelme(result, parts=parts)["shapes"]]
    assert [groups.count(number) for number in range(3)] == [*counts, 0]
    assert len(to_yolo(result, parts=parts).splitlines()) == sum(counts)
    with pytest.raises(InvalidParameter, match="no form 'all' of parts"):
        to_yolo(result, parts="all")  # type: ignore[arg-type]


def test_labelme_files_refer_to_the_picture(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("é.jpg", "b.png"):
        cv2.imwrite(str(tmp_path / "photos" / name), np.zeros((4, 5, 3), np.uint8))
    results = [named(str(tmp_path / "photos" / name)) for name in ("é.jpg", "b.png")]
    beside = save_labelme(results, tmp_path / "photos")
    assert [path.name for path in beside] == ["é.json", "b.json"]
    assert json.loads(beside[0].read_text())["imagePath"] == "é.jpg"
    elsewhere = save_labelme(results, tmp_path / "out" / "deep")
    assert json.loads(elsewhere[1].read_text())["imagePath"] == "../../photos/b.png"
    assert sorted(path.name for path in (tmp_path / "out" / "deep").iterdir()) == ["b.json", "é.json"]


def test_labelme_has_tiff_files_as_png(tmp_path):
    path = tmp_path / "a.png"  # whatever its name is
    path.write_bytes(cv2.imencode(".tif", np.full((4, 5), 7, np.uint8))[1].tobytes())
    (written,) = save_labelme(named(str(path)), tmp_path / "out")
    assert json.loads(written.read_text())["imagePath"] == "a.png"
    assert (tmp_path / "out" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert to_labelme(named(str(path)))["imageData"]


SOURCES = [(None, None), ("http://host/folder/street.jpg?x=1", None), ("scan.pdf", 3)]


@pytest.mark.parametrize(("path", "page"), SOURCES)
def test_labelme_has_the_picture_where_there_is_no_file(path, page, tmp_path):
    (written,) = save_labelme(named(path, page=page), tmp_path)
    document = json.loads(written.read_text())
    assert document["imageData"] is None
    assert document["imagePath"] == f"{written.stem}.png"
    assert cv2.imread(str(tmp_path / document["imagePath"]))[0, 0].tolist() == [10, 20, 30]
    if path:
        assert written.name == ("scan_3.json" if page else "street.json")
    assert to_labelme(named(path, page=page))["imageData"].startswith("iVBOR")


def test_labelme_files_of_one_name_do_not_overwrite_each_other(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 5, 3), 200, np.uint8))
    results = [named(str(tmp_path / "a.png")), named("http://x/a.jpg"), named("http://y/A.jpg"), FAILED]
    for _ in range(2):  # the second time the same files
        written = save_labelme(results, tmp_path)
        assert [path.name for path in written] == ["a.json", "a_2.json", "A_3.json"]
    assert cv2.imread(str(tmp_path / "a.png"))[0, 0].tolist() == [200] * 3
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["A_3.png", "a.png", "a_2.png"]


def test_yolo(result, empty):
    first, second = to_yolo(result).splitlines()
    number, *values = first.split()
    assert number == "0"
    points = np.array(values, float).reshape(-1, 2) * [100, 60]
    assert sorted(points.round(4).tolist()) == [[10.0, 20.0], [10.0, 40.0], [30.0, 20.0], [30.0, 40.0]]
    assert second.startswith("2 0 0.8")
    assert to_yolo(empty) == ""


def test_yolo_takes_the_largest_part():
    pixels = np.zeros(SIZE, bool)
    pixels[5:10, 5:10] = pixels[20:40, 20:40] = True
    pixels[25:30, 25:30] = False
    (line,) = to_yolo(named("a.png", [pixels, pixels & False])).splitlines()
    assert len(line.split()) == 9
    assert line.split()[1] == "0.2"


@pytest.mark.filterwarnings("ignore:__array__ impl")  # pycocotools' decode under numpy 2
def test_yolo_numbers_are_precise_enough_for_the_pixels():
    """The polygon as it is in the text, painted by pycocotools, is the mask, also in a large image."""
    pixels = np.zeros((3001, 4007), bool)
    pixels[:, 4006] = pixels[3000] = True
    pixels[1000:1003, 2000:2004] = True
    (line,) = to_yolo(named("a.png", [pixels]), parts="join").splitlines()
    points = np.array(line.split()[1:], float).reshape(-1, 2) * [4007, 3001]
    painted = coco.decode(coco.merge(coco.frPyObjects([points.ravel().tolist()], 3001, 4007)))
    assert np.array_equal(painted, pixels)


def test_yolo_numbers_have_no_exponent():
    pixels = np.zeros((1, 30_000), bool)
    pixels[0, 1] = True
    assert to_yolo(named("a.png", [pixels])) == "0 0.00003333 0 0.00006667 0 0.00006667 1 0.00003333 1\n"


def test_pandas(result, empty, caplog):
    pytest.importorskip("pandas", reason="pandas is an optional dependency")
    frame = to_pandas([result, FAILED, empty])
    assert frame["label"].tolist() == ["person", "car"]
    assert frame["mask_area"].tolist() == [400, 40]
    assert frame["x0"].tolist() == [10.25, 0.0]
    assert frame.attrs["failures"] == 1
    assert "1 of 3 images failed" in caplog.text
    assert list(to_pandas([]).columns) == list(frame.columns)
    pages = to_pandas([named("scan.pdf", page=2), named("a.png")])
    assert pages["page_index"].isna().tolist() == [False, True]
    assert pages["page_index"][0] == 2
    assert len(to_pandas(result)) == 2


def test_supervision(result, empty):
    pytest.importorskip("supervision", reason="supervision is an optional dependency")
    detections = to_supervision(result)
    assert len(detections) == 2
    assert detections.mask.shape == (2, *SIZE)
    assert detections.mask[0].sum() == 400
    assert detections.data["class_name"].tolist() == ["person", "car"]
    assert detections.data["index"].tolist() == [0, 1]
    assert len(to_supervision(empty)) == 0
    with pytest.raises(InvalidParameter, match="this image failed"):
        to_supervision(FAILED)  # type: ignore[arg-type]
