"""The figures are those that pycocotools computes from files, whatever ids the files have."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskserve_tools.evaluate.dataset import read_dataset
from maskserve_tools.evaluate.scoring import FIGURES, score
from tests.examples import examples

HEIGHT, WIDTH = 60, 80


def rectangle(random: np.random.Generator) -> list[float]:
    x0, y0 = (int(random.integers(0, side - 10)) for side in (WIDTH, HEIGHT))
    return [x0, y0, int(random.integers(2, WIDTH - x0)), int(random.integers(2, HEIGHT - y0))]


def mask_of(box: list[float]) -> dict[str, Any]:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    x, y, width, height = map(int, box)
    cv2.ellipse(pixels, (x + width // 2, y + height // 2), (width // 2, height // 2), 0, 0, 360, 1, -1)
    code: dict[str, Any] = rle.encode(np.asfortranarray(pixels))
    return {"size": code["size"], "counts": code["counts"].decode()}


def made_up(seed: int, first: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Annotations whose ids begin at `first`, and detections that are near some of them."""
    random = np.random.default_rng(seed)
    images = [{"id": 7 * n, "file_name": f"{n}.png", "height": HEIGHT, "width": WIDTH} for n in range(1, 5)]
    categories = [{"id": 9, "name": "cat"}, {"id": 4, "name": "dog"}]
    truth, found = list[dict[str, Any]](), list[dict[str, Any]]()
    for image in images:
        for _ in range(int(random.integers(0, 4))):
            box, category = rectangle(random), int(random.choice([4, 9]))
            segmentation = mask_of(box)
            truth.append(
                {"id": first + len(truth), "image_id": image["id"], "category_id": category, "bbox": box,
                 "segmentation": segmentation, "area": float(rle.area(segmentation)),
                 "iscrowd": int(random.random() < 0.15)}
            )  # fmt: skip
            near = [max(0, side + int(random.integers(-3, 4))) for side in box]
            near = near if random.random() < 0.7 else rectangle(random)
            near[2:] = [max(1, min(near[2], WIDTH - near[0])), max(1, min(near[3], HEIGHT - near[1]))]
            found.append(
                {"image_id": image["id"], "category_id": category, "bbox": near, "segmentation": mask_of(near),
                 "score": float(random.random())}
            )  # fmt: skip
    return {"images": images, "categories": categories, "annotations": truth}, found


def by_pycocotools(document: dict[str, Any], found: list[dict[str, Any]], kind: str) -> list[float]:
    """What pycocotools says of files with good ids."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = document
        truth.createIndex()
        dropped = "segmentation" if kind == "bbox" else "bbox"
        results = truth.loadRes([{key: value for key, value in one.items() if key != dropped} for one in found])
        evaluation = COCOeval(truth, results, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def judged(document: dict[str, Any], found: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    for image in document["images"]:
        (folder / image["file_name"]).touch()
    file = folder / "truth.json"
    file.write_text(json.dumps(document))
    dataset = read_dataset(file)
    images = {image["id"]: number for number, image in enumerate(document["images"], 1)}
    classes = {9: 1, 4: 2}
    ours = [{**one, "image_id": images[one["image_id"]], "category_id": classes[one["category_id"]]} for one in found]
    return dict(score(dataset, ours, [1, 2]))


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
def test_the_figures_are_pycocotools(seed: int, tmp_path: Path) -> None:
    document, found = made_up(seed, first=1)
    if not found:
        return
    figures = judged(document, found, tmp_path)
    for kind, name in (("bbox", "box"), ("segm", "mask")):
        expected = by_pycocotools(document, found, kind)
        assert list(figures[name].all) == list(FIGURES)
        for value, ours in zip(expected, figures[name].all.values(), strict=True):
            assert ours == (None if value < 0 else pytest.approx(value, abs=1e-12))


def test_ids_from_zero_count(tmp_path: Path) -> None:
    """pycocotools takes the id 0 for "not found"."""
    document, _ = made_up(3, first=1)
    keys = ("image_id", "category_id", "bbox", "segmentation")
    found = [{**{key: one[key] for key in keys}, "score": 0.9} for one in document["annotations"]]
    from_one = judged(document, found, tmp_path)
    for annotation in document["annotations"]:
        annotation["id"] -= 1
    assert by_pycocotools(document, found, "segm")[0] < from_one["mask"].all["AP"] - 0.01
    assert judged(document, found, tmp_path) == from_one


def test_nothing_found_is_an_ap_of_zero(tmp_path: Path) -> None:
    document, _ = made_up(3, first=1)
    figures = judged(document, [], tmp_path)
    assert (figures["box"].all["AP"], figures["mask"].all["AR100"]) == (0, 0)


def test_each_category_has_its_own_ap(tmp_path: Path) -> None:
    document, found = made_up(3, first=1)
    figures = judged(document, [one for one in found if one["category_id"] == 9], tmp_path)["mask"]
    assert figures.by_category["dog"] == 0
    assert figures.all["AP"] == pytest.approx(figures.by_category["cat"] / 2) and figures.by_category["cat"] > 0
