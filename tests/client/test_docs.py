"""Every example of the client's documentation runs."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def desk(tmp_path, monkeypatch, transport, answer):
    """A directory with images, and a server that finds a person and a car in each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("maskserve._create.open_transport", lambda _: transport)

    def open_nothing(model, *, device, timeout, labels):
        assert (Path(model), device) == (Path("best_model/inference"), "cpu")
        return "tiny", transport

    monkeypatch.setattr("maskserve.transport.local.find_opener", lambda: open_nothing)
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.png"):
        cv2.imwrite(name, np.full((48, 64, 3), 200, np.uint8))
    clip = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for value in (50, 100, 150):
        clip.write(np.full((48, 64, 3), value, np.uint8))
    clip.release()
    (tmp_path / "best_model" / "inference").mkdir(parents=True)
    (tmp_path / "best_model" / "inference" / "inference.yml").write_text("Global: {model_name: tiny}")
    images = [{"id": 5, "file_name": "b.png"}, {"id": 7, "file_name": "a.jpg"}]
    categories = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
    (tmp_path / "annotations.json").write_text(
        json.dumps({"info": {}, "images": images, "categories": categories, "annotations": []})
    )
    found = [(0, 0.9, (4, 5, 40, 30)), (2, 0.6, (20, 10, 60, 40))]

    def respond(request):
        height, width = cv2.imdecode(np.frombuffer(request.image, np.uint8), cv2.IMREAD_COLOR).shape[:2]
        return answer(found, (height, width))

    transport.respond = respond
    return tmp_path


def test_the_examples_of_the_client(desk):
    examples = re.findall(r"^```python\n(.*?)^```", (DOCS / "client.md").read_text(encoding="utf-8"), re.S | re.M)
    assert len(examples) == 14
    names: dict = {}
    for example in examples:
        exec(compile(example, "client.md", "exec"), names)
    assert {path.name for path in (desk / "output").iterdir()} == {"photo.jpg", "photo.json"}
    assert len(list(names["frames"]("clip.avi"))) == 3
    assert (desk / "people.png").stat().st_size > 0
    assert len(list((desk / "cutouts").iterdir())) == 2
    assert names["edited"].instances.labels == ("visitor",)
    assert len(names["res"].instances) == 2
    assert json.loads((desk / "visitors.json").read_text())["camera"] == 3
    loaded = COCO(str(desk / "annotations.json")).loadRes(str(desk / "results.json"))
    found = [(entry["image_id"], entry["category_id"]) for entry in loaded.loadAnns(loaded.getAnnIds())]
    assert found == [(7, 1), (7, 3), (5, 1), (5, 3)]
    assert sorted(path.name for path in (desk / "labelme").iterdir()) == ["a.json", "b.json"]
    assert names["everything"].area > names["mask"].area
