"""Annotations of another form are not judged as if their objects were never found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maskserve.errors import ToolError
from maskserve_tools.evaluate.dataset import Dataset, read_dataset

WIDTH, HEIGHT = 200, 100
BOXES: list[list[float]] = [[20, 20, 30, 40], [120, 30, 60, 50], [150, 10, 20, 20], [90, 60, 80, 30]]


def read(folder: Path, boxes: list[list[float]] | None, polygons: list[list[float]] | None) -> Dataset:
    (folder / "a.jpg").touch()
    annotations = [
        {"id": n, "image_id": 1, "category_id": 1,
         **({} if boxes is None else {"bbox": boxes[n]}),
         **({} if polygons is None else {"segmentation": [polygons[n]]})}
        for n in range(len(BOXES))
    ]  # fmt: skip
    document: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": annotations,
    }
    (folder / "truth.json").write_text(json.dumps(document))
    return read_dataset(folder / "truth.json")


def corners(box: list[float]) -> list[float]:
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]]


def fractions(box: list[float]) -> list[float]:
    return [box[0] / WIDTH, box[1] / HEIGHT, box[2] / WIDTH, box[3] / HEIGHT]


def outline(box: list[float]) -> list[float]:
    x0, y0, x1, y1 = corners(box)
    return [x0, y0, x1, y0, x1, y1, x0, y1]


POLYGONS: list[list[float]] = [outline(box) for box in BOXES]


@pytest.mark.parametrize(
    ("boxes", "polygons", "said"),
    [
        (list(map(corners, BOXES)), POLYGONS, "4 of 4 boxes do not lie around their masks .*a.jpg, .* 20, 20, 50, 60"),
        (list(map(fractions, BOXES)), POLYGONS, "4 of 4 boxes do not lie around their masks"),
        ([[0, 0, 0, 0]] * 4, POLYGONS, "without it the box follows from the mask"),
        (list(map(corners, BOXES)), None, "3 of 4 boxes reach beyond their images.*x, y, width, height in pixels"),
        (list(map(fractions, BOXES)), None, "4 of 4 boxes .*cover less than a pixel"),
        (None, [outline(fractions(box)) for box in BOXES], "4 of 4 masks have no pixels .*polygons are in pixels"),
    ],
)
def test_annotations_of_another_form_are_refused(
    boxes: list[list[float]] | None, polygons: list[list[float]] | None, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ToolError, match=said):
        read(tmp_path, boxes, polygons)


@pytest.mark.parametrize("polygons", [POLYGONS, None])
def test_single_careless_boxes_are_not(polygons: list[list[float]] | None, tmp_path: Path) -> None:
    boxes: list[list[float]] = [BOXES[0], BOXES[1], [150, 10, 180, 120], [0, 0, 0, 0]]
    assert len(read(tmp_path, boxes, polygons).annotations) == 4


def test_boxes_of_a_pixel_or_two_may_be_one_beside(tmp_path: Path) -> None:
    tiny: list[list[float]] = [[box[0] + 1, box[1] + 1, 1, 1] for box in BOXES]
    assert read(tmp_path, tiny, [outline([box[0], box[1], 2, 2]) for box in BOXES]).masks
