"""`maskserve evaluate`: the demo model's AP is what pycocotools computes from its saved results."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskserve import create_pipeline
from maskserve.exports import save_coco
from maskserve.pipeline import Pipeline
from maskserve_tools.cli import main
from tests.client.conftest import LABELS, FakeTransport, make_answer
from tests.conftest import DEMO, ROOT

PHOTOS = ROOT / "demo" / "photos"
NAMES = ("astronaut", "camera", "grace_hopper")


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's images with their masks, as COCO annotations; one more person is nowhere to be found."""
    folder = tmp_path_factory.mktemp("coco")
    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    for number, name in enumerate(NAMES):
        shutil.copy(PHOTOS / f"{name}.jpg", folder)
        pixels = cv2.imread(str(PHOTOS / f"{name}.mask.png"), cv2.IMREAD_GRAYSCALE)
        images.append({"id": number, "file_name": f"{name}.jpg", "height": pixels.shape[0], "width": pixels.shape[1]})
        corner = np.zeros_like(pixels)
        corner[:9, :9] = 1
        for mask in [pixels > 0, *([corner] if number == 0 else [])]:
            code = rle.encode(np.asfortranarray(mask, np.uint8))
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0,
                 "area": float(rle.area(code)), "bbox": rle.toBbox(code).tolist(),
                 "segmentation": {"size": code["size"], "counts": code["counts"].decode()}}
            )  # fmt: skip
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    (folder / "truth.json").write_text(json.dumps(document))
    return folder / "truth.json"


def by_pycocotools(annotations: Path, results: Path, kind: str) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        found = json.loads(results.read_text(encoding="utf-8"))
        dropped = "segmentation" if kind == "bbox" else "bbox"
        evaluation = COCOeval(
            truth, truth.loadRes([{key: one[key] for key in one if key != dropped} for one in found]), kind
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def evaluated(*arguments: object, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_the_demo_model(
    demo_repository: Path, annotated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(DEMO, "--repository", demo_repository, "--coco", annotated, capsys=capsys)
    with create_pipeline(demo_repository / DEMO, threshold=0) as pipeline:
        paths = [str(annotated.parent / f"{name}.jpg") for name in NAMES]
        results = save_coco(pipeline.predict(paths), tmp_path / "results.json", images=annotated, bbox=True)
    for kind, name in (("bbox", "box"), ("segm", "mask")):
        expected = by_pycocotools(annotated, results, kind)
        assert [(-1 if value is None else value) for value in found[name].values()] == pytest.approx(expected)
    # the three people are found, the corner is not: a recall of 3 in 4
    assert 0.6 < found["mask"]["AP"] < 0.76 and found["mask"]["AP50"] == pytest.approx(0.752, abs=0.01)
    assert (found["images"], found["objects"], found["categories"]) == (3, 4, ["person"])
    assert found["by_category"]["person"]["box"] == found["box"]["AP"]


def test_an_entry_by_its_folder_and_a_server(
    demo_repository: Path, annotated: Path, server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    here = evaluated(demo_repository / f"{DEMO}-single", "--coco", annotated, capsys=capsys)
    there = evaluated(DEMO, "--url", server.grpc_url, "--coco", annotated, capsys=capsys)
    assert here["mask"] == there["mask"] and here["box"] == there["box"]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTransport:
    """A model that finds one car in each image, as large as the image."""
    transport = FakeTransport()
    monkeypatch.setattr("maskserve.create_pipeline", lambda *_, **__: Pipeline("tiny", transport))
    return transport


@pytest.fixture
def cars(tmp_path: Path) -> Callable[..., Path]:
    """Two images, one car in each, and what is to be changed in the annotations."""

    def write(**changes: Any) -> Path:
        for name, value in (("a", 200), ("b", 100)):
            cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((8, 10, 3), value, np.uint8))
        document = {
            "images": [{"id": n, "file_name": f"{name}.png", "height": 8, "width": 10} for n, name in enumerate("ab")],
            "categories": [{"id": 3, "name": "car"}],
            "annotations": [{"image_id": n, "category_id": 3, "bbox": [0, 0, 10, s]} for n, s in ((0, 8), (1, 3))],
            **changes,
        }  # fmt: skip
        (tmp_path / "truth.json").write_text(json.dumps(document))
        return tmp_path / "truth.json"

    return write


def test_a_bundle_by_a_relative_path_is_not_looked_for_in_the_repository(
    cars: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named = list[object]()

    def create(model: object, **_: object) -> Pipeline:
        named.append(model)
        return Pipeline("tiny", FakeTransport())

    monkeypatch.setattr("maskserve.create_pipeline", create)
    assert main(["evaluate", "people.maskserve", "--coco", str(cars())]) == 0
    assert named == ["people.maskserve"]


def test_boxes_alone_and_a_table(
    fake: FakeTransport, cars: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "tiny", "--coco", str(cars()), "--per-category"]) == 0
    out, err = capsys.readouterr()
    assert "mask" not in out
    assert [line.split("│")[1:3] for line in out.splitlines() if "AP50" in line or "car " in line] == [
        [" AP50      ", " 0.505 "],
        [" car      ", " 0.505  "],
    ]
    assert "tiny: 2 images, 2 objects (car), 2 instances above 0" in out
    assert err.splitlines() == ["maskserve: 1 of 2 images", "maskserve: 2 of 2 images"]
    assert {request.class_ids for _, request in fake.requests} == {(LABELS.index("car"),)}


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["evaluate", "tiny", *map(str, arguments)]) == 1
    out, err = capsys.readouterr()
    assert not out
    return err


def test_an_image_of_another_size(
    fake: FakeTransport, cars: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = cars()
    cv2.imwrite(str(file.parent / "b.png"), np.full((10, 8, 3), 90, np.uint8))
    assert "b.png is 10 x 8 (height, width), but the annotations say 8 x 10" in refused(capsys, "--coco", file)


def test_an_image_that_its_exif_data_turn(
    fake: FakeTransport, cars: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = cars()
    fake.respond = lambda _: make_answer([], (10, 8))
    assert "or its EXIF data turn it: annotate it as it is shown" in refused(capsys, "--coco", file)


def test_an_image_that_cannot_be_read(
    fake: FakeTransport, cars: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = cars()
    (file.parent / "b.png").write_bytes(b"no image")
    said = refused(capsys, "--coco", file)
    assert "b.png" in said and "without all images there is no AP" in said


def test_categories_that_do_not_match(
    fake: FakeTransport, cars: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = cars(categories=[{"id": 3, "name": "Auto"}])
    assert "categories that the model has no class for: Auto" in refused(capsys, "--coco", file)


def test_categories_that_are_left_out_are_said(
    fake: FakeTransport, cars: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file = cars(categories=[{"id": 3, "name": "car"}, {"id": 4, "name": "boat"}])
    assert main(["evaluate", "tiny", "--coco", str(file), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["left_out"] == ["boat"] and "1 of 2 categories of the annotations are not judged" in err


def test_nothing_is_found(fake: FakeTransport, cars: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    fake.respond = lambda _: make_answer([], (8, 10))
    assert main(["evaluate", "tiny", "--coco", str(cars()), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["box"]["AP"] == 0 and "nothing was found in any image" in err
