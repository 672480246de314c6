"""What a worker does, without Ray around it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from maskserve import Failure, InstanceSegResult
from maskserve.errors import InvalidImage, ServerUnavailable, from_wire
from maskserve.inputs.image import InputImage
from maskserve.instances import Instances
from maskserve.masks import Mask
from maskserve_tools.batch.loading import ListedImage
from maskserve_tools.batch.segmenting import Job, Worker
from maskserve_tools.batch.shards import Shard
from maskserve_tools.batch.writing import FORMATS, row_for
from tests.tools.batch.conftest import ndjson_rows, row

PHOTO = ListedImage("a.jpg", "a.jpg", InputImage(bytes, "a.jpg"))


def result(pixels: np.ndarray) -> InstanceSegResult:  # type: ignore[type-arg]
    instances = Instances(
        boxes_xyxy=np.array([[1.5, 2, 5, 5.25]], np.float32),
        scores=np.array([0.75], np.float32),
        class_ids=np.array([3], np.int32),
        labels=("dog",),
        masks=(Mask.encode(pixels),),
        image_size=(6, 8),
    )
    return InstanceSegResult(PHOTO.image, instances)


def test_a_row_is_coco() -> None:
    pixels = np.zeros((6, 8), np.uint8)
    pixels[2:5, 2:5] = np.eye(3)
    made = row_for(PHOTO, result(pixels))
    (instance,) = made["instances"]
    assert (made["width"], made["height"], made["error"]) == (8, 6, None)
    assert (instance["category_id"], instance["category"], instance["score"]) == (3, "dog", 0.75)
    assert instance["bbox"] == [1.5, 2.0, 3.5, 3.25]
    assert np.array_equal(coco.decode(instance["segmentation"]), pixels)


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_what_is_written_is_read(kind: str, tmp_path: Path) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs the extra `batch`")
    rows = [
        row_for(PHOTO, result(np.ones((6, 8), np.uint8))),
        row_for(PHOTO, Failure("a.jpg", InvalidImage("a.jpg: \udcff is no image"))),
        row("nothing there"),
    ]
    path = tmp_path / f"rows{FORMATS[kind].suffix}"
    FORMATS[kind].save(path, rows)
    assert FORMATS[kind].read(path) == rows
    assert [error is None for _, error in FORMATS[kind].read_errors(path)] == [True, False, True]
    assert list(tmp_path.iterdir()) == [path]


def test_rows_of_other_photos_stay_in_the_file(job: Job) -> None:
    FORMATS["ndjson"].save(Path(job.folder, "s.ndjson"), [row("a"), row("b", "broken")])
    Worker(job).write(Shard("s", ["b", "c"]), [row("b"), row("c")])
    assert sorted((made["id"], made["error"]) for made in ndjson_rows(Path(job.folder))) == [
        ("a", None),
        ("b", None),
        ("c", None),
    ]


def test_without_a_server_nothing_is_done_and_the_reason_is_told(job: Job, album: Path) -> None:
    worker = Worker(job)
    shards = [Shard(name, [str(album / "00.jpg")]).to_json() for name in ("s", "t")]
    reports = worker({"number": np.arange(2), "shard": np.array(shards, object)})
    assert reports["images"] == [0, 0]
    first, second = (from_wire(refusal) for refusal in reports["refusal"])
    assert isinstance(first, ServerUnavailable)
    assert isinstance(second, ServerUnavailable)
    assert list(Path(job.folder).iterdir()) == []


def test_a_model_that_cannot_be_loaded_is_explained(job: Job, tmp_path: Path) -> None:
    report = Worker(replace(job, urls=(), model=str(tmp_path))).report(0, Shard("s", ["a.jpg"]))
    assert str(tmp_path) in report.refusal
