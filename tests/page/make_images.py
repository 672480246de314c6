"""Make the images of the documents: drawn photos, and the page in Chromium. `make images` runs it.

The demo model finds the people; a stand-in finds a crowd, where many instances are to be seen.
`--before FOLDER` takes the screenshots of another version of the page's folder instead, to compare.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from maskserve import create_pipeline
from maskserve.pipeline import Pipeline
from maskserve.results import InstanceSegResult
from maskserve_gateway import app as gateway_app
from maskserve_gateway import static_page
from tests.conftest import ROOT
from tests.page.crowd import Crowd, running_crowd
from tests.page.page import Page
from tests.page.people import EXAMPLES

OUTPUT = ROOT / "docs" / "images"


def main() -> None:
    """Make all images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--before", type=Path, help="the page's folder of an older version: its screenshots alone")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with create_pipeline(str(ROOT / "demo" / "model")) as pipeline:
        if arguments.before is None:
            draw_demo(pipeline, arguments.output / "demo.jpg")
            draw_looks(pipeline, arguments.output / "drawing.jpg")
        else:
            mount = partial(static_page.mount, folder=arguments.before)
            gateway_app.page.mount = mount  # type: ignore[assignment]
        with chromium() as page:
            photograph(page, pipeline, arguments.output, "before" if arguments.before else "page")


def draw_demo(pipeline: Pipeline, path: Path) -> None:
    """Draw a photo of three people, and cut them out, side by side: what README shows."""
    (result,) = pipeline.predict(str(EXAMPLES / "three_people.jpg"), threshold=0.6)
    save([result.draw(), cut_out(result)], path)


def draw_looks(pipeline: Pipeline, path: Path) -> None:
    """Draw a photo of three people in four looks."""
    (result,) = pipeline.predict(str(EXAMPLES / "three_people.jpg"), threshold=0.6)
    choices: list[dict[str, Any]] = [
        {},
        {"by": "class", "show": ("masks", "boxes", "labels")},
        {"show": "masks", "colors": ["#ffd166"], "opacity": 0.6},
        {"style": "paddlex"},
    ]
    drawn = [result.draw(**options) for options in choices]
    save([image.resize((360, 320), Image.Resampling.LANCZOS) for image in drawn], path)


def cut_out(result: InstanceSegResult) -> Image.Image:
    """Return the instances on a ground that stands for transparent pixels."""
    height, width = result.instances.image_size
    sheet = checkered((width, height))
    with tempfile.TemporaryDirectory() as folder:
        for path, instance in zip(result.save_cutouts(folder), result.instances, strict=True):
            with Image.open(path) as image:
                sheet.paste(image, instance.mask.bbox[:2], image)
    return sheet


def checkered(size: tuple[int, int], side: int = 16) -> Image.Image:
    """Return the ground that stands for transparent pixels."""
    sheet = Image.new("RGB", size, "#ffffff")
    canvas = ImageDraw.Draw(sheet)
    for y in range(0, size[1], side):
        for x in range(y // side % 2 * side, size[0], 2 * side):
            canvas.rectangle((x, y, x + side - 1, y + side - 1), fill="#dddddd")
    return sheet


def save(images: list[Image.Image], path: Path) -> None:
    """Write images side by side as a JPEG."""
    whole = Image.new("RGB", (sum(image.width for image in images), images[0].height))
    x = 0
    for image in images:
        whole.paste(image, (x, 0))
        x += image.width
    whole.save(path, quality=88)
    print(path)


@contextmanager
def chromium() -> Iterator[Page]:
    """Start a browser as the tests do."""
    from selenium import webdriver

    from tests.page.conftest import FLAGS

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for flag in (*FLAGS, f"--user-data-dir={folder}"):
            options.add_argument(flag)
        chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        chrome.set_script_timeout(30)
        try:
            yield Page(chrome, Path(folder))
        finally:
            chrome.quit()


def photograph(page: Page, pipeline: Pipeline, folder: Path, name: str) -> None:
    """Take screenshots of the page: with people, with a crowd, on a telephone upright and lying."""
    # the page speaks to the model in this process, through a gateway in this process
    with running_crowd(pipeline._segmenter.transport, model=pipeline.model) as address:
        shoot(page, address, folder / f"{name}.jpg", (1352, 656), "light")
        shoot(page, address, folder / f"{name}-phone.jpg", (320, 640), "light")
        shoot(page, address, folder / f"{name}-lying.jpg", (740, 360), "dark")
    with running_crowd(Crowd()) as address:
        shoot(page, address, folder / f"{name}-many.jpg", (1280, 800), "dark", then=only_a_class)


def only_a_class(page: Page) -> None:
    """Show two classes of many, where the page can do that."""
    page.run("[...document.querySelectorAll('#classes .chip')].slice(0, 2).forEach((chip) => chip.click())")


def shoot(
    page: Page,
    address: str,
    path: Path,
    size: tuple[int, int],
    scheme: str,
    *,
    then: Callable[[Page], None] = lambda page: None,
) -> None:
    """Open the page, choose a photo, and take a screenshot."""
    page.emulate(*size, scheme)
    page.open(address)
    page.prefer(scheme)
    page.choose(EXAMPLES / "three_people.jpg")
    page.until_done()
    then(page)
    page.next_frame()
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        page.screenshot(shot)
        with Image.open(shot) as image:
            image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(path, quality=72)
    print(path)


if __name__ == "__main__":
    main()
