"""Many instances, several photos, zoom, cut-outs, code, the camera: in front of a model that finds a crowd."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskserve.transport.base import ServedModel
from maskserve.transport.wire import ImageRequest, Tensor
from tests.page.crowd import CLASSES, Crowd, running_crowd
from tests.page.page import Page, pixels_of
from tests.page.people import EXAMPLES, THREE


@pytest.fixture
def transport() -> Crowd:
    return Crowd()


@pytest.fixture
def crowd(transport: Crowd, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("MASKSERVE_DECODERS", "0")
    with running_crowd(transport) as address:
        yield address


@pytest.fixture
def opened(open_page: Page, crowd: str) -> Page:
    open_page.emulate(1280, 860)
    open_page.open(crowd)
    return open_page


@pytest.fixture
def many(opened: Page) -> Page:
    opened.choose(THREE)
    opened.until_done()
    return opened


def labels(page: Page) -> list[str]:
    return [name for name, _ in page.listed() if name]


def chips(page: Page) -> list[str]:
    script = "return [...document.querySelectorAll('#classes .chip[aria-pressed]')].map((chip) => chip.textContent)"
    return [str(text) for text in page.run(script)]


def photos(page: Page) -> list[str]:
    script = "return [...document.querySelectorAll('#gallery button')].map((button) => button.dataset.state)"
    return [str(state) for state in page.run(script)]


def test_words_of_the_empty_page(opened: Page) -> None:
    assert opened.text("#knows") == f"This model finds 80 classes: {', '.join(CLASSES[:6])}, \u2026"
    version = opened.text("#version")
    from maskserve import __version__

    assert version == __version__
    for selector, path in (("header nav a", "/docs/"), ("footer nav a:nth-child(2)", "/openapi.json")):
        assert opened.run("return document.querySelector(arguments[0]).href", selector) == opened.address + path


def test_examples_are_those_in_which_the_model_can_find_something(
    open_page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKSERVE_DECODERS", "0")
    for names, seen in ((["Person"], True), (["cat", "dog"], False), (["行人"], True)):
        transport = Crowd()
        config = {"parameters": {"labels": {"string_value": json.dumps(names)}}}
        monkeypatch.setattr(transport, "model_config", lambda model, config=config: config)
        with running_crowd(transport) as address:
            open_page.open(address)
            assert open_page.visible("#examples") == seen
            count = "one class: " if len(names) == 1 else f"{len(names)} classes: "
            assert open_page.text("#knows") == f"This model finds {count}{', '.join(names)}"


def test_many_instances_are_grouped_and_filtered(many: Page, transport: Crowd) -> None:
    asked = len(transport.requests)
    names = labels(many)
    assert len(names) == 59
    assert names != sorted(names)
    groups = [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]
    assert len(groups) == len(set(names)), "those of a class stand together"
    first = chips(many)[0].rsplit(" ", 1)[0]
    many.find("#classes .chip").click()
    assert set(labels(many)) == {first}
    assert many.text("#count").startswith(f"{len(labels(many))} of 72")
    many.run("document.querySelectorAll('#classes .chip')[1].click()")
    assert set(labels(many)) == {text.rsplit(" ", 1)[0] for text in chips(many)[:2]}
    many.find("#every-class").click()
    assert labels(many) == names
    many.find("#search").send_keys("BICY")
    assert set(labels(many)) == {"bicycle"}
    many.find("#search").send_keys("zzz")
    assert labels(many) == []
    assert many.text("#none-text") == "The filter leaves none."
    assert len(transport.requests) == asked


def test_colours_by_class(many: Page) -> None:
    script = """return [...document.querySelectorAll("#list li[role=option]")].map(
        (item) => [item.querySelector(".name").textContent, item.style.getPropertyValue("--colour")])"""
    many.find("#by-class").click()
    many.next_frame()
    by_class: dict[str, set[str]] = {}
    for name, colour in many.run(script):
        by_class.setdefault(name, set()).add(colour)
    assert all(len(colours) == 1 for colours in by_class.values())
    many.find("#by-class").click()
    assert len({colour for _, colour in many.run(script)}) == 24


def test_sizes_have_a_unit(many: Page) -> None:
    assert all(
        text.endswith(" px")
        for text in many.run("return [...document.querySelectorAll('.extent')].map((e) => e.textContent)")
    )


def test_several_photos_at_once(opened: Page, transport: Crowd) -> None:
    names = ["three_people", "astronaut", "camera"]
    opened.forget_phase()
    opened.find("#file").send_keys("\n".join(str(EXAMPLES / f"{name}.jpg") for name in names))
    opened.until_done()
    opened.until(lambda: photos(opened) == ["done"] * 3, "all three are segmented")
    assert len(transport.requests) == 3
    assert "648 \u00d7 576 px" in opened.text("#facts")
    opened.run("document.querySelectorAll('#gallery button')[1].click()")
    height, width = pixels_of((EXAMPLES / "astronaut.jpg").read_bytes()).shape[:2]
    opened.until(lambda: f"{width} \u00d7 {height} px" in opened.text("#facts"), "the second is shown")
    opened.until_done()
    assert len(transport.requests) == 3, "it was segmented already"
    assert opened.run("return document.querySelectorAll('#gallery button')[1].ariaPressed") == "true"


def test_a_photo_of_several_that_cannot_be_read_stops_no_other(opened: Page, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    opened.forget_phase()
    opened.find("#file").send_keys(f"{tmp_path / 'broken.png'}\n{THREE}\n{EXAMPLES / 'camera.jpg'}")
    opened.until_done()
    opened.until(lambda: photos(opened) == ["done"] * 2, "the two others are segmented")


def test_zoom_and_pan(many: Page) -> None:
    whole = many.canvas()
    for _ in range(3):
        many.find(".zooming [value='+']").click()
    many.next_frame()
    near = many.canvas()
    assert not np.array_equal(near, whole)
    times = 1.5**3
    photo = pixels_of(THREE.read_bytes())
    many.run("document.querySelectorAll('.layers input').forEach((box) => box.checked && box.click())")
    many.next_frame()
    plain = many.canvas()
    middle = plain[plain.shape[0] // 2 - 4 : plain.shape[0] // 2 + 4, plain.shape[1] // 2 - 4 : plain.shape[1] // 2 + 4]
    assert np.abs(middle.mean(axis=(0, 1)) - photo[286:290, 322:326].mean(axis=(0, 1))).max() < 25
    many.run("document.querySelector('.zooming button').focus()")
    many.press("\ue014")
    assert not np.array_equal(many.canvas(), plain)
    corner = many.run("return [document.querySelector('#canvas').classList.contains('zoomed')]")
    assert corner == [True]
    many.press("0")
    many.run("document.querySelectorAll('.layers input').forEach((box, at) => at % 2 === 0 && at < 3 && box.click())")
    many.next_frame()
    assert np.array_equal(many.canvas(), whole)
    assert times > 3


def test_a_drag_pans_and_a_click_on_what_is_enlarged_isolates(many: Page) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    many.slide(0.95)
    for _ in range(3):
        many.find(".zooming [value='+']").click()
    many.next_frame()
    before = many.canvas()
    canvas = many.find("#canvas")
    ActionChains(many.chrome, duration=20).move_to_element(canvas).click_and_hold().move_by_offset(
        -90, -40
    ).release().perform()
    many.next_frame()
    assert not np.array_equal(many.canvas(), before)
    assert many.marked('[aria-selected="true"]') == [], "a drag is no click"
    many.press("0")


def test_the_cut_out_is_transparent_around_what_is_isolated(many: Page) -> None:
    many.find("#list li[role=option]").click()
    content = many.download("cutout", "three_people.cutout.png")
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "RGBA"
        pixels = np.asarray(image)
    extent = many.run("return document.querySelector('#list [aria-selected=true] .extent').textContent")
    wide, high = (int(part) for part in extent.removesuffix(" px").split(" \u00d7 "))
    assert abs(pixels.shape[1] - wide) <= 3
    assert abs(pixels.shape[0] - high) <= 3
    assert pixels[0, 0, 3] == 0
    assert pixels[pixels.shape[0] // 2, pixels.shape[1] // 2, 3] == 255


def test_the_image_goes_to_the_clipboard(many: Page) -> None:
    many.chrome.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"origin": many.address, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    many.chrome.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    many.find(".copy[value=png]").click()
    many.until(lambda: many.visible("#copied"), "it is copied")
    script = """const done = arguments[0];
        navigator.clipboard.read().then(([item]) => item.getType("image/png")).then(createImageBitmap)
            .then(({width, height}) => done([width, height]), (error) => done(String(error)))"""
    assert many.chrome.execute_async_script(script) == [648, 576]


@pytest.mark.parametrize("language", ["curl", "python", "javascript"])
def test_the_code_does_what_the_page_did(language: str, many: Page, transport: Crowd, tmp_path: Path) -> None:
    many.slide(0.9)
    many.run("document.querySelector('#code').open = true")
    many.find(f"[name=language][value={language}]").click()
    text = many.text("#snippet")
    assert "0.9" in text
    shutil.copy(THREE, tmp_path / "three_people.jpg")
    program = tmp_path / {"curl": "run.sh", "python": "run.py", "javascript": "run.mjs"}[language]
    program.write_text(text, encoding="utf-8")
    runner = {"curl": "sh", "python": sys.executable, "javascript": "node"}[language]
    if shutil.which(runner) is None or (language == "curl" and shutil.which("curl") is None):
        pytest.skip(f"no {runner} here")
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [runner, program], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False,
        env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert transport.requests[-1][1].threshold == pytest.approx(0.9)
    if language == "curl":
        assert len(json.loads(done.stdout)["result"]["instances"]) == 72
    else:
        assert len(done.stdout.splitlines()) >= 72


def test_code_of_names_with_quotes_and_of_a_key(
    open_page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MASKSERVE_DECODERS", "0")
    monkeypatch.setenv("MASKSERVE_API_KEY", "let-me-in")
    name = 'it\'s "$HOME".jpg'
    shutil.copy(THREE, tmp_path / name)
    transport = Crowd(3, 1)
    with running_crowd(transport) as address:
        open_page.open(address)
        open_page.find("#key").send_keys("let-me-in")
        open_page.choose(tmp_path / name)
        open_page.until_done()
        environment = {n: v for n, v in os.environ.items() if "proxy" not in n.lower()}
        for language, runner in (("curl", "sh"), ("python", sys.executable), ("javascript", "node")):
            open_page.run("document.querySelector('#code').open = true")
            open_page.find(f"[name=language][value={language}]").click()
            text = open_page.text("#snippet")
            assert "let-me-in" not in text
            program = tmp_path / ("run.mjs" if language == "javascript" else "run")
            program.write_text(text, encoding="utf-8")
            if shutil.which(runner) is None or (language == "curl" and shutil.which("curl") is None):
                continue
            done = subprocess.run(
                [runner, program], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", timeout=60,
                check=False, env=environment,
            )  # fmt: skip
            assert (done.returncode, "person" in done.stdout) == (0, True), done.stderr
    assert len(transport.requests) >= 2


def test_a_photo_by_the_camera(opened: Page) -> None:
    opened.forget_phase()
    opened.find("#use-camera").click()
    opened.until(lambda: opened.run("return document.querySelector('#camera-video').videoWidth"), "the camera runs")
    opened.find("#shoot").click()
    opened.until_done()
    assert not opened.visible("#camera")
    assert opened.run("return document.querySelector('#camera-video').srcObject") is None
    assert opened.run("return document.querySelector('#canvas').width") > 100


def test_no_camera_no_offer_and_a_refusal_is_said(opened: Page) -> None:
    script = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'))"
    opened.run(script)
    opened.find("#use-camera").click()
    opened.until(lambda: opened.visible("#problem"), "it is said")
    assert "does not let this page use the camera" in opened.text("#problem-text")


def test_on_a_telephone_nothing_is_dropped(opened: Page) -> None:
    opened.chrome.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    features = [{"name": "hover", "value": "none"}]
    opened.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    opened.emulate(360, 740)
    try:
        text: Any = opened.run("return document.querySelector('.hint').innerText")
        hover = opened.run("return matchMedia('(hover: none)').matches")
        assert ("Drop" in text) == (not hover)
        assert hover
    finally:
        opened.chrome.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


class Two(Crowd):
    """Two models: one finds a person, the other 20 things of 5 classes."""

    def models(self) -> list[ServedModel]:
        return [ServedModel(name, "READY") for name in ("people", "people.core", "things", "things.core")]

    def model_config(self, model: str) -> dict[str, Any]:
        if not model.startswith("people"):
            return super().model_config(model)
        return {"parameters": {"labels": {"string_value": '["person"]'}, "draw_threshold": {"string_value": "0.3"}}}

    def infer(self, model: str, request: ImageRequest) -> list[Tensor]:
        self.count, self.kinds = (2, 1) if model == "people" else (20, 5)
        return super().infer(model, request)


def test_one_model_needs_no_choice(opened: Page) -> None:
    assert not opened.visible("#picker")
    assert opened.text("#model-name") == "tiny"


def test_the_model_is_chosen(open_page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKSERVE_DECODERS", "0")
    transport = Two()
    with running_crowd(transport, model="people", models=("things",)) as address:
        open_page.open(address)
        assert open_page.visible("#picker")
        names = open_page.run("return [...document.querySelectorAll('#models option')].map((option) => option.value)")
        assert (names, open_page.run("return document.querySelector('#models').value")) == (
            ["people", "things"],
            "people",
        )
        assert open_page.text("#knows") == "This model finds one class: person"
        open_page.choose(THREE)
        open_page.until_done()
        assert (labels(open_page), open_page.text("#threshold-value")) == (["person"] * 2, "0.30")
        open_page.forget_phase()
        open_page.run("""const models = document.querySelector("#models");
            models.value = "things"; models.dispatchEvent(new Event("change"))""")
        open_page.until_done()
        assert [model for model, _ in transport.requests] == ["people", "things"]
        assert len(open_page.run("return [...document.querySelectorAll('#list li[role=option]')]")) == 20
        assert open_page.text("#threshold-value") == "0.50"
        assert "/models/things/instance-segmentation" in open_page.text("#snippet")
