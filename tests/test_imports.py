"""The directions of imports: client <- server <- convert, client <- gateway, and tools above all of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

# What each package may import of the others.
ALLOWED = {
    "client/maskserve": frozenset[str](),
    "server/maskserve_server": frozenset({"maskserve"}),
    "convert/maskserve_convert": frozenset({"maskserve", "maskserve_server"}),
    "gateway/maskserve_gateway": frozenset({"maskserve"}),
    "local/maskserve_local": frozenset({"maskserve", "maskserve_server"}),
    "tools/maskserve_tools": frozenset(
        {"maskserve", "maskserve_server", "maskserve_convert", "maskserve_gateway", "maskserve_local"}
    ),
}
OURS = frozenset(folder.partition("/")[2] for folder in ALLOWED)


def imported(source: str) -> Iterator[str]:
    """Yield the module of every import, of those inside functions and by `import_module("...")`, too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." if node.level else str(node.module)
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func) and node.args:
            yield ast.unparse(node.args[0]).lstrip("f").strip("'\"")


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import maskserve.errors as e, os", ["maskserve.errors", "os"]),
        ("from maskserve_tools.cli import main", ["maskserve_tools.cli"]),
        ("def f():\n    import maskserve_convert", ["maskserve_convert"]),
        ("from . import other", ["."]),
        ("import_module(f'maskserve_tools.commands.{name}')", ["maskserve_tools.commands.{name}"]),
    ],
)
def test_what_counts_as_an_import(source: str, modules: list[str]) -> None:
    assert list(imported(source)) == modules


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_go_one_way(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    forbidden = OURS - ALLOWED[folder] - {folder.partition("/")[2]}
    found = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in imported(path.read_text(encoding="utf-8"))
        if module.partition(".")[0] in forbidden
    }
    assert found == set()


def test_every_package_has_its_directions_and_its_types() -> None:
    packages = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("*/maskserve*/__init__.py")} - {
        "demo/maskserve_demo"
    }
    assert packages == set(ALLOWED)
    assert [folder for folder in ALLOWED if not (ROOT / folder / "py.typed").is_file()] == []
