"""The types of the page's JavaScript, by TypeScript's compiler: names that are not there, wrong arguments."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.page.node import PAGE, install

TYPESCRIPT = "typescript@5.9.3"
OPTIONS = [
    *("--allowJs", "--checkJs", "--noEmit", "--target", "es2022", "--module", "es2022"),
    *("--moduleResolution", "bundler", "--lib", "es2022,dom,dom.iterable"),
]


@pytest.fixture(scope="session")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TypeScript's compiler, installed by npm into a folder of its own."""
    return install(TYPESCRIPT, tmp_path_factory.mktemp("typescript")) / ".bin" / "tsc"


def _complaints(compiler: Path, files: list[Path]) -> str:
    done = subprocess.run([compiler, *OPTIONS, *files], check=False, capture_output=True, text=True, encoding="utf-8")
    return done.stdout


def test_a_wrong_name_is_found(compiler: Path, tmp_path: Path) -> None:
    shutil.copytree(PAGE, tmp_path / "page")
    script = tmp_path / "page" / "rle.js"
    script.write_text(f"{script.read_text(encoding='utf-8')}\ndocument.getElementByid('x');\n", encoding="utf-8")
    assert "getElementByid" in _complaints(compiler, [script])


def test_the_page_has_no_type_errors(compiler: Path) -> None:
    files = sorted(PAGE.glob("*.js"))
    assert files
    assert _complaints(compiler, files) == ""
