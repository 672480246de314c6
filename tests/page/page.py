"""What a person does on the page, as methods; and what is on it, down to the pixels of the canvas."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

_SECONDS = 30.0

# A file that comes from a user's desktop or clipboard, as the browser would hand it over.
_GIVE = """
const [kind, base64, name, type] = arguments;
const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], name, {type}));
const options = {bubbles: true, cancelable: true};
const event = kind === "paste"
  ? new ClipboardEvent("paste", {clipboardData: data, ...options})
  : new DragEvent(kind, {dataTransfer: data, ...options});
document.body.dispatchEvent(event);
"""


class Page:
    """The page in a browser.

    Args:
        chrome: the browser.
        folder: where its downloads go.
    """

    def __init__(self, chrome: Chrome, folder: Path) -> None:
        self.chrome = chrome
        self.folder = folder
        self.address = ""

    def open(self, address: str) -> None:
        self.address = address
        settings = {"behavior": "allow", "downloadPath": str(self.folder)}
        self.chrome.execute_cdp_cmd("Browser.setDownloadBehavior", settings)
        self.prefer("light")
        self.chrome.get(address)
        self.until(lambda: self.run("return document.title.includes('·')"), "the page introduces itself")

    def reset(self) -> None:
        """Undo what `network` and `emulate` did."""
        self.chrome.execute_cdp_cmd("Network.disable", {})
        self.chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def emulate(self, width: int, height: int, scheme: str = "light") -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 500}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.prefer(scheme)

    def prefer(self, scheme: str) -> None:
        """Be somebody who likes that colour scheme, and no motion: masks are there at once."""
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def network(self, *, offline: bool = False, upload: int = -1) -> None:
        """Take the network away, or let it send `upload` bytes a second."""
        self.chrome.execute_cdp_cmd("Network.enable", {})
        conditions = {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload}
        self.chrome.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.chrome.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        return self.chrome.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector))

    def visible(self, selector: str) -> bool:
        return self.find(selector).is_displayed()

    def until(self, condition: Callable[[], Any], what: str) -> None:
        end = time.monotonic() + _SECONDS
        while not condition():
            assert time.monotonic() < end, f"waited in vain until {what}"
            time.sleep(0.05)

    def phase(self) -> str:
        return str(self.run("return document.body.dataset.phase"))

    def until_done(self) -> None:
        self.until(lambda: self.phase() == "done", "the photo is segmented")
        self.next_frame()

    def choose(self, path: Path) -> None:
        self.forget_phase()
        self.find("#file").send_keys(str(path))

    def forget_phase(self) -> None:
        """So that `until_done` does not see the end of what was before."""
        self.run("document.body.dataset.phase = 'waiting for the test'")

    def give(self, kind: str, content: bytes, name: str, mime: str) -> None:
        """Let a file be pasted ("paste") or held above and let go ("dragenter", "drop")."""
        if kind != "dragenter":
            self.forget_phase()
        self.run(_GIVE, kind, base64.b64encode(content).decode(), name, mime)

    def slide(self, value: float) -> None:
        script = """const slider = document.querySelector("#threshold");
            slider.value = arguments[0]; slider.dispatchEvent(new Event("input"))"""
        self.run(script, value)
        self.next_frame()

    def next_frame(self) -> None:
        """Wait until what was asked for has been drawn."""
        self.chrome.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    def listed(self) -> list[tuple[str, float]]:
        """Names and scores of the list's visible items."""
        rows = self.run("""return [...document.querySelectorAll("#list li[role=option]:not([hidden])")].map(
            (item) => [item.querySelector(".name").textContent, Number(item.querySelector(".score").textContent)])""")
        return [(name, score) for name, score in rows]

    def marked(self, selector: str) -> list[int]:
        """Positions of the items in the list that `selector` is true of."""
        script = """return [...document.querySelectorAll("#list li[role=option]")].flatMap(
            (item, at) => item.matches(arguments[0]) ? [at] : [])"""
        return [int(at) for at in self.run(script, selector)]

    def canvas(self) -> NDArray[np.int64]:
        """The canvas' pixels, [height, width, 3], red first."""
        address = self.run("return document.querySelector('#canvas').toDataURL()")
        return pixels_of(base64.b64decode(address.split(",")[1]))

    def pixel(self, pixels: NDArray[np.int64], x: int, y: int, width: int) -> NDArray[np.int64]:
        """Of pixels as `canvas` gives them, the one at column x, row y of a photo of that width."""
        scale = pixels.shape[1] / width
        found: NDArray[np.int64] = pixels[int((y + 0.5) * scale), int((x + 0.5) * scale)]
        return found

    def point_at(self, x: float, y: float, width: int, *, click: bool = False) -> None:
        """Move the pointer to a place of the photo; press it there."""
        from selenium.webdriver.common.action_chains import ActionChains

        canvas = self.find("#canvas")
        scale = canvas.rect["width"] / width
        middle = canvas.rect["width"] / 2, canvas.rect["height"] / 2
        chain = ActionChains(self.chrome, duration=10)
        chain.move_to_element_with_offset(canvas, int(x * scale - middle[0]), int(y * scale - middle[1]))
        (chain.click() if click else chain).perform()
        self.next_frame()

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.chrome, duration=10).send_keys(*keys).perform()
        self.next_frame()

    def download(self, kind: str, name: str) -> bytes:
        """Press a download button; the file that comes of it."""
        self.find(f".downloads [value={kind}]").click()
        self.until((self.folder / name).is_file, f"{name} is saved")
        content = b""
        while not content:
            content = (self.folder / name).read_bytes()
        return content

    def download_json(self, kind: str, name: str) -> Any:
        return json.loads(self.download(kind, name))

    def requests(self) -> list[str]:
        """The addresses of all that the page has asked for since it was opened."""
        return [str(name) for name in self.run("return performance.getEntriesByType('resource').map((e) => e.name)")]

    def console(self) -> list[str]:
        """What the browser has complained of since it was asked last."""
        return [entry["message"] for entry in self.chrome.get_log("browser")]

    def screenshot(self, path: Path, height: int | None = None) -> None:
        """Save what is seen, or the page down to `height`."""
        whole = {"x": 0, "y": 0, "width": self.run("return innerWidth"), "height": height, "scale": 1}
        options = {"captureBeyondViewport": True, "clip": whole} if height else {}
        shot = self.chrome.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", **options})
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))


def pixels_of(content: bytes) -> NDArray[np.int64]:
    """An image file's pixels, [height, width, 3], red first; turned as its EXIF data say."""
    from PIL import ImageOps

    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(np.int64)
