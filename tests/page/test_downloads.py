"""What the page lets be downloaded, compared with the service."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.page.page import Page, pixels_of
from tests.page.people import THREE, ask_gateway, middle, whole_mask

RED = np.array([0xFF, 0x6B, 0x6B])  # of the first instance
LIGHT_TOUCH = 0.38  # how much of it is in a mask's pixels


def test_the_coco_file_has_the_masks_of_the_service(page: Page, masks: list[NDArray[np.uint8]], tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    page.slide(0.05)
    page.download("coco", "three_people.coco.json")
    data = COCO(str(tmp_path / "three_people.coco.json"))
    annotations = data.loadAnns(data.getAnnIds())
    assert len(annotations) == len(masks)
    for annotation, mask in zip(annotations, masks, strict=True):
        assert np.array_equal(data.annToMask(annotation), mask)
        assert annotation["area"] == int(mask.sum())
    assert data.loadCats([0])[0]["name"] == "person"
    assert (data.imgs[1]["width"], data.imgs[1]["height"]) == (648, 576)


def test_the_paddlex_file_is_what_the_client_saves(page: Page, gateway: str) -> None:
    page.choose(THREE)
    page.until_done()
    document = page.download_json("paddlex", "three_people.json")
    found = ask_gateway(gateway, THREE.read_bytes(), 0.5)
    assert document["input_path"] == "three_people.jpg"
    assert [box["score"] for box in document["boxes"]] == [one["score"] for one in found]
    assert [box["label"] for box in document["boxes"]] == ["person"] * 3
    assert [box["coordinate"] for box in document["boxes"]] == [one["bbox"] for one in found]
    for mask, one in zip(document["masks"], found, strict=True):
        assert (mask["counts"], mask["size"]) == (one["mask"]["rleResult"], one["mask"]["size"])
        assert mask["origin"] == [round(one["bbox"][0]), round(one["bbox"][1])]


def test_the_png_is_the_whole_photo_with_its_masks(page: Page, masks: list[NDArray[np.uint8]]) -> None:
    for layer in ("labels", "boxes"):
        if page.find(f"[value={layer}]").is_selected():
            page.find(f"[value={layer}]").click()
    drawn = pixels_of(page.download("png", "three_people.masks.png"))
    photo = pixels_of(THREE.read_bytes())
    assert drawn.shape == photo.shape
    others = np.any(masks[1:3], axis=0)
    inside = (cv2.erode(masks[0], np.ones((3, 3))) > 0) & ~cv2.dilate(others.astype(np.uint8), np.ones((9, 9))) > 0
    wanted = photo * (1 - LIGHT_TOUCH) + RED * LIGHT_TOUCH
    assert np.abs(drawn - wanted)[inside].max() <= 6
    outside = cv2.dilate(np.any(masks[:3], axis=0).astype(np.uint8), np.ones((9, 9))) == 0
    assert np.abs(drawn - photo)[outside].max() <= 6


def test_an_isolated_instance_is_downloaded_alone(page: Page, masks: list[NDArray[np.uint8]]) -> None:
    page.point_at(*middle(masks[2]), 648, click=True)
    document = page.download_json("paddlex", "three_people.json")
    assert len(document["boxes"]) == len(document["masks"]) == 1
    assert document["boxes"][0]["score"] == pytest.approx(page.listed()[2][1], abs=0.01)


def test_a_large_photo_is_hovered_and_downloaded(page: Page, gateway: str, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    with Image.open(THREE) as image:
        image.resize((4000, 3000)).save(large, quality=80)
    page.choose(large)
    page.until_done()
    found = ask_gateway(gateway, large.read_bytes(), 0.5)
    for at, one in enumerate(found):
        page.point_at(*middle(whole_mask(one, (3000, 4000))), 4000)
        assert page.marked(".hovered") == [at]
    assert pixels_of(page.download("png", "large.masks.png")).shape == (3000, 4000, 3)
