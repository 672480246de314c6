"""A browser in front of a real gateway in front of a real server with the demo model."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.page.page import Page, pixels_of
from tests.page.people import THREE, ask_gateway, whole_mask

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

    from maskserve_tools.embedded import Server

MODEL = "people"
KEY = "let-me-in"
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),  # a camera
    "--window-size=1280,900",
)


@pytest.fixture(scope="session")
def server(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    for module in ("paddle2onnx", "openvino", "pytriton"):
        pytest.importorskip(module, reason=f"a server with the demo model needs {module}", exc_type=ImportError)
    from maskserve_tools import convert, serve

    repository = tmp_path_factory.mktemp("page") / "model_repository"
    convert(demo_model, repository=repository, name=MODEL)
    with serve(repository) as running:
        yield running


@contextmanager
def running_gateway(server: Server, *options: str, key: str = "") -> Iterator[str]:
    """The address of a gateway of its own process."""
    for module in ("fastapi", "uvicorn"):
        pytest.importorskip(module, reason=f"the gateway needs {module}", exc_type=ImportError)
    command = [sys.executable, "-W", "ignore", "-m", "maskserve_tools.cli", "gateway", "--url", server.grpc_url]
    environment = {**os.environ, "MASKSERVE_API_KEY": key}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log, ExitStack() as resources:
        process = subprocess.Popen(
            [*command, "--model", MODEL, "--port", "auto", *options], env=environment, stdout=log, stderr=log
        )
        resources.callback(process.wait, timeout=30)
        resources.callback(process.terminate)
        yield announced(process, log)


def announced(process: subprocess.Popen[bytes], log: IO[str]) -> str:
    """The address that a gateway has written into its log."""
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        log.seek(0)
        found = re.search(r"listens on (\S+)\n", log.read())
        if found:
            return found[1]
        time.sleep(0.05)
    log.seek(0)
    raise AssertionError(f"the gateway does not start: {log.read()}")


@pytest.fixture(scope="session")
def gateway(server: Server) -> Iterator[str]:
    with running_gateway(server) as address:
        yield address


@pytest.fixture(scope="session")
def guarded_gateway(server: Server) -> Iterator[str]:
    """One that wants a key, and takes small photos only."""
    with running_gateway(server, "--max-body-bytes", "120000", "--max-pixels", "500000", key=KEY) as address:
        yield address


@pytest.fixture(scope="session")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="driving a browser needs selenium")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no Chromium here: tests/page/install_chromium.sh installs it")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    running.set_script_timeout(30)
    yield running
    running.quit()


@pytest.fixture
def open_page(chrome: Chrome, tmp_path: Path) -> Iterator[Page]:
    """The page's driver, with nothing opened; the console must be silent in the end."""
    page = Page(chrome, tmp_path)
    yield page
    page.reset()
    assert page.console() == []


@pytest.fixture
def page(open_page: Page, gateway: str) -> Page:
    open_page.open(gateway)
    return open_page


@pytest.fixture
def masks(page: Page, gateway: str) -> list[NDArray[np.uint8]]:
    """The masks of the three people, whose photo is on the page."""
    page.choose(THREE)
    page.until_done()
    size = pixels_of(THREE.read_bytes()).shape
    return [whole_mask(found, (size[0], size[1])) for found in ask_gateway(gateway, THREE.read_bytes())]


@pytest.fixture
def guarded(open_page: Page, guarded_gateway: str) -> Iterator[Page]:
    open_page.open(guarded_gateway)
    yield open_page
