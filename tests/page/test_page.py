"""The page in a headless browser, against a real gateway and a real server with the demo model."""

from __future__ import annotations

import io
import urllib.request

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import ROOT
from tests.page.conftest import KEY
from tests.page.page import Page, pixels_of
from tests.page.people import EXAMPLES, THREE, middle

SHOTS = ROOT / "output" / "page"
RED = np.array([0xFF, 0x6B, 0x6B])  # of the first instance
LIGHT_TOUCH = 0.38  # how much of it is in a mask's pixels


def test_an_uploaded_photo_shows_its_instances(page: Page, masks: list[NDArray[np.uint8]]) -> None:
    photo = pixels_of(THREE.read_bytes())
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


def test_hovering_highlights_in_the_image_and_in_the_list(page: Page, masks: list[NDArray[np.uint8]]) -> None:
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
    photo = pixels_of(THREE.read_bytes())
    tint = [np.abs(page.pixel(pixels, column, row, 648) - photo[row, column]).sum() for pixels in (plain, lit)]
    assert tint[1] > tint[0] + 20


def test_a_click_isolates_and_escape_returns(page: Page, masks: list[NDArray[np.uint8]]) -> None:
    photo = pixels_of(THREE.read_bytes())
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
    names = ["three_people", "astronaut", "camera", "grace_hopper"]
    examples = [f"page/examples/{name}.jpg" for name in names]
    zooming, layers = ["+", "-", "0"], ["masks", "boxes", "labels", "by-class"]
    files = ["png", "cutout", "paddlex", "coco", "png", "cutout"]
    wanted = ["file", "use-camera", *examples, *zooming, *layers, "threshold", "option", *files, "SUMMARY"]
    for _ in wanted:
        reached.append(
            page.run("""const e = document.activeElement;
                return e.id || e.value || e.dataset.photo || (e.tagName === "SUMMARY" ? e.tagName : "option")""")
        )
        page.press("\ue004")
    assert reached == wanted
    assert page.text("#status").startswith("3 instances found")


def test_what_the_service_says_is_shown(page: Page) -> None:
    image_file = io.BytesIO()
    Image.new("RGB", (64, 48), "green").save(image_file, "GIF")
    page.give("drop", image_file.getvalue(), "moving.gif", "image/gif")
    page.until(lambda: page.phase() == "failed", "the service has refused")
    assert page.text("#problem-title") == "The server does not know this kind of image"
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1280, 860), ("phone", 360, 740)])
def test_the_page_fits_and_is_photographed(name: str, width: int, height: int, scheme: str, page: Page) -> None:
    """Nothing sticks out sideways; the images are for people to look at."""
    page.emulate(width, height, scheme)
    page.screenshot(SHOTS / f"{name}-{scheme}-empty.png")
    page.choose(THREE)
    page.until_done()
    page.screenshot(SHOTS / f"{name}-{scheme}-result.png", None if name == "desktop" else 1100)
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    print(f"screenshots in {SHOTS}")
