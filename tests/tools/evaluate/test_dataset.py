"""Annotation files: what pycocotools would trip over, or misread, is said in words."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from maskserve.errors import ToolError
from maskserve_tools.evaluate.classes import choose, match_by_name, match_by_order
from maskserve_tools.evaluate.dataset import Dataset, read_dataset

SQUARE = [1, 1, 5, 1, 5, 5, 1, 5]
GOOD: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 8, "width": 10},
               {"id": "b", "file_name": "sub/b.jpg", "height": 8, "width": 10}],
    "categories": [{"id": 5, "name": "Person"}, {"id": 2, "name": "dining  table"}],
    "annotations": [{"id": 0, "image_id": 1, "category_id": 5, "segmentation": [SQUARE]},
                    {"image_id": "b", "category_id": 2, "segmentation": {"size": [8, 10], "counts": [10, 6, 64]},
                     "iscrowd": 1, "area": 3, "bbox": [1, 2, 3, 4]}],
}  # fmt: skip


def written(folder: Path, document: Any) -> Path:
    for name in ("a.jpg", "sub/b.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    file = folder / "truth.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return file


def test_what_is_not_said_follows_from_the_mask(tmp_path: Path) -> None:
    found = read_dataset(written(tmp_path, GOOD))
    assert [image.path for image in found.images] == [tmp_path / "a.jpg", tmp_path / "sub" / "b.jpg"]
    assert found.categories == {1: "Person", 2: "dining  table"}
    first, second = found.annotations
    assert (first["id"], first["image_id"], first["category_id"], first["iscrowd"]) == (1, 1, 1, 0)
    assert (first["area"], first["bbox"]) == (rle.area(first["segmentation"]), [1, 1, 4, 4])
    assert (second["id"], second["image_id"], second["iscrowd"], second["area"], second["bbox"]) == (
        2, 2, 1, 3, [1, 2, 3, 4]
    )  # fmt: skip
    pixels = rle.decode(second["segmentation"]).ravel(order="F")
    assert np.flatnonzero(pixels).tolist() == list(range(10, 16))


def test_whole_numbers_may_be_written_with_a_point(tmp_path: Path) -> None:
    """As pandas writes them."""
    document = json.loads(json.dumps(GOOD), parse_int=float)
    found = read_dataset(written(tmp_path, document))
    assert found.images[0].size == (8, 10)
    numbers = [(one["image_id"], one["category_id"], one["iscrowd"]) for one in found.annotations]
    assert numbers == [(1, 1, 0), (2, 2, 1)]


@pytest.mark.parametrize("area", [0, -1, float("inf"), float("nan"), "6", True])
def test_an_area_that_is_none_follows_from_the_mask(tmp_path: Path, area: Any) -> None:
    found = read_dataset(written(tmp_path, changed("annotations.1.area", area)))
    assert found.annotations[1]["area"] == 6


def test_the_first_images_alone(tmp_path: Path) -> None:
    found = read_dataset(written(tmp_path, GOOD), limit=1)
    assert (len(found.images), len(found.annotations)) == (1, 1)


def test_boxes_alone(tmp_path: Path) -> None:
    document = copy.deepcopy(GOOD)
    for annotation in document["annotations"]:
        annotation |= {"segmentation": [], "bbox": [0, 0, 2, 3]}
        annotation.pop("area", None)
    found = read_dataset(written(tmp_path, document))
    assert not found.masks and found.annotations[0]["area"] == 6


def changed(path: str, value: Any) -> Any:
    """The good file with one thing changed: "images.0.height"."""
    document = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place: Any = document
    for parent in parents:
        place = place[int(parent)] if parent.isdigit() else place[parent]
    key: Any = int(last) if last.isdigit() else last
    if value is None:
        del place[key]
    else:
        place[key] = value
    return document


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is a list, as results are"),
        ("7", "has no list 'images'"),
        (changed("categories", None), "has no list 'categories'"),
        (changed("annotations", []), "has no list 'annotations'"),
        (changed("images.0.id", None), "image number 0 has no id"),
        (changed("images.0.id", 1.5), "image number 0 has no id that is a whole number or a text"),
        (changed("images.1.id", 1), "two image records have the id 1"),
        (changed("images.1.file_name", "./sub/../a.jpg"), "the images 1 and 'b' are of one file, a.jpg"),
        (changed("images.0.height", "8"), "the image 1 .a.jpg. has no height and width"),
        (changed("images.0.file_name", None), "the image 1 has no file_name"),
        (changed("categories.0.name", " "), "the category 5 has no name"),
        (changed("categories.0.name", "dining  table"), "two categories are called 'dining  table'"),
        (changed("categories.1.id", 5), "two category records have the id 5"),
        (changed("annotations.0.image_id", 3), "the annotation 0 is of the image 3, which the file does not list"),
        (changed("annotations.0.image_id", "1"), "the annotation 0 is of the image '1', which the file does not list"),
        (changed("annotations.0.iscrowd", "0"), "the annotation 0 has an iscrowd of '0', which is neither 0 nor 1"),
        (changed("annotations.0.iscrowd", [1]), "which is neither 0 nor 1"),
        (changed("annotations.1.category_id", [2]), "the annotation number 1 is of the category None"),
        (changed("annotations.0", 3), "annotation number 0 is no object"),
        (changed("annotations.0.segmentation", None), "the annotation 0 has neither a segmentation nor a bbox"),
        (changed("annotations.0.segmentation", [[1, 2, 3, 4]]), "has a polygon that is not"),
        (changed("annotations.0.segmentation", [[*SQUARE, "x", 1]]), "has a polygon that is not"),
        (changed("annotations.0.segmentation", [[1, 2, 3, 4, 5, 1e300]]), "has a polygon far outside"),
        (changed("annotations.0.segmentation", "01"), "neither polygons nor run lengths"),
        (changed("annotations.1.segmentation.size", [10, 8]), "of the size .10, 8., its image is 8 x 10"),
        (changed("annotations.1.segmentation.counts", [10, 6]), "run lengths that do not fill its image of 8 x 10"),
        (changed("annotations.1.segmentation.counts", [-10, 90]), "run lengths that do not fill"),
        (changed("annotations.1.segmentation.counts", "é"), "run lengths that cannot be read"),
        (changed("annotations.1.segmentation.counts", "5"), "run lengths that do not fill"),
        (changed("annotations.1.segmentation.counts", 7), "run lengths that cannot be read"),
        (changed("annotations.1.bbox", [1, 2, 3]), "has a bbox that is not"),
        (changed("annotations.1.bbox", [1, 2, -3, 4]), "has a bbox that is not"),
        (changed("annotations.1.segmentation", []), "1 of 2 annotations have no segmentation"),
    ],
)  # fmt: skip
def test_a_broken_file_is_said_in_words(tmp_path: Path, document: Any, said: str) -> None:
    with pytest.raises(ToolError, match=said):
        read_dataset(written(tmp_path, document))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="the annotations cannot be read"):
        read_dataset(tmp_path / "no.json")


def test_missing_images_are_named(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    (tmp_path / "a.jpg").unlink()
    (other := tmp_path / "other").mkdir()
    with pytest.raises(
        ToolError, match=r"1 of 2 images of .* are not in .*: a.jpg; name their directory with --images"
    ):
        read_dataset(file)
    with pytest.raises(ToolError, match=r"2 of 2 images of .* are not in .*other: a.jpg, sub/b.jpg$"):
        read_dataset(file, other)
    with pytest.raises(ToolError, match=r"cannot be looked for in .*nowhere \(--images\): No such file"):
        read_dataset(file, tmp_path / "nowhere")


def test_a_name_that_no_file_can_have_is_of_a_missing_image(tmp_path: Path) -> None:
    file = written(tmp_path, changed("images.0.file_name", "x" * 300))
    with pytest.raises(ToolError, match=r"1 of 2 images of .* are not in"):
        read_dataset(file)


@pytest.mark.parametrize("folder", ["val2017", "images", "."])
def test_images_are_looked_for_where_they_usually_are(tmp_path: Path, folder: str) -> None:
    written(tmp_path / folder, GOOD)
    file = tmp_path / "annotations" / "instances_val2017.json"
    file.parent.mkdir()
    file.write_text(json.dumps(GOOD))
    assert read_dataset(file).images[0].path.resolve() == tmp_path / folder / "a.jpg"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return read_dataset(written(tmp_path, GOOD))


def test_classes_are_categories_of_the_same_name(dataset: Dataset) -> None:
    labels = ("car", "person", " Dining table ")
    classes = match_by_name(labels, dataset)
    assert (classes.categories, classes.unknown, classes.unjudged) == ({1: 1, 2: 2}, (), ("car",))
    assert choose(classes, dataset, labels, names=(), common=False) == {1: 1, 2: 2}
    assert choose(classes, dataset, labels, names=["PERSON"], common=False) == {1: 1}


def test_a_category_that_the_model_lacks_is_not_left_out_silently(dataset: Dataset) -> None:
    labels = ("person", "car")
    classes = match_by_name(labels, dataset)
    with pytest.raises(ToolError, match=r"no class for: dining  table .*person, car.*both have .Person. with --common"):
        choose(classes, dataset, labels, names=(), common=False)
    assert choose(classes, dataset, labels, names=(), common=True) == {0: 1}
    with pytest.raises(ToolError, match="do not both have dining table; both have Person"):
        choose(classes, dataset, labels, names=["dining table"], common=False)


def test_nothing_in_common(dataset: Dataset) -> None:
    labels = ("Mensch", "Tisch")
    classes = match_by_name(labels, dataset)
    for common in (False, True):
        with pytest.raises(ToolError, match="if they mean the same in the same order, use --by-order"):
            choose(classes, dataset, labels, names=(), common=common)
    by_order = match_by_order(labels, dataset)
    chosen = choose(by_order, dataset, labels, names=(), common=False)
    # PaddleDetection numbers classes by COCO.getCatIds(), which is the order of the file, and not that of the ids
    trained_by = COCO()
    trained_by.dataset = GOOD
    ids = {category["name"]: category["id"] for category in GOOD["categories"]}
    assert [ids[dataset.categories[chosen[index]]] for index in range(2)] == trained_by.getCatIds() == [5, 2]
    with pytest.raises(ToolError, match="has 2 categories, and the model 3 classes"):
        match_by_order(("a", "b", "c"), dataset)


def test_two_classes_of_one_name(dataset: Dataset) -> None:
    with pytest.raises(ToolError, match="two classes of the model are called 'Person'"):
        match_by_name(("person", "Person"), dataset)
