"""The input file of perf_analyzer, byte for byte."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskserve_tools.cli import main


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "photos" / name for name in ("a.png", "b.jpg")]
    paths[0].parent.mkdir()
    for path in paths:
        cv2.imwrite(str(path), np.full((4, 6, 3), 200, np.uint8))
    return paths


def _bytes_element(path: Path) -> str:
    content = path.read_bytes()
    return base64.b64encode(len(content).to_bytes(4, "little") + content).decode()


def test_every_photo_is_an_entry_with_its_length_in_front(images: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "perf.json"
    assert main(["perf-data", *map(str, images), "--output", str(output)]) == 0
    entries = [f'{{"IMAGE": {{"b64": "{_bytes_element(image)}", "shape": [1]}}}}' for image in images]
    assert output.read_text() == f'{{"data": [{", ".join(entries)}]}}'


def test_a_directory_and_a_threshold(images: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "new" / "perf.json"
    assert main(["perf-data", str(images[0].parent), "--threshold", "0.3", "--output", str(output)]) == 0
    data = json.loads(output.read_text())["data"]
    assert [entry["IMAGE"]["b64"] for entry in data] == [_bytes_element(image) for image in images]
    for entry in data:
        assert entry["THRESHOLD"]["shape"] == [1]
        assert struct.unpack("<f", base64.b64decode(entry["THRESHOLD"]["b64"])) == (np.float32(0.3),)


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["missing.jpg"], "missing.jpg"),
        (["notes.jpg"], "notes.jpg"),
        (["empty"], "'empty'"),
        (["photos", "--threshold", "nan"], "threshold=nan"),
    ],
)
def test_what_cannot_be_sent_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.jpg").write_text("no image")
    (tmp_path / "empty").mkdir()
    assert main(["perf-data", *arguments, "--output", "perf.json"]) == 1
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "perf.json").exists()
