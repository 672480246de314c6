"""JavaScript in tests: the page's modules run by Node, and packages installed by npm."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "gateway" / "maskserve_gateway" / "page"


def ask(script: str, question: object) -> Any:
    """Return what a script beside this file prints as JSON, given the page's modules and a question on its input."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("the page's JavaScript is run by node, which is not installed")
    with tempfile.TemporaryDirectory() as folder:
        for module in PAGE.glob("*.js"):
            shutil.copy(module, folder)
        Path(folder, "package.json").write_text('{"type": "module"}', encoding="utf-8")  # browsers are told by the page
        done = subprocess.run(
            [node, str(Path(__file__).with_name(script)), folder],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            encoding="utf-8",
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def install(package: str, folder: Path) -> Path:
    """Install a package by npm into a folder of its own; return its `node_modules`. Skip where npm cannot."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"{package} comes by npm, which is not installed")
    done = subprocess.run(
        [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, package],
        capture_output=True,
        check=False,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    if done.returncode:
        pytest.skip(f"npm cannot install {package}: {done.stderr[-200:]}")
    return folder / "node_modules"
