"""Docstrings of functions begin with a verb: "Return", "Open", "Check". A property is a noun, and so may a class be."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

FOLDERS = ("client", "server", "convert", "gateway", "local", "tools", "docker", "benchmarks", "examples")
# Add a verb when you need one. A noun, an article or a question word is what the test is against.
KNOWN = """
add answer append ask begin blend build bypass call chain change check clip close compare connect convert copy count
create cut declare decode detect do draw drop encode end enlarge exchange export fetch fill find fold follow forget
give hand infer insert interpolate join keep kill lead leave lend let limit list listen load lock look make match
measure move name note open pad parse pass prepare print put raise read recognise refuse remember remove replace rescale
return reverse rewrite run save say scale see segment send serve set show sort splice start stop store take tell
turn unpack verify wait walk warn write yield
"""
VERBS = frozenset(KNOWN.split())


def unlike(source: str) -> Iterator[str]:
    """Yield the first lines of the docstrings of functions that begin otherwise."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
            is_property = any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
            if not is_property and text.split()[0].strip(",;:").lower() not in VERBS:
                yield f"{node.name}: {text.splitlines()[0]}"


def test_what_is_unlike() -> None:
    source = (
        'def f():\n    """The area."""\ndef g():\n    """Return, or not."""\n@property\ndef h():\n    """The area."""'
    )
    assert list(unlike(source)) == ["f: The area."]


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_of_functions_begin_with_a_verb(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = {path.relative_to(ROOT).as_posix(): [*unlike(path.read_text("utf-8"))] for path in files}
    assert {path: lines for path, lines in found.items() if lines} == {}
