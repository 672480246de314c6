"""The worked examples of docs/internals/extending.md apply to this tree, and their tests pass."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytest.importorskip("onnx", reason="a pass needs the convert extra", exc_type=ImportError)
TEXT = (ROOT / "docs" / "internals" / "extending.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^### Worked example: (.*?)\n+^```diff\n(.*?)^```", TEXT, re.S | re.M))
PACKAGES = ("client", "convert", "server", "tools")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in (*PACKAGES, "docs/reference", "tests/client", "tests/convert", "tests/models"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (ROOT / "pyproject.toml", *ROOT.glob("tests/*.py")):
        shutil.copy(file, tmp_path / file.relative_to(ROOT))
    return tmp_path


def test_there_are_two() -> None:
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("title", EXAMPLES)
def test_the_diff_applies_and_its_tests_pass(title: str, tree: Path) -> None:
    (tree / "example.diff").write_text(EXAMPLES[title], encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(PACKAGES), "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    applied = subprocess.run(
        ["git", "apply", "example.diff"], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert applied.returncode == 0, applied.stderr
    tests = re.findall(r"^\+\+\+ b/(tests/.*)$", EXAMPLES[title], re.M)
    assert tests
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
