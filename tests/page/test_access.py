"""axe-core finds nothing in any state of the page, and nothing sticks out sideways, at five sizes in both themes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import ROOT
from tests.page.crowd import Crowd, running_crowd
from tests.page.node import install
from tests.page.page import Page
from tests.page.people import EXAMPLES

AXE = "axe-core@4.10.3"
SIZES = {"narrow": (320, 640), "phone": (360, 740), "lying": (740, 360), "tablet": (820, 1180), "desktop": (1280, 860)}
SHOTS = ROOT / "output" / "page"
_FINDINGS = """
const done = arguments[0];
axe.run(document, {resultTypes: ["violations", "incomplete"]}).then(({violations, incomplete}) => {
  // what a program cannot decide: contrast where it knows no background, captions of a camera, which has no sound
  const hard = incomplete.filter(({id}) => !["color-contrast", "video-caption"].includes(id));
  const where = (nodes) => nodes.map(({html}) => html.slice(0, 120)).join(" | ");
  done([...violations, ...hard].map(({id, nodes}) => `${id}: ${where(nodes)}`));
});
"""
_STICKING_OUT = """
return [...document.querySelectorAll("body *")].filter((element) => {
  const {right, left, width} = element.getBoundingClientRect();
  if (!width || (left >= 0 && right <= arguments[0] + 0.5)) return false;
  for (let above = element.parentElement; above; above = above.parentElement)
    if (["auto", "scroll", "hidden"].includes(getComputedStyle(above).overflowX)) return false;
  return !element.closest(".unseen, .hero");
}).map((element) => element.id || element.className || element.tagName);
"""


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's script, installed by npm into a folder of its own."""
    installed = install(AXE, tmp_path_factory.mktemp("axe"))
    return (installed / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def crowd() -> Iterator[str]:
    """A gateway whose model finds 72 instances of 30 classes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASKSERVE_DECODERS", "0")
        with running_crowd(Crowd()) as address:
            yield address


def findings(page: Page, axe: str) -> list[str]:
    page.run(axe)
    found: list[str] = page.chrome.execute_async_script(_FINDINGS)
    return found


def open_at(page: Page, address: str, size: str, scheme: str) -> None:
    page.emulate(*SIZES[size], scheme)
    page.open(address)
    page.prefer(scheme)


def check(page: Page, axe: str, size: str, state: str) -> None:
    width = SIZES[size][0]
    assert page.run("return document.documentElement.scrollWidth") <= width, (size, state)
    assert page.run(_STICKING_OUT, width) == [], (size, state)
    assert findings(page, axe) == [], (size, state)


def choose(page: Page, *names: str) -> None:
    page.forget_phase()
    page.find("#file").send_keys("\n".join(str(EXAMPLES / f"{name}.jpg") for name in names))
    page.until_done()


def look_at_every_size(page: Page, axe: str, scheme: str, state: str) -> None:
    for size, (width, height) in SIZES.items():
        page.emulate(width, height, scheme)
        page.next_frame()
        page.next_frame()
        check(page, axe, size, state)
        page.screenshot(SHOTS / f"{size}-{scheme}-{state}.png", None if size == "desktop" else max(height, 1100))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_size(scheme: str, open_page: Page, crowd: str, axe: str) -> None:
    open_at(open_page, crowd, "desktop", scheme)
    look_at_every_size(open_page, axe, scheme, "empty")
    choose(open_page, "three_people", "astronaut")
    everything = "return [...document.querySelectorAll('#gallery button')].every((b) => b.dataset.state === 'done')"
    open_page.until(lambda: open_page.run(everything), "all photos are segmented")
    look_at_every_size(open_page, axe, scheme, "many")


STATES: dict[str, Callable[[Page], None]] = {
    "code": lambda page: page.run("document.querySelector('#code').open = true"),
    "isolated": lambda page: page.find("#list li[role=option]").click(),
    "by class": lambda page: page.find("#by-class").click(),
    "one class": lambda page: page.find("#classes .chip").click(),
    "none": lambda page: page.slide(1),
    "searched": lambda page: page.find("#search").send_keys("bicycle"),
    "failed": lambda page: page.give("drop", b"no photo", "notes.txt", "text/plain"),
    "zoomed": lambda page: page.find(".zooming [value='+']").click(),
    "held": lambda page: page.give("dragenter", b"x", "a.png", "image/png"),
    "camera": lambda page: page.run("document.querySelector('#camera').showModal()"),
}


def test_every_state(open_page: Page, crowd: str, axe: str) -> None:
    for number, (state, reach) in enumerate(STATES.items()):
        size, scheme = (("narrow", "dark"), ("desktop", "light"))[number % 2]
        open_at(open_page, crowd, size, scheme)
        choose(open_page, "camera")
        reach(open_page)
        open_page.next_frame()
        check(open_page, axe, size, state)


@pytest.mark.parametrize(("size", "scheme"), [("narrow", "light"), ("desktop", "dark")])
def test_a_key_is_asked_for(size: str, scheme: str, open_page: Page, axe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKSERVE_API_KEY", "let-me-in")
    monkeypatch.setenv("MASKSERVE_DECODERS", "0")
    with running_crowd(Crowd()) as address:
        open_at(open_page, address, size, scheme)
        open_page.until(lambda: open_page.visible("#key-form"), "a key is asked for")
        check(open_page, axe, size, "key")


def test_an_element_without_a_name_is_found(open_page: Page, crowd: str, axe: str) -> None:
    """The check itself can fail."""
    open_at(open_page, crowd, "desktop", "light")
    open_page.run("document.querySelector('main').append(document.createElement('button'))")
    assert any(line.startswith("button-name") for line in findings(open_page, axe))
    open_page.run("document.querySelector('main').style.width = '2000px'")
    assert open_page.run(_STICKING_OUT, 1280) != []
