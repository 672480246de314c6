"""The oracle of the tests of operators, small networks of every family, and a folder that a test may change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskserve_convert import cores
from tests.convert.networks.exporting import Cell

needs_paddle = pytest.mark.skipif(
    not all(map(cores.find_spec, ("paddle2onnx", "openvino"))), reason="converting needs the convert extra"
)


@pytest.fixture(scope="module")
def paddle() -> Any:
    return pytest.importorskip("paddle", reason="the oracle is Paddle's operators", exc_type=ImportError)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Cell], Path]:
    """Exports the small network of a cell, once."""
    for module in ("paddle", "paddle2onnx", "onnxruntime"):
        pytest.importorskip(module, reason=f"small networks are made with {module}", exc_type=ImportError)
    from tests.convert.networks.export_process import export_apart

    root = tmp_path_factory.mktemp("networks")

    def folder(cell: Cell) -> Path:
        path = root / str(cell)
        return path if path.exists() else export_apart(cell, path)

    return folder


@pytest.fixture
def folder(demo_model: Path, tmp_path: Path) -> Path:
    """A copy of the demo model that a test may change or damage."""
    return Path(shutil.copytree(demo_model, tmp_path / "paddle"))
