"""A name that begins with an underscore belongs to its package: no other package imports it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "maskserve": ROOT / "client",
    "maskserve_server": ROOT / "server",
    "maskserve_gateway": ROOT / "gateway",
    "maskserve_local": ROOT / "local",
    "maskserve_convert": ROOT / "convert",
    "maskserve_tools": ROOT / "tools",
}
# Programs that are in no package: for them, too, an underscore means that a name is not theirs.
PROGRAMS = ("benchmarks", "demo", "docker", "examples")


def borrowed(source: str, own: str) -> Iterator[str]:
    """The private names of other packages of ours that a module of the package `own` uses."""
    tree, modules = ast.parse(source), dict[str, str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                modules[alias.asname or alias.name.partition(".")[0]] = alias.name
                yield from _private(alias.name, own)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield from _private(f"{node.module}.{alias.name}", own)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain, base = [node.attr], node.value
            while isinstance(base, ast.Attribute):
                chain.append(base.attr)
                base = base.value
            if isinstance(base, ast.Name) and base.id in modules:
                yield from _private(".".join([modules[base.id], *reversed(chain)]), own)


def _private(name: str, own: str) -> Iterator[str]:
    package, *parts = name.split(".")
    if package in PACKAGES and package != own and any(p.startswith("_") and not p.startswith("__") for p in parts):
        yield name


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_uses_private_names_of_another(package: str) -> None:
    modules = sorted((PACKAGES[package] / package).rglob("*.py"))
    assert modules
    found = {str(module.relative_to(ROOT)): [*borrowed(module.read_text("utf-8"), package)] for module in modules}
    assert {module: names for module, names in found.items() if names} == {}


@pytest.mark.parametrize("folder", PROGRAMS)
def test_no_program_uses_private_names(folder: str) -> None:
    modules = sorted((ROOT / folder).rglob("*.py"))
    assert modules
    found = {str(module.relative_to(ROOT)): [*borrowed(module.read_text("utf-8"), "")] for module in modules}
    assert {module: names for module, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "line",
    [
        "from maskserve._text import printable",
        "from maskserve import _text",
        "from maskserve.text import _escaped as escaped",
        "import maskserve._text",
        "import maskserve\nmaskserve.text._escaped('')",
        "from maskserve import text\ntext._escaped('')",
        "def f():\n    import maskserve.transport._x as x",
    ],
)
def test_every_way_to_use_one_is_seen(line: str) -> None:
    assert [*borrowed(line, "maskserve_tools")]
    assert not [*borrowed(line, "maskserve")]


@pytest.mark.parametrize(
    "line",
    ["from maskserve.inputs import tiff as _tiff\n_tiff.pages", "import maskserve\nmaskserve.__file__", "import _io"],
)
def test_what_is_public_may_be_used(line: str) -> None:
    assert not [*borrowed(line, "maskserve_tools")]
