"""What unusual visitors bring: bad files among good ones, very many, no instances, long and foreign names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maskserve import contract
from tests.page.crowd import Crowd, running_crowd
from tests.page.page import Page
from tests.page.people import EXAMPLES, THREE

NAMES = [
    "a class whose name is a whole sentence, and another one, because somebody exported a caption " * 2,
    "Donaudampfschifffahrtselektrizit\u00e4tenhauptbetriebswerkbauunterbeamtengesellschaft" * 2,
    "\u884c\u4eba",
    "\u0634\u062e\u0635 \u0639\u0644\u0649 \u062f\u0631\u0627\u062c\u0629",
    "\u05d0\u05d3\u05dd",
    "<b>bold</b>&amp;",
]
PHOTOS = [THREE, EXAMPLES / "astronaut.jpg", EXAMPLES / "camera.jpg"]
# The browser decodes the first photo, and then no more until it is let.
_HELD = """
    const decode = window.createImageBitmap.bind(window);
    let count = 0;
    const held = new Promise((let_go) => (window.letGo = let_go));
    window.createImageBitmap = async (...given) => {
        if (given[0] instanceof File && count++) await held;
        return decode(...given);
    }"""


class Named(Crowd):
    """Finds a crowd of classes with unusual names."""

    def model_config(self, model: str) -> dict[str, Any]:
        config = super().model_config(model)
        config["parameters"][contract.PARAMETER_LABELS] = {"string_value": json.dumps(NAMES)}
        return config


@pytest.fixture
def transport() -> Crowd:
    return Crowd(6)


@pytest.fixture
def opened(open_page: Page, transport: Crowd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.setenv("MASKSERVE_DECODERS", "0")
    with running_crowd(transport) as address:
        open_page.emulate(1280, 860)
        open_page.open(address)
        yield open_page


def choose(page: Page, *paths: Path) -> None:
    page.forget_phase()
    page.find("#file").send_keys("\n".join(map(str, paths)))


def states(page: Page) -> list[str]:
    script = "return [...document.querySelectorAll('#gallery button')].map((button) => button.dataset.state)"
    return [str(state) for state in page.run(script)]


def test_the_first_of_many_photos_is_there_before_the_others_are_read(opened: Page) -> None:
    opened.run(_HELD)
    choose(opened, *PHOTOS)
    opened.until_done()
    assert len(opened.listed()) > 0
    opened.run("window.letGo()")
    opened.until(lambda: states(opened) == ["done"] * 3, "the others are segmented, too")


@pytest.mark.parametrize("good_first", [True, False])
def test_bad_files_among_good_ones_are_told(good_first: bool, opened: Page, tmp_path: Path) -> None:
    bad = [tmp_path / "empty.png", tmp_path / "broken.jpg"]
    bad[0].touch()
    bad[1].write_bytes(b"no image")
    choose(opened, *(PHOTOS + bad if good_first else bad + PHOTOS))
    opened.until(lambda: states(opened) == ["done"] * 3, "the good ones are segmented")
    assert opened.visible("#problem")
    assert opened.text("#problem-title") == "2 of 5 files cannot be shown"
    assert opened.text("#problem-text") == "The first: \u201cempty.png\u201d is empty."
    opened.run("document.querySelectorAll('#gallery button')[1].click()")
    opened.until(lambda: not opened.visible("#problem"), "another photo is looked at")


def test_a_server_that_is_away_is_not_asked_for_every_photo(opened: Page) -> None:
    opened.network(offline=True)
    choose(opened, *PHOTOS)
    opened.until(lambda: states(opened) == ["failed", "waiting", "waiting"], "all three are read")
    assert opened.text("#problem-title") == "The server cannot be reached"
    asked = opened.run("return performance.getEntriesByType('resource').length")
    opened.network()
    opened.find("#again").click()
    opened.until(lambda: states(opened) == ["done"] * 3, "all of them are segmented")
    assert opened.run("return performance.getEntriesByType('resource').length") - asked == 3
    assert len(opened.console()) == 1


def test_a_photo_that_is_gone_since_is_told(opened: Page) -> None:
    choose(opened, *PHOTOS)
    opened.until(lambda: states(opened) == ["done"] * 3, "all three are segmented")
    opened.run("window.createImageBitmap = () => Promise.reject(new Error('gone'))")
    opened.run("document.querySelectorAll('#gallery button')[2].click()")
    opened.until(lambda: opened.visible("#problem"), "the page says so")
    assert "camera.jpg" in opened.text("#problem-text")


def test_the_slider_stays_from_photo_to_photo(opened: Page) -> None:
    choose(opened, *PHOTOS)
    opened.until(lambda: states(opened) == ["done"] * 3, "all three are segmented")
    opened.slide(0.8)
    few = len(opened.listed())
    opened.run("document.querySelectorAll('#gallery button')[1].click()")
    opened.until(lambda: "512" in opened.text("#facts"), "the second is shown")
    opened.until_done()
    assert opened.text("#threshold-value") == "0.80"
    assert len(opened.listed()) == few == 2


def test_a_photo_without_instances(opened: Page, transport: Crowd) -> None:
    transport.count = 0
    choose(opened, THREE)
    opened.until_done()
    assert opened.text("#none-text") == "The model found none of its classes in this photo."
    assert not opened.visible("#lower")
    assert not opened.find(".downloads [value=cutout]").is_enabled()
    assert opened.find(".downloads [value=png]").is_enabled()


@pytest.mark.parametrize("width", [1280, 320])  # 320 is what a zoom of 400 % leaves of 1280
def test_long_and_foreign_names_fit(width: int, open_page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKSERVE_DECODERS", "0")
    with running_crowd(Named(12, len(NAMES))) as address:
        open_page.emulate(width, 860 if width > 320 else 256)
        open_page.open(address)
        choose(open_page, THREE)
        open_page.until_done()
        assert {name for name, _ in open_page.listed() if name} <= set(NAMES)
        assert open_page.run("return document.documentElement.scrollWidth <= innerWidth")
        inside = "const list = document.querySelector('#list'); return list.scrollWidth <= list.clientWidth"
        assert open_page.run(inside)


def test_back_and_forward(opened: Page) -> None:
    choose(opened, THREE)
    opened.until_done()
    opened.chrome.get(f"{opened.address}/health")
    opened.chrome.back()
    opened.until(lambda: opened.run("return document.title.includes('\u00b7')"), "the page is there again")
    choose(opened, THREE)
    opened.until_done()
    assert len(opened.listed()) > 0
