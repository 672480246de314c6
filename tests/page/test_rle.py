"""The page's run lengths against pycocotools: what JavaScript decodes, encodes, places and shrinks."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco

from maskserve.masks import Mask
from tests.page import node

SIZES = [(1, 1), (1, 9), (7, 1), (13, 17), (40, 31)]


def ask(questions: list[dict[str, Any]]) -> list[Any]:
    answers: list[Any] = node.ask("rle.mjs", questions)
    return answers


def random_masks() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(6)
    drawn = [(rng.random(size) < share).astype(np.uint8) for size in SIZES for share in (0.0, 0.2, 0.6, 1.0)]
    blobs = cv2.GaussianBlur(rng.random((90, 120)), (0, 0), 5)
    return [*drawn, (blobs > blobs.mean()).astype(np.uint8)]


def counts_of(pixels: NDArray[np.uint8]) -> str:
    return str(coco.encode(np.asfortranarray(pixels))["counts"].decode("ascii"))


def question(pixels: NDArray[np.uint8], scale: float = 1.0) -> dict[str, Any]:
    """The mask at x=3, y=2 of a photo that is a little larger."""
    height, width = pixels.shape
    window = {"x": 3, "y": 2, "width": width, "height": height}
    photo = {"width": width + 5, "height": height + 2}
    return {"kind": "mask", "counts": counts_of(pixels), "window": window, "photo": photo, "scale": scale}


def placed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(pixels, ((2, 0), (3, 2)))


def test_masks_have_the_pixels_and_the_area_that_pycocotools_gives_them() -> None:
    masks = random_masks()
    for pixels, answer in zip(masks, ask([question(pixels) for pixels in masks]), strict=True):
        assert answer["area"] == int(pixels.sum())
        assert np.array_equal(np.array(answer["inside"]).reshape(placed(pixels).shape), placed(pixels))


def test_masks_of_whole_photos_are_written_as_pycocotools_writes_them() -> None:
    masks = random_masks()
    for pixels, answer in zip(masks, ask([question(pixels) for pixels in masks]), strict=True):
        whole = placed(pixels)
        assert answer["coco"] == {"size": list(whole.shape), "counts": counts_of(whole)}
        assert np.array_equal(coco.decode({**answer["coco"], "counts": answer["coco"]["counts"].encode()}), whole)


def test_an_empty_crop_is_an_empty_mask() -> None:
    empty = {"x": 1, "y": 1, "width": 0, "height": 0}
    (answer,) = ask([{"kind": "mask", "counts": "", "window": empty, "photo": {"width": 4, "height": 3}, "scale": 1.0}])
    assert answer["area"] == 0
    assert answer["coco"] == Mask(b"", (1, 1, 0, 0), (3, 4)).to_coco()


def test_counts_survive_reading_and_writing() -> None:
    texts = [counts_of(pixels) for pixels in random_masks()]
    runs = ask([{"kind": "parse", "counts": text} for text in texts])
    assert ask([{"kind": "format", "runs": one} for one in runs]) == texts


def test_runs_of_a_large_photo_are_written() -> None:
    runs = [0, 100_000_000, 1, 99_999_999, 3]
    (text,) = ask([{"kind": "format", "runs": runs}])
    assert ask([{"kind": "parse", "counts": text}]) == [runs]


@pytest.mark.parametrize("counts", ["o", "\x7f1", "0 ", "1O"])
def test_damaged_counts_are_refused(counts: str) -> None:
    assert ask([{"kind": "parse", "counts": counts}]) == [{"error": "RangeError"}]


def test_counts_of_another_size_are_refused() -> None:
    wrong = question(np.ones((4, 4), np.uint8))
    wrong["window"]["width"] = 5
    assert ask([wrong]) == [{"error": "RangeError"}]


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.37, 0.9])
def test_a_shrunk_mask_covers_each_pixel_by_the_share_of_its_area(scale: float) -> None:
    masks = random_masks()
    for pixels, answer in zip(masks, ask([question(pixels, scale) for pixels in masks]), strict=True):
        found = answer["coverage"]
        alpha = np.array(found["alpha"]).reshape(found["height"], found["width"])
        wanted = box_filtered(placed(pixels), scale, found)
        assert np.abs(alpha - 255 * wanted).max() <= 1


def box_filtered(pixels: NDArray[np.uint8], scale: float, window: dict[str, Any]) -> NDArray[np.float64]:
    """Each small pixel's covered area, from the overlaps of pixel edges along both axes."""
    rows = overlaps(pixels.shape[0], scale, window["y"], window["height"])
    columns = overlaps(pixels.shape[1], scale, window["x"], window["width"])
    return np.asarray(rows @ pixels.astype(float) @ columns.T)


def overlaps(length: int, scale: float, first: int, count: int) -> NDArray[np.float64]:
    large, small = np.arange(length) * scale, first + np.arange(count)[:, None]
    return np.clip(np.minimum(large + scale, small + 1) - np.maximum(large, small), 0, None)


def test_halves_are_rounded_as_python_rounds_them() -> None:
    values = [0.5, 1.5, 2.5, 3.49999, 3.5, 0.0, 7.0, 100.5, 101.5, 12.500001]
    assert ask([{"kind": "round", "values": values}]) == [[round(value) for value in values]]
