"""Text is UTF-8 whatever the locale says: every call that reads or writes text names its encoding.

Ruff's PLW1514 sees only calls whose type it can infer; here every call of that name counts.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

FOLDERS = ("benchmarks", "client", "convert", "demo", "docker", "examples", "gateway", "local", "server", "tools")


def bare_calls(source: str) -> Iterator[int]:
    """The lines of calls that read or write text in the locale's encoding."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _is_text(node) and not _names_encoding(node):
            yield node.lineno


def _names_encoding(call: ast.Call) -> bool:
    return any(keyword.arg in ("encoding", None) for keyword in call.keywords)  # None is **options


def _is_text(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("read_text", "write_text"):
        return isinstance(call.func, ast.Attribute)  # a function of ours with that name is looked into itself
    if name in ("run", "Popen", "check_output"):
        return any(keyword.arg in ("text", "universal_newlines") for keyword in call.keywords)
    if name in ("open", "fdopen", "TemporaryFile", "NamedTemporaryFile"):
        modes = [arg for arg in (*call.args, *(keyword.value for keyword in call.keywords)) if _is_mode(arg)]
        bare = name == "open" and len(call.args) == int(isinstance(call.func, ast.Name)) and not call.keywords
        return bare or any("b" not in ast.unparse(mode) for mode in modes)
    return False


def _is_mode(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and set(node.value) <= set("rwaxb+t")


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("path.read_text()", 1),
        ("path.write_text(text)", 1),
        ("path.write_text(text, encoding='utf-8')", 0),
        ("read_text(path)", 0),
        ("open(path)", 1),
        ("path.open('w')", 1),
        ("path.open()", 1),
        ("Image.open(path)", 0),
        ("path.open('rb')", 0),
        ("subprocess.run(line, text=True)", 1),
        ("subprocess.run(line, text=True, encoding='utf-8')", 0),
    ],
)
def test_what_is_found(source: str, count: int) -> None:
    assert len(list(bare_calls(source))) == count


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_text_has_an_encoding(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = [f"{path.relative_to(ROOT)}:{line}" for path in files for line in bare_calls(path.read_text("utf-8"))]
    assert found == []


def test_ruff_looks_for_it_too() -> None:
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert "PLW1514" in settings["select"]
    assert settings["preview"], "the rule is a preview of ruff's"
    assert settings["explicit-preview-rules"], "no other preview rule is turned on with it"
