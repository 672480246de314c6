"""One table of engines: no other module spells their names, and a row of it is all that an engine needs."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from maskserve.errors import ToolError
from maskserve_convert.choices import ENGINES, LAYOUTS, PRECISIONS, TARGETS
from maskserve_server import engine_table
from maskserve_server.engines import load_engine
from maskserve_server.spec import CoreSpec
from tests.conftest import ROOT

PACKAGES = ("client/maskserve", "server/maskserve_server", "convert/maskserve_convert", "gateway/maskserve_gateway",
            "local/maskserve_local", "tools/maskserve_tools", "docker")  # fmt: skip
TABLE = ROOT / "server/maskserve_server/engine_table.py"
# Names of engines inside a longer text count, too. "paddle" is also a prefix, a product and a word: alone it counts.
SPELLED = re.compile(r"\b(openvino|onnxruntime)\b|\Apaddle(paddle)?\Z")
# Modules that may spell a name all the same, and why.
EXCEPTIONS = {
    "convert/maskserve_convert/onnx_export/writing.py": "the README of an exported ONNX file, for people without us",
    "convert/maskserve_convert/paddle/bare_export.py": "packages to enter, and what Paddle2ONNX exports for",
}


def spelled(source: str) -> Iterator[str]:
    """Yield the texts of a module, other than its docstrings, that spell an engine's name."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and id(node) not in docstrings else None
        if isinstance(text, str) and SPELLED.search(text):
            yield text


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ('"""On openvino."""\nimport onnxruntime', []),
        ('x = {"openvino": 1}', ["openvino"]),
        ('def f(y):\n    return f"use --engine onnxruntime for {y}"', ["use --engine onnxruntime for "]),
        ('x = ["paddle", "paddle2onnx", "a paddle"]', ["paddle"]),
    ],
)
def test_what_counts_as_spelling_a_name(source: str, texts: list[str]) -> None:
    assert list(spelled(source)) == texts


def test_no_other_module_spells_the_names_of_engines() -> None:
    files = [path for folder in PACKAGES for path in sorted((ROOT / folder).rglob("*.py")) if path != TABLE]
    assert len(files) > 200
    found = {path.relative_to(ROOT).as_posix(): [*spelled(path.read_text("utf-8"))] for path in files}
    assert {path for path, texts in found.items() if texts} == set(EXCEPTIONS), found


def test_what_can_be_chosen() -> None:
    assert ENGINES == ("auto", "openvino", "onnxruntime", "paddle")
    assert PRECISIONS == ("fp32", "bf16", "fp16", "int8")
    assert TARGETS == ("embedded", "container-cpu", "container-gpu")
    assert LAYOUTS == ("ensemble", "single")


@pytest.mark.parametrize("engine", engine_table.ENGINES, ids=lambda row: row.name)
def test_the_package_of_every_engine_is_in_an_extra(engine: engine_table.EngineRow) -> None:
    extra = (ROOT / "pyproject.toml").read_text("utf-8").partition(f"\n{engine.extra} = [\n")[2].partition("\n]\n")[0]
    assert re.search(rf'^    "{engine.package}[=>]', extra, re.MULTILINE)
    if find_spec(engine.module) is not None:
        module, _, runner = engine.runner.partition(":")
        assert hasattr(__import__(module, fromlist=[runner]), runner)


def test_an_engine_that_is_not_in_the_table_is_refused() -> None:
    core = CoreSpec("tvm", "core.onnx", ("image",), ("boxes",), (3, 320, 320))
    with pytest.raises(ToolError, match=r"'tvm' is not an engine .*openvino, onnxruntime, paddle"):
        load_engine(core, Path(), threads=1)


# A row alone: in a process of its own, because what is chosen from is made when the modules are imported.
TOY = """
import json, sys
from pathlib import Path
from maskserve_server import engine_table as table
from maskserve_server.engine_table import CONTAINER_CPU, FP32, ONNX_FILES, Backend, EngineRow
backend = Backend({CONTAINER_CPU: (FP32, "int8")}, "model.toy", "TOY_THREADS")
toy = EngineRow(
    "toy", "Toy", "toy_engine:ToyEngine", "toy-package", "toy_engine", "toys", ONNX_FILES, (FP32, "int4"), backend
)
table.ENGINES = (*table.ENGINES, toy)

from maskserve_convert import choices, cores
from maskserve_convert.engine_ranking import preference, reason
from maskserve_convert.triton.targets import containers
from maskserve_server.engines import load_engine
from maskserve_server.spec import CoreSpec
from maskserve_tools import cli
from maskserve_tools.doctor import python_environment
from maskserve_tools.embedded import conversion_cache
from maskserve_convert.catalogue import CATALOGUE

core = CoreSpec("toy", "core.onnx", ("image",), ("boxes",), (3, 8, 8))
class Entry: name, holds_core, backend = "m", True, "python"; recorded = staticmethod(lambda *keys: "toy")
said = {
    "choices": [choices.ENGINES, choices.PRECISIONS],
    "preference": [preference("another"), preference("solov2")[-1]],
    "reason": reason("solov2", "toy"),
    "loaded": type(load_engine(core, Path("dir"), threads=2)).__name__,
    "container": [containers(CONTAINER_CPU, *w, "ensemble")[0].backend for w in [("toy", "int8"), ("toy", "fp32")]],
    "precision": cores._with_precision("auto", "int4"),
    "doctor": python_environment.check_engines([Entry()], lambda package: None)[0].what,
    "fix": python_environment.check_engines([Entry()], lambda package: None)[0].fix,
    "cache": "toy-package" in conversion_cache._PACKAGES,
    "catalogue": CATALOGUE[0].family.engines,
}
print(json.dumps(said))
cli.main(["convert", "--help"])
"""
ENGINE = """
class ToyEngine:
    def __init__(self, path, core, *, threads): assert (str(path), threads) == ("dir/core.onnx", 2)
def precisions(): return {"fp32", "int4"}
"""


def test_a_row_of_the_table_is_all_that_an_engine_needs(tmp_path: Path) -> None:

    (tmp_path / "toy_engine.py").write_text(ENGINE, "utf-8")
    (tmp_path / "toy.py").write_text(TOY, "utf-8")
    done = subprocess.run([sys.executable, "toy.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, _, usage = done.stdout.partition("\n")
    order = ["openvino", "onnxruntime", "paddle", "toy"]
    assert json.loads(first) == {
        "choices": [["auto", *order], ["fp32", "bf16", "fp16", "int8", "int4"]],
        "preference": [order, "toy"],
        "reason": "nothing was measured for solov2 on toy; the order is that of the other families",
        "loaded": "ToyEngine",
        "container": ["toy", "toy"],
        "precision": "toy",
        "doctor": "m runs on toy-package",
        "fix": 'pip install "toy-package==toy"',
        "cache": True,
        "catalogue": order,
    }
    assert "--engine {auto,openvino,onnxruntime,paddle,toy}" in usage
    assert "--precision {fp32,bf16,fp16,int8,int4}" in usage
