"""The client's kinds of input and ways of use, against a real server over both protocols."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

from maskserve import AsyncPipeline, create_pipeline
from maskserve.exports import save_coco
from maskserve.pipeline import Pipeline
from maskserve_tools.cli import main
from tests.end_to_end.conftest import WAYS, Where

if TYPE_CHECKING:
    pass

SIZE = (120, 160)


@pytest.fixture(scope="module", params=WAYS)
def place(request: pytest.FixtureRequest, where: Where) -> tuple[str, str | None]:
    """The model and the URL of a pipeline."""
    return where(request.param)


@pytest.fixture(scope="module")
def pipeline(place: tuple[str, str | None]) -> Iterator[Pipeline]:
    model, url = place
    with create_pipeline(model, url=url, threshold=0.0) as opened:
        yield opened


@pytest.fixture(scope="module")
def pixels() -> np.ndarray[Any, Any]:
    values = np.linspace(0, 255, SIZE[0] * SIZE[1] * 3)
    return values.reshape(*SIZE, 3).astype(np.uint8)


@pytest.fixture
def album(tmp_path: Path, pixels: np.ndarray[Any, Any]) -> Path:
    """The same image three times, once in a subfolder."""
    (tmp_path / "album" / "sub").mkdir(parents=True)
    for name in ("b.png", "a.BMP", "sub/c.tiff"):
        assert cv2.imwrite(str(tmp_path / "album" / name), pixels)
    return tmp_path / "album"


def test_every_way_to_hand_in_a_picture_gives_the_same(
    pipeline: Pipeline, album: Path, pixels: np.ndarray[Any, Any]
) -> None:
    path = album / "b.png"
    (expected,) = pipeline.predict(pixels)
    assert len(expected.instances) > 0
    sources = [
        str(path),
        path,
        path.read_bytes(),
        Image.open(path),
        {"img": path},
        {"input": pixels},
        [[pixels]],
        album,
    ]
    results = list(pipeline.predict(sources))
    assert len(results) == 10
    for result in results:
        assert result["boxes"] == expected["boxes"]
        assert result.instances.masks == expected.instances.masks
    assert [Path(result["input_path"]).name for result in results[-3:]] == ["a.BMP", "b.png", "c.tiff"]


def test_a_photo_lying_on_its_side(pipeline: Pipeline, tmp_path: Path, pixels: np.ndarray[Any, Any]) -> None:
    """The server and the drawing agree on which way is up."""
    path = tmp_path / "side.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif)
    (result,) = pipeline.predict(path)
    assert result.instances.image_size == (160, 120)
    assert result.img.size == (120, 160)


def test_results_are_saved(pipeline: Pipeline, album: Path, tmp_path: Path) -> None:
    (result,) = pipeline.predict(album / "b.png")
    result.save_all(tmp_path / "out")
    document = json.loads((tmp_path / "out" / "b.json").read_text())
    assert len(document["masks"]) == len(document["boxes"]) == len(result.instances)
    assert cv2.imread(str(tmp_path / "out" / "b.png")).shape == (*SIZE, 3)


IDS = {"c.tiff": 5, "a.BMP": 7, "b.png": 6}


def test_a_directory_becomes_a_coco_results_file(pipeline: Pipeline, album: Path, tmp_path: Path) -> None:
    entries = json.loads(save_coco(pipeline.predict(album), tmp_path / "coco.json", images=IDS).read_text())
    assert {entry["image_id"] for entry in entries} == set(IDS.values())
    assert all(entry["segmentation"]["size"] == list(SIZE) for entry in entries)


def test_the_asynchronous_pipeline(place: tuple[str, str | None], album: Path) -> None:
    model, url = place

    async def run() -> list[str]:
        async with AsyncPipeline(create_pipeline(model, url=url)) as pipeline:
            return [Path(result["input_path"]).name async for result in pipeline.predict(album)]

    assert asyncio.run(run()) == ["a.BMP", "b.png", "c.tiff"]


def test_the_command(
    place: tuple[str, str | None], album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, url = place
    arguments = ["predict", "--pipeline", model, "--input", str(album), str(tmp_path / "nowhere.jpg")]
    assert main([*arguments, *(["--url", url] if url else []), "--save_path", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert out.count("'input_path'") == 3
    assert "no such file" in err
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.json")) == ["a.json", "b.json", "c.json"]
