"""The page in a headless browser, against a real gateway and a real server with the demo model."""

from __future__ import annotations

import base64
import io
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from tests.conftest import ROOT
from tests.page.conftest import KEY
from tests.page.page import Page, picture

EXAMPLES = ROOT / "gateway" / "maskserve_gateway" / "page" / "examples"
THREE = EXAMPLES / "three_people.jpg"
SHOTS = ROOT / "output" / "page"
RED = np.array([0xFF, 0x6B, 0x6B])  # of the first instance
LIGHT_TOUCH = 0.38  # how much of it is in a mask's pixels


def ask_gateway(gateway: str, photo: bytes, threshold: float = 0.05) -> list[dict[str, Any]]:
    """The service's own instances, the surest first."""
    document = {"image": base64.b64encode(photo).decode(), "threshold": threshold, "visualize": False}
    request = urllib.request.Request(f"{gateway}/instance-segmentation", json.dumps(document).encode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: list[dict[str, Any]] = json.load(answer)["result"]["instances"]
    return sorted(found, key=lambda one: -float(one["score"]))


def whole_mask(found: dict[str, Any], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A mask of the service on a canvas of size (height, width)."""
    height, width = found["mask"]["size"]
    crop = coco.decode({"size": [height, width], "counts": found["mask"]["rleResult"].encode()})
    x, y = round(found["bbox"][0]), round(found["bbox"][1])
    pixels = np.zeros(size, np.uint8)
    pixels[y : y + height, x : x + width] = crop
    return pixels


def middle(mask: NDArray[np.uint8]) -> tuple[int, int]:
    """Column and row of the pixel that lies deepest inside a mask."""
    depth = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(column), int(row)


@pytest.fixture
def masks(page: Page, gateway: str) -> list[NDArray[np.uint8]]:
    """The masks of the three people, whose photo is on the page."""
    page.choose(THREE)
    page.until_done()
    size = picture(THREE.read_bytes()).shape
    return [whole_mask(found, (size[0], size[1])) for found in ask_gateway(gateway, THREE.read_bytes())]


def test_an_uploaded_photo_shows_its_instances(page: Page, masks: list[NDArray[np.uint8]]) -> None:
    photo = picture(THREE.read_bytes())
    assert [name for name, _ in page.listed()] == ["person"] * 3
    assert page.text("#count") == f"3 of {len(masks)} instances"
    assert "648 \u00d7 576 px" in page.text("#facts")
    assert "Round trip" in page.text("#facts")
    canvas = page.canvas()
    x, y = middle(masks[0])
    inside = photo[y, x] * (1 - LIGHT_TOUCH) + RED * LIGHT_TOUCH
    assert np.abs(page.pixel(canvas, x, y, 648) - inside).max() < 20
    covered = np.any(masks[:3], axis=0).astype(np.uint8)
    x, y = middle(1 - cv2.dilate(covered, np.ones((9, 9))))
    assert np.abs(page.pixel(canvas, x, y, 648) - photo[y, x]).max() < 20


def test_nothing_is_asked_of_another_host(page: Page, masks: list[NDArray[np.uint8]]) -> None:
    assert masks
    addresses = page.requests()
    assert any(address.endswith("/instance-segmentation") for address in addresses)
    assert [address for address in addresses if not address.startswith(page.address)] == []
    with urllib.request.urlopen(page.address) as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "default-src 'none'" in policy or "default-src 'self'" in policy


def test_the_slider_filters_without_asking_again(page: Page, masks: list[NDArray[np.uint8]]) -> None:
    asked = len(page.requests())
    page.slide(0.05)
    assert len(page.listed()) == len(masks)
    x, y = middle(masks[2])
    before = page.pixel(page.canvas(), x, y, 648)
    page.slide(0.9)
    assert len(page.listed()) == 2
    assert np.abs(page.pixel(page.canvas(), x, y, 648) - before).max() > 20
    page.slide(1)
    assert page.listed() == []
    assert "None scores above 1.00" in page.text("#none-text")
    page.find("#lower").click()
    assert page.listed() != []
    assert len(page.requests()) == asked


def test_hovering_highlights_in_the_picture_and_in_the_list(page: Page, masks: list[NDArray[np.uint8]]) -> None:
    for at in (0, 1, 2):
        page.point_at(*middle(masks[at]), 648)
        assert page.marked(".hovered") == [at]
    plain = page.canvas()
    from selenium.webdriver.common.action_chains import ActionChains

    first = page.find("#list li")
    ActionChains(page.chrome, duration=10).move_to_element(first).perform()
    page.next_frame()
    lit = page.canvas()
    assert page.marked(".hovered") == [0]
    column, row = middle(masks[0])
    photo = picture(THREE.read_bytes())
    tint = [np.abs(page.pixel(pixels, column, row, 648) - photo[row, column]).sum() for pixels in (plain, lit)]
    assert tint[1] > tint[0] + 20


def test_a_click_isolates_and_escape_returns(page: Page, masks: list[NDArray[np.uint8]]) -> None:
    photo = picture(THREE.read_bytes())
    before = page.canvas()
    column, row = middle(masks[1])
    page.point_at(column, row, 648, click=True)
    assert page.marked('[aria-selected="true"]') == [1]
    assert page.text("#count") == "1 of 3 isolated"
    alone = page.canvas()
    assert np.abs(page.pixel(alone, column, row, 648) - photo[row, column]).max() < 20
    column, row = middle(masks[0])
    assert page.pixel(alone, column, row, 648).max() < 90
    page.press("\ue00c")
    assert page.marked('[aria-selected="true"]') == []
    page.point_at(2, 2, 648)
    page.run("document.querySelector('#canvas').dispatchEvent(new PointerEvent('pointerleave'))")
    page.next_frame()
    assert np.array_equal(page.canvas(), before)


def test_the_list_is_worked_with_the_keyboard(page: Page, masks: list[NDArray[np.uint8]]) -> None:
    assert masks
    page.run("document.querySelector('#threshold').focus()")
    page.press("\ue004")
    assert page.marked(":focus") == [0]
    page.press("\ue015", "\ue015")
    assert (page.marked(":focus"), page.marked(".hovered")) == ([2], [2])
    page.press("\ue007")
    assert page.marked('[aria-selected="true"]') == [2]
    page.press("\ue013", " ")
    assert page.marked('[aria-selected="true"]') == [1]
    page.press(" ")
    assert page.marked('[aria-selected="true"]') == []


def test_everything_is_reached_with_tab(page: Page, masks: list[NDArray[np.uint8]]) -> None:
    assert masks
    page.run("document.querySelector('#file').focus()")
    reached = []
    for _ in range(13):
        reached.append(
            page.run("const e = document.activeElement; return e.id || e.value || e.dataset.photo || e.role || ''")
        )
        page.press("\ue004")
    names = ["three_people", "astronaut", "camera", "grace_hopper"]
    examples = [f"page/examples/{name}.jpg" for name in names]
    wanted = ["file", *examples, "masks", "boxes", "labels", "threshold", "option", "png", "paddlex", "coco"]
    assert [name or "option" for name in reached] == wanted
    assert page.text("#status").startswith("3 instances found")


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
    drawn = picture(page.download("png", "three_people.masks.png"))
    photo = picture(THREE.read_bytes())
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


def test_what_the_service_says_is_shown(page: Page) -> None:
    picture_file = io.BytesIO()
    Image.new("RGB", (64, 48), "green").save(picture_file, "GIF")
    page.give("drop", picture_file.getvalue(), "moving.gif", "image/gif")
    page.until(lambda: page.phase() == "failed", "the service has refused")
    assert page.text("#problem-title") == "The server does not know this kind of picture"
    assert "GIF images are not supported" in page.text("#problem-text")
    assert any("415" in line for line in page.console())


def test_a_server_that_is_away_is_tried_again(page: Page) -> None:
    page.network(offline=True)
    page.choose(THREE)
    page.until(lambda: page.phase() == "failed", "the request has failed")
    assert page.text("#problem-title") == "The server cannot be reached"
    assert not page.find("#threshold").is_enabled()
    assert not page.find(".downloads [value=png]").is_enabled()
    page.network()
    page.find("#again").click()
    page.until_done()
    assert not page.visible("#problem")
    assert any("ERR_INTERNET_DISCONNECTED" in line for line in page.console())


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


@pytest.fixture
def guarded(open_page: Page, guarded_gateway: str) -> Iterator[Page]:
    open_page.open(guarded_gateway)
    yield open_page


def test_a_key_is_asked_for(guarded: Page) -> None:
    assert guarded.visible("#key-form")
    guarded.find("#key").send_keys("wrong")
    guarded.choose(EXAMPLES / "camera.jpg")
    guarded.until(lambda: guarded.phase() == "failed", "the key is refused")
    assert guarded.text("#problem-title") == "The server does not know this API key"
    guarded.find("#key").clear()
    guarded.find("#key").send_keys(KEY, "\ue007")
    guarded.until_done()
    assert not guarded.visible("#problem")
    assert any("401" in line for line in guarded.console())


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
    assert picture(page.download("png", "large.masks.png")).shape == (3000, 4000, 3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1280, 860), ("phone", 360, 740)])
def test_the_page_fits_and_is_photographed(name: str, width: int, height: int, scheme: str, page: Page) -> None:
    """Nothing sticks out sideways; the pictures are for people to look at."""
    page.emulate(width, height, scheme)
    page.screenshot(SHOTS / f"{name}-{scheme}-empty.png")
    page.choose(THREE)
    page.until_done()
    page.screenshot(SHOTS / f"{name}-{scheme}-result.png", None if name == "desktop" else 1100)
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    print(f"screenshots in {SHOTS}")
