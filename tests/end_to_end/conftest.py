"""One real tritonserver with the demo model for the whole end-to-end suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from maskserve_tools.serving import Server

DEMO = "people"


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
    """A running server."""
    pytest.importorskip("pytriton", reason="the embedded server needs nvidia-pytriton", exc_type=ImportError)
    from maskserve_tools import serve

    with serve(demo_repository) as running:
        yield running
