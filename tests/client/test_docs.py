"""Every example of the client's documentation runs."""

import re
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"


def start_nothing(model, *, device):
    assert (Path(model), device) == (Path("best_model/inference"), "cpu")
    return SimpleNamespace(url="grpc://127.0.0.1:1", model="tiny", stop=lambda: None)


@pytest.fixture
def desk(tmp_path, monkeypatch, transport, answer):
    """A directory with photos, and a server that finds a person and a car in each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("maskserve._create.open_transport", lambda _: transport)
    monkeypatch.setattr("maskserve._local.find_starter", lambda: start_nothing)
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.png"):
        cv2.imwrite(name, np.full((48, 64, 3), 200, np.uint8))
    (tmp_path / "best_model" / "inference").mkdir(parents=True)
    (tmp_path / "best_model" / "inference" / "inference.yml").write_text("Global: {model_name: tiny}")
    found = [(0, 0.9, (4, 5, 40, 30)), (2, 0.6, (20, 10, 60, 40))]

    def respond(request):
        height, width = cv2.imdecode(np.frombuffer(request.image, np.uint8), cv2.IMREAD_COLOR).shape[:2]
        return answer(found, (height, width))

    transport.respond = respond
    return tmp_path


def test_the_examples_of_the_client(desk):
    examples = re.findall(r"^```python\n(.*?)^```", (DOCS / "client.md").read_text(encoding="utf-8"), re.S | re.M)
    assert len(examples) == 9
    names: dict = {}
    for example in examples:
        exec(compile(example, "client.md", "exec"), names)
    assert {path.name for path in (desk / "output").iterdir()} == {"photo.jpg", "photo.json"}
    assert (desk / "people.png").stat().st_size > 0
    assert (desk / "results.json").read_text().startswith("[\n")
    assert names["everything"].area > names["mask"].area
