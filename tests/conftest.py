"""What the tests share: real models and images where they exist, the demo model everywhere."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import examples, markers  # noqa: F401 - `examples` sets how much the tests by chance try
from tests.models.make_models import make

if TYPE_CHECKING:
    from maskserve_tools.embedded import Server

# A program that was started in the background ignores Ctrl-C, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The modules and the thousands of tests live until the end. Python's garbage collector would look at all of them again
# and again, which takes a tenth of the time.
gc.disable()

# What the tests compile is not kept among what this user has compiled.
os.environ.setdefault("MASKSERVE_COMPILED_CACHE", str(Path(tempfile.gettempdir(), f"maskserve-tests-{os.getuid()}")))

ROOT = Path(__file__).parent.parent
_watch = markers.Watch()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Pass over the files whose tests the expression of `-m` leaves out, all of them: importing them takes seconds."""
    return True if markers.leaves_out(config.getoption("markexpr"), collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by what it needs."""
    for item in items:
        if isinstance(item, pytest.Function):
            markers.mark(item)


def pytest_collection_finish() -> None:
    """Collect garbage from here on, and only what the tests themselves leave."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_runtest_setup() -> None:
    """Forget what an earlier test did that was skipped, or failed."""
    _watch.forget()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test that does what its markers do not say; what its fixtures did counts, too."""
    yield
    _watch.check(item)


DEMO = "people"


def _shared() -> Path | None:
    """The folder with real-architecture models and images, which is not part of the repository."""
    folder = Path(os.environ.get("MASKSERVE_SHARED", ROOT.parent / "shared"))
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data; the test is skipped where it is not there."""
    folder = _shared()
    if folder is None:
        pytest.skip("the real-architecture models and images (MASKSERVE_SHARED) are not on this machine")
    return folder


@pytest.fixture(scope="session")
def paddle_model(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Unpacks a model of the shared folder by its name, once."""
    unpacked = tmp_path_factory.mktemp("models")

    def unpack(name: str) -> Path:
        if not (unpacked / name).exists():
            make(shared / "models" / name, unpacked / name)
        return unpacked / name

    return unpack


@pytest.fixture(scope="session")
def images(shared: Path) -> list[Path]:
    """Everyday images of different sizes."""
    return sorted((shared / "data" / "photos").glob("*.jpg"))


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """The Paddle folder of the demo model."""
    return ROOT / "demo" / "model"


@pytest.fixture(scope="session")
def demo_repository(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model, converted in both layouts."""
    for module in ("paddle2onnx", "openvino"):
        pytest.importorskip(module, reason=f"converting needs {module}", exc_type=ImportError)
    from maskserve_tools import convert

    repository = tmp_path_factory.mktemp("demo") / "model_repository"
    convert(demo_model, repository=repository, name=DEMO)
    convert(demo_model, repository=repository, name=f"{DEMO}-single", layout="single")
    return repository


@pytest.fixture(scope="session")
def server(demo_repository: Path) -> Iterator[Server]:
    """One real tritonserver with the demo model, for everything that needs one."""
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    from maskserve_tools import serve

    with serve(demo_repository, restart=False) as running:  # its looks would be counted as requests
        yield running


@pytest.fixture(scope="session")
def two_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with two people, side by side, for the demo model: a single instance would hide a wrong order."""
    import cv2
    import numpy as np

    images = [cv2.imread(str(ROOT / "demo" / "photos" / f"{name}.jpg")) for name in ("astronaut", "grace_hopper")]
    path = tmp_path_factory.mktemp("photo") / "two_people.jpg"
    cv2.imwrite(str(path), np.hstack([cv2.resize(image, (400, 480)) for image in images]))
    return path
