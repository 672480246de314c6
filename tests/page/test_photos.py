"""Which photos the page takes, how they lie, and what it says of the others."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from tests.page.page import Page
from tests.page.people import EXAMPLES, THREE, ask_gateway, whole_mask

RED = np.array([0xFF, 0x6B, 0x6B])  # of the first instance
LIGHT_TOUCH = 0.38  # how much of it is in a mask's pixels


def turned_by_exif(kind: str) -> tuple[bytes, bytes]:
    """A photo that lies on its side and says so, as a file of that kind; and as it is meant, a PNG of 600x500."""
    with Image.open(EXAMPLES / "camera.jpg") as image:
        upright = image.convert("RGB").resize((600, 500))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    turned, meant = io.BytesIO(), io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(turned, kind, exif=exif, quality=95)
    upright.save(meant, "PNG")
    return turned.getvalue(), meant.getvalue()


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_masks_lie_right_on_a_photo_that_is_turned_by_its_exif_data(kind: str, page: Page) -> None:
    turned, meant = turned_by_exif(kind)
    page.give("drop", turned, f"turned.{kind}", f"image/{kind}")
    page.until_done()
    data = page.download_json("coco", "turned.coco.json")
    assert (data["images"][0]["width"], data["images"][0]["height"]) == (600, 500)
    (wanted,) = ask_gateway(page.address, meant, 0.5)
    (found,) = data["annotations"]
    mask = coco.decode({**found["segmentation"], "counts": found["segmentation"]["counts"].encode()})
    both = whole_mask(wanted, (500, 600))
    assert np.count_nonzero(mask & both) / np.count_nonzero(mask | both) > 0.9


def test_a_webp_file_is_turned_by_neither_the_browser_nor_the_server(page: Page) -> None:
    turned, _ = turned_by_exif("webp")
    page.give("drop", turned, "turned.webp", "image/webp")
    page.until_done()
    data = page.download_json("coco", "turned.coco.json")
    height, width, _ = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape
    assert (data["images"][0]["width"], data["images"][0]["height"]) == (width, height)


@pytest.mark.parametrize("example", range(4))
def test_every_example_works(example: int, page: Page) -> None:
    page.forget_phase()
    page.run("document.querySelectorAll('[data-photo]')[arguments[0]].click()", example)
    page.until_done()
    assert page.listed()[0][1] > 0.5


def test_photos_are_pasted_and_dropped(page: Page) -> None:
    photo = (EXAMPLES / "astronaut.jpg").read_bytes()
    page.give("paste", photo, "image.png", "image/jpeg")
    page.until_done()
    assert page.download_json("paddlex", "photo.json")["input_path"] is None
    page.give("dragenter", photo, "dropped.jpg", "image/jpeg")
    assert page.visible("#veil")
    page.give("drop", photo, "dropped.jpg", "image/jpeg")
    assert not page.visible("#veil")
    page.until_done()
    assert page.download_json("paddlex", "dropped.json")["input_path"] == "dropped.jpg"


def test_a_file_that_is_no_image_is_refused_and_the_result_stays(page: Page, masks: list[NDArray[np.uint8]]) -> None:
    assert masks
    page.give("drop", b"%PDF-1.7", "report.pdf", "application/pdf")
    page.until(lambda: page.visible("#problem"), "the problem is shown")
    assert "“report.pdf” is not an image" in page.text("#problem-text")
    assert len(page.listed()) == 3


def test_a_slow_upload_shows_its_progress_and_can_be_cancelled(page: Page) -> None:
    page.network(upload=20_000)
    page.choose(THREE)
    page.until(lambda: "Sending" in page.text("#progress-text"), "the upload is under way")
    assert page.visible("#canvas")
    page.find("#cancel").click()
    assert page.text("#problem-title") == "Cancelled"
    assert not page.visible("#progress")
    page.network()
    page.find("#again").click()
    page.until_done()
    assert len(page.listed()) == 3


def test_a_second_photo_wins(page: Page) -> None:
    page.network(upload=20_000)
    page.choose(THREE)
    page.until(lambda: page.visible("#progress"), "the first upload is under way")
    page.choose(EXAMPLES / "camera.jpg")
    page.until(lambda: "512 \u00d7 512 px" in page.text("#facts"), "the second has come")
    page.network()
    page.until_done()
    assert "512 \u00d7 512 px" in page.text("#facts")
    assert len(page.listed()) == 1
    assert page.text("#count").startswith("1")


@pytest.mark.parametrize(("size", "noise", "words"), [((900, 800), 0, "pixels"), ((600, 600), 255, "Sending it takes")])
def test_a_photo_beyond_the_limits_is_not_sent(
    size: tuple[int, int], noise: int, words: str, guarded: Page, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(1).integers(0, noise + 1, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    guarded.choose(tmp_path / "large.png")
    guarded.until(lambda: guarded.phase() == "failed", "the page has refused")
    assert guarded.text("#problem-title") == "This photo is too large"
    assert words in guarded.text("#problem-text")
    assert not any("instance-segmentation" in address for address in guarded.requests())
